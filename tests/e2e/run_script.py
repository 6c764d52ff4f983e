#!/usr/bin/env python3
"""./run in a copy of the checkout: builds, answers, says where things are, stops cleanly; the second time quickly."""
import os
import re
import shutil
import signal
import subprocess
import time

from rig import ROOT, Failure, Rig


def copy(rig):
    """The tracked files, as a clone has them, and the build of this run so that only what differs is compiled again."""
    folder = os.path.join(rig.dir, "checkout")
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if os.path.isfile(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(folder, name))
    for name in ("web/node_modules",):  # what npm has fetched already
        if os.path.isdir(os.path.join(ROOT, name)):
            shutil.copytree(os.path.join(ROOT, name), os.path.join(folder, name), symlinks=True)
    return folder


def run_once(rig, folder, env):
    t = time.monotonic()
    r = subprocess.run([os.path.join(folder, "run")], cwd="/", env=dict(env, STOWAGE_RUN_ONCE="1"), stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=600)
    if r.returncode:
        raise Failure("./run: exit status %d\n%s\n%s" % (r.returncode, r.stdout[-3000:], r.stderr[-3000:]))
    return time.monotonic() - t, r.stdout + r.stderr


def listening(port):
    r = subprocess.run(["ss", "-Hltn", "sport = :%d" % port], capture_output=True, text=True, check=True)
    return bool(r.stdout.strip())


def main():
    with Rig("run_script") as rig:
        env = dict(rig.env, STOWAGE_PORT="18480")
        if rig.o.engine:
            env["STOWAGE_ENGINE_PATH"] = rig.o.engine
        folder = copy(rig)
        first, text = run_once(rig, folder, env)
        rig.check("random weights" in text, "it says plainly that the model speaks noise")
        url = re.search(r"UI +(http://127\.0\.0\.1:\d+)", text)
        rig.check(url and "OpenAI" in text and "tok/s" in text, "it names UI, API and tokens per second")
        rig.check(len(re.findall(r"^  stowage \w+", text, re.M)) >= 3, "and the next three commands")
        rig.same(rig.marked(), [], "after the end no process is left")
        second, text = run_once(rig, folder, env)
        rig.check("installing" not in text and second < max(20, first), "the first time took %.1f s, the second %.1f s" % (first, second))
        held = subprocess.Popen(["python3", "-m", "http.server", "--bind", "127.0.0.1", "18480"], env=rig.env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        rig.wait("a listener on the port", lambda: listening(18480), 10)
        p = subprocess.Popen([os.path.join(folder, "run")], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, start_new_session=True)
        lines = []
        for line in p.stdout:
            lines.append(line)
            if "Ctrl-C stops everything" in line:
                break
        held.kill()
        held.wait()
        rig.check(any("18480 is taken" in x for x in lines), "a taken port: it says so and takes the next")
        os.killpg(p.pid, signal.SIGINT)
        p.stdout.read()
        rig.check(p.wait(60) in (0, 130), "Ctrl-C ends it")
        rig.same(rig.marked(), [], "and nothing is left")


main()
