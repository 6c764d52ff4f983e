/* `stowage demo-model`: a tiny model that an engine can load, and sparse giants for tests.
 *
 * The tiny model is a real llama in every respect but what it says: its weights are random numbers
 * from a seed. A sparse giant has the tensor table of a real model's header and a hole of the exact
 * size where the data would be; only an engine that does not look at the data can run it. */
#include "cli/cli.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "cli/common.h"
#include "cli/demo_vocab.h"
#include "gguf/gguf_build.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEMO_EXPERTS = 8, DEMO_EXPERTS_USED = 2, CHUNK_ELEMS = 1 << 15 };
#define DEMO_MAX_BYTES (64 * GIB) /* a typing mistake should not fill a disk */

/* Ids of the format; general.file_type has numbers of its own. */
static const struct {
    const char *name;
    uint32_t type, file_type;
} TYPES[] = {{"f32", 0, 0}, {"f16", 1, 1}, {"q8_0", 8, 7}};
enum { TYPE_F32 = 0, TYPE_F16 = 1, TYPE_Q8_0 = 8, Q8_BLOCK = 32 };

struct demo {
    uint64_t layers, embd, heads, kv_heads, ff, vocab, ctx, seed;
    const char *type_name, *name, *sparse_from;
    bool moe, json;
    uint32_t type, file_type;
};

/* What to put into a tensor. */
struct fill {
    uint32_t type;
    double sigma;           /* 0: all ones (norms) */
    uint64_t rows_of_words; /* of the output layer: rows past these are silent, but the last */
};

struct demo_build {
    const struct demo *d;
    struct gguf_builder *w;
    struct fill *fills;
    size_t n, cap;
};

static void put_arch(struct gguf_builder *w, const char *key, uint64_t v)
{
    char full[64];
    str_copyf(full, sizeof full, "llama.%s", key);
    gguf_put_u32(w, full, (uint32_t)v);
}

static void put_keys(struct gguf_builder *w, const struct demo *d)
{
    gguf_put_str(w, "general.architecture", "llama");
    gguf_put_str(w, "general.type", "model");
    gguf_put_str(w, "general.name", d->name);
    gguf_put_str(w, "general.description", "Random weights: this model speaks noise.");
    gguf_put_u32(w, "general.file_type", d->file_type);
    gguf_put_u32(w, "general.quantization_version", 2);
    put_arch(w, "block_count", d->layers);
    put_arch(w, "context_length", d->ctx);
    put_arch(w, "embedding_length", d->embd);
    put_arch(w, "feed_forward_length", d->ff);
    put_arch(w, "attention.head_count", d->heads);
    put_arch(w, "attention.head_count_kv", d->kv_heads);
    put_arch(w, "rope.dimension_count", d->embd / d->heads);
    put_arch(w, "vocab_size", d->vocab);
    gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_put_f32(w, "llama.rope.freq_base", 10000.0f);
    if (d->moe) {
        put_arch(w, "expert_count", DEMO_EXPERTS);
        put_arch(w, "expert_used_count", DEMO_EXPERTS_USED);
    }
    demo_vocab_put(w, (uint32_t)d->vocab);
}

static struct fill *put_tensor(struct demo_build *b, const char *name, uint32_t type, double sigma,
                               uint32_t n_dims, const uint64_t *ne)
{
    gguf_put_tensor(b->w, name, type, n_dims, ne);
    mem_grow(&b->fills, &b->cap, b->n + 1, sizeof *b->fills);
    struct fill *f = &b->fills[b->n++];
    *f = (struct fill){.type = type, .sigma = sigma, .rows_of_words = UINT64_MAX};
    return f;
}

/* A matrix of block i that keeps the size of what flows through it. */
static void put_matrix(struct demo_build *b, uint64_t layer, const char *part, uint32_t type,
                       uint64_t in, uint64_t out, uint64_t experts)
{
    char name[64];
    str_copyf(name, sizeof name, "blk.%u.%s.weight", (unsigned)layer, part);
    put_tensor(b, name, type, 1.0 / sqrt((double)in), experts ? 3 : 2,
               (uint64_t[]){in, out, experts});
}

