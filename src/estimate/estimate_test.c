/* The estimate against what the engine allocated: every record of tests/data/llamacpp-memory.json,
 * every layer split of tests/data/llamacpp-splits.json; refusals, saturation, and speed. */
#include "estimate/estimate.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/num.h"
#include "model/model.h"
#include "os/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_DEVICES = 16, MAX_MODELS = 16 };

static char *data_path(const char *name)
{
    const char *root = getenv("STOWAGE_SOURCE");
    return mem_printf("%s/tests/data/%s", root ? root : "..", name);
}

static json_t *load_json(const char *name)
{
    mem_auto char *path = data_path(name), *text = NULL;
    size_t n;
    struct err err = {0};
    if (file_read(path, JSON_BYTES_MAX, &text, &n, &err) < 0)
        fail_msg("%s", err.msg);
    json_t *doc = json_parse(text, n, &err);
    if (!doc)
        fail_msg("%s: %s", name, err.msg);
    return doc;
}

struct models {
    char names[MAX_MODELS][64];
    struct arch_facts *facts[MAX_MODELS];
    int n;
};

static const struct arch_facts *model_named(struct models *ms, const char *name)
{
    for (int i = 0; i < ms->n; i++)
        if (strcmp(ms->names[i], name) == 0)
            return ms->facts[i];
    assert_true(ms->n < MAX_MODELS);
    mem_auto char *file = mem_printf("models/%s.ggufh", name);
    mem_auto char *path = data_path(file);
    struct err err = {0};
    struct arch_facts *f = model_facts(path, NULL, &err);
    if (!f)
        fail_msg("%s", err.msg);
    STR_COPY(ms->names[ms->n], name);
    return ms->facts[ms->n++] = f;
}

static void models_free(struct models *ms)
{
    for (int i = 0; i < ms->n; i++)
        arch_free(ms->facts[i]);
}

/* One row of the memory file. */
struct record {
    const char *model, *mode, *args, *fa;
    uint32_t devices;
    struct estimate_opts opts;
    const json_t *bytes; /* NULL: refused */
    bool other_load;     /* options that this project never passes */
    int64_t ngl;
    uint32_t n_cpu_moe;
    int only; /* device that takes everything, or -1 */
    double shares[MAX_DEVICES];
};

static void read_args(struct record *r)
{
    mem_auto char *copy = mem_strdup(r->args);
    char *save = NULL;
    for (char *a = strtok_r(copy, " ", &save); a; a = strtok_r(NULL, " ", &save)) {
        if (strcmp(a, "-nkvo") == 0 || strcmp(a, "--swa-full") == 0 || strcmp(a, "-sm") == 0) {
            char *mode = strcmp(a, "-sm") == 0 ? strtok_r(NULL, " ", &save) : NULL;
            if (!mode || strcmp(mode, "none") != 0)
                r->other_load = true;
        } else if (strcmp(a, "-nr") == 0 || strcmp(a, "--all-outputs") == 0) {
            continue;
        } else {
            char *v = strtok_r(NULL, " ", &save);
            assert_non_null(v);
            if (strcmp(a, "-ngl") == 0)
                r->ngl = (int64_t)strtod(v, NULL);
            else if (strcmp(a, "-ncmoe") == 0)
                r->n_cpu_moe = (uint32_t)strtod(v, NULL);
            else if (strcmp(a, "-mg") == 0)
                r->only = (int)strtod(v, NULL);
            else if (strcmp(a, "-ts") == 0)
                for (uint32_t d = 0; d < r->devices; d++, v += *v == ',')
                    r->shares[d] = strtod(v, &v);
            else
                fail_msg("argument %s", a);
        }
    }
}

static struct record read_record(const json_t *row)
{
    struct record r = {.ngl = -1, .only = -1};
    const char *ctk, *ctv;
    r.model = json_string_value(json_array_get(row, 0));
    r.mode = json_string_value(json_array_get(row, 1));
    r.devices = (uint32_t)json_integer_value(json_array_get(row, 2));
    r.args = json_string_value(json_array_get(row, 3));
    r.opts.ctx = (uint32_t)json_integer_value(json_array_get(row, 4));
    r.opts.ubatch = (uint32_t)json_integer_value(json_array_get(row, 5));
    r.opts.n_slots = (uint32_t)json_integer_value(json_array_get(row, 6));
    r.opts.kv_unified = json_integer_value(json_array_get(row, 7)) != 0;
    r.fa = json_string_value(json_array_get(row, 8));
    r.opts.no_flash_attn = strcmp(r.fa, "off") == 0;
    ctk = json_string_value(json_array_get(row, 9));
    ctv = json_string_value(json_array_get(row, 10));
    assert_int_equal(kv_type_parse(ctk, &r.opts.kv_k, NULL), 0);
    assert_int_equal(kv_type_parse(ctv, &r.opts.kv_v, NULL), 0);
    json_t *bytes = json_array_get(row, 11);
    r.bytes = json_is_null(bytes) ? NULL : bytes;
    for (uint32_t d = 0; d < r.devices; d++)
        r.shares[d] = 1;
    read_args(&r);
    return r;
}

