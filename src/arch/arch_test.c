/* Facts of models: real headers of every family that is known, and headers that contradict
 * themselves. */
#include "arch/arch.h"

#include "base/mem.h"
#include "gguf/gguf_build.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arch_facts *facts_of(const char *model)
{
    const char *root = getenv("STOWAGE_SOURCE");
    mem_auto char *path = mem_printf("%s/tests/data/models/%s.ggufh", root ? root : "..", model);
    struct err err = {0};
    struct arch_facts *f = model_facts(path, NULL, &err);
    if (!f)
        fail_msg("%s", err.msg);
    return f;
}

static void test_families(void **state)
{
    static const struct {
        const char *model, *arch, *quant;
        uint32_t layers, blocks, embd, vocab, heads, kv_heads, experts, used;
        uint32_t k, v;  /* elements of K and V in the layer below */
        uint32_t layer; /* one that shows what is special */
        enum arch_mixer mixer;
        bool sliding, moe, tied;
        uint32_t n_sliding, n_recurrent;
    } CASES[] = {
        {"llama-3.1-8b-q4_k_m",
         "llama",
         "Q4_K_M",
         32,
         32,
         4096,
         128256,
         32,
         8,
         0,
         0,
         1024,
         1024,
         0,
         ARCH_ATTENTION,
         false,
         false,
         false,
         0,
         0},
        {"mixtral-8x7b-q4_k_m",
         "llama",
         "Q4_K_M",
         32,
         32,
         4096,
         32000,
         32,
         8,
         8,
         2,
         1024,
         1024,
         31,
         ARCH_ATTENTION,
         false,
         true,
         false,
         0,
         0},
        {"qwen2.5-32b-q4_k_m",
         "qwen2",
         "Q4_K_M",
         64,
         64,
         5120,
         152064,
         40,
         8,
         0,
         0,
         1024,
         1024,
         0,
         ARCH_ATTENTION,
         false,
         false,
         false,
         0,
         0},
        {"qwen3-0.6b-q8_0", "qwen3", "Q8_0", 28,   28, 1024, 151936, 16, 8, 0, 0, 1024, 1024, 0,
         ARCH_ATTENTION,    false,   false,  true, 0,  0},
        {"qwen3-235b-a22b-q4_k_m",
         "qwen3moe",
         "Q4_K_M",
         94,
         94,
         4096,
         151936,
         64,
         4,
         128,
         8,
         512,
         512,
         0,
         ARCH_ATTENTION,
         false,
         true,
         false,
         0,
         0},
        {"gemma-3-27b-q4_k_m",
         "gemma3",
         "Q4_K_M",
         62,
         62,
         5376,
         262208,
         32,
         16,
         0,
         0,
         2048,
         2048,
         6,
         ARCH_ATTENTION,
         true,
         false,
         true,
         52,
         0},
        {"gpt-oss-120b-mxfp4",
         "gpt-oss",
         "MXFP4",
         36,
         36,
         2880,
         201088,
         64,
         8,
         128,
         4,
         512,
         512,
         0,
         ARCH_ATTENTION,
         true,
         true,
         false,
         18,
         0},
        {"glm-4.5-air-q4_k_m",
         "glm4moe",
         "Q4_K_M",
         46,
         47,
         4096,
         151552,
         96,
         8,
         128,
         8,
         1024,
         1024,
         0,
         ARCH_ATTENTION,
         false,
         false,
         false,
         0,
         0},
        {"deepseek-r1-q4_k_m-mla",
         "deepseek2",
         "Q4_K_M",
         61,
         61,
         7168,
         129280,
         128,
         1,
         256,
         8,
         576,
         0,
         3,
         ARCH_MLA,
         false,
         true,
         false,
         0,
         0},
        {"deepseek-r1-ud-iq2_xxs-old",
         "deepseek2",
         "IQ2_XXS",
         61,
         61,
         7168,
         129280,
         128,
         128,
         256,
         8,
         192 * 128,
         128 * 128,
         2,
         ARCH_ATTENTION,
         false,
         false,
         false,
         0,
         0},
        {"qwen3-next-80b-a3b-q4_k_m",
         "qwen3next",
         "Q4_K_M",
         48,
         48,
         2048,
         151936,
         16,
         2,
         512,
         10,
         0,
         0,
         2,
         ARCH_RECURRENT,
         false,
         true,
         false,
         0,
         36},
        {"falcon-mamba-7b-q8_0", "mamba", "Q8_0", 64,    64, 4096, 65024, 0, 0, 0, 0, 0, 0, 0,
         ARCH_RECURRENT,         false,   false,  false, 0,  64},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct arch_facts *f = facts_of(CASES[i].model);
        uint32_t sliding = 0, recurrent = 0;
        assert_string_equal(f->arch, CASES[i].arch);
        assert_string_equal(f->quant, CASES[i].quant);
        assert_string_equal(f->name, CASES[i].model);
        assert_true(f->known && !f->warning[0] && !f->mtp_loaded);
        assert_int_equal(f->n_layers, CASES[i].layers);
        assert_int_equal(f->n_blocks, CASES[i].blocks);
        assert_int_equal(f->n_embd, CASES[i].embd);
        assert_int_equal(f->n_vocab, CASES[i].vocab);
        assert_int_equal(f->n_head, CASES[i].heads);
        assert_int_equal(f->n_head_kv, CASES[i].kv_heads);
        assert_int_equal(f->n_expert, CASES[i].experts);
        assert_int_equal(f->n_expert_used, CASES[i].used);
        assert_int_equal(f->tied, CASES[i].tied);
        assert_false(f->has_chat_template);
        const struct arch_layer *l = &f->layers[CASES[i].layer];
        assert_int_equal(l->mixer, CASES[i].mixer);
        assert_int_equal(l->sliding, CASES[i].sliding);
        assert_int_equal(l->moe, CASES[i].moe);
        assert_int_equal(l->k_elems, CASES[i].k);
        assert_int_equal(l->v_elems, CASES[i].v);
        for (uint32_t il = 0; il < f->n_layers; il++) {
            sliding += f->layers[il].sliding;
            recurrent += f->layers[il].mixer == ARCH_RECURRENT;
        }
        assert_int_equal(sliding, CASES[i].n_sliding);
        assert_int_equal(recurrent, CASES[i].n_recurrent);
        arch_free(f);
    }
}

