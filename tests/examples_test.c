/* Every model of tests/data/models on every cluster of examples/: each answer is proved and holds
 * up against the validator; each refusal names a change that makes it fit, the smallest of its
 * kind. */
#include "base/doc.h"
#include "base/mem.h"
#include "model/model.h"
#include "os/file.h"
#include "place/place.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_MODELS = 64 };

static const char *const CLUSTERS[] = {"cluster-mixed", "cluster-small-gpus"};
static const struct wish {
    uint32_t ctx, n_slots;
    const char *kv;
} WISHES[] = {
    {8192, 1, "f16"},   {8192, 1, "q4_0"},   {32768, 1, "f16"},
    {131072, 1, "f16"}, {131072, 1, "q8_0"}, {131072, 8, "f16"},
};

struct tally {
    uint32_t tiers[TIER_NONE + 1], changes;
};

static char *source(const char *rest)
{
    const char *root = getenv("STOWAGE_SOURCE");
    return mem_printf("%s/%s", root ? root : "..", rest);
}

static void read_cluster(const char *name, struct cluster_snapshot *s)
{
    mem_auto char *rest = mem_printf("examples/%s.yaml", name), *path = source(rest), *text = NULL;
    size_t n;
    struct err err = {0};
    snapshot_init(s);
    if (file_read(path, 1 << 20, &text, &n, &err))
        fail_msg("%s", err.msg);
    struct doc d;
    if (doc_parse(&d, path, text, n, &err) || snapshot_from_doc(s, &d, &err))
        fail_msg("%s: %s", name, err.msg);
    doc_done(&d);
}

static void init_spec(struct deployment_spec *spec, const struct wish *w)
{
    *spec = (struct deployment_spec){.ctx = w->ctx, .n_slots = w->n_slots};
    snprintf(spec->kv, sizeof spec->kv, "%s", w->kv);
    assert_int_equal(policy_preset(&spec->policy, "tiered", NULL), 0);
}

/* Does it fit when only this is changed? */
static bool fits_with(const struct cluster_snapshot *s, const struct arch_facts *f,
                      const struct wish *w)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct place_demand d;
    struct err err = {0};
    init_spec(spec, w);
    if (place_demand_init(&d, f, spec, &err))
        fail_msg("%s", err.msg);
    struct place_budget b = {.no_changes = true};
    struct place_plan *p = place_plan(s, &d, &b, &err);
    if (!p)
        fail_msg("%s", err.msg);
    bool fits = p->feasible;
    place_free(p);
    return fits;
}

/* A change of the context or the KV type, made. Others are not ours to make. */
static void check_change(const struct cluster_snapshot *s, const struct arch_facts *f,
                         const struct wish *w, const struct place_change *c, const char *what)
{
    struct wish other = *w;
    char set[64];
    if (!c->fits || (c->what.code != NOTE_SET_CTX && c->what.code != NOTE_SET_KV))
        return;
    if (c->what.code == NOTE_SET_CTX)
        other.ctx = (uint32_t)note_num_of(&c->what, WORD_CTX);
    else
        other.kv = note_str_of(&c->what, WORD_KV);
    if (!fits_with(s, f, &other))
        fail_msg("%s: %s does not make it fit", what,
                 note_text(&c->what, WORDS_EN, set, sizeof set));
    other.ctx += 256;
    if (c->what.code == NOTE_SET_CTX && other.ctx < w->ctx && fits_with(s, f, &other))
        fail_msg("%s: %s is not the smallest change, %u fits", what,
                 note_text(&c->what, WORDS_EN, set, sizeof set), other.ctx);
}

static void check_refusal(const struct cluster_snapshot *s, const struct arch_facts *f,
                          const struct wish *w, const struct place_plan *p, struct tally *t,
                          const char *what)
{
    uint32_t fitting = 0;
    if (p->summary.code == NOTE_NONE || !p->refused.n)
        fail_msg("%s: a refusal without its reasons", what);
    for (uint32_t i = 0; i < p->n_changes; i++) {
        check_change(s, f, w, &p->changes[i], what);
        fitting += p->changes[i].fits;
    }
    if (!fitting)
        fail_msg("%s: refused, and no change that makes it fit", what);
    t->changes += fitting;
}

static void check_one(const struct cluster_snapshot *s, const struct arch_facts *f,
                      const struct wish *w, struct tally *t, const char *what)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct place_demand d;
    struct err err = {0};
    init_spec(spec, w);
    if (place_demand_init(&d, f, spec, &err))
        fail_msg("%s: %s", what, err.msg);
    struct place_plan *p = place_plan(s, &d, NULL, &err);
    if (!p)
        fail_msg("%s: %s", what, err.msg);
    if (!p->optimal)
        fail_msg("%s: %s, not proved, gap %.1f %%", what,
                 p->feasible ? place_tier_name(p->tier) : "refused", p->gap_percent);
    if (p->feasible && place_validate(s, &d, &p->a, &err))
        fail_msg("%s: %s", what, err.msg);
    if (!p->feasible)
        check_refusal(s, f, w, p, t, what);
    t->tiers[p->feasible ? p->tier : TIER_NONE]++;
    place_free(p);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static uint32_t list_models(char **names)
{
    mem_auto char *path = source("tests/data/models");
    uint32_t n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        if (strstr(e->d_name, ".ggufh")) {
            assert_in_range(n, 0, MAX_MODELS - 1);
            names[n++] = mem_strdup(e->d_name);
        }
    closedir(dir);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

static void check_model(const struct cluster_snapshot *s, const char *cluster, const char *model,
                        struct tally *t)
{
    mem_auto char *rest = mem_printf("tests/data/models/%s", model), *path = source(rest);
    struct err err = {0};
    struct arch_facts *f = model_facts(path, NULL, &err);
    if (!f)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < ARRAY_LEN(WISHES); i++) {
        char what[160];
        snprintf(what, sizeof what, "%s on %s, %u x %u tokens, %s", model, cluster,
                 WISHES[i].n_slots, WISHES[i].ctx, WISHES[i].kv);
        check_one(s, f, &WISHES[i], t, what);
    }
    arch_free(f);
}

static void test_all(void **state)
{
    char *models[MAX_MODELS];
    uint32_t n = list_models(models);
    struct tally t = {0};
    assert_true(n >= 15);
    for (size_t c = 0; c < ARRAY_LEN(CLUSTERS); c++) {
        struct cluster_snapshot s;
        read_cluster(CLUSTERS[c], &s);
        for (uint32_t i = 0; i < n; i++)
            check_model(&s, CLUSTERS[c], models[i], &t);
        snapshot_done(&s);
    }
    /* The wishes above are such that every kind of answer is among them. */
    for (int tier = 0; tier <= TIER_NONE; tier++)
        if (tier != TIER_CPU && !t.tiers[tier])
            fail_msg("no answer is '%s'", tier == TIER_NONE ? "refused" : place_tier_name(tier));
    assert_true(t.changes > 0);
    for (uint32_t i = 0; i < n; i++)
        free(models[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
