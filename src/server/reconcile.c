/* The reconciler's rules, one function per phase of a replica's life. */
#include "server/reconcile.h"

#include "base/mem.h"

#include <string.h>

struct ctx {
    const struct recon_in *in;
    struct recon_out *out;
    const struct recon_replica *r;
    uint32_t i;
};

static struct recon_action *act(struct ctx *c, enum recon_kind kind)
{
    struct recon_out *o = c->out;
    mem_grow(&o->actions, &o->cap, o->n + 1, sizeof *o->actions);
    struct recon_action *a = &o->actions[o->n++];
    *a = (struct recon_action){.kind = kind, .replica = c->i};
    if (c->r)
        a->deployment = c->r->deployment;
    return a;
}

static struct recon_action *go(struct ctx *c, enum replica_state to, enum err_code code)
{
    struct recon_action *a = act(c, RECON_STATE);
    a->to = to;
    a->code = code;
    return a;
}

static void wake(struct ctx *c, int64_t at)
{
    if (at < c->out->wake_ms)
        c->out->wake_ms = at;
}

static bool retired(const struct ctx *c)
{
    const struct recon_deployment *d = &c->in->deployments[c->r->deployment];
    return d->deleting || c->r->index >= d->replicas;
}

/* Nobody we can reach holds anything any more. */
static bool all_stopped(const struct recon_replica *r)
{
    for (uint32_t i = 0; i < r->n_members; i++)
        if (!r->members[i].lost && r->members[i].state != MEMBER_STOPPED)
            return false;
    return true;
}

static const struct recon_member *first(const struct recon_replica *r, enum member_state state)
{
    for (uint32_t i = 0; i < r->n_members; i++)
        if (r->members[i].state == state)
            return &r->members[i];
    return NULL;
}

/* Whether the group must end: a lost, failed or unasked-for stopped member, or a deadline. */
static bool broken(struct ctx *c)
{
    const struct recon_replica *r = c->r;
    for (uint32_t i = 0; i < r->n_members; i++)
        if (r->members[i].lost) {
            struct recon_action *a = go(c, REPLICA_LOST, ERR_UNREACHABLE);
            str_copyf(a->message, sizeof a->message, "node %s is silent", r->members[i].node);
            return true;
        }
    const struct recon_member *m = first(r, MEMBER_FAILED);
    if (m) {
        struct recon_action *a = go(c, REPLICA_FAILED, err_by_name(m->code));
        str_copyf(a->message, sizeof a->message, "%s (%s): %s", m->node, api_role_name(m->role),
                  m->message);
        return true;
    }
    if ((m = first(r, MEMBER_STOPPED))) {
        struct recon_action *a = go(c, REPLICA_FAILED, ERR_UNAVAILABLE);
        str_copyf(a->message, sizeof a->message, "%s (%s) stopped without being told to", m->node,
                  api_role_name(m->role));
        return true;
    }
    int64_t deadline = replica_deadline_ms(r->state, r->bytes);
    if (!deadline)
        return false;
    if (c->in->now_ms - r->since_ms < deadline) {
        wake(c, r->since_ms + deadline);
        return false;
    }
    struct recon_action *a = go(c, REPLICA_FAILED, ERR_TIMEOUT);
    str_copyf(a->message, sizeof a->message, "still %s after %lld s", replica_state_name(r->state),
              (long long)(deadline / 1000));
    return true;
}

/* A member's report moves the whole forward, never back. */
static void forward(struct ctx *c)
{
    const struct recon_replica *r = c->r;
    bool any_started = false, all_up = true;
    for (uint32_t i = 0; i < r->n_members; i++) {
        any_started = any_started || r->members[i].state >= MEMBER_STARTING;
        all_up = all_up && r->members[i].state >= MEMBER_UP;
    }
    bool fetching = first(r, MEMBER_FETCHING) != NULL;
    if (r->state == REPLICA_ASSIGNED && fetching)
        go(c, REPLICA_FETCHING, ERR_NONE);
    else if (r->state < REPLICA_STARTING && any_started && !fetching)
        go(c, REPLICA_STARTING, ERR_NONE);
    else if (r->state == REPLICA_STARTING && all_up && r->n_members &&
             r->members[0].state == MEMBER_READY)
        go(c, REPLICA_READY, ERR_NONE);
}

