/* Best-first search over conflicts; see pack.h. */
#include "place/pack.h"

#include "base/map.h"
#include "base/mem.h"
#include "place/hold.h"

#include <assert.h>
#include <string.h>

struct state { /* a choice for every instance */
    int64_t *low;
    uint32_t *choice;
    uint32_t clashes, seq;
};

struct use {
    uint32_t node, device, item; /* item UINT32_MAX: held before any comes */
    uint64_t bytes;
    bool ram_part; /* of RAM as a device: the margin stays free beside it */
};

struct clash { /* a place of which these want more than there is */
    uint32_t node, device;
    uint64_t over, room; /* by how much; what there is for them */
    struct use member[PACK_MAX_ITEMS];
    uint32_t n;
};

struct search {
    const struct pack *p;
    struct choices *x;
    struct map *seen;
    struct state **heap;
    uint32_t n_heap, n_states;
    size_t cap_heap;
    struct use *uses;
    size_t n_uses, cap_uses;
    int64_t *best_cost, *floor; /* of the best set; least bound of sets that were looked at */
    uint32_t *best;             /* NULL: none yet */
    bool lossy;                 /* a branch was left out that may hold sets */
};

/* ---- what is used where ---- */

static void add_use(struct search *f, struct use u)
{
    mem_grow(&f->uses, &f->cap_uses, f->n_uses + 1, sizeof *f->uses);
    f->uses[f->n_uses++] = u;
}

static void add_held(struct search *f, const struct cluster_instance *i, uint32_t item)
{
    for (uint32_t k = 0; k < i->n_parts; k++) {
        const struct cluster_instance_part *p = &i->parts[k];
        add_use(f, (struct use){p->node, p->device, item, p->bytes, p->device == CHOICE_RAM});
    }
    if (i->main_ram_bytes)
        add_use(f, (struct use){i->main, CHOICE_RAM, item, i->main_ram_bytes, false});
}

static int by_place(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int largest_first(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* The fewest of those who use one place that want too much of it; n 0: all of them fit. */
static void clash_at(struct search *f, const struct use *u, size_t n, struct clash *out)
{
    const struct cluster_node *node = &f->p->s->nodes[u->node];
    bool ram = u->device == CHOICE_RAM, part = false;
    uint64_t sum = 0, held = 0;
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        part = part || u[i].ram_part;
        if (u[i].item == UINT32_MAX) {
            held += u[i].bytes;
            continue;
        }
        sum += u[i].bytes;
        if (out->n && out->member[out->n - 1].item == u[i].item)
            out->member[out->n - 1].bytes += u[i].bytes;
        else
            out->member[out->n++] = u[i];
    }
    uint64_t have = ram ? node->ram_free_bytes : node->devices[u->device].free_bytes;
    out->room = minus(have, held + (ram && !part ? 0 : f->p->s->margin_bytes));
    out->over = minus(sum, out->room);
    out->node = u->node;
    out->device = u->device;
    if (!out->over) {
        out->n = 0;
        return;
    }
    f->lossy = f->lossy || (ram && part); /* whether the margin counts depends on who is there */
    qsort(out->member, out->n, sizeof *out->member, largest_first);
    uint32_t few = 0;
    for (sum = 0; few < out->n && sum <= out->room; few++)
        sum += out->member[few].bytes;
    out->n = few;
}

static const struct choice *at(const struct search *f, const struct state *s, uint32_t item)
{
    return choices_at(f->x, s->choice[item]);
}

/* Counts the places that instances 0..last overfill when the last one comes; *worst is one of them,
 * that which lacks most. */
static uint32_t clashes_at(struct search *f, const struct state *s, uint32_t last,
                           struct clash *worst)
{
    const struct choice_for *who = &f->p->items[last];
    uint32_t count = 0;
    f->n_uses = 0;
    for (uint32_t i = 0; i <= last; i++)
        if (at(f, s, i)->plan->feasible)
            add_held(f, &at(f, s, i)->held, i);
    for (uint32_t i = 0; i < who->n_before; i++)
        add_held(f, who->before[i], UINT32_MAX);
    if (f->n_uses)
        qsort(f->uses, f->n_uses, sizeof *f->uses, by_place);
    for (size_t from = 0, to; from < f->n_uses; from = to) {
        struct clash c;
        const struct use *u = &f->uses[from];
        for (to = from + 1;
             to < f->n_uses && u->node == f->uses[to].node && u->device == f->uses[to].device;)
            to++;
        clash_at(f, u, to - from, &c);
        if (!c.n)
            continue;
        count++;
        if (worst && (!worst->n || c.over > worst->over))
            *worst = c;
    }
    return count;
}

/* ---- neighbours that must not be ---- */

static bool on_node(const struct cluster_instance *i, uint32_t node)
{
    bool on = i->main == node;
    for (uint32_t k = 0; k < i->n_parts; k++)
        on = on || i->parts[k].node == node;
    return on;
}

/* A node that both use; UINT32_MAX: none. */
static uint32_t common(const struct cluster_instance *a, const struct cluster_instance *b)
{
    if (on_node(b, a->main))
        return a->main;
    for (uint32_t k = 0; k < a->n_parts; k++)
        if (on_node(b, a->parts[k].node))
            return a->parts[k].node;
    return UINT32_MAX;
}

static bool averse(const struct deployment_spec *a, const struct deployment_spec *b)
{
    return b->name[0] && name_list_has(&a->want.anti_affinity, b->name);
}

static uint32_t neighbours(struct search *f, const struct state *s, struct clash *worst)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->p->n; i++)
        for (uint32_t k = 0; k < i; k++) {
            const struct choice *a = at(f, s, i), *b = at(f, s, k);
            if (!averse(a->who->spec, b->who->spec) && !averse(b->who->spec, a->who->spec))
                continue;
            if (!a->plan->feasible || !b->plan->feasible ||
                common(&a->held, &b->held) == UINT32_MAX)
                continue;
            count++;
            if (worst && !worst->n)
                *worst = (struct clash){.node = common(&a->held, &b->held),
                                        .device = CHOICE_NODE,
                                        .member = {{.item = i}, {.item = k}},
                                        .n = 2};
        }
    return count;
}

