/* Predicted tokens per second against published measurements, and properties that a prediction and
 * a memory estimate must have whatever the model. */
#include "estimate/estimate.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_DEVICES = 8 };

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

static struct estimate_model *estimate_of(const struct arch_facts *f, uint32_t ctx)
{
    struct estimate_opts o = {.ctx = ctx, .n_slots = 1, .ubatch = 512};
    struct err err = {0};
    struct estimate_model *m = estimate_new(f, &o, &err);
    if (!m)
        fail_msg("%s", err.msg);
    return m;
}

/* Decoding with llama.cpp, Llama 3 Q4_K_M, May 2024, layers split evenly: nominal GB/s, number of
 * cards, tokens generated (which fill the context), tokens/s. Source: XiongjieDai,
 * GPU-Benchmarks-on-LLM-Inference. */
static const struct point {
    const char *gpu;
    double gb_per_s;
    uint32_t n_gpus;
    bool large; /* 70B, else 8B */
    uint32_t ctx;
    double tok_per_s;
} POINTS[] = {
    {"RTX 3070", 448, 1, false, 1024, 70.94},    {"RTX 3070", 448, 1, false, 8192, 61.64},
    {"RTX 3080", 760, 1, false, 1024, 106.4},    {"RTX 3080", 760, 1, false, 8192, 89.9},
    {"RTX 4080", 717, 1, false, 1024, 106.22},   {"RTX 4080", 717, 1, false, 8192, 93.71},
    {"RTX 3090", 936, 1, false, 1024, 111.74},   {"RTX 3090", 936, 1, false, 8192, 87.49},
    {"RTX 3090", 936, 2, true, 1024, 16.29},     {"RTX 3090", 936, 2, true, 8192, 14.34},
    {"RTX 3090", 936, 4, true, 1024, 16.89},     {"RTX 3090", 936, 4, true, 8192, 15.39},
    {"RTX 3090", 936, 6, true, 1024, 16.93},     {"RTX 3090", 936, 6, false, 8192, 85.93},
    {"RTX 4090", 1008, 1, false, 1024, 127.74},  {"RTX 4090", 1008, 1, false, 8192, 110.66},
    {"RTX 4090", 1008, 2, true, 1024, 19.06},    {"RTX 4090", 1008, 8, true, 8192, 17.57},
    {"RTX 4090", 1008, 8, false, 1024, 116.13},  {"RTX 6000 Ada", 960, 1, true, 1024, 18.36},
    {"RTX 6000 Ada", 960, 1, true, 8192, 16.97}, {"A40", 696, 1, true, 1024, 12.08},
    {"A40", 696, 4, true, 8192, 11.17},          {"A100 PCIe", 1935, 1, false, 1024, 138.31},
    {"A100 PCIe", 1935, 1, true, 8192, 19.53},   {"A100 PCIe", 1935, 4, true, 1024, 22.68},
    {"H100 PCIe", 2039, 1, true, 1024, 25.01},   {"H100 PCIe", 2039, 1, false, 8192, 126.83},
};

static double predict(const struct arch_facts *f, const struct point *p)
{
    struct estimate_model *m = estimate_of(f, p->ctx);
    struct estimate_device_speed dev[MAX_DEVICES] = {0};
    uint32_t counts[MAX_DEVICES], left = m->n_layers;
    for (uint32_t d = 0; d < p->n_gpus; d++) {
        counts[d] = left / (p->n_gpus - d);
        left -= counts[d];
        dev[d].bandwidth_bytes_per_s = p->gb_per_s * 1e9;
        dev[d].hbm = p->gb_per_s > 1500;
    }
    struct estimate_split s = {.n_devices = p->n_gpus, .counts = counts};
    double t = estimate_token_seconds(m, &s, dev, NULL);
    estimate_free(m);
    return 1 / t;
}

static void test_measured_speed(void **state)
{
    struct arch_facts *small = facts_of("llama-3.1-8b-q4_k_m");
    struct arch_facts *large = facts_of("llama-3.3-70b-q4_k_m");
    double sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(POINTS); i++) {
        double got = predict(POINTS[i].large ? large : small, &POINTS[i]);
        double err = fabs(got / POINTS[i].tok_per_s - 1) * 100;
        sum += err;
        if (err > 25)
            fail_msg("%u x %s, %s, %u tokens: %.1f tok/s predicted, %.1f measured",
                     POINTS[i].n_gpus, POINTS[i].gpu, POINTS[i].large ? "70B" : "8B", POINTS[i].ctx,
                     got, POINTS[i].tok_per_s);
    }
    print_message("# %zu measurements: mean error %.1f %%\n", ARRAY_LEN(POINTS),
                  sum / ARRAY_LEN(POINTS));
    assert_true(sum / ARRAY_LEN(POINTS) < 8);
    arch_free(small);
    arch_free(large);
}

