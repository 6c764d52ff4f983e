#!/usr/bin/env python3
"""A model too big for each of three hosts runs over all three, survives the death of its parts, and leaves nothing behind."""
import os
import signal
import subprocess
import time

from rig import ROOT, Failure, Rig, cmdline

NODES = ("dale", "fern", "hill")
RAM = "770MiB"  # of which members keep 512 MiB free: two hosts are not enough, three are
MODEL = ("--layers", "80", "--embd", "1024", "--heads", "16", "--kv-heads", "4", "--ff", "2816", "--ctx", "2048")


def members(replica):
    return {m["node"] for m in replica["members"]}


def runs_over_three(rig, path):
    # On fewer hosts it cannot run, and the answer says why.
    r = rig.stowage("plan", path, "--max-nodes", "2", ok=None)
    rig.same(r.returncode, 3, "two of the hosts are not enough: plan ends with 3")
    rig.stowage("deploy", path, "--name", "big", "--timeout", "2m")
    replica = rig.ready("big")
    rig.same(members(replica), set(NODES), "all three hosts take part")
    for name in NODES:
        rig.check(rig.hosts[name].engines(), "an engine runs on %s" % name)
    a = replica["assignment"]
    shares = [a["n_cpu_layers"]] + [p["n_layers"] for p in a["parts"]]
    rig.same(sum(shares), a["n_layers"], "every layer has its place")
    rig.check(max(shares) < a["n_layers"] * 0.75, "no host holds the bulk of the layers: %s" % shares)
    first = rig.ask("big", "Tell me about ships.", 24)
    rig.check(first["tokens"] > 0 and first["text"].strip(), "it answers: %r" % first["text"][:60])
    rig.same(rig.ask("big", "Tell me about ships.", 24)["text"], first["text"], "the same question, the same answer")
    chunks, done = rig.stream("big", "Tell me about ships.", 24)
    rig.check(done is True and len(chunks) > 1, "it streams in %d pieces and says it is done" % len(chunks))
    rig.same("".join(chunks), first["text"], "the stream carries the same answer")
    models = rig.api("GET", "/v1/models")["data"]
    rig.check("big" in [m["id"] for m in models], "/v1/models names it")
    return first["text"]


def measured_equals_plan(rig):
    doc = rig.api("GET", "/api/v1/explain/big")["replicas"][0]
    parts = {i: p for i, p in enumerate(rig.replica("big")["assignment"]["parts"])}
    seen = {m["part"]: m for m in doc["measured"]}
    rig.same(set(seen), set(parts), "every part reports what it measured")
    for i, p in parts.items():
        for kind in ("weights_bytes", "kv_bytes"):
            # The engine's log has MiB with two decimals.
            near = abs(seen[i][kind] - p[kind]) <= 0.006 * 2**20
            rig.check(near, "%s: %s of part %d as planned (%d)" % (p["node"], kind, i, p[kind]))


def no_open_engine_port(rig):
    """Engines listen on loopback only: from another host just the tunnel of the worker is there."""
    tunnels = {n["name"]: int(n["addr"].rsplit(":", 1)[1]) for n in rig.api("GET", "/api/v1/nodes")["items"]}
    desk = rig.host("desk")
    for name in NODES:
        rig.same(desk.open_ports(rig.hosts[name].addr), [tunnels[name]], "from outside %s shows its tunnel and nothing else" % name)
    rig.same(desk.open_ports(rig.server_host.addr), [rig.port], "and the server its one port")


def survives_rpc_death(rig, text):
    before = rig.replica("big")
    name, pid = next((n, e[0]) for n in NODES for e in rig.hosts[n].engines("ggml-rpc-server"))
    os.kill(pid, signal.SIGKILL)
    rig.wait("the death of an rpc-server on %s to be noticed" % name,
             lambda: rig.replica("big")["state"] != "ready" or rig.replica("big")["generation"] > before["generation"], 15)
    after = rig.ready("big", generation=before["generation"] + 1)
    rig.same(after["generation"], before["generation"] + 1, "kill -9 of an rpc-server: the group came back by itself, next generation")
    rig.same(rig.ask("big", "Tell me about ships.", 24)["text"], text, "and answers as before")


def dies_while_streaming(rig):
    """A stream that loses its engine ends with an error, not as if it were complete."""
    before = rig.replica("big")
    r = rig.request("POST", "/v1/chat/completions", rig.chat_body("big", "Go on.", 1500, stream=True, ignore_eos=True), raw=True)
    got = r.readline()
    while not got.startswith(b"data: "):
        got = r.readline()
    main = next(e for n in NODES for e in rig.hosts[n].engines("llama-server"))
    os.kill(main[0], signal.SIGKILL)
    rest = r.read()
    rig.check(b"[DONE]" not in rest, "a stream cut by the death of llama-server does not claim to be done")
    rig.check(b"error" in rest, "and carries an error event")
    rig.ready("big", generation=before["generation"] + 1)
    rig.check(rig.ask("big", "And now?")["tokens"], "after which the model answers again")


