/* Moves that make room; see defrag.h. */
#include "place/defrag.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "place/hold.h"
#include "place/pack.h"
#include "place/place_int.h"
#include "place/stages.h"

#include <assert.h>
#include <string.h>

struct set { /* of movable instances, by place in job.movable, ascending */
    uint32_t n, item[DEFRAG_MOVES];
    uint64_t bytes;
};

struct job {
    const struct cluster_snapshot *s;
    const struct place_wish *own, *pending;
    uint32_t *movable; /* indexes of instances, fewest bytes first */
    uint64_t *bytes;   /* to load, by instance */
    uint32_t n_movable;
    struct cluster_snapshot freed; /* scratch: the snapshot without some instances */
    struct map *room;              /* sets without which the pending model fits, or not */
    uint64_t budget, steps;
    uint32_t n_sets;
    bool changes;
};

void place_defrag_free(struct place_defrag *d)
{
    if (!d)
        return;
    for (uint32_t i = 0; i < d->n_moves; i++)
        place_free(d->moves[i].plan);
    place_free(d->pending);
    notes_done(&d->proof);
    free(d);
}

/* ---- what can be moved ---- */

static bool node_lost(const struct cluster_snapshot *s, const struct cluster_instance *i)
{
    bool lost = s->nodes[i->main].state == NODE_LOST;
    for (uint32_t k = 0; k < i->n_parts; k++)
        lost = lost || s->nodes[i->parts[k].node].state == NODE_LOST;
    return lost;
}

/* Weights on one device and beside it, as estimate/ has them. */
static uint64_t load_bytes(const struct estimate_model *m)
{
    struct estimate_bytes dev, host;
    struct estimate_split s = {.n_devices = 1, .counts = &m->n_layers};
    estimate_split_bytes(m, &s, &dev, &host);
    return num_add_sat(dev.weights, host.weights);
}

static int by_bytes(const void *a, const void *b, void *arg)
{
    const struct job *j = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (j->bytes[x] != j->bytes[y])
        return j->bytes[x] < j->bytes[y] ? -1 : 1;
    return (x > y) - (x < y);
}

static void job_init(struct job *j, const struct cluster_snapshot *s, const struct place_wish *own,
                     const struct place_wish *pending, const struct place_budget *b)
{
    *j = (struct job){.s = s, .own = own, .pending = pending, .room = map_new(0)};
    j->budget = b && b->steps ? b->steps : PLACE_STEPS;
    j->changes = !(b && b->no_changes);
    j->movable = mem_calloc((size_t)s->n_instances + 1, sizeof *j->movable);
    j->bytes = mem_calloc((size_t)s->n_instances + 1, sizeof *j->bytes);
    for (uint32_t i = 0; i < s->n_instances; i++) {
        if (!own[i].m || s->instances[i].pinned || node_lost(s, &s->instances[i]))
            continue;
        j->movable[j->n_movable++] = i;
        j->bytes[i] = load_bytes(own[i].m);
    }
    qsort_r(j->movable, j->n_movable, sizeof *j->movable, by_bytes, j);
    snapshot_copy(&j->freed, s);
    for (uint32_t i = 0; i < s->n_instances; i++) { /* the list is filled anew for every set */
        hold_done(&j->freed.instances[i]);
        json_decref(j->freed.instances[i].spec);
    }
}

static void job_done(struct job *j)
{
    free(j->movable);
    free(j->bytes);
    map_free(j->room);
    j->freed.n_instances = 0; /* borrowed */
    snapshot_done(&j->freed);
}

static uint32_t instance(const struct job *j, const struct set *t, uint32_t i)
{
    return j->movable[t->item[i]];
}

/* ---- without a set, would the pending model fit? ---- */

enum room { ROOM_YES = 1, ROOM_NO, ROOM_UNKNOWN };

static struct place_plan *solve(struct job *j, const struct cluster_snapshot *s,
                                const struct place_wish *w, const struct place_budget *b,
                                struct err *err)
{
    bool whole = w->d.facts && (w->d.spec->want.min_ctx || !(b->bare || b->no_changes));
    struct place_plan *p =
        whole ? place_plan(s, &w->d, b, err) : place_model(s, w->d.spec, w->m, b, err);
    if (p)
        j->steps += p->steps + s->n_nodes;
    return p;
}

static const char *key_of(const struct set *t)
{
    return (const char *)t->item;
}

static enum room known_room(const struct job *j, const struct set *t)
{
    return (enum room)(uintptr_t)map_get_n(j->room, key_of(t), t->n * sizeof *t->item);
}

