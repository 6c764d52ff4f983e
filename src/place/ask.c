/* Answers to questions; see ask.h. */
#include "place/ask.h"

#include "base/mem.h"
#include "place/defrag.h"
#include "place/many.h"
#include "place/why_not.h"

/* Facts found, contexts settled: what may be planned. The caller frees the array. */
static struct place_wish *make_wishes(const struct ask *a, const struct ask_models *models,
                                      struct err *err)
{
    mem_auto struct place_wish *w = mem_calloc(a->n_specs, sizeof *w);
    for (uint32_t i = 0; i < a->n_specs; i++) {
        struct deployment_spec *spec = a->specs[i];
        const struct arch_facts *f = models->get(models->ctx, spec->model, err);
        if (!f)
            return NULL;
        place_default_ctx(spec, f);
        if (place_demand_init(&w[i].d, f, spec, err))
            return NULL;
        w[i].replicas = spec->replicas;
    }
    return STEAL(w);
}

static json_t *one_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                        const struct place_budget *b, struct err *err)
{
    struct place_plan *p = place_plan(s, d, b, err);
    if (!p)
        return NULL;
    json_t *doc = place_to_json(p);
    json_object_set_new(doc, "spec", spec_to_json(d->spec));
    place_free(p);
    return doc;
}

static json_t *all_plans(const struct ask *a, const struct cluster_snapshot *s,
                         const struct place_wish *w, const struct place_budget *b, struct err *err)
{
    struct place_set *p = place_many(s, w, a->n_specs, b, err);
    if (!p)
        return NULL;
    json_t *doc = place_set_to_json(p, w);
    json_t *specs = json_put_array(doc, "specs");
    for (uint32_t i = 0; i < a->n_specs; i++)
        json_array_append_new(specs, spec_to_json(a->specs[i]));
    place_set_free(p);
    return doc;
}

static json_t *plan(const struct ask *a, const struct cluster_snapshot *s,
                    const struct place_wish *w, bool brief, struct err *err)
{
    struct place_budget b = {.steps = a->steps, .no_changes = brief};
    return a->many ? all_plans(a, s, w, &b, err) : one_plan(s, &w->d, &b, err);
}

static json_t *whatif(const struct ask *a, const struct cluster_snapshot *before,
                      const struct cluster_snapshot *after, const struct place_wish *w,
                      struct err *err)
{
    json_auto_t *was = plan(a, before, w, true, err);
    json_auto_t *is = was ? plan(a, after, w, true, err) : NULL;
    if (!is)
        return NULL;
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.whatif/1");
    json_put_bool(doc, "feasible", json_is_true(json_object_get(is, "feasible")));
    json_t *edits = json_put_array(doc, "edits");
    for (uint32_t i = 0; i < a->n_edits; i++)
        json_array_append_new(edits, edit_to_json(&a->edits[i]));
    json_object_set(doc, "before", was);
    json_object_set(doc, "after", is);
    return doc;
}

/* ---- defragmentation ---- */

/* The demands of what runs; one that cannot be made leaves its instance where it is. */
struct running {
    struct place_demand *d;
    struct deployment_spec **specs;
    uint32_t n;
};

static void running_done(struct running *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        free(r->specs[i]);
    free(r->specs);
    free(r->d);
}

static void running_make(struct running *r, const struct cluster_snapshot *s,
                         const struct ask_models *models)
{
    r->n = s->n_instances;
    r->d = mem_calloc((size_t)r->n + 1, sizeof *r->d);
    r->specs = mem_calloc((size_t)r->n + 1, sizeof *r->specs);
    for (uint32_t i = 0; i < r->n; i++) {
        struct deployment_spec *spec = r->specs[i] = mem_calloc(1, sizeof *spec);
        const struct arch_facts *f = NULL;
        if (s->instances[i].spec && spec_from_json(spec, s->instances[i].spec, NULL) == 0)
            f = models->get(models->ctx, spec->model, NULL);
        if (!f)
            continue;
        place_default_ctx(spec, f);
        if (place_demand_init(&r->d[i], f, spec, NULL))
            r->d[i] = (struct place_demand){0};
    }
}

static json_t *defrag(const struct ask *a, const struct cluster_snapshot *s,
                      const struct place_wish *w, const struct ask_models *models, struct err *err)
{
    struct running r = {0};
    struct place_budget b = {.steps = a->steps, .no_changes = true};
    running_make(&r, s, models);
    struct place_defrag *d = place_defrag(s, r.d, &w->d, &b, err);
    json_t *doc = d ? place_defrag_to_json(d, s) : NULL;
    if (doc)
        json_object_set_new(doc, "spec", spec_to_json(w->d.spec));
    place_defrag_free(d);
    running_done(&r);
    return doc;
}

/* ---- ---- */

static json_t *answer(const struct ask *a, const struct cluster_snapshot *before,
                      const struct cluster_snapshot *s, const struct ask_models *models,
                      struct err *err)
{
    mem_auto struct place_wish *w = make_wishes(a, models, err);
    if (!w)
        return NULL;
    switch (a->kind) {
    case ASK_PLAN:
        return plan(a, s, w, false, err);
    case ASK_WHATIF:
        return whatif(a, before, s, w, err);
    case ASK_SIZE:
        return size_answer(s, w, a->n_specs, a->prices, a->steps, err);
    case ASK_DEFRAG:
        return defrag(a, s, w, models, err);
    case ASK_WHY_NOT:
        return why_not(s, &w->d, a->gpu, a->steps, err);
    default:
        return err_null(err, ERR_INTERNAL, "kind %d", a->kind);
    }
}

json_t *ask_answer(const struct ask *a, const struct cluster_snapshot *s,
                   const struct ask_models *models, struct err *err)
{
    struct cluster_snapshot now;
    json_t *doc = NULL;
    snapshot_copy(&now, s);
    uint32_t i = 0;
    while (i < a->n_edits && edit_apply(&now, &a->edits[i], err) == 0)
        i++;
    if (i == a->n_edits)
        doc = answer(a, s, &now, models, err);
    else
        err_wrap(err, "%s", edit_op_name(a->edits[i].op));
    snapshot_done(&now);
    return doc;
}

bool ask_fits(const json_t *answer)
{
    return !json_is_false(json_object_get(answer, "feasible"));
}
