/* Replicas as groups: members' reports come in, the reconciler's decisions are carried out.
 *
 * A decision is written to the store first; when that fails nothing has changed and the next pass,
 * a second later at most, decides it again. */
#include "server/internal.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"
#include "server/reconcile.h"

#include <string.h>

enum { MAX_PASSES = 64, MAX_ACTIONS = 1000 /* of one transaction */, RETRY_MS = 1000 };
_Static_assert(MAX_ACTIONS * 2 <= STORE_MAX_OPS, "an action is at most two operations");

int server_save_replica(struct server *s, struct replica *r, struct err *err)
{
    struct ops o = {0};
    ops_put_status(&o, "replica", r->id, replica_status_doc(r), -1);
    return ops_commit(s, &o, &r->revision, err);
}

/* ---- reports ---- */

/* A member that had come up and starts again was restarted behind our back (its worker died, say);
 * what its peers hold of it is gone with it. */
static bool went_back(const struct member *m, const struct api_report *report)
{
    return m->state >= MEMBER_UP && m->state <= MEMBER_READY && report->state < MEMBER_UP;
}

static void take_report(struct replica *r, struct member *m, struct api_report *report)
{
    if (went_back(m, report)) {
        m->state = MEMBER_FAILED;
        STR_COPY(m->code, err_info(ERR_UNAVAILABLE)->name);
        STR_COPY(m->message, "its worker or engine was restarted");
        return;
    }
    m->state = report->state;
    m->percent = report->percent;
    m->pid = report->pid;
    m->rss_bytes = report->rss_bytes;
    STR_COPY(m->code, report->code);
    STR_COPY(m->message, report->message);
    if (m->role == API_MAIN && report->state == MEMBER_READY) {
        api_report_done(&r->main_report);
        r->main_report = *report;
        *report = (struct api_report){0};
    }
}

int group_report(struct server *s, struct replica *r, struct member *m, struct api_report *report,
                 struct err *err)
{
    if (report->generation != r->generation || r->state == REPLICA_PENDING)
        return err_set(err, ERR_CONFLICT, "replica '%s' is at generation %u, this report is of %u",
                       r->id, r->generation, report->generation);
    /* Within a generation the end is final: a late report of what was before changes nothing. */
    if (m->state == MEMBER_STOPPED ||
        (m->state == MEMBER_FAILED && report->state != MEMBER_STOPPED))
        return 0;
    struct member old = *m;
    bool news = m->state != report->state || (m->role == API_MAIN && report->state == MEMBER_READY);
    take_report(r, m, report);
    if (news && server_save_replica(s, r, err)) {
        *m = old;
        return -1;
    }
    feed_touch(s, FEED_REPLICA, r->id);
    if (m->state == old.state)
        return 0;
    if (m->state == MEMBER_FAILED)
        log_line(LOG_WARN, "member_failed replica=%s node=%s role=%s code=%s message=\"%s\"", r->id,
                 m->node, api_role_name(m->role), m->code, m->message);
    feed_touch_replica(s, r);
    server_wake(s);
    return 0;
}

/* ---- actions ---- */

static void enter(struct server *s, struct replica *r, const struct recon_action *a)
{
    int64_t now = loop_now_ms(s->loop);
    bool was_ready = r->state == REPLICA_READY;
    if (a->to == REPLICA_FAILED || a->to == REPLICA_LOST) {
        bool stable = r->ready_ms && now - r->ready_ms >= SERVER_STABLE_MS;
        r->failures = stable ? 1 : r->failures + 1;
        r->backoff_until_ms = now + replica_backoff_ms(r->failures);
        r->stopping = true;
    }
    if (a->to == REPLICA_DRAINING && !was_ready)
        r->stopping = true; /* nothing in flight to wait for */
    if (a->to == REPLICA_PENDING) {
        r->restarts++;
        r->stopping = false;
        r->tried_epoch = 0;
    }
    if (a->to == REPLICA_READY)
        r->ready_ms = now;
    r->noted = false;
    r->state = a->to;
    r->since_ms = now;
    /* Why it failed stays readable while it waits for its turn again. */
    if (a->to == REPLICA_PENDING)
        return;
    STR_COPY(r->code, a->code ? err_info(a->code)->name : "");
    STR_COPY(r->message, a->message);
}

/* ---- one transaction for all actions of a pass ----
 * Three steps per action: memory is changed and the operations are noted; when the commit fails
 * memory is put back; when it succeeds everybody is told. */

struct change {
    const struct recon_action *a;
    struct deployment *d;
    struct replica *r;
    struct replica old; /* its plain fields, to put back; what they point to does not change here */
};