/* The engine's assignment of blocks, as a split. */
static uint32_t split_of(const struct record *r, const struct arch_facts *f,
                         uint32_t counts[MAX_DEVICES], struct estimate_split *split)
{
    mem_auto int *where = mem_calloc(f->n_blocks + 1, sizeof *where);
    estimate_engine_layers(f->n_blocks, r->devices, r->shares, r->ngl, where);
    *split = (struct estimate_split){.counts = counts, .n_cpu_moe = r->n_cpu_moe};
    memset(counts, 0, MAX_DEVICES * sizeof *counts);
    for (uint32_t i = 0; i <= f->n_blocks; i++) {
        int d = r->only >= 0 ? r->only : where[i];
        if (i == f->n_blocks)
            split->n_devices = (uint32_t)(d + 1);
        else if (i < f->n_layers && d < 0)
            split->n_cpu_layers++;
        else if (i < f->n_layers)
            counts[d]++;
    }
    return split->n_devices;
}

struct tally {
    unsigned exact, compute, refused, left_out;
    double worst_low, worst_high; /* MiB beyond the truth */
    double sum_percent;           /* |error| of the compute buffer */
};

static void check_device(const struct record *r, const char *dev, const struct estimate_bytes *got,
                         struct tally *t)
{
    const json_t *truth = json_object_get(r->bytes, dev);
    uint64_t w = (uint64_t)json_integer_value(json_array_get(truth, 0));
    uint64_t kv = (uint64_t)json_integer_value(json_array_get(truth, 1));
    uint64_t c = (uint64_t)json_integer_value(json_array_get(truth, 2));
    if (got->weights != w || got->kv != kv)
        fail_msg(
            "%s %s %u devices \"%s\" ctx %u np %u: %s: weights %llu for %llu, kv %llu for %llu",
            r->model, r->mode, r->devices, r->args, r->opts.ctx, r->opts.n_slots, dev,
            (unsigned long long)got->weights, (unsigned long long)w, (unsigned long long)got->kv,
            (unsigned long long)kv);
    t->exact += 2;
    if (strcmp(r->mode, "real") != 0)
        return; /* the planner's own compute figures differ from what a load takes */
    double err = (double)got->compute - (double)c;
    t->compute++;
    if (c)
        t->sum_percent += fabs(err) / (double)c * 100;
    t->worst_low = fmin(t->worst_low, err / 1048576);
    t->worst_high = fmax(t->worst_high, err / 1048576);
    if (fabs(err) > 0.05 * (double)c + 100 * 1048576.0)
        fail_msg("%s %u devices \"%s\" ctx %u np %u ub %u fa %s: %s: compute %llu for %llu",
                 r->model, r->devices, r->args, r->opts.ctx, r->opts.n_slots, r->opts.ubatch, r->fa,
                 dev, (unsigned long long)got->compute, (unsigned long long)c);
}

static void check_record(const struct record *r, struct models *ms, struct tally *t)
{
    const struct arch_facts *f = model_named(ms, r->model);
    if (r->other_load) {
        t->left_out++;
        return;
    }
    struct err err = {0};
    struct estimate_model *m = estimate_new(f, &r->opts, &err);
    if (!r->bytes) {
        assert_null(m);
        assert_int_equal(err.code, ERR_INVALID);
        t->refused++;
        return;
    }
    if (!m)
        fail_msg("%s: %s", r->model, err.msg);
    uint32_t counts[MAX_DEVICES];
    struct estimate_split split;
    struct estimate_bytes out[MAX_DEVICES] = {0}, host;
    split_of(r, f, counts, &split);
    estimate_split_bytes(m, &split, out, &host);
    for (uint32_t d = 0; d < r->devices; d++) {
        char dev[12];
        snprintf(dev, sizeof dev, "%u", d);
        check_device(r, dev, &out[d], t);
    }
    check_device(r, "host", &host, t);
    estimate_free(m);
}

static struct tally check_file(const char *name)
{
    json_auto_t *doc = load_json(name);
    const json_t *rows = json_object_get(doc, "records");
    struct models ms = {0};
    struct tally t = {0};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        struct record r = read_record(json_array_get(rows, i));
        check_record(&r, &ms, &t);
    }
    models_free(&ms);
    return t;
}

