/* A placement for the server's tests that obeys: the spec's `gpus` are the parts, in order, each
 * taking DOUBLE_BYTES of a device that must have them free; without `gpus` the first device that
 * has. Under the policy `fastest` nothing is proved, with a gap of 12.5 %. Questions are answered
 * by it as well, one model at a time; and the validator finds fault with deployments named so. What
 * the server does with plans is tested here; what makes a good plan is place/'s own matter. Linked
 * in front of the real one. */
#include "server/place_double.h"

#include "base/mem.h"
#include "place/ask.h"
#include "place/place.h"

#include <string.h>

static bool fits(const struct cluster_node *n, const struct cluster_device *d)
{
    return n->state == NODE_READY && d->free_bytes >= DOUBLE_BYTES;
}

static bool wanted(const struct cluster_node *n, const struct cluster_device *d, const char *gpu)
{
    char name[CLUSTER_NAME + 16];
    str_copyf(name, sizeof name, "%s:%u", n->name, d->index);
    return !gpu || strcmp(name, gpu) == 0;
}

static void add_part(struct assignment *a, const struct cluster_node *n,
                     const struct cluster_device *d)
{
    struct assignment_part *p = &a->parts[a->n_parts++];
    STR_COPY(p->node_id, n->id);
    STR_COPY(p->node, n->name);
    STR_COPY(p->uuid, d->uuid);
    p->index = d->index;
    STR_COPY(p->device_name, d->name);
    p->backend = d->backend;
    p->first_layer = a->n_parts - 1;
    p->n_layers = 1;
    p->free_bytes = d->free_bytes;
    p->weights_bytes = DOUBLE_BYTES;
    if (a->n_parts > 1)
        return;
    STR_COPY(a->main_id, n->id);
    STR_COPY(a->main_node, n->name);
}

static bool find_part(const struct cluster_snapshot *s, const char *gpu, struct assignment *a)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
            if (wanted(&s->nodes[i], &s->nodes[i].devices[k], gpu) &&
                fits(&s->nodes[i], &s->nodes[i].devices[k])) {
                add_part(a, &s->nodes[i], &s->nodes[i].devices[k]);
                return true;
            }
    return false;
}

struct place_plan *place_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              const struct place_budget *budget, struct err *err)
{
    struct place_plan *p = mem_calloc(1, sizeof *p);
    uint32_t n = d->spec->want.gpus.n;
    p->a.parts = mem_calloc(n + 1, sizeof *p->a.parts);
    p->feasible = true;
    p->optimal = strcmp(d->spec->policy.name, "fastest") != 0;
    p->gap_percent = p->optimal ? 0 : 12.5;
    for (uint32_t i = 0; i < (n ? n : 1) && p->feasible; i++)
        p->feasible = find_part(s, n ? d->spec->want.gpus.items[i] : NULL, &p->a);
    STR_COPY(p->a.plan_id, "p-double");
    STR_COPY(p->a.engine, "llama.cpp");
    STR_COPY(p->a.kv, "f16");
    p->a.ctx = d->opts.ctx;
    p->a.n_slots = d->opts.n_slots;
    if (!p->feasible)
        note_set(&p->summary, NOTE_NO_FIT_NO_GPU);
    if (!p->feasible)
        note_num(note_num(&p->summary, WORD_LAYERS, 1), WORD_LAYER, DOUBLE_BYTES);
    p->n_changes = !p->feasible && !budget->no_changes;
    return p;
}

void place_free(struct place_plan *p)
{
    if (!p)
        return;
    assignment_done(&p->a);
    note_done(&p->summary);
    free(p);
}

json_t *place_to_json(const struct place_plan *p)
{
    json_t *o = json_object();
    json_put_bool(o, "feasible", p->feasible);
    json_put_u64(o, "n_changes", p->n_changes);
    return o;
}

int place_validate(const struct cluster_snapshot *s, const struct place_demand *d,
                   const struct assignment *a, struct err *err)
{
    if (strncmp(d->spec->name, DOUBLE_WRONG, strlen(DOUBLE_WRONG)) != 0)
        return 0;
    return err_set(err, ERR_INTERNAL, "hill:0 holds %llu bytes, not 1",
                   (unsigned long long)a->parts[0].weights_bytes);
}

json_t *ask_answer(const struct ask *a, const struct cluster_snapshot *s,
                   const struct ask_models *models, struct err *err)
{
    struct place_demand d;
    struct place_budget b = {0};
    const struct arch_facts *f = models->get(models->ctx, a->specs[0]->model, err);
    if (!f)
        return NULL;
    place_default_ctx(a->specs[0], f);
    if (place_demand_init(&d, f, a->specs[0], err))
        return NULL;
    struct place_plan *p = place_plan(s, &d, &b, err);
    json_t *doc = place_to_json(p);
    place_free(p);
    return doc;
}
