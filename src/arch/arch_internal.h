/* Shared by the parts of arch; nobody else includes it. */
#ifndef ARCH_INTERNAL_H
#define ARCH_INTERNAL_H

#include "arch/arch.h"

enum {
    ARCH_MAX_BLOCKS = 4096,
    ARCH_MAX_WIDTH = 1 << 24, /* elements of a row: embedding, heads, feed-forward */
    ARCH_MAX_VOCAB = 1 << 26,
    ARCH_PAD = 32, /* the engine's buffers align every tensor to this */
};

/* What the tensors of one block say; 0 means that there is no such tensor. */
struct arch_block {
    uint64_t bytes, expert_bytes;
    uint64_t k_width, v_width, q_width; /* rows of attn_k, attn_v, attn_q */
    uint64_t mla_row;                   /* rows of attn_kv_a_mqa: kv_lora + rope */
    uint64_t mla_lora;                  /* attn_kv_a_norm */
    uint64_t k_b[3], v_b[3];            /* split MLA tensors */
    uint64_t n_ff, n_ff_exp, n_expert;
    uint64_t conv, channels; /* ssm_conv1d */
    uint64_t short_conv;     /* shortconv.conv */
    bool attention, recurrent, rwkv, mtp, used;
};

struct arch_scan {
    struct arch_block *blocks; /* block_count */
    uint32_t n_blocks;
    uint64_t n_embd, n_vocab; /* of token_embd.weight */
    uint64_t embedding_bytes, output_bytes, shared_bytes;
    bool has_output;
    uint64_t n_params;
    uint64_t type_bytes[64]; /* by tensor type: names the quantisation of a file that does not */
};

/* Sorts the tensors into blocks; n_blocks is what the keys say and bounds the index. */
int arch_scan(struct arch_scan *s, const struct gguf *g, uint32_t n_blocks, struct err *err);
void arch_scan_done(struct arch_scan *s);

/* "Q4_K_M" from general.file_type, else the name of the type with the most bytes. */
void arch_quant_name(const struct gguf *g, const struct arch_scan *s, char *dst, size_t cap);

#endif