def survives_worker_death(rig, text):
    main = next(n for n in NODES if rig.hosts[n].engines("llama-server"))
    victim = next(n for n in NODES if n != main)
    process = next(p for p in rig.processes if p.name == victim)
    process.kill()
    rig.wait("the engines of %s to die with its worker" % victim, lambda: not rig.hosts[victim].engines(), 10)
    rig.check(True, "kill -9 of a worker takes its engines along")
    rig.wait("the model to leave the routes", lambda: rig.replica("big")["state"] != "ready", 30)
    rig.wait("%s to be lost" % victim, lambda: rig.node(victim)["state"] == "lost", 30)
    rig.check(True, "the node is lost and the model, which needs it, not ready")
    status, doc = rig.request("POST", "/v1/chat/completions", rig.chat_body("big", "Hello"))
    rig.check(status == 503 and doc["error"]["message"], "meanwhile requests get 503: %s" % doc["error"]["message"][:80])
    state = rig.state(victim)
    again = rig.start(rig.hosts[victim], victim, rig.bin, "worker", "--join", rig.url, "--name", victim, "--state-dir", state,
                      "--engine-dir", rig.engine_dir(), "--threads", "1", "--ram-limit", RAM)
    rig.processes.remove(process)
    rig.ready("big", 120)
    rig.check(again.alive(), "the worker joins again with the identity it has, without a token")
    rig.same(rig.ask("big", "Tell me about ships.", 24)["text"], text, "and the model answers as before")


def files_of(rig):
    """What lies in the state folders of the workers, logs and identities apart."""
    found = set()
    for name in NODES:
        for base, _, files in os.walk(rig.state(name)):
            found |= {os.path.join(base, f) for f in files if not f.endswith((".log", ".json"))}
    return found


def leaves_nothing(rig, files):
    rig.stowage("rm", "big", "--yes", "--wait", "--timeout", "1m")
    rig.same(rig.replicas("big"), [], "after rm there is no replica")
    for name in NODES:
        rig.same(rig.hosts[name].engines(), [], "no engine process on %s" % name)
        left = [p for p in rig.hosts[name].pids() if "stowage worker" not in cmdline(p)]
        rig.same(left, [], "and no other process but the worker")
        r = subprocess.run(["ip", "netns", "exec", rig.hosts[name].ns, "ss", "-Hltn"], capture_output=True, text=True, check=True)
        rig.same(len(r.stdout.splitlines()), 1, "one listening port on %s: the tunnel" % name)
    rig.same(files_of(rig) - files, set(), "no file is left behind")
    nodes = rig.api("GET", "/api/v1/nodes")["items"]
    rig.check(all(d["claimed_bytes"] == 0 for n in nodes for d in n["devices"]), "no memory is claimed")
    status, _ = rig.request("POST", "/v1/chat/completions", rig.chat_body("big", "Hello"))
    rig.same(status, 404, "the gateway knows it no more")


def ui(rig):
    """The browser test on this cluster."""
    packages = subprocess.run([os.path.join(ROOT, "tests/ui/packages.sh")], capture_output=True, text=True, timeout=180)
    if packages.returncode:
        raise Failure("npm packages of the browser test: %s" % packages.stderr[-1000:])
    out = os.path.join(os.path.abspath(rig.o.build), "screenshots")
    argv = ["node", os.path.join(ROOT, "tests/ui/cluster.test.mjs"), "--url", rig.url + "/", "--key", rig.key, "--expect-nodes",
            str(len(NODES)), "--model", "big", "--screenshot", out]
    r = subprocess.run(["ip", "netns", "exec", rig.server_host.ns] + argv, env=rig.env, capture_output=True, text=True, timeout=180)
    print(r.stdout)
    if r.returncode:
        raise Failure("the browser test: %s%s" % (r.stdout[-2000:], r.stderr[-2000:]))
    rig.check(True, "the web UI shows the cluster (screenshots in %s)" % out)


def main():
    with Rig("three_nodes") as rig:
        rig.serve()
        rig.workers({name: ("--ram-limit", RAM) for name in NODES})
        path = rig.demo("big", *MODEL)
        files = files_of(rig)
        start = time.monotonic()
        text = runs_over_three(rig, path)
        measured_equals_plan(rig)
        no_open_engine_port(rig)
        ui(rig)
        survives_rpc_death(rig, text)
        dies_while_streaming(rig)
        survives_worker_death(rig, text)
        leaves_nothing(rig, files)
        print("took %.1f s" % (time.monotonic() - start))


main()
