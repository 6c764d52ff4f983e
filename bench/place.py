#!/usr/bin/env python3
"""Figures of placement: runs the benchmark and keeps its results, draws the curves, fills in the document.

usage: place.py run PLACE_BENCH [OPTION]...     runs it (options go to it), writes bench/results/place-COMMIT.json
       place.py report [RESULTS.json]           docs/placement-*.svg and the tables of docs/placement-bench.md
                                                (without an argument from the newest results)
"""
import json
import os
import platform
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(ROOT, "bench", "results")
DOCS = os.path.join(ROOT, "docs")
DOCUMENT = os.path.join(DOCS, "placement-bench.md")
TARGETS = {16: 0.1, 64: 1, 1024: 3, 10000: 5}  # ms of one plan, worst family; the median ten times less
BASELINE_FAMILIES, BASELINE_SIZES, BASELINE_CALLS = ("uniform", "jitter", "small"), (8, 16, 64, 256), 1000  # shown
COLUMNS = ["policy", "family", "model", "gpus", "answers", "optimal", "gap_percent", "steps", "median_ms", "worst_ms", "peak_bytes",
           "explained_median_ms", "explained_worst_ms", "explained_peak_bytes",
           "capped_end", "capped_calls", "capped_ms", "capped_ratio", "subsets_end", "subsets_calls", "subsets_ms", "subsets_ratio"]


# ---- running ----

def git(*args):
    return subprocess.run(["git", "-C", ROOT, *args], check=True, capture_output=True, text=True).stdout.strip()


def machine():
    """What the figures depend on; nothing that names the machine."""
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "cpu": cpu, "memory_gib": round(memory / 2**30), "system": platform.system(),
            "machine": platform.machine()}


def short(x):
    return float("%.4g" % x) if isinstance(x, float) else x


def row(cell):
    """A cell as a row of COLUMNS."""
    r = [cell["policy"], cell["family"], cell["model"], cell["gpus"], cell["answers"], cell["optimal"], cell["gap_percent"], cell["steps"]]
    for path in ("search", "explained"):
        p = cell.get(path, {})
        r += [p.get("median_ms"), p.get("worst_ms"), p.get("peak_bytes")]
    for base in ("baseline_capped", "baseline"):
        b = cell.get(base, {})
        r += [b.get("end"), b.get("calls"), b.get("ms"), b.get("ratio")]
    return [short(x) for x in r]


def lines(doc):
    """JSON with one row per line, so that results can be compared and stay small."""
    parts = []
    for key, value in doc.items():
        if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
            body = ",\n  ".join(json.dumps(v, separators=(",", ":")) for v in value)
            parts.append('"%s": [\n  %s]' % (key, body))
        else:
            parts.append('"%s": %s' % (key, json.dumps(value)))
    return "{%s}\n" % ",\n".join(parts)


def run(bench, options):
    commit = git("rev-parse", "--short=10", "HEAD")
    if git("status", "--porcelain", "--", "src", "bench", "tests", "examples", "meson.build"):
        commit += "-changed"
    handle, path = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    try:
        subprocess.run([bench, *options, "--json", path, os.path.join(ROOT, "tests/data/models"),
                        os.path.join(ROOT, "examples")], check=True)
        with open(path, encoding="utf-8") as f:
            doc = json.load(f)
    finally:
        os.unlink(path)
    for key in ("answers", "live"):
        doc[key] = [{k: short(v) for k, v in x.items()} for x in doc.get(key, [])]
    out = {"schema": "stowage.bench-place/1", "commit": commit, "date": git("show", "-s", "--format=%cs", "HEAD"),
           "machine": machine(), **{k: v for k, v in doc.items() if k != "cells"}, "columns": COLUMNS,
           "rows": [row(c) for c in doc.get("cells", [])]}
    os.makedirs(RESULTS, exist_ok=True)
    name = os.path.join(RESULTS, "place-%s.json" % commit)
    with open(name, "w", encoding="utf-8") as f:
        f.write(lines(out))
    print("\nwritten: %s" % os.path.relpath(name, ROOT))


