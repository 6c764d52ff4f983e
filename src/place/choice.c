/* The single solver under limits; see choice.h. */
#include "place/choice.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/hold.h"
#include "place/place_int.h"

#include <string.h>

struct undo {
    uint64_t *at, was;
};

/* Which limits come to the same: those that the same ranges of layers keep. */
struct sizes {
    struct ranks *ranks;
    struct mode_problem *mode;
    uint64_t single; /* of the whole model alone on one device */
};

struct choices {
    struct cluster_snapshot s;
    const struct cost_form *form;
    struct map *nodes, *known; /* ids of nodes; keys of choices: index + 1 */
    struct choice **items;
    uint32_t n;
    size_t cap;
    struct undo *undo;
    size_t n_undo, cap_undo;
    struct sizes *sizes; /* by wish; ranks NULL until asked for */
    uint64_t steps;
};

struct choices *choices_new(const struct cluster_snapshot *s, const struct cost_form *form)
{
    struct choices *x = mem_calloc(1, sizeof *x);
    snapshot_copy(&x->s, s);
    x->form = form;
    x->nodes = hold_nodes(s);
    x->known = map_new(0);
    x->sizes = mem_calloc((size_t)form->n_wishes + 1, sizeof *x->sizes);
    return x;
}

void choices_free(struct choices *x)
{
    if (!x)
        return;
    for (uint32_t i = 0; i < x->n; i++) {
        place_free(x->items[i]->plan);
        hold_done(&x->items[i]->held);
        free(x->items[i]->limits);
        free(x->items[i]->cost);
        free(x->items[i]->low);
        free(x->items[i]);
    }
    for (uint32_t i = 0; i < x->form->n_wishes; i++) {
        ranks_free(x->sizes[i].ranks);
        mode_free(x->sizes[i].mode);
    }
    free(x->sizes);
    free(x->items);
    free(x->undo);
    map_free(x->nodes);
    map_free(x->known);
    snapshot_done(&x->s);
    free(x);
}

const struct choice *choices_at(const struct choices *x, uint32_t i)
{
    return x->items[i];
}

uint64_t choices_steps(const struct choices *x)
{
    return x->steps;
}

/* ---- the snapshot as one instance sees it ---- */

