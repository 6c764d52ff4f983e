"""Several hosts on one machine: network namespaces with addresses of their own, joined by a bridge, and in them the
real programs: stowage serve, stowage worker, llama-server, ggml-rpc-server.

    with Rig("name") as rig:
        server = rig.serve()
        rig.worker("hill", "--ram-limit", "800MiB")
        rig.stowage("deploy", path)
        rig.check(rig.ask("demo", "Hello")["text"], "the model answers")

Leaving the block stops everything and then checks that nothing is left: no process, no namespace. Needs root; without it a
scenario fails and says so (a skipped proof proves nothing). Python 3.9, standard library only.
"""
import argparse
import ctypes
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PORT = 8080
CLONE_NEWNET = 0x40000000


class Failure(Exception):
    """A check that did not hold, or a wait that ended in vain."""


class Died(Failure):
    """A process that should run does not: no point in waiting on."""


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="Meson build folder")
    p.add_argument("--engine", default=os.environ.get("STOWAGE_E2E_ENGINE", ""),
                   help="folder of a llama.cpp; default: installed into the build folder")
    p.add_argument("--keep", action="store_true", help="leave files behind for a look")
    return p.parse_args()


def run(argv, **kw):
    return subprocess.run(argv, capture_output=True, text=True, **kw)


def ip(*words):
    r = run(["ip", *words])
    if r.returncode:
        raise Failure("ip %s: %s" % (" ".join(words), r.stderr.strip()))


