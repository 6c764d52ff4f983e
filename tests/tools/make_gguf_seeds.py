#!/usr/bin/env python3
"""Writes fuzz/corpus/gguf: valid small models and one file per known bug of GGUF readers.

Each hostile file repeats the arithmetic of a published flaw (CVE or advisory in the comment); a
reader must refuse or survive it in bounded time and memory. Output is deterministic.

usage: make_gguf_seeds.py [FOLDER]        (default: fuzz/corpus/gguf beside this file's project)
"""
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FMT = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q",
       F64: "d"}
T_F32, T_Q4_0, T_Q8_0, T_Q4_K, T_Q6_K = 0, 2, 8, 12, 14
BLOCK = {T_F32: (1, 4), T_Q4_0: (32, 18), T_Q8_0: (32, 34), T_Q4_K: (256, 144), T_Q6_K: (256, 210)}
TYPE_COUNT = 43


class Raw(bytes):
    """bytes that go into the file as they are"""


def count(n, v):
    return struct.pack("<I" if v == 1 else "<Q", n & (0xffffffff if v == 1 else 0xffffffffffffffff))


def text(s, v=3, length=None):
    b = s if isinstance(s, bytes) else s.encode()
    return count(len(b) if length is None else length, v) + b


def value(t, x, v=3):
    if isinstance(x, Raw):
        return bytes(x)
    if t == STR:
        return text(x, v)
    if t == ARR:
        et, items = x
        return struct.pack("<I", et) + count(len(items), v) + b"".join(value(et, i, v) for i in items)
    return struct.pack("<" + FMT[t], x)


def pad(n, a=32):
    return (n + a - 1) // a * a


class Model:
    """A model as lists, so that a seed changes one thing and keeps the rest valid."""

    def __init__(self, arch="llama", version=3):
        self.version, self.arch = version, arch
        self.kv = [("general.architecture", STR, arch)]
        self.tensors = []               # [name, dims, type, offset or None]
        self.magic, self.n_tensors, self.n_kv = b"GGUF", None, None
        self.data, self.align = True, 32

    def set(self, key, t, x):
        self.kv = [k for k in self.kv if k[0] != key] + [(key, t, x)]
        return self

    def a(self, key, t, x):
        return self.set(self.arch + "." + key, t, x)

    def t(self, name, dims, ty=T_Q4_0, offset=None):
        self.tensors.append([name, dims, ty, offset])
        return self

    def size(self, t):
        blk, by = BLOCK.get(t[2], (1, 1))
        n = (t[1][0] if t[1] else 0) // blk * by
        for d in t[1][1:]:
            n *= d
        return n

    def bytes(self):
        v = self.version
        out = self.magic + struct.pack("<I", v)
        out += count(len(self.tensors) if self.n_tensors is None else self.n_tensors, v)
        out += count(len(self.kv) if self.n_kv is None else self.n_kv, v)
        for key, t, x in self.kv:
            out += text(key, v) + struct.pack("<I", t & 0xffffffff) + value(t, x, v)
        off = 0
        for t in self.tensors:
            name, dims, ty, o = t
            out += text(name, v) + struct.pack("<I", len(dims)) + b"".join(count(d, v) for d in dims)
            o = off if o is None else o
            out += struct.pack("<IQ", ty & 0xffffffff, o & 0xffffffffffffffff)
            if t[3] is None:            # a given offset brings no data with it
                off = pad(o + self.size(t), self.align)
        out += b"\0" * (pad(len(out), self.align) - len(out))
        if self.data and off < 1 << 20:
            out += b"\0" * off
        return out


