#!/usr/bin/env python3
"""Random splits: the engine's own log of which device got which layers equals the plan.

Unequal played cards on three hosts; models of several kinds are deployed on random subsets of them. llama-server says
at its highest verbosity where each layer went; that must be the assignment, layer by layer."""
import glob
import os
import random
import re
import stat

from rig import Failure, Rig

MODELS = ("llama-3.1-8b-q4_k_m", "qwen3-30b-a3b-q4_k_m", "gemma-3-27b-q4_k_m", "gpt-oss-120b-mxfp4", "deepseek-r1-ud-iq2_xxs-mla",
          "llama-3.3-70b-q4_k_m", "qwen3-next-80b-a3b-q4_k_m")
HOSTS = ("east", "north", "west")
CARDS_PER_HOST = 6
CASES = 16
ENOUGH, SPREAD = 10, 6  # so many must fit somewhere, and be split: else this proves too little


def talkative_engine(rig):
    """An engine folder whose llama-server says more and writes it to a file of its own."""
    real = os.path.join(rig.engine_dir(), "current", "bin")
    folder = os.path.join(rig.dir, "engine", "bin")
    os.makedirs(folder)
    os.symlink(os.path.join(real, "ggml-rpc-server"), os.path.join(folder, "ggml-rpc-server"))
    path = os.path.join(folder, "llama-server")
    with open(path, "w", encoding="ascii") as f:
        f.write('#!/bin/sh\ncase " $* " in *" -m "*) set -- "$@" -lv 5 --log-file "%s/engine-$$.log" ;; esac\n'
                'exec "%s/llama-server" "$@"\n' % (rig.dir, real))
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    return os.path.dirname(folder)


def start(rig, rng):
    engine, options = talkative_engine(rig), {}
    for name in HOSTS:
        path = os.path.join(rig.dir, name + ".yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write("devices:\n")
            for i in range(CARDS_PER_HOST):
                f.write("  - {name: Card %d, memory: %dMiB, bandwidth: %dGB/s}\n" % (i, rng.randrange(2500, 15000), rng.randrange(300, 2000)))
        options[name] = ("--devices", "fake:" + path, "--ram-limit", "64GiB")
    rig.workers(options, shim=True, engine_dir=engine)


def engine_says(rig, text_of_argv):
    """{layer: device} and the --device list of the llama-server that runs."""
    devices = re.search(r" --device (\S+)", text_of_argv)
    logs = sorted(glob.glob(os.path.join(rig.dir, "engine-*.log")), key=os.path.getmtime)
    with open(logs[-1], encoding="utf-8", errors="replace") as f:
        text = f.read()
    layers = {int(m.group(1)): m.group(2) for m in re.finditer(r"layer +(\d+) assigned to device ([^,\s]+)", text)}
    return layers, devices.group(1).split(",") if devices else []


def plan_says(a, devices):
    want = {il: "CPU" for il in range(a["n_cpu_layers"])}
    for part, device in zip(a["parts"], devices):
        for il in range(part["first_layer"], part["first_layer"] + part["n_layers"]):
            want[il] = device
        if part["output"]:
            want[a["n_blocks"]] = device
    want.setdefault(a["n_blocks"], "CPU")
    return want


def one(rig, rng, number):
    """The number of devices on which it was compared; 0 when it does not fit."""
    model = rng.choice(MODELS)
    path = rig.giant(model)
    cards = ["%s:%d" % (h, i) for h in HOSTS for i in range(CARDS_PER_HOST)]
    chosen = rng.sample(cards, rng.randrange(2, len(cards) + 1))
    ctx, kv = rng.choice((2048, 8192, 32768)), rng.choice(("f16", "q8_0"))
    name = "case%d" % number
    r = rig.stowage("deploy", path, "--name", name, "--gpus", ",".join(sorted(chosen)), "--ctx", str(ctx), "--kv", kv,
                    "--timeout", "2m", ok=None)
    what = "%s, ctx %d, %s, %d cards offered" % (model, ctx, kv, len(chosen))
    if r.returncode == 3:
        print("   %s: does not fit" % what)
        rig.stowage("rm", name, "--yes", "--wait", ok=None)
        return 0
    if r.returncode:
        raise Failure("%s: %s%s" % (what, r.stdout[-500:], r.stderr[-1500:]))
    a = rig.ready(name)["assignment"]
    used = {"%s:%d" % (p["node"], p["index"]) for p in a["parts"] if p["uuid"]}  # the others are RAM
    if not used <= set(chosen):
        raise Failure("%s: %s were not offered" % (what, used - set(chosen)))
    argv = next(e[2] for h in HOSTS for e in rig.hosts[h].engines("llama-server"))
    got, devices = engine_says(rig, argv)
    if len(devices) != len(a["parts"]):
        raise Failure("%s: %d devices for %d parts" % (what, len(devices), len(a["parts"])))
    rig.same(got, plan_says(a, devices), "%s: %d layers on %d devices as planned" % (what, len(got), len(devices)))
    rig.stowage("rm", name, "--yes", "--wait")
    return len(devices)


def main():
    seed = int(os.environ.get("STOWAGE_SEED", "7"))
    rng = random.Random(seed)
    with Rig("splits") as rig:
        print("seed %d" % seed)
        rig.serve()
        start(rig, rng)
        done = [n for n in (one(rig, rng, i) for i in range(CASES)) if n]
        spread = sum(n > 1 for n in done)
        rig.check(len(done) >= ENOUGH and spread >= SPREAD,
                  "%d of %d random cases fitted, %d of them on several devices" % (len(done), CASES, spread))


main()