static uint32_t find_clash(struct search *f, const struct state *s, struct clash *worst)
{
    uint32_t count = 0, last = f->p->n - 1;
    if (worst)
        worst->n = 0;
    for (uint32_t i = 0; i < last; i++)
        if (f->p->items[i].n_before)
            count += clashes_at(f, s, i, worst);
    count += clashes_at(f, s, last, worst);
    return count + neighbours(f, s, worst);
}

/* ---- states ---- */

static struct state *state_new(const struct search *f, const struct state *from)
{
    uint32_t n = f->p->n, len = f->p->form->len;
    struct state *s = mem_calloc(1, sizeof *s + len * sizeof *s->low + n * sizeof *s->choice);
    s->low = (int64_t *)(s + 1);
    s->choice = (uint32_t *)(s->low + len);
    if (from)
        memcpy(s->choice, from->choice, n * sizeof *s->choice);
    return s;
}

static bool sooner(const struct search *f, const struct state *a, const struct state *b)
{
    int c = f->p->all ? 0 : cost_compare(f->p->form, a->low, b->low);
    if (c)
        return c < 0;
    if (a->clashes != b->clashes)
        return a->clashes < b->clashes;
    return a->seq > b->seq;
}

static void heap_push(struct search *f, struct state *s)
{
    mem_grow(&f->heap, &f->cap_heap, (size_t)f->n_heap + 1, sizeof(struct state *));
    uint32_t i = f->n_heap++;
    for (; i > 0 && sooner(f, s, f->heap[(i - 1) / 2]); i = (i - 1) / 2)
        f->heap[i] = f->heap[(i - 1) / 2];
    f->heap[i] = s;
}

static struct state *heap_pop(struct search *f)
{
    struct state *top = f->heap[0], *last = f->heap[--f->n_heap];
    uint32_t i = 0, k;
    for (; (k = 2 * i + 1) < f->n_heap; i = k) {
        if (k + 1 < f->n_heap && sooner(f, f->heap[k + 1], f->heap[k]))
            k++;
        if (!sooner(f, f->heap[k], last))
            break;
        f->heap[i] = f->heap[k];
    }
    f->heap[i] = last;
    return top;
}

static bool alike(const struct choice_for *a, const struct choice_for *b)
{
    return a->wish == b->wish && a->n_before == b->n_before && a->before == b->before;
}

/* Alike instances can change places: one order of their choices stands for all. */
static void sort_alike(const struct search *f, struct state *s)
{
    const struct choice_for *item = f->p->items;
    for (uint32_t i = 1; i < f->p->n; i++)
        for (uint32_t k = i;
             k > 0 && alike(&item[k - 1], &item[k]) && s->choice[k - 1] > s->choice[k]; k--) {
            uint32_t swap = s->choice[k];
            s->choice[k] = s->choice[k - 1];
            s->choice[k - 1] = swap;
        }
}

