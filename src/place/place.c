/* place_plan: the search's answer as an assignment, with exact bytes and reasons. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "place/identity.h"
#include "place/objective.h"
#include "place/times.h"

#include <string.h>

const char *place_tier_name(enum place_tier t)
{
    static const char *const names[] = {"one GPU",     "one node", "several nodes",
                                        "part in RAM", "CPU only", "none"};
    return (unsigned)t < ARRAY_LEN(names) ? names[t] : "none";
}

void place_free(struct place_plan *p)
{
    if (!p)
        return;
    assignment_done(&p->a);
    notes_done(&p->proof);
    notes_done(&p->why);
    notes_done(&p->notes);
    notes_done(&p->ways);
    notes_done(&p->assumed);
    note_done(&p->verdict);
    notes_done(&p->warnings);
    notes_done(&p->remarks);
    findings_done(&p->rejected);
    findings_done(&p->refused);
    for (uint32_t i = 0; i < p->n_changes; i++) {
        note_done(&p->changes[i].what);
        note_done(&p->changes[i].gives);
    }
    free(p->changes);
    note_done(&p->summary);
    free(p);
}

const char *place_device_label(const struct scene *c, uint32_t node, uint32_t index, char *dst,
                               size_t cap)
{
    const struct cluster_node *n = &c->s->nodes[node];
    if (index == UINT32_MAX)
        str_copyf(dst, cap, "%s RAM", n->name);
    else
        str_copyf(dst, cap, "%s:%u %s", n->name, n->devices[index].index, n->devices[index].name);
    return dst;
}

double place_seconds(const struct scene *c, uint32_t main, const struct answer_part *parts,
                     uint32_t n_parts, uint32_t n_cpu, uint32_t n_moe)
{
    mem_auto struct estimate_device_speed *speed = mem_calloc(n_parts + 1, sizeof *speed);
    mem_auto uint32_t *counts = mem_calloc(n_parts + 1, sizeof *counts);
    for (uint32_t i = 0; i < n_parts; i++) {
        const struct answer_part *x = &parts[i];
        const struct cluster_device *d = NULL;
        if (x->index != UINT32_MAX)
            d = &c->s->nodes[x->node].devices[x->index];
        speed[i] = scene_speed(c, main, x->node, d);
        counts[i] = x->n_layers;
    }
    struct estimate_split s = {
        .n_devices = n_parts, .counts = counts, .n_cpu_layers = n_cpu, .n_cpu_moe = n_moe};
    return estimate_token_seconds(c->m, &s, speed, NULL);
}

/* ---- the assignment ---- */

static void fill_part(const struct scene *c, const struct answer_part *from, uint32_t first,
                      bool output, const struct estimate_bytes *b, struct assignment_part *to)
{
    const struct cluster_node *n = &c->s->nodes[from->node];
    *to = (struct assignment_part){.first_layer = first,
                                   .n_layers = from->n_layers,
                                   .output = output,
                                   .weights_bytes = b->weights,
                                   .kv_bytes = b->kv,
                                   .compute_bytes = b->compute};
    STR_COPY(to->node_id, n->id);
    STR_COPY(to->node, n->name);
    if (from->index == UINT32_MAX) {
        STR_COPY(to->device_name, "RAM");
        to->backend = BACKEND_CPU;
        to->free_bytes = n->ram_free_bytes;
        return;
    }
    const struct cluster_device *d = &n->devices[from->index];
    STR_COPY(to->uuid, d->uuid);
    STR_COPY(to->device_name, d->name);
    to->index = d->index;
    to->backend = d->backend;
    to->free_bytes = d->free_bytes;
    to->runtime_bytes = c->s->runtime_bytes;
}

/* The sums of estimate/ are the truth; the search's own must not have promised more. */
static int check_part(const struct scene *c, const struct assignment_part *p, struct err *err)
{
    uint64_t need = num_add_sat(assignment_part_bytes(p), c->s->margin_bytes);
    if (need > p->free_bytes)
        return err_set(err, ERR_INTERNAL,
                       "plan is wrong: %s:%u needs %llu bytes of %llu; please report this", p->node,
                       p->index, (unsigned long long)need, (unsigned long long)p->free_bytes);
    return 0;
}