static void put_norm(struct demo_build *b, uint64_t layer, const char *part)
{
    char name[64];
    str_copyf(name, sizeof name, "blk.%u.%s.weight", (unsigned)layer, part);
    put_tensor(b, name, TYPE_F32, 0, 1, &b->d->embd);
}

static void put_block(struct demo_build *b, uint64_t i)
{
    const struct demo *d = b->d;
    uint64_t kv = d->embd / d->heads * d->kv_heads, experts = d->moe ? DEMO_EXPERTS : 0;
    put_norm(b, i, "attn_norm");
    put_matrix(b, i, "attn_q", d->type, d->embd, d->embd, 0);
    put_matrix(b, i, "attn_k", d->type, d->embd, kv, 0);
    put_matrix(b, i, "attn_v", d->type, d->embd, kv, 0);
    put_matrix(b, i, "attn_output", d->type, d->embd, d->embd, 0);
    put_norm(b, i, "ffn_norm");
    if (d->moe)
        put_matrix(b, i, "ffn_gate_inp", TYPE_F32, d->embd, DEMO_EXPERTS, 0);
    put_matrix(b, i, d->moe ? "ffn_gate_exps" : "ffn_gate", d->type, d->embd, d->ff, experts);
    put_matrix(b, i, d->moe ? "ffn_up_exps" : "ffn_up", d->type, d->embd, d->ff, experts);
    put_matrix(b, i, d->moe ? "ffn_down_exps" : "ffn_down", d->type, d->ff, d->embd, experts);
}

static void put_tensors(struct demo_build *b)
{
    const struct demo *d = b->d;
    put_tensor(b, "token_embd.weight", d->type, 1.0, 2, (uint64_t[]){d->embd, d->vocab});
    for (uint64_t i = 0; i < d->layers; i++)
        put_block(b, i);
    put_tensor(b, "output_norm.weight", TYPE_F32, 0, 1, &d->embd);
    /* Wide logits make the choice of the next word clear, so that rounding does not change it. */
    put_tensor(b, "output.weight", d->type, 3.0 / sqrt((double)d->embd), 2,
               (uint64_t[]){d->embd, d->vocab})
        ->rows_of_words = d->vocab - DEMO_SPECIAL;
}

/* IEEE half of a normal number in its range (all that weights need), rounded to nearest. */
static uint16_t half(double v)
{
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, mag = bits & 0x7fffffff;
    if (mag < 0x38800000)
        return (uint16_t)sign; /* below the smallest normal half: zero */
    return (uint16_t)(sign | ((mag - 0x38000000 + 0x1000) >> 13));
}