/* What makes a plan slower must never look faster. */
static void test_speed_order(void **state)
{
    struct arch_facts *f = facts_of("qwen3-30b-a3b-q4_k_m");
    struct estimate_model *m = estimate_of(f, 8192);
    struct estimate_device_speed gpu[2] = {{.bandwidth_bytes_per_s = 936e9},
                                           {.bandwidth_bytes_per_s = 936e9}};
    struct estimate_device_speed slow = {.bandwidth_bytes_per_s = 360e9}, remote = gpu[0];
    remote.remote = true;
    remote.net_bytes_per_s = 118e6;
    remote.net_rtt_s = 200e-6;
    uint32_t half[2] = {24, 24}, rest[2] = {40, 8};
    struct estimate_split one = {.n_devices = 1, .counts = &m->n_layers};
    struct estimate_split two = {.n_devices = 2, .counts = half};
    struct estimate_split moe = {.n_devices = 1, .counts = &m->n_layers, .n_cpu_moe = 10};
    struct estimate_split part = {.n_devices = 1, .counts = rest, .n_cpu_layers = 8};
    struct estimate_split none = {.n_cpu_layers = m->n_layers};
    double base = estimate_token_seconds(m, &one, gpu, NULL);
    assert_true(base > 0);
    assert_true(estimate_token_seconds(m, &one, &slow, NULL) > base);
    assert_true(estimate_token_seconds(m, &two, gpu, NULL) > base);
    assert_true(estimate_token_seconds(m, &moe, gpu, NULL) > base);
    assert_true(estimate_token_seconds(m, &part, gpu, NULL) > base);
    assert_true(estimate_token_seconds(m, &none, NULL, NULL) >
                estimate_token_seconds(m, &part, gpu, NULL));
    /* A remote device that holds the output layer sends the logits too: 151936 * 4 bytes. */
    struct estimate_device_speed first[2] = {remote, gpu[0]}, last[2] = {gpu[0], remote};
    double a = estimate_token_seconds(m, &two, first, NULL);
    double b = estimate_token_seconds(m, &two, last, NULL);
    assert_true(fabs(b - a - 4 * 151936 / 118e6) < 1e-9);
    /* Unknown bandwidth is a stated default, not infinitely fast. */
    struct estimate_device_speed unknown = {0}, nan_speed = {.bandwidth_bytes_per_s = NAN};
    double u = estimate_token_seconds(m, &one, &unknown, NULL);
    assert_true(u > base && u == estimate_token_seconds(m, &one, &nan_speed, NULL));
    estimate_free(m);
    arch_free(f);
}

/* However a model is split: no layer is lost or counted twice, and what a device needs grows with
 * its layers. */
static void test_split_properties(void **state)
{
    static const char *const MODELS[] = {"deepseek-r1-q4_k_m-mla", "gpt-oss-120b-mxfp4",
                                         "glm-4.5-air-q4_k_m", "falcon-mamba-7b-q8_0"};
    struct rng rng = {.state = 1};
    for (size_t i = 0; i < ARRAY_LEN(MODELS); i++) {
        struct arch_facts *f = facts_of(MODELS[i]);
        struct estimate_model *m = estimate_of(f, 16384);
        uint64_t layers = 0, kv = 0;
        for (uint32_t il = 0; il < m->n_layers; il++) {
            layers += m->layers[il].weights;
            kv += m->layers[il].kv;
            assert_true(m->layers[il].read <= m->layers[il].weights);
            assert_true(m->layers[il].peak_bare <= m->layers[il].peak);
        }
        for (int round = 0; round < 200; round++) {
            uint32_t counts[MAX_DEVICES], left = m->n_layers;
            struct estimate_split s = {.counts = counts};
            s.n_devices = 1 + (uint32_t)rng_below(&rng, MAX_DEVICES);
            s.n_cpu_layers = round % 3 ? 0 : (uint32_t)rng_below(&rng, left);
            s.n_cpu_moe = round % 5 ? 0 : (uint32_t)rng_below(&rng, left);
            left -= s.n_cpu_layers;
            uint32_t with_layers = s.n_cpu_layers > 0;
            for (uint32_t d = 0; d < s.n_devices; d++) {
                counts[d] = d + 1 == s.n_devices ? left : (uint32_t)rng_below(&rng, left + 1);
                left -= counts[d];
                with_layers += counts[d] > 0;
            }
            struct estimate_bytes out[MAX_DEVICES], host;
            estimate_split_bytes(m, &s, out, &host);
            uint64_t w = host.weights, k = host.kv;
            for (uint32_t d = 0; d < s.n_devices; d++) {
                w += out[d].weights;
                k += out[d].kv;
                bool used = counts[d] || d + 1 == s.n_devices;
                assert_int_equal(out[d].compute > 0, used);
            }
            assert_int_equal(w, layers + m->head + m->host_embedding + m->shared * with_layers);
            assert_int_equal(k, kv);
        }
        estimate_free(m);
        arch_free(f);
    }
}

