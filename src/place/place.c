/* place_plan: the search's answer as an assignment, with exact bytes and reasons. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

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

/* ---- the id ---- */

static void mix(uint64_t *h, uint64_t x)
{
    *h = (*h ^ x) * 0x9e3779b97f4a7c15u;
    *h ^= *h >> 29;
}

static void mix_text(uint64_t *h, const char *s)
{
    size_t n = strlen(s);
    mix(h, n);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t x = 0;
        memcpy(&x, s + i, n - i < 8 ? n - i : 8);
        mix(h, x);
    }
}

static void mix_double(uint64_t *h, double d)
{
    uint64_t x;
    memcpy(&x, &d, sizeof x);
    mix(h, x);
}

static void mix_names(uint64_t *h, const struct name_list *l)
{
    mix(h, l->n);
    for (uint32_t i = 0; i < l->n; i++)
        mix_text(h, l->items[i]);
}

static void mix_snapshot(uint64_t *h, const struct cluster_snapshot *s)
{
    mix(h, s->margin_bytes);
    mix(h, s->runtime_bytes);
    mix(h, s->engine_devices);
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        const struct cluster_node *n = &s->nodes[i];
        mix_text(h, n->name);
        mix(h, n->state);
        mix(h, n->ram_free_bytes);
        for (uint32_t k = 0; k < n->n_devices; k++) {
            mix_text(h, n->devices[k].uuid);
            mix(h, n->devices[k].free_bytes);
            mix_double(h, n->devices[k].bandwidth_bytes_per_s);
        }
    }
    for (uint32_t i = 0; i < s->n_links; i++) {
        mix(h, s->links[i].all ? UINT64_MAX : ((uint64_t)s->links[i].a << 32 | s->links[i].b));
        mix_double(h, s->links[i].bytes_per_s);
        mix_double(h, s->links[i].rtt_s);
    }
}

/* A hash of everything the answer depends on. */
static void set_id(const struct scene *c, char dst[24])
{
    uint64_t h = 0x73746f77616765u;
    const struct deployment_spec *d = c->spec;
    mix_snapshot(&h, c->s);
    for (uint32_t l = 0; l < c->m->n_layers; l++) {
        mix(&h, c->m->layers[l].weights);
        mix(&h, c->m->layers[l].kv);
        mix(&h, c->m->layers[l].peak);
    }
    mix(&h, c->m->head);
    mix(&h, c->m->opts.ctx);
    mix(&h, c->m->opts.n_slots);
    mix(&h, c->m->opts.kv_k);
    mix_text(&h, d->policy.name);
    mix(&h, d->want.max_nodes);
    mix(&h, d->want.max_gpus);
    mix(&h, d->want.no_ram);
    mix_names(&h, &d->want.nodes);
    mix_names(&h, &d->want.exclude_nodes);
    mix_names(&h, &d->want.gpus);
    str_copyf(dst, 24, "p-%012llx", (unsigned long long)(h >> 16));
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

struct place_plan *place_model(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                               const struct estimate_model *m, const struct place_budget *budget,
                               struct err *err)
{
    struct scene *c = scene_new(s, spec, m, err);
    if (!c)
        return NULL;
    struct tiers_opts o = {.fastest = strcmp(spec->policy.name, "fastest") == 0,
                           .last = TIER_CPU,
                           .steps = budget && budget->steps ? budget->steps : PLACE_STEPS};
    struct place_plan *p = mem_calloc(1, sizeof *p);
    struct answer a;
    int rc = 0;
    tiers_solve(c, &o, &a, &p->steps);
    p->feasible = a.feasible;
    p->optimal = a.proved;
    p->tier = a.tier;
    if (!a.proved && a.feasible && a.ns > 0 && a.bound_ns < a.ns)
        p->gap_percent = 100.0 * (double)(a.ns - a.bound_ns) / (double)a.ns;
    if (!a.proved && a.feasible)
        note_real(notes_add(&p->warnings, NOTE_WARN_BUDGET), WORD_GAP, p->gap_percent);
    fill_seen(c, p);
    if (a.feasible)
        rc = fill(c, &a, &p->a, err);
    bool bare = budget && budget->bare;
    if (!bare)
        set_id(c, p->a.plan_id);
    if (rc == 0 && a.feasible && !bare)
        reasons_answer(c, &a, budget && budget->no_changes, p);
    else if (rc == 0 && !bare)
        reasons_refusal(c, p);
    answer_done(&a);
    scene_free(c);
    if (rc == 0)
        return p;
    place_free(p);
    return NULL;
}

struct place_plan *place_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              const struct place_budget *budget, struct err *err)
{
    struct estimate_model *m = estimate_new(d->facts, &d->opts, err);
    if (!m)
        return NULL;
    struct place_plan *p = place_model(s, d->spec, m, budget, err);
    estimate_free(m);
    if (p && !(budget && (budget->no_changes || budget->bare)))
        changes_find(s, d, p);
    return p;
}
