/* Plans as stowage.plan/1, and reasons as sentences. */
#include "place/place_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

static const char *const CODES[] = {
    [PLACE_MEMORY] = "MEMORY",         [PLACE_LAYERS] = "LAYERS", [PLACE_EXCLUDED] = "EXCLUDED",
    [PLACE_DRAINED] = "DRAINED",       [PLACE_LOST] = "LOST",     [PLACE_SLOWER] = "SLOWER",
    [PLACE_MORE_NODES] = "MORE_NODES",
};
_Static_assert(ARRAY_LEN(CODES) == PLACE_CODE_COUNT, "one name per code");

void place_reason_text(const struct place_reason *r, char *dst, size_t cap)
{
    char need[32], have[32];
    const char *sep = r->detail[0] ? ": " : "";
    switch (r->code) {
    case PLACE_MEMORY:
        num_fmt_gib(need, sizeof need, r->need);
        num_fmt_gib(have, sizeof have, r->have);
        if (r->detail[0])
            str_copyf(dst, cap, "%s need %s, %s free", r->detail, need, have);
        else
            str_copyf(dst, cap, "%s needed, %s free", need, have);
        break;
    case PLACE_LAYERS:
        if (r->detail[0])
            str_copyf(dst, cap, "%s: at most %llu of %llu layers", r->detail,
                      (unsigned long long)r->have, (unsigned long long)r->need);
        else
            str_copyf(dst, cap, "holds at most %llu of %llu layers", (unsigned long long)r->have,
                      (unsigned long long)r->need);
        break;
    case PLACE_EXCLUDED:
        str_copyf(dst, cap, "left out%s%s", sep, r->detail);
        break;
    case PLACE_DRAINED:
        str_copyf(dst, cap, "drained%s%s", sep, r->detail);
        break;
    case PLACE_LOST:
        str_copyf(dst, cap, "lost%s%s", sep, r->detail);
        break;
    case PLACE_SLOWER:
        str_copyf(dst, cap, "%s", r->detail[0] ? r->detail : "slower");
        break;
    default:
        str_copyf(dst, cap, "%s", r->detail);
    }
}

static void put_lines(json_t *doc, const char *key, const char (*lines)[160], size_t n)
{
    json_t *list = json_put_array(doc, key);
    for (size_t i = 0; i < n && lines[i][0]; i++)
        json_array_append_new(list, json_string(lines[i]));
}

static void put_part(json_t *list, const struct assignment_part *x)
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
        put_part(parts, &a->parts[i]);
    json_t *host = json_put_object(doc, "host");
    json_put_str(host, "node", a->main_node);
    json_put_u64(host, "weights", a->host_weights_bytes);
    json_put_u64(host, "kv", a->host_kv_bytes);
    json_put_u64(host, "compute", a->host_compute_bytes);
    json_t *e = json_put_object(doc, "estimate");
    json_put_double(e, "tok_s", a->tok_s);
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
    json_put_str(doc, "summary", p->summary[0] ? p->summary : NULL);
    if (p->feasible)
        put_assignment(doc, p);
    json_t *seen = json_put_object(doc, "candidates");
    json_put_u64(seen, "gpus", p->n_devices_seen);
    json_put_u64(seen, "free_bytes", p->free_bytes_seen);
    put_lines(doc, "why", p->why, ARRAY_LEN(p->why));
    put_lines(doc, "proof", p->proof, ARRAY_LEN(p->proof));
    json_t *list = json_put_array(doc, "rejected");
    for (uint32_t i = 0; i < p->n_rejected; i++) {
        const struct place_reason *r = &p->rejected[i];
        char text[320];
        place_reason_text(r, text, sizeof text);
        json_t *o = json_add_object(list);
        json_put_str(o, "code", CODES[r->code]);
        json_put_str(o, "what", r->what);
        json_put_str(o, "detail", r->detail);
        json_put_u64(o, "need", r->need);
        json_put_u64(o, "have", r->have);
        if (r->tok_s > 0)
            json_put_double(o, "tok_s", r->tok_s);
        json_put_str(o, "text", text);
    }
    list = json_put_array(doc, "changes");
    for (uint32_t i = 0; i < p->n_changes; i++) {
        const struct place_change *c = &p->changes[i];
        json_t *o = json_add_object(list);
        json_put_str(o, "set", c->set);
        json_put_str(o, "gives", c->gives);
        json_put_bool(o, "fits", c->fits);
        json_put_str(o, "tier", place_tier_name(c->tier));
        json_put_bool(o, "verified", true);
        if (c->fits)
            json_put_double(o, "tok_s", c->tok_s);
    }
    json_put_u64(doc, "steps", p->steps);
    return doc;
}
