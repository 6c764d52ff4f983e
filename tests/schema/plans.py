#!/usr/bin/env python3
"""`stowage plan` and its kin as a person or a script meets them: documents against their published schemas, texts in 80
columns and two languages, exit statuses.

usage: plans.py STOWAGE SOURCE_ROOT
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata

import jsonschema

exe, root = sys.argv[1:3]
GIB = 1 << 30
HEAD = "schema: stowage.cluster/1\nnodes:\n"
CARD = "{name: RTX 3090, memory: 24GiB, bandwidth: 936GB/s, count: %d}"
HILL_DALE = HEAD + "  - {name: hill, ram: 64GiB, gpus: [%s]}\n  - {name: dale, ram: 64GiB, gpus: [{name: RTX 4070, " \
    "memory: 12GiB, bandwidth: 504GB/s}, {name: RTX 3060, memory: 12GiB, bandwidth: 360GB/s}]}\n" % (CARD % 2)
CPUS = HEAD + "  - {name: a, ram: 24GiB}\n  - {name: b, ram: 24GiB}\n"
DRAINED = HILL_DALE + "  - {name: fern, ram: 32GiB, state: drained, reason: psu swap, gpus: [%s]}\n" % (CARD % 1)
RUNNING = HEAD + "  - {name: a, ram: 64GiB, gpus: [%s]}\n  - {name: b, ram: 64GiB, gpus: [{name: RTX 3060, memory: 12GiB, " \
    "bandwidth: 360GB/s}]}\ninstances:\n  - {name: other, main: a, main_ram: 1GiB, parts: [{gpu: 'a:0', bytes: 8GiB}]}\n" % (CARD % 1)
tmp = tempfile.mkdtemp()


def check(ok, *what):
    if not ok:
        sys.exit("failed: %s" % (what,))


# ---- schemas ----

folder = os.path.join(root, "docs/schema")
STORE = {}
for name in os.listdir(folder):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        STORE[name] = json.load(f)
    jsonschema.Draft202012Validator.check_schema(STORE[name])
    check(STORE[name]["$id"] == name, name)


def validator(name):
    return jsonschema.Draft202012Validator(STORE[name], resolver=jsonschema.RefResolver(name, STORE[name], STORE))


VALIDATORS = {name: validator(name) for name in STORE}


def of_schema(doc):
    name = doc["schema"].replace("/", "-") + ".json"
    errors = sorted(VALIDATORS[name].iter_errors(doc), key=lambda e: len(e.path))
    for e in errors[:3]:
        print("%s: %s: %s" % (name, "/".join(map(str, e.path)), e.message[:300]))
    check(not errors, doc["schema"])
    return doc


# ---- running it ----

def cluster(text):
    if "\n" not in text:
        return os.path.join(root, "examples", text + ".yaml")
    path = os.path.join(tmp, "c.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def model(name):
    return os.path.join(root, "tests/data/models", name + ".ggufh")


def run(*args, env=None):
    p = subprocess.run([exe, *args], capture_output=True, text=True, env=dict(os.environ, **(env or {})))
    return p.returncode, p.stdout, p.stderr


def document(command, where, models, *options):
    rc, out, err = run(command, *map(model, models), "-f", cluster(where), "--json", *options)
    check(rc in (0, 3) and not err, command, models, options, rc, err, out[:200])
    doc = of_schema(json.loads(out))
    check(rc == (0 if doc["feasible"] else 3), command, rc)
    return doc


def columns(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def codes(notes):
    return [n["code"] for n in notes]


# ---- plans of every kind: documents, and texts that say the same ----

SMALL, MIXED = "cluster-small-gpus", "cluster-mixed"
CASES = [  # cluster, model, options, tier
    (HILL_DALE, "llama-3.1-8b-q4_k_m", [], "one GPU"),
    (SMALL, "llama-3.3-70b-q4_k_m", ["--ctx", "32768"], "one node"),
    (HILL_DALE, "llama-3.3-70b-q4_k_m", ["--ctx", "32768"], "several nodes"),
    (SMALL, "deepseek-r1-ud-iq2_xxs-mla", [], "several nodes"),
    (MIXED, "deepseek-r1-q4_k_m-mla", [], "one node"),
    (SMALL, "deepseek-r1-q4_k_m-mla", [], "part in RAM"),
    (HILL_DALE, "llama-3.3-70b-q4_k_m", ["--ctx", "131072"], "part in RAM"),
    (CPUS, "llama-3.3-70b-q4_k_m", [], "CPU only"),
    (SMALL, "deepseek-r1-ud-iq2_xxs-mla", ["--policy", "fastest"], "several nodes"),
    (SMALL, "deepseek-r1-ud-iq2_xxs-mla", ["--policy", "throughput", "--budget", "100000"], None),
    (SMALL, "qwen3-235b-a22b-q4_k_m", ["--policy", "binpack"], None),
    (HILL_DALE, "llama-3.3-70b-q4_k_m", ["--gpus", "hill:0,hill:1", "--tensor-split", "41,39"], "one node"),
    (HILL_DALE, "llama-3.3-70b-q4_k_m", ["--gpus", "hill:0,dale:0", "--tensor-split", "41,39"], "none"),
    (SMALL, "deepseek-r1-q4_k_m-mla", ["--no-ram"], "none"),
    (HILL_DALE, "llama-3.3-70b-q4_k_m", ["--ctx", "131072", "--no-ram"], "none"),
    (DRAINED, "llama-3.3-70b-q4_k_m", ["--ctx", "131072", "--no-ram"], "none"),
    (RUNNING, "qwen2.5-32b-q4_k_m", ["--no-ram", "--no-network"], "none"),
    (SMALL, "llama-3.3-70b-q4_k_m", ["--nodes", "lab-01,lab-02", "--no-ram", "--max-gpus", "2"], "none"),
    (HILL_DALE, "llama-3.3-70b-q4_k_m", ["--ctx", "131072", "--min-ctx", "8192", "--no-ram"], None),
]
TITLES = {"en": ("WHY THIS ONE", "REJECTED", "ASSUMED", "Smallest changes"), "zh-CN": ("为什么是它", "未采用的方案", "前提", "最小改动")}
for where, name, options, tier in CASES:
    doc = document("plan", where, [name], *options)
    check(tier is None or doc["tier"] == tier, name, options, doc["tier"])
    check(document("plan", where, [name], *options) == doc, "the same again", name)
    fits = doc["feasible"]
    used = sum(sum(p["bytes"].values()) for p in doc.get("parts", []) if p["uuid"])
    for lang, (why, rejected, assumed, smallest) in TITLES.items():
        rc, out, err = run("plan", model(name), "-f", cluster(where), "--lang", lang, *options, env={"LC_ALL": "C.UTF-8"})
        check(rc == (0 if fits else 3) and bool(out) == fits and bool(err) != fits, name, rc)
        text = out or err
        wide = [line for line in text.splitlines() if columns(line) > 80]
        check(not wide, name, options, wide)
        check(assumed in text and "{" not in text and "?" not in text.replace("??", "?"), name, text)
        if fits:
            check(why in text and doc["id"] in text, name, text)
            check((rejected in text) == bool(doc["rejected"]), name)
            check(used == 0 or "%.1f GiB" % (used / GIB) in text.splitlines()[0], name, used, text.splitlines()[0])
            check(lang != "en" or ("optimal" in text) == doc["optimal"], name)
        else:
            check(text.startswith("stowage: "), text)
            check((smallest in text) == bool(doc["changes"]), name)
    by_env = run("plan", model(name), "-f", cluster(where), *options, env={"STOWAGE_LANG": "zh-CN", "LC_ALL": "C.UTF-8"})
    check(by_env == (rc, out, err), name, by_env)
    ascii_only = run("plan", model(name), "-f", cluster(where), *options, env={"LC_ALL": "C", "STOWAGE_LANG": "en"})
    check((ascii_only[1] + ascii_only[2]).isascii(), name)

# ---- what some of them must say ----

doc = document("plan", HILL_DALE, ["llama-3.3-70b-q4_k_m"], "--ctx", "32768")
check(doc["optimal"] and "WHY_NODE_SHORT" in codes(doc["why"]), doc["why"])
check([c for c in codes(doc["proof"]) if c.startswith("PROOF_NODES")] and "PROOF_TIME" in codes(doc["proof"]), doc["proof"])
check([t["term"] for t in doc["terms"]][:4] == ["offload", "nodes", "gpus", "token_time"], doc["terms"])
check(all(t["proved"] and t["amount"] == t["bound"] for t in doc["terms"][:4]), doc["terms"])
ways = {p["node"]: p["way"]["code"] for p in doc["parts"]}
check(ways[doc["main_node"]] == "WAY_LOCAL" and sorted(ways.values()) == ["WAY_LOCAL", "WAY_NETWORK"], ways)

doc = document("plan", DRAINED, ["llama-3.3-70b-q4_k_m"], "--ctx", "131072", "--no-ram")
fern = [f for f in doc["refused"] if f["what"]["params"].get("gpu", "").startswith("fern:0")]
check(fern and codes(fern[0]["says"]) == ["DRAINED", "WOULD_HOLD"], fern)
check(fern[0]["says"][0]["params"] == {"reason": "psu swap"}, fern)
undrain = [c for c in doc["changes"] if c["what"]["code"] == "UNDRAIN"]
check(len(undrain) == 1 and undrain[0]["what"]["params"] == {"node": "fern"}, doc["changes"])
check([c["fits"] for c in doc["changes"]] == sorted((c["fits"] for c in doc["changes"]), reverse=True), doc["changes"])

# A change is what it says: the largest context that does, and not one step more.
ctx = [c["what"]["params"]["ctx"] for c in doc["changes"] if c["what"]["code"] == "SET_CTX"][0]
check(document("plan", DRAINED, ["llama-3.3-70b-q4_k_m"], "--ctx", str(ctx), "--no-ram")["feasible"], ctx)
check(not document("plan", DRAINED, ["llama-3.3-70b-q4_k_m"], "--ctx", str(ctx + 256), "--no-ram")["feasible"], ctx)

doc = document("plan", SMALL, ["deepseek-r1-ud-iq2_xxs-mla"], "--policy", "throughput", "--budget", "100000")
check(not doc["optimal"] and "WARN_BUDGET" in codes(doc["warnings"]) and doc["gap_percent"] > 0, doc["warnings"])
check([c for c in codes(doc["proof"]) if c.startswith("OPEN_")], doc["proof"])

doc = document("plan", RUNNING, ["qwen2.5-32b-q4_k_m"], "--no-ram", "--no-network")
move = [c for c in doc["changes"] if c["what"]["code"] == "MOVE"]
check(move and move[0]["what"]["params"]["model"] == "other/0" and move[0]["what"]["params"]["used_bytes"] == 8 * GIB, doc["changes"])

# ---- documents made of plans ----

doc = document("plan", SMALL, ["llama-3.1-8b-q4_k_m", "llama-3.3-70b-q4_k_m"], "--replicas", "2")
check(doc["schema"] == "stowage.plans/1" and doc["placed"] == 4, doc["placed"])
doc = document("whatif", SMALL, ["llama-3.3-70b-q4_k_m"], "--remove", "lab-06", "--ctx", "32768")
check(doc["before"]["id"] != doc["after"]["id"] and doc["after"]["feasible"], doc["edits"])
document("whatif", SMALL, ["llama-3.3-70b-q4_k_m", "llama-3.1-8b-q4_k_m"], "--drain", "lab-05")
rc, out, err = run("explain", model("llama-3.3-70b-q4_k_m"), "--why-not", "lab-01:0", "-f", cluster(SMALL), "--json")
check(rc == 0 and of_schema(json.loads(out))["schema"] == "stowage.why_not/1", rc, err)
defrag = document("defrag", RUNNING, ["qwen2.5-32b-q4_k_m"], "--no-ram", "--no-network")
check(defrag["schema"] == "stowage.defrag/1", defrag)

prices = os.path.join(tmp, "p.yaml")
with open(prices, "w", encoding="utf-8") as f:
    f.write("schema: stowage.prices/1\ncurrency: EUR\nitems:\n- {name: RTX 3090, memory: 24GiB, bandwidth: 936GB/s, price: 800}\n")
size = document("size", HILL_DALE, ["llama-3.3-70b-q4_k_m"], "--ctx", "131072", "--no-ram", "--prices", prices)
check(size["offers"] and size["offers"][0]["plan"]["feasible"] and size["currency"] == "EUR", size)

# ---- the schema is strict ----

doc = document("plan", HILL_DALE, ["llama-3.3-70b-q4_k_m"], "--ctx", "32768")
PLAN = VALIDATORS["stowage.plan-1.json"]


def broken(change):
    bad = json.loads(json.dumps(doc))
    change(bad)
    return not PLAN.is_valid(bad)


check(broken(lambda d: d.update(more=1)), "a key more")
check(broken(lambda d: d.pop("parts")), "no parts")
check(broken(lambda d: d["why"][0]["params"].update(more=1)), "a parameter more")
check(broken(lambda d: d["why"][0]["params"].popitem()), "a parameter less")
check(broken(lambda d: d["why"][0].update(code="WHY_NOT")), "a code that is none")
check(broken(lambda d: d["why"].append(d["proof"][0])), "a proof among reasons")
check(broken(lambda d: d.update(feasible=False)), "a refusal with parts")
check(broken(lambda d: d.update(optimal=False)), "no gap")
check(broken(lambda d: d["parts"][0]["bytes"].update(kv=-1)), "bytes below none")
print("plans: all as wanted")
