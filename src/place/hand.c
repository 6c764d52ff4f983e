/* A split written by hand; see hand.h. */
#include "place/hand.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/objective.h"
#include "place/place_int.h"

#include <string.h>

/* The i-th GPU asked for, as a device of the scene. */
static uint32_t device_at(const struct scene *c, uint32_t i)
{
    const char *item = c->spec->want.gpus.items[i];
    for (uint32_t d = 0; d < c->n_dev; d++) {
        const struct cluster_node *n = &c->s->nodes[c->dev[d].node];
        if (allow_gpu_is(item, n, &n->devices[c->dev[d].index]))
            return d;
    }
    return UINT32_MAX; /* allow_check has found every one */
}

int hand_check(const struct scene *c, struct err *err)
{
    const struct constraints *w = &c->spec->want;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < w->n_split; i++) {
        sum += w->split[i];
        for (uint32_t k = 0; k < i; k++)
            if (device_at(c, i) == device_at(c, k))
                return err_set(err, ERR_INVALID, "tensor_split names the GPU '%.60s' twice",
                               w->gpus.items[i]);
    }
    if (w->n_split && sum != c->m->n_layers)
        return err_set(err, ERR_INVALID,
                       "tensor_split gives %llu layers, the model has %u; they must be the same",
                       (unsigned long long)sum, c->m->n_layers);
    return 0;
}

/* Parts without a main node. */
static void fill_parts(const struct scene *c, struct answer *a)
{
    const struct constraints *w = &c->spec->want;
    *a = (struct answer){.n_gpus = w->n_split,
                         .n_parts = w->n_split,
                         .parts = mem_calloc((size_t)w->n_split + 1, sizeof *a->parts)};
    for (uint32_t i = 0; i < w->n_split; i++) {
        const struct scene_device *d = &c->dev[device_at(c, i)];
        a->parts[i] = (struct answer_part){d->node, d->index, w->split[i]};
    }
}

static void set_main(const struct scene *c, struct answer *a, uint32_t main)
{
    a->main = main;
    a->n_nodes = 1;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        bool seen = a->parts[i].node == main;
        for (uint32_t k = 0; k < i; k++)
            seen = seen || a->parts[k].node == a->parts[i].node;
        a->n_nodes += !seen;
    }
    a->tier = a->n_nodes > 1 ? TIER_NODES : a->n_gpus > 1 ? TIER_ONE_NODE : TIER_ONE_GPU;
    double s = place_seconds(c, main, a->parts, a->n_parts, 0, 0);
    a->ns = s < 1e6 ? (int64_t)(s * 1e9 + 0.5) : (int64_t)1e15;
}

/* ---- what is in the way ---- */

/* All that is wrong with it is told to p; NULL: only whether anything is. */
struct judge {
    const struct scene *c;
    struct place_plan *p;
    uint32_t wrong;
};

static struct place_finding *object(struct judge *j, enum note_code what)
{
    j->wrong++;
    return j->p ? findings_add(&j->p->refused, what) : NULL;
}

static struct place_finding *object_gpu(struct judge *j, const struct answer_part *x)
{
    char label[160];
    struct place_finding *f = object(j, NOTE_AT_GPU);
    if (!f)
        return NULL;
    place_device_label(j->c, x->node, x->index, label, sizeof label);
    note_num(note_str(&f->what, WORD_GPU, label), WORD_N_GPUS, 1);
    return f;
}

static bool is_kept(const struct scene *c, const struct answer *a, uint32_t dev)
{
    const struct scene_node *n = &c->nodes[c->dev[dev].node];
    uint32_t used = 0;
    for (uint32_t i = 0; i < a->n_parts; i++)
        used += a->parts[i].node == c->dev[dev].node;
    return (c->dev[dev].kept && a->n_parts > 1) || (n->all_or_none && used != n->n_dev);
}

static void judge_devices(struct judge *j, const struct answer *a)
{
    const struct scene *c = j->c;
    mem_auto struct estimate_bytes *b = mem_calloc((size_t)a->n_parts + 1, sizeof *b);
    struct estimate_bytes host;
    struct estimate_split s = {.n_devices = a->n_parts, .counts = c->spec->want.split};
    estimate_split_bytes(c->m, &s, b, &host);
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct answer_part *x = &a->parts[i];
        uint32_t dev = device_at(c, i);
        struct place_finding *f;
        uint64_t need = num_add_sat(num_add_sat(b[i].weights, b[i].kv), b[i].compute);
        need = num_add_sat(need, c->s->runtime_bytes + c->s->margin_bytes);
        uint64_t have = c->s->nodes[x->node].devices[x->index].free_bytes;
        if (c->dev[dev].why && (f = object_gpu(j, x)))
            reasons_left_out(c, f, x->node, c->dev[dev].why);
        if (!c->dev[dev].why && is_kept(c, a, dev) && (f = object_gpu(j, x)))
            notes_add(&f->says, NOTE_GPU_KEPT_WHOLE);
        if (need > have && (f = object_gpu(j, x))) {
            struct note *n = notes_add(&f->says, NOTE_SPLIT_SHORT);
            note_num(note_num(n, WORD_LAYERS, x->n_layers), WORD_NEED, need);
            note_num(note_num(n, WORD_FREE, have), WORD_SHORT, need - have);
        }
    }
}