static struct set without(const struct set *t, uint32_t leave)
{
    struct set out = {0};
    for (uint32_t i = 0; i < t->n; i++)
        if (i != leave)
            out.item[out.n++] = t->item[i];
    return out;
}

/* Gives back what a set holds, and takes its instances off the list: the unmoved remain. */
static void free_set(struct job *j, const struct set *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        hold_give(&j->freed, &j->s->instances[instance(j, t, i)]);
    uint32_t n = 0;
    for (uint32_t i = 0; i < j->s->n_instances; i++) {
        bool in = false;
        for (uint32_t k = 0; k < t->n; k++)
            in = in || instance(j, t, k) == i;
        if (!in)
            j->freed.instances[n++] = j->s->instances[i];
    }
    j->freed.n_instances = n;
}

static void take_set(struct job *j, const struct set *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        int rc = hold_take(&j->freed, &j->s->instances[instance(j, t, i)], NULL);
        assert(rc == 0);
    }
}

static bool touches(const struct cluster_instance *i, uint32_t node)
{
    bool on = i->main == node;
    for (uint32_t k = 0; k < i->n_parts; k++)
        on = on || i->parts[k].node == node;
    return on;
}

static bool share_node(const struct cluster_instance *a, const struct cluster_instance *b)
{
    bool on = touches(b, a->main);
    for (uint32_t k = 0; k < a->n_parts; k++)
        on = on || touches(b, a->parts[k].node);
    return on;
}

/* Moves the instances of the set that share nodes with the first one, by way of others, to *part.
 */
static void split(const struct job *j, struct set *t, struct set *part)
{
    struct set rest = {0};
    *part = (struct set){.n = 1, .item = {t->item[0]}};
    uint32_t mask = 1; /* of those that are in */
    for (uint32_t round = 1; round < t->n; round++)
        for (uint32_t i = 1; i < t->n; i++)
            for (uint32_t k = 0; k < t->n && !(mask >> i & 1); k++)
                if ((mask >> k & 1) && share_node(&j->s->instances[instance(j, t, i)],
                                                  &j->s->instances[instance(j, t, k)]))
                    mask |= 1u << i;
    for (uint32_t i = 1; i < t->n; i++) {
        struct set *to = mask >> i & 1 ? part : &rest;
        to->item[to->n++] = t->item[i];
    }
    *t = rest;
}

static int room_of(struct job *j, const struct set *t, enum room *out, struct err *err);

/* A model of one node has room where one node has: instances that share none do not add up. */
static int room_of_parts(struct job *j, const struct set *t, enum room *out, struct err *err)
{
    struct set rest = *t, part;
    enum room all = ROOM_NO, one;
    while (rest.n) {
        split(j, &rest, &part);
        if (part.n == t->n)
            return 0; /* no parts */
        if (room_of(j, &part, &one, err))
            return -1;
        all = one == ROOM_YES || all == ROOM_YES ? ROOM_YES
              : one == ROOM_UNKNOWN              ? ROOM_UNKNOWN
                                                 : all;
    }
    *out = all;
    return 0;
}

static int ask_room(struct job *j, const struct set *t, enum room *out, struct err *err)
{
    struct place_budget b = {.bare = true};
    free_set(j, t);
    struct place_plan *p = solve(j, &j->freed, j->pending, &b, err);
    take_set(j, t);
    if (!p)
        return -1;
    *out = p->feasible ? ROOM_YES : p->optimal ? ROOM_NO : ROOM_UNKNOWN;
    place_free(p);
    return 0;
}

/* More room never hurts: a set with a part that does is one. */
static int room_of(struct job *j, const struct set *t, enum room *out, struct err *err)
{
    const struct constraints *w = &j->pending->d.spec->want;
    *out = known_room(j, t);
    for (uint32_t i = 0; i < t->n && t->n > 1 && !*out; i++) {
        struct set part = without(t, i);
        if (known_room(j, &part) == ROOM_YES)
            *out = ROOM_YES;
    }
    if (!*out && t->n > 1 && (w->no_network || w->max_nodes == 1) && room_of_parts(j, t, out, err))
        return -1;
    if (!*out && ask_room(j, t, out, err))
        return -1;
    map_set_n(j->room, key_of(t), t->n * sizeof *t->item, (void *)(uintptr_t)*out);
    return 0;
}

/* ---- a set: orders and down times ---- */

