/* Writes a model of 8 blocks (2 MB, all weights zero) that llama.cpp loads; for tests of the
 * worker. I/O. */
#ifndef WORKER_TINY_MODEL_H
#define WORKER_TINY_MODEL_H

#include "base/mem.h"
#include "base/str.h"
#include "gguf/gguf_build.h"
#include "os/file.h"

#include <string.h>

enum { TINY_BLOCKS = 8, TINY_EMBD = 64, TINY_FF = 128, TINY_VOCAB = 3 + 256 + 29 };

static inline void tiny_vocab(struct gguf_builder *w)
{
    gguf_put_str(w, "tokenizer.ggml.model", "llama");
    gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_STR, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        char t[16];
        static const char *const SPECIAL[] = {"<unk>", "<s>", "</s>"};
        if (i < 3)
            STR_COPY(t, SPECIAL[i]);
        else if (i < 259)
            str_copyf(t, sizeof t, "<0x%02X>", (unsigned)(i - 3));
        else
            str_copyf(t, sizeof t, "w%d", i);
        gguf_elem_str(w, t);
    }
    gguf_put_array(w, "tokenizer.ggml.scores", GGUF_F32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++)
        gguf_elem_f32(w, (float)-i);
    gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++)
        gguf_elem_i32(w, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
}

static inline void tiny_tensor(struct gguf_builder *w, int block, const char *name, uint64_t ne0,
                               uint64_t ne1)
{
    char full[64];
    const uint64_t ne[4] = {ne0, ne1, 1, 1};
    if (block < 0)
        str_copyf(full, sizeof full, "%s.weight", name);
    else
        str_copyf(full, sizeof full, "blk.%d.%s.weight", block, name);
    gguf_put_tensor(w, full, 0, ne1 ? 2 : 1, ne);
}

static inline void tiny_model_write(const char *path)
{
    static const char *const SQUARE[] = {"attn_q", "attn_k", "attn_v", "attn_output"};
    static const struct {
        const char *key;
        uint32_t value;
    } NUMBERS[] = {{"llama.block_count", TINY_BLOCKS},
                   {"llama.context_length", 2048},
                   {"llama.embedding_length", TINY_EMBD},
                   {"llama.feed_forward_length", TINY_FF},
                   {"llama.attention.head_count", 2},
                   {"llama.attention.head_count_kv", 2},
                   {"llama.rope.dimension_count", TINY_EMBD / 2}};
    struct gguf_builder *w = gguf_builder_new();
    struct buf buf_auto b;
    gguf_put_str(w, "general.architecture", "llama");
    for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++)
        gguf_put_u32(w, NUMBERS[i].key, NUMBERS[i].value);
    gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    tiny_vocab(w);
    tiny_tensor(w, -1, "token_embd", TINY_EMBD, TINY_VOCAB);
    tiny_tensor(w, -1, "output_norm", TINY_EMBD, 0);
    tiny_tensor(w, -1, "output", TINY_EMBD, TINY_VOCAB);
    for (int k = 0; k < TINY_BLOCKS; k++) {
        tiny_tensor(w, k, "attn_norm", TINY_EMBD, 0);
        tiny_tensor(w, k, "ffn_norm", TINY_EMBD, 0);
        for (size_t i = 0; i < ARRAY_LEN(SQUARE); i++)
            tiny_tensor(w, k, SQUARE[i], TINY_EMBD, TINY_EMBD);
        tiny_tensor(w, k, "ffn_gate", TINY_EMBD, TINY_FF);
        tiny_tensor(w, k, "ffn_up", TINY_EMBD, TINY_FF);
        tiny_tensor(w, k, "ffn_down", TINY_FF, TINY_EMBD);
    }
    buf_init(&b, 64 << 20);
    struct err err = {0};
    if (gguf_build_header(w, &b, &err) < 0)
        abort();
    mem_auto char *zero = mem_calloc(1, gguf_builder_data(w));
    buf_add(&b, zero, gguf_builder_data(w));
    if (file_write(path, b.p, b.n, 0600, &err) < 0)
        abort();
    gguf_builder_free(w);
}

#endif
