/* Plans as stowage.plan/1: docs/plan.md, docs/schema/stowage.plan-1.json. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

static void put_part(json_t *list, const struct assignment_part *x, const struct note *way)
{
    json_t *o = json_add_object(list);
    json_put_str(o, "node", x->node);
    json_put_str(o, "node_id", x->node_id);
    json_put_u64(o, "gpu", x->index);
    json_put_str(o, "uuid", x->uuid);
    json_put_str(o, "name", x->device_name);
    json_put_str(o, "backend", device_backend_name(x->backend));
    json_t *layers = json_put_array(o, "layers");
    json_array_append_new(layers, json_integer(x->first_layer));
    json_array_append_new(layers, json_integer(x->first_layer + x->n_layers - 1));
    json_put_u64(o, "n_layers", x->n_layers);
    json_put_bool(o, "output", x->output);
    json_put_u64(o, "free_bytes", x->free_bytes);
    json_t *b = json_put_object(o, "bytes");
    json_put_u64(b, "weights", x->weights_bytes);
    json_put_u64(b, "kv", x->kv_bytes);
    json_put_u64(b, "compute", x->compute_bytes);
    json_put_u64(b, "runtime", x->runtime_bytes);
    if (way)
        note_put(o, "way", way);
}

static void put_assignment(json_t *doc, const struct place_plan *p)
{
    const struct assignment *a = &p->a;
    json_put_str(doc, "engine", a->engine);
    json_put_str(doc, "main_node", a->main_node);
    json_put_u64(doc, "ctx", a->ctx);
    json_put_u64(doc, "n_slots", a->n_slots);
    json_put_str(doc, "kv", a->kv);
    json_put_u64(doc, "n_layers", a->n_layers);
    json_put_u64(doc, "n_cpu_layers", a->n_cpu_layers);
    json_put_u64(doc, "n_cpu_moe", a->n_cpu_moe);
    json_t *parts = json_put_array(doc, "parts");
    for (uint32_t i = 0; i < a->n_parts; i++)
        put_part(parts, &a->parts[i], i < p->ways.n ? &p->ways.items[i] : NULL);
    json_t *host = json_put_object(doc, "host");
    json_put_str(host, "node", a->main_node);
    json_put_u64(host, "weights", a->host_weights_bytes);
    json_put_u64(host, "kv", a->host_kv_bytes);
    json_put_u64(host, "compute", a->host_compute_bytes);
    json_t *e = json_put_object(doc, "estimate");
    json_put_double(e, "tok_s", a->tok_s);
}

static void put_findings(json_t *doc, const char *key, const struct place_findings *l)
{
    json_t *list = json_put_array(doc, key);
    for (uint32_t i = 0; i < l->n; i++) {
        json_t *o = json_add_object(list);
        note_put(o, "what", &l->items[i].what);
        notes_put(o, "says", &l->items[i].says);
        if (l->items[i].tok_s > 0)
            json_put_double(o, "tok_s", l->items[i].tok_s);
    }
}

static void put_changes(json_t *doc, const struct place_plan *p)
{
    json_t *list = json_put_array(doc, "changes");
    for (uint32_t i = 0; i < p->n_changes; i++) {
        const struct place_change *c = &p->changes[i];
        json_t *o = json_add_object(list);
        note_put(o, "what", &c->what);
        note_put(o, "gives", &c->gives);
        json_put_bool(o, "fits", c->fits);
        json_put_bool(o, "verified", true);
        if (!c->fits)
            continue;
        json_put_str(o, "tier", place_tier_name(c->tier));
        json_put_u64(o, "n_nodes", c->n_nodes);
        json_put_u64(o, "n_gpus", c->n_gpus);
        json_put_double(o, "tok_s", c->tok_s);
    }
}

/* Each term of the policy: what the plan has, and the bound. */
static void put_terms(json_t *doc, const struct place_plan *p)
{
    json_t *list = json_put_array(doc, "terms");
    for (uint32_t i = 0; i < p->n_terms; i++) {
        const struct place_term *t = &p->terms[i];
        json_t *o = json_add_object(list);
        json_put_str(o, "term", policy_term_name(t->term));
        json_put_str(o, "unit", policy_term_unit(t->term));
        json_put_double(o, "amount", t->amount);
        json_put_double(o, "bound", t->bound);
        json_put_bool(o, "proved", t->proved);
    }
    if (!p->weighted)
        return;
    json_put_double(doc, "sum", p->sum);
    json_put_double(doc, "bound_sum", p->bound_sum);
}

json_t *place_to_json(const struct place_plan *p)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.plan/1");
    json_put_str(doc, "id", p->a.plan_id);
    json_put_bool(doc, "feasible", p->feasible);
    json_put_bool(doc, "optimal", p->optimal);
    if (!p->optimal && p->feasible)
        json_put_double(doc, "gap_percent", p->gap_percent);
    json_put_str(doc, "tier", place_tier_name(p->tier));
    if (!p->feasible)
        note_put(doc, "summary", &p->summary);
    if (p->feasible && p->verdict.code)
        note_put(doc, "verdict", &p->verdict);
    if (p->feasible)
        put_assignment(doc, p);
    if (p->feasible)
        put_terms(doc, p);
    json_t *seen = json_put_object(doc, "candidates");
    json_put_u64(seen, "gpus", p->n_devices_seen);
    json_put_u64(seen, "free_bytes", p->free_bytes_seen);
    notes_put(doc, "why", &p->why);
    notes_put(doc, "proof", &p->proof);
    notes_put(doc, "notes", &p->notes);
    notes_put(doc, "warnings", &p->warnings);
    put_findings(doc, "rejected", &p->rejected);
    put_findings(doc, "refused", &p->refused);
    put_changes(doc, p);
    notes_put(doc, "remarks", &p->remarks);
    notes_put(doc, "assumed", &p->assumed);
    json_put_u64(doc, "steps", p->steps);
    return doc;
}
