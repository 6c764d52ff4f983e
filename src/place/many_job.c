/* Several instances to place, prepared; see many_job.h. */
#include "place/many_job.h"

#include "base/mem.h"
#include "base/str.h"
#include "place/hold.h"
#include "place/place_int.h"

#include <string.h>

static int check_limits(const struct place_wish *w, uint32_t n, uint64_t *total, struct err *err)
{
    *total = 0;
    for (uint32_t i = 0; i < n; i++)
        *total += w[i].replicas;
    if (n <= PLACE_MANY_DEMANDS && *total <= PLACE_MANY_INSTANCES)
        return 0;
    return err_set(err, ERR_LIMIT,
                   "%u models with %llu instances; at most %d models and %d "
                   "instances are planned at once",
                   n, (unsigned long long)*total, PLACE_MANY_DEMANDS, PLACE_MANY_INSTANCES);
}

static int add_models(struct job *j, struct err *err)
{
    for (uint32_t i = 0; i < j->n_wishes; i++) {
        struct place_wish *w = &j->wishes[i];
        if (w->m)
            continue;
        w->m = j->made[i] = estimate_new(w->d.facts, &w->d.opts, err);
        if (!w->m)
            return -1;
    }
    return 0;
}

/* Whoever must not be beside another one: the other one must not be beside him. The order in which
 * they are placed says nothing here. */
static int make_mutual(struct job *j, uint32_t to, const struct deployment_spec *from,
                       struct err *err)
{
    struct place_wish *w = &j->wishes[to];
    if (!from->name[0] || !w->d.spec->name[0] ||
        !name_list_has(&from->want.anti_affinity, w->d.spec->name) ||
        name_list_has(&w->d.spec->want.anti_affinity, from->name))
        return 0;
    if (!j->own[to]) {
        j->own[to] = mem_calloc(1, sizeof *j->own[to]);
        *j->own[to] = *w->d.spec;
        w->d.spec = j->own[to];
    }
    struct name_list *l = &j->own[to]->want.anti_affinity;
    if (l->n == CONSTRAINT_MAX_NAMES)
        return err_set(err, ERR_LIMIT, "'%s' must not be beside more than %d others",
                       w->d.spec->name, CONSTRAINT_MAX_NAMES);
    STR_COPY(l->items[l->n], from->name);
    l->n++;
    return 0;
}

int job_init(struct job *j, const struct cluster_snapshot *s, const struct place_wish *w,
             uint32_t n, struct err *err)
{
    uint64_t total;
    *j = (struct job){.s = s};
    if (check_limits(w, n, &total, err))
        return -1;
    j->n_wishes = n;
    j->n = (uint32_t)total;
    j->wishes = mem_calloc((size_t)n + 1, sizeof *j->wishes);
    j->made = mem_calloc((size_t)n + 1, sizeof *j->made);
    j->own = mem_calloc((size_t)n + 1, sizeof *j->own);
    j->wish = mem_calloc((size_t)total + 1, sizeof *j->wish);
    memcpy(j->wishes, w, n * sizeof *w);
    for (uint32_t i = 0, at = 0; i < n; i++)
        for (uint32_t r = 0; r < w[i].replicas; r++)
            j->wish[at++] = i;
    if (add_models(j, err))
        return -1;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++)
            if (i != k && make_mutual(j, i, w[k].d.spec, err))
                return -1;
    mem_auto const struct deployment_spec **specs = mem_calloc((size_t)n + 1, sizeof *specs);
    for (uint32_t i = 0; i < n; i++)
        specs[i] = j->wishes[i].d.spec;
    cost_form_init(&j->form, specs, n);
    j->nodes = hold_nodes(s);
    return 0;
}

void job_done(struct job *j)
{
    for (uint32_t i = 0; i < j->n_wishes; i++) {
        estimate_free(j->made[i]);
        free(j->own[i]);
    }
    free(j->wishes);
    free(j->made);
    free(j->own);
    free(j->wish);
    cost_form_done(&j->form);
    map_free(j->nodes);
}

struct place_plan *job_solve(struct job *j, const struct cluster_snapshot *now, uint32_t wish,
                             const struct place_budget *b, struct err *err)
{
    const struct place_wish *w = &j->wishes[wish];
    bool whole = w->d.facts && (w->d.spec->want.min_ctx || !(b->bare || b->no_changes));
    struct place_plan *p =
        whole ? place_plan(now, &w->d, b, err) : place_model(now, w->d.spec, w->m, b, err);
    if (p)
        j->steps += p->steps + now->n_nodes;
    return p;
}