static void test_details(void **state)
{
    struct arch_facts *f = facts_of("deepseek-r1-q4_k_m-mla");
    assert_int_equal(f->kv_lora, 512);
    assert_int_equal(f->n_rot, 64);
    assert_int_equal(f->qk_nope, 128);
    assert_int_equal(f->v_head_dim, 128);
    assert_int_equal(f->n_ff_exp, 2048);
    assert_int_equal(f->layers[0].n_ff, 18432);
    assert_int_equal(f->n_params, 671026419200);
    arch_free(f);
    f = facts_of("qwen3-next-80b-a3b-q4_k_m");
    /* 4 * (3 * (2 * 128 * 16 + 128 * 32) + 128 * 128 * 32) */
    assert_int_equal(f->layers[0].state_bytes, 4 * (3 * 8192 + 524288));
    assert_int_equal(f->layers[3].k_elems, 512);
    assert_int_equal(f->layers[3].state_bytes, 0);
    arch_free(f);
    f = facts_of("falcon-mamba-7b-q8_0");
    assert_int_equal(f->layers[9].state_bytes, 4 * 8192 * (3 + 16));
    arch_free(f);
}

struct model {
    const char *arch;
    uint32_t n_blocks, n_head, n_head_kv; /* n_head_kv 0xffffffff: an array 4, 2 */
    uint64_t k_rows;                      /* 0: fused attn_qkv */
    const char *extra_key, *extra_text;
    uint32_t extra_value;
    const char *extra_tensor;
};

static int64_t read_buf(void *ctx, uint64_t off, void *dst, size_t n, struct err *err)
{
    const struct buf *b = ctx;
    memcpy(dst, b->p + off, n);
    return (int64_t)n;
}

/* Builds a header of two blocks, n_embd 64, and reads its facts. */
static struct arch_facts *build(const struct model *m, struct err *err)
{
    struct gguf_builder *w = gguf_builder_new();
    char key[64];
    gguf_put_str(w, "general.architecture", m->arch);
    str_copyf(key, sizeof key, "%s.block_count", m->arch);
    gguf_put_u32(w, key, m->n_blocks);
    str_copyf(key, sizeof key, "%s.attention.head_count", m->arch);
    gguf_put_u32(w, key, m->n_head);
    str_copyf(key, sizeof key, "%s.attention.head_count_kv", m->arch);
    if (m->n_head_kv == UINT32_MAX) {
        gguf_put_array(w, key, GGUF_I32, 2);
        gguf_elem_i32(w, 4);
        gguf_elem_i32(w, 2);
    } else {
        gguf_put_u32(w, key, m->n_head_kv);
    }
    if (m->extra_text)
        gguf_put_str(w, m->extra_key, m->extra_text);
    else if (m->extra_key)
        gguf_put_u32(w, m->extra_key, m->extra_value);
    gguf_put_tensor(w, "token_embd.weight", 0, 2, (uint64_t[]){64, 100});
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t rows = m->n_head_kv == UINT32_MAX && i ? m->k_rows / 2 : m->k_rows;
        str_copyf(key, sizeof key, "blk.%u.attn_%s.weight", i, rows ? "k" : "qkv");
        gguf_put_tensor(w, key, 0, 2, (uint64_t[]){64, rows ? rows : 192});
        str_copyf(key, sizeof key, "blk.%u.ffn_down.weight", i);
        gguf_put_tensor(w, key, 0, 2, (uint64_t[]){128, 64});
    }
    if (m->extra_tensor)
        gguf_put_tensor(w, m->extra_tensor, 0, 1, (uint64_t[]){64});
    buf_auto struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(gguf_build_header(w, &b, err), 0);
    gguf_builder_free(w);
    struct gguf_source src = {.read_at = read_buf, .ctx = &b, .size = b.n, .header_only = true};
    struct gguf *g = gguf_open(&src, err);
    if (!g)
        fail_msg("%s", err->msg);
    struct arch_facts *f = arch_from_gguf(g, err);
    gguf_free(g);
    return f;
}

