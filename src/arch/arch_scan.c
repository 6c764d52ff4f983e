/* Tensors to blocks: what the names and shapes of a file's tensors say about it. */
#include "arch/arch_internal.h"

#include "base/mem.h"
#include "base/num.h"

#include <stddef.h>
#include <string.h>

static bool starts(const char *s, const char *prefix)
{
    while (*prefix && *s == *prefix)
        s++, prefix++;
    return *prefix == '\0';
}

/* The block number of "blk.N.rest" (also enc.blk and dec.blk, whose block N runs on one device);
 * *rest is set. -1: outside blocks, -2: a number that is none. */
static int64_t block_of(const char *name, const char **rest)
{
    if ((name[0] == 'e' && starts(name, "enc.")) || (name[0] == 'd' && starts(name, "dec.")))
        name += 4;
    if (name[0] != 'b' || !starts(name, "blk."))
        return -1;
    const char *p = name + 4;
    int64_t n = 0;
    if (*p < '0' || *p > '9')
        return -2;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');
        if (n > UINT32_MAX)
            return -2;
    }
    if (*p != '.')
        return -2;
    *rest = p + 1;
    return n;
}

static uint64_t padded(const struct gguf_tensor *t)
{
    return num_pad_sat(t->bytes, ARCH_PAD);
}

/* A dimension of a known tensor that is kept. */
struct shape_fact {
    const char *name;
    uint16_t len, dim;
    uint16_t field; /* offset of a uint64_t in struct arch_block */
};
#define FACT(tensor, d, member)                                                                    \
    {                                                                                              \
        tensor, sizeof(tensor) - 1, d, offsetof(struct arch_block, member)                         \
    }
static const struct shape_fact FACTS[] = {
    FACT("attn_k.weight", 1, k_width),
    FACT("attn_v.weight", 1, v_width),
    FACT("attn_q.weight", 1, q_width),
    FACT("attn_kv_a_mqa.weight", 1, mla_row),
    FACT("attn_kv_a_norm.weight", 0, mla_lora),
    FACT("attn_k_b.weight", 0, k_b[0]),
    FACT("attn_k_b.weight", 1, k_b[1]),
    FACT("attn_k_b.weight", 2, k_b[2]),
    FACT("attn_v_b.weight", 0, v_b[0]),
    FACT("attn_v_b.weight", 1, v_b[1]),
    FACT("attn_v_b.weight", 2, v_b[2]),
    FACT("ffn_down.weight", 0, n_ff),
    FACT("ffn_down_exps.weight", 0, n_ff_exp),
    FACT("ffn_down_exps.weight", 2, n_expert),
    FACT("ssm_conv1d.weight", 0, conv),
    FACT("ssm_conv1d.weight", 1, channels),
    FACT("shortconv.conv.weight", 0, short_conv),
};

static void scan_block(struct arch_block *b, const char *rest, const struct gguf_tensor *t)
{
    uint64_t bytes = padded(t);
    b->used = true;
    b->bytes = num_add_sat(b->bytes, bytes);
    if (starts(rest, "attn_"))
        b->attention = true;
    else if (starts(rest, "ffn_"))
        b->expert_bytes = num_add_sat(b->expert_bytes, strstr(rest, "_exps") ? bytes : 0);
    else if (starts(rest, "ssm_") || starts(rest, "shortconv."))
        b->recurrent = true;
    else if (starts(rest, "time_mix_"))
        b->recurrent = b->rwkv = true;
    else if (starts(rest, "nextn."))
        b->mtp = true;
    size_t len = strlen(rest);
    for (size_t i = 0; i < ARRAY_LEN(FACTS); i++)
        if (FACTS[i].len == len && memcmp(FACTS[i].name, rest, len) == 0)
            *(uint64_t *)((char *)b + FACTS[i].field) = t->ne[FACTS[i].dim];
}

static void scan_outside(struct arch_scan *s, const struct gguf_tensor *t)
{
    /* Tables that are looked up by token or position stay on the host. */
    static const char *const HOST[] = {"token_embd.weight", "token_embd_norm.weight",
                                       "token_embd_norm.bias", "position_embd.weight",
                                       "token_types.weight"};
    static const char *const SHARED[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                         "rope_factors_short.weight"};
    uint64_t *sum = &s->output_bytes;
    for (size_t i = 0; i < ARRAY_LEN(HOST); i++)
        if (strcmp(t->name, HOST[i]) == 0)
            sum = &s->embedding_bytes;
    for (size_t i = 0; i < ARRAY_LEN(SHARED); i++)
        if (strcmp(t->name, SHARED[i]) == 0)
            sum = &s->shared_bytes;
    *sum = num_add_sat(*sum, padded(t));
    if (strcmp(t->name, "output.weight") == 0)
        s->has_output = true;
    if (strcmp(t->name, "token_embd.weight") == 0) {
        s->n_embd = t->ne[0];
        s->n_vocab = t->ne[1];
    }
}

int arch_scan(struct arch_scan *s, const struct gguf *g, uint32_t n_blocks, struct err *err)
{
    *s = (struct arch_scan){.n_blocks = n_blocks};
    s->blocks = mem_calloc(n_blocks, sizeof *s->blocks);
    for (uint32_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);
        const char *rest = "";
        int64_t b = block_of(t->name, &rest);
        if (b == -2 || b >= (int64_t)n_blocks) {
            char shown[GGUF_MAX_TENSOR_NAME];
            str_clean(shown, sizeof shown, str_of(t->name));
            return err_set(err, ERR_CORRUPT, "tensor %s is in none of the %u blocks", shown,
                           n_blocks);
        }
        uint64_t elems =
            num_mul_sat(num_mul_sat(t->ne[0], t->ne[1]), num_mul_sat(t->ne[2], t->ne[3]));
        s->n_params = num_add_sat(s->n_params, elems);
        if (t->type < ARRAY_LEN(s->type_bytes))
            s->type_bytes[t->type] = num_add_sat(s->type_bytes[t->type], t->bytes);
        if (b >= 0)
            scan_block(&s->blocks[b], rest, t);
        else
            scan_outside(s, t);
    }
    return 0;
}

void arch_scan_done(struct arch_scan *s)
{
    free(s->blocks);
    s->blocks = NULL;
}
