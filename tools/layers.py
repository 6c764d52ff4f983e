#!/usr/bin/env python3
"""Checks the layers of src/: includes against src/LAYERS, and what pure folders call.

    layers.py includes SRC              every #include "folder/x.h" is allowed, no cycle, no unknown folder
    layers.py purity SRC ARCHIVE...     pure archives leave nothing undefined but memory, strings and mathematics

Exit status 1 and one line per fault, with file and line.
"""
import os
import re
import subprocess
import sys

# What a pure folder may call besides pure folders: the C library's functions of memory, strings, numbers and
# sorting, formatted text into memory, and the two parsers (of JSON and YAML) that work on memory.
LIBC = set("""
    malloc calloc realloc free abort qsort qsort_r bsearch
    memcpy memmove memset memcmp memchr memmem memrchr
    strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strrchr strstr strspn strcspn strpbrk strdup strndup
    strtoull strtoul strtoll strtod strtof strerror
    isalnum isalpha isdigit isspace isxdigit tolower toupper
    snprintf vsnprintf vasprintf asprintf sscanf
    __errno_location __ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc __assert_fail
    pow powf exp log log2 log10 sqrt floor ceil fabs fmod ldexp frexp round trunc lround llround floorf ceilf roundf
    fmin fmax exp2 cbrt hypot
""".split())
# The last words before abort() when memory is out.
LAST_WORDS = {"fwrite", "fputs", "stderr"}
# Added by the compiler and its hardening.
COMPILER = re.compile(r"^(__stack_chk_fail|__(mem|str|v?sn?printf|vasprintf|asprintf)\w*_chk|_GLOBAL_OFFSET_TABLE_"
                      r"|__isoc\d+_\w+|__(asan|ubsan|tsan|sanitizer|msan)_\w+|__sancov_\w+|__gcov_\w+|__sigsetjmp|__tls_get_addr"
                      r"|__u?(mul|div|mod|divmod)[a-z]i\d|__popcount[a-z]i2|__float(un)?ti[a-z]f|__fix(uns)?[a-z]fti|__stack_chk_guard|__extendhfsf2|__truncsfhf2)$")
PARSERS = re.compile(r"^(json_|jansson_|yaml_)\w+$")


def read_layers(src):
    layers = {}
    with open(os.path.join(src, "LAYERS")) as f:
        for number, line in enumerate(f, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) < 2 or words[1] not in ("pure", "io", "role", "top"):
                sys.exit("LAYERS:%d: expected: folder pure|io|role|top [folders]" % number)
            layers[words[0]] = (words[1], words[2:])
    return layers


def cycle(layers):
    """A path that returns to its start, or None."""
    state = {}

    def visit(name, path):
        if state.get(name) == "done":
            return None
        if name in path:
            return path[path.index(name):] + [name]
        for other in layers[name][1]:
            found = visit(other, path + [name])
            if found:
                return found
        state[name] = "done"
        return None

    for name in layers:
        found = visit(name, [])
        if found:
            return found
    return None


def sources(src):
    for base, dirs, files in os.walk(src):
        dirs.sort()
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.join(base, name)


def check_table(src, layers):
    faults = []
    for name, (kind, may) in layers.items():
        for other in may:
            if other not in layers:
                faults.append("LAYERS: %s may include %s, which is no folder here" % (name, other))
            elif kind == "pure" and layers[other][0] != "pure":
                faults.append("LAYERS: %s is pure and must not include %s, which is not" % (name, other))
            elif layers[other][0] in ("role", "top") and kind != "top":
                faults.append("LAYERS: %s must not include the role %s" % (name, other))
    if not faults:
        found = cycle(layers)
        if found:
            faults.append("LAYERS: a cycle: " + " -> ".join(found))
    for entry in sorted(os.listdir(src)):
        if os.path.isdir(os.path.join(src, entry)) and entry not in layers:
            faults.append("LAYERS: folder %s is missing" % entry)
    return faults


def includes(src):
    layers = read_layers(src)
    faults = check_table(src, layers)
    count = 0
    for path in sources(src):
        rel = os.path.relpath(path, src)
        folder = rel.split(os.sep)[0] if os.sep in rel else "main"
        allowed = {folder, "base"} | set(layers.get(folder, ("", []))[1])
        is_test = rel.endswith("_test.c")  # may read files and generated headers, but no role
        if is_test:
            allowed |= {name for name, (kind, _) in layers.items() if kind in ("pure", "io")}
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                m = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
                if not m:
                    continue
                count += 1
                target = m.group(1)
                other = target.split("/")[0] if "/" in target else folder
                if "/" not in target and folder != "main":
                    faults.append("%s:%d: write \"%s/%s\"" % (rel, number, folder, target))
                elif other not in allowed:
                    faults.append("%s:%d: %s must not include %s" % (rel, number, folder, target))
                elif "/" in target and not is_test and not os.path.exists(os.path.join(src, target)):
                    faults.append("%s:%d: there is no %s" % (rel, number, target))
    return faults, "%d includes in %d folders" % (count, len(layers))


def symbols(archive, flag):
    text = subprocess.run(["nm", flag, archive], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines()
            if line.strip() and not line.endswith(":")}


def purity(src, archives):
    layers = read_layers(src)
    pure = {os.path.basename(a)[3:-2]: a for a in archives}
    for name in list(pure):
        if layers.get(name, ("",))[0] != "pure":
            del pure[name]
    missing = [n for n, (kind, _) in layers.items() if kind == "pure" and n not in pure]
    faults = ["no archive of the pure folder %s was given" % n for n in missing]
    own = {name: symbols(a, "--defined-only") for name, a in pure.items()}
    for name, archive in sorted(pure.items()):
        reach = own[name] | own.get("base", set())
        for other in layers[name][1]:
            reach |= own.get(other, set())
        for symbol in sorted(symbols(archive, "--undefined-only") - reach):
            parser = name == "base" and PARSERS.match(symbol) or symbol.startswith("json_")
            if name == "base" and symbol in LAST_WORDS:
                continue
            if symbol not in LIBC and not COMPILER.match(symbol) and not parser:
                faults.append("%s is pure and calls %s" % (name, symbol))
    return faults, "%d pure archives" % len(pure)


def main():
    if len(sys.argv) >= 3 and sys.argv[1] == "includes":
        faults, what = includes(sys.argv[2])
    elif len(sys.argv) >= 3 and sys.argv[1] == "purity":
        faults, what = purity(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
    for fault in faults:
        print(fault)
    print("layers: %s, %d faults" % (what, len(faults)))
    return 1 if faults else 0


sys.exit(main())