/* Tries the orders of a set with this many stops before loads. */
static int try_downs(struct job *j, struct stages *g, uint32_t downs, bool *unsure, bool *found,
                     struct err *err)
{
    uint32_t n = g->n - 1;
    for (uint32_t perm = 0; perm < stages_orders(n) && !*found; perm++)
        for (uint32_t mask = 0; mask < 1u << n && !*found; mask++) {
            if ((uint32_t)__builtin_popcount(mask) != downs)
                continue;
            stages_order(g, perm, mask);
            uint64_t left = j->budget > j->steps ? j->budget - j->steps : 0;
            bool proved;
            if (stages_solve(g, left, &proved, err))
                return -1;
            j->steps += g->steps;
            *found = g->plans[0] != NULL;
            *unsure = *unsure || (!*found && !proved);
        }
    return 0;
}

/* Whether the set can be moved so that the pending model fits; then *g holds how, with the fewest
 * down times. */
static int try_set(struct job *j, const struct set *t, struct stages *g, bool *unsure, bool *found,
                   struct err *err)
{
    bool proved = false;
    uint32_t at[DEFRAG_MOVES];
    for (uint32_t i = 0; i < t->n; i++)
        at[i] = instance(j, t, i);
    free_set(j, t);
    stages_init(g, j->s, &j->freed, j->own, at, t->n, j->pending);
    /* First all at once, whatever the order: most sets end here. */
    stages_together(g);
    int rc = stages_solve(g, j->budget > j->steps ? j->budget - j->steps : 0, &proved, err);
    j->steps += g->steps;
    bool fits = g->plans[0] != NULL;
    *found = false;
    *unsure = !fits && !proved;
    for (uint32_t downs = 0; downs <= t->n && fits && !rc && !*found; downs++)
        rc = try_downs(j, g, downs, unsure, found, err);
    take_set(j, t);
    if (rc || !*found)
        stages_done(g);
    return rc;
}

/* ---- sets in order of bytes ---- */

static int cheaper(const void *a, const void *b)
{
    const struct set *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return memcmp(x->item, y->item, sizeof x->item);
}

static uint64_t choose(uint64_t n, uint32_t k)
{
    uint64_t c = 1;
    for (uint32_t i = 0; i < k; i++)
        c = n < k ? 0 : c * (n - i) / (i + 1);
    return c;
}

/* All sets of so many instances; *cut: not of all of them. */
static struct set *sets_of(const struct job *j, uint32_t size, uint32_t *count, bool *cut)
{
    uint32_t n = j->n_movable;
    while (choose(n, size) > DEFRAG_MAX_SETS)
        n--;
    *cut = n < j->n_movable;
    struct set *sets = mem_calloc(choose(n, size) + 1, sizeof *sets), now = {.n = size};
    *count = 0;
    for (uint32_t i = 0; i < size; i++)
        now.item[i] = i;
    while (size <= n) {
        now.bytes = 0;
        for (uint32_t i = 0; i < size; i++)
            now.bytes = num_add_sat(now.bytes, j->bytes[instance(j, &now, i)]);
        sets[(*count)++] = now;
        uint32_t at = size;
        while (at > 0 && now.item[at - 1] == n - size + at - 1)
            at--;
        if (at == 0)
            break;
        now.item[at - 1]++;
        for (uint32_t i = at; i < size; i++)
            now.item[i] = now.item[i - 1] + 1;
    }
    qsort(sets, *count, sizeof *sets, cheaper);
    return sets;
}

static uint32_t downs_of(const struct stages *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i + 1 < g->n; i++)
        n += g->down[i];
    return n;
}

/* The best plan of so many moves. */
static int try_size(struct job *j, uint32_t size, struct stages *best, bool *sure, bool *found,
                    struct err *err)
{
    uint32_t n, fewest = UINT32_MAX;
    uint64_t bytes = UINT64_MAX;
    bool cut;
    struct set *sets = sets_of(j, size, &n, &cut);
    int rc = 0;
    *sure = !cut;
    for (uint32_t i = 0; i < n && !rc; i++) {
        enum room room;
        if (sets[i].bytes > bytes || fewest == 0)
            break;
        if (j->steps >= j->budget) {
            *sure = false;
            break;
        }
        j->n_sets++;
        rc = room_of(j, &sets[i], &room, err);
        *sure = *sure && (rc || room != ROOM_UNKNOWN);
        if (rc || room != ROOM_YES)
            continue;
        struct stages g;
        bool unsure = false, yes = false;
        rc = try_set(j, &sets[i], &g, &unsure, &yes, err);
        *sure = *sure && !unsure;
        if (rc || !yes)
            continue;
        if (downs_of(&g) < fewest) {
            stages_done(best);
            *best = g;
            fewest = downs_of(&g);
            bytes = sets[i].bytes;
        } else {
            stages_done(&g);
        }
    }
    *found = fewest != UINT32_MAX;
    free(sets);
    return rc;
}

