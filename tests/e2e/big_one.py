#!/usr/bin/env python3
"""DeepSeek-R1 671B on the mixed cluster: the real programs on hosts whose cards are played, and bytes that equal the plan.

The file is sparse (the exact header, a hole for the data), the shim lets the unmodified engine hold 400 GB in lazy memory and
skip the mathematics. Planning, deploying, processes, ports, tunnels, logs and the chat are what they are in earnest."""
import json
import os
import re
import sys
import time

from rig import ROOT, Rig

MODEL = "deepseek-r1-q4_k_m-mla"
MIB = 2**20


def clusters():
    """name -> (ram, cards) of the cluster file; the rows have one form, so no YAML reader is needed."""
    with open(os.path.join(ROOT, "examples/cluster-mixed.yaml"), encoding="utf-8") as f:
        rows = re.findall(r"- \{name: (\S+), +ram: (\S+), +gpus: \[(.+)\]\}", f.read())
    return {name: (ram, cards) for name, ram, cards in rows}


def start(rig, hosts):
    options = {}
    for name, (ram, cards) in hosts.items():
        path = os.path.join(rig.dir, name + ".yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("devices:\n  - %s\n" % cards)
        options[name] = ("--devices", "fake:" + path, "--ram-limit", ram)
    rig.workers(options, shim=True)


def compare(rig, name, plan_parts):
    """What the engine reports per device against the plan."""
    doc = rig.api("GET", "/api/v1/explain/" + name)["replicas"][0]
    measured = {m["part"]: m for m in doc["measured"]}
    rig.same(sorted(measured), list(range(len(plan_parts))), "%s: every part reports its bytes" % name)
    worst = 0.0
    for i, p in enumerate(plan_parts):
        m = measured[i]
        for kind in ("weights_bytes", "kv_bytes"):
            if abs(m[kind] - p[kind]) > 0.006 * MIB:  # the log has MiB with two decimals
                rig.check(False, "%s: part %d on %s %d: %s measured %d, planned %d" %
                          (name, i, p["node"], p["index"], kind, m[kind], p[kind]))
        error = m["compute_bytes"] - p["compute_bytes"]
        worst = max(worst, abs(error) / MIB)
        bound = 0.05 * p["compute_bytes"] + 100 * MIB
        rig.check(abs(error) <= bound, "%s: part %d on %s %d: weights and KV exact, compute %+.1f MiB" %
                  (name, i, p["node"], p["index"], error / MIB))
    print("%s: compute buffers differ by at most %.1f MiB" % (name, worst))


def one(rig, path, name, args, at_least):
    t = time.monotonic()
    r = rig.stowage("deploy", path, "--name", name, "--ctx", "8192", "--timeout", "3m", *args)
    took = time.monotonic() - t
    replica = rig.ready(name, 180)
    parts = replica["assignment"]["parts"]
    nodes = sorted({p["node"] for p in parts})
    rig.check(len(nodes) >= at_least, "%s: planned, deployed and ready in %.1f s on %d cards of %d nodes: %s" %
              (name, took, len(parts), len(nodes), ", ".join(nodes)))
    layers = sum(p["n_layers"] for p in parts) + replica["assignment"]["n_cpu_layers"]
    rig.same(layers, replica["assignment"]["n_layers"], "%s: every layer has its place" % name)
    for node in nodes:
        rig.check(rig.hosts[node].engines(), "%s: engines run on %s" % (name, node))
    answer = rig.ask(name, "What is a stowage plan?", 12)
    rig.check(answer["tokens"] > 0, "%s: answers through the gateway (%r)" % (name, answer["text"][:50]))
    compare(rig, name, parts)
    rig.stowage("rm", name, "--yes", "--wait", "--timeout", "1m")
    for host in rig.hosts.values():
        rig.same(host.engines(), [], "%s: nothing left on %s" % (name, host.name))
    return r


def main():
    with Rig("big_one") as rig:
        rig.serve()
        hosts = clusters()
        rig.same(len(hosts), 8, "hosts of the mixed cluster")
        start(rig, hosts)
        path = rig.giant(MODEL)
        rig.check(os.stat(path).st_size > 400e9 and os.stat(path).st_blocks * 512 < 64 * MIB,
                  "the file is %.1f GB, %.1f MB of them on disk" % (os.stat(path).st_size / 1e9, os.stat(path).st_blocks * 512 / 1e6))
        t = time.monotonic()
        doc = json.loads(rig.stowage("plan", path, "--ctx", "8192", "--json").stdout)
        rig.check(doc["feasible"], "planned on the live cluster in %.2f s" % (time.monotonic() - t))
        one(rig, path, "r1", [], 1)
        one(rig, path, "r1-spread", ["--exclude-nodes", "host01-a100"], 3)
        one(rig, path, "r1-q8kv", ["--exclude-nodes", "host01-a100", "--kv", "q8_0"], 3)


if __name__ == "__main__":
    sys.exit(main())
