#!/usr/bin/env python3
"""Turns a small text file into a C string: embed.py FILE NAME OUT.c"""
import sys


def main():
    source, name, out = sys.argv[1:]
    with open(source, "rb") as f:
        data = f.read()
    rows = [", ".join(str(b) for b in data[i:i + 24]) for i in range(0, len(data), 24)]
    with open(out, "w") as f:
        f.write("extern const char %s[];\nconst char %s[] = {\n%s, 0};\n" % (name, name, ",\n".join(rows)))


main()
