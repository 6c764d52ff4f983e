/* The scheduler: snapshot, place, commit.
 *
 * One replica at a time, oldest deployment first. The plan is made on a thread from a copy of what
 * is known; its result is committed with the replica's revision and the devices' capacities as
 * conditions, so that whatever happened meanwhile makes the commit fail and the plan is made again.
 * A refused replica keeps its reasons and is tried again when `epoch` moves: at every event that
 * can change the answer, and every SERVER_SWEEP_MS. */
#include "server/internal.h"

#include "base/doc.h"
#include "base/mem.h"
#include "estimate/estimate.h"
#include "model/model.h"
#include "os/file.h"
#include "place/place.h"
#include "server/claims.h"
#include "server/planning.h"
#include "server/work.h"

#include <string.h>

enum {
    FULL_PLAN_MS = 30000
}; /* a refusal's changes are worked out again after that, or when it differs */

struct sched {
    struct server *s;
    uint64_t epoch;
    bool busy;
    struct loop_timer *sweep;
};

struct job {
    struct sched *c;
    char replica[CLUSTER_ID];
    uint64_t epoch;
    struct planning *p;
};

void sched_retry(struct server *s)
{
    s->sched->epoch++;
}

static void on_sweep(void *arg)
{
    struct sched *c = arg;
    c->sweep = loop_timer_add(c->s->loop, SERVER_SWEEP_MS, on_sweep, c);
    c->epoch++;
    sched_kick(c->s);
}

struct sched *sched_new(struct server *s)
{
    struct sched *c = mem_calloc(1, sizeof *c);
    c->s = s;
    c->epoch = 1;
    c->sweep = loop_timer_add(s->loop, SERVER_SWEEP_MS, on_sweep, c);
    return c;
}

void sched_free(struct sched *c)
{
    if (!c)
        return;
    loop_timer_del(c->sweep);
    free(c);
}

/* ---- facts, read again after a restart of the server ---- */

struct facts_job {
    struct server *s;
    char name[CLUSTER_NAME], path[SPEC_MODEL_PATH], sha[API_HEX];
    struct arch_facts *facts;
    struct err err;
};

static void facts_run(void *arg)
{
    struct facts_job *j = arg;
    struct model_info info;
    j->facts = model_facts(j->path, &info, &j->err);
    if (j->facts && j->sha[0] && strcmp(info.header_sha256, j->sha) != 0) {
        err_fill(&j->err, ERR_CONFLICT, "%.160s is not the file that was deployed", j->path);
        arch_free(j->facts);
        j->facts = NULL;
    }
}

static void refuse(struct server *s, struct deployment *d, const char *code, const char *message);

static void facts_done(void *arg, bool cancelled)
{
    struct facts_job *j = arg;
    struct deployment *d = cancelled ? NULL : state_deployment(j->s, j->name);
    if (d && !d->facts && j->facts) {
        d->facts = mem_calloc(1, sizeof *d->facts);
        *d->facts = (struct facts){STEAL(j->facts), 1};
    }
    if (d && !d->facts)
        refuse(j->s, d, err_info(j->err.code)->name, j->err.msg);
    if (d)
        d->facts_wanted = false;
    if (!cancelled)
        sched_kick(j->s);
    arch_free(j->facts);
    free(j);
}

static void want_facts(struct server *s, struct deployment *d)
{
    if (d->facts_wanted)
        return;
    struct facts_job *j = mem_calloc(1, sizeof *j);
    j->s = s;
    STR_COPY(j->name, d->spec->name);
    STR_COPY(j->path, d->model.path);
    STR_COPY(j->sha, d->model.header_sha256);
    d->facts_wanted = true;
    work_submit(s->work, facts_run, facts_done, j);
}

/* ---- outcomes ---- */

/* After a conflict memory may be behind the store (a commit whose answer was lost): learn the
 * revision. */
static void refresh(struct server *s, struct replica *r)
{
    struct store_object o;
    if (s->store->driver->get(s->store, "replica", r->id, &o, NULL))
        return;
    r->revision = o.revision;
    store_object_done(&o);
}

static bool waits(const struct replica *r)
{
    return r->state == REPLICA_PENDING;
}

static bool says(const struct replica *r, const char *code, const char *message)
{
    return strcmp(r->code, code) == 0 && strcmp(r->message, message) == 0;
}

/* PENDING stays, with a reason, for all replicas of the deployment that wait: they ask for the same
 * on the same cluster. One transaction; a reason that could not be written is made again by the
 * sweep. */
static void refuse(struct server *s, struct deployment *d, const char *code, const char *message)
{
    struct ops o = {0};
    struct err err = {0};
    int64_t revision;
    for (struct replica *r = d->replicas; r; r = r->sibling) {
        r->written = false;
        if (!waits(r))
            continue;
        r->tried_epoch = s->sched->epoch;
        if (says(r, code, message))
            continue;
        r->written = true;
        STR_COPY(r->code, code);
        STR_COPY(r->message, message);
        ops_put_status(&o, "replica", r->id, replica_status_doc(r), -1);
        feed_touch(s, FEED_REPLICA, r->id);
    }
    if (!o.n)
        return;
    log_line(LOG_INFO, "deployment_waits model=%s reason=\"%s\"", d->spec->name, message);
    feed_touch_routes(s);
    size_t n = o.n;
    if (ops_commit(s, &o, &revision, &err)) {
        log_line(LOG_ERROR, "refusal_not_saved model=%s replicas=%zu error=\"%s\"", d->spec->name,
                 n, err.msg);
        return;
    }
    for (struct replica *r = d->replicas; r; r = r->sibling)
        if (r->written)
            r->revision = revision;
}