static void store16(unsigned char *p, uint16_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static void store_f32(unsigned char *p, double v)
{
    float f = (float)v;
    memcpy(p, &f, sizeof f);
}

/* A number evenly spread with the wanted deviation. */
static double spread(struct rng *r, double sigma)
{
    return (rng_unit(r) * 2 - 1) * 1.7320508 * sigma;
}

/* Writes n elements (whole blocks) at p; returns bytes. */
static size_t fill_span(unsigned char *p, uint32_t type, double sigma, size_t n, struct rng *r)
{
    unsigned char *start = p;
    if (type == TYPE_Q8_0) {
        /* Random bytes have a deviation of 73.9; the scale of the block brings it to sigma. */
        for (; n > 0; n -= Q8_BLOCK, p += 2 + Q8_BLOCK) {
            store16(p, half(sigma / 73.9));
            for (size_t i = 0; i < Q8_BLOCK; i += 8) {
                uint64_t v = rng_u64(r);
                memcpy(p + 2 + i, &v, 8);
            }
        }
    } else if (type == TYPE_F16) {
        for (; n > 0; n--, p += 2)
            store16(p, half(spread(r, sigma)));
    } else {
        for (; n > 0; n--, p += 4)
            store_f32(p, sigma > 0 ? spread(r, sigma) : 1.0);
    }
    return (size_t)(p - start);
}

static int io_fail(const char *what, const char *path, struct err *err)
{
    return err_set(err, ERR_IO, "%s %s: %s", what, path, strerror(errno));
}

static int write_all(int fd, const void *p, size_t n, const char *path, struct err *err)
{
    const char *at = p;
    while (n > 0) {
        ssize_t k = write(fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return io_fail("cannot write", path, err);
        at += k;
        n -= (size_t)k;
    }
    return 0;
}

/* Rows of the output layer: words get their logits, what is no word stays at zero (an engine would
 * print it as rubbish), and the end of the text comes up now and then. */
static double row_sigma(const struct fill *f, uint64_t row, uint64_t rows)
{
    if (row < f->rows_of_words)
        return f->sigma;
    return row == rows - 1 ? f->sigma * 1.6 : 1e-30;
}

static int write_tensor(int fd, const struct fill *f, uint64_t row_elems, uint64_t rows,
                        struct rng *r, const char *path, struct err *err)
{
    mem_auto unsigned char *block = mem_calloc(CHUNK_ELEMS, 4);
    for (uint64_t row = 0; row < rows; row++) {
        for (uint64_t left = row_elems; left > 0;) {
            size_t n = left < CHUNK_ELEMS ? (size_t)left : CHUNK_ELEMS;
            size_t bytes = fill_span(block, f->type, row_sigma(f, row, rows), n, r);
            if (write_all(fd, block, bytes, path, err))
                return -1;
            left -= n;
        }
    }
    return 0;
}

static int write_data(const struct demo_build *b, const struct gguf *g, int fd, const char *path,
                      struct err *err)
{
    struct rng r = {b->d->seed};
    static const unsigned char zero[GGUF_BUILD_ALIGN];
    for (uint32_t i = 0; i < b->n; i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);
        if (write_tensor(fd, &b->fills[i], t->ne[0], t->ne[1] * t->ne[2], &r, path, err))
            return -1;
        size_t pad = (GGUF_BUILD_ALIGN - t->bytes % GGUF_BUILD_ALIGN) % GGUF_BUILD_ALIGN;
        if (write_all(fd, zero, pad, path, err))
            return -1;
    }
    return 0;
}

static int64_t read_memory(void *ctx, uint64_t off, void *dst, size_t n, struct err *err)
{
    const struct str *s = ctx;
    if (off >= s->n)
        return 0;
    if (n > s->n - off)
        n = s->n - (size_t)off;
    memcpy(dst, s->p + off, n);
    return (int64_t)n;
}

static struct gguf *open_header(struct str *bytes, struct err *err)
{
    struct gguf_source src = {read_memory, bytes, bytes->n, true};
    return gguf_open(&src, err);
}

/* Header, then data or a hole, in a file that appears under its name only when it is whole. */
static int write_model(const char *path, const struct buf *header, const struct demo_build *b,
                       uint64_t data_bytes, struct err *err)
{
    struct str bytes = buf_str(header);
    struct gguf *g = open_header(&bytes, err); /* our own reader agrees, or nothing is written */
    if (!g)
        return -1;
    mem_auto char *tmp = mem_printf("%s.part", path);
    fd_auto int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc =
        fd < 0 ? io_fail("cannot create", tmp, err) : write_all(fd, header->p, header->n, tmp, err);
    if (rc == 0 && b)
        rc = write_data(b, g, fd, tmp, err);
    else if (rc == 0 && ftruncate(fd, (off_t)(header->n + data_bytes)))
        rc = io_fail("cannot make a hole in", tmp, err);
    if (rc == 0 && rename(tmp, path))
        rc = io_fail("cannot write", path, err);
    if (rc && fd >= 0)
        unlink(tmp);
    gguf_free(g);
    return rc;
}

static void report(const struct demo *d, const char *path, uint64_t header, uint64_t data,
                   const char *what)
{
    char size[24];
    if (!d->json) {
        printf("%s: %s. %s\n", path, num_fmt_gib(size, sizeof size, header + data), what);
        return;
    }
    json_t *doc = json_object();
    json_put_str(doc, "path", path);
    json_put_u64(doc, "header_bytes", header);
    json_put_u64(doc, "data_bytes", data);
    json_put_str(doc, "note", what);
    cli_json(doc);
}

static int check_shape(struct demo *d, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++)
        if (strcmp(TYPES[i].name, d->type_name) == 0) {
            d->type = TYPES[i].type;
            d->file_type = TYPES[i].file_type;
            goto known;
        }
    return err_set(err, ERR_USAGE, "--type %.20s: only q8_0, f16 and f32 are written",
                   d->type_name);
known:
    if (d->embd % 32 || d->ff % 32)
        return err_set(err, ERR_USAGE, "--embd and --ff must be multiples of 32");
    if (d->embd % d->heads || d->embd / d->heads % 2)
        return err_set(err, ERR_USAGE, "--embd %u does not divide into %u heads of even width",
                       (unsigned)d->embd, (unsigned)d->heads);
    if (d->heads % d->kv_heads)
        return err_set(err, ERR_USAGE, "--heads %u is not a multiple of --kv-heads %u",
                       (unsigned)d->heads, (unsigned)d->kv_heads);
    return 0;
}

