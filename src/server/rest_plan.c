/* Questions about the live cluster, the cluster as a file, and stored decisions. */
#include "server/internal.h"

#include "base/mem.h"
#include "model/shelf.h"
#include "place/ask.h"
#include "server/pending.h"
#include "server/work.h"

#include <string.h>

enum { MAX_PENDING = 64 };

/* Answered on a thread: headers read, then place/ask.h on the snapshot taken before. */
struct question {
    struct pending pending;
    struct ask ask;
    struct cluster_snapshot snapshot;
    struct shelf shelf;
    json_t *answer;
    struct err err;
    char hint[240];
};

static const struct arch_facts *read_model(void *arg, const char *path, struct err *err)
{
    struct question *q = arg;
    const struct arch_facts *f = shelf_get(&q->shelf, path, err);
    if (!f && err && err->code == ERR_NOT_FOUND)
        STR_COPY(q->hint, "the server reads the file under this path: put it there, or mount the "
                          "folder that holds it");
    return f;
}

static void run(void *arg)
{
    struct question *q = arg;
    q->answer = ask_answer(&q->ask, &q->snapshot, &(struct ask_models){read_model, q}, &q->err);
}

static void done(void *arg, bool cancelled)
{
    struct question *q = arg;
    struct http_req *req = pending_end(&q->pending);
    if (req && cancelled)
        http_abort(req);
    else if (req && q->answer)
        http_reply_json(req, 200, json_incref(q->answer));
    else if (req)
        http_reply_err(req, &q->err, q->hint[0] ? q->hint : NULL);
    json_decref(q->answer);
    shelf_done(&q->shelf);
    snapshot_done(&q->snapshot);
    ask_done(&q->ask);
    free(q);
}

void rest_plan(const struct call *c)
{
    struct err err = {0};
    struct str body = http_req_body(c->req);
    struct question *q = mem_calloc(1, sizeof *q);
    json_auto_t *doc = json_parse(body.p, body.n, &err);
    if (!err.code && ask_from_json(&q->ask, doc, &err) == 0 &&
        work_pending(c->s->work) >= MAX_PENDING)
        err_fill(&err, ERR_UNAVAILABLE, "%d requests wait for a plan; try again", MAX_PENDING);
    if (err.code) {
        ask_done(&q->ask);
        free(q);
        call_fail(c, &err);
        return;
    }
    sched_snapshot_specs(c->s, &q->snapshot);
    pending_begin(&q->pending, c->req);
    work_submit(c->s->work, run, done, q);
}

void rest_snapshot(const struct call *c)
{
    struct cluster_snapshot snapshot;
    sched_snapshot_specs(c->s, &snapshot);
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