static void lower(struct choices *x, uint64_t *at, uint64_t to)
{
    if (*at <= to)
        return;
    mem_grow(&x->undo, &x->cap_undo, x->n_undo + 1, sizeof *x->undo);
    x->undo[x->n_undo++] = (struct undo){at, *at};
    *at = to;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void take_before(struct choices *x, const struct cluster_instance *i)
{
    for (uint32_t k = 0; k < i->n_parts; k++) {
        const struct cluster_instance_part *p = &i->parts[k];
        struct cluster_node *n = &x->s.nodes[p->node];
        uint64_t *at =
            p->device == CHOICE_RAM ? &n->ram_free_bytes : &n->devices[p->device].free_bytes;
        lower(x, at, minus(*at, p->bytes));
    }
    uint64_t *ram = &x->s.nodes[i->main].ram_free_bytes;
    lower(x, ram, minus(*ram, i->main_ram_bytes));
}

static void apply_limit(struct choices *x, const struct limit *l)
{
    struct cluster_node *n = &x->s.nodes[l->node];
    if (l->device == CHOICE_NODE) {
        for (uint32_t d = 0; d < n->n_devices; d++)
            lower(x, &n->devices[d].free_bytes, 0);
        lower(x, &n->ram_free_bytes, 0);
    } else if (l->device == CHOICE_RAM) {
        lower(x, &n->ram_free_bytes, l->bytes);
    } else {
        lower(x, &n->devices[l->device].free_bytes, num_add_sat(l->bytes, x->s.margin_bytes));
    }
}

/* Those that still hold their place are seen as instances as well. */
static void see_before(struct choices *x, const struct choice_for *who)
{
    uint32_t n = x->s.n_instances;
    x->s.instances =
        mem_realloc(x->s.instances, (size_t)n + who->n_before + 1, sizeof *x->s.instances);
    for (uint32_t i = 0; i < who->n_before; i++) {
        take_before(x, who->before[i]);
        x->s.instances[x->s.n_instances++] = *who->before[i];
    }
}

static struct place_plan *solve(struct choices *x, const struct choice_for *who, struct err *err)
{
    struct place_budget budget = {.bare = true};
    if (who->d && who->d->facts && who->spec->want.min_ctx)
        return place_plan(&x->s, who->d, &budget, err);
    return place_model(&x->s, who->spec, who->m, &budget, err);
}

static int fill(struct choices *x, struct choice *c, struct err *err)
{
    uint32_t n = x->s.n_instances;
    see_before(x, c->who);
    for (uint32_t i = 0; i < c->n_limits; i++)
        apply_limit(x, &c->limits[i]);
    c->plan = solve(x, c->who, err);
    while (x->n_undo > 0) {
        x->n_undo--;
        *x->undo[x->n_undo].at = x->undo[x->n_undo].was;
    }
    x->s.n_instances = n;
    if (!c->plan)
        return -1;
    /* A floor under the count, as a plan with nothing to search takes none. */
    x->steps += c->plan->steps + x->s.n_nodes + 1;
    c->cost = mem_calloc(x->form->len, sizeof *c->cost);
    c->low = mem_calloc(x->form->len, sizeof *c->low);
    cost_add(x->form, c->who->wish, c->plan, c->cost);
    cost_add_low(x->form, c->who->wish, c->plan, c->low);
    return c->plan->feasible ? hold_of(&x->s, x->nodes, &c->plan->a, &c->held, err) : 0;
}

/* ---- limits ---- */

static int by_place(const struct limit *a, const struct limit *b)
{
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    return (a->device > b->device) - (a->device < b->device);
}

/* The limits of `from` with one more, sorted; the lower one of two for a place. */
static uint32_t merge(const struct choice *from, const struct limit *more, struct limit *out)
{
    uint32_t n = 0, i = 0, have = from ? from->n_limits : 0;
    for (; i < have && (!more || by_place(&from->limits[i], more) < 0); i++)
        out[n++] = from->limits[i];
    if (!more)
        return n;
    out[n] = *more;
    if (i < have && by_place(&from->limits[i], more) == 0) {
        if (from->limits[i].bytes < more->bytes)
            out[n] = from->limits[i];
        i++;
    }
    for (n++; i < have; i++)
        out[n++] = from->limits[i];
    return n;
}

/* The least limit that allows the same as this one, so that more branches meet again. In RAM, and
 * where RAM may take part, every byte may count. */
static struct limit least_like(struct choices *x, const struct choice_for *who, struct limit l)
{
    struct sizes *z = &x->sizes[who->wish];
    if (l.device >= CHOICE_NODE || !who->spec->want.no_ram || who->spec->want.min_ctx)
        return l;
    if (!z->ranks) {
        struct scene *c = scene_new(&x->s, who->spec, who->m, NULL);
        if (!c)
            return l;
        struct mode_opts o = {.mode = MODE_FULL, .ignore_ram = true};
        z->single = c->need_single;
        z->mode = mode_new(c, &o);
        z->ranks = ranks_new(&z->mode->need);
        scene_free(c);
    }
    uint64_t runtime = x->s.runtime_bytes, room = minus(l.bytes, runtime);
    uint64_t like = ranks_room(z->ranks, ranks_of(z->ranks, room));
    like = z->single <= room && z->single > like ? z->single : like;
    l.bytes = like ? like + runtime : 0;
    return l;
}

/* Instances of one wish that come at the same time are alike and share their choices. */
struct key {
    uint64_t wish;
    const void *before;
};

uint32_t choices_get(struct choices *x, const struct choice_for *who, const struct choice *from,
                     const struct limit *more, struct err *err)
{
    uint32_t most = (from ? from->n_limits : 0) + 1;
    if (most > CHOICE_MAX_LIMITS) {
        err_fill(err, ERR_LIMIT, "an instance was told apart from others at %u places, of %d", most,
                 CHOICE_MAX_LIMITS);
        return UINT32_MAX;
    }
    mem_auto char *key = mem_calloc(1, sizeof(struct key) + most * sizeof(struct limit));
    struct limit *limits = (struct limit *)(key + sizeof(struct key));
    struct key head = {.wish = who->wish, .before = who->n_before ? who->before : NULL};
    memcpy(key, &head, sizeof head);
    struct limit like = more ? least_like(x, who, *more) : (struct limit){0};
    uint32_t n = merge(from, more ? &like : NULL, limits);
    size_t len = sizeof(struct key) + n * sizeof *limits;
    uint32_t at = (uint32_t)(uintptr_t)map_get_n(x->known, key, len);
    if (at)
        return at - 1;
    struct choice *c = mem_calloc(1, sizeof *c);
    mem_grow(&x->items, &x->cap, (size_t)x->n + 1, sizeof *x->items);
    x->items[x->n++] = c;
    c->who = who;
    c->limits = mem_calloc((size_t)n + 1, sizeof *limits);
    memcpy(c->limits, limits, n * sizeof *limits);
    c->n_limits = n;
    if (fill(x, c, err))
        return UINT32_MAX;
    map_set_n(x->known, key, len, (void *)((uintptr_t)x->n));
    return x->n - 1;
}
