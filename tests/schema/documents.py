#!/usr/bin/env python3
"""Files as a person writes them: the published JSON Schemas and the program agree, and what is wrong with a cluster, a
policy, a price list or a list of models is refused with file, line, place and the nearest name, exit status 2.

usage: documents.py STOWAGE SOURCE_ROOT
"""
import copy
import json
import os
import re
import subprocess
import sys
import tempfile

import jsonschema
import yaml

exe, root = sys.argv[1:3]
model = os.path.join(root, "tests/data/models/qwen3-0.6b-q8_0.ggufh")
tmp = tempfile.mkdtemp()


def check(ok, *what):
    if not ok:
        sys.exit("failed: %s" % (what,))


def schema(name):
    with open(os.path.join(root, "docs/schema/stowage.%s-1.json" % name), encoding="utf-8") as f:
        doc = json.load(f)
    jsonschema.Draft202012Validator.check_schema(doc)
    return jsonschema.Draft202012Validator(doc)


CLUSTER, POLICY = schema("cluster"), schema("policy")


def plan(text, *options):
    path = os.path.join(tmp, "c.yaml")
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    p = subprocess.run([exe, "plan", model, "-f", path, *options], capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr.replace(path, "c.yaml")


def read(name):
    with open(os.path.join(root, name), encoding="utf-8") as f:
        return f.read()


# ---- what is good, the examples of the documentation with it ----

def blocks(name):
    return re.findall(r"```yaml\n(schema: .*?)```", read(name), re.S)


examples = [read("examples/" + f) for f in sorted(os.listdir(os.path.join(root, "examples"))) if f.startswith("cluster-")]
full = blocks("docs/cluster-file.md")[0]
for text in examples + [full]:
    tree = yaml.safe_load(text)
    CLUSTER.validate(tree)
    rc, out, err = plan(text)
    check(rc == 0, text, err)
    # The same as JSON, escapes and all, plans the same.
    check(plan(json.dumps(tree, indent=1)) == (rc, out, err), text)
green = blocks("docs/policies.md")[0]


# Every key of a spec.
cluster_tree = yaml.safe_load(full)
spec = cluster_tree["instances"][0]["spec"]
spec.update(name="qwen3-8b", n_slots=1, kv="f16", replicas=1, nodes=["hill"], exclude_nodes=["dale"], gpus=["hill:0"],
            gpu_types=["RTX"], labels=["rack=r1"], anti_affinity=["x"], keep_whole=["hill"], gpus_per_replica=1,
            max_nodes=1, min_ctx=4096, min_tok_s=0.5, no_ram=True, no_network=True, tensor_split=[36],
            policy={"name": "own", "mode": "weighted", "streams": 2, "domain": "rack",
                    "terms": ["nodes", {"term": "power", "weight": 2}]})
CLUSTER.validate(cluster_tree)
check(plan(json.dumps(cluster_tree))[0] == 0, plan(json.dumps(cluster_tree)))
check(set(spec) == set(CLUSTER.schema["$defs"]["spec"]["properties"]), spec)

# The keys that the program names as known are those of the schema.
DEFS = CLUSTER.schema["$defs"]
for at, of in (((), CLUSTER.schema), (("nodes", 0), DEFS["node"]), (("nodes", 0, "gpus", 0), DEFS["gpu"]),
               (("links", 0), DEFS["link"]), (("reserve",), CLUSTER.schema["properties"]["reserve"]),
               (("engine",), CLUSTER.schema["properties"]["engine"]), (("instances", 0), DEFS["instance"]),
               (("instances", 0, "parts", 0), DEFS["part"]), (("instances", 0, "spec", "policy"), DEFS["policy"])):
    tree = copy.deepcopy(cluster_tree)
    place = tree
    for step in at:
        place = place[step]
    place["qqqqqq"] = 1
    rc, _, err = plan(json.dumps(tree, indent=1))
    known = re.search("unknown key 'qqqqqq'; known: (.*)", err)
    check(rc == 2 and known and set(known.group(1).split(", ")) == set(of["properties"]), at, err)
    check(not CLUSTER.is_valid(tree), at)
# The constraints of the two schemas are the same.
for key, value in POLICY.schema["$defs"]["constraints"]["properties"].items():
    check(DEFS["spec"]["properties"][key] == value, key)
check(DEFS["term"] == POLICY.schema["$defs"]["term"])

# ---- what is wrong: text, what is said, whether the schema sees it too ----

HEAD = "schema: stowage.cluster/1\n"
NODE = HEAD + "nodes:\n- name: hill\n  ram: 64GiB\n"
GPU = NODE + "  gpus:\n  - {name: x, memory: 8GiB}\n  - {name: y, memory: 8GiB%s}\n"
TWO = HEAD + "nodes: [{name: hill, ram: 1GiB}, {name: dale, ram: 1GiB}]\n"
LINK = TWO + "links:\n- {between: %s, bandwidth: %s, rtt: %s}\n"
BAD = [
    ("", "c.yaml:1: the document is empty", False),
    ("[]", "c.yaml:1: must be a mapping (key: value), found a list", True),
    ("schema: stowage.cluster/2\nnodes: []\n",
     "c.yaml:1: schema: 'stowage.cluster/2' is not read here; this program reads stowage.cluster/1", True),
    (HEAD + "nodse: []\n", "c.yaml:2: unknown key 'nodse'; did you mean 'nodes'?", True),
    (NODE + "  ram: 1GiB\n", "c.yaml:5: key 'ram' is there twice, first in line 4", False),
    (NODE + "  cpus:\n", "c.yaml:5: nodes[0].cpus: has no value", True),
    (NODE + "  state: redy\n", "c.yaml:5: nodes[0].state: 'redy' is none of ready, drained, lost; did you mean 'ready'?", True),
    (NODE + "  labels: {rack: 1}\n", "c.yaml:5: nodes[0].labels.rack: must be text, found 1; put it in quotes", True),
    (NODE + "  files: [a.gguf]\n", "c.yaml:5: nodes[0].files[0]: 'a.gguf' must be an absolute path", True),
    (NODE + "- {name: hill, ram: 1GiB}\n", "c.yaml:5: nodes[1].name: 'hill' is the name of nodes[0] too, in line 3", False),
    (NODE + "- {name: a:b, ram: 1GiB}\n",
     "c.yaml:5: nodes[1].name: 'a:b' must be letters, digits, '.', '_' or '-', and not begin with '.' or '-'", True),
    (NODE + "- {name: dale, ram: 0}\n", "c.yaml:5: nodes[1].ram: 0 is outside 1MiB to 1PiB", True),
    (GPU % ", memroy: 8GiB", "c.yaml:7: nodes[0].gpus[1]: unknown key 'memroy'; did you mean 'memory'?", True),
    (GPU % ", free: 24 GB/s", "c.yaml:7: nodes[0].gpus[1].free: '24 GB/s' is not a size; did you mean the unit GB?", True),
    (GPU % ", free: 24Gib", "c.yaml:7: nodes[0].gpus[1].free: '24Gib' is not a size; did you mean the unit GiB?", True),
    (GPU % ", free: -1", "c.yaml:7: nodes[0].gpus[1].free: -1 is outside 0 to 1PiB", True),
    (GPU % ", free: 9GiB", "c.yaml:7: nodes[0].gpus[1].free: 9.0 GiB free of 8.0 GiB", False),
    (GPU % ", bandwidth: .nan",
     "c.yaml:7: nodes[0].gpus[1].bandwidth: '.nan' is not a rate; write for example 936GB/s or 10Gbit/s", None),
    (GPU % ", bandwidth: 1e999",
     "c.yaml:7: nodes[0].gpus[1].bandwidth: '1e999' is not a rate; write for example 936GB/s or 10Gbit/s", True),
    (GPU % ", bandwidth: -0.0", "c.yaml:7: nodes[0].gpus[1].bandwidth: -0 is outside 1MB/s to 1000TB/s", True),
    (GPU % ", count: 1000000", "c.yaml:7: nodes[0].gpus[1].count: 1000000 is outside 1 to 1024", True),
    (GPU % ", count: 2, uuid: u", "c.yaml:7: nodes[0].gpus[1]: uuid and index belong to one card, but count is 2", True),
    (GPU % ", index: 0", "c.yaml:7: nodes[0].gpus[1]: hill:0 is there already; give each GPU its own index", False),
    (GPU % ", uuid: 'hill:0'", "c.yaml:7: nodes[0].gpus[1]: uuid 'hill:0' is that of hill:0 too", False),
    (GPU % ", power: 350 V", "c.yaml:7: nodes[0].gpus[1].power: '350 V' is not a power; write for example 350W", True),
    (GPU % ", price: -1", "c.yaml:7: nodes[0].gpus[1].price: -1 is outside 0.01 to 1000000000", True),
    (LINK % ("[hill, dael]", "1Gbit/s", "1ms"),
     "c.yaml:4: links[0].between[1]: there is no node 'dael' in this file; did you mean 'dale'?", False),
    (LINK % ("[hill, hill]", "1Gbit/s", "1ms"), "c.yaml:4: links[0].between: a link from 'hill' to itself", True),
    (LINK % ("all", "0", "1ms"), "c.yaml:4: links[0].bandwidth: 0 is outside 1KB/s to 1000TB/s", True),
    (LINK % ("all", "1Gbit/s", "1h"), "c.yaml:4: links[0].rtt: '1h' is outside 0 to 10s", False),
    (LINK % ("all", "1Gbit/s", "5"), "c.yaml:4: links[0].rtt: found 5; write for example 0.2ms or 30s", True),
    (TWO + "links:\n- {between: [hill, dale], bandwidth: 1Gbit/s, rtt: 1ms}\n- {between: [dale, hill], bandwidth: 1Gbit/s, rtt: 1ms}\n",
     "c.yaml:5: links[1].between: 'dale' and 'hill' have a link already, links[0]", False),
    (GPU % "" + "instances:\n- {name: q, main: hill, parts: [{gpu: 'hlil:1', bytes: 1GiB}]}\n",
     "c.yaml:9: instances[0].parts[0].gpu: there is no GPU 'hlil:1' in this file; did you mean 'hill:1'?", False),
    (GPU % "" + "instances:\n- name: q\n  main: hill\n  spec:\n    model: /m\n    max_gpu: 2\n",
     "c.yaml:13: instances[0].spec: unknown key 'max_gpu'; did you mean 'max_gpus'?", True),
    (GPU % "" + "instances:\n- name: q\n  main: hill\n  spec:\n    model: /m\n    policy: {name: p, terms: [hosp]}\n",
     "c.yaml:13: instances[0].spec.policy.terms[0]: 'hosp' is not known; did you mean 'hops'?", True),
    (HEAD + "nodes: &a []\n", "c.yaml:2: anchors (&), aliases (*) and tags (!) are not read", False),
    (HEAD + "nodes: [\n", "c.yaml:3: not valid YAML: did not find expected node content", False),
    ('{"schema": "stowage.cluster/1",\n "nodes": [],}\n[', "c.yaml:3: not valid YAML: did not find expected <document start>", False),
    (HEAD + "nodes: " + "[" * 100, "c.yaml:2: nests deeper than 64 levels", False),
    (b"schema: \xff\n", "c.yaml: not valid YAML: invalid leading UTF-8 octet at byte 8", False),
    (HEAD + "\"\\e[31mx\": 1\n", "c.yaml:2: unknown key '?[31mx'; known: schema, nodes, links, reserve, engine, instances, models", True),
]
for text, says, by_schema in BAD:
    rc, out, err = plan(text)
    check((rc, out, err) == (2, "", "stowage: %s\n" % says), text, rc, err, says)
    rc, out, err = plan(text, "--json")
    doc = json.loads(out)["error"]
    check(rc == 2 and not err and doc["code"] == "INVALID" and doc["message"].endswith(says[6:]), text, rc, doc)
    if by_schema is not None and not isinstance(text, bytes):
        try:
            tree = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError):
            continue
        check(not by_schema or not CLUSTER.is_valid(tree), "the schema lets it pass", text)

