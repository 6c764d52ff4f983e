/* Facts of a model: tensors first, then keys; every value of the file is bounded before use. */
#include "arch/arch.h"
#include "arch/arch_internal.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long ull;

/* Architectures whose figures were compared with what the engine allocates (docs/memory.md). */
static const struct family {
    const char *name;
    uint32_t swa_period; /* of n blocks the last one sees everything; 0: no windows */
} FAMILIES[] = {
    {"llama", 0},   {"qwen2", 0},   {"qwen3", 0},     {"qwen3moe", 0},  {"gemma3", 6},
    {"gpt-oss", 2}, {"glm4moe", 0}, {"deepseek2", 0}, {"qwen3next", 0}, {"mamba", 0},
};

struct ctx {
    const struct gguf *g;
    struct arch_facts *f;
    const struct family *family; /* NULL: not known */
    struct arch_scan scan;
    struct err *err;
};

static void warn(struct ctx *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct ctx *c, const char *fmt, ...)
{
    char *w = c->f->warning;
    size_t n = strlen(w), cap = sizeof c->f->warning;
    if (n && n + 3 < cap) {
        memcpy(w + n, "; ", 3);
        n += 2;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w + n, cap - n, fmt, ap);
    va_end(ap);
}

/* "ARCH.name"; asked several times per block, so without printf. */
static const char *arch_key(const struct ctx *c, const char *name, char key[128])
{
    size_t n = strlen(c->f->arch), m = strlen(name); /* below 32 and 64 */
    memcpy(key, c->f->arch, n);
    key[n] = '.';
    memcpy(key + n + 1, name, m + 1);
    return key;
}

/* Reads the architecture's key `name` into *out when it is there; more than `hi` is an error. */
static int key_u32(struct ctx *c, const char *name, uint32_t hi, uint32_t *out)
{
    char key[128];
    uint64_t v;
    if (!gguf_get_u64(c->g, arch_key(c, name, key), &v))
        return 0;
    if (v > hi)
        return err_set(c->err, ERR_LIMIT, "%s is %llu; at most %u is plausible", key, (ull)v, hi);
    *out = (uint32_t)v;
    return 0;
}

/* A key that is one number for all blocks or an array with one per block. */
static int key_per_block(struct ctx *c, const char *name, uint32_t hi, uint32_t il, uint32_t *out)
{
    char key[128];
    enum gguf_value_type elem;
    uint64_t n, v;
    if (!gguf_get_array(c->g, arch_key(c, name, key), &elem, &n))
        return key_u32(c, name, hi, out);
    if (n < c->f->n_blocks)
        return err_set(c->err, ERR_CORRUPT, "%s has %llu values for %u blocks", key, (ull)n,
                       c->f->n_blocks);
    if (!gguf_get_array_u64(c->g, key, il, &v) || v > hi)
        return err_set(c->err, ERR_CORRUPT, "%s[%u] is no number up to %u", key, il, hi);
    *out = (uint32_t)v;
    return 0;
}

