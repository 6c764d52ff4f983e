#!/usr/bin/env python3
"""Checks what every source file must keep, over the files that git tracks.

    style.py format ROOT    clang-format agrees (version 14, the one the format file was written for)
    style.py size ROOT      no file is longer than 800 lines; nothing is left to do in a comment

Exit status 1 and one line per fault; 77 (skipped, with the reason) when the tool is not there.
"""
import os
import re
import shutil
import subprocess
import sys

MAX_LINES = 800
SIZED = (".c", ".h", ".py", ".sh", ".ts", ".tsx", ".css", ".mjs", ".js", ".build")
UNDONE = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def tracked(root):
    out = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True, capture_output=True).stdout
    return [p for p in out.decode().split("\0") if p and os.path.isfile(os.path.join(root, p))]


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


def check_format(root):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        skip("no clang-format here")
    version = subprocess.run([tool, "--version"], check=True, capture_output=True, text=True).stdout
    if " 14." not in version:
        skip("other versions than 14 format differently: " + version.strip())
    files = [os.path.join(root, p) for p in tracked(root) if p.endswith((".c", ".h"))]
    run = subprocess.run([tool, "--dry-run", "--ferror-limit=1"] + files, capture_output=True, text=True)
    faults = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "clang-format-violations" in line})
    return [os.path.relpath(f, root) + ": run clang-format -i on it" for f in faults], len(files)


def check_size(root):
    faults = []
    files = [p for p in tracked(root) if p.endswith(SIZED)]
    for path in files:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            lines = f.read().splitlines()
        if len(lines) > MAX_LINES:
            faults.append("%s: %d lines; split it before %d" % (path, len(lines), MAX_LINES))
        for number, line in enumerate(lines, 1):
            if UNDONE.search(line):
                faults.append("%s:%d: something is left to do: %s" % (path, number, line.strip()[:80]))
    return faults, len(files)


def main():
    checks = {"format": check_format, "size": check_size}
    if len(sys.argv) != 3 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    if not os.path.exists(os.path.join(sys.argv[2], ".git")):
        skip("not a git checkout, so the files of the project are not known")
    faults, count = checks[sys.argv[1]](sys.argv[2])
    for fault in faults:
        print(fault)
    print("%s: %d files, %d faults" % (sys.argv[1], count, len(faults)))
    return 1 if faults else 0


sys.exit(main())