static int fill(const struct scene *c, const struct answer *a, struct assignment *out,
                struct err *err)
{
    const struct estimate_model *m = c->m;
    const struct cluster_node *main = &c->s->nodes[a->main];
    STR_COPY(out->engine, "llama.cpp");
    STR_COPY(out->main_id, main->id);
    STR_COPY(out->main_node, main->name);
    STR_COPY(out->kv, kv_type_name(m->opts.kv_k));
    out->n_layers = m->n_layers;
    out->n_blocks = m->n_blocks;
    out->n_cpu_layers = a->n_cpu;
    out->n_cpu_moe = a->n_moe;
    out->ctx = m->opts.ctx;
    out->n_slots = m->opts.n_slots;
    out->ubatch = m->opts.ubatch;
    mem_auto uint32_t *counts = mem_calloc(a->n_parts + 1, sizeof *counts);
    mem_auto struct estimate_bytes *bytes = mem_calloc(a->n_parts + 1, sizeof *bytes);
    struct estimate_bytes host;
    for (uint32_t i = 0; i < a->n_parts; i++)
        counts[i] = a->parts[i].n_layers;
    struct estimate_split s = {
        .n_devices = a->n_parts, .counts = counts, .n_cpu_layers = a->n_cpu, .n_cpu_moe = a->n_moe};
    estimate_split_bytes(m, &s, bytes, &host);
    out->host_weights_bytes = host.weights;
    out->host_kv_bytes = host.kv;
    out->host_compute_bytes = host.compute;
    out->parts = mem_calloc(a->n_parts + 1, sizeof *out->parts);
    out->n_parts = a->n_parts;
    uint32_t first = a->n_cpu;
    for (uint32_t i = 0; i < a->n_parts; first += counts[i++]) {
        fill_part(c, &a->parts[i], first, i == a->n_parts - 1, &bytes[i], &out->parts[i]);
        if (check_part(c, &out->parts[i], err))
            return -1;
    }
    uint64_t ram = num_add_sat(num_add_sat(host.weights, host.kv), host.compute);
    if (ram > main->ram_free_bytes)
        return err_set(
            err, ERR_INTERNAL,
            "plan is wrong: the RAM of %s must hold %llu bytes of %llu; please report this",
            main->name, (unsigned long long)ram, (unsigned long long)main->ram_free_bytes);
    double t = place_seconds(c, a->main, a->parts, a->n_parts, a->n_cpu, a->n_moe);
    out->tok_s = t > 0 ? 1 / t : 0;
    return 0;
}

/* ---- the plan ---- */

static void fill_seen(const struct scene *c, struct place_plan *p)
{
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why)
            p->free_bytes_seen =
                num_add_sat(p->free_bytes_seen,
                            c->s->nodes[c->dev[i].node].devices[c->dev[i].index].free_bytes);
    p->n_devices_seen = c->n_usable;
}

/* Terms that the policy went without. */
static void fill_notes(const struct scene *c, struct place_plan *p)
{
    const struct goal *g = c->goal;
    if (g->left_out == TERM_COUNT)
        return;
    enum note_code code = g->left_out == TERM_PRICE ? NOTE_PRICE_UNKNOWN : NOTE_POWER_UNKNOWN;
    note_str(notes_add(&p->notes, code), WORD_POLICY, g->p.name);
}

static void fill_reasons(const struct scene *c, const struct answer *a, bool brief,
                         struct place_plan *p)
{
    identity_set(c, NULL, p->a.plan_id);
    fill_notes(c, p);
    if (a->feasible)
        reasons_answer(c, a, brief, p);
    else
        reasons_refusal(c, p);
}

/* The time itself: the search adds up rounded ones, or counts in larger steps. */
static void exact_time(const struct scene *c, struct answer *a)
{
    a->ns = times_ns(place_seconds(c, a->main, a->parts, a->n_parts, a->n_cpu, a->n_moe));
    if (a->proved || a->bound_ns > a->ns)
        a->bound_ns = a->ns;
}

