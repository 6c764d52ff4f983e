/* Placing and freeing on a live snapshot; see live.h. */
#include "place/live.h"

#include "base/mem.h"
#include "base/str.h"
#include "place/hold.h"
#include "place/live_index.h"
#include "place/place_int.h"

struct live_model { /* a demand, prepared */
    struct place_demand d;
    struct deployment_spec spec;
    struct estimate_model *made; /* NULL: the caller's */
    const struct estimate_model *m;
    struct live_index *index; /* NULL: planned from scratch */
};

struct live {
    struct cluster_snapshot s;
    struct map *nodes;
    struct live_model **models;
    uint32_t n_models;
    uint32_t *at;   /* by id of a claim: its place in s.instances; of a free id: the next one */
    uint32_t *id;   /* by place in s.instances: the claim's id */
    uint32_t n_ids; /* given out so far, as long as none was free */
    uint32_t spare; /* a free id; UINT32_MAX: none */
    uint64_t cells; /* in use, of LIVE_MAX_CELLS */
    size_t cap_at, cap_id;
    struct live_counts counts;
};

struct live *live_new(const struct cluster_snapshot *s)
{
    struct live *l = mem_calloc(1, sizeof *l);
    snapshot_copy(&l->s, s);
    l->nodes = hold_nodes(&l->s);
    l->spare = UINT32_MAX;
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    for (uint32_t i = 0; i < l->n_models; i++) {
        live_index_free(l->models[i]->index);
        estimate_free(l->models[i]->made);
        free(l->models[i]);
    }
    free(l->models);
    free(l->at);
    free(l->id);
    map_free(l->nodes);
    snapshot_done(&l->s);
    free(l);
}

const struct cluster_snapshot *live_snapshot(const struct live *l)
{
    return &l->s;
}

struct live_counts live_counts(const struct live *l)
{
    return l->counts;
}

static uint64_t cells_of(const struct cluster_snapshot *s)
{
    uint64_t n = s->n_nodes;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        n += s->nodes[i].n_devices;
    return n;
}

int live_demand(struct live *l, const struct place_demand *d, const struct estimate_model *m,
                uint32_t *id, struct err *err)
{
    if (l->n_models == LIVE_MAX_DEMANDS)
        return err_set(err, ERR_LIMIT, "%d different demands are kept at most", LIVE_MAX_DEMANDS);
    struct live_model *x = mem_calloc(1, sizeof *x);
    x->spec = *d->spec;
    x->d = *d;
    x->d.spec = &x->spec;
    x->m = m ? m : (x->made = estimate_new(d->facts, &d->opts, err));
    uint64_t cells = cells_of(&l->s);
    bool follows =
        x->m && live_index_follows(&x->spec) && l->cells + cells <= (uint64_t)LIVE_MAX_CELLS;
    if (follows)
        x->index = live_index_new(&l->s, &x->spec, x->m, err);
    if (!x->m || (follows && !x->index)) {
        estimate_free(x->made);
        free(x);
        return -1;
    }
    l->models = mem_realloc(l->models, (size_t)l->n_models + 1, sizeof(struct live_model *));
    l->models[l->n_models] = x;
    l->cells += follows ? cells : 0;
    *id = l->n_models++;
    return 0;
}

static struct place_plan *from_scratch(struct live *l, const struct live_model *x, struct err *err)
{
    struct place_budget budget = {.no_changes = true};
    if (x->d.facts && x->spec.want.min_ctx)
        return place_plan(&l->s, &x->d, &budget, err);
    return live_index_scratch(&l->s, &x->spec, x->m, err);
}

struct place_plan *live_place(struct live *l, uint32_t demand, struct err *err)
{
    const struct live_model *x = l->models[demand];
    enum live_how how = LIVE_BY_SEARCH;
    struct place_plan *p =
        x->index ? live_index_place(x->index, &how, err) : from_scratch(l, x, err);
    l->counts.by_gpu += how == LIVE_BY_GPU;
    l->counts.by_node += how == LIVE_BY_NODE;
    l->counts.full += how == LIVE_BY_SEARCH;
    return p;
}

static void touch(struct live *l, const struct cluster_instance *i)
{
    for (uint32_t m = 0; m < l->n_models; m++) {
        struct live_index *x = l->models[m]->index;
        if (!x)
            continue;
        live_index_touch(x, i->main);
        for (uint32_t k = 0; k < i->n_parts; k++) {
            bool again = i->parts[k].node == i->main;
            for (uint32_t n = 0; n < k; n++)
                again = again || i->parts[n].node == i->parts[k].node;
            if (!again)
                live_index_touch(x, i->parts[k].node);
        }
    }
}

int live_claim(struct live *l, const struct assignment *a, const char *deployment, uint32_t replica,
               uint32_t *id, struct err *err)
{
    struct cluster_instance i = {.index = replica};
    if (l->s.n_instances >= LIVE_MAX_INSTANCES)
        return err_set(err, ERR_LIMIT, "%d instances are kept at most", LIVE_MAX_INSTANCES);
    if (hold_of(&l->s, l->nodes, a, &i, err))
        return -1;
    if (hold_take(&l->s, &i, err)) {
        hold_done(&i);
        return -1;
    }
    STR_COPY(i.deployment, deployment);
    touch(l, &i);
    uint32_t place = l->s.n_instances;
    *snapshot_add_instance(&l->s) = i;
    mem_grow(&l->at, &l->cap_at, (size_t)l->n_ids + 1, sizeof *l->at);
    mem_grow(&l->id, &l->cap_id, (size_t)place + 1, sizeof *l->id);
    *id = l->spare == UINT32_MAX ? l->n_ids++ : l->spare;
    if (*id == l->spare)
        l->spare = l->at[*id];
    l->at[*id] = place;
    l->id[place] = *id;
    return 0;
}

void live_release(struct live *l, uint32_t id)
{
    uint32_t place = l->at[id], last = l->s.n_instances - 1;
    struct cluster_instance *i = &l->s.instances[place];
    hold_give(&l->s, i);
    touch(l, i);
    hold_done(i);
    *i = l->s.instances[last];
    l->s.n_instances--;
    l->id[place] = l->id[last];
    l->at[l->id[place]] = place;
    l->at[id] = l->spare;
    l->spare = id;
}
