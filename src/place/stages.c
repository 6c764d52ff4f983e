/* Moves one after the other; see stages.h. */
#include "place/stages.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "place/hold.h"
#include "place/pack.h"
#include "place/place_int.h"

#include <assert.h>
#include <string.h>

/* All layers in GPUs, by the bytes that it holds there. */
static bool all_on_gpus(const struct cluster_instance *i, const struct estimate_model *m)
{
    uint64_t have = 0, want = 0;
    for (uint32_t k = 0; k < i->n_parts; k++)
        if (i->parts[k].device != UINT32_MAX)
            have = num_add_sat(have, i->parts[k].bytes);
    for (uint32_t l = 0; l < m->n_layers; l++)
        want = num_add_sat(want, num_add_sat(m->layers[l].weights, m->layers[l].kv));
    return have >= want;
}

void stages_init(struct stages *g, const struct cluster_snapshot *s,
                 const struct cluster_snapshot *freed, const struct place_wish *own,
                 const uint32_t *instance, uint32_t n, const struct place_wish *pending)
{
    *g = (struct stages){.s = s, .n = n + 1};
    snapshot_copy(&g->freed, freed);
    for (uint32_t i = 0; i < n; i++) {
        g->given[i] = instance[i];
        g->wish[i] = own[instance[i]];
        g->spec[i] = mem_calloc(1, sizeof *g->spec[i]);
        *g->spec[i] = *g->wish[i].d.spec;
        g->wish[i].d.spec = g->spec[i];
        if (all_on_gpus(&s->instances[instance[i]], g->wish[i].m))
            g->spec[i]->want.no_ram = true;
    }
    g->wish[n] = *pending;
}

static void drop_plans(struct stages *g)
{
    for (uint32_t i = 0; i < STAGES_MAX; i++) {
        place_free(g->plans[i]);
        g->plans[i] = NULL;
    }
}

void stages_done(struct stages *g)
{
    drop_plans(g);
    for (uint32_t i = 0; i < STAGES_MOVES; i++)
        free(g->spec[i]);
    snapshot_done(&g->freed);
    *g = (struct stages){0};
}

/* ---- orders ---- */

void stages_together(struct stages *g)
{
    memset(g->n_before, 0, sizeof g->n_before);
    for (uint32_t i = 0; i < g->n; i++)
        g->at[i] = i;
}

uint32_t stages_orders(uint32_t n_moves)
{
    static const uint32_t COUNT[] = {1, 1, 2, 6};
    return COUNT[n_moves];
}

void stages_order(struct stages *g, uint32_t i, uint32_t down)
{
    static const uint8_t ORDERS[6][STAGES_MOVES] = {{0, 1, 2}, {1, 0, 2}, {0, 2, 1},
                                                    {2, 0, 1}, {1, 2, 0}, {2, 1, 0}};
    uint32_t moves = g->n - 1;
    g->at[moves] = moves;
    g->n_before[moves] = 0;
    for (uint32_t k = 0; k < moves; k++) {
        g->at[k] = ORDERS[i][k];
        g->instance[k] = g->given[g->at[k]];
        g->down[k] = down >> k & 1;
    }
    for (uint32_t k = 0; k < moves; k++) {
        g->n_before[k] = 0;
        for (uint32_t later = k + g->down[k]; later < moves; later++)
            g->before[k][g->n_before[k]++] = &g->s->instances[g->instance[later]];
    }
}

int stages_solve(struct stages *g, uint64_t steps, bool *proved, struct err *err)
{
    struct choice_for items[STAGES_MAX];
    const struct deployment_spec *specs[STAGES_MAX];
    struct cost_form form;
    struct pack_answer a;
    for (uint32_t i = 0; i < g->n; i++) {
        const struct place_wish *w = &g->wish[g->at[i]];
        specs[i] = w->d.spec;
        items[i] = (struct choice_for){.wish = i,
                                       .spec = w->d.spec,
                                       .m = w->m,
                                       .d = &w->d,
                                       .before = g->before[i],
                                       .n_before = g->n_before[i]};
    }
    cost_form_init(&form, specs, g->n);
    struct pack p = {
        .s = &g->freed, .form = &form, .items = items, .n = g->n, .all = true, .steps = steps};
    int rc = pack_solve(&p, &a, err);
    drop_plans(g);
    for (uint32_t i = 0; i < g->n && a.plans; i++)
        g->plans[i] = STEAL(a.plans[i]);
    g->steps = a.steps;
    *proved = a.proved;
    pack_done(&a, g->n);
    cost_form_done(&form);
    return rc;
}

