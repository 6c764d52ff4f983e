#!/usr/bin/env python3
"""What plans say, from its one table (src/place/words.inc, words.h) to where it is published.

    words.py write ROOT    writes docs/schema/stowage.notes-1.json and the tables in docs/plan.md
    words.py check ROOT    says which of them are not what the table says

Exit status 1 and one line per fault.
"""
import json
import os
import re
import sys

STRING = r'"((?:[^"\\]|\\.)*)"'
TYPES = {"TEXT": "string", "COUNT": "integer", "BYTES": "integer"}
UNITS = {"TEXT": "text", "COUNT": "number of", "BYTES": "bytes", "TOK_S": "tokens/s", "MS": "ms", "PERCENT": "%",
         "NUMBER": "number", "BYTES_PER_S": "bytes/s", "LINK": "bytes/s"}
SCHEMA = "docs/schema/stowage.notes-1.json"
PAGE = "docs/plan.md"


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8") as f:
        return f.read()


def read_params(root):
    """[(key, name, unit, meaning)] in the order of documents."""
    text = re.sub(r"\\\n\s*", "", read(root, "src/place/words.h"))
    return re.findall(r'X\((\w+), "(\w+)", (\w+), "([^"]*)"\)', text)


def read_codes(root):
    """[(section, code, [keys], English, Chinese)]"""
    out, section = [], ""
    text = read(root, "src/place/words.inc")
    strings = r"((?:%s\s*)+)" % STRING.replace("(", "(?:", 1)
    row = re.compile(r"/\* ---- (.*?) ---- \*/|^WORD\((\w+),\s*([^\"]*?),\s*%s,\s*%s\)" % (strings, strings), re.M)
    for m in row.finditer(text):
        if m.group(1):
            section = m.group(1)
            continue
        keys = re.findall(r"P\((\w+)\)", m.group(3))
        words = ["".join(json.loads('"%s"' % s) for s in re.findall(STRING, g)) for g in (m.group(4), m.group(5))]
        out.append((section, m.group(2), keys, *words))
    if len(out) != len(re.findall(r"^WORD\(", text, re.M)):
        sys.exit("words.inc: %d rows were read; keep to its form" % len(out))
    return out


def value(param):
    kind = {"type": TYPES.get(param[2], "number")}
    if kind["type"] == "integer":
        kind["minimum"] = 0
    return kind


def schema(params, codes):
    defs = {p[1]: dict(value(p), description="%s (%s)" % (p[3], UNITS[p[2]])) for p in params}
    notes = []
    for _, code, keys, english, _ in codes:
        names = [p[1] for p in params if p[0] in keys]
        notes.append({"description": english,
                      "properties": {"code": {"const": code},
                                     "params": {"type": "object", "required": names, "additionalProperties": False,
                                                "properties": {n: {"$ref": "#/$defs/" + n} for n in names}}}})
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "stowage.notes-1.json",
            "title": "A note: a code and its parameters, all of them",
            "description": "Made from src/place/words.inc by tools/words.py. docs/plan.md.",
            "type": "object", "required": ["code", "params"]}
    lines = [json.dumps(head, ensure_ascii=False)[:-1] + ', "additionalProperties": false,',
             '"properties": {"code": {"enum": %s}, "params": {"type": "object"}},' % json.dumps([c[1] for c in codes]),
             '"oneOf": [', ",\n".join(json.dumps(n, ensure_ascii=False) for n in notes), "],",
             '"$defs": {', ",\n".join("%s: %s" % (json.dumps(k), json.dumps(v)) for k, v in defs.items()), "}}"]
    text = "\n".join(lines) + "\n"
    json.loads(text)
    return text


def cell(text):
    return text.replace("|", "\\|")


def tables(params, codes):
    names = {p[0]: p[1] for p in params}
    out, last = [], None
    for section, code, keys, english, _ in codes:
        if section != last:
            out += ["", "### " + section[0].upper() + section[1:], "", "| code | parameters | sentence |", "|---|---|---|"]
            last = section
        sentence = re.sub(r"\{(\w+)\|([^|}]*)\|([^}]*)\}", r"\3", english) or "(nothing is printed)"
        listed = ", ".join("`%s`" % names[p[0]] for p in params if p[0] in keys)
        out.append("| `%s` | %s | %s |" % (code, listed, cell(sentence)))
    out += ["", "### Parameters", "", "| name | unit | meaning |", "|---|---|---|"]
    out += ["| `%s` | %s | %s |" % (p[1], UNITS[p[2]], cell(p[3])) for p in params]
    return "\n".join(out) + "\n"


def page(root, params, codes):
    text = read(root, PAGE)
    begin, end = "<!-- codes: from here on by tools/words.py -->\n", "<!-- codes: end -->"
    if begin not in text or end not in text:
        sys.exit("%s: the marks around its tables are gone" % PAGE)
    head, rest = text.split(begin, 1)
    return head + begin + tables(params, codes) + "\n" + end + rest.split(end, 1)[1]


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        sys.exit(__doc__)
    root = sys.argv[2]
    params, codes = read_params(root), read_codes(root)
    wrong = 0
    for name, text in ((SCHEMA, schema(params, codes)), (PAGE, page(root, params, codes))):
        path = os.path.join(root, name)
        if sys.argv[1] == "write":
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        elif not os.path.exists(path) or read(root, name) != text:
            print("%s is not what src/place/words.inc says: run tools/words.py write ." % name)
            wrong += 1
    print("words: %d codes, %d parameters, %d faults" % (len(codes), len(params), wrong))
    sys.exit(1 if wrong else 0)


main()