static void test_per_layer_heads(void **state)
{
    struct err err = {0};
    struct arch_facts *f = build(&(struct model){"llama", 2, 8, UINT32_MAX, 32, 0}, &err);
    if (!f)
        fail_msg("%s", err.msg);
    assert_int_equal(f->layers[0].n_head_kv, 4);
    assert_int_equal(f->layers[1].n_head_kv, 2);
    assert_int_equal(f->layers[0].k_elems, 32); /* from the tensor */
    assert_int_equal(f->layers[1].k_elems, 16);
    assert_int_equal(f->layers[1].v_elems, 16); /* from the keys: there is no attn_v */
    arch_free(f);
}

static void test_unknown(void **state)
{
    struct err err = {0};
    struct arch_facts *f = build(&(struct model){"newthing", 2, 8, 8, 0, 0}, &err);
    assert_non_null(f);
    assert_false(f->known);
    assert_non_null(strstr(f->warning, "newthing"));
    assert_int_equal(f->layers[0].k_elems, 64); /* fused: from the keys */
    arch_free(f);
    /* Nothing is said about heads: as wide as the embedding. */
    f = build(&(struct model){"newthing", 2, 0, 0, 0, 0}, &err);
    assert_non_null(f);
    assert_int_equal(f->layers[0].k_elems, 64);
    assert_int_equal(f->layers[0].v_elems, 64);
    arch_free(f);
    /* A window of an architecture that was not checked saves nothing. */
    f = build(
        &(struct model){"newthing", 2, 8, 8, 0, "newthing.attention.sliding_window", NULL, 64},
        &err);
    assert_non_null(f);
    assert_int_equal(f->n_swa, 0);
    assert_false(f->layers[0].sliding);
    assert_non_null(strstr(f->warning, "window"));
    arch_free(f);
}

static void test_contradictions(void **state)
{
    static const struct {
        struct model m;
        enum err_code code;
        const char *says;
    } CASES[] = {
        {{"llama", 3, 8, 8, 64}, ERR_CORRUPT, "1 blocks have no tensors"},
        {{"llama", 1, 8, 8, 64}, ERR_CORRUPT, "none of the 1 blocks"},
        {{"llama", 0, 8, 8, 64}, ERR_CORRUPT, "missing or 0"},
        {{"llama", 1u << 31, 8, 8, 64}, ERR_LIMIT, "2147483648"},
        {{"llama", 2, 0, 0, 64}, ERR_CORRUPT, "head_count is missing or 0"},
        {{"llama", 2, 8, 4, 64}, ERR_CORRUPT, "64 rows, the keys say 32"},
        {{"llama", 2, 8, 1u << 30, 64}, ERR_LIMIT, "1073741824"},
        {{"llama", 2, 8, 8, 64, "llama.embedding_length", NULL, 65}, ERR_CORRUPT, "65"},
        {{"llama", 2, 8, 8, 64, "llama.nextn_predict_layers", NULL, 2}, ERR_CORRUPT, "2 of 2"},
        {{"llama", 2, 8, 8, 64, NULL, NULL, 0, "blk.2.x"}, ERR_CORRUPT, "blk.2.x"},
        {{"llama", 2, 8, 8, 64, NULL, NULL, 0, "blk.1.ffn_up_exps.weight"},
         ERR_CORRUPT,
         "expert_used_count is 0"},
        {{"llama", 2, 8, 8, 64, "general.type", "adapter"}, ERR_UNSUPPORTED, "adapter"},
        {{"clip", 2, 8, 8, 64}, ERR_UNSUPPORTED, "vision"},
        {{"LL\nama", 2, 8, 8, 64}, ERR_CORRUPT, "0x0a"},
        {{"newssm", 2, 8, 8, 64, NULL, NULL, 0, "blk.0.ssm_d"}, ERR_CORRUPT, "state is not given"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct err err = {0};
        struct arch_facts *f = build(&CASES[i].m, &err);
        if (f || err.code != CASES[i].code || !strstr(err.msg, CASES[i].says))
            fail_msg("case %zu: code %d, %s", i, err.code, f ? "accepted" : err.msg);
    }
}

static void test_hostile_name(void **state)
{
    struct err err = {0};
    struct model m = {"llama",
                      2,
                      8,
                      8,
                      64,
                      "general.name",
                      "a\xff\x1b]8;;x\x07\xe2\x80\xae\xc3\xa9\xf0\x9f\x98\x80 end"};
    struct arch_facts *f = build(&m, &err);
    assert_non_null(f);
    assert_string_equal(f->name, "a??]8;;x????\xc3\xa9\xf0\x9f\x98\x80 end");
    arch_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),        cmocka_unit_test(test_details),
        cmocka_unit_test(test_per_layer_heads), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_contradictions),  cmocka_unit_test(test_hostile_name),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
