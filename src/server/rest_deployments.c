/* Deployments: the header is read first, on a thread; what cannot run is refused here and now. */
#include "server/internal.h"

#include "base/mem.h"
#include "estimate/estimate.h"
#include "model/model.h"
#include "os/file.h"
#include "server/pending.h"
#include "server/planning.h"
#include "server/probe.h"
#include "server/work.h"

#include <string.h>

enum { MAX_DEPLOYMENTS = 10000, MAX_PENDING = 64 };

struct deploy {
    struct pending pending;
    struct server *s;
    struct probe probe;
    json_t *place; /* wishes (sched_take_wishes) */
};

static int name_free(const struct server *s, const char *name, struct err *err)
{
    const struct deployment *d = state_deployment(s, name);
    if (!d)
        return 0;
    return err_set(err, ERR_CONFLICT, "a deployment named '%s' %s", name,
                   d->deleting ? "is still being removed; try again in some seconds"
                               : "exists already");
}

static struct deployment *new_deployment(struct deploy *j)
{
    char random[9];
    struct deployment *d = mem_calloc(1, sizeof *d);
    os_random_hex(random, 4);
    str_copyf(d->id, sizeof d->id, "d-%s", random);
    d->spec = mem_calloc(1, sizeof *d->spec);
    *d->spec = *j->probe.spec;
    d->model = j->probe.model;
    d->summary = facts_summary(j->probe.facts, &d->model);
    d->created_at = os_wall_ms();
    d->place = STEAL(j->place);
    d->facts = mem_calloc(1, sizeof *d->facts);
    *d->facts = (struct facts){STEAL(j->probe.facts), 1};
    return d;
}

static int add(struct deploy *j, struct deployment **out, struct err *err)
{
    struct server *s = j->s;
    if (name_free(s, j->probe.spec->name, err))
        return -1;
    struct deployment *d = new_deployment(j);
    struct ops o = {0};
    map_set(s->deployments, d->spec->name, d);
    ops_put_spec(&o, "deployment", d->spec->name, deployment_spec_doc(d), 0);
    if (ops_commit(s, &o, &d->revision, err)) {
        state_drop_deployment(s, d);
        return -1;
    }
    *out = d;
    return 0;
}

static void deploy_run(void *arg)
{
    probe_run(&((struct deploy *)arg)->probe);
}

static void deploy_done(void *arg, bool cancelled)
{
    struct deploy *j = arg;
    struct http_req *req = pending_end(&j->pending);
    struct err *err = &j->probe.err;
    struct deployment *d = NULL;
    if (!cancelled && !err->code && add(j, &d, err) == 0) {
        log_line(LOG_INFO, "deployment_new name=%s model=%s ctx=%u slots=%u replicas=%u",
                 d->spec->name, d->model.path, d->spec->ctx, d->spec->n_slots, d->spec->replicas);
        feed_touch(j->s, FEED_DEPLOYMENT, d->spec->name);
        feed_touch_routes(j->s);
        group_pump(j->s); /* its replicas exist before the answer */
        if (req)
            http_reply_json(req, 201, deployment_doc(j->s, d, true));
    } else if (req && !cancelled) {
        http_reply_err(req, err, j->probe.hint[0] ? j->probe.hint : NULL);
    } else if (req) {
        http_abort(req);
    }
    probe_done(&j->probe);
    json_decref(j->place);
    free(j);
}

