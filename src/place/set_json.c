/* Sets of plans as stowage.plans/1, moves as stowage.defrag/1. */
#include "place/defrag.h"
#include "place/many.h"

static void put_item(json_t *list, const struct place_item *x, const struct place_wish *wishes)
{
    json_t *o = json_add_object(list);
    json_put_str(o, "name", wishes[x->wish].d.spec->name);
    json_put_u64(o, "wish", x->wish);
    json_put_u64(o, "replica", x->replica);
    json_object_set_new(o, "plan", place_to_json(x->plan));
}

json_t *place_set_to_json(const struct place_set *p, const struct place_wish *wishes)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.plans/1");
    json_put_bool(doc, "feasible", p->n_placed == p->n_items);
    json_put_bool(doc, "optimal", p->optimal);
    if (!p->optimal)
        json_put_double(doc, "gap_percent", p->gap_percent);
    json_put_u64(doc, "wanted", p->n_items);
    json_put_u64(doc, "placed", p->n_placed);
    json_put_u64(doc, "most", p->bound_placed);
    json_t *list = json_put_array(doc, "plans");
    for (uint32_t i = 0; i < p->n_items; i++)
        put_item(list, &p->items[i], wishes);
    notes_put(doc, "proof", &p->proof);
    json_put_u64(doc, "steps", p->steps);
    return doc;
}

static void put_places(json_t *o, const struct cluster_snapshot *s,
                       const struct cluster_instance *i)
{
    json_t *from = json_put_array(o, "from");
    for (uint32_t k = 0; k < i->n_parts; k++) {
        const struct cluster_instance_part *p = &i->parts[k];
        json_t *x = json_add_object(from);
        json_put_str(x, "node", s->nodes[p->node].name);
        if (p->device != UINT32_MAX) {
            json_put_u64(x, "gpu", s->nodes[p->node].devices[p->device].index);
            json_put_str(x, "uuid", s->nodes[p->node].devices[p->device].uuid);
        }
        json_put_u64(x, "bytes", p->bytes);
    }
}

static void put_move(json_t *list, const struct defrag_move *m, const struct cluster_snapshot *s)
{
    const struct cluster_instance *i = &s->instances[m->instance];
    json_t *o = json_add_object(list);
    json_put_str(o, "id", i->id);
    json_put_str(o, "name", i->deployment);
    json_put_u64(o, "replica", i->index);
    json_put_bool(o, "down_time", m->down_time);
    json_put_u64(o, "bytes", m->bytes);
    put_places(o, s, i);
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
        put_move(list, &d->moves[i], s);
    json_object_set_new(doc, "pending", place_to_json(d->pending));
    notes_put(doc, "proof", &d->proof);
    json_put_u64(doc, "movable", d->n_movable);
    json_put_u64(doc, "sets", d->n_sets);
    json_put_u64(doc, "steps", d->steps);
    return doc;
}
