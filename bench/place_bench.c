/* Plan times of place/ by cluster size and family, beside an enumerator of GPU subsets, in one run
 * on the same demands.
 *
 * usage: place_bench [OPTION]... [folder of model headers [folder of clusters]];
 * docs/placement-bench.md says what it measures. Run it on a quiet machine. */
#include "base/mem.h"
#include "base/opt.h"
#include "model/model.h"
#include "os/file.h"
#include "place_cell.h"

#include <stdio.h>
#include <string.h>

enum { LIVE_GPUS = 10000 };
static const uint32_t SIZES[] = {8, 16, 64, 256, 1024, 10000, 100000};

static struct demand DEMANDS[] = {
    {.file = "llama-3.1-8b-q4_k_m", .name = "8B", .ctx = 8192},
    {.file = "llama-3.3-70b-q4_k_m", .name = "70B", .ctx = 32768},
    {.file = "gemma-3-27b-q4_k_m", .name = "gemma-3-27b", .ctx = 131072},
    {.file = "gpt-oss-120b-mxfp4", .name = "gpt-oss-120b", .ctx = 65536},
    {.file = "qwen3-next-80b-a3b-q4_k_m", .name = "qwen3-next", .ctx = 65536},
    {.file = "qwen3-30b-a3b-q4_k_m", .name = "qwen3-30b", .ctx = 32768},
    {.file = "qwen3-235b-a22b-q4_k_m", .name = "qwen3-235b", .ctx = 32768},
    {.file = "deepseek-r1-ud-iq2_xxs-mla", .name = "R1 IQ2_XXS", .ctx = 8192},
    {.file = "deepseek-r1-q4_k_m-mla", .name = "R1 Q4_K_M", .ctx = 8192},
};

struct args {
    struct cell_opts cell;
    const char *family, *model, *json; /* NULL: all; no file */
    const char *part;                  /* "answers", "live", "grid", "policies"; NULL: all */
    const char *models, *examples;     /* folders */
    uint64_t gpus, most, clusters;     /* 0: all sizes */
    bool no_explain;
};

static int load(const char *dir, struct demand *d, struct err *err)
{
    mem_auto char *path = mem_printf("%s/%s.ggufh", dir, d->file);
    d->facts = model_facts(path, NULL, err);
    if (!d->facts)
        return -1;
    d->spec = mem_calloc(1, sizeof *d->spec);
    d->spec->ctx = d->ctx;
    d->spec->n_slots = 1;
    snprintf(d->spec->kv, sizeof d->spec->kv, "f16");
    if (policy_preset(&d->spec->policy, "tiered", err))
        return -1;
    return place_demand_init(&d->d, d->facts, d->spec, err);
}

/* All models on the clusters of one family and size; returns how many answers are wrong. */
static uint32_t run_size(const struct args *a, const struct family *f, uint32_t n_gpus, json_t *out)
{
    uint32_t invalid = 0;
    struct cluster_snapshot s[CELL_MAX_CLUSTERS];
    for (uint32_t i = 0; i < a->cell.clusters; i++)
        world_make(&s[i], f, n_gpus, a->cell.seed + i);
    for (size_t i = 0; i < ARRAY_LEN(DEMANDS); i++) {
        if (a->model && strcmp(a->model, DEMANDS[i].name) != 0)
            continue;
        struct cell c = {.family = f->name, .n_gpus = n_gpus};
        cell_measure(&c, s, &DEMANDS[i], &a->cell);
        cell_print(&c);
        invalid += c.invalid;
        json_array_append_new(out, cell_to_json(&c));
    }
    for (uint32_t i = 0; i < a->cell.clusters; i++)
        snapshot_done(&s[i]);
    return invalid;
}

static uint32_t run_grid(const struct args *a, json_t *out)
{
    uint32_t invalid = 0;
    cell_print_head();
    for (uint32_t k = 0; world_family(k); k++)
        for (size_t i = 0; i < ARRAY_LEN(SIZES); i++)
            if ((!a->family || strcmp(a->family, world_family(k)->name) == 0) &&
                (a->gpus ? SIZES[i] == a->gpus : SIZES[i] <= a->most))
                invalid += run_size(a, world_family(k), SIZES[i], out);
    return invalid;
}

/* Every other preset, on fewer families and sizes and without the baseline. */
static uint32_t run_policies(const struct args *a, json_t *out)
{
    static const char *const FAMILIES[] = {"jitter", "singles"};
    static const uint32_t GPUS[] = {16, 1024, 10000};
    struct args fewer = *a;
    uint32_t invalid = 0;
    fewer.cell.base_calls = 0;
    for (uint32_t p = 0; policy_preset_name(p); p++) {
        for (size_t i = 0; i < ARRAY_LEN(DEMANDS); i++)
            policy_preset(&DEMANDS[i].spec->policy, policy_preset_name(p), NULL);
        for (uint32_t k = 0; world_family(k) && strcmp(policy_preset_name(p), "tiered") != 0; k++)
            for (size_t i = 0; i < ARRAY_LEN(FAMILIES) * ARRAY_LEN(GPUS); i++)
                if (strcmp(world_family(k)->name, FAMILIES[i / ARRAY_LEN(GPUS)]) == 0)
                    invalid += run_size(&fewer, world_family(k), GPUS[i % ARRAY_LEN(GPUS)], out);
    }
    return invalid;
}