def in_namespace(ns, fn):
    """Calls fn on a thread that has entered the namespace; what it opens stays there."""
    box = {}

    def body():
        try:
            fd = os.open("/run/netns/" + ns, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(fd)
            box["value"] = fn()
        except BaseException as e:  # handed to the caller's thread
            box["error"] = e

    t = threading.Thread(target=body)
    t.start()
    t.join()
    if "error" in box:
        raise box["error"]
    return box["value"]


class Host:
    """One network namespace with an address."""

    def __init__(self, rig, name, number):
        self.rig, self.name = rig, name
        self.ns = "%s-%s" % (rig.id, name)
        self.addr = "10.77.0.%d" % number
        ip("netns", "add", self.ns)
        rig.namespaces.append(self.ns)
        port = "p%d" % number
        ip("link", "add", "eth0", "netns", self.ns, "type", "veth", "peer", "name", port, "netns", rig.switch)
        ip("-n", rig.switch, "link", "set", port, "master", "br0", "up")
        ip("-n", self.ns, "link", "set", "lo", "up")
        ip("-n", self.ns, "addr", "add", self.addr + "/24", "dev", "eth0")
        ip("-n", self.ns, "link", "set", "eth0", "up")

    def pids(self):
        return [int(p) for p in run(["ip", "netns", "pids", self.ns]).stdout.split()]

    def engines(self, program=""):
        """(pid, program, whole command line) of each engine process here."""
        found = []
        for pid in self.pids():
            line = cmdline(pid)
            for name in ("ggml-rpc-server", "llama-server"):
                if "/" + name in line and name.startswith(program):
                    found.append((pid, name, line))
                    break
        return found

    def connect(self, addr, port, timeout=10):
        return in_namespace(self.ns, lambda: socket.create_connection((addr, port), timeout))

    def open_ports(self, addr):
        """TCP ports of addr that accept a connection from here: every one of 65535 is tried."""
        return in_namespace(self.ns, lambda: scan(addr))


def cmdline(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def scan(addr):
    found = []
    for first in range(1, 65536, 500):
        poller, waiting = select.poll(), {}
        for port in range(first, min(first + 500, 65536)):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((addr, port))
            poller.register(s, select.POLLOUT)
            waiting[s.fileno()] = (s, port)
        end = time.monotonic() + 5
        while waiting and time.monotonic() < end:
            for fd, _ in poller.poll(200):
                s, port = waiting.pop(fd)
                poller.unregister(fd)
                if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.append(port)
                s.close()
        for s, _ in waiting.values():
            s.close()
    return found


class Process:
    """A program in a namespace, its output in a file."""

    def __init__(self, rig, host, name, argv, env=None):
        self.name, self.host, self.argv = name, host, argv
        self.log = os.path.join(rig.dir, name + ".log")
        with open(self.log, "ab") as out:
            self.p = subprocess.Popen(["ip", "netns", "exec", host.ns] + argv, stdin=subprocess.DEVNULL, stdout=out,
                                      stderr=subprocess.STDOUT, env=env or rig.env, start_new_session=True)
        self.pid = self.p.pid

    def alive(self):
        return self.p.poll() is None

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def kill(self, signo=signal.SIGKILL):
        if self.alive():
            self.p.send_signal(signo)

    def stop(self, seconds=30):
        """SIGTERM and the exit status; SIGKILL and a failure when it does not end."""
        self.kill(signal.SIGTERM)
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.p.wait()
            raise Failure("%s did not end within %d s of SIGTERM" % (self.name, seconds)) from None


class Rig:
    def __init__(self, name, port=PORT):
        self.o = options()
        self.name, self.port = name, port
        self.id = "sw%d" % os.getpid()
        self.dir = os.path.join(os.path.abspath(self.o.build), "e2e", name)
        self.bin = os.path.join(os.path.abspath(self.o.build), "stowage")
        self.shim = os.path.join(os.path.abspath(self.o.build), "tests", "engine_shim.so")
        self.hosts, self.namespaces, self.processes, self.mounts = {}, [], [], []
        self.checks = 0
        self.server_host = self.server_process = self.key = None
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("STOWAGE_", "SHIM_", "LLAMA_"))}
        self.env["STOWAGE_RIG"] = self.id  # by which what is left is found
        self.switch = self.id + "-switch"

    # ---- life ----

    def __enter__(self):
        if os.geteuid() != 0:
            print("FAIL: end-to-end tests make network namespaces and so need root")
            sys.exit(1)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        try:
            ip("netns", "add", self.switch)
            self.namespaces.append(self.switch)
            ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
            ip("-n", self.switch, "link", "set", "br0", "up")
        except Failure as e:
            print("FAIL: this system does not let us make network namespaces: %s" % e)
            self._remove()
            sys.exit(1)
        return self

    def __exit__(self, kind, error, trace):
        left = []
        try:
            left = self._end()
        except Failure as e:
            left = [str(e)]
        if kind is None and not left:
            print("passed: %d checks" % self.checks)
            if not self.o.keep:
                shutil.rmtree(self.dir, ignore_errors=True)
            return False
        for text in left:
            print("FAIL: at the end: %s" % text)
        if kind and issubclass(kind, Failure):
            print("FAIL: %s" % error)
        self.show_logs()
        if kind is None or issubclass(kind, Failure):
            sys.exit(1)
        return False

    def _end(self):
        """Workers first, then servers; then whatever has our mark is a fault."""
        left = []
        for p in sorted(self.processes, key=lambda p: " serve " in " ".join(p.argv)):
            if p.alive():
                try:
                    p.stop()
                except Failure as e:
                    left.append(str(e))
        for pid in self.marked():
            left.append("process %d is left: %s" % (pid, cmdline(pid)[:160]))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._remove()
        return left

    def _remove(self):
        for path in reversed(self.mounts):
            run(["umount", "-l", path])
        for ns in reversed(self.namespaces):
            run(["ip", "netns", "del", ns])

    def marked(self):
        """Processes that carry our mark in their environment, wherever they went."""
        mark, found = b"STOWAGE_RIG=" + self.id.encode() + b"\0", []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    with open("/proc/%s/environ" % entry, "rb") as f:
                        if mark in f.read():
                            found.append(int(entry))
                except OSError:
                    pass
        return found

    def show_logs(self):
        for name in sorted(os.listdir(self.dir)):
            path = os.path.join(self.dir, name)
            if name.endswith(".log") and os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    lines = f.read().splitlines()
                print("---- %s (last lines of %d)" % (path, len(lines)))
                print("\n".join(lines[-25:]))

    # ---- checks ----

    def check(self, value, what):
        if not value:
            raise Failure(what)
        self.checks += 1
        print("ok %s" % what, flush=True)
        return value

    def same(self, got, wanted, what):
        if got != wanted:
            raise Failure("%s: got %r, wanted %r" % (what, got, wanted))
        return self.check(True, what)

    def wait(self, what, fn, seconds=60, every=0.1):
        """The first true value of fn(); errors of fn count as not yet."""
        end, last = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                value = fn()
                if value:
                    return value
                last = value
            except Died:
                raise
            except (OSError, Failure, http.client.HTTPException, KeyError, IndexError, ValueError) as e:
                last = e
            time.sleep(every)
        raise Failure("waited %d s in vain for: %s (last: %r)" % (seconds, what, last))

    # ---- parts ----

    def host(self, name):
        if name not in self.hosts:
            self.hosts[name] = Host(self, name, len(self.hosts) + 1)
        return self.hosts[name]

    def engine_dir(self):
        """Installed once per build folder; every worker of every scenario uses it."""
        path = os.path.join(os.path.abspath(self.o.build), "engines")
        argv = [self.bin, "engine", "install", "llama.cpp", "--dir", path]
        if self.o.engine:
            argv += ["--path", self.o.engine]
        r = run(argv, env=self.env)
        if r.returncode:
            raise Failure("engine install: " + r.stderr.strip())
        return path

    def start(self, host, name, *argv, env=None):
        p = Process(self, host, name, list(argv), env)
        self.processes.append(p)
        return p

    def state(self, name):
        return os.path.join(self.dir, "state-" + name)

    def serve(self, *args, host="server", wait=True):
        h = self.host(host)
        ready = os.path.join(self.dir, "ready.json")
        if os.path.exists(ready):
            os.remove(ready)
        p = self.start(h, host, self.bin, "serve", "--no-worker", "--listen", "%s:%d" % (h.addr, self.port), "--insecure-http",
                       "--state-dir", self.state(host), "--ready-file", ready, *args)
        self.server_host, self.server_process = h, p
        self.url = "http://%s:%d" % (h.addr, self.port)
        if wait:
            self.wait("the server's ready file", lambda: self._must_live(p) and os.path.exists(ready), 20)
            with open(os.path.join(self.state(host), "admin.key"), encoding="ascii") as f:
                self.key = f.read().strip()
        return p

    @staticmethod
    def _must_live(p):
        if not p.alive():
            raise Died("%s ended with status %d" % (p.name, p.p.returncode))
        return True

    def token(self):
        return self.api("POST", "/api/v1/tokens", {"uses": 1, "ttl_s": 600})["token"]

    def worker(self, name, *args, shim=False, wait=True, engine_dir=None):
        h = self.host(name)
        extra = []
        if shim:
            extra = ["--engine-env", "LLAMA_PRELOAD=" + self.shim, "--engine-env", "SHIM_NOCOMPUTE=1", "--engine-env", "SHIM_HOLLOW=1"]
        p = self.start(h, name, self.bin, "worker", "--join", self.url, "--token", self.token(), "--name", name, "--state-dir",
                       self.state(name), "--engine-dir", engine_dir or self.engine_dir(), "--threads", "1", *extra, *args)
        if wait:  # its engine counts when it has said its version
            self.wait("node %s" % name, lambda: self._must_live(p) and self.usable(name, engine_dir is None), 20)
        return p

    def workers(self, options, **kw):
        """Several at once, {name: extra arguments}; then all are waited for."""
        for name, args in options.items():
            self.worker(name, *args, wait=False, **kw)
        for name in options:
            self.wait("node %s" % name, lambda n=name: self.usable(n), 30)

    def usable(self, name, engine=True):
        n = self.node(name)
        return n["state"] == "ready" and (n["engine"] or not engine)

    # ---- calls ----

    def request(self, method, path, body=None, key=None, host=None, timeout=60, raw=False):
        """(status, document) of one HTTP call from a host (the server's own by default); raw gives the open response."""
        h = host or self.server_host
        c = http.client.HTTPConnection(self.server_host.addr, self.port, timeout=timeout)
        c.sock = h.connect(self.server_host.addr, self.port, timeout)
        headers = {"Authorization": "Bearer " + (self.key if key is None else key)}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        c.request(method, path, data, headers)
        r = c.getresponse()
        if raw:
            r.connection = c
            return r
        text = r.read()
        c.close()
        try:
            return r.status, json.loads(text) if text else None
        except ValueError:
            return r.status, text.decode("utf-8", "replace")

    def api(self, method, path, body=None, wanted=(200, 201, 202, 204)):
        status, doc = self.request(method, path, body)
        if status not in wanted:
            raise Failure("%s %s: %d %s" % (method, path, status, json.dumps(doc)[:400]))
        return doc

    def stowage(self, *args, ok=True, timeout=180, env=None, host=None):
        """Runs the command line on the server's host; its finished process. ok=False: it must fail."""
        e = dict(self.env, STOWAGE_STATE_DIR=os.path.join(self.dir, "state-desk"), **(env or {}))
        if self.server_host:
            e.setdefault("STOWAGE_URL", self.url)
            e.setdefault("STOWAGE_KEY", self.key or "")
        h = host or self.server_host
        prefix = ["ip", "netns", "exec", h.ns] if h else []
        try:
            r = run(prefix + [self.bin, *args], env=e, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure("stowage %s took more than %d s" % (" ".join(args), timeout)) from None
        if ok is not None and (r.returncode == 0) != ok:
            raise Failure("stowage %s: exit status %d\n%s%s" % (" ".join(args), r.returncode, r.stdout[-1500:], r.stderr[-1500:]))
        return r

    def node(self, name):
        for n in self.api("GET", "/api/v1/nodes")["items"]:
            if n["name"] == name:
                return n
        raise Failure("no node %s" % name)

    def replicas(self, deployment=None):
        items = self.api("GET", "/api/v1/replicas")["items"]
        return [r for r in items if deployment in (None, r["deployment"])]

    def replica(self, deployment):
        found = self.replicas(deployment)
        if not found:
            raise Failure("no replica of %s" % deployment)
        return found[0]

    def ready(self, deployment, seconds=120, generation=0):
        """The replica, once it is ready in that generation or a later one."""
        def look():
            r = self.replica(deployment)
            return r if r["state"] == "ready" and r["generation"] >= generation else None
        return self.wait("%s ready (generation %d or later)" % (deployment, generation), look, seconds)

    def chat_body(self, model, text, tokens=16, **more):
        return dict({"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": tokens, "seed": 1,
                     "temperature": 0, "ignore_eos": True}, **more)  # random weights may want to stop at once

    def ask(self, model, text, tokens=16, **more):
        """{"text", "tokens", "finish"} of one answer through the gateway."""
        status, doc = self.request("POST", "/v1/chat/completions", self.chat_body(model, text, tokens, **more))
        if status != 200:
            raise Failure("chat: %d %s" % (status, json.dumps(doc)[:400]))
        choice = doc["choices"][0]
        return {"text": choice["message"]["content"], "finish": choice["finish_reason"],
                "tokens": doc["usage"]["completion_tokens"], "doc": doc}

    def stream(self, model, text, tokens=16, **more):
        """(chunks of text, whether [DONE] came) of one streamed answer."""
        r = self.request("POST", "/v1/chat/completions", self.chat_body(model, text, tokens, stream=True, **more), raw=True)
        if r.status != 200:
            raise Failure("stream: %d %s" % (r.status, r.read()[:400]))
        chunks, done = [], False
        try:
            for line in r:
                if line.startswith(b"data: [DONE]"):
                    done = True
                elif line.startswith(b"data: "):
                    doc = json.loads(line[6:])
                    if "error" in doc:
                        return chunks, doc["error"]
                    for choice in doc.get("choices", []):
                        piece = choice.get("delta", {}).get("content")
                        if piece:
                            chunks.append(piece)
        except http.client.IncompleteRead:
            pass
        r.connection.close()
        return chunks, done

    # ---- models ----

    def demo(self, name="demo", *args):
        """A model of random weights in the rig's folder."""
        path = os.path.join(self.dir, name + ".gguf")
        if not os.path.exists(path):
            self.stowage("demo-model", path, *args)
        return path

    def giant(self, header):
        """A sparse file with the tensors of a real model's header."""
        path = os.path.join(self.dir, header + ".gguf")
        if not os.path.exists(path):
            self.stowage("demo-model", path, "--sparse-from", os.path.join(ROOT, "tests/data/models", header + ".ggufh"))
        return path

    def tmpfs(self, name, size):
        path = os.path.join(self.dir, name)
        os.makedirs(path, exist_ok=True)
        r = run(["mount", "-t", "tmpfs", "-o", "size=" + size, "none", path])
        if r.returncode:
            raise Failure("mount tmpfs: " + r.stderr.strip())
        self.mounts.append(path)
        return path


def layers_by_device(text):
    """{layer: device} of llama-server's log at verbosity 4; the output layer is the last number."""
    return {int(m.group(1)): m.group(2) for m in re.finditer(r"layer\s+(\d+) assigned to device (\S+?),", text)}