void rest_deploy(const struct call *c)
{
    struct err err = {0};
    struct str body = http_req_body(c->req);
    struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    json_auto_t *doc = json_parse(body.p, body.n, &err), *place = NULL;
    if (!err.code && sched_take_wishes(doc, &place, &err) == 0 &&
        spec_from_json(spec, doc, &err) == 0 && name_free(c->s, spec->name, &err) == 0) {
        if (map_count(c->s->deployments) >= MAX_DEPLOYMENTS)
            err_fill(&err, ERR_LIMIT, "%d deployments are the most", MAX_DEPLOYMENTS);
        else if (work_pending(c->s->work) >= MAX_PENDING)
            err_fill(&err, ERR_UNAVAILABLE, "%d requests wait for a model's header; try again",
                     MAX_PENDING);
    }
    if (err.code) {
        free(spec);
        call_fail(c, &err);
        return;
    }
    struct deploy *j = mem_calloc(1, sizeof *j);
    j->s = c->s;
    j->probe.spec = spec;
    j->probe.to_run = true;
    j->place = STEAL(place);
    pending_begin(&j->pending, c->req);
    work_submit(c->s->work, deploy_run, deploy_done, j);
}

void rest_deployments(const struct call *c)
{
    json_t *o = json_object();
    json_t *list = json_put_array(o, "items");
    void *value;
    for (size_t i = 0; map_next(c->s->deployments, &i, NULL, &value);)
        json_array_append_new(list, deployment_doc(c->s, value, true));
    http_reply_json(c->req, 200, o);
}

static struct deployment *find(const struct call *c)
{
    struct deployment *d = state_deployment(c->s, c->params[0]);
    if (d)
        return d;
    struct err err;
    err_fill(&err, ERR_NOT_FOUND, "no deployment '%s'", c->params[0]);
    call_fail(c, &err);
    return NULL;
}

void rest_deployment(const struct call *c)
{
    const struct deployment *d = find(c);
    if (d)
        http_reply_json(c->req, 200, deployment_doc(c->s, d, true));
}

static int save(struct server *s, struct deployment *d, struct err *err)
{
    struct ops o = {0};
    ops_put_spec(&o, "deployment", d->spec->name, deployment_spec_doc(d), d->revision);
    if (ops_commit(s, &o, &d->revision, err))
        return -1;
    feed_touch(s, FEED_DEPLOYMENT, d->spec->name);
    feed_touch_routes(s);
    return 0;
}

static int scale(struct server *s, struct deployment *d, uint32_t replicas, struct err *err)
{
    uint32_t old = d->spec->replicas;
    if (d->deleting)
        return err_set(err, ERR_CONFLICT, "deployment '%s' is being removed", d->spec->name);
    d->spec->replicas = replicas;
    if (save(s, d, err) == 0)
        return 0;
    d->spec->replicas = old;
    return -1;
}

void rest_scale(const struct call *c)
{
    static const char *const KEYS[] = {"replicas", "place"};
    struct err err = {0};
    uint32_t replicas = 0;
    struct deployment *d = find(c);
    json_auto_t *doc = d ? call_body(c, "a change of a deployment", KEYS, ARRAY_LEN(KEYS)) : NULL;
    json_auto_t *place = NULL;
    if (!doc)
        return;
    uint32_t old = d->spec->replicas;
    if (json_get_u32(doc, "replicas", true, SPEC_MAX_REPLICAS, &replicas, &err) ||
        sched_take_wishes(doc, &place, &err) || scale(c->s, d, replicas, &err)) {
        call_fail(c, &err);
        return;
    }
    json_decref(d->place);
    d->place = STEAL(place);
    d->place_from = old;
    log_line(LOG_INFO, "deployment_scaled name=%s replicas=%u", d->spec->name, replicas);
    group_pump(c->s);
    http_reply_json(c->req, 200, deployment_doc(c->s, d, true));
}

/* Deleting twice is deleting once. */
void rest_undeploy(const struct call *c)
{
    struct err err = {0};
    struct deployment *d = find(c);
    if (!d)
        return;
    if (!d->deleting) {
        d->deleting = true;
        if (save(c->s, d, &err)) {
            d->deleting = false;
            call_fail(c, &err);
            return;
        }
        log_line(LOG_INFO, "deployment_deleted name=%s", d->spec->name);
    }
    json_t *o = json_object();
    json_put_str(o, "name", d->spec->name);
    json_put_bool(o, "deleting", true);
    server_wake(c->s);
    http_reply_json(c->req, 202, o);
}
