#!/usr/bin/env python3
"""Whatever goes wrong gets an error that names the thing, and what runs beside it goes on running."""
import json
import os
import signal
import struct

from rig import Failure, Rig

RAM = "200MiB"


def refused(rig, what, args, words, status=None, env=None):
    """The command fails, says every one of `words`, and the model that runs still answers."""
    r = rig.stowage(*args, ok=None, env=env, timeout=60)
    text = r.stdout + r.stderr
    if r.returncode == 0:
        raise Failure("%s was accepted: %s" % (what, text[-300:]))
    missing = [w for w in words if w.lower() not in text.lower()]
    if missing:
        raise Failure("%s: the error does not say %r: %s" % (what, missing, text[-400:]))
    if status is not None and r.returncode != status:
        raise Failure("%s: exit status %d, wanted %d" % (what, r.returncode, status))
    line = [x for x in text.splitlines() if x.strip()][0]
    rig.check(rig.ask("good", "Still there?", 4)["tokens"], "%s: %s" % (what, line[:110]))


def write(rig, name, data):
    path = os.path.join(rig.dir, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def files(rig, good):
    with open(good, "rb") as f:
        data = f.read()
    header = data[:24]
    cases = [
        ("a missing file", os.path.join(rig.dir, "nowhere.gguf"), ["nowhere.gguf"]),
        ("an empty file", write(rig, "empty.gguf", b""), ["empty.gguf"]),
        ("a folder", rig.dir, [os.path.basename(rig.dir)]),
        ("a text file", write(rig, "notes.gguf", b"# notes\nThis is no model.\n" * 100), ["notes.gguf", "no GGUF"]),
        ("a file cut in its header", write(rig, "cut-header.gguf", data[:9000]), ["cut-header.gguf"]),
        ("a file cut in its data", write(rig, "cut-data.gguf", data[:-100000]), ["cut-data.gguf"]),
        ("a version to come", write(rig, "version.gguf", header[:4] + struct.pack("<I", 77) + data[8:]), ["version", "77"]),
        ("a big-endian file", write(rig, "big-endian.gguf", header[:4] + struct.pack(">I", 3) + data[8:]), ["endian"]),
        ("a count of keys that no file has", write(rig, "keys.gguf", header[:16] + struct.pack("<Q", 2**61) + data[24:]),
         ["keys.gguf"]),
        ("a count of tensors that no file has", write(rig, "tensors.gguf", header[:8] + struct.pack("<Q", 2**63) + data[16:]),
         ["tensors.gguf"]),
        ("a length that wraps", write(rig, "wrap.gguf", header + struct.pack("<Q", 2**64 - 8) + data[32:]), ["wrap.gguf"]),
        ("an unknown architecture", write(rig, "arch.gguf", data.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0zebra", 1)),
         ["zebra"]),
        ("a device instead of a file", "/dev/zero", ["/dev/zero"]),
    ]
    for what, path, words in cases:
        refused(rig, what, ["deploy", path, "--name", "bad"], words)
    only_header = os.path.join(rig.dir, "head.ggufh")
    rig.stowage("inspect", good, "--save-header", only_header)
    refused(rig, "a header without data", ["deploy", only_header, "--name", "bad"], ["head.ggufh", "header"])
    rig.same([r["deployment"] for r in rig.replicas()], ["good"], "nothing of all that became a deployment")


def requests(rig, good):
    refused(rig, "a name that is taken", ["deploy", good, "--name", "good"], ["good"])
    refused(rig, "an option that does not exist", ["deploy", good, "--contekst", "8"], ["--contekst"], 2)
    refused(rig, "a context beyond reason", ["deploy", good, "--name", "bad", "--ctx", "99999999999"], ["--ctx"], 2)
    refused(rig, "a KV type that does not exist", ["deploy", good, "--name", "bad", "--kv", "q9"], ["q9"])
    refused(rig, "a node that does not exist", ["deploy", good, "--name", "bad", "--nodes", "atlantis"], ["atlantis"])
    refused(rig, "a deployment that does not exist", ["rm", "nobody", "--yes"], ["nobody"])
    refused(rig, "a wrong key", ["ps"], ["key"], env={"STOWAGE_KEY": "sk-" + "A" * 43})
    refused(rig, "a server that is not there", ["ps"], ["127.0.0.1:9"], env={"STOWAGE_URL": "http://127.0.0.1:9"})
    status, doc = rig.request("GET", "/api/v1/nodes", key="")
    rig.same(status, 401, "no key: 401")
    status, doc = rig.request("POST", "/v1/chat/completions", rig.chat_body("good", "Hi"), key="wrong")
    rig.same(status, 401, "the gateway: wrong key, 401")
    status, doc = rig.request("POST", "/v1/chat/completions", rig.chat_body("gone", "Hi"))
    rig.check(status == 404 and "gone" in json.dumps(doc), "an unknown model: 404 that names it")
    status, doc = rig.request("POST", "/v1/chat/completions", b'{"model": "good", ')
    rig.same(status, 400, "half a document: 400")
    status, doc = rig.request("POST", "/v1/chat/completions", rig.chat_body("good", "word " * 20000))
    rig.check(status == 400 and any(c.isdigit() for c in json.dumps(doc)), "a prompt beyond the context: 400 with the numbers")
    status, doc = rig.request("POST", "/api/v1/deployments", {"name": "x", "model": good, "colour": "red"})
    rig.check(status == 400 and "colour" in json.dumps(doc), "an unknown field: 400 that names it")
    bad = rig.start(rig.host("mole"), "mole", rig.bin, "worker", "--join", rig.url, "--token", "st-" + "A" * 43, "--name", "mole",
                    "--state-dir", rig.state("mole"), "--engine-dir", rig.engine_dir())
    rig.wait("a worker with a bad token to give up", lambda: not bad.alive(), 20)
    rig.check("token" in bad.text().lower(), "a bad token: %s" % bad.text().strip().splitlines()[-1][:110])


def too_big(rig):
    path = rig.giant("llama-3.3-70b-q4_k_m")
    refused(rig, "a model that fits nowhere", ["deploy", path, "--name", "huge"], ["fit"], 3)
    gone = rig.stowage("ps", "--json")
    rig.check("huge" not in gone.stdout or rig.stowage("rm", "huge", "--yes", "--wait"), "and it is not left half there")


def port_taken(rig):
    second = rig.start(rig.server_host, "second", rig.bin, "serve", "--no-worker", "--listen",
                       "%s:%d" % (rig.server_host.addr, rig.port), "--insecure-http", "--state-dir", rig.state("second"))
    rig.wait("a second server on the port to give up", lambda: not second.alive(), 10)
    rig.check(str(rig.port) in second.text(), "a taken port: %s" % second.text().strip().splitlines()[0][:110])
    other = rig.start(rig.server_host, "same-state", rig.bin, "serve", "--no-worker", "--listen", "%s:%d" % (rig.server_host.addr, rig.port + 1),
                      "--insecure-http", "--state-dir", rig.state("server"))
    rig.wait("a second server on the state to give up", lambda: not other.alive(), 10)
    rig.check(other.text().strip(), "a state folder in use: %s" % other.text().strip().splitlines()[0][:110])


def engine_missing(rig, good):
    rig.worker("bare", "--ram-limit", "400MiB", engine_dir=os.path.join(rig.dir, "no-engines"))
    r = rig.stowage("deploy", good, "--name", "lost", "--nodes", "bare", "--timeout", "15s", ok=None)
    text = r.stdout + r.stderr
    said = [x for x in text.splitlines() if "engine" in x.lower()]
    rig.check(r.returncode != 0 and said, "a node without an engine: %s" % (said or [text])[0][:110])
    rig.stowage("rm", "lost", "--yes", "--wait", ok=None)
    next(p for p in rig.processes if p.name == "bare").stop()
    rig.check(rig.ask("good", "Still there?", 4)["tokens"], "the other model answers")


def node_gone_while_loading(rig):
    """A worker dies while its group loads: a clear state, and the model comes up when there is room again."""
    path = rig.demo("wide", "--layers", "80", "--embd", "1024", "--heads", "16", "--kv-heads", "4", "--ff", "2816", "--ctx", "2048")
    for name in ("left", "right", "spare"):
        rig.worker(name, "--ram-limit", "770MiB")
    rig.stowage("deploy", path, "--name", "wide", "--nodes", "left,right,spare", "--no-wait")
    rig.wait("engines on every host", lambda: all(rig.hosts[n].engines() for n in ("left", "right", "spare")), 60, 0.01)
    first = rig.replica("wide")
    main = first["assignment"]["main_node"]
    victim = next(n for n in ("left", "right", "spare") if n != main)
    process = next(p for p in rig.processes if p.name == victim)
    process.kill()
    def noticed():
        r = rig.replica("wide")
        return r if r["state"] not in ("starting", "fetching", "ready", "assigned") and r["reason"]["message"] else None
    r = rig.wait("the loss to be told", noticed, 40)
    rig.check(r["reason"]["message"], "a node gone while loading: %s: %s" % (r["state"], r["reason"]["message"][:100]))
    rig.check(rig.ask("good", "Still there?", 4)["tokens"], "the other model answers")
    rig.processes.remove(process)
    rig.start(rig.hosts[victim], victim, rig.bin, "worker", "--join", rig.url, "--name", victim, "--state-dir", rig.state(victim),
              "--engine-dir", rig.engine_dir(), "--threads", "1", "--ram-limit", "770MiB")
    rig.ready("wide", 120, first["generation"] + 1)
    rig.check(rig.ask("wide", "Hello", 4)["tokens"], "with the node back it comes up by itself and answers")
    rig.stowage("rm", "wide", "--yes", "--wait")


def disk_full(rig, good):
    """The server's disk is full: writes are refused by name, reading and serving go on, and space heals it."""
    small = os.path.join(rig.tmpfs("small", "256k"), "worker")
    p = rig.start(rig.host("tight"), "tight", rig.bin, "worker", "--join", rig.url, "--token", rig.token(), "--name", "tight",
                  "--state-dir", small, "--engine-dir", rig.engine_dir(), "--ram-limit", RAM)
    rig.wait("the node with a small disk", lambda: rig.usable("tight"), 20)
    filler = os.path.join(os.path.dirname(small), "filler")
    fill(filler)
    r = rig.stowage("deploy", good, "--name", "tight", "--nodes", "tight", "--timeout", "20s", ok=None)
    text = r.stdout + r.stderr
    if r.returncode:
        rig.check("space" in text.lower() or "disk" in text.lower(), "a worker's full disk: %s" % text.strip().splitlines()[-1][:110])
    else:
        rig.check(rig.ask("tight", "Hello", 4)["tokens"], "a worker's full disk costs logs, not the model")
    rig.check(p.alive(), "the worker lives")
    rig.stowage("rm", "tight", "--yes", "--wait", ok=None)
    os.remove(filler)
    p.stop()


def server_disk_full():
    with Rig("server_disk_full") as rig:
        state = rig.tmpfs("state-server", "2M")
        rig.serve()
        rig.worker("solo", "--ram-limit", RAM)
        good = rig.demo()
        rig.stowage("deploy", good, "--name", "good")
        rig.ready("good")
        filler = os.path.join(state, "filler")
        fill(filler)
        failed = None
        for i in range(200):  # what the store's log still has room for goes through
            status, doc = rig.request("POST", "/api/v1/keys", {"name": "k%d" % i, "scope": "api"})
            if status >= 400:
                failed = (status, json.dumps(doc))
                break
        rig.check(failed and failed[0] in (500, 503, 507), "a full disk under the server: %s" % (failed or ("accepted 200 keys",))[-1])
        rig.check("disk" in failed[1].lower() or "space" in failed[1].lower() or "full" in failed[1].lower(), "and it says so")
        rig.check(rig.ask("good", "Still there?", 4)["tokens"], "the model goes on answering")
        os.remove(filler)
        status, doc = rig.request("POST", "/api/v1/keys", {"name": "after", "scope": "api"})
        rig.same(status, 201, "with space again writing works, without a restart")
        rig.server_process.kill()
        rig.server_process.p.wait()
        rig.processes.remove(rig.server_process)
        rig.serve()
        names = [k["name"] for k in rig.api("GET", "/api/v1/keys")["items"]]
        rig.check("after" in names, "kill -9 of the server: what was acknowledged is there")
        rig.ready("good", 60)
        rig.check(rig.ask("good", "Still there?", 4)["tokens"], "and the model answers")


def fill(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 4096, 1):
            while True:
                try:
                    if os.write(fd, b"x" * size) < size:
                        break
                except OSError:
                    break
    finally:
        os.close(fd)


def engine_port_taken(rig, good):
    """Other programs sit on ports of the engines' range: the worker takes others."""
    import socket
    from rig import in_namespace
    host = rig.hosts["solo"]
    ports = [int(w.split("--port ")[1].split()[0]) for _, _, w in host.engines("llama-server")]

    def occupy():
        held = []
        for port in range(ports[0] - 3, ports[0] + 40):
            s = socket.socket()
            try:
                s.bind(("127.0.0.1", port))
                s.listen(1)
                held.append(s)
            except OSError:
                s.close()
        return held

    held = in_namespace(host.ns, occupy)
    before = rig.replica("good")
    os.kill(host.engines("llama-server")[0][0], signal.SIGKILL)
    rig.ready("good", 60, before["generation"] + 1)
    rig.check(rig.ask("good", "Hello", 4)["tokens"], "%d ports of the range are taken: the engine comes back on another" % len(held))
    for s in held:
        s.close()


def main():
    with Rig("bad_input") as rig:
        rig.serve()
        rig.worker("solo", "--ram-limit", RAM)
        good = rig.demo()
        rig.stowage("deploy", good, "--name", "good", "--nodes", "solo")
        rig.ready("good")
        files(rig, good)
        requests(rig, good)
        too_big(rig)
        port_taken(rig)
        engine_missing(rig, good)
        engine_port_taken(rig, good)
        disk_full(rig, good)
        node_gone_while_loading(rig)
        rig.same(rig.replica("good")["state"], "ready", "through all of that the first model stayed")
    server_disk_full()


main()
