/* Facts of a model from its GGUF header: layers, heads, experts, KV width, sizes. Pure; any thread.
 *
 * Tensors are inspected before keys: a DeepSeek file with split MLA tensors (attn_k_b, attn_v_b)
 * needs 70 times less KV than one without. An architecture that is not known is described with
 * conservative assumptions and a warning. */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stdint.h>

enum arch_mixer { ARCH_ATTENTION, ARCH_MLA, ARCH_RECURRENT };

struct arch_layer {
    enum arch_mixer mixer;
    bool sliding; /* attends to the last n_swa tokens only */
    bool moe;
    uint64_t weight_bytes; /* sum over the block's tensors of bytes padded to 32 */
    uint64_t expert_bytes; /* the _exps part of weight_bytes */
    uint32_t n_head, n_head_kv;
    uint32_t k_elems, v_elems; /* elements of one token's K row and V row (MLA: 576 and 0) */
    uint64_t state_bytes;      /* recurrent: bytes per slot (hybrid blocks have K and V too) */
    uint32_t n_state_inner, n_state, n_conv; /* recurrent: channels, state size, kernel */
    uint32_t n_ff;                           /* dense feed-forward width (0 when moe only) */
};

struct arch_facts {
    char arch[32], name[128], quant[24]; /* quant: file type name such as "Q4_K_M" */
    bool known;                          /* the architecture is one whose formulas were checked */
    bool mtp_loaded;                     /* multi-token-prediction blocks are never loaded here */
    uint32_t n_layers, n_blocks;         /* without and with MTP blocks */
    uint32_t n_embd, n_vocab, ctx_train;
    uint32_t n_expert, n_expert_used, n_ff_exp, n_swa;
    uint32_t n_head, n_head_kv, head_dim_k, head_dim_v;
    uint32_t n_rot, kv_lora, qk_nope, v_head_dim; /* MLA families */
    struct arch_layer *layers;                    /* n_layers */
    uint64_t n_params, tensor_bytes, file_bytes;
    uint32_t n_tensors, n_files;
    uint64_t embedding_bytes, output_bytes,
        shared_bytes; /* token_embd; output+norms (tied: + embd); rope_freqs */
    bool tied;
    uint64_t tied_bytes; /* the part of output_bytes that is the embedding again */
    bool has_chat_template;
    char warning[240];
};

/* The caller frees with arch_free. ERR_CORRUPT/ERR_UNSUPPORTED when the header contradicts itself
 * or is no language model (adapter, mmproj). */
struct arch_facts *arch_from_gguf(const struct gguf *g, struct err *err);
void arch_free(struct arch_facts *f);

#endif