static bool worth(const struct search *f, const int64_t *low)
{
    const int64_t *than = f->best ? f->best_cost : f->p->beat;
    return !than || cost_compare(f->p->form, low, than) < 0;
}

/* Takes s: into the heap, or freed when it is known, cannot be better, or leaves one out. */
static void offer(struct search *f, struct state *s)
{
    uint32_t n = f->p->n;
    bool drop = false;
    sort_alike(f, s);
    for (uint32_t i = 0; i < n; i++) {
        const struct choice *c = at(f, s, i);
        for (uint32_t k = 0; k < f->p->form->len; k++)
            s->low[k] += c->low[k];
        if (f->p->all && !c->plan->feasible) {
            f->lossy = f->lossy || !c->plan->optimal;
            drop = true;
        }
    }
    size_t len = n * sizeof *s->choice;
    if (drop || !worth(f, s->low) || map_get_n(f->seen, (const char *)s->choice, len)) {
        free(s);
        return;
    }
    map_set_n(f->seen, (const char *)s->choice, len, s); /* only that it is there counts */
    s->clashes = find_clash(f, s, NULL);
    s->seq = f->n_states++;
    heap_push(f, s);
}

/* ---- branches ---- */

/* Limits of the members of a clash, each below what it uses, such that whoever exceeds all of them
 * exceeds the place: their sum is at least room - (n - 1). An instance on one device is there whole
 * or not at all, so it gives way by a byte; those of several share what is left. */
static void limits_of(const struct search *f, const struct state *s, const struct clash *c,
                      uint64_t *limit)
{
    uint64_t taken = c->n - 1, several = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        bool one = c->device == CHOICE_RAM || at(f, s, c->member[i].item)->held.n_parts == 1;
        limit[i] = one ? c->member[i].bytes - 1 : UINT64_MAX;
        taken += one ? limit[i] : 0;
        several += one ? 0 : c->member[i].bytes;
    }
    uint64_t rest = minus(c->room, taken), left = rest;
    for (uint32_t i = 0; i < c->n; i++)
        if (limit[i] == UINT64_MAX) {
            limit[i] = (uint64_t)((unsigned __int128)rest * c->member[i].bytes / several);
            left -= limit[i];
        }
    for (uint32_t i = 0; i < c->n && left; i++) {
        uint64_t more = c->member[i].bytes - 1 - limit[i];
        more = more < left ? more : left;
        limit[i] += more;
        left -= more;
    }
}

static int expand(struct search *f, const struct state *s, const struct clash *c, struct err *err)
{
    uint64_t limit[PACK_MAX_ITEMS] = {0};
    if (c->device != CHOICE_NODE)
        limits_of(f, s, c, limit);
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t item = c->member[i].item;
        const struct choice *was = at(f, s, item);
        bool again = false; /* one of several that are the same stands for them */
        for (uint32_t k = 0; k < i; k++)
            again = again || (alike(&f->p->items[c->member[k].item], &f->p->items[item]) &&
                              s->choice[c->member[k].item] == s->choice[item]);
        if (again)
            continue;
        if (was->n_limits == CHOICE_MAX_LIMITS) {
            f->lossy = true;
            continue;
        }
        struct limit l = {c->node, c->device, limit[i]};
        uint32_t choice = choices_get(f->x, &f->p->items[item], was, &l, err);
        if (choice == UINT32_MAX)
            return -1;
        struct state *next = state_new(f, s);
        next->choice[item] = choice;
        offer(f, next);
    }
    return 0;
}

/* ---- the search ---- */

static void lower_floor(struct search *f, const int64_t *low)
{
    size_t len = f->p->form->len * sizeof *low;
    if (!f->floor)
        f->floor = mem_calloc(1, len);
    else if (cost_compare(f->p->form, low, f->floor) >= 0)
        return;
    memcpy(f->floor, low, len);
}

/* A set without conflicts: the best so far? */
static void keep(struct search *f, const struct state *s)
{
    uint32_t len = f->p->form->len;
    mem_auto int64_t *cost = mem_calloc(len, sizeof *cost);
    for (uint32_t i = 0; i < f->p->n; i++)
        for (uint32_t k = 0; k < len; k++)
            cost[k] += at(f, s, i)->cost[k];
    lower_floor(f, s->low);
    if (!worth(f, cost))
        return;
    if (!f->best) {
        f->best = mem_calloc(f->p->n, sizeof *f->best);
        f->best_cost = mem_calloc(len, sizeof *f->best_cost);
    }
    memcpy(f->best, s->choice, f->p->n * sizeof *f->best);
    memcpy(f->best_cost, cost, len * sizeof *cost);
}