static struct note *object_all(struct judge *j, enum note_code code)
{
    struct place_finding *f = object(j, NOTE_AT_ALL);
    return f ? notes_add(&f->says, code) : NULL;
}

static void judge_counts(struct judge *j, const struct answer *a)
{
    const struct constraints *w = &j->c->spec->want;
    struct note *n;
    if (a->n_parts > j->c->max_devices && (n = object_all(j, NOTE_LIMIT_SPAN)))
        note_num(n, WORD_SPAN, j->c->max_devices);
    if (w->max_gpus && a->n_parts > w->max_gpus && (n = object_all(j, NOTE_LIMIT_GPUS)))
        note_num(n, WORD_N_GPUS, w->max_gpus);
    if (w->gpus_per_replica && a->n_parts != w->gpus_per_replica &&
        (n = object_all(j, NOTE_LIMIT_EXACT_GPUS)))
        note_num(n, WORD_N_GPUS, w->gpus_per_replica);
}

static uint64_t host_need(const struct scene *c, uint32_t n)
{
    return n > 1 ? c->ram_multi : c->ram_single;
}

static bool in_limits(const struct scene *c, const struct answer *a)
{
    double s = place_seconds(c, a->main, a->parts, a->n_parts, 0, 0);
    return a->n_nodes <= c->max_nodes && s * c->spec->want.min_tok_s <= 1 + 1e-9;
}

/* The best main node: with the RAM, within the limits, by the policy, then by name. */
static bool find_main(const struct scene *c, struct answer *a, bool limits)
{
    uint32_t best = UINT32_MAX;
    struct answer had = {0};
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        if (c->nodes[i].why || c->s->nodes[i].ram_free_bytes < host_need(c, a->n_parts))
            continue;
        set_main(c, a, i);
        if (limits && !in_limits(c, a))
            continue;
        int order = best == UINT32_MAX ? -1 : goal_compare(c, a, &had);
        if (order < 0 || (order == 0 && c->nodes[i].tag < c->nodes[best].tag)) {
            best = i;
            had = *a; /* shares the parts */
        }
    }
    if (best != UINT32_MAX)
        set_main(c, a, best);
    return best != UINT32_MAX;
}

void hand_solve(const struct scene *c, struct answer *out)
{
    struct judge j = {.c = c};
    fill_parts(c, out);
    judge_devices(&j, out);
    judge_counts(&j, out);
    out->feasible = !j.wrong && find_main(c, out, true);
    if (!out->feasible)
        answer_done(out);
    out->proved = true;
    out->bound_ns = out->ns;
}

/* ---- saying so ---- */

/* The node with most RAM falls short of what the main process needs. */
static void refuse_ram(struct judge *j, uint64_t need)
{
    const struct cluster_node *best = NULL;
    for (uint32_t i = 0; i < j->c->s->n_nodes; i++) {
        const struct cluster_node *n = &j->c->s->nodes[i];
        if (!j->c->nodes[i].why && (!best || n->ram_free_bytes > best->ram_free_bytes))
            best = n;
    }
    struct place_finding *f = best ? object(j, NOTE_AT_RAM) : NULL;
    if (!f)
        return;
    note_str(&f->what, WORD_NODE, best->name);
    struct note *n = note_num(notes_add(&f->says, NOTE_SHORT), WORD_NEED, need);
    note_num(n, WORD_SHORT, need - best->ram_free_bytes);
    note_num(n, WORD_FREE, best->ram_free_bytes);
}

static void refuse_main(struct judge *j, struct answer *a)
{
    const struct scene *c = j->c;
    struct note *n;
    if (!find_main(c, a, false)) {
        refuse_ram(j, host_need(c, a->n_parts));
        return;
    }
    if (a->n_nodes > c->max_nodes && c->spec->want.no_network)
        object_all(j, NOTE_LIMIT_NO_NETWORK);
    else if (a->n_nodes > c->max_nodes && (n = object_all(j, NOTE_LIMIT_NODES)))
        note_num(n, WORD_N_NODES, c->max_nodes);
    double s = place_seconds(c, a->main, a->parts, a->n_parts, 0, 0);
    if (s * c->spec->want.min_tok_s > 1 + 1e-9 && (n = object_all(j, NOTE_LIMIT_TOK_S)))
        note_real(n, WORD_TOK_S, c->spec->want.min_tok_s);
}

void hand_refusal(const struct scene *c, struct place_plan *p)
{
    struct answer a;
    struct judge j = {.c = c, .p = p};
    fill_parts(c, &a);
    judge_devices(&j, &a);
    judge_counts(&j, &a);
    refuse_main(&j, &a);
    note_set(&p->summary, NOTE_NO_FIT_SPLIT);
    note_num(note_num(&p->summary, WORD_N_GPUS, a.n_parts), WORD_LAYERS, c->m->n_layers);
    answer_done(&a);
}