int place_fill(const struct scene *c, struct answer *a, struct place_plan *p, struct err *err)
{
    p->feasible = a->feasible;
    p->optimal = a->proved;
    p->tier = a->tier;
    if (!a->feasible)
        return 0;
    exact_time(c, a);
    goal_report(c, a, p);
    return fill(c, a, &p->a, err);
}

static int fill_plan(const struct scene *c, struct answer *a, const struct place_budget *budget,
                     struct place_plan *p, struct err *err)
{
    fill_seen(c, p);
    if (place_fill(c, a, p, err))
        return -1;
    if (!a->proved && a->feasible)
        note_real(notes_add(&p->warnings, NOTE_WARN_BUDGET), WORD_GAP, p->gap_percent);
    if (!(budget && budget->bare))
        fill_reasons(c, a, budget && budget->no_changes, p);
    return 0;
}

struct place_plan *place_model(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                               const struct estimate_model *m, const struct place_budget *budget,
                               struct err *err)
{
    struct scene *c = scene_new(s, spec, m, err);
    if (!c)
        return NULL;
    struct tiers_opts o = {.last = TIER_CPU,
                           .steps = budget && budget->steps ? budget->steps : PLACE_STEPS};
    struct place_plan *p = mem_calloc(1, sizeof *p);
    struct answer a;
    tiers_solve(c, &o, &a, &p->steps);
    int rc = fill_plan(c, &a, budget, p, err);
    answer_done(&a);
    scene_free(c);
    if (rc == 0)
        return p;
    place_free(p);
    return NULL;
}

/* ---- with a lower context, where that is allowed ---- */

static struct place_plan *plan_ctx(const struct cluster_snapshot *s, const struct place_demand *d,
                                   uint32_t ctx, const struct place_budget *budget, struct err *err)
{
    struct estimate_opts o = d->opts;
    o.ctx = ctx;
    struct estimate_model *m = estimate_new(d->facts, &o, err);
    struct place_plan *p = m ? place_model(s, d->spec, m, budget, err) : NULL;
    estimate_free(m);
    return p;
}

/* The largest multiple of the engine's step from min_ctx on that fits; that of min_ctx itself when
 * none does, so that the refusal is about the least that was allowed. 0: there is none to try. */
static uint32_t lower_ctx(const struct cluster_snapshot *s, const struct place_demand *d,
                          const struct place_budget *budget, uint64_t *steps)
{
    uint32_t slots = d->opts.n_slots, asked = d->opts.ctx / slots, least = d->spec->want.min_ctx;
    uint32_t lo = least / PLACE_CTX_STEP + (least % PLACE_CTX_STEP != 0);
    uint32_t first = lo, hi = asked ? (asked - 1) / PLACE_CTX_STEP : 0;
    struct place_budget bare = {.steps = budget ? budget->steps : 0, .bare = true};
    if (!least || lo > hi)
        return 0;
    for (uint32_t at = lo; lo <= hi; at = (lo + hi + 1) / 2) { /* below lo it fits */
        struct place_plan *p = plan_ctx(s, d, at * PLACE_CTX_STEP * slots, &bare, NULL);
        bool fits = p && p->feasible;
        *steps += p ? p->steps : 0;
        place_free(p);
        if (fits)
            lo = at + 1;
        else
            hi = at - 1;
    }
    return (lo > first ? lo - 1 : first) * PLACE_CTX_STEP;
}

struct place_plan *place_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              const struct place_budget *budget, struct err *err)
{
    struct place_demand as = *d;
    uint32_t lower = 0;
    struct place_plan *p = plan_ctx(s, d, d->opts.ctx, budget, err);
    uint64_t steps = p ? p->steps : 0;
    if (p && !p->feasible)
        lower = lower_ctx(s, d, budget, &steps);
    if (lower) {
        place_free(p);
        as.opts.ctx = lower * d->opts.n_slots;
        p = plan_ctx(s, d, as.opts.ctx, budget, err);
        if (!p)
            return NULL;
        p->steps += steps;
        struct note *n = notes_add(&p->notes, NOTE_CTX_LOWERED);
        note_num(note_num(n, WORD_CTX, lower), WORD_ASKED_CTX, d->opts.ctx / d->opts.n_slots);
    }
    if (p && !(budget && (budget->no_changes || budget->bare)))
        changes_find(s, &as, p);
    return p;
}