static void alive(struct ctx *c)
{
    if (retired(c)) {
        struct recon_action *a = go(c, REPLICA_DRAINING, ERR_NONE);
        bool deleting = c->in->deployments[c->r->deployment].deleting;
        str_copy(a->message, sizeof a->message,
                 deleting ? "the deployment is being removed" : "scaled down");
        return;
    }
    if (!broken(c))
        forward(c);
}

/* A member that does not stop keeps its memory, so nothing may be given back; but it is said. */
static void overdue(struct ctx *c)
{
    int64_t at = c->r->since_ms + replica_deadline_ms(REPLICA_DRAINING, 0);
    if (c->r->noted)
        return;
    if (c->in->now_ms < at) {
        wake(c, at);
        return;
    }
    uint32_t i = 0;
    while (c->r->members[i].lost || c->r->members[i].state == MEMBER_STOPPED)
        i++; /* there is one: not all have stopped */
    struct recon_action *a = act(c, RECON_NOTE);
    a->code = ERR_TIMEOUT;
    str_copyf(a->message, sizeof a->message, "node %s has not stopped its engine after %lld s",
              c->r->members[i].node, (long long)(replica_deadline_ms(REPLICA_DRAINING, 0) / 1000));
}

static void draining(struct ctx *c)
{
    if (!c->r->stopping) {
        if (c->in->now_ms - c->r->since_ms >= c->in->drain_ms)
            act(c, RECON_STOP);
        else
            wake(c, c->r->since_ms + c->in->drain_ms);
        return;
    }
    if (all_stopped(c->r))
        act(c, RECON_REMOVE);
    else
        overdue(c);
}

static void ended(struct ctx *c)
{
    if (!c->r->stopping)
        act(c, RECON_STOP);
    else if (c->r->claimed) {
        if (all_stopped(c->r))
            act(c, RECON_RELEASE);
    } else if (retired(c))
        act(c, RECON_REMOVE);
    else if (c->in->now_ms >= c->r->backoff_until_ms)
        go(c, REPLICA_PENDING, ERR_NONE);
    else
        wake(c, c->r->backoff_until_ms);
}

static void replica(struct ctx *c)
{
    switch (c->r->state) {
    case REPLICA_PENDING:
        if (retired(c))
            act(c, RECON_REMOVE);
        break;
    case REPLICA_ASSIGNED:
    case REPLICA_FETCHING:
    case REPLICA_STARTING:
    case REPLICA_READY:
        alive(c);
        break;
    case REPLICA_DRAINING:
        draining(c);
        break;
    case REPLICA_FAILED:
    case REPLICA_LOST:
        ended(c);
        break;
    case REPLICA_GONE:
    case REPLICA_STATE_COUNT:
        act(c, RECON_REMOVE);
        break;
    }
}

/* Indexes that no row holds get a replica; a deployment that is being removed and holds none goes.
 */
static void deployment(struct ctx *c, uint32_t d, const uint32_t *first, const uint32_t *next)
{
    const struct recon_deployment *want = &c->in->deployments[d];
    bool taken[SPEC_MAX_REPLICAS];
    uint32_t n = want->replicas < SPEC_MAX_REPLICAS ? want->replicas : SPEC_MAX_REPLICAS;
    if (want->deleting) {
        if (!first[d])
            act(c, RECON_REMOVE_DEPLOYMENT)->deployment = d;
        return;
    }
    memset(taken, 0, n * sizeof *taken);
    for (uint32_t i = first[d]; i; i = next[i - 1])
        if (c->in->replicas[i - 1].index < n)
            taken[c->in->replicas[i - 1].index] = true;
    for (uint32_t i = 0; i < n; i++) {
        if (taken[i])
            continue;
        struct recon_action *a = act(c, RECON_CREATE);
        a->deployment = d;
        a->index = i;
    }
}

void reconcile(const struct recon_in *in, struct recon_out *out)
{
    struct ctx c = {.in = in, .out = out};
    /* Rows of each deployment as a chain: index + 1 of the first and of the next, 0 ends it. */
    mem_auto uint32_t *first = mem_calloc(in->n_deployments, sizeof *first);
    mem_auto uint32_t *next = mem_calloc(in->n_replicas, sizeof *next);
    out->wake_ms = INT64_MAX;
    for (c.i = 0; c.i < in->n_replicas; c.i++) {
        c.r = &in->replicas[c.i];
        next[c.i] = first[c.r->deployment];
        first[c.r->deployment] = c.i + 1;
        replica(&c);
    }
    c.r = NULL;
    c.i = 0;
    for (uint32_t d = 0; d < in->n_deployments; d++)
        deployment(&c, d, first, next);
}
