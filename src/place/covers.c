/* Covers of nodes; see covers.h. */
#include "place/covers.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/replicas.h"

#include <string.h>

enum { CHOICES = 100000 }; /* of covers that are looked at */

struct kind { /* nodes that are alike */
    uint32_t *node, n;
    uint64_t cap[CAP_COUNT];
};

struct found { /* a cover by class */
    uint32_t of[COVER_CLASSES], n;
    uint64_t layers; /* that the nodes hold */
    int64_t *cost;
};

struct finder {
    struct job *j;
    struct cluster_snapshot now;
    uint32_t *order; /* nodes, alike ones together */
    struct kind kind[COVER_CLASSES];
    uint32_t n_kinds;
    uint64_t want[CAP_COUNT];
    struct found *found;
    size_t n_found, cap_found;
    uint32_t tries;
    /* The choice of covers. */
    uint32_t left[COVER_CLASSES], *pick, n_pick, *best, n_best, looked;
};

/* ---- classes ---- */

static int by_device(const void *a, const void *b)
{
    const struct cluster_device *x = a, *y = b;
    if (x->free_bytes != y->free_bytes)
        return x->free_bytes < y->free_bytes ? -1 : 1;
    if (x->bandwidth_bytes_per_s != y->bandwidth_bytes_per_s)
        return x->bandwidth_bytes_per_s < y->bandwidth_bytes_per_s ? -1 : 1;
    return (int)x->hbm - (int)y->hbm;
}

/* Devices as sorted; RAM only by whether there is plenty. */
static int by_kind(const void *a, const void *b, void *arg)
{
    const struct cluster_snapshot *s = arg;
    const struct cluster_node *x = &s->nodes[*(const uint32_t *)a];
    const struct cluster_node *y = &s->nodes[*(const uint32_t *)b];
    if (x->state != y->state || x->n_devices != y->n_devices)
        return x->state != y->state ? (int)x->state - (int)y->state
                                    : (int)x->n_devices - (int)y->n_devices;
    for (uint32_t i = 0; i < x->n_devices; i++) {
        int c = by_device(&x->devices[i], &y->devices[i]);
        if (c)
            return c;
    }
    return (x->ram_free_bytes > y->ram_free_bytes) - (x->ram_free_bytes < y->ram_free_bytes);
}

/* False when there are too many classes. */
static bool find_kinds(struct finder *f, uint64_t (*node)[CAP_COUNT])
{
    struct cluster_snapshot sorted;
    uint32_t n = f->j->s->n_nodes;
    bool fits = true;
    snapshot_copy(&sorted, f->j->s);
    f->order = mem_calloc((size_t)n + 1, sizeof *f->order);
    for (uint32_t i = 0; i < n; i++) {
        struct cluster_node *v = &sorted.nodes[i];
        f->order[i] = i;
        if (v->n_devices)
            qsort(v->devices, v->n_devices, sizeof *v->devices, by_device);
    }
    qsort_r(f->order, n, sizeof *f->order, by_kind, &sorted);
    for (uint32_t i = 0; i < n && fits; i++) {
        uint32_t v = f->order[i];
        if (sorted.nodes[v].state != NODE_READY || !node[v][CAP_BYTES])
            continue;
        bool same = f->n_kinds && by_kind(&f->kind[f->n_kinds - 1].node[0], &v, &sorted) == 0;
        fits = same || f->n_kinds < COVER_CLASSES;
        if (!same && fits) {
            struct kind *k = &f->kind[f->n_kinds++];
            k->node = &f->order[i];
            memcpy(k->cap, node[v], sizeof k->cap);
        }
        f->kind[f->n_kinds - 1].n += fits;
    }
    snapshot_done(&sorted);
    return fits;
}

/* ---- covers ---- */

static bool holds(const struct finder *f, const uint32_t *of, uint64_t times)
{
    for (uint32_t b = 0; b < CAP_COUNT; b++) {
        uint64_t sum = 0;
        for (uint32_t k = 0; k < f->n_kinds; k++)
            sum = num_add_sat(sum, num_mul_sat(f->kind[k].cap[b], of[k]));
        if (sum / times < f->want[b])
            return false;
    }
    return true;
}

static bool has_part(const struct finder *f, const uint32_t *of)
{
    for (size_t i = 0; i < f->n_found; i++) {
        bool part = true;
        for (uint32_t k = 0; k < f->n_kinds && part; k++)
            part = f->found[i].of[k] <= of[k];
        if (part)
            return true;
    }
    return false;
}

struct place_plan *cover_plan(struct job *j, struct cluster_snapshot *now, const struct cover *c,
                              struct err *err)
{
    struct place_budget b = {.bare = true};
    mem_auto enum node_state *was = mem_calloc((size_t)now->n_nodes + 1, sizeof *was);
    for (uint32_t i = 0; i < now->n_nodes; i++) {
        bool in = false;
        for (uint32_t k = 0; k < c->n; k++)
            in = in || c->node[k] == i;
        was[i] = now->nodes[i].state;
        now->nodes[i].state = in ? was[i] : NODE_DRAINED;
    }
    struct place_plan *p = job_solve(j, now, 0, &b, err);
    for (uint32_t i = 0; i < now->n_nodes; i++)
        now->nodes[i].state = was[i];
    return p;
}