/* ---- the answer ---- */

/* Each plan again, beside all others: as good or better, and with reasons. */
static int fill(struct job *j, struct stages *g, struct place_defrag *out, struct err *err)
{
    for (uint32_t i = 0; i + 1 < g->n; i++) {
        struct defrag_move *m = &out->moves[out->n_moves++];
        m->instance = g->instance[i];
        m->down_time = g->down[i];
        m->bytes = j->bytes[m->instance];
        out->bytes = num_add_sat(out->bytes, m->bytes);
    }
    out->feasible = true;
    if (stages_settle(g, err))
        return -1;
    j->steps += g->steps;
    for (uint32_t i = 0; i + 1 < g->n; i++)
        out->moves[i].plan = STEAL(g->plans[i]);
    place_free(out->pending);
    out->pending = STEAL(g->plans[g->n - 1]);
    return 0;
}

static void fill_proof(const struct job *j, bool sure, struct place_defrag *out)
{
    out->n_movable = j->n_movable;
    out->n_sets = j->n_sets;
    out->steps = j->steps;
    out->proved = sure;
    if (out->feasible && out->n_moves == 0) {
        notes_add(&out->proof, NOTE_MOVES_NONE_NEEDED);
        return;
    }
    uint32_t moves = out->feasible ? out->n_moves : DEFRAG_MOVES;
    enum note_code code = !sure           ? NOTE_MOVES_OPEN
                          : out->feasible ? NOTE_MOVES_FEWEST
                                          : NOTE_MOVES_NO_PLAN;
    struct note *note = notes_add(&out->proof, code);
    note_num(note_num(note, WORD_MOVES, moves), WORD_SETS, j->n_sets);
}

static int search(struct job *j, struct place_defrag *out, struct err *err)
{
    struct place_budget b = {.no_changes = !j->changes};
    struct stages best = {0};
    bool sure = true, found = false;
    int rc = 0;
    out->pending = solve(j, j->s, j->pending, &b, err);
    if (!out->pending)
        return -1;
    out->feasible = out->pending->feasible;
    sure = out->feasible || out->pending->optimal;
    for (uint32_t n = 1; n <= DEFRAG_MOVES && !out->feasible && !found && !rc; n++) {
        bool size_sure;
        out->excluded = sure ? n : out->excluded;
        rc = try_size(j, n, &best, &size_sure, &found, err);
        sure = sure && size_sure;
    }
    if (rc == 0 && found)
        rc = fill(j, &best, out, err);
    stages_done(&best);
    out->excluded = sure && !out->feasible ? DEFRAG_MOVES + 1 : out->excluded;
    fill_proof(j, sure, out);
    return rc;
}

struct place_defrag *place_defrag_models(const struct cluster_snapshot *s,
                                         const struct place_wish *own,
                                         const struct place_wish *pending,
                                         const struct place_budget *budget, struct err *err)
{
    struct job j;
    struct place_defrag *out = mem_calloc(1, sizeof *out);
    job_init(&j, s, own, pending, budget);
    int rc = search(&j, out, err);
    job_done(&j);
    if (rc == 0)
        return out;
    place_defrag_free(out);
    return NULL;
}

struct place_defrag *place_defrag(const struct cluster_snapshot *s,
                                  const struct place_demand *demands,
                                  const struct place_demand *pending,
                                  const struct place_budget *budget, struct err *err)
{
    uint32_t n = s->n_instances;
    mem_auto struct place_wish *own = mem_calloc((size_t)n + 1, sizeof *own);
    mem_auto struct estimate_model **made = mem_calloc((size_t)n + 1, sizeof *made);
    struct place_wish last = {.d = *pending, .replicas = 1};
    int rc = 0;
    for (uint32_t i = 0; i < n && !rc; i++) {
        own[i] = (struct place_wish){.d = demands[i], .replicas = 1};
        if (demands[i].facts && !s->instances[i].pinned)
            own[i].m = made[i] = estimate_new(demands[i].facts, &demands[i].opts, err);
        rc = demands[i].facts && !s->instances[i].pinned && !made[i] ? -1 : 0;
    }
    last.m = made[n] = rc ? NULL : estimate_new(pending->facts, &pending->opts, err);
    struct place_defrag *out = last.m ? place_defrag_models(s, own, &last, budget, err) : NULL;
    for (uint32_t i = 0; i <= n; i++)
        estimate_free(made[i]);
    return out;
}
