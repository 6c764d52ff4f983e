/* Why a GPU is not used; see why_not.h. */
#include "place/why_not.h"

#include "base/mem.h"
#include "base/str.h"
#include "place/edit.h"

#include <string.h>

struct asked {
    const struct cluster_snapshot *s;
    const struct place_demand *d;
    const struct cluster_device *gpu;
    uint64_t steps;
    struct place_plan *chosen, *best; /* best: of those that use the GPU; NULL: none does */
    uint32_t compared;
    bool cut; /* more GPUs than a constraint can name */
};

static const struct assignment_part *part_on(const struct place_plan *p, const char *uuid)
{
    for (uint32_t i = 0; i < p->a.n_parts; i++)
        if (strcmp(p->a.parts[i].uuid, uuid) == 0)
            return &p->a.parts[i];
    return NULL;
}

/* By the terms of the policy, in their order. */
static bool better(const struct place_plan *a, const struct place_plan *b)
{
    if (!b)
        return true;
    if (a->weighted && a->sum != b->sum)
        return a->sum < b->sum;
    for (uint32_t i = 0; i < a->n_terms && i < b->n_terms; i++)
        if (a->terms[i].amount != b->terms[i].amount)
            return a->terms[i].amount < b->terms[i].amount;
    if (a->tier != b->tier)
        return a->tier < b->tier;
    return a->a.tok_s > b->a.tok_s;
}

static struct place_plan *plan_on(const struct asked *x, const struct name_list *gpus, bool no_ram,
                                  struct err *err)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct place_demand d = *x->d;
    struct place_budget b = {.steps = x->steps, .no_changes = true};
    *spec = *x->d->spec;
    spec->want.gpus = *gpus;
    spec->want.gpus_per_replica = no_ram ? 0 : gpus->n;
    spec->want.no_ram |= no_ram;
    spec->want.n_split = 0;
    d.spec = spec;
    return place_plan(x->s, &d, &b, err);
}

/* Plans on exactly these GPUs; keeps the plan when it is the best so far. */
static int try_gpus(struct asked *x, const struct name_list *gpus, struct err *err)
{
    struct place_plan *p = plan_on(x, gpus, false, err);
    if (!p)
        return -1;
    x->compared++;
    bool best = p->feasible && part_on(p, x->gpu->uuid) && better(p, x->best);
    place_free(best ? x->best : p);
    if (best)
        x->best = p;
    return 0;
}

static void add_name(struct asked *x, struct name_list *l, const char *uuid)
{
    if (l->n < CONSTRAINT_MAX_NAMES)
        STR_COPY(l->items[l->n++], uuid);
    else
        x->cut = true;
}

/* A neighbour of the same kind gave way already: the same plan under another name. */
static bool twin_before(const struct place_plan *p, uint32_t i)
{
    const struct assignment_part *a = &p->a.parts[i];
    for (uint32_t k = 0; k < i; k++) {
        const struct assignment_part *b = &p->a.parts[k];
        if (strcmp(a->node_id, b->node_id) == 0 && strcmp(a->device_name, b->device_name) == 0 &&
            a->free_bytes == b->free_bytes)
            return true;
    }
    return false;
}

/* The chosen GPUs with ours in the place of the skip-th, or beside all of them. */
static int try_with(struct asked *x, uint32_t skip, struct err *err)
{
    const struct assignment *a = &x->chosen->a;
    mem_auto struct name_list *l = mem_calloc(1, sizeof *l);
    for (uint32_t i = 0; i < a->n_parts; i++)
        if (i != skip && a->parts[i].uuid[0])
            add_name(x, l, a->parts[i].uuid);
    add_name(x, l, x->gpu->uuid);
    return x->cut ? 0 : try_gpus(x, l, err);
}

static int try_all(struct asked *x, struct place_plan **refusal, struct err *err)
{
    mem_auto struct name_list *l = mem_calloc(1, sizeof *l);
    add_name(x, l, x->gpu->uuid);
    if (try_gpus(x, l, err))
        return -1;
    /* Without RAM to turn to, a GPU that cannot take part has to say so. */
    *refusal = x->best ? NULL : plan_on(x, l, true, err);
    if (!x->best && !*refusal)
        return -1;
    if (!x->chosen->feasible)
        return 0;
    for (uint32_t i = 0; i < x->chosen->a.n_parts; i++)
        if (x->chosen->a.n_parts > 1 && x->chosen->a.parts[i].uuid[0] &&
            !twin_before(x->chosen, i) && try_with(x, i, err))
            return -1;
    return try_with(x, UINT32_MAX, err);
}

/* What the refusal of a plan on this GPU alone, without RAM, says of it. */
static void put_says(json_t *doc, const struct asked *x, const struct place_plan *refusal,
                     const char *label)
{
    static const struct notes none = {0};
    const struct notes *says = &none;
    for (uint32_t i = 0; refusal && i < refusal->refused.n; i++) {
        const struct place_finding *f = &refusal->refused.items[i];
        if (f->what.code == NOTE_AT_GPU && strcmp(note_str_of(&f->what, WORD_GPU), label) == 0)
            says = &f->says;
    }
    notes_put(doc, "says", says);
}

static bool named(const struct name_list *l, const struct cluster_node *n,
                  const struct cluster_device *d)
{
    char name[CLUSTER_NAME + 16];
    str_copyf(name, sizeof name, "%s:%u", n->name, d->index);
    return name_list_has(l, name) || name_list_has(l, d->uuid);
}

static json_t *to_json(const struct asked *x, const struct cluster_node *n, bool listed,
                       const struct place_plan *refusal)
{
    char label[2 * CLUSTER_NAME + 24];
    const struct assignment_part *part = part_on(x->chosen, x->gpu->uuid);
    str_copyf(label, sizeof label, "%s:%u %s", n->name, x->gpu->index, x->gpu->name);
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.why_not/1");
    json_put_str(doc, "gpu", label);
    json_put_bool(doc, "used", x->chosen->feasible && part);
    if (!listed) {
        struct notes l = {0};
        notes_add(&l, NOTE_GPU_NOT_LISTED);
        notes_put(doc, "says", &l);
        notes_done(&l);
    } else {
        put_says(doc, x, refusal, label);
    }
    json_put_u64(doc, "compared", x->compared);
    json_put_bool(doc, "cut", x->cut);
    json_object_set_new(doc, "chosen", place_to_json(x->chosen));
    json_object_set_new(doc, "with", x->best ? place_to_json(x->best) : json_null());
    return doc;
}

json_t *why_not(const struct cluster_snapshot *s, const struct place_demand *d, const char *gpu,
                uint64_t steps, struct err *err)
{
    uint32_t node, device;
    struct place_budget b = {.steps = steps, .no_changes = true};
    if (edit_find_gpu(s, gpu, &node, &device, err))
        return NULL;
    struct asked x = {.s = s, .d = d, .gpu = &s->nodes[node].devices[device], .steps = steps};
    x.chosen = place_plan(s, d, &b, err);
    if (!x.chosen)
        return NULL;
    const struct name_list *wanted = &d->spec->want.gpus;
    bool listed = !wanted->n || named(wanted, &s->nodes[node], x.gpu);
    bool used = x.chosen->feasible && part_on(x.chosen, x.gpu->uuid);
    struct place_plan *refusal = NULL;
    json_t *doc = NULL;
    if (used || !listed || try_all(&x, &refusal, err) == 0)
        doc = to_json(&x, &s->nodes[node], listed, refusal);
    place_free(refusal);
    place_free(x.chosen);
    place_free(x.best);
    return doc;
}
