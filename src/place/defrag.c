/* Moves that make room; see defrag.h. */
#include "place/defrag.h"

#include "base/mem.h"

void place_defrag_free(struct place_defrag *d)
{
    if (!d)
        return;
    for (uint32_t i = 0; i < d->n_moves; i++)
        place_free(d->moves[i].plan);
    place_free(d->pending);
    free(d);
}

struct place_defrag *place_defrag(const struct cluster_snapshot *s,
                                  const struct place_demand *demands,
                                  const struct place_demand *pending,
                                  const struct place_budget *budget, struct err *err)
{
    struct place_plan *now = place_plan(s, pending, budget, err);
    if (!now)
        return NULL;
    struct place_defrag *d = mem_calloc(1, sizeof *d);
    for (uint32_t i = 0; i < s->n_instances; i++)
        d->n_movable += demands[i].facts && !s->instances[i].pinned;
    d->pending = now;
    d->feasible = now->feasible;
    d->proved = now->feasible;
    d->excluded = !now->feasible && now->optimal;
    d->steps = now->steps;
    return d;
}

static void put_move(json_t *list, const struct defrag_move *m, const struct cluster_instance *i)
{
    json_t *o = json_add_object(list);
    json_put_str(o, "id", i->id);
    json_put_str(o, "name", i->deployment);
    json_put_u64(o, "replica", i->index);
    json_put_bool(o, "down_time", m->down_time);
    json_put_u64(o, "bytes", m->bytes);
    json_object_set_new(o, "plan", place_to_json(m->plan));
}

json_t *place_defrag_to_json(const struct place_defrag *d, const struct cluster_snapshot *s)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.defrag/1");
    json_put_bool(doc, "feasible", d->feasible);
    json_put_bool(doc, "proved", d->proved);
    json_put_u64(doc, "most_moves", DEFRAG_MOVES);
    json_put_u64(doc, "excluded_below", d->excluded);
    json_put_u64(doc, "bytes", d->bytes);
    json_t *list = json_put_array(doc, "moves");
    for (uint32_t i = 0; i < d->n_moves; i++)
        put_move(list, &d->moves[i], &s->instances[d->moves[i].instance]);
    json_object_set_new(doc, "pending", place_to_json(d->pending));
    json_put_u64(doc, "steps", d->steps);
    return doc;
}
