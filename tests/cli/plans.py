#!/usr/bin/env python3
"""plan, whatif, size, defrag, explain and apply on cluster files, as a script meets them: exit statuses, one document with
--json also on error, and for bad input the file, the line, the value and the nearest name.

usage: plans.py STOWAGE MODELS_FOLDER
"""
import json
import os
import subprocess
import sys
import tempfile

exe, models = sys.argv[1:3]
folder = tempfile.mkdtemp(prefix="stowage-plans-")
ENV = {k: v for k, v in os.environ.items() if not k.startswith("STOWAGE_")}
ENV["STOWAGE_STATE_DIR"] = folder  # no key, no server: whatever asks one must say so


def check(ok, *what):
    if not ok:
        sys.exit("failed: %s" % (what,))


def run(*args):
    p = subprocess.run([exe, *args], capture_output=True, text=True, env=ENV, stdin=subprocess.DEVNULL, cwd=folder)
    check(p.returncode >= 0, args, "died of signal %d" % -p.returncode)
    return p.returncode, p.stdout, p.stderr


def document(wanted, *args):
    """One valid document on stdout, nothing on stderr."""
    rc, out, err = run(*args, "--json")
    check(rc == wanted and not err, args, rc, out[:300], err)
    return json.loads(out)


def write(name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(text)
    return name


def model(name):
    return os.path.join(models, name + ".ggufh")


L70, L8 = model("llama-3.3-70b-q4_k_m"), model("llama-3.1-8b-q4_k_m")
write("c.yaml", """schema: stowage.cluster/1
nodes:
  - {name: hill, ram: 64GiB, labels: {zone: a}, gpus: [{name: RTX 3090, memory: 24GiB, bandwidth: 936GB/s, count: 2}]}
  - {name: dale, ram: 32GiB, gpus: [{name: RTX 4070, memory: 12GiB, bandwidth: 504GB/s}, {name: RTX 3060, memory: 12GiB, bandwidth: 360GB/s}]}
""")
write("p.yaml", "schema: stowage.prices/1\ncurrency: EUR\nitems:\n  - {name: RTX 3090, price: 800}\nslots: {hill: 2}\n")
write("mine.yaml", "schema: stowage.policy/1\nname: mine\nterms: [nodes, token_time]\nconstraints: {max_gpus: 3}\n")
PLAN, F = ("plan", L70, "-f", "c.yaml"), ("-f", "c.yaml")

# ---- bad input: (arguments, exit status, what is said) ----

BAD = [
    # values of options
    (PLAN + ("--ctx", "-1"), 2, "--ctx: '-1' is not a whole number"),
    (PLAN + ("--ctx", "99999999999"), 2, "outside 0 to 16777216"),
    (PLAN + ("--min-tok-s", "nan"), 2, "'nan' is not a number"),
    (PLAN + ("--min-tok-s", "-3"), 2, "'-3' is not a number of 0 or more"),
    (PLAN + ("--min-tok-s", "9e9"), 2, "'9e9' is not a number"),
    (PLAN + ("--min-tok-s", "9999999999"), 2, "outside 0 to 1000000000"),
    (PLAN + ("--streams", "0"), 2, "outside 1 to 4096"),
    (PLAN + ("--replicas", "1001"), 2, "outside 1 to 1000"),
    (PLAN + ("--kv", "q5"), 2, "none of f16, q8_0, q4_0"),
    (PLAN + ("--budget", "much"), 2, "--budget: 'much'"),
    (PLAN + ("--gpu", "hill:0"), 2, "did you mean --gpus?"),
    (PLAN + ("--policy", "fastst"), 2, "did you mean 'fastest'?"),
    (PLAN + ("--policy", "fastest", "--policy-file", "mine.yaml"), 2, "exclude each other"),
    (PLAN + ("--labels", "zone"), 2, "label 'zone' must be key=value"),
    (PLAN + ("--max-gpus", "1", "--gpus-per-replica", "2"), 2, "gpus_per_replica is 2, but max_gpus is 1"),
    (PLAN + ("--ctx", "100", "--min-ctx", "200"), 2, "min_ctx is 200, above ctx 100"),
    (PLAN + ("--tensor-split", "40,40"), 2, "they go together"),
    (PLAN + ("--gpus", "hill:0,hill:1", "--tensor-split", "40,39,1"), 2, "tensor_split has 3 entries, gpus has 2"),
    (PLAN + ("--gpus", "hill:0,hill:1", "--tensor-split", "40,39"), 2, "gives 79 layers, the model has 80"),
    (PLAN + ("--gpus", "hill:0,hill:1", "--tensor-split", "40,0"), 2, "0 is outside 1 to 100000"),
    (PLAN + ("--gpus", "hill:0,hill:1", "--tensor-split", "40,"), 2, "ends with a comma"),
    (PLAN + ("--name", "a b"), 2, "name 'a b'"),
    (PLAN + (L8, "--name", "x"), 2, "--name is for one model, 2 are given"),
    # names that the cluster does not have
    (PLAN + ("--nodes", "hil"), 4, "there is no node 'hil'; did you mean 'hill'?"),
    (PLAN + ("--gpus", "hill:2"), 4, "there is no GPU 'hill:2'"),
    (PLAN + ("--gpu-types", "RTX 3091"), 4, "did you mean 'RTX 3090'?"),
    (PLAN + ("--labels", "zone=b"), 4, "did you mean 'zone=a'?"),
    (PLAN + ("--keep-whole", "dal"), 4, "did you mean 'dale'?"),
    # files
    (("plan", "/no/such.gguf", "-f", "c.yaml"), 4, "/no/such.gguf"),
    (("plan", L70, "-f", "none.yaml"), 4, "none.yaml"),
    (("plan", "-f", "c.yaml"), 2, "the file has no `models`"),
    (("plan",), 2, "plan needs MODEL"),
    # whatif
    (("whatif", L70) + F, 2, "whatif needs a change"),
    (("whatif", L70, "--add", "hil: RTX 3090") + F, 4, "add: there is no node 'hil'; did you mean 'hill'?"),
    (("whatif", L70, "--add", "hill: RTX 9090") + F, 2, "so its memory and bandwidth must be given"),
    (("whatif", L70, "--add-node", "elm: 2x RTX 3090") + F, 2, "node 'elm' needs its RAM"),
    (("whatif", L70, "--remove", "hill:9") + F, 4, "hill has no GPU 9; it has 0, 1"),
    (("whatif", L70, "--release", "x") + F, 4, "nothing named 'x' runs"),
    # size
    (("size", L70) + F, 2, "size needs --prices FILE"),
    (("size", L70, "--prices", "none.yaml") + F, 4, "none.yaml"),
    (("size", L70, "--prices", "p.yaml", "--gpus", "hill:0") + F, 2, "leave the list out"),
    # explain, defrag, apply
    (("explain", L70, "--why-not", "hill:7") + F, 4, "hill has no GPU 7"),
    (("explain", "c.json"), 4, "c.json"),
    (("defrag",) + F, 2, "defrag -f needs MODEL"),
    (("apply",), 2, "apply needs -f FILE or a PLAN.json"),
    (("apply", "-f", "c.yaml"), 2, "c.yaml lists no models"),
    (("apply", "c.json"), 4, "c.json"),
]
# Bad files: (name, text, arguments, what is said)
HEAD = "schema: stowage.prices/1\nitems:\n"
FILES = [
    ("b.yaml", "schema: stowage.policy/1\nname: x\nterms: []\n", PLAN + ("--policy-file", "b.yaml"), "b.yaml:3: terms"),
    ("b.yaml", "schema: stowage.policy/1\nname: x\nterms: [tokn_time]\n", PLAN + ("--policy-file", "b.yaml"), "did you mean 'token_time'?"),
    ("b.yaml", "schema: stowage.policy/1\nname: x\nterms: [nodes]\nconstraints: {max_gpu: 3}\n", PLAN + ("--policy-file", "b.yaml"), "b.yaml:4: constraints: unknown key 'max_gpu'; did you mean 'max_gpus'?"),
    ("b.yaml", HEAD + "  - {name: a, prise: 3}\n", ("size", L70, "--prices", "b.yaml") + F, "b.yaml:3: items[0]: unknown key 'prise'; did you mean 'price'?"),
    ("b.yaml", HEAD + "  - {name: a, price: .nan}\n", ("size", L70, "--prices", "b.yaml") + F, "b.yaml:3: items[0].price"),
    ("b.yaml", HEAD + "  - {name: a, price: 3, memory: -1}\n", ("size", L70, "--prices", "b.yaml") + F, "b.yaml:3: items[0].memory"),
    ("b.yaml", HEAD + "  - {name: RTX 9090, price: 3}\n", ("size", L70, "--prices", "b.yaml") + F, "item 'RTX 9090': no GPU of the cluster"),
    ("b.yaml", HEAD + "  - {name: RTX 3090, price: 3}\nslots: {hil: 2}\n", ("size", L70, "--prices", "b.yaml") + F, "did you mean 'hill'?"),
    ("b.yaml", "models:\n  - {name: a}\n", ("apply", "-f", "b.yaml"), "b.yaml:2: models[0]: a model needs its path"),
    ("b.yaml", "models:\n  - {model: /a.gguf, ctxt: 5}\n", ("apply", "-f", "b.yaml"), "b.yaml:2: models[0]: unknown key 'ctxt'"),
    ("b.yaml", "models:\n  - {model: /a.gguf}\n  - {model: /b/a.gguf}\n", ("apply", "-f", "b.yaml"), "b.yaml:3: models[1]: two models are named 'a'"),
    ("b.yaml", "models:\n  - {model: /a.gguf, policy: fastst}\n", ("apply", "-f", "b.yaml"), "did you mean 'fastest'?"),
    ("b.yaml", "model: []\n", ("apply", "-f", "b.yaml"), "b.yaml:1: unknown key 'model'; did you mean 'models'?"),
    ("b.json", "{\"schema\":\"stowage.inspect/1\"}", ("apply", "b.json"), "is not what stowage plan MODEL --out wrote"),
    ("b.json", "{\"schema\":", ("apply", "b.json"), "b.json"),
    ("b.json", "{\"schema\":\"x\"}", ("explain", "b.json"), "b.json is no plan: its schema is 'x'"),
]


def bad(args, status, says):
    rc, out, err = run(*args)
    check(rc == status and says in err, args, rc, says, err)
    doc = document(status, *args)
    check(doc["error"]["code"] in ("USAGE", "INVALID", "NOT_FOUND", "LIMIT", "CORRUPT") and says in doc["error"]["message"], args, doc)


for args, status, says in BAD:
    bad(args, status, says)
for name, text, args, says in FILES:
    write(name, text)
    rc, out, err = run(*args)
    status = 4 if "did you mean 'hill'" in says else rc if name == "b.json" else 2
    bad(args, status, says)
    check(status in (2, 4, 1), args, status)
for command in ("plan", "whatif", "size"):
    rc, out, err = run(command, L70, *(("--add", "hill: RTX 3090") if command == "whatif" else ("--prices", "p.yaml") if command == "size" else ()))
    check(rc == 6 and "no key" in err, "without a server's key", command, rc, err)

# ---- good input ----

# Several models: one document, one row each; the set fits or not.
doc = document(0, "plan", L8, L8, *F)
check([p["name"] for p in doc["plans"]] == ["llama-3.1-8b-q4_k_m", "llama-3.1-8b-q4_k_m-2"], doc["plans"])
doc = document(3, "plan", L70, "-r", "3", "--no-ram", *F)
check((doc["placed"], doc["wanted"]) == (1, 3) and not doc["feasible"], doc)
rc, out, err = run("plan", L70, "-r", "3", "--no-ram", *F)
check(rc == 3 and "1 of 3 placed" in out and "no placement" in out, out, err)
check(max(len(line) for line in out.splitlines()) <= 80, out)

# A policy of one's own, with its constraints; options come on top.
doc = document(0, *PLAN, "--policy-file", "mine.yaml")
check(doc["spec"]["policy"]["name"] == "mine" and doc["spec"]["max_gpus"] == 3, doc["spec"])
doc = document(0, *PLAN, "--policy-file", "mine.yaml", "--max-gpus", "2", "--streams", "4")
check(doc["spec"]["max_gpus"] == 2 and doc["spec"]["policy"]["streams"] == 4, doc["spec"])

# A saved plan is explained as it was; --out holds what --json prints.
rc, out, err = run(*PLAN, "--out", "plan.json", "--json")
check(rc == 0 and open(os.path.join(folder, "plan.json")).read().strip() == out.strip(), err)
rc, first, _ = run(*PLAN)
rc, again, err = run("explain", "plan.json")
check(rc == 0 and first.split("PROOF")[0] == again.split("PROOF")[0] and "WHY THIS ONE" in again, err)
check(document(0, "explain", "plan.json") == json.loads(out))
rc, out, err = run("explain", "plan.json", "--why-not", "dale:1", *F)
check(rc == 0 and "dale:1 RTX 3060 is not used" in out and "with it" in out, out, err)

# The models of a file: one plan for all of them, relative paths from the file's folder, --exit-code against what runs.
os.symlink(L8, os.path.join(folder, "small.ggufh"))
text = open(os.path.join(folder, "c.yaml")).read() + "models: [{model: small.ggufh, ctx: 4096, replicas: 2}]\n"
write("all.yaml", text)
doc = document(0, "plan", "-f", "all.yaml")
check([(p["name"], p["replica"]) for p in doc["plans"]] == [("small", 0), ("small", 1)], doc["plans"])
check(run("plan", "-f", "all.yaml", "--exit-code")[0] == 10)
spec = json.dumps(doc["specs"][0])
write("runs.yaml", text + "instances: [{name: small, main: hill, parts: [{gpu: 'hill:0', bytes: 6GiB}], spec: %s}]\n" % spec)
check(run("plan", "-f", "runs.yaml", "--exit-code")[0] == 0)
check(run("plan", L8, "--name", "small", "-f", "runs.yaml", "--exit-code")[0] == 10)

# What if: both sides; size: what it offers does it.
rc, out, err = run("whatif", L70, "--ctx", "32768", "--add", "hill: RTX 3090", *F)
check(rc == 0 and "BEFORE" in out and "AFTER" in out and "one node" in out, out, err)
doc = document(3, "whatif", L70, "--no-ram", "--remove", "hill", *F)
check(doc["before"]["feasible"] and not doc["after"]["feasible"], doc["edits"])
doc = document(0, "size", L70, "--no-ram", "--ctx", "131072", "--prices", "p.yaml", *F)
check(doc["optimal"] and doc["offers"][0]["price"] == 800 == doc["bound"], doc["offers"])
edits = [w for e in doc["offers"][0]["edits"] for w in ("--" + e["op"], e["what"])]
after = document(0, "whatif", L70, "--no-ram", "--ctx", "131072", *edits, *F)["after"]
check(after["parts"] == doc["offers"][0]["plan"]["parts"], after["parts"])
rc, out, err = run("size", L70, "--no-ram", "--ctx", "131072", "--prices", "p.yaml", *F)
check(rc == 0 and "800.00 EUR  1x RTX 3090 into hill" in out and "The first is the cheapest" in out, out, err)
check("It fits as it is" in run("size", L70, "--prices", "p.yaml", *F)[1])
rc, out, err = run("size", L70, "--no-ram", "--min-tok-s", "500", "--prices", "p.yaml", *F)
check(rc == 3 and "nothing on the price list makes it fit" in err, out, err)
doc = document(0, "defrag", L8, *F)
check(doc["feasible"] and doc["moves"] == [], doc)

# The same question, the same bytes.
for args in (PLAN, ("size", L70, "--no-ram", "--ctx", "131072", "--prices", "p.yaml") + F, ("plan", L70, L8, "-r", "2") + F):
    check(run(*args, "--json") == run(*args, "--json"), args)
for name in os.listdir(folder):
    os.remove(os.path.join(folder, name))
os.rmdir(folder)
print("ok")