static int write_tiny(const char *path, struct demo *d, struct err *err)
{
    if (check_shape(d, err))
        return -1;
    struct demo_build b = {.d = d, .w = gguf_builder_new()};
    buf_auto struct buf header;
    buf_init(&header, GGUF_MAX_HEADER);
    put_keys(b.w, d);
    put_tensors(&b);
    uint64_t data = gguf_builder_data(b.w);
    char size[24];
    int rc = 0;
    if (data > DEMO_MAX_BYTES)
        rc = err_set(err, ERR_LIMIT, "this shape is a file of %s; at most 64 GiB are written",
                     num_fmt_gib(size, sizeof size, data));
    if (rc == 0)
        rc = gguf_build_header(b.w, &header, err);
    if (rc == 0)
        rc = write_model(path, &header, &b, data, err);
    if (rc == 0)
        report(d, path, header.n, data, "Its weights are random numbers: it speaks noise.");
    gguf_builder_free(b.w);
    free(b.fills);
    return rc;
}

/* ---- sparse giants ---- */

/* Not the tokenizer, and not the vocabulary size of a header without one: the tokens say it. */
static bool is_kept(const char *key, size_t n)
{
    struct str size = STR(".vocab_size"), k = {key, n};
    bool is_size = n > size.n && str_eq((struct str){key + n - size.n, size.n}, size);
    return !is_size && !str_starts(k, STR("tokenizer."));
}

static int copy_tensors(struct gguf_builder *w, const struct gguf *g, struct err *err)
{
    for (uint32_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);
        gguf_put_tensor(w, t->name, t->type, t->n_dims, t->ne);
        if (gguf_builder_offset(w, i) != t->offset)
            return err_set(err, ERR_UNSUPPORTED,
                           "tensor %s lies at %llu of the data, not right behind the one before",
                           t->name, (unsigned long long)t->offset);
    }
    return 0;
}

