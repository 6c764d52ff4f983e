#!/usr/bin/env python3
"""Planning on a live cluster and on its snapshot: the same answers; what a file lists is what runs; constraints hold for what really
runs; a saved plan is refused when it is stale; moves that make room; exit statuses.

Cards are played, the engine is the real one with the mathematics left out."""
import json
import os
import re
import time

from rig import ROOT, Failure, Rig

TINY, MODEL = "qwen3-0.6b-q8_0", "llama-3.1-8b-q4_k_m"
CARDS = {
    "east": [("RTX 3090", "13GiB", "936GB/s"), ("RTX 3060", "8GiB", "360GB/s")],
    "north": [("RTX 3060", "8GiB", "360GB/s"), ("RTX 3060", "8GiB", "360GB/s")],
    "west": [("RTX 3090", "13GiB", "936GB/s")],
}
PRICES = {"schema": "stowage.prices/1", "currency": "EUR", "slots": {"west": 2},
          "items": [{"name": "RTX 3090", "price": 800}, {"name": "RTX 3060", "price": 250}]}
SMALL = ("--ctx", "2048")


def start(rig):
    options = {}
    for name, cards in CARDS.items():
        path = os.path.join(rig.dir, name + ".yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write("devices:\n" + "".join("  - {name: %s, memory: %s, bandwidth: %s}\n" % c for c in cards))
        options[name] = ("--devices", "fake:" + path, "--ram-limit", "6GiB")
    options["north"] += ("--label", "zone=cold")
    rig.workers(options, shim=True)
    rig.same(rig.stowage("label", "east", "zone=warm", "rack=1").stdout, "east zone=warm rack=1\n", "labels are set")
    rig.same(rig.stowage("label", "east", "rack-").stdout, "east zone=warm\n", "and removed")


def status(rig, wanted, what, *args):
    r = rig.stowage(*args, ok=None)
    if r.returncode != wanted:
        raise Failure("%s: exit status %d\n%s%s" % (what, r.returncode, r.stdout[-1500:], r.stderr[-1500:]))
    rig.check(True, "%s: exit status %d" % (what, wanted))
    return r


def write(rig, name, doc):
    path = os.path.join(rig.dir, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(doc if isinstance(doc, str) else json.dumps(doc))
    return path


def gpus(rig, name):
    """Sorted node:index of every part of every replica."""
    return sorted("%s:%d" % (p["node"], p["index"]) for r in rig.replicas(name) for p in r["assignment"]["parts"])


# ---- the same answers ----

def ageless(text):
    """How old readings are is all that a file does not know."""
    return re.sub(r',?\{"code":"ASSUMED_SEEN","params":\{"seconds":\d+\}\}', "", text)


def both(rig, what, *args):
    """Readings change by themselves: an answer counts when the snapshot before it and after it is one."""
    def look():
        before = rig.stowage("snapshot").stdout
        live = rig.stowage(*args, "--json", ok=None)
        if rig.stowage("snapshot").stdout != before:
            return None
        return before, live
    snapshot, live = rig.wait("a quiet moment", look, 30)
    path = write(rig, "snapshot.yaml", snapshot)
    here = rig.stowage(*args, "--json", "-f", path, ok=None)
    rig.same((here.returncode, here.stdout), (live.returncode, ageless(live.stdout)), "%s: live is what the snapshot gives, to the byte" % what)
    return json.loads(live.stdout)


def same_answers(rig, path, header):
    prices = write(rig, "prices.yaml", PRICES)
    both(rig, "plan", "plan", path, *SMALL)
    both(rig, "a refusal", "plan", header, "--no-ram")
    both(rig, "plans", "plan", path, header, "-r", "2", *SMALL)
    both(rig, "whatif", "whatif", path, *SMALL, "--add", "west: 2x RTX 3060", "--remove", "east:0", "--drain", "north")
    size = both(rig, "size", "size", header, "--no-ram", "--ctx", "32768", "--prices", prices)
    offer = size["offers"][0]
    edits = [w for e in offer["edits"] for w in ("--" + e["op"].replace("_", "-"), e["what"])]
    after = json.loads(rig.stowage("whatif", header, "--no-ram", "--ctx", "32768", "--json", *edits).stdout)["after"]
    rig.same([after["parts"], after["estimate"]], [offer["plan"]["parts"], offer["plan"]["estimate"]],
             "what size offers for %.0f EUR is what whatif plans with it" % offer["price"])
    both(rig, "defrag", "defrag", path, *SMALL)


# ---- what a file lists ----

def changes(r):
    return {c["name"]: c["change"] for c in json.loads(r.stdout)["changes"]}


def together(rig, path):
    """Alone the first would take the fast card, which is the only one for the second."""
    row = "  - {name: %s, model: %s, ctx: %d, nodes: [east], no_ram: true, gpus_per_replica: 1}\n"
    file = write(rig, "both.yaml", "models:\n" + row % ("first", path, 2048) + row % ("second", path, 32768))
    alone = json.loads(rig.stowage("plan", path, *SMALL, "--nodes", "east", "--json").stdout)
    rig.same(alone["parts"][0]["name"], "RTX 3090", "alone it would take the fast card")
    status(rig, 0, "apply of two", "apply", "-f", file, "--yes")
    rig.same([gpus(rig, n) for n in ("first", "second")], [["east:1"], ["east:0"]], "planned together, both run")
    rig.same(rig.server_process.text().count("as_planned_together=yes"), 2, "each where the plan for both had it")
    for name in ("first", "second"):
        rig.stowage("rm", name, "--yes")


def applies(rig, path):
    models = "models:\n  - {name: a, model: %s, ctx: 2048}\n  - {name: b, model: %s, ctx: 2048, labels: [zone=cold]}\n" % (path, path)
    file = write(rig, "models.yaml", models)
    r = status(rig, 0, "apply --dry-run", "apply", "-f", file, "--dry-run", "--json")
    rig.same(changes(r), {"a": "new", "b": "new"}, "a dry run says what is new")
    rig.same(rig.replicas("a"), [], "and changes nothing")
    status(rig, 2, "apply without a terminal and without --yes", "apply", "-f", file)
    status(rig, 0, "apply", "apply", "-f", file, "--yes")
    rig.same([rig.ready(n)["state"] for n in "ab"], ["ready"] * 2, "both models run")
    rig.check(gpus(rig, "b")[0].startswith("north:"), "b is where its label asks for")
    r = status(rig, 0, "apply again", "apply", "-f", file, "--yes", "--json")
    rig.same(changes(r), {"a": "unchanged", "b": "unchanged"}, "applied twice, nothing changes")
    generation = rig.replica("a")["id"]
    file = write(rig, "models.yaml", models.replace("name: a, ", "name: c, ").replace("ctx: 2048, labels", "ctx: 4096, labels"))
    r = status(rig, 0, "apply of another list", "apply", "-f", file, "--yes", "--json")
    rig.same(changes(r), {"c": "new", "b": "changed", "a": "not in file"}, "new, changed, not in the file")
    rig.same(rig.ready("b")["ctx"], 4096, "the changed one runs anew")
    rig.same(rig.replica("a")["id"], generation, "what is not in the file is left alone")
    file = write(rig, "models.yaml", models + "  - {name: huge, model: %s, ctx: 40960, n_slots: 8, max_nodes: 1, no_ram: true}\n" % path)
    r = status(rig, 3, "apply of more than there is room for", "apply", "-f", file, "--yes")
    rig.check("nothing was changed" in r.stderr, "it says that nothing was changed")
    rig.same(rig.replica("b")["ctx"], 4096, "and nothing was")
    r = status(rig, 9, "with --partial", "apply", "-f", file, "--partial", "--dry-run", "--json")
    rig.same(changes(r)["huge"], "left out", "what does not fit is left out")
    file = write(rig, "models.yaml", models.replace("zone=cold", "zone=cool"))
    r = status(rig, 4, "a label that no node has", "apply", "-f", file, "--yes")
    rig.check("did you mean 'zone=cold'?" in r.stderr, "the nearest is named: %s" % r.stderr.strip())


def exit_code(rig, path):
    status(rig, 0, "plan --exit-code of what runs", "plan", path, "--name", "a", *SMALL, "--exit-code")
    status(rig, 10, "of another context", "plan", path, "--name", "a", "--ctx", "1024", "--exit-code")
    status(rig, 10, "of another name", "plan", path, "--name", "z", *SMALL, "--exit-code")


# ---- constraints ----

def constraints_hold(rig, path):
    def deploy(name, *args):
        rig.stowage("deploy", path, "--name", name, *SMALL, *args)
        return gpus(rig, name)
    rig.same(deploy("pin", "--gpus", "north:1"), ["north:1"], "--gpus: it runs there")
    where = deploy("type", "--gpu-types", "rtx 3060", "--gpus-per-replica", "2", "--no-network")
    rig.same(where, ["north:0", "north:1"], "two of one type on one node")
    where = deploy("apart", "--replicas", "3", "--anti-affinity", "apart")
    rig.same(sorted(w.split(":")[0] for w in where), ["east", "north", "west"], "one replica per node")
    deploy("split", "--gpus", "east:0,west:0,north:0", "--tensor-split", "5,16,7")
    layers = {"%s:%d" % (p["node"], p["index"]): p["n_layers"] for p in rig.replica("split")["assignment"]["parts"]}
    rig.same(layers, {"east:0": 5, "west:0": 16, "north:0": 7}, "a split by hand runs as it is")
    r = status(rig, 2, "a split of another sum", "deploy", path, *SMALL, "--gpus", "east:0,west:0", "--tensor-split", "5,20")
    rig.check("25 layers" in r.stderr and "28" in r.stderr, "it names both sums: %s" % r.stderr.strip())


# ---- saved plans ----

def saved_plans(rig, path):
    out = os.path.join(rig.dir, "plan.json")
    rig.stowage("plan", path, *SMALL, "--name", "saved", "--out", out)
    with open(out, encoding="utf-8") as f:
        plan = json.load(f)
    used = "%s:%d" % (plan["parts"][0]["node"], plan["parts"][0]["gpu"])
    rig.stowage("drain", plan["parts"][0]["node"])
    r = status(rig, 5, "a plan whose node is drained", "apply", out, "--yes")
    rig.check("stale" in r.stderr and used in r.stderr, "it says what differs: %s" % r.stderr.splitlines()[0])
    rig.same(rig.replicas("saved"), [], "and nothing was deployed")
    rig.stowage("undrain", plan["parts"][0]["node"])
    rig.stowage("apply", out, "--yes")
    rig.same(gpus(rig, "saved"), [used], "in time it is deployed as it was planned")
    status(rig, 5, "a name that runs already", "apply", out, "--yes")
    r = rig.stowage("explain", "saved", "--why-not", "north:0")
    rig.check("with it" in r.stdout and "north:0" in r.stdout, "why not that card: the best plan with it")
    r = json.loads(rig.stowage("explain", "saved", "--why-not", used, "--json").stdout)
    rig.check(r["used"], "a card that is used is said to be used")


# ---- room ----

def makes_room(rig, path):
    """Two small models on the two large cards; a third needs one of them whole."""
    for name in {r["deployment"] for r in rig.replicas()}:
        rig.stowage("rm", name, "--yes")
    rig.wait("all to be gone", lambda: not rig.replicas(), 20)
    rig.stowage("drain", "north")
    rig.stowage("deploy", path, "--name", "one", *SMALL, "--exclude-nodes", "west", "--gpu-types", "RTX 3090")
    rig.stowage("deploy", path, "--name", "two", *SMALL, "--anti-affinity", "one")
    both(rig, "a cluster that runs something", "plan", path, *SMALL)
    rig.stowage("undrain", "north")
    rig.same([gpus(rig, "one"), gpus(rig, "two")], [["east:0"], ["west:0"]], "the large cards have one small model each")
    hungry = ("--ctx", "32768", "--no-ram", "--no-network", "--gpus-per-replica", "1")
    status(rig, 3, "no card is free for a long context", "plan", path, *hungry)
    rig.stowage("deploy", path, "--name", "long", "--no-wait", *hungry)
    rig.wait("it to wait", lambda: rig.replica("long")["state"] == "pending" and rig.replica("long")["reason"]["code"])
    doc = json.loads(rig.stowage("defrag", "--json").stdout)
    rig.same(doc["feasible"], True, "defrag finds what waits, and makes room")
    rig.same([m["name"] for m in doc["moves"]], ["two"], "by moving the one that may")
    rig.check(doc["moves"][0]["plan"]["parts"][0]["node"] != "west" and doc["moves"][0]["bytes"] > 4e9,
              "to %s, %.1f GB to load" % (doc["moves"][0]["plan"]["parts"][0]["node"], doc["moves"][0]["bytes"] / 1e9))
    rig.same(doc["pending"]["parts"][0]["node"], "west", "so that the third has a card")
    same = both(rig, "defrag of the file", "defrag", path, *hungry, "--name", "long")
    places = [[(m["name"], m["plan"]["parts"]) for m in d["moves"]] + d["pending"]["parts"] for d in (same, doc)]
    rig.same(places[0], places[1], "asked of the file, the same moves")
    text = rig.stowage("defrag", "long").stdout
    rig.check("move two/0 to" in text and "Nothing was moved." in text, "in words: %s" % text.splitlines()[0])
    rig.same(gpus(rig, "two"), ["west:0"], "and nothing was moved")
    rig.stowage("rm", "long", "--yes", "--wait")
    rig.check("nothing waits" in rig.stowage("defrag").stdout, "with nothing waiting it says so")


def exit_statuses(rig, path):
    status(rig, 2, "an unknown policy", "plan", path, "--policy", "fastst")
    status(rig, 4, "a GPU that is not there", "plan", path, "--gpus", "west:1")
    status(rig, 4, "a file that is not there", "plan", "/no/such.gguf")
    status(rig, 4, "a model that does not run", "explain", "nobody")
    status(rig, 3, "nothing on the list makes it fit", "size", path, "--no-ram", "--ctx", "131072", "--max-gpus", "1", "--prices",
           write(rig, "prices.yaml", PRICES))
    r = rig.stowage("plan", path, "--server", "http://127.0.0.1:9", "--json", ok=None)
    rig.same((r.returncode, json.loads(r.stdout)["error"]["code"]), (7, "UNREACHABLE"), "no server: exit status 7, a document")


def main():
    with Rig("plans") as rig:
        rig.serve()
        start(rig)
        tiny, path = rig.giant(TINY), rig.giant(MODEL)
        header = os.path.join(ROOT, "tests/data/models/llama-3.3-70b-q4_k_m.ggufh")
        begin = time.monotonic()
        same_answers(rig, path, header)
        together(rig, path)
        applies(rig, tiny)
        exit_code(rig, tiny)
        constraints_hold(rig, tiny)
        saved_plans(rig, tiny)
        makes_room(rig, path)
        exit_statuses(rig, path)
        print("took %.1f s" % (time.monotonic() - begin))


main()