def base(arch="llama", version=3, layers=1, moe=False):
    m = Model(arch, version)
    m.set("general.name", STR, "seed").set("general.file_type", U32, 2)
    m.a("block_count", U32, layers).a("context_length", U32, 256).a("embedding_length", U32, 32)
    m.a("feed_forward_length", U32, 32).a("attention.head_count", U32, 2).a("attention.head_count_kv", U32, 1)
    m.a("rope.dimension_count", U32, 16)
    m.set("tokenizer.ggml.tokens", ARR, (STR, ["a", "b", "c", "d"]))
    m.set("tokenizer.ggml.scores", ARR, (F32, [0.0] * 4))
    m.set("tokenizer.ggml.token_type", ARR, (I32, [1] * 4))
    m.t("token_embd.weight", [32, 4])
    for i in range(layers):
        b = "blk.%d." % i
        m.t(b + "attn_norm.weight", [32], T_F32)
        m.t(b + "attn_q.weight", [32, 32]).t(b + "attn_k.weight", [32, 16]).t(b + "attn_v.weight", [32, 16])
        m.t(b + "attn_output.weight", [32, 32])
        if moe:
            m.t(b + "ffn_gate_inp.weight", [32, 2], T_F32)
            for k in ("gate", "down", "up"):
                m.t(b + "ffn_%s_exps.weight" % k, [32, 32, 2])
        else:
            m.t(b + "ffn_gate.weight", [32, 32]).t(b + "ffn_down.weight", [32, 32]).t(b + "ffn_up.weight", [32, 32])
    if moe:
        m.a("expert_count", U32, 2).a("expert_used_count", U32, 1)
    m.t("output_norm.weight", [32], T_F32).t("output.weight", [32, 4])
    return m