static void test_options(void **state)
{
    static const struct {
        const char *model;
        struct estimate_opts o;
        enum err_code code;
        const char *says;
    } CASES[] = {
        {"llama-3.1-8b-q4_k_m", {0, 1, false, 512}, ERR_INVALID, "may be 0"},
        {"llama-3.1-8b-q4_k_m", {4096, 0, false, 512}, ERR_INVALID, "may be 0"},
        {"llama-3.1-8b-q4_k_m", {4096, 1, false, 0}, ERR_INVALID, "may be 0"},
        {"llama-3.1-8b-q4_k_m", {4096, 5000, false, 512}, ERR_LIMIT, "5000"},
        {"llama-3.1-8b-q4_k_m",
         {4096, 1, false, 512, KV_F16, KV_Q8_0, true},
         ERR_INVALID,
         "flash attention"},
        {"deepseek-r1-q4_k_m-mla",
         {4096, 1, false, 512, KV_Q8_0, KV_F16},
         ERR_INVALID,
         "must be equal"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct arch_facts *f = facts_of(CASES[i].model);
        struct err err = {0};
        assert_null(estimate_new(f, &CASES[i].o, &err));
        if (err.code != CASES[i].code || !strstr(err.msg, CASES[i].says))
            fail_msg("case %zu: %d, %s", i, err.code, err.msg);
        arch_free(f);
    }
    enum kv_type t;
    struct err err = {0};
    assert_int_equal(kv_type_parse("q8_0", &t, NULL), 0);
    assert_int_equal(t, KV_Q8_0);
    assert_int_equal(kv_type_parse("q9", &t, &err), -1);
    assert_non_null(strstr(err.msg, "q9"));
    for (int i = 0; i < KV_TYPE_COUNT; i++) {
        assert_int_equal(kv_type_parse(kv_type_name((enum kv_type)i), &t, NULL), 0);
        assert_int_equal(t, i);
    }
}

static void test_notes(void **state)
{
    struct arch_facts *f = facts_of("qwen3-0.6b-q8_0"); /* trained for 40960 */
    struct estimate_model *m = estimate_of(f, 65536);
    assert_non_null(strstr(m->warning, "40960"));
    estimate_free(m);
    m = estimate_of(f, 40960);
    assert_string_equal(m->warning, "");
    estimate_free(m);
    arch_free(f);
}

/* The engine's figures for shares that no planner should make. */
static void test_odd_shares(void **state)
{
    int out[9];
    double zeros[2] = {0, 0}, one[3] = {0, 5, 0};
    estimate_engine_layers(8, 2, zeros, -1, out);
    assert_int_equal(out[0], 0);
    assert_int_equal(out[8], 1);
    estimate_engine_layers(8, 3, one, -1, out);
    for (int i = 0; i < 9; i++)
        assert_int_equal(out[i], 1);
    estimate_engine_layers(8, 3, one, 0, out);
    for (int i = 0; i < 9; i++)
        assert_int_equal(out[i], -1);
    estimate_engine_layers(8, 0, NULL, -1, out);
    for (int i = 0; i < 9; i++)
        assert_int_equal(out[i], -1);
    /* Whole layer counts that add up to n + 1 are honoured exactly. */
    int big[82];
    double shares[3] = {10, 30, 41};
    estimate_engine_layers(80, 3, shares, -1, big);
    uint32_t got[3] = {0};
    for (int i = 0; i <= 80; i++)
        got[big[i]]++;
    assert_int_equal(got[0], 10);
    assert_int_equal(got[1], 30);
    assert_int_equal(got[2], 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_speed),
        cmocka_unit_test(test_speed_order),
        cmocka_unit_test(test_split_properties),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_odd_shares),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