# ---- reading ----

def load(path):
    with open(path, encoding="utf-8") as f:
        doc = json.load(f)
    cells = [dict(zip(doc["columns"], r)) for r in doc["rows"]]
    doc["cells"] = [c for c in cells if c["policy"] == "tiered"]
    doc["policies"] = [c for c in cells if c["policy"] != "tiered"]
    return doc


def newest():
    """The results file that entered the repository last, one that has not entered it before all."""
    def age(name):
        when = git("log", "-1", "--format=%ct", "--", os.path.join("bench/results", name))
        return (int(when) if when else 1 << 60, name)
    names = [n for n in os.listdir(RESULTS) if n.startswith("place-") and n.endswith(".json")]
    return os.path.join(RESULTS, max(names, key=age))


def middle(values):
    return sorted(values)[len(values) // 2]


def ordered(cells, key):
    return list(dict.fromkeys(c[key] for c in cells))


def ms(x):
    return "-" if x is None else "%.3g" % x if x < 1000 else format(round(x), ",")


def count(n):
    return format(n, ",")


# ---- tables ----

def table(head, rows):
    align = ["---"] + ["--:"] * (len(head) - 1)
    return "\n".join("| %s |" % " | ".join(str(x) for x in r) for r in [head, align, *rows])


def by_size(cells, key, pick):
    """size: values of `key` of all cells, through `pick`."""
    return {n: pick([c[key] for c in cells if c["gpus"] == n and c[key] is not None] or [0]) for n in ordered(cells, "gpus")}


def times(doc):
    """Family by size: middle / worst over models and clusters."""
    cells, sizes = doc["cells"], ordered(doc["cells"], "gpus")
    rows = []
    for family in ordered(cells, "family"):
        line = ["%s: %s" % (family, doc["families"][family])]
        for n in sizes:
            these = [c for c in cells if c["family"] == family and c["gpus"] == n]
            line.append("%s / %s" % (ms(middle([c["median_ms"] for c in these])), ms(max(c["worst_ms"] for c in these))))
        rows.append(line)
    for name, low, high in (("**all, the search alone**", "median_ms", "worst_ms"),
                            ("**all, with every explanation**", "explained_median_ms", "explained_worst_ms")):
        a, b = by_size(cells, low, middle), by_size(cells, high, max)
        rows.append([name] + ["%s / %s" % (ms(a[n]), ms(b[n])) for n in sizes])
    peak, steps = by_size(cells, "peak_bytes", max), by_size(cells, "steps", max)
    full = by_size(cells, "explained_peak_bytes", max)
    rows.append(["peak of the search, MiB"] + ["%.1f" % (peak[n] / 2**20) for n in sizes])
    rows.append(["peak with every explanation, MiB"] + ["%.1f" % (full[n] / 2**20) for n in sizes])
    rows.append(["steps, most"] + [count(steps[n]) for n in sizes])
    rows.append(["proved"] + ["%d of %d" % (sum(c["optimal"] for c in cells if c["gpus"] == n),
                                           doc["clusters"] * sum(c["gpus"] == n for c in cells)) for n in sizes])
    return table(["ms, middle / worst"] + [count(n) for n in sizes], rows)


def models(doc):
    cells = doc["cells"]
    sizes = ordered(cells, "gpus")
    rows = []
    for model in ordered(cells, "model"):
        line = [model]
        for n in sizes:
            these = [c for c in cells if c["model"] == model and c["gpus"] == n]
            worst = max(these, key=lambda c: c["worst_ms"])
            line.append("%s %s" % (ms(worst["worst_ms"]), worst["family"]))
        rows.append(line)
    return table(["worst ms, and in which family"] + [count(n) for n in sizes], rows)


def unproved(doc):
    rows = [[c["family"], count(c["gpus"]), c["model"], "%d of %d" % (doc["clusters"] - c["optimal"], doc["clusters"]),
             "%.1f" % c["gap_percent"], ms(c["worst_ms"]), count(c["steps"])]
            for c in doc["cells"] if c["optimal"] < doc["clusters"]]
    if not rows:
        return "Every answer of the run is proved."
    return table(["family", "GPUs", "model", "not proved", "largest gap, %", "worst ms", "steps"], rows)


def policies(doc):
    """Preset by size: middle / worst, and how many are proved."""
    cells = doc["policies"]
    if not cells:
        return "Not part of this run."
    sizes, rows = ordered(cells, "gpus"), []
    for policy in ordered(cells, "policy"):
        line = [policy]
        for n in sizes:
            these = [c for c in cells if c["policy"] == policy and c["gpus"] == n]
            line.append("%s / %s" % (ms(middle([c["median_ms"] for c in these])), ms(max(c["worst_ms"] for c in these))))
        these = [c for c in cells if c["policy"] == policy]
        worst = max(these, key=lambda c: c["gap_percent"])
        line.append("%d of %d" % (sum(c["optimal"] for c in these), doc["clusters"] * len(these)))
        line.append("%.1f" % worst["gap_percent"] if worst["gap_percent"] else "-")
        rows.append(line)
    return table(["ms, middle / worst"] + ["%s GPUs" % count(n) for n in sizes] + ["proved", "largest gap, %"], rows)


def base_text(c, prefix):
    end, calls, ratio = c[prefix + "_end"], c[prefix + "_calls"], c[prefix + "_ratio"]
    if end == "gives up":
        return "gives up"
    text = "%s: %s calls, %s%.3gx" % (end, count(calls), ">" if end == "limit" else "", ratio)
    return text.replace("limit: ", "")


def baseline(doc):
    """Cells in which it takes the baseline more than a few calls."""
    rows = []
    for c in doc["cells"]:
        if c["family"] in BASELINE_FAMILIES and c["gpus"] in BASELINE_SIZES and (c["subsets_calls"] or 0) >= BASELINE_CALLS:
            rows.append(["%s %s" % (c["family"], count(c["gpus"])), c["model"], base_text(c, "capped"), base_text(c, "subsets"),
                         ms(c["median_ms"]), ", ".join(c["answers"])])
    return table(["cluster", "model", "subsets, capped", "subsets, no cap", "ours, ms", "ours, answers"], rows)


def live(doc):
    rows = [["%s, %s" % (x["family"], x["mix"]), count(round(x["per_s"])), ms(x["ms"]), ms(x["scratch_ms"]),
             "%.3gx" % x["ratio"], count(x["instances"]),
             "%d / %d / %d" % (x["by_gpu"], x["by_node"], x["full"]), count(x["refused"]),
             "%d of %d" % (x["differ"], x["compared"])] for x in doc["live"]]
    return table(["10,000 GPUs", "placements per s", "ms each", "from scratch, ms", "ratio", "running", "by GPU / node / search",
                  "refused", "differ"], rows)


def targets(doc):
    cells = doc["cells"]
    a, b = by_size(cells, "median_ms", middle), by_size(cells, "worst_ms", max)
    usual = [c for c in cells if not c["family"].startswith("small")]
    c8 = by_size(usual, "worst_ms", max)
    rows = []
    for n, want in TARGETS.items():
        rows.append(["one plan at %s GPUs, worst" % count(n), "%g ms" % want,
                     "%s ms (without the small families %s ms)" % (ms(b[n]), ms(c8[n])), "yes" if b[n] <= want else "**no**"])
        rows.append(["one plan at %s GPUs, median" % count(n), "%g ms" % (want / 10), "%s ms" % ms(a[n]),
                     "yes" if a[n] <= want / 10 else "**no**"])
    peak = by_size(cells, "peak_bytes", max)[10000] / 2**20
    rows.append(["plan peak memory, 10,000 GPUs", "16 MiB", "%.1f MiB" % peak, "yes" if peak <= 16 else "**no**"])
    if doc["live"]:
        low, high = min(doc["live"], key=lambda x: x["per_s"]), max(doc["live"], key=lambda x: x["per_s"])
        rows.append(["placements per second on 10,000 GPUs", "10,000",
                     "%s (%s, %s) to %s (%s, %s)" % (count(round(low["per_s"])), low["family"], low["mix"],
                                                     count(round(high["per_s"])), high["family"], high["mix"]),
                     "yes" if low["per_s"] >= 10000 else "partly" if high["per_s"] >= 10000 else "**no**"])
    answers = doc["answers"]
    if answers:
        proved = sum(x["optimal"] for x in answers)
        rows.append(["the reference clusters", "every model answered, proved",
                     "%d of %d answers proved" % (proved, len(answers)), "yes" if proved == len(answers) else "**no**"])
    return table(["measure", "target", "measured", "met"], rows)


def answer_text(x):
    mark = "" if x["optimal"] else ", gap %.1f %%" % x["gap_percent"]
    if x["answer"] == "refused":
        return "refused%s; %s" % (mark, x.get("change") or "?")
    size = {"one GPU": "1 GPU", "CPU only": "CPU, %d node%s" % (x["nodes"], "s" * (x["nodes"] > 1)),
            "one node": "%d GPUs" % x["gpus"]}.get(x["answer"])
    if size is None:
        size = "%d GPUs, %d nodes" % (x["gpus"], x["nodes"]) if x["nodes"] > 1 else "%d GPUs" % x["gpus"]
        size += " + RAM" if x["answer"] == "part in RAM" else ""
    return "%s; %.3g tok/s%s" % (size, x["tok_s"], mark)


def answers(doc, cluster):
    these = [x for x in doc["answers"] if x["cluster"] == cluster]
    wishes = list(dict.fromkeys((x["ctx"], x["kv"], x["n_slots"]) for x in these))
    head = ["%dk%s, %s" % (ctx // 1024, " x %d" % slots if slots > 1 else "", kv) for ctx, kv, slots in wishes]
    rows = []
    for model in list(dict.fromkeys(x["model"] for x in these)):
        rows.append([model] + [answer_text(x) for w in wishes for x in these
                               if x["model"] == model and (x["ctx"], x["kv"], x["n_slots"]) == w])
    return table([cluster] + head, rows)


# ---- the document ----

def report(path):
    doc = load(path)
    blocks = {
        "run": "Commit %s, %s; %s, %d cores, %d GiB; random clusters per cell: %d, seed %d; the baseline ends after %s estimator calls."
               % (doc["commit"], doc["date"], doc["machine"]["cpu"], doc["machine"]["cores"], doc["machine"]["memory_gib"],
                  doc["clusters"], doc["seed"], count(doc["baseline_calls"])),
        "targets": targets(doc), "times": times(doc), "models": models(doc), "unproved": unproved(doc),
        "baseline": baseline(doc), "live": live(doc), "policies": policies(doc),
        "mixed": answers(doc, "cluster-mixed"), "small": answers(doc, "cluster-small-gpus")}
    with open(DOCUMENT, encoding="utf-8") as f:
        text = f.read()
    for name, body in blocks.items():
        text, n = re.subn(r"(<!-- %s -->\n).*?(<!-- end -->)" % name, lambda m: m[1] + body + "\n" + m[2], text, flags=re.S)
        if n != 1:
            sys.exit("place.py: %s: %d blocks '%s', want 1" % (DOCUMENT, n, name))
    with open(DOCUMENT, "w", encoding="utf-8") as f:
        f.write(text)
    for name, svg in (("growth", plot.growth(doc)), ("families", plot.families(doc))):
        with open(os.path.join(DOCS, "placement-%s.svg" % name), "w", encoding="utf-8") as f:
            f.write(svg)
    print("filled in: %s" % os.path.relpath(DOCUMENT, ROOT))


if len(sys.argv) >= 3 and sys.argv[1] == "run":
    run(sys.argv[2], sys.argv[3:])
elif len(sys.argv) in (2, 3) and sys.argv[1] == "report":
    report(sys.argv[2] if len(sys.argv) == 3 else newest())
else:
    sys.exit(__doc__)