# ---- limits ----

MANY = "- {name: n%d, ram: 1GiB, gpus: [{name: x, memory: 8GiB, count: 1000}]}\n"
for text, says in (
        (HEAD + "nodes:\n" + "".join(MANY % i for i in range(1000)),
         "c.yaml:103: nodes[100].gpus[0]: more than 100000 GPUs in one cluster"),
        (HEAD + "nodes:\n" + "".join("- {name: n%d, ram: 1GiB}\n" % i for i in range(100001)),
         "c.yaml:2: nodes: 100001 items; at most 100000 are allowed"),
        (HEAD + "nodes: [" + "[],\n" * (1 << 22), "c.yaml:4194303: more than 4194304 values in one document"),
        (HEAD + "#" * (64 << 20), "c.yaml is larger than 67108864 bytes")):
    rc, out, err = plan(text)
    check((rc, out, err) == (2, "", "stowage: %s\n" % says), rc, err, says)

# ---- policies, price lists, lists of models ----

OWN = "schema: stowage.policy/1\nname: own\n"
WEIGHTED = OWN + "mode: weighted\nterms: "
GOOD_POLICIES = (green, OWN + "terms: [nodes]\n", WEIGHTED + "[nodes, {term: power, weight: 0.1}]\n",
                 OWN + "terms: [nodes]\nconstraints: {labels: [a=b], tensor_split: [1], gpus: ['h:0']}\n")
