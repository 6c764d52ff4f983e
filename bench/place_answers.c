/* The answers for every model on the reference clusters. */
#include "base/doc.h"
#include "base/mem.h"
#include "model/model.h"
#include "os/file.h"
#include "place_common.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { MAX_MODELS = 64 };

static const char *const CLUSTERS[] = {"cluster-mixed", "cluster-small-gpus"};
static const struct wish {
    uint32_t ctx, n_slots;
    const char *kv;
} WISHES[] = {
    {8192, 1, "f16"},   {8192, 1, "q4_0"},   {32768, 1, "f16"},
    {131072, 1, "f16"}, {131072, 1, "q8_0"}, {131072, 8, "f16"},
};

static int read_cluster(const char *dir, const char *name, struct cluster_snapshot *s,
                        struct err *err)
{
    mem_auto char *path = mem_printf("%s/%s.yaml", dir, name), *text = NULL;
    size_t n;
    snapshot_init(s);
    if (file_read(path, 1 << 20, &text, &n, err))
        return -1;
    struct doc d;
    int rc = doc_parse(&d, path, text, n, err) ? -1 : snapshot_from_doc(s, &d, err);
    doc_done(&d);
    return rc;
}

static uint32_t count_nodes(const struct assignment *a)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        bool seen = strcmp(a->parts[i].node_id, a->main_id) == 0;
        for (uint32_t k = 0; k < i && !seen; k++)
            seen = strcmp(a->parts[i].node_id, a->parts[k].node_id) == 0;
        n += !seen;
    }
    return n;
}

static uint32_t count_gpus(const struct assignment *a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_parts; i++)
        n += a->parts[i].uuid[0] != 0;
    return n;
}

static const char *first_change(const struct place_plan *p, char *dst, size_t cap)
{
    dst[0] = 0;
    for (uint32_t i = 0; i < p->n_changes; i++)
        if (p->changes[i].fits)
            return note_text(&p->changes[i].what, WORDS_EN, dst, cap);
    return dst;
}

static void answer(const struct cluster_snapshot *s, const char *cluster, const char *model,
                   const struct arch_facts *f, const struct wish *w, json_t *out)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct place_demand d;
    struct err err = {0};
    char change[128];
    spec->ctx = w->ctx;
    spec->n_slots = w->n_slots;
    snprintf(spec->kv, sizeof spec->kv, "%s", w->kv);
    if (policy_preset(&spec->policy, "tiered", &err) || place_demand_init(&d, f, spec, &err))
        return;
    double t = cpu_ms(), search;
    place_free(bench_plan(s, &d, false));
    search = cpu_ms() - t;
    t = cpu_ms();
    struct place_plan *p = bench_plan(s, &d, true);
    double all = cpu_ms() - t;
    first_change(p, change, sizeof change);
    printf("%-19s %-28s %u x %6u %-5s %-14s %2u nodes %2u GPUs %7.1f tok/s %-7s %8.2f ms, "
           "%9.2f explained  %s\n",
           cluster, model, w->n_slots, w->ctx, w->kv, bench_answer_name(p),
           p->feasible ? count_nodes(&p->a) : 0, count_gpus(&p->a), p->a.tok_s,
           p->optimal ? "proved" : "GAP", search, all, change);
    json_t *o = json_add_object(out);
    json_put_str(o, "cluster", cluster);
    json_put_str(o, "model", model);
    json_put_u64(o, "ctx", w->ctx);
    json_put_u64(o, "n_slots", w->n_slots);
    json_put_str(o, "kv", w->kv);
    json_put_str(o, "answer", bench_answer_name(p));
    json_put_u64(o, "nodes", p->feasible ? count_nodes(&p->a) : 0);
    json_put_u64(o, "gpus", count_gpus(&p->a));
    json_put_double(o, "tok_s", p->a.tok_s);
    json_put_bool(o, "optimal", p->optimal);
    json_put_double(o, "gap_percent", p->gap_percent);
    json_put_double(o, "search_ms", search);
    json_put_double(o, "explained_ms", all);
    json_put_str(o, "change", change[0] ? change : NULL);
    place_free(p);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static uint32_t list_models(const char *path, char **names)
{
    uint32_t n = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir)) && n < MAX_MODELS;) {
        char *end = strstr(e->d_name, ".ggufh");
        if (end)
            names[n++] = mem_strndup(e->d_name, (size_t)(end - e->d_name));
    }
    closedir(dir);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

int bench_answers(const char *models, const char *examples, json_t *out, struct err *err)
{
    char *names[MAX_MODELS];
    uint32_t n = list_models(models, names);
    int rc = 0;
    printf("\n");
    for (size_t c = 0; c < ARRAY_LEN(CLUSTERS) && rc == 0; c++) {
        struct cluster_snapshot s;
        rc = read_cluster(examples, CLUSTERS[c], &s, err);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            mem_auto char *path = mem_printf("%s/%s.ggufh", models, names[i]);
            struct arch_facts *f = model_facts(path, NULL, err);
            rc = f ? 0 : -1;
            for (size_t k = 0; k < ARRAY_LEN(WISHES) && f; k++)
                answer(&s, CLUSTERS[c], names[i], f, &WISHES[k], out);
            arch_free(f);
        }
        snapshot_done(&s);
    }
    for (uint32_t i = 0; i < n; i++)
        free(names[i]);
    return rc;
}