static int read_name(struct ctx *c)
{
    struct str s;
    struct arch_facts *f = c->f;
    if (!gguf_get_str(c->g, "general.architecture", &s) || s.n == 0)
        return err_set(c->err, ERR_CORRUPT,
                       "no general.architecture: not the (first) file of a model");
    if (s.n >= sizeof f->arch)
        return err_set(c->err, ERR_LIMIT, "general.architecture has %zu bytes", s.n);
    for (size_t i = 0; i < s.n; i++)
        if (!(((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') ||
              s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.'))
            return err_set(c->err, ERR_CORRUPT,
                           "general.architecture holds byte 0x%02x; letters, digits, - _ . are "
                           "allowed",
                           (unsigned char)s.p[i]);
    memcpy(f->arch, s.p, s.n); /* zeroed, and shorter than the array */
    if (gguf_get_str(c->g, "general.type", &s) && s.n && !str_eq(s, STR("model"))) {
        char type[40];
        str_clean(type, sizeof type, s);
        return err_set(c->err, ERR_UNSUPPORTED, "a file of type \"%s\", not a language model",
                       type);
    }
    if (strcmp(f->arch, "clip") == 0)
        return err_set(c->err, ERR_UNSUPPORTED, "a vision projector (clip), not a language model");
    if (gguf_get_str(c->g, "general.name", &s))
        str_clean(f->name, sizeof f->name, s);
    for (size_t i = 0; i < ARRAY_LEN(FAMILIES); i++)
        if (strcmp(f->arch, FAMILIES[i].name) == 0)
            c->family = &FAMILIES[i];
    f->known = c->family != NULL;
    if (!f->known)
        warn(c,
             "architecture %s was not compared with the engine: KV and compute are upper guesses",
             f->arch);
    return 0;
}

/* Number of blocks, then the scan of the tensors, which must agree with it. */
static int read_blocks(struct ctx *c)
{
    struct arch_facts *f = c->f;
    uint32_t mtp = 0;
    if (key_u32(c, "block_count", ARCH_MAX_BLOCKS, &f->n_blocks) < 0 ||
        key_u32(c, "nextn_predict_layers", ARCH_MAX_BLOCKS, &mtp) < 0)
        return -1;
    if (f->n_blocks == 0)
        return err_set(c->err, ERR_CORRUPT, "%s.block_count is missing or 0", f->arch);
    if (mtp >= f->n_blocks)
        return err_set(c->err, ERR_CORRUPT, "%s.nextn_predict_layers is %u of %u blocks", f->arch,
                       mtp, f->n_blocks);
    f->n_layers = f->n_blocks - mtp;
    if (arch_scan(&c->scan, c->g, f->n_blocks, c->err) < 0)
        return -1;
    uint32_t empty = 0;
    for (uint32_t i = 0; i < f->n_layers; i++)
        empty += !c->scan.blocks[i].used;
    if (empty == f->n_layers || (empty && f->known))
        return err_set(c->err, ERR_CORRUPT, "%s.block_count is %u, but %u blocks have no tensors",
                       f->arch, f->n_blocks, empty);
    return 0;
}

static int read_widths(struct ctx *c)
{
    struct arch_facts *f = c->f;
    const struct arch_scan *s = &c->scan;
    if (!s->n_embd)
        return err_set(c->err, ERR_CORRUPT, "no token_embd.weight: not a language model");
    if (s->n_embd > ARCH_MAX_WIDTH || s->n_vocab > ARCH_MAX_VOCAB)
        return err_set(c->err, ERR_LIMIT, "token_embd.weight of %llu x %llu is not plausible",
                       (ull)s->n_embd, (ull)s->n_vocab);
    f->n_embd = (uint32_t)s->n_embd;
    f->n_vocab = (uint32_t)s->n_vocab;
    uint32_t n_embd = f->n_embd;
    if (key_u32(c, "embedding_length", ARCH_MAX_WIDTH, &n_embd) < 0)
        return -1;
    if (n_embd != f->n_embd)
        return err_set(c->err, ERR_CORRUPT, "%s.embedding_length is %u, token_embd.weight has %u",
                       f->arch, n_embd, f->n_embd);
    if (key_u32(c, "context_length", INT32_MAX, &f->ctx_train) < 0 ||
        key_u32(c, "attention.sliding_window", INT32_MAX, &f->n_swa) < 0 ||
        key_u32(c, "attention.key_length", ARCH_MAX_WIDTH, &f->head_dim_k) < 0 ||
        key_u32(c, "attention.value_length", ARCH_MAX_WIDTH, &f->head_dim_v) < 0)
        return -1;
    if (f->n_swa && !(c->family && c->family->swa_period)) {
        if (!c->family)
            warn(c, "its sliding window is ignored: every block is planned with full KV");
        f->n_swa = 0;
    }
    return 0;
}

static int read_experts(struct ctx *c)
{
    struct arch_facts *f = c->f;
    uint64_t n = 0, width = 0;
    bool any = false;
    for (uint32_t i = 0; i < f->n_blocks; i++) {
        const struct arch_block *b = &c->scan.blocks[i];
        any |= b->expert_bytes > 0;
        n = b->n_expert > n ? b->n_expert : n;
        width = b->n_ff_exp > width ? b->n_ff_exp : width;
    }
    if (!any)
        return 0;
    if (n > ARCH_MAX_WIDTH || width > ARCH_MAX_WIDTH)
        return err_set(c->err, ERR_LIMIT, "%llu experts of width %llu are not plausible", (ull)n,
                       (ull)width);
    f->n_expert = (uint32_t)n;
    f->n_ff_exp = (uint32_t)width;
    uint32_t by_key = f->n_expert;
    if (key_u32(c, "expert_count", ARCH_MAX_WIDTH, &by_key) < 0 ||
        key_u32(c, "expert_used_count", ARCH_MAX_WIDTH, &f->n_expert_used) < 0)
        return -1;
    if (f->n_expert == 0)
        f->n_expert = by_key;
    if (by_key != f->n_expert)
        return err_set(c->err, ERR_CORRUPT, "%s.expert_count is %u, the expert tensors hold %u",
                       f->arch, by_key, f->n_expert);
    if (f->n_expert_used == 0 || f->n_expert_used > f->n_expert)
        return err_set(c->err, ERR_CORRUPT, "%s.expert_used_count is %u of %u experts", f->arch,
                       f->n_expert_used, f->n_expert);
    return 0;
}

/* DeepSeek-like latent attention. With the split tensors only the latent row is cached (K; no V);
 * without them every head's K and V. */
static int layer_mla(struct ctx *c, const struct arch_block *b, struct arch_layer *l)
{
    struct arch_facts *f = c->f;
    uint32_t lora = 0;
    if (key_u32(c, "attention.kv_lora_rank", ARCH_MAX_WIDTH, &lora) < 0)
        return -1;
    if (!lora && b->mla_lora <= ARCH_MAX_WIDTH)
        lora = (uint32_t)b->mla_lora;
    if (!lora || b->mla_row <= lora || b->mla_row > ARCH_MAX_WIDTH)
        return err_set(c->err, ERR_CORRUPT, "attn_kv_a_mqa has %llu rows, kv_lora_rank is %u",
                       (ull)b->mla_row, lora);
    f->kv_lora = lora;
    f->n_rot = (uint32_t)b->mla_row - lora;
    if (b->k_b[0] && b->v_b[0]) {
        if (b->k_b[0] > ARCH_MAX_WIDTH || b->v_b[1] > ARCH_MAX_WIDTH ||
            (b->k_b[2] != l->n_head && f->known) || b->k_b[1] != lora)
            return err_set(c->err, ERR_CORRUPT,
                           "attn_k_b is %llu x %llu x %llu for %u heads and kv_lora_rank %u",
                           (ull)b->k_b[0], (ull)b->k_b[1], (ull)b->k_b[2], l->n_head, lora);
        l->mixer = ARCH_MLA;
        l->k_elems = (uint32_t)b->mla_row;
        l->v_elems = 0;
        f->qk_nope = (uint32_t)b->k_b[0];
        f->v_head_dim = (uint32_t)b->v_b[1];
        return 0;
    }
    if (f->head_dim_k <= f->n_rot || !f->head_dim_v)
        return err_set(c->err, ERR_CORRUPT, "%s.attention.key_length is %u with %u rotary elements",
                       f->arch, f->head_dim_k, f->n_rot);
    uint64_t kv_heads = l->n_head_kv > l->n_head ? l->n_head_kv : l->n_head;
    uint64_t k = kv_heads * f->head_dim_k, v = kv_heads * f->head_dim_v;
    if (k > ARCH_MAX_WIDTH || v > ARCH_MAX_WIDTH)
        return err_set(c->err, ERR_LIMIT, "K rows of %llu elements are not plausible", (ull)k);
    l->k_elems = (uint32_t)k;
    l->v_elems = (uint32_t)v;
    l->n_head_kv = (uint32_t)kv_heads;
    f->qk_nope = f->head_dim_k - f->n_rot;
    f->v_head_dim = f->head_dim_v;
    return 0;
}

/* One side (K or V) of grouped-query attention: the tensor's rows, else heads times head size. */
static int kv_width(struct ctx *c, uint32_t il, const char *what, uint64_t rows, uint64_t by_key,
                    uint32_t *out)
{
    if (rows && rows != by_key && c->f->known)
        return err_set(c->err, ERR_CORRUPT, "blk.%u.%s has %llu rows, the keys say %llu", il, what,
                       (ull)rows, (ull)by_key);
    uint64_t n = rows ? rows : by_key;
    if (n > ARCH_MAX_WIDTH)
        return err_set(c->err, ERR_LIMIT, "blk.%u.%s has %llu rows: not plausible", il, what,
                       (ull)n);
    *out = (uint32_t)n;
    return 0;
}

static int layer_attention(struct ctx *c, uint32_t il, const struct arch_block *b,
                           struct arch_layer *l)
{
    struct arch_facts *f = c->f;
    l->n_head = 0;
    if (key_per_block(c, "attention.head_count", ARCH_MAX_WIDTH, il, &l->n_head) < 0)
        return -1;
    l->n_head_kv = l->n_head;
    if (key_per_block(c, "attention.head_count_kv", ARCH_MAX_WIDTH, il, &l->n_head_kv) < 0)
        return -1;
    if (!l->n_head && f->known)
        return err_set(c->err, ERR_CORRUPT, "%s.attention.head_count is missing or 0", f->arch);
    if (!f->head_dim_k && l->n_head)
        f->head_dim_k = f->n_embd / l->n_head;
    if (!f->head_dim_v && l->n_head)
        f->head_dim_v = f->n_embd / l->n_head;
    if (b->mla_row)
        return layer_mla(c, b, l);
    if (!l->n_head && !b->k_width && b->attention) { /* nothing is known: as wide as can be */
        l->k_elems = l->v_elems = f->n_embd;
        return 0;
    }
    if (kv_width(c, il, "attn_k", b->k_width, (uint64_t)l->n_head_kv * f->head_dim_k, &l->k_elems) <
            0 ||
        kv_width(c, il, "attn_v", b->v_width, (uint64_t)l->n_head_kv * f->head_dim_v, &l->v_elems) <
            0)
        return -1;
    return 0;
}

/* Bytes of recurrent state per slot: 32-bit floats for the convolution's past and for the state. */
static int layer_recurrent(struct ctx *c, uint32_t il, const struct arch_block *b,
                           struct arch_layer *l)
{
    struct arch_facts *f = c->f;
    uint32_t inner = 0, state = 0, head = 0, cache = 0;
    if (key_u32(c, "ssm.inner_size", ARCH_MAX_WIDTH, &inner) < 0 ||
        key_u32(c, "ssm.state_size", ARCH_MAX_WIDTH, &state) < 0 ||
        key_u32(c, "wkv.head_size", ARCH_MAX_WIDTH, &head) < 0 ||
        key_u32(c, "shortconv.l_cache", ARCH_MAX_WIDTH, &cache) < 0)
        return -1;
    uint64_t elems = 0, ssm = (uint64_t)inner * state;
    if (b->rwkv)
        elems = (uint64_t)f->n_embd * ((uint64_t)head + 2);
    else if (b->short_conv)
        elems = num_mul_sat(cache > b->short_conv ? cache : b->short_conv, f->n_embd);
    else if (b->conv && b->channels)
        elems = num_add_sat(num_mul_sat(b->conv - 1, b->channels), ssm);
    if (!elems || (!b->rwkv && !b->short_conv && ssm == 0))
        return err_set(c->err, ERR_CORRUPT,
                       "blk.%u is recurrent, but the size of its state is not given", il);
    if (c->f->known && b->channels < inner)
        return err_set(c->err, ERR_CORRUPT,
                       "blk.%u.ssm_conv1d has %llu channels, ssm.inner_size %u", il,
                       (ull)b->channels, inner);
    l->state_bytes = num_mul_sat(4, elems);
    if (l->state_bytes > GGUF_MAX_DATA)
        return err_set(c->err, ERR_LIMIT, "blk.%u has a state of %llu bytes: not plausible", il,
                       (ull)l->state_bytes);
    l->mixer = ARCH_RECURRENT;
    l->n_state_inner = inner;
    l->n_state = state;
    l->n_conv = b->conv <= ARCH_MAX_WIDTH ? (uint32_t)b->conv : 0;
    return 0;
}

/* Blocks il with a sliding window: the last of every `period` blocks sees everything. */
static int mark_windows(struct ctx *c)
{
    struct arch_facts *f = c->f;
    if (!f->n_swa)
        return 0;
    uint32_t period = c->family->swa_period;
    char key[128];
    enum gguf_value_type elem;
    uint64_t n, v;
    bool list =
        gguf_get_array(c->g, arch_key(c, "attention.sliding_window_pattern", key), &elem, &n);
    if (!list && key_u32(c, "attention.sliding_window_pattern", ARCH_MAX_BLOCKS, &period) < 0)
        return -1;
    for (uint32_t i = 0; i < f->n_layers; i++) {
        if (list && !gguf_get_array_u64(c->g, key, i, &v))
            return err_set(c->err, ERR_CORRUPT, "%s has %llu values for %u layers", key, (ull)n,
                           f->n_layers);
        f->layers[i].sliding = list ? v != 0 : period == 0 || i % period < period - 1;
    }
    return 0;
}

static int read_layers(struct ctx *c)
{
    struct arch_facts *f = c->f;
    f->layers = mem_calloc(f->n_layers, sizeof *f->layers);
    for (uint32_t i = 0; i < f->n_layers; i++) {
        const struct arch_block *b = &c->scan.blocks[i];
        struct arch_layer *l = &f->layers[i];
        l->weight_bytes = b->bytes;
        l->expert_bytes = b->expert_bytes;
        l->moe = b->expert_bytes > 0;
        if (b->n_ff > ARCH_MAX_WIDTH)
            return err_set(c->err, ERR_LIMIT, "blk.%u.ffn_down has rows of %llu: not plausible", i,
                           (ull)b->n_ff);
        l->n_ff = (uint32_t)b->n_ff;
        /* qwen3next's recurrent blocks have a fused attn_qkv; a block with attn_k is a true hybrid
         */
        bool hybrid = b->recurrent && b->k_width;
        if ((!b->recurrent || hybrid) && layer_attention(c, i, b, l) < 0)
            return -1;
        if (b->recurrent && layer_recurrent(c, i, b, l) < 0)
            return -1;
        f->n_head = l->n_head > f->n_head ? l->n_head : f->n_head;
        f->n_head_kv = l->n_head_kv > f->n_head_kv ? l->n_head_kv : f->n_head_kv;
    }
    return mark_windows(c);
}

static void read_sums(struct ctx *c)
{
    struct arch_facts *f = c->f;
    const struct arch_scan *s = &c->scan;
    struct str t;
    f->n_params = s->n_params;
    f->tensor_bytes = gguf_tensor_bytes(c->g);
    f->file_bytes = gguf_file_bytes(c->g);
    f->n_tensors = gguf_n_tensors(c->g);
    f->n_files = gguf_n_shards(c->g);
    f->tied = !s->has_output;
    f->embedding_bytes = s->embedding_bytes;
    f->output_bytes = s->output_bytes;
    if (f->tied) {
        const struct gguf_tensor *e = gguf_find_tensor(c->g, "token_embd.weight");
        f->tied_bytes = num_pad_sat(e->bytes, ARCH_PAD);
        f->output_bytes = num_add_sat(f->output_bytes, f->tied_bytes);
    }
    f->shared_bytes = s->shared_bytes;
    f->has_chat_template = gguf_get_str(c->g, "tokenizer.chat_template", &t) && t.n > 0;
    arch_quant_name(c->g, s, f->quant, sizeof f->quant);
}

struct arch_facts *arch_from_gguf(const struct gguf *g, struct err *err)
{
    struct ctx c = {.g = g, .err = err, .f = mem_calloc(1, sizeof *c.f)};
    bool ok = read_name(&c) == 0 && read_blocks(&c) == 0 && read_widths(&c) == 0 &&
              read_experts(&c) == 0 && read_layers(&c) == 0;
    if (ok)
        read_sums(&c);
    arch_scan_done(&c.scan);
    if (!ok) {
        arch_free(c.f);
        return NULL;
    }
    return c.f;
}

void arch_free(struct arch_facts *f)
{
    if (!f)
        return;
    free(f->layers);
    free(f);
}