BAD_POLICIES = (
    ("name: own\nterms: [nodes]\n", "1: 'schema' is missing; write schema: stowage.policy/1"),
    (OWN, "1: 'terms' is missing"),
    (OWN + "terms: []\n", "3: terms: a policy needs at least one term, token_time for example"),
    (OWN + "terms: [nodes,\n noeds]\n", "4: terms[1]: 'noeds' is not known; did you mean 'nodes'?"),
    (OWN + "terms: [nodes, nodes]\n", "3: terms[1]: 'nodes' is given twice, first as terms[0]"),
    (OWN + "terms: [{term: nodes, weight: 1}]\n", "3: terms[0].weight: a lexicographic policy compares terms one after the "
     "other and has no weights; write mode: weighted"),
    (WEIGHTED + "[{term: nodes, weight: 0}]\n", "4: terms[0].weight: 0 is outside 1e-12 to 1e+12"),
    (WEIGHTED + "[{term: nodes, weight: -1}]\n", "4: terms[0].weight: -1 is outside 1e-12 to 1e+12"),
    (WEIGHTED + "[{term: nodes, weight: NaN}]\n", "4: terms[0].weight: must be a number, found 'NaN'"),
    (OWN + "mode: best\nterms: [nodes]\n", "3: mode: 'best' is none of lexicographic, weighted"),
    (OWN + "terms: [nodes]\nstreams: 0\n", "4: streams: 0 is outside 1 to 4096"),
    (OWN + "terms: [nodes]\nconstraints:\n  no_rma: true\n", "5: constraints: unknown key 'no_rma'; did you mean 'no_ram'?"),
)
PRICES = "schema: stowage.prices/1\nitems:\n"
BAD_PRICES = (
    ("items: []\n", "1: 'schema' is missing; write schema: stowage.prices/1"),
    (PRICES[:-1] + " []\n", "2: items: a price list needs at least one item"),
    (PRICES + "- name: x\n  prcie: 5\n", "4: items[0]: unknown key 'prcie'; did you mean 'price'?"),
    (PRICES + "- {name: x, price: .inf}\n", "3: items[0].price: must be a number, found '.inf'"),
    (PRICES + "- {name: x, price: 5, memory: 24Gib}\n", "3: items[0].memory: '24Gib' is not a size; did you mean the unit GiB?"),
)
MODELS = "models:\n- {model: %s}\n" % model
BAD_MODELS = (
    ("modles: []\n", "1: unknown key 'modles'; did you mean 'models'?"),
    ("models: %s\n" % model, "1: models: must be a list, found '%.60s'" % model),
    ("models:\n- {model: %s,\n   ctxx: 1}\n" % model, "3: models[0]: unknown key 'ctxx'; did you mean 'ctx'?"),
    ("models:\n- {model: %s, policy: fastst}\n" % model, "2: models[0].policy: policy 'fastst' is none of tiered, fastest, "
     "throughput, binpack, spread, cheapest; did you mean 'fastest'?"),
    (MODELS + "schema: stowage.cluster/7\n",
     "3: schema: 'stowage.cluster/7' is not read here; this program reads stowage.cluster/1"),
    ("models: [" + "{}, " * 65 + "]\n", "1: models: 65 items; at most 64 are allowed"),
)