static void test_memory(void **state)
{
    struct tally t = check_file("llamacpp-memory.json");
    print_message("# %u values of weights and KV equal; %u of compute: mean error %.2f %%, %.0f to "
                  "%.0f MiB; %u refusals; %u records of options never passed\n",
                  t.exact, t.compute, t.sum_percent / t.compute, t.worst_low, t.worst_high,
                  t.refused, t.left_out);
    assert_true(t.exact > 5000 && t.compute > 2000);
    assert_int_equal(t.refused, 9);
}

static void test_more_models(void **state)
{
    struct tally t = check_file("llamacpp-formulas.json");
    assert_true(t.exact > 250);
}

/* What llama-server 0.7.0 (b11669) logged for further models over RPC devices, compute in MiB:
 * recurrent models, a block for prediction, experts in RAM. Micro-batch 512. */
static void test_more_compute(void **state)
{
    static const struct {
        const char *model;
        uint32_t devices, ctx, slots, n_cpu_moe;
        int64_t ngl;
        double compute[4], host;
    } CASES[] = {
        {"falcon-mamba-7b-q8_0", 1, 8192, 1, 0, -1, {97.57}, 32.01},
        {"falcon-mamba-7b-q8_0", 2, 8192, 1, 0, -1, {264.70, 256.56}, 80.03},
        {"falcon-mamba-7b-q8_0", 4, 8192, 1, 0, -1, {264.70, 320.56, 320.56, 256.56}, 80.03},
        {"falcon-mamba-7b-q8_0", 2, 32768, 4, 0, -1, {266.77, 258.63}, 80.03},
        {"falcon-mamba-7b-q8_0", 2, 8192, 1, 0, 20, {104.59, 104.59}, 120.60},
        {"glm-4.5-air-q4_k_m", 3, 16384, 1, 0, -1, {330.05, 258.04, 258.04}, 144.07},
        {"mixtral-8x7b-q4_k_m", 2, 8192, 1, 10, -1, {208.01, 200.01}, 192.03},
        {"mixtral-8x7b-q4_k_m", 1, 8192, 1, 0, 20, {200.01}, 216.02},
    };
    struct models ms = {0};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct record r = {.devices = CASES[i].devices,
                           .opts = {.ctx = CASES[i].ctx, .n_slots = CASES[i].slots, .ubatch = 512},
                           .ngl = CASES[i].ngl,
                           .n_cpu_moe = CASES[i].n_cpu_moe,
                           .only = -1,
                           .shares = {1, 1, 1, 1}};
        const struct arch_facts *f = model_named(&ms, CASES[i].model);
        struct estimate_model *m = estimate_new(f, &r.opts, NULL);
        struct estimate_bytes out[MAX_DEVICES], host;
        struct estimate_split split;
        uint32_t counts[MAX_DEVICES];
        split_of(&r, f, counts, &split);
        estimate_split_bytes(m, &split, out, &host);
        for (uint32_t d = 0; d <= r.devices; d++) {
            double want = d < r.devices ? CASES[i].compute[d] : CASES[i].host;
            double got = (double)(d < r.devices ? out[d].compute : host.compute) / 1048576;
            if (fabs(got - want) > 0.05 * want)
                fail_msg("case %zu, device %u: %.2f MiB for %.2f", i, d, got, want);
        }
        estimate_free(m);
    }
    models_free(&ms);
}

static void test_splits(void **state)
{
    json_auto_t *doc = load_json("llamacpp-splits.json");
    const json_t *cases = json_object_get(doc, "cases");
    assert_true(json_array_size(cases) >= 75);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i), *shares = json_object_get(c, "split");
        uint32_t n = (uint32_t)json_integer_value(json_object_get(c, "layers"));
        const json_t *ngl = json_object_get(c, "ngl"), *want = json_object_get(c, "device");
        double sh[64];
        int got[512];
        uint32_t nd = (uint32_t)json_array_size(shares);
        for (uint32_t d = 0; d < nd; d++)
            sh[d] = json_number_value(json_array_get(shares, d));
        estimate_engine_layers(n, nd, sh, json_is_null(ngl) ? -1 : json_integer_value(ngl), got);
        for (uint32_t il = 0; il <= n; il++)
            if (got[il] != json_integer_value(json_array_get(want, il)))
                fail_msg("case %zu: item %u on %d", i, il, got[il]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_more_models),
        cmocka_unit_test(test_more_compute),
        cmocka_unit_test(test_splits),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
