/* Dry run of a plan on the live cluster, the cluster as a file, and stored decisions. */
#include "server/internal.h"

#include "base/mem.h"
#include "server/pending.h"
#include "server/planning.h"
#include "server/probe.h"
#include "server/work.h"

#include <string.h>

enum { MAX_PENDING = 64 };

/* Two steps on a thread, with the snapshot taken before: header, then plan. */
struct dry_run {
    struct pending pending;
    struct probe probe;
    struct planning *planning; /* its spec and facts come from the probe */
};

static void dry_run(void *arg)
{
    struct dry_run *j = arg;
    probe_run(&j->probe);
    if (j->probe.err.code)
        return;
    *j->planning->spec = *j->probe.spec;
    j->planning->facts = mem_calloc(1, sizeof *j->planning->facts);
    *j->planning->facts = (struct facts){STEAL(j->probe.facts), 1};
    planning_run(j->planning);
    j->probe.err = j->planning->err;
}

static void dry_run_done(void *arg, bool cancelled)
{
    struct dry_run *j = arg;
    struct http_req *req = pending_end(&j->pending);
    if (req && cancelled)
        http_abort(req);
    else if (req && j->planning->doc)
        http_reply_json(req, 200, json_incref(j->planning->doc));
    else if (req)
        http_reply_err(req, &j->probe.err, j->probe.hint[0] ? j->probe.hint : NULL);
    planning_free(j->planning);
    probe_done(&j->probe);
    free(j);
}

/* A plan needs no name. */
static int read_spec(struct deployment_spec *spec, json_t *doc, uint64_t *steps, struct err *err)
{
    json_t *o = json_get_object(doc, "spec", true, err);
    if (!o || json_get_u64(doc, "budget", false, INT64_MAX, steps, err))
        return -1;
    if (!json_object_get(o, "name"))
        json_put_str(o, "name", "plan");
    return spec_from_json(spec, o, err);
}

void rest_plan(const struct call *c)
{
    static const char *const KEYS[] = {"spec", "budget"};
    struct err err = {0};
    uint64_t steps = 0;
    json_auto_t *doc = call_body(c, "a plan", KEYS, ARRAY_LEN(KEYS));
    if (!doc)
        return;
    struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    if (read_spec(spec, doc, &steps, &err) == 0 && work_pending(c->s->work) >= MAX_PENDING)
        err_fill(&err, ERR_UNAVAILABLE, "%d requests wait for a plan; try again", MAX_PENDING);
    if (err.code) {
        free(spec);
        call_fail(c, &err);
        return;
    }
    struct dry_run *j = mem_calloc(1, sizeof *j);
    j->probe.spec = spec;
    j->planning = planning_new(spec, NULL);
    j->planning->budget.steps = steps;
    j->planning->always_full = true;
    sched_snapshot(c->s, &j->planning->snapshot);
    pending_begin(&j->pending, c->req);
    work_submit(c->s->work, dry_run, dry_run_done, j);
}

void rest_snapshot(const struct call *c)
{
    struct cluster_snapshot snapshot;
    sched_snapshot(c->s, &snapshot);
    http_reply_json(c->req, 200, snapshot_to_json(&snapshot));
    snapshot_done(&snapshot);
}

static int by_index(const void *a, const void *b)
{
    const struct replica *x = *(struct replica *const *)a, *y = *(struct replica *const *)b;
    return (x->index > y->index) - (x->index < y->index);
}

static json_t *explain_doc(const struct replica *r)
{
    json_t *o = json_object();
    json_put_str(o, "id", r->id);
    json_put_u64(o, "index", r->index);
    json_put_str(o, "state", replica_state_name(r->state));
    json_t *reason = json_put_object(o, "reason");
    json_put_str(reason, "code", r->code);
    json_put_str(reason, "message", r->message);
    json_object_set(o, "plan", r->plan ? r->plan : json_null());
    json_object_set_new(o, "measured", measured_doc(&r->main_report));
    if (r->main_report.tok_s > 0)
        json_put_double(o, "tok_s", r->main_report.tok_s);
    if (r->decided_at)
        json_put_u64(o, "decided_at", (uint64_t)r->decided_at);
    return o;
}

void rest_explain(const struct call *c)
{
    struct err err = {0};
    const struct deployment *d = state_deployment(c->s, c->params[0]);
    if (!d) {
        err_fill(&err, ERR_NOT_FOUND, "no deployment '%s'", c->params[0]);
        call_fail(c, &err);
        return;
    }
    size_t n = 0;
    for (const struct replica *r = d->replicas; r; r = r->sibling)
        n++;
    mem_auto const struct replica **rows = mem_calloc(n, sizeof *rows);
    n = 0;
    for (const struct replica *r = d->replicas; r; r = r->sibling)
        rows[n++] = r;
    qsort(rows, n, sizeof *rows, by_index);
    json_t *o = json_object();
    json_put_str(o, "name", d->spec->name);
    json_object_set_new(o, "spec", spec_to_json(d->spec));
    json_t *list = json_put_array(o, "replicas");
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, explain_doc(rows[i]));
    http_reply_json(c->req, 200, o);
}