def told(text, says, *args):
    path = os.path.join(tmp, "d.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    p = subprocess.run([exe, *args, path], capture_output=True, text=True)
    check((p.returncode, p.stdout) == (2, ""), text, p.returncode, p.stdout, p.stderr)
    check(p.stderr.replace(path, "d.yaml") == "stowage: d.yaml:%s\n" % says, text, p.stderr, says)


with open(os.path.join(tmp, "cluster.yaml"), "w", encoding="utf-8") as f:
    f.write(full)
ON = (model, "-f", f.name)
for text in GOOD_POLICIES:
    POLICY.validate(yaml.safe_load(text))
for text, says in BAD_POLICIES:
    told(text, says, "plan", *ON, "--policy-file")
    check("NaN" in text or not POLICY.is_valid(yaml.safe_load(text)), "the schema lets it pass", text)
for text, says in BAD_PRICES:
    told(text, says, "size", *ON, "--prices")
for text, says in BAD_MODELS:
    told(text, says, "plan", "-f")
    told(text, says, "apply", "--dry-run", "-f")
CLUSTER.validate(yaml.safe_load(full + MODELS))
check(not CLUSTER.is_valid(yaml.safe_load(full + "models:\n- {model: /m, ctxx: 1}\n")))
print("documents: all as wanted")
