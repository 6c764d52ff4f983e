#!/usr/bin/env python3
"""The search against a mixed-integer program, solved by CBC, on models of equal layers.

    milp.py PROGRAM [--gpus 16,32] [--count 3] [--seed 1] [--seconds 20] [--enough 4]

PROGRAM is milp_instance, which prints a cluster and the search's answer. Per instance three programs: fewest nodes; on so
many nodes fewest GPUs; with both the least time. What CBC does not settle in --seconds is counted as not compared, never as
agreement, and so is what the search does not claim proved; with fewer than --enough full comparisons the test fails.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

ANSWER = 'feasible', 'proved', 'nodes', 'gpus', 'ns', 'bound_nodes', 'bound_gpus', 'bound_ns'


class Instance:
    def __init__(self, text):
        self.nodes, self.gpus, self.answer = [], [], None
        for line in text.splitlines():
            word, *rest = line.split()
            n = [int(x) for x in rest]
            if word == 'model':
                self.layers, self.span, self.net, self.net_tail, self.once, self.base = n
            elif word == 'node':
                self.nodes.append(bool(n[0]))
            elif word == 'gpu':
                self.gpus.append(dict(zip(('node', 'cap', 'cap_head', 'layer', 'fixed', 'head'), n)))
            elif word == 'answer':
                self.answer = dict(zip(ANSWER, n))


def total(terms):
    """A sum of (coefficient, variable), some per line: the reader's lines are short."""
    lines, line = [], ''
    for factor, name in terms:
        line += f' {"+" if factor >= 0 else "-"} {abs(factor)} {name}'
        if len(line) > 80:
            lines.append(line)
            line = ''
    return '\n'.join(lines + [line])


def rows(it):
    """z: a GPU is used, x: its layers, t: it carries the output layer; y: a node is used, w: it is the main one."""
    gpus, out = list(enumerate(it.gpus)), []
    for j, g in gpus:
        v = g['node']
        out += [f'{total([(1, f"x{j}"), (-g["cap"], f"z{j}"), (g["cap"] - g["cap_head"], f"t{j}")])} <= 0',
                f' x{j} - z{j} >= 0', f' z{j} - y{v} <= 0', f' t{j} - z{j} <= 0']
    for v, main_ok in enumerate(it.nodes):
        out += [f' w{v} - y{v} <= 0'] + ([] if main_ok else [f' w{v} <= 0'])
    out += [f'{total([(1, f"x{j}") for j, _ in gpus])} = {it.layers}',
            f'{total([(1, f"t{j}") for j, _ in gpus])} = 1',
            f'{total([(1, f"z{j}") for j, _ in gpus])} >= 2',
            f'{total([(1, f"w{v}") for v in range(len(it.nodes))])} = 1']
    return out + ([f'{total([(1, f"z{j}") for j, _ in gpus])} <= {it.span}'] if it.span else [])


def time_terms(it):
    """r: a used GPU is away from the main node, q: the one with the output layer is."""
    terms, out = [], []
    for j, g in enumerate(it.gpus):
        v = g['node']
        terms += [(g['layer'], f'x{j}'), (g['fixed'], f'z{j}'), (g['head'], f't{j}'), (it.net, f'r{j}'), (it.net_tail, f'q{j}')]
        out += [f' r{j} - z{j} + w{v} >= 0', f' q{j} - t{j} + w{v} >= 0']
    return terms, out


def write(path, it, goal, extra):
    gpus, nodes = range(len(it.gpus)), range(len(it.nodes))
    binary = [f'{c}{j}' for c in 'zt' for j in gpus] + [f'{c}{v}' for c in 'yw' for v in nodes]
    with open(path, 'w', encoding='ascii') as f:
        f.write(f'Minimize\n obj: {total(goal)}\nSubject To\n')
        f.writelines(f' c{i}: {row}\n' for i, row in enumerate(rows(it) + extra))
        f.write('Bounds\n' + ''.join(f' 0 <= x{j} <= {g["cap"]}\n' for j, g in enumerate(it.gpus)))
        f.write('General\n' + '\n'.join(f' x{j}' for j in gpus) + '\nBinary\n' + '\n'.join(' ' + b for b in binary) + '\nEnd\n')