/* The plan of a refusal stays in memory: after a restart it is made anew within moments. */
static void refuse_plan(struct server *s, struct deployment *d, const struct planning *p,
                        uint64_t epoch)
{
    for (struct replica *r = d->replicas; r; r = r->sibling) {
        if (!waits(r) || !p->doc || (!p->full && r->plan))
            continue;
        json_decref(r->plan);
        r->plan = json_incref(p->doc);
        r->decided_at = os_wall_ms();
        r->full_plan_ms = loop_now_ms(s->loop);
    }
    refuse(s, d, err_info(p->err.code ? p->err.code : ERR_NO_PLACEMENT)->name,
           p->err.code ? p->err.msg : p->refusal);
    for (struct replica *r = d->replicas; r; r = r->sibling)
        if (waits(r))
            r->tried_epoch = epoch; /* of the snapshot: what came after it is tried again */
}

/* Every node of the plan must still be there and take work; what else may have changed is checked
 * by the transaction itself. */
static bool still_good(const struct server *s, const struct assignment *a)
{
    const struct node *n = state_node(s, a->main_id);
    if (!n || n->lost || n->drained)
        return false;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        n = state_node(s, a->parts[i].node_id);
        if (!n || n->lost || n->drained)
            return false;
    }
    return true;
}

static void take_assignment(struct server *s, struct replica *r, struct planning *p)
{
    assignment_done(&r->a);
    r->a = p->plan->a;
    p->plan->a = (struct assignment){0};
    r->has_assignment = r->claimed = true;
    r->generation++;
    os_random_hex(r->secret, 32);
    json_decref(r->plan);
    r->plan = json_incref(p->doc);
    r->decided_at = os_wall_ms();
    api_report_done(&r->main_report);
    replica_make_members(r);
    r->state = REPLICA_ASSIGNED;
    r->since_ms = loop_now_ms(s->loop);
    r->ready_ms = 0;
    r->stopping = false;
    r->code[0] = r->message[0] = 0;
}

/* The replica with everything a failed commit has to give back. */
static void keep(struct replica *old, const struct replica *r)
{
    *old = *r;
    json_incref(old->plan);
}

static int commit(struct server *s, struct replica *r, struct planning *p, struct err *err)
{
    struct replica *old = mem_calloc(1, sizeof *old);
    keep(old, r);
    int64_t expect = r->revision;
    r->a =
        (struct assignment){0}; /* old owns its assignment, members and report until the commit */
    r->members = NULL;
    r->main_report = (struct api_report){0};
    take_assignment(s, r, p);
    struct ops o = {0};
    ops_unclaim(&o, r->id);
    ops_put_spec(&o, "replica", r->id, replica_spec_doc(r), expect);
    ops_put_status(&o, "replica", r->id, replica_status_doc(r), expect);
    claims_of_assignment(s, r->id, &r->a, &o);
    int rc = ops_commit(s, &o, &r->revision, err);
    struct replica *loser = rc ? r : old;
    assignment_done(&loser->a);
    api_report_done(&loser->main_report);
    json_decref(loser->plan);
    free(loser->members);
    if (rc)
        *r = *old;
    free(old);
    return rc;
}

static void assign(struct server *s, struct replica *r, struct planning *p)
{
    struct err err = {0};
    if (!still_good(s, &p->plan->a)) {
        r->tried_epoch = 0;
        return;
    }
    if (commit(s, r, p, &err)) {
        log_line(LOG_WARN, "assignment_lost_race replica=%s error=\"%s\" next=\"plan again\"",
                 r->id, err.msg);
        refresh(s, r);
        r->tried_epoch = s->sched->epoch; /* the sweep comes back, should the books disagree */
        return;
    }
    char nodes[160] = "";
    for (uint32_t i = 0; i < r->n_members; i++) {
        size_t n = strlen(nodes);
        str_copyf(nodes + n, sizeof nodes - n, "%s%s", n ? "," : "", r->members[i].node);
    }
    log_line(LOG_INFO, "replica_assigned replica=%s model=%s/%u generation=%u plan=%s nodes=%s%s",
             r->id, r->d->spec->name, r->index, r->generation, r->a.plan_id, nodes,
             p->as_wished ? " as_planned_together=yes" : "");
    if (!p->plan->optimal)
        log_line(LOG_WARN,
                 "placement_not_proved replica=%s model=%s/%u plan=%s gap_percent=%.1f "
                 "steps=%llu next=\"pin its GPUs (gpus in the spec) to make the search smaller\"",
                 r->id, r->d->spec->name, r->index, r->a.plan_id, p->plan->gap_percent,
                 (unsigned long long)p->plan->steps);
    feed_touch_replica(s, r);
    server_wake(s);
}