static bool wanted(const struct args *a, const char *part)
{
    return !a->part || strcmp(a->part, part) == 0;
}

static void describe(const struct args *a, json_t *doc)
{
    json_put_u64(doc, "clusters", a->cell.clusters);
    json_put_u64(doc, "seed", a->cell.seed);
    json_put_u64(doc, "baseline_calls", a->cell.base_calls);
    json_t *families = json_put_object(doc, "families");
    for (uint32_t k = 0; world_family(k); k++)
        json_put_str(families, world_family(k)->name, world_family(k)->what);
    json_t *models = json_put_array(doc, "models");
    for (size_t i = 0; i < ARRAY_LEN(DEMANDS); i++) {
        json_t *m = json_add_object(models);
        json_put_str(m, "name", DEMANDS[i].name);
        json_put_str(m, "file", DEMANDS[i].file);
        json_put_u64(m, "ctx", DEMANDS[i].ctx);
    }
}

static int run_all(const struct args *a, struct err *err)
{
    json_auto_t *doc = json_object();
    describe(a, doc);
    if (wanted(a, "answers") &&
        bench_answers(a->models, a->examples, json_put_array(doc, "answers"), err))
        return -1;
    if (wanted(a, "live"))
        bench_live(DEMANDS, ARRAY_LEN(DEMANDS), LIVE_GPUS, a->cell.seed,
                   json_put_array(doc, "live"));
    json_t *cells = json_put_array(doc, "cells");
    uint32_t invalid = wanted(a, "grid") ? run_grid(a, cells) : 0;
    if (wanted(a, "policies"))
        invalid += run_policies(a, cells);
    if (invalid)
        return err_set(err, ERR_INTERNAL, "%u answers are wrong", invalid);
    if (!a->json)
        return 0;
    mem_auto char *text = json_text(doc);
    return file_write(a->json, text, strlen(text), 0644, err);
}

static int parse(int argc, char **argv, struct args *a, struct err *err)
{
    const struct opt opts[] = {
        {.name = "clusters",
         .kind = OPT_U64,
         .out = &a->clusters,
         .value = "N",
         .lo = 1,
         .hi = CELL_MAX_CLUSTERS,
         .help = "random clusters per cell (5)"},
        {.name = "seed",
         .kind = OPT_U64,
         .out = &a->cell.seed,
         .value = "N",
         .help = "of the first cluster (1)"},
        {.name = "part",
         .kind = OPT_STR,
         .out = &a->part,
         .value = "NAME",
         .help = "only this part: answers, live, grid or policies"},
        {.name = "family",
         .kind = OPT_STR,
         .out = &a->family,
         .value = "NAME",
         .help = "only this family"},
        {.name = "model",
         .kind = OPT_STR,
         .out = &a->model,
         .value = "NAME",
         .help = "only this model"},
        {.name = "gpus", .kind = OPT_U64, .out = &a->gpus, .value = "N", .help = "only this size"},
        {.name = "most",
         .kind = OPT_U64,
         .out = &a->most,
         .value = "N",
         .help = "sizes up to this one (100000)"},
        {.name = "baseline-calls",
         .kind = OPT_U64,
         .out = &a->cell.base_calls,
         .value = "N",
         .help = "limit of the baseline in estimator calls, 0: without it (1000000)"},
        {.name = "no-explain", .kind = OPT_FLAG, .out = &a->no_explain, .help = "the search alone"},
        {.name = "json",
         .kind = OPT_STR,
         .out = &a->json,
         .value = "FILE",
         .help = "write the figures to FILE"},
    };
    const char *operands[2] = {"tests/data/models", "examples"};
    size_t n;
    bool help = false;
    if (opt_parse(opts, ARRAY_LEN(opts), argc, argv, operands, 2, &n, &help, err))
        return -1;
    a->models = operands[0];
    a->examples = operands[1];
    a->cell.clusters = (uint32_t)a->clusters;
    a->cell.explained = !a->no_explain;
    if (help) {
        buf_auto struct buf text;
        buf_init(&text, 4096);
        opt_help(opts, ARRAY_LEN(opts), &text);
        printf("usage: place_bench [OPTION]... [MODELS [EXAMPLES]]\n\n%s", text.p);
        exit(0);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct args a = {.cell = {.seed = 1, .base_calls = 1000000}, .clusters = 5, .most = 100000};
    struct err err = {0};
    int rc = parse(argc, argv, &a, &err);
    for (size_t i = 0; i < ARRAY_LEN(DEMANDS) && rc == 0; i++)
        rc = load(a.models, &DEMANDS[i], &err);
    if (rc == 0)
        rc = run_all(&a, &err);
    if (rc)
        fprintf(stderr, "place_bench: %s\n", err.msg);
    for (size_t i = 0; i < ARRAY_LEN(DEMANDS); i++) {
        arch_free(DEMANDS[i].facts);
        free(DEMANDS[i].spec);
    }
    return rc ? 1 : 0;
}
