#!/usr/bin/env python3
"""`stowage inspect` as a person or a script meets it: table, document, errors, exit statuses.

usage: inspect.py STOWAGE MODELS_FOLDER CORPUS_FOLDER
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

exe, models, corpus = sys.argv[1:4]
GIB = 1 << 30


def run(*args):
    p = subprocess.run([exe, "inspect", *args], capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr


def document(*args):
    rc, out, err = run("--json", *args)
    return rc, json.loads(out), err


def check(ok, *what):
    if not ok:
        sys.exit("failed: %s" % (what,))


def model(name):
    return os.path.join(models, name + ".ggufh")


# Tables fit 80 columns, and say what the document says.
for name in sorted(os.listdir(models)):
    path = os.path.join(models, name)
    rc, out, err = run(path)
    check(rc == 0 and not err, name, rc, err)
    long = [line for line in out.splitlines() if len(line) > 80 and "stowage plan" not in line]
    check(not long, name, long)
    rc, doc, err = document(path)
    check(rc == 0 and doc["schema"] == "stowage.inspect/1" and doc["arch_known"], name, doc)
    check(doc["file"]["header_only"] and "header only" in out, name)
    check(len(doc["layers"]) == doc["n_layers"], name)
    check(sum(l["weights_bytes"] for l in doc["layers"]) == doc["weights"]["layers_bytes"], name)
    row = doc["memory"][0]
    total = sum(row["device"].values())
    check("%.1f (%5.1f)" % (total / GIB, row["device"]["kv_bytes"] / GIB) in out, name, row)
    head = open(path, "rb").read()
    check(doc["file"]["header_sha256"] == hashlib.sha256(head).hexdigest(), name)

rc, doc, _ = document(model("deepseek-r1-q4_k_m-mla"))
rows = {(r["ctx"], r["kv"]): r["device"] for r in doc["memory"]}
check(rows[8192, "f16"]["kv_bytes"] == 61 * 8192 * 576 * 2, rows)
check(rows[8192, "q8_0"]["kv_bytes"] == 61 * 8192 * 576 // 32 * 34, rows)

# An architecture that was not checked is described, with a warning.
rc, out, err = run(os.path.join(corpus, "valid-unknown-arch"))
check(rc == 0 and "Warning: architecture newthing" in out, out)

with tempfile.TemporaryDirectory() as tmp:
    # A saved header is the header, and is never written over anything.
    saved = os.path.join(tmp, "h.ggufh")
    whole = os.path.join(corpus, "valid-v3")
    rc, out, err = run(whole, "--save-header", saved)
    check(rc == 0 and open(whole, "rb").read().startswith(open(saved, "rb").read()), err)
    check(document(saved)[1]["memory"] == document(whole)[1]["memory"])
    rc, doc, err = document(whole, "--save-header", saved)
    check(rc == 5 and doc["error"]["code"] == "CONFLICT", rc, doc)
    # Whatever is wrong, one error that names it; with --json one document on stdout.
    empty = os.path.join(tmp, "empty.gguf")
    open(empty, "wb").close()
    for args, status, code, says in (
            ([os.path.join(tmp, "absent.gguf")], 4, "NOT_FOUND", "absent.gguf"),
            ([tmp], 2, "INVALID", "not a regular file"),
            ([empty], 1, "CORRUPT", "cut short"),
            ([os.path.join(corpus, "magic-lfs")], 1, "UNSUPPORTED", "Git LFS"),
            ([os.path.join(corpus, "type-adapter")], 1, "UNSUPPORTED", "adapter"),
            ([os.path.join(corpus, "block-count-2147483648")], 1, "LIMIT", "2147483648"),
            ([], 2, "USAGE", "FILE"),
            ([whole, "--nonsense"], 2, "USAGE", "nonsense")):
        rc, out, err = run(*args)
        check(rc == status and not out and says in err and err.startswith("stowage: "), args, rc, out, err)
        rc, doc, err = document(*args)
        check(rc == status and not err and doc["error"]["code"] == code and says in doc["error"]["message"], args, rc, doc)

# Foreign text reaches neither the terminal nor the document as it is.
rc, out, err = run(os.path.join(corpus, "name-hostile"))
check(rc == 0 and "\x1b" not in out and "\x07" not in out, out)
check(document(os.path.join(corpus, "name-hostile"))[0] == 0)
print("inspect: all as wanted")