def cbc(path, seconds):
    """The least value, 'infeasible', or None when it is not settled in time."""
    out = path + '.out'
    subprocess.run(['cbc', path, '-sec', str(seconds), '-ratio', '0', '-allow', '0.9', '-solve', '-solution', out],
                   check=True, stdout=subprocess.DEVNULL, timeout=10 * seconds + 60)
    with open(out, encoding='ascii') as f:
        first = f.readline()
    if first.startswith('Infeasible') or first.startswith('Integer infeasible'):
        return 'infeasible'
    m = re.match(r'Optimal - objective value (\S+)', first)
    if not m:
        return None
    value = float(m.group(1))
    if abs(value - round(value)) > 1e-3:
        raise SystemExit(f'{path}: a value of {value}, which is no integer')
    return round(value)


def judge(what, got, said, bound, proved):
    """Nothing when they agree; what is open, or what differs."""
    if got is None:
        return f'not compared: CBC did not settle {what}'
    if got > said or bound > got or (proved and got != said):
        return f'DIFFERS in {what}: CBC {got}, the search {said}, bound {bound}, proved {proved}'
    if got != said:
        return f'not proved, {what} {100 * (said - got) / said:.1f} % above the least, stated {100 * (said - bound) / said:.1f} %'
    return None


def compare(it, folder, seconds):
    """'agree', what was not settled, or what differs."""
    a, path = it.answer, os.path.join(folder, 'model.lp')
    nodes = [(1, f'y{v}') for v in range(len(it.nodes))]
    gpus = [(1, f'z{j}') for j in range(len(it.gpus))]
    terms, away = time_terms(it)
    rest = it.base + (it.once if a['nodes'] > 1 else 0)
    fixed = []
    for what, goal, extra, said, bound in (
            ('nodes', nodes, [], a['nodes'], a['bound_nodes']),
            ('GPUs', gpus, [], a['gpus'], a['bound_gpus']),
            ('time', terms, away, a['ns'] - rest, a['bound_ns'] - rest)):
        write(path, it, goal, fixed + extra)
        got = cbc(path, seconds)
        if got == 'infeasible' or (not a['feasible'] and got is not None):
            if a['feasible'] != (got != 'infeasible') and (a['proved'] or a['feasible']):
                return f'DIFFERS: CBC {got}, the search {a}'
            return 'agree' if a['proved'] else 'not proved that nothing fits'
        result = judge(what, got, said, bound, a['proved'])
        if result:
            return result
        if what != 'time':
            fixed.append(f'{total(goal)} = {got}')
    return 'agree' if a['proved'] else 'not proved, but the least'


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('program')
    ap.add_argument('--gpus', default='16,32')
    ap.add_argument('--count', type=int, default=3)
    ap.add_argument('--seed', type=int, default=1)
    ap.add_argument('--seconds', type=int, default=20)
    ap.add_argument('--enough', type=int, default=4)
    o = ap.parse_args()
    agreed, wrong = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for n in (int(x) for x in o.gpus.split(',')):
            for seed in range(o.seed, o.seed + o.count):
                start = time.monotonic()
                text = subprocess.run([o.program, str(n), str(seed)], check=True, capture_output=True, text=True).stdout
                it = Instance(text)
                result = compare(it, folder, o.seconds)
                a = it.answer
                print(f'{n} GPUs, seed {seed}: {it.layers} layers, {a["nodes"]} nodes, {a["gpus"]} GPUs, {a["ns"]} ns: {result}'
                      f' ({time.monotonic() - start:.1f} s)', flush=True)
                agreed += result == 'agree'
                wrong += result.startswith('DIFFERS')
    print(f'{agreed} agree, {wrong} differ')
    sys.exit(1 if wrong or agreed < o.enough else 0)


if __name__ == '__main__':
    main()