static int try_cover(struct finder *f, const uint32_t *of, struct err *err)
{
    struct cover c = {0};
    for (uint32_t k = 0; k < f->n_kinds; k++)
        for (uint32_t i = 0; i < of[k]; i++)
            c.node[c.n++] = f->kind[k].node[i];
    f->tries++;
    struct place_plan *p = cover_plan(f->j, &f->now, &c, err);
    if (!p)
        return -1;
    if (p->feasible) {
        mem_grow(&f->found, &f->cap_found, f->n_found + 1, sizeof *f->found);
        struct found *x = &f->found[f->n_found++];
        memcpy(x->of, of, sizeof x->of);
        x->n = c.n;
        x->layers = 0;
        for (uint32_t k = 0; k < f->n_kinds; k++)
            x->layers += of[k] * f->kind[k].cap[CAP_LAYERS];
        x->cost = mem_calloc(f->j->form.len, sizeof *x->cost);
        cost_add(&f->j->form, 0, p, x->cost);
    }
    place_free(p);
    return 0;
}

/* All choices of so many nodes from class `from` on, added to `of`. */
static int extend(struct finder *f, uint32_t *of, uint32_t from, uint32_t nodes, struct err *err)
{
    if (f->tries >= COVER_TRIES || f->j->steps >= f->j->budget)
        return 0;
    if (nodes == 0)
        return holds(f, of, 1) && !has_part(f, of) ? try_cover(f, of, err) : 0;
    for (uint32_t k = from; k < f->n_kinds; k++) {
        if (of[k] == f->kind[k].n)
            continue;
        of[k]++;
        int rc = extend(f, of, k, nodes - 1, err);
        of[k]--;
        if (rc)
            return -1;
    }
    return 0;
}

/* What is left over of the nodes' layers; then nodes, then cost. */
static int tighter(const void *a, const void *b, void *form)
{
    const struct found *x = a, *y = b;
    if (x->layers != y->layers)
        return x->layers < y->layers ? -1 : 1;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    int c = cost_compare(form, x->cost, y->cost);
    return c ? c : memcmp(x->of, y->of, sizeof x->of);
}

/* ---- the choice ---- */

/* How often each cover from i on: as often as possible first. More than the best can only come of
 * what is left if that holds so many models. */
static void choose(struct finder *f, size_t i)
{
    if (f->n_pick > f->n_best) {
        memcpy(f->best, f->pick, f->n_pick * sizeof *f->best);
        f->n_best = f->n_pick;
    }
    uint32_t more = f->n_best + 1 - f->n_pick, most = f->j->n - f->n_pick, n = f->n_pick;
    if (i == f->n_found || f->n_best >= f->j->n || f->looked++ >= CHOICES ||
        !holds(f, f->left, more))
        return;
    const struct found *x = &f->found[i];
    for (uint32_t k = 0; k < f->n_kinds; k++)
        if (x->of[k] && f->left[k] / x->of[k] < most)
            most = f->left[k] / x->of[k];
    for (uint32_t times = most + 1; times-- > 0;) {
        for (uint32_t k = 0; k < f->n_kinds; k++)
            f->left[k] -= times * x->of[k];
        for (uint32_t t = 0; t < times; t++)
            f->pick[f->n_pick++] = (uint32_t)i;
        choose(f, i + 1);
        f->n_pick = n;
        for (uint32_t k = 0; k < f->n_kinds; k++)
            f->left[k] += times * x->of[k];
    }
}

/* The chosen covers with nodes of their own. */
static struct cover *settle(struct finder *f)
{
    uint32_t used[COVER_CLASSES] = {0};
    struct cover *out = mem_calloc((size_t)f->n_best + 1, sizeof *out);
    for (uint32_t i = 0; i < f->n_best; i++)
        for (uint32_t k = 0; k < f->n_kinds; k++)
            for (uint32_t x = 0; x < f->found[f->best[i]].of[k]; x++)
                out[i].node[out[i].n++] = f->kind[k].node[used[k]++];
    return out;
}

static int find(struct finder *f, struct cover **out, uint32_t *n, struct err *err)
{
    struct job *j = f->j;
    const struct place_wish *w = &j->wishes[0];
    uint32_t of[COVER_CLASSES] = {0};
    mem_auto uint64_t(*node)[CAP_COUNT] = mem_calloc((size_t)j->s->n_nodes + 1, sizeof *node);
    if (replicas_caps(j->s, w->d.spec, w->m, f->want, node, err))
        return -1;
    if (!find_kinds(f, node))
        return 0;
    for (uint32_t k = 1; k <= COVER_NODES; k++)
        if (extend(f, of, 0, k, err))
            return -1;
    if (!f->n_found)
        return 0;
    qsort_r(f->found, f->n_found, sizeof *f->found, tighter, &j->form);
    f->pick = mem_calloc((size_t)j->s->n_nodes + 1, sizeof *f->pick);
    f->best = mem_calloc((size_t)j->s->n_nodes + 1, sizeof *f->best);
    for (uint32_t k = 0; k < f->n_kinds; k++)
        f->left[k] = f->kind[k].n;
    choose(f, 0);
    *n = f->n_best;
    *out = settle(f);
    return 0;
}

int covers_find(struct job *j, struct cover **out, uint32_t *n, struct err *err)
{
    struct finder f = {.j = j};
    *out = NULL;
    *n = 0;
    snapshot_copy(&f.now, j->s);
    int rc = find(&f, out, n, err);
    for (size_t i = 0; i < f.n_found; i++)
        free(f.found[i].cost);
    free(f.found);
    free(f.order);
    free(f.pick);
    free(f.best);
    snapshot_done(&f.now);
    return rc;
}
