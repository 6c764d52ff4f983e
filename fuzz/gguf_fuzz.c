/* GGUF bytes through everything that reads them: parser, shards, facts, estimate. An input is one
 * file; from every later "GGUF" on it is the next file of a set. */
#include "arch/arch.h"
#include "base/mem.h"
#include "base/num.h"
#include "estimate/estimate.h"
#include "gguf/gguf.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *p;
    size_t n;
};

static int64_t read_bytes(void *ctx, uint64_t off, void *dst, size_t n, struct err *err)
{
    const struct bytes *b = ctx;
    assert(off <= b->n); /* the reader never asks beyond the size it was given */
    assert(n <= b->n - off);
    memcpy(dst, b->p + off, n);
    return (int64_t)n;
}

static struct gguf_source source_of(struct bytes *b, bool header_only)
{
    return (struct gguf_source){
        .read_at = read_bytes, .ctx = b, .size = b->n, .header_only = header_only};
}

static void check_error(const struct err *err)
{
    assert(err->code != ERR_NONE && err->code != ERR_INTERNAL);
    assert(err->msg[0] && memchr(err->msg, 0, sizeof err->msg));
    for (const char *p = err->msg; *p; p++) /* nothing of the file reaches a terminal raw */
        assert((unsigned char)*p >= ' ' && *p != 0x7f);
}

static void check_gguf(const struct gguf *g)
{
    uint64_t sum = 0, u;
    enum gguf_value_type elem;
    double f;
    bool yes;
    struct str s;
    for (uint32_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);
        assert(gguf_find_tensor(g, t->name) == t && gguf_type(t->type) && t->bytes > 0);
        sum = num_add_sat(sum, t->bytes);
    }
    assert(gguf_tensor(g, gguf_n_tensors(g)) == NULL);
    assert(sum <= gguf_tensor_bytes(g) && gguf_tensor_bytes(g) <= GGUF_MAX_DATA);
    static const char *const KEYS[] = {"general.alignment", "tokenizer.ggml.scores", "x.array",
                                       "general.name", "split.no"};
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++) {
        gguf_get_u64(g, KEYS[i], &u);
        gguf_get_f64(g, KEYS[i], &f);
        gguf_get_bool(g, KEYS[i], &yes);
        if (gguf_get_str(g, KEYS[i], &s))
            assert(s.p[s.n] == '\0');
        if (gguf_get_array(g, KEYS[i], &elem, &u)) {
            uint64_t v;
            gguf_get_array_u64(g, KEYS[i], 0, &v);
            assert(!gguf_get_array_u64(g, KEYS[i], u, &v));
        }
    }
}

static void check_estimate(const struct arch_facts *f, const struct estimate_opts *o)
{
    struct err err = {0};
    struct estimate_model *m = estimate_new(f, o, &err);
    if (!m) {
        check_error(&err);
        return;
    }
    uint32_t half = m->n_layers / 2;
    uint32_t counts[3] = {half, 0, m->n_layers - half};
    struct estimate_split splits[] = {
        {.n_devices = 0, .counts = counts, .n_cpu_layers = m->n_layers},
        {.n_devices = 1, .counts = &m->n_layers},
        {.n_devices = 3, .counts = counts},
        {.n_devices = 3, .counts = counts, .n_cpu_moe = 1},
        {.n_devices = 1, .counts = &counts[2], .n_cpu_layers = half},
    };
    for (size_t i = 0; i < ARRAY_LEN(splits); i++) {
        struct estimate_bytes out[3], host;
        struct estimate_device_speed dev[3] = {
            {.bandwidth_bytes_per_s = 1e12}, {.hbm = true}, {.remote = true, .net_rtt_s = 1e-4}};
        estimate_split_bytes(m, &splits[i], out, &host);
        uint64_t kv = host.kv, all = 0;
        for (uint32_t d = 0; d < splits[i].n_devices; d++)
            kv = num_add_sat(kv, out[d].kv);
        for (uint32_t il = 0; il < m->n_layers; il++)
            all = num_add_sat(all, m->layers[il].kv);
        assert(kv == all); /* every layer is on exactly one device */
        double t = estimate_token_seconds(m, &splits[i], dev, NULL);
        assert(t > 0 && t < 1e30);
    }
    estimate_free(m);
}

static void check_facts(const struct gguf *g)
{
    struct err err = {0};
    struct arch_facts *f = arch_from_gguf(g, &err);
    if (!f) {
        check_error(&err);
        return;
    }
    assert(f->n_layers > 0 && f->n_layers <= f->n_blocks);
    static const struct estimate_opts OPTS[] = {
        {.ctx = 8192, .n_slots = 1, .ubatch = 512},
        {.ctx = 1, .n_slots = 4096, .ubatch = 1, .kv_k = KV_Q8_0, .kv_v = KV_Q8_0},
        {.ctx = UINT32_MAX, .n_slots = 4, .ubatch = 2048, .no_flash_attn = true},
        {.ctx = 4096, .n_slots = 4, .ubatch = 512, .kv_unified = true, .kv_k = KV_Q4_0},
    };
    for (size_t i = 0; i < ARRAY_LEN(OPTS); i++)
        check_estimate(f, &OPTS[i]);
    arch_free(f);
}

/* The next "GGUF" after the first byte, or the end. */
static size_t next_file(const uint8_t *p, size_t n)
{
    for (size_t i = 1; i + 4 <= n; i++)
        if (memcmp(p + i, "GGUF", 4) == 0)
            return i;
    return n;
}

static void run(const uint8_t *data, size_t size, bool header_only)
{
    struct err err = {0};
    size_t n = next_file(data, size);
    struct bytes b = {data, n};
    struct gguf_source src = source_of(&b, header_only);
    struct gguf *g = gguf_open(&src, &err);
    if (!g) {
        check_error(&err);
        return;
    }
    while (n < size) {
        data += n;
        size -= n;
        n = next_file(data, size);
        b = (struct bytes){data, n};
        src = source_of(&b, header_only);
        uint32_t before = gguf_n_tensors(g);
        if (gguf_add_shard(g, &src, &err) < 0) {
            check_error(&err);
            assert(gguf_n_tensors(g) == before);
            break;
        }
    }
    gguf_complete(g, &err);
    check_gguf(g);
    check_facts(g);
    gguf_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run(data, size, false);
    run(data, size, true);
    return 0;
}