static void prepare_create(struct server *s, struct change *c, struct ops *o)
{
    char random[13], id[CLUSTER_ID];
    os_random_hex(random, 6);
    str_copyf(id, sizeof id, "r-%s", random);
    c->r = state_add_replica(s, c->d, id, c->a->index);
    ops_put_spec(o, "replica", id, replica_spec_doc(c->r), 0);
    ops_put_status(o, "replica", id, replica_status_doc(c->r), 0);
}

static int prepare(struct server *s, struct change *c, struct ops *o, struct err *err)
{
    struct replica *r = c->r;
    if (r)
        c->old = *r;
    switch (c->a->kind) {
    case RECON_CREATE:
        prepare_create(s, c, o);
        return 0;
    case RECON_STATE:
        if (!replica_may(r->state, c->a->to))
            return err_set(err, ERR_INTERNAL, "replica '%s' cannot go from %s to %s", r->id,
                           replica_state_name(r->state), replica_state_name(c->a->to));
        enter(s, r, c->a);
        ops_put_status(o, "replica", r->id, replica_status_doc(r), -1);
        return 0;
    case RECON_NOTE:
        r->noted = true;
        STR_COPY(r->code, err_info(c->a->code)->name);
        STR_COPY(r->message, c->a->message);
        ops_put_status(o, "replica", r->id, replica_status_doc(r), -1);
        return 0;
    case RECON_STOP:
        r->stopping = true;
        return 0;
    case RECON_RELEASE:
        r->claimed = false;
        ops_unclaim(o, r->id);
        ops_put_spec(o, "replica", r->id, replica_spec_doc(r), -1);
        return 0;
    case RECON_REMOVE:
        ops_unclaim(o, r->id);
        ops_delete(o, "replica", r->id);
        return 0;
    case RECON_REMOVE_DEPLOYMENT:
        ops_delete(o, "deployment", c->d->spec->name);
        return 0;
    }
    return err_set(err, ERR_INTERNAL, "no action %d", (int)c->a->kind);
}

static void undo(struct server *s, struct change *c)
{
    if (c->a->kind == RECON_CREATE)
        state_drop_replica(s, c->r);
    else if (c->r) {
        struct replica *sibling = c->r->sibling;
        *c->r = c->old;
        c->r->sibling = sibling;
    }
}

static void tell_state(struct server *s, const struct replica *r)
{
    bool bad = r->state == REPLICA_FAILED || r->state == REPLICA_LOST;
    log_line(bad ? LOG_WARN : LOG_INFO,
             "replica_state replica=%s model=%s/%u generation=%u state=%s%s%s%s", r->id,
             r->d->spec->name, r->index, r->generation, replica_state_name(r->state),
             r->message[0] ? " reason=\"" : "", r->message, r->message[0] ? "\"" : "");
}

static void tell_gone(struct server *s, struct deployment *d)
{
    char name[CLUSTER_NAME];
    STR_COPY(name, d->spec->name);
    log_line(LOG_INFO, "deployment_gone name=%s", name);
    state_drop_deployment(s, d);
    feed_touch(s, FEED_DEPLOYMENT, name);
    feed_touch_routes(s);
}

static void tell(struct server *s, struct change *c, int64_t revision)
{
    struct replica *r = c->r;
    if (c->a->kind == RECON_REMOVE_DEPLOYMENT) {
        tell_gone(s, c->d);
        return;
    }
    if (c->a->kind == RECON_STATE || c->a->kind == RECON_NOTE)
        tell_state(s, r);
    if (c->a->kind != RECON_STOP)
        r->revision = revision;
    feed_touch_replica(s, r);
    if (c->a->kind == RECON_RELEASE || c->a->kind == RECON_REMOVE)
        sched_retry(s);
    if (c->a->kind != RECON_REMOVE)
        return;
    log_line(LOG_INFO, "replica_gone replica=%s model=%s/%u", r->id, r->d->spec->name, r->index);
    logs_replica_gone(s, r);
    state_drop_replica(s, r);
}

/* ---- one pass ---- */

struct pass {
    struct recon_in in;
    struct deployment **deployments;
    struct replica **replicas;
    struct recon_deployment *want;
    struct recon_replica *have;
    struct recon_member **members;
};

static void view_replica(const struct server *s, struct pass *p, struct replica *r)
{
    uint32_t i = p->in.n_replicas++;
    uint64_t bytes = r->a.host_weights_bytes;
    struct recon_member *members = mem_calloc(r->n_members, sizeof *members);
    for (uint32_t k = 0; k < r->n_members; k++) {
        const struct member *m = &r->members[k];
        const struct node *n = state_node(s, m->node_id);
        members[k] =
            (struct recon_member){m->role, m->state, !n || n->lost, m->node, m->code, m->message};
    }
    for (uint32_t k = 0; k < r->a.n_parts; k++)
        bytes = num_add_sat(bytes, r->a.parts[k].weights_bytes);
    p->replicas[i] = r;
    p->members[i] = members;
    p->have[i] = (struct recon_replica){.deployment = r->d->pass_index,
                                        .index = r->index,
                                        .state = r->state,
                                        .stopping = r->stopping,
                                        .claimed = r->claimed,
                                        .noted = r->noted,
                                        .since_ms = r->since_ms,
                                        .backoff_until_ms = r->backoff_until_ms,
                                        .bytes = bytes,
                                        .members = members,
                                        .n_members = r->n_members};
}