static int build_giant(struct gguf_builder *w, const struct gguf *g, struct str bytes,
                       struct err *err)
{
    const struct gguf_tensor *embd = gguf_find_tensor(g, "token_embd.weight");
    size_t end;
    if (!embd)
        return err_set(err, ERR_INVALID, "no tensor token_embd.weight: this is no language model");
    if (embd->ne[1] < DEMO_VOCAB_MIN || embd->ne[1] > DEMO_VOCAB_MAX)
        return err_set(err, ERR_LIMIT, "a vocabulary of %llu tokens; %d to %d can be made up",
                       (unsigned long long)embd->ne[1], DEMO_VOCAB_MIN, DEMO_VOCAB_MAX);
    if (gguf_n_shards(g) != 1)
        return err_set(err, ERR_UNSUPPORTED, "one shard of a set: give a header of a whole file");
    if (gguf_copy_keys(w, bytes.p, bytes.n, is_kept, &end, err))
        return -1;
    demo_vocab_put(w, (uint32_t)embd->ne[1]);
    return copy_tensors(w, g, err);
}

static int write_giant(const char *path, const struct demo *d, struct err *err)
{
    mem_auto char *text = NULL;
    size_t n;
    if (file_read(d->sparse_from, GGUF_MAX_HEADER, &text, &n, err))
        return -1;
    struct str bytes = {text, n};
    struct gguf *g = open_header(&bytes, err);
    if (!g) {
        err_wrap(err, "%s", d->sparse_from);
        return -1;
    }
    struct gguf_builder *w = gguf_builder_new();
    buf_auto struct buf header;
    buf_init(&header, GGUF_MAX_HEADER);
    int rc = build_giant(w, g, bytes, err);
    if (rc == 0)
        rc = gguf_build_header(w, &header, err);
    if (rc == 0)
        rc = write_model(path, &header, NULL, gguf_builder_data(w), err);
    if (rc == 0)
        report(d, path, header.n, gguf_builder_data(w), "Only its header is on disk: for tests.");
    else
        err_wrap(err, "%s", d->sparse_from);
    gguf_builder_free(w);
    gguf_free(g);
    return rc;
}

int cmd_demo_model(int argc, char **argv)
{
    struct demo d = {.layers = 8,
                     .embd = 256,
                     .heads = 8,
                     .kv_heads = 4,
                     .ff = 768,
                     .vocab = 1024,
                     .ctx = 4096,
                     .seed = 1,
                     .type_name = "q8_0",
                     .name = "demo"};
    const struct opt opts[] = {
        {"layers", 0, OPT_U64, &d.layers, "N", "blocks", 1, 512},
        {"embd", 0, OPT_U64, &d.embd, "N", "width", 32, 32768},
        {"heads", 0, OPT_U64, &d.heads, "N", "attention heads", 1, 512},
        {"kv-heads", 0, OPT_U64, &d.kv_heads, "N", "key and value heads", 1, 512},
        {"ff", 0, OPT_U64, &d.ff, "N", "width of the feed-forward part", 32, 131072},
        {"vocab", 0, OPT_U64, &d.vocab, "N", "tokens", DEMO_VOCAB_MIN, DEMO_VOCAB_MAX},
        {"ctx", 0, OPT_U64, &d.ctx, "N", "trained context", 256, 1 << 20},
        {"seed", 0, OPT_U64, &d.seed, "N", "of the random weights", 0, 0},
        {"type", 0, OPT_STR, &d.type_name, "TYPE", "q8_0, f16 or f32", 0, 0},
        {"name", 0, OPT_STR, &d.name, "NAME", "general.name of the file", 0, 0},
        {"moe", 0, OPT_FLAG, &d.moe, NULL, "8 experts per block, 2 of them used", 0, 0},
        {"sparse-from", 0, OPT_STR, &d.sparse_from, "FILE.ggufh",
         "that header over a hole (for tests)", 0, 0},
    };
    struct cli c = {
        .usage = "OUT.gguf [options]",
        .about = "Writes a tiny llama model of random weights: it loads and answers, in noise.",
        .opts = opts,
        .n_opts = ARRAY_LEN(opts),
        .min_operands = 1,
        .max_operands = 1};
    struct err err = {0};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    const char *path = c.operands[0];
    d.json = c.json;
    if (d.sparse_from ? write_giant(path, &d, &err) : write_tiny(path, &d, &err))
        return cli_fail(&c, &err, NULL);
    return 0;
}
