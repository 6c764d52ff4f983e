/* Several instances on one snapshot; see many.h. */
#include "place/many.h"

#include "base/mem.h"
#include "base/str.h"
#include "place/hold.h"

void place_set_free(struct place_set *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; i < p->n_items; i++)
        place_free(p->items[i].plan);
    free(p->items);
    free(p);
}

/* What was placed is held, and seen by what comes after. */
static int keep(struct cluster_snapshot *s, const struct place_wish *w, struct place_item *x,
                struct err *err)
{
    struct cluster_instance *i = snapshot_add_instance(s);
    if (hold_of(s, NULL, &x->plan->a, i, err) || hold_take(s, i, err))
        return -1;
    STR_COPY(i->deployment, w->d.spec->name);
    i->index = x->replica;
    return 0;
}

struct place_set *place_many(const struct cluster_snapshot *s, const struct place_wish *wishes,
                             uint32_t n, const struct place_budget *budget, struct err *err)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += wishes[i].replicas;
    if (n > PLACE_MANY_DEMANDS || total > PLACE_MANY_INSTANCES)
        return err_null(err, ERR_LIMIT,
                        "%u models with %llu instances; at most %d models and %d "
                        "instances are planned at once",
                        n, (unsigned long long)total, PLACE_MANY_DEMANDS, PLACE_MANY_INSTANCES);
    struct place_set *p = mem_calloc(1, sizeof *p);
    struct cluster_snapshot now;
    int rc = 0;
    snapshot_copy(&now, s);
    p->items = mem_calloc((size_t)total + 1, sizeof *p->items);
    for (uint32_t i = 0; i < n && !rc; i++)
        for (uint32_t r = 0; r < wishes[i].replicas && !rc; r++) {
            struct place_item *x = &p->items[p->n_items];
            *x = (struct place_item){.wish = i, .replica = r};
            x->plan = place_plan(&now, &wishes[i].d, budget, err);
            rc = x->plan ? 0 : -1;
            if (rc)
                break;
            p->n_items++;
            p->steps += x->plan->steps;
            p->n_placed += x->plan->feasible;
            if (x->plan->feasible)
                rc = keep(&now, &wishes[i], x, err);
        }
    p->bound_placed = (uint32_t)total;
    p->n_orders = 1;
    snapshot_done(&now);
    if (rc == 0)
        return p;
    place_set_free(p);
    return NULL;
}

json_t *place_set_to_json(const struct place_set *p, const struct place_wish *wishes)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.plans/1");
    json_put_bool(doc, "feasible", p->n_placed == p->n_items);
    json_put_u64(doc, "wanted", p->n_items);
    json_put_u64(doc, "placed", p->n_placed);
    json_put_u64(doc, "most", p->bound_placed);
    json_put_bool(doc, "optimal", p->optimal);
    if (!p->optimal)
        json_put_double(doc, "gap_percent", p->gap_percent);
    json_t *list = json_put_array(doc, "plans");
    for (uint32_t i = 0; i < p->n_items; i++) {
        json_t *o = json_add_object(list);
        json_put_str(o, "name", wishes[p->items[i].wish].d.spec->name);
        json_put_u64(o, "wish", p->items[i].wish);
        json_put_u64(o, "replica", p->items[i].replica);
        json_object_set_new(o, "plan", place_to_json(p->items[i].plan));
    }
    json_put_u64(doc, "steps", p->steps);
    return doc;
}
