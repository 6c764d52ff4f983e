#!/usr/bin/env python3
"""stowage engine install, each way: Debian's packages, a release archive from a local server, a build that is here.

Failures must name the thing and leave nothing half done."""
import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import tarfile
import threading
import time

from rig import Failure, Rig


class Archive(http.server.BaseHTTPRequestHandler):
    """Files of a folder with Range; a path that starts with /cut/ ends half-way the first time."""
    files, cut = {}, set()

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        if name not in self.files:
            self.send_error(404)
            return
        data, first = self.files[name], 0
        if "Range" in self.headers:
            first = int(self.headers["Range"].split("=")[1].split("-")[0])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, len(data) - 1, len(data)))
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", '"%s"' % hashlib.sha256(data).hexdigest()[:8])
        self.end_headers()
        data = data[first:]
        if self.path.startswith("/cut/") and self.path not in self.cut:
            self.cut.add(self.path)
            self.wfile.write(data[:len(data) // 2])
            self.close_connection = True
            return
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, "http://127.0.0.1:%d" % server.server_address[1]


def tar_of(rig, name, folder, prefix):
    path = os.path.join(rig.dir, name)
    with tarfile.open(path, "w:gz", compresslevel=1) as t:
        if folder:
            t.add(folder, prefix)
    with open(path, "rb") as f:
        data = f.read()
    Archive.files[name] = data
    return hashlib.sha256(data).hexdigest()


def install(rig, folder, *args, ok=True, env=None):
    return rig.stowage("engine", "install", "llama.cpp", "--dir", os.path.join(rig.dir, folder), *args, ok=ok, env=env)


def works(rig, folder):
    """A server and its helper that start, found where a worker looks."""
    here = os.path.join(rig.dir, folder, "current", "bin")
    for program in ("llama-server", "ggml-rpc-server"):
        r = subprocess.run([os.path.join(here, program), "--help"], capture_output=True, text=True, timeout=30, env=rig.env)
        if "--host" not in r.stdout + r.stderr:
            raise Failure("%s/%s --help: %s" % (here, program, (r.stdout + r.stderr)[-300:]))


def nothing(rig, folder, but=()):
    """No engine, no stage: only the lock, and what a resumed download needs."""
    path = os.path.join(rig.dir, folder)
    left = sorted(x for x in os.listdir(path) if x != ".lock" and not x.startswith(but)) if os.path.isdir(path) else []
    rig.same(left, [], "%s: nothing half done is left" % folder)


def fails(rig, what, folder, args, words, env=None, but=()):
    r = install(rig, folder, *args, ok=False, env=env)
    missing = [w for w in words if w.lower() not in r.stderr.lower()]
    if missing:
        raise Failure("%s: the error does not say %r: %s" % (what, missing, r.stderr[-500:]))
    last = [x for x in r.stderr.splitlines() if x.startswith("stowage:")][-1]
    rig.check(True, "%s: %s" % (what, last[:120]))
    nothing(rig, folder, but)


def from_debian(rig):
    t = time.monotonic()
    install(rig, "debian")
    first = time.monotonic() - t
    works(rig, "debian")
    t = time.monotonic()
    r = install(rig, "debian")
    second = time.monotonic() - t
    rig.check("already" in r.stdout and second < 2, "Debian's packages: %.1f s; the second time %.2f s" % (first, second))
    real = os.path.realpath(os.path.join(rig.dir, "debian", "current"))
    size = sum(os.lstat(os.path.join(b, f)).st_size for b, _, fs in os.walk(real) for f in fs)
    rig.check(size < 200e6, "%.0f MB with its own libraries" % (size / 1e6))
    # As a user without rights, in a home of its own; the binary may lie where nobody can read, hence the copy.
    home = "/tmp/%s-home" % rig.id
    os.mkdir(home)
    try:
        shutil.copy2(rig.bin, os.path.join(home, "stowage"))
        shutil.chown(home, "nobody")
        r = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", home + "/stowage", "engine", "install"],
                           env=dict(rig.env, HOME=home), capture_output=True, text=True, timeout=120, cwd="/")
        rig.check(r.returncode == 0 and os.path.exists(home + "/.local/state/stowage/engines/current/bin/llama-server"),
                  "as nobody too: %s" % (r.stdout + r.stderr).strip().splitlines()[-1][:100])
    finally:
        shutil.rmtree(home)
    fails(rig, "a dead mirror", "dead", [], ["127.0.0.1:9"], env={"STOWAGE_ENGINE_MIRROR": "http://127.0.0.1:9/debian"})
    fails(rig, "a suite that is not there", "suite", [], ["nosuch"], env={"STOWAGE_ENGINE_SUITE": "nosuch"})
    tools = os.path.join(rig.dir, "tools")
    os.mkdir(tools)
    for name in ("sh", "tar", "rm", "mkdir"):
        os.symlink(shutil.which(name), os.path.join(tools, name))
    fails(rig, "a system without apt", "noapt", [], ["apt-get"], env={"PATH": tools})
    fails(rig, "a back end that Debian has not", "cuda", ["--backend", "cuda"], ["cuda"])
    small = rig.tmpfs("small", "30m")
    fails(rig, "no space", "small", [], ["small", "free"])
    rig.check(small, "asked before anything was fetched")


def interrupted(rig):
    folder = os.path.join(rig.dir, "stopped")
    p = subprocess.Popen([rig.bin, "engine", "install", "--dir", folder], env=rig.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rig.wait("the work to begin", lambda: any(x.startswith(".stage") for x in os.listdir(folder)), 10, 0.01)
    time.sleep(0.5)
    p.send_signal(signal.SIGINT)
    rig.check(p.wait(20) != 0, "Ctrl-C ends it")
    nothing(rig, "stopped")
    rig.same([m for m in rig.marked() if m != p.pid], [], "and no apt goes on")
    p = subprocess.Popen([rig.bin, "engine", "install", "--dir", folder], env=rig.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rig.wait("the work to begin", lambda: any(x.startswith(".stage") for x in os.listdir(folder)), 10, 0.01)
    p.kill()
    p.wait()
    install(rig, "stopped")
    works(rig, "stopped")
    rig.same([x for x in os.listdir(folder) if x.startswith(".stage")], [], "what a kill -9 left is swept by the next installation")


def from_url(rig):
    server, url = serve()
    real = os.path.realpath(os.path.join(rig.dir, "debian", "current"))
    good = tar_of(rig, "llama-b1.tar.gz", real, "llama-b1/build")
    empty = tar_of(rig, "empty.tar.gz", None, "")
    Archive.files["rubbish.tar.gz"] = b"this is no archive\n" * 1000
    rubbish = hashlib.sha256(Archive.files["rubbish.tar.gz"]).hexdigest()
    install(rig, "url", "--url", url + "/llama-b1.tar.gz", "--sha256", good)
    works(rig, "url")
    rig.check(True, "an archive by URL and checksum")
    r = install(rig, "url", "--url", url + "/llama-b1.tar.gz", "--sha256", good)
    rig.check("already" in r.stdout, "the second time nothing is fetched")
    fails(rig, "a wrong checksum", "sum", ["--url", url + "/llama-b1.tar.gz", "--sha256", "0" * 64], ["0000"])
    fails(rig, "no such file", "404", ["--url", url + "/nowhere.tar.gz", "--sha256", good], ["404"])
    fails(rig, "no checksum", "nosum", ["--url", url + "/llama-b1.tar.gz"], ["--sha256"])
    fails(rig, "an archive without an engine", "empty", ["--url", url + "/empty.tar.gz", "--sha256", empty], ["llama-server"])
    fails(rig, "a file that is no archive", "rubbish", ["--url", url + "/rubbish.tar.gz", "--sha256", rubbish], ["archive"])
    fails(rig, "a server that is not there", "gone", ["--url", "http://127.0.0.1:9/x.tar.gz", "--sha256", good], ["127.0.0.1"])
    r = install(rig, "cut", "--url", url + "/cut/llama-b1.tar.gz", "--sha256", good, ok=None)
    if r.returncode:
        nothing(rig, "cut", but=(".download",))
        install(rig, "cut", "--url", url + "/cut/llama-b1.tar.gz", "--sha256", good)
    works(rig, "cut")
    rig.check(True, "a transfer that was cut is taken up again")
    server.shutdown()


def from_path(rig):
    real = os.path.realpath(os.path.join(rig.dir, "debian", "current"))
    install(rig, "path", "--path", real)
    works(rig, "path")
    install(rig, "path", "--path", os.path.join(real, "bin", "llama-server"))
    works(rig, "path")
    rig.check(True, "a build that is here, by its folder or its program")
    fails(rig, "a folder without an engine", "nowhere", ["--path", "/etc"], ["/etc", "llama-server"])
    fails(rig, "a folder that is not there", "nowhere", ["--path", "/no/such"], ["/no/such"])
    broken = os.path.join(rig.dir, "broken")
    os.mkdir(broken)
    with open(os.path.join(broken, "llama-server"), "w", encoding="ascii") as f:
        f.write("#!/bin/sh\necho boom >&2\nexit 3\n")
    os.chmod(os.path.join(broken, "llama-server"), 0o755)
    fails(rig, "a build that does not run", "nowhere", ["--path", broken], ["does not run", "boom"])
    listed = rig.stowage("engine", "list", "--dir", os.path.join(rig.dir, "path")).stdout
    rig.check(listed.startswith("* llama.cpp-"), "engine list: %s" % listed.strip()[:100])


def main():
    with Rig("engine_install") as rig:
        from_debian(rig)
        interrupted(rig)
        from_url(rig)
        from_path(rig)


main()