static void pass_init(const struct server *s, struct pass *p)
{
    size_t nd = map_count(s->deployments), nr = map_count(s->replicas);
    void *value;
    *p = (struct pass){.deployments = mem_calloc(nd, sizeof *p->deployments),
                       .replicas = mem_calloc(nr, sizeof *p->replicas),
                       .want = mem_calloc(nd, sizeof *p->want),
                       .have = mem_calloc(nr, sizeof *p->have),
                       .members = mem_calloc(nr, sizeof *p->members)};
    p->in.now_ms = loop_now_ms(s->loop);
    p->in.drain_ms = s->drain_ms;
    for (size_t i = 0; map_next(s->deployments, &i, NULL, &value);) {
        struct deployment *d = value;
        d->pass_index = p->in.n_deployments;
        p->deployments[p->in.n_deployments] = d;
        p->want[p->in.n_deployments++] = (struct recon_deployment){d->spec->replicas, d->deleting};
    }
    for (size_t i = 0; map_next(s->replicas, &i, NULL, &value);)
        view_replica(s, p, value);
    p->in.deployments = p->want;
    p->in.replicas = p->have;
}

static void pass_done(struct pass *p)
{
    for (uint32_t i = 0; i < p->in.n_replicas; i++)
        free(p->members[i]);
    free(p->deployments);
    free(p->replicas);
    free(p->want);
    free(p->have);
    free(p->members);
}

static int apply(struct server *s, const struct pass *p, const struct recon_action *actions,
                 size_t n, struct err *err)
{
    struct ops o = {0};
    int64_t revision = 0;
    size_t done = 0;
    struct change *changes = mem_calloc(n, sizeof *changes);
    int rc = 0;
    for (; done < n && !rc; done++) {
        struct change *c = &changes[done];
        bool of_replica =
            actions[done].kind != RECON_CREATE && actions[done].kind != RECON_REMOVE_DEPLOYMENT;
        c->a = &actions[done];
        c->r = of_replica ? p->replicas[c->a->replica] : NULL;
        c->d = p->deployments[c->a->deployment];
        rc = prepare(s, c, &o, err);
    }
    if (!rc && o.n)
        rc = ops_commit(s, &o, &revision, err);
    else
        ops_drop(&o);
    while (rc && done > 0)
        undo(s, &changes[--done]);
    for (size_t i = 0; i < done; i++)
        tell(s, &changes[i], revision);
    free(changes);
    return rc;
}

static void on_pump(void *arg)
{
    struct server *s = arg;
    s->pump = NULL;
    group_pump(s);
}

static void pump_at(struct server *s, int64_t at_ms)
{
    if (s->pump && s->pump_ms <= at_ms)
        return;
    loop_timer_del(s->pump);
    int64_t now = loop_now_ms(s->loop);
    s->pump_ms = at_ms;
    s->pump = loop_timer_add(s->loop, at_ms > now ? at_ms - now : 0, on_pump, s);
}

void server_wake(struct server *s)
{
    pump_at(s, loop_now_ms(s->loop));
}

/* Applies what is due now; false when there was nothing, or when the store refused. */
static bool one_pass(struct server *s, int64_t *wake_ms)
{
    struct pass p;
    struct recon_out out = {0};
    struct err err = {0};
    pass_init(s, &p);
    reconcile(&p.in, &out);
    *wake_ms = out.wake_ms;
    bool ok = out.n > 0;
    for (size_t i = 0; ok && i < out.n; i += MAX_ACTIONS) {
        size_t n = out.n - i < MAX_ACTIONS ? out.n - i : MAX_ACTIONS;
        if (apply(s, &p, out.actions + i, n, &err)) {
            log_line(LOG_ERROR, "reconcile_failed error=\"%s\" next=\"again in %d ms\"", err.msg,
                     RETRY_MS);
            *wake_ms = p.in.now_ms + RETRY_MS;
            ok = false;
        }
    }
    free(out.actions);
    pass_done(&p);
    return ok;
}

void group_pump(struct server *s)
{
    int64_t wake_ms = INT64_MAX;
    int passes = 0;
    while (passes < MAX_PASSES && one_pass(s, &wake_ms))
        passes++;
    if (passes == MAX_PASSES)
        wake_ms = loop_now_ms(s->loop) + RETRY_MS; /* the loop has others to serve */
    if (wake_ms != INT64_MAX)
        pump_at(s, wake_ms);
    sched_kick(s);
}