/* A fault of ours: said with all figures, and nothing is committed. Tried again with the next
 * event: another snapshot may not meet it. */
static void refuse_wrong(struct server *s, struct replica *r, const struct planning *p)
{
    char text[sizeof p->wrong.msg];
    mem_auto char *plan = json_text(p->doc);
    str_copyf(text, sizeof text,
              "a plan that is wrong was made and not used; please report this: "
              "%.160s",
              p->wrong.msg);
    log_line(LOG_ERROR, "plan_is_wrong replica=%s model=%s error=\"%s\" plan=%s", r->id,
             r->d->spec->name, p->wrong.msg, plan);
    refuse(s, r->d, err_info(ERR_INTERNAL)->name, text);
}

static void job_run(void *arg)
{
    planning_run(((struct job *)arg)->p);
}

static void job_done(void *arg, bool cancelled)
{
    struct job *j = arg;
    struct sched *c = j->c;
    if (!cancelled) {
        c->busy = false;
        struct replica *r = state_replica(c->s, j->replica);
        bool wanted = r && waits(r) && !r->d->deleting && r->d->revision == j->p->spec_revision;
        if (wanted && j->p->wrong.code)
            refuse_wrong(c->s, r, j->p);
        else if (wanted && j->p->plan && j->p->plan->feasible)
            assign(c->s, r, j->p);
        else if (wanted)
            refuse_plan(c->s, r->d, j->p, j->epoch);
    }
    struct server *s = c->s;
    planning_free(j->p);
    free(j);
    if (!cancelled)
        sched_kick(s);
}

/* ---- wishes ---- */

static int read_wish(const json_t *doc, struct constraints *c, struct err *err)
{
    static const char *const KEYS[] = {"gpus", "tensor_split"};
    struct doc d = doc_of(doc);
    struct doc_at at = doc_root(&d);
    if (doc_known_keys(&at, KEYS, ARRAY_LEN(KEYS), err) || constraints_read(c, &at, NULL, 0, err))
        return -1;
    return c->n_split ? 0 : err_set(err, ERR_INVALID, "gpus and tensor_split go together");
}

int sched_take_wishes(json_t *doc, json_t **out, struct err *err)
{
    json_t *list = json_object_get(doc, "place");
    mem_auto struct constraints *c = mem_calloc(1, sizeof *c);
    *out = NULL;
    if (!list)
        return 0;
    if (!json_is_array(list) || json_array_size(list) > SPEC_MAX_REPLICAS)
        return err_set(err, ERR_INVALID, "'place' must be a list of at most %d", SPEC_MAX_REPLICAS);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        *c = (struct constraints){0};
        if (!json_is_null(one) && read_wish(one, c, err)) {
            err_wrap(err, "place[%zu]", i);
            return -1;
        }
    }
    *out = json_incref(list);
    json_object_del(doc, "place");
    return 0;
}

/* Of a replica that was never placed; afterwards the cluster is another one. */
static struct constraints *wish_of(const struct replica *r)
{
    if (r->generation || r->index < r->d->place_from)
        return NULL;
    const json_t *one = json_array_get(r->d->place, r->index - r->d->place_from);
    struct constraints *c = one && !json_is_null(one) ? mem_calloc(1, sizeof *c) : NULL;
    if (c)
        read_wish(one, c, NULL);
    return c;
}

/* ---- the queue ---- */

static bool before(const struct replica *a, const struct replica *b)
{
    if (a->d->created_at != b->d->created_at)
        return a->d->created_at < b->d->created_at;
    int c = strcmp(a->d->spec->name, b->d->spec->name);
    return c ? c < 0 : a->index < b->index;
}

static struct replica *next_replica(struct sched *c)
{
    struct replica *best = NULL;
    void *value;
    for (size_t i = 0; map_next(c->s->replicas, &i, NULL, &value);) {
        struct replica *r = value;
        if (r->state != REPLICA_PENDING || r->tried_epoch == c->epoch || r->d->deleting ||
            r->index >= r->d->spec->replicas)
            continue;
        if (!r->d->facts) {
            want_facts(c->s, r->d);
            continue;
        }
        if (!best || before(r, best))
            best = r;
    }
    return best;
}

void sched_kick(struct server *s)
{
    struct sched *c = s->sched;
    struct replica *r = c->busy ? NULL : next_replica(c);
    if (!r)
        return;
    struct job *j = mem_calloc(1, sizeof *j);
    j->c = c;
    j->epoch = c->epoch;
    STR_COPY(j->replica, r->id);
    j->p = planning_new(r->d->spec, r->d->facts);
    j->p->spec_revision = r->d->revision;
    j->p->wish = wish_of(r);
    sched_snapshot(s, &j->p->snapshot);
    bool fresh = r->plan && loop_now_ms(s->loop) - r->full_plan_ms < FULL_PLAN_MS;
    if (fresh)
        STR_COPY(j->p->known_refusal, r->message);
    c->busy = true;
    work_submit(s->work, job_run, job_done, j);
}