def seeds():
    M64 = (1 << 64) - 1

    # Valid files: a fuzzer starts from these.
    yield "valid-v3", base(layers=2)
    yield "valid-v2", base(version=2)
    yield "valid-v1", base(version=1)
    yield "valid-moe", base("qwen3moe", moe=True)
    yield "valid-unknown-arch", base("newthing")
    swa = base("gemma3", layers=6)
    swa.a("attention.sliding_window", U32, 64).a("attention.key_length", U32, 16).a("attention.value_length", U32, 16)
    yield "valid-window", swa
    yield "valid-arrays", base().a("attention.head_count_kv", ARR, (I32, [1]))
    mla = base("deepseek2", layers=1)
    mla.tensors = [t for t in mla.tensors if ".attn_k." not in t[0] and ".attn_v." not in t[0]]
    mla.a("attention.kv_lora_rank", U32, 32).a("attention.key_length_mla", U32, 48).a("attention.value_length_mla", U32, 32)
    mla.t("blk.0.attn_kv_a_mqa.weight", [32, 48]).t("blk.0.attn_k_b.weight", [32, 32, 2]).t("blk.0.attn_v_b.weight", [32, 32, 2])
    yield "valid-mla", mla
    rec = base("mamba", layers=1)
    rec.tensors = [t for t in rec.tensors if "attn_" not in t[0] or "norm" in t[0]]
    rec.tensors = [t for t in rec.tensors if "ffn" not in t[0] and "attn_norm" not in t[0]]
    rec.a("ssm.conv_kernel", U32, 4).a("ssm.inner_size", U32, 64).a("ssm.state_size", U32, 16)
    rec.t("blk.0.ssm_conv1d.weight", [4, 64], T_F32).t("blk.0.ssm_in.weight", [32, 128])
    yield "valid-recurrent", rec
    first, second = base(), Model()
    second.kv = []
    n_all = len(first.tensors)
    second.tensors, first.tensors = first.tensors[8:], first.tensors[:8]
    for i, s in enumerate((first, second)):
        s.set("split.no", U16, i).set("split.count", U16, 2).set("split.tensors.count", I32, n_all)
    yield "valid-two-shards", first.bytes() + second.bytes()
    third = Model()
    third.kv = []
    third.set("split.no", U16, 1).set("split.count", U16, 2).t("token_embd.weight", [32, 4])
    yield "shards-same-name", first.bytes() + third.bytes()
    yield "shards-wrong-order", second.bytes() + first.bytes()
    yield "shards-count-65535", base().set("split.count", U16, 65535)

    # CVE-2024-23605: n_kv times the size of a pair wraps.
    for name, n in (("2e60", 1 << 60), ("wrap-lo", M64 // 32 - 1), ("wrap", M64 // 32), ("wrap-hi", M64 // 32 + 1),
                    ("max", M64), ("limit", 65536), ("1e6", 10 ** 6)):
        m = base()
        m.n_kv = n
        yield "cve-2024-23605-nkv-" + name, m
    # CVE-2024-21836: the same with n_tensors.
    for name, n in (("2e60", 1 << 60), ("wrap-lo", M64 // 72 - 1), ("wrap", M64 // 72), ("wrap-hi", M64 // 72 + 1),
                    ("max", M64), ("limit", 1 << 20), ("over-limit", (1 << 20) + 1)):
        m = base()
        m.n_tensors = n
        yield "cve-2024-21836-ntensors-" + name, m
    # CVE-2024-21825: array count times element size wraps.
    for name, et, n in (("u64-2e61", U64, 1 << 61), ("u32-2e62", U32, 1 << 62), ("u8-max", U8, M64), ("str-2e32", STR, 1 << 32),
                        ("str-max", STR, M64), ("str-2e61", STR, 1 << 61), ("f64-wrap", F64, (M64 // 8) + 1)):
        yield "cve-2024-21825-array-" + name, base().set("x.array", ARR, Raw(struct.pack("<IQ", et, n)))
    # CVE-2024-23496: string length plus one wraps to 0.
    rest = 64
    for name, n in (("max", M64), ("2e63", 1 << 63), ("2e63-1", (1 << 63) - 1), ("2e31", 1 << 31), ("2e31+1", (1 << 31) + 1),
                    ("2e32", 1 << 32), ("rest+1", rest + 1), ("limit+1", (16 << 20) + 1)):
        yield "cve-2024-23496-string-" + name, base().set("x.text", STR, Raw(struct.pack("<Q", n) + b"y" * rest))
        m = Model()
        m.kv = []
        yield "cve-2024-23496-key-" + name, m.bytes()[:16] + struct.pack("<QQ", 1, n) + b"k" * rest
    # CVE-2024-21802 and ggml PR 709: dimensions, types out of range.
    for n in (0, 5, 8, 0xffffffff):
        b = base().bytes()
        at = b.index(b"output_norm.weight") + len("output_norm.weight")
        yield "cve-2024-21802-ndims-%d" % n, b[:at] + struct.pack("<I", n) + b[at + 4:]
    for ty in (-1, TYPE_COUNT, 0x7fffffff, 4, 5, 31, 36, 255):
        yield "ggml-pr-709-tensor-type-%d" % ty, base().t("extra", [32], ty)
    for ty in (-1, 13, 0x7fffffff):
        yield "ggml-pr-709-value-type-%d" % ty, base().set("x.value", ty, Raw(b"\0" * 8))
        yield "ggml-pr-709-elem-type-%d" % ty, base().set("x.value", ARR, Raw(struct.pack("<iQ", ty, 1) + b"\0" * 8))
    yield "nested-array", base().set("x.value", ARR, Raw(struct.pack("<IQIQ", ARR, 1, U8, 1) + b"\0"))
    # CVE-2024-32878, CVE-2024-41130: every truncation; the replay runs all prefixes of small files.
    b = base(layers=1).bytes()
    for n in (0, 1, 3, 4, 7, 8, 15, 23, 24, 25, len(b) // 3, len(b) // 2, len(b) - 1):
        yield "cve-2024-32878-cut-%04d" % n, b[:n]
    # CVE-2025-53630: the padded sizes add up to 2^64; CVE-2026-27940: to just below.
    for name, d in (("2e64", 1 << 40), ("near", (1 << 40) - 256)):
        m = base()
        m.data = False
        for i in range(4):
            m.t("huge.%d" % i, [256, d, 1 << 14], T_F32, 0)
        yield "cve-2025-53630-sum-" + name, m
    m = base()
    m.data = False
    for i in range(3):
        m.t("huge.%d" % i, [1 << 40, 1 << 13], T_F32, (i + 1) << 55)
    yield "cve-2025-53630-sum-limit", m
    m = base()
    m.data = False
    m.t("huge", [1 << 40, (1 << 22) - 1], T_F32, 1 << 20)
    yield "cve-2026-27940-total", m
    # CVE-2026-33298: element products from 2^62 to 2^65, each kind of type.
    for e in (62, 63, 64, 65):
        for ty in (T_F32, T_Q4_0, T_Q8_0, T_Q4_K, T_Q6_K, 1, 16, 30, 39):
            m = base()
            m.data = False
            dims = [1 << 40, 1 << (e - 40)] if e - 40 <= 40 else [1 << 40, 1 << 20, 1 << (e - 60)]
            m.t("huge", dims, ty, 1 << 20)
            yield "cve-2026-33298-product-2e%d-type%d" % (e, ty), m
    m = base()
    m.data = False
    m.t("huge", [1 << 32, 1 << 32], T_F32).t("neg", [1 << 40, 1 << 23], T_F32)
    yield "product-wraps-to-zero", m
    # llama.cpp PR 26318: padding itself wraps.
    m = base()
    m.data = False
    m.t("huge", [(1 << 64) - 4], 24, 0)
    yield "llamacpp-26318-pad-wraps", m
    m = base()
    m.data = False
    m.t("huge", [32], T_F32, (1 << 64) - 32)
    yield "llamacpp-26318-offset-wraps", m
    # oss-security 2026-05, ggml PR 1516: alignment out of bounds; 16 MiB limit of strings above.
    for a in (0, 1, 3, 4, 8, 48, 65536, 131072, 1 << 31, (1 << 32) - 1):
        m = base()
        m.set("general.alignment", U32, a)
        yield "ggml-pr-1516-align-%d" % a, m
    yield "align-as-text", base().set("general.alignment", STR, "32")
    yield "align-as-array", base().set("general.alignment", ARR, (U32, [32]))
    yield "align-negative", base().set("general.alignment", I32, -32)
    # Division by a zero dimension.
    for i in range(3):
        dims = [32, 4, 2]
        dims[i] = 0
        yield "ggml-zero-dim-%d" % i, base().t("extra", dims)
    yield "dim-2e40+1", base().t("extra", [1, (1 << 40) + 1], T_F32)
    yield "dim-2e63", base().t("extra", [1, 1 << 63], T_F32)
    yield "row-no-multiple", base().t("extra", [33, 2])
    # Vocabulary arrays of another type than readers expect; a token of 2^31 bytes (CVE-2025-49847, -52566).
    for et in (U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64):
        yield "vocab-scores-as-%d" % et, base().set("tokenizer.ggml.scores", ARR, (et, [0, 1, 0, 1]))
        yield "vocab-types-as-%d" % et, base().set("tokenizer.ggml.token_type", ARR, (et, [1, 1]))
    yield "vocab-scores-as-text", base().set("tokenizer.ggml.scores", STR, "x")
    for n in ((1 << 31) - 1, 1 << 31, (1 << 31) + 1):
        yield "cve-2025-49847-token-%d" % n, base().set("x.tokens", ARR, Raw(struct.pack("<IQQ", STR, 1, n)))
    # CVE-2026-53923: more than 2^31 elements; extents are checked, so as a header only.
    m = base()
    m.data = False
    m.t("wide", [1 << 16, (1 << 15) + 1], T_Q4_0)
    yield "cve-2026-53923-elements-2e31", m
    # CVE-2024-34359: a template is text to us, whatever it says.
    yield "cve-2024-34359-template", base().set(
        "tokenizer.chat_template", STR, "{% for x in ().__class__.__base__.__subclasses__() %}{{ x() }}{% endfor %}")
    # acestep.cpp 98, gguf-tools 25, Ollama CVE-2024-8063: block counts and divisors.
    for n in (0, 2, 3, 513, 4097, 1 << 31, (1 << 32) - 1):
        yield "block-count-%d" % n, base().a("block_count", U32, n)
    yield "block-count-u64", base().a("block_count", U64, M64)
    yield "block-count-negative", base().a("block_count", I32, -1)
    yield "block-count-text", base().a("block_count", STR, "2")
    for key in ("attention.head_count", "attention.head_count_kv", "embedding_length", "context_length",
                "attention.key_length", "attention.value_length", "rope.dimension_count"):
        for n in (0, 1, 3, 1 << 31, (1 << 32) - 1):
            yield "key-%s-%d" % (key.replace(".", "-"), n), base().a(key, U32, n)
    for key in ("expert_count", "expert_used_count"):
        for n in (0, 3, 1 << 31):
            yield "key-%s-%d" % (key, n), base("qwen3moe", moe=True).a(key, U32, n)
    for key in ("ssm.inner_size", "ssm.state_size"):
        for n in (0, 1 << 24, (1 << 32) - 1):
            r = base("mamba", layers=1)
            r.kv, r.tensors = list(rec.kv), list(rec.tensors)
            yield "key-%s-%d" % (key.replace(".", "-"), n), r.a(key, U32, n)
    for key, n in (("attention.kv_lora_rank", 48), ("attention.kv_lora_rank", 0), ("attention.key_length", 1)):
        r = base("deepseek2", layers=1)
        r.kv, r.tensors = list(mla.kv), list(mla.tensors)
        yield "key-mla-%s-%d" % (key.replace(".", "-"), n), r.a(key, U32, n)
    for n in (1, 2, 1 << 31):
        yield "nextn-%d" % n, base("glm4moe").a("nextn_predict_layers", U32, n)
    yield "heads-array-short", base(layers=2).a("attention.head_count_kv", ARR, (I32, [1]))
    yield "heads-array-negative", base().a("attention.head_count_kv", ARR, (I32, [-1]))
    yield "heads-array-text", base().a("attention.head_count_kv", ARR, (STR, ["1"]))
    yield "window-2e32", base("gemma3").a("attention.sliding_window", U32, (1 << 32) - 1)
    yield "window-2e31-1", base("gemma3").a("attention.sliding_window", U32, (1 << 31) - 1)
    # gguf-parser-go 20: a length that is negative as a signed seek.
    yield "gguf-parser-go-20-seek", base().set("x.array", ARR, Raw(struct.pack("<IQ", U8, (1 << 63) + 8)))
    # Ollama CVE-2026-7482 and 2024-12055: offset and size beyond the file, overlapping tensors.
    size = len(base().bytes())
    for name, off in (("end", "end"), ("beyond", pad(size)), ("far", 1 << 40), ("2e63", 1 << 63)):
        m = base()
        if off == "end":                # starts inside, ends beyond
            m.t("extra", [64], T_F32)
            yield "cve-2026-7482-offset-end", m.bytes()[:-32]
            continue
        yield "cve-2026-7482-offset-" + name, m.t("extra", [32], T_F32, off)
    yield "cve-2026-7482-overlap", base().t("extra", [32], T_F32, 0)
    m = base()
    m.tensors[3][2:] = [T_F32, 32]
    yield "overlap-in-the-middle", m
    yield "offset-unaligned", base().t("extra", [32], T_F32, 16)
    # Names: twice the same, empty, with NUL, too long, block numbers that are none.
    yield "tensor-twice", base().t("output.weight", [32, 4])
    yield "key-twice-equal", twice(("x.k", U32, 1), ("x.k", U32, 1))
    yield "key-twice-differs", twice(("x.k", U32, 1), ("x.k", U32, 2))
    yield "key-twice-other-type", twice(("x.k", U32, 1), ("x.k", STR, "1"))
    yield "key-empty", twice(("", U32, 1))
    yield "key-nul", twice(("a\0b", U32, 1))
    yield "tensor-empty-name", base().t("", [32], T_F32)
    yield "tensor-name-63", base().t("n" * 63, [32], T_F32)
    yield "tensor-name-64", base().t("n" * 64, [32], T_F32)
    for n in ("blk.2.x", "blk.4294967296.x", "blk.99999999999999999999.x", "blk.-1.x", "blk..x", "blk.0", "blk.x.y",
              "enc.blk.0.x", "dec.blk.9.x", "enc."):
        yield "block-name-" + n.replace(".", "_"), base().t(n, [32], T_F32)
    # Head of the file.
    for name, magic in (("zeros", b"\0\0\0\0"), ("lfs", b"vers"), ("html", b"<!DO"), ("zip", b"PK\3\4"), ("ggml", b"lmgg"),
                        ("lower", b"gguf")):
        m = base()
        m.magic = magic
        yield "magic-" + name, m
    for v in (0, 4, 0x03000000, 0x02000000, 0xffffffff):
        b = base().bytes()
        yield "version-%08x" % v, b[:4] + struct.pack("<I", v) + b[8:]
    yield "no-keys-no-tensors", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
    yield "type-adapter", base().set("general.type", STR, "adapter")
    yield "type-mmproj", base("clip").set("general.type", STR, "mmproj")
    yield "arch-empty", base().set("general.architecture", STR, "")
    yield "arch-long", base().set("general.architecture", STR, "a" * 40)
    yield "arch-escape", base().set("general.architecture", STR, "\x1b[31m\"</script>")
    yield "arch-number", base().set("general.architecture", U32, 1)
    yield "name-hostile", base().set("general.name", STR, b"\xff\xfe\x1b]8;;http://x\x07\xe2\x80\xae\xc0\x80\xed\xa0\x80" + b"\xf0\x9f\x98\x80" * 40)


def twice(*pairs):
    m = base()
    m.kv += pairs
    return m


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "..", "fuzz", "corpus", "gguf")
    os.makedirs(out, exist_ok=True)
    names = set()
    for name, m in seeds():
        assert name not in names, name
        names.add(name)
        with open(os.path.join(out, name), "wb") as f:
            f.write(m if isinstance(m, bytes) else m.bytes())
    print("%d seeds in %s" % (len(names), os.path.relpath(out)))


if __name__ == "__main__":
    main()