static uint64_t steps(const struct search *f)
{
    return choices_steps(f->x) + (uint64_t)f->n_states * f->p->n;
}

/* Returns whether the search came to its end. */
static int run(struct search *f, bool *ended, struct err *err)
{
    *ended = true;
    while (f->n_heap) {
        if (!f->p->all && !worth(f, f->heap[0]->low))
            return 0;
        if (f->p->all && f->best)
            return 0;
        if (steps(f) >= f->p->steps || f->n_states >= PACK_MAX_NODES) {
            *ended = false;
            return 0;
        }
        struct clash c;
        struct state *s = heap_pop(f);
        int rc = 0;
        if (find_clash(f, s, &c))
            rc = expand(f, s, &c, err);
        else
            keep(f, s);
        free(s);
        if (rc)
            return -1;
    }
    return 0;
}

static struct place_plan *copy_bare(const struct place_plan *from)
{
    struct place_plan *p = mem_calloc(1, sizeof *p);
    p->feasible = from->feasible;
    p->optimal = from->optimal;
    p->gap_percent = from->gap_percent;
    p->tier = from->tier;
    memcpy(p->terms, from->terms, sizeof p->terms);
    p->n_terms = from->n_terms;
    p->weighted = from->weighted;
    p->sum = from->sum;
    p->bound_sum = from->bound_sum;
    p->a = from->a;
    p->a.parts = mem_calloc((size_t)from->a.n_parts + 1, sizeof *p->a.parts);
    if (from->a.n_parts)
        memcpy(p->a.parts, from->a.parts, from->a.n_parts * sizeof *p->a.parts);
    return p;
}

static void answer(struct search *f, bool ended, struct pack_answer *out)
{
    const struct cost_form *form = f->p->form;
    uint32_t len = form->len;
    out->low = mem_calloc(len, sizeof *out->low);
    /* The least of what is open, of what was looked at, and of the set to beat. */
    const int64_t *than = f->best ? f->best_cost : f->p->beat;
    if (than)
        lower_floor(f, than);
    for (uint32_t i = 0; i < f->n_heap; i++)
        lower_floor(f, f->heap[i]->low);
    if (f->floor && !f->lossy)
        memcpy(out->low, f->floor, len * sizeof *out->low);
    bool least = than && cost_compare(form, out->low, than) == 0;
    out->proved = ended && !f->lossy && (f->p->all || !than || least);
    out->n_sets = f->n_states;
    out->steps = steps(f);
    if (!f->best)
        return;
    out->plans = mem_calloc(f->p->n, sizeof(struct place_plan *));
    for (uint32_t i = 0; i < f->p->n; i++)
        out->plans[i] = copy_bare(choices_at(f->x, f->best[i])->plan);
}

void pack_done(struct pack_answer *a, uint32_t n_items)
{
    for (uint32_t i = 0; a->plans && i < n_items; i++)
        place_free(a->plans[i]);
    free(a->plans);
    free(a->low);
    *a = (struct pack_answer){0};
}

int pack_solve(const struct pack *p, struct pack_answer *out, struct err *err)
{
    struct search f = {.p = p, .x = choices_new(p->s, p->form), .seen = map_new(0)};
    int rc = 0;
    bool ended = true;
    *out = (struct pack_answer){0};
    assert(p->n > 0 && p->n <= PACK_MAX_ITEMS);
    struct state *root = state_new(&f, NULL);
    for (uint32_t i = 0; i < p->n && !rc; i++) {
        root->choice[i] = choices_get(f.x, &p->items[i], NULL, NULL, err);
        rc = root->choice[i] == UINT32_MAX ? -1 : 0;
    }
    if (rc)
        free(root);
    else
        offer(&f, root);
    if (rc == 0)
        rc = run(&f, &ended, err);
    if (rc == 0)
        answer(&f, ended, out);
    for (uint32_t i = 0; i < f.n_heap; i++)
        free(f.heap[i]);
    free(f.heap);
    free(f.uses);
    free(f.best);
    free(f.best_cost);
    free(f.floor);
    map_free(f.seen);
    choices_free(f.x);
    return rc;
}