/* ---- each again, beside the others ---- */

static void least(struct cluster_snapshot *a, const struct cluster_snapshot *b)
{
    for (uint32_t i = 0; i < a->n_nodes; i++) {
        struct cluster_node *x = &a->nodes[i];
        const struct cluster_node *y = &b->nodes[i];
        if (y->ram_free_bytes < x->ram_free_bytes)
            x->ram_free_bytes = y->ram_free_bytes;
        for (uint32_t d = 0; d < x->n_devices; d++)
            if (y->devices[d].free_bytes < x->devices[d].free_bytes)
                x->devices[d].free_bytes = y->devices[d].free_bytes;
    }
}

static void take(struct cluster_snapshot *s, const struct cluster_instance *i)
{
    int rc = hold_take(s, i, NULL);
    assert(rc == 0); /* the places were found together */
    (void)rc;
}

/* What is free for step k: in its own stage, and in every later one beside those that come then. */
static void free_for(struct stages *g, const struct cluster_instance *held, uint32_t k,
                     struct cluster_snapshot *out)
{
    snapshot_copy(out, &g->freed);
    for (uint32_t t = k; t < g->n; t++) {
        for (uint32_t i = 0; i < g->n_before[t]; i++)
            take(&g->freed, g->before[t][i]);
        for (uint32_t i = 0; i <= t; i++)
            if (i != k)
                take(&g->freed, &held[i]);
        least(out, &g->freed);
        for (uint32_t i = 0; i < g->n_before[t]; i++)
            hold_give(&g->freed, g->before[t][i]);
        for (uint32_t i = 0; i <= t; i++)
            if (i != k)
                hold_give(&g->freed, &held[i]);
    }
}

static void see(struct cluster_snapshot *s, const struct cluster_instance *i)
{
    struct cluster_instance *to = snapshot_add_instance(s);
    *to = *i;
    json_incref(to->spec);
    to->parts = mem_calloc((size_t)i->n_parts + 1, sizeof *to->parts);
    memcpy(to->parts, i->parts, i->n_parts * sizeof *to->parts);
}

static int again(struct stages *g, struct cluster_instance *held, uint32_t k, struct err *err)
{
    struct cluster_snapshot s;
    const struct place_wish *w = &g->wish[g->at[k]];
    struct place_budget b = {.no_changes = true};
    free_for(g, held, k, &s);
    for (uint32_t i = 0; i < g->n_before[k]; i++)
        see(&s, g->before[k][i]);
    for (uint32_t i = 0; i < g->n; i++)
        if (i != k)
            see(&s, &held[i]);
    bool lower = w->d.facts && w->d.spec->want.min_ctx;
    struct place_plan *p =
        lower ? place_plan(&s, &w->d, &b, err) : place_model(&s, w->d.spec, w->m, &b, err);
    snapshot_done(&s);
    if (!p)
        return -1;
    g->steps += p->steps;
    if (p->feasible) {
        struct place_plan *old = g->plans[k];
        g->plans[k] = p;
        p = old;
        hold_done(&held[k]);
        if (hold_of(&g->freed, NULL, &g->plans[k]->a, &held[k], err)) {
            place_free(p);
            return -1;
        }
    }
    place_free(p);
    return 0;
}

int stages_settle(struct stages *g, struct err *err)
{
    struct cluster_instance held[STAGES_MAX] = {{{0}}};
    int rc = 0;
    g->steps = 0;
    for (uint32_t i = 0; i < g->n && !rc; i++) {
        STR_COPY(held[i].deployment, g->wish[g->at[i]].d.spec->name);
        rc = hold_of(&g->freed, NULL, &g->plans[i]->a, &held[i], err);
    }
    for (uint32_t i = 0; i < g->n && !rc; i++)
        rc = again(g, held, i, err);
    for (uint32_t i = 0; i < STAGES_MAX; i++)
        hold_done(&held[i]);
    return rc;
}
