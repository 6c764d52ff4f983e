/* Replicas, and their logs: a reader's request opens a stream; the members' workers learn of it by
 * their tasks and post lines, which go straight to the reader. */
#include "server/internal.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"
#include "server/auth.h"

#include <string.h>

enum {
    MAX_STREAMS = 256,
    DEFAULT_TAIL = 200,
    MAX_TAIL = 100000,
    MAX_UNREAD = 4 << 20, /* bytes a slow reader may be behind before lines are dropped */
    TAIL_WAIT_MS = 10000, /* without follow: how long members have to send what they hold */
};

void rest_replicas(const struct call *c)
{
    json_t *o = json_object();
    json_t *list = json_put_array(o, "items");
    void *value;
    for (size_t i = 0; map_next(c->s->replicas, &i, NULL, &value);)
        json_array_append_new(list, replica_doc(c->s, value));
    http_reply_json(c->req, 200, o);
}

/* ---- streams ---- */

static void touch_members(struct server *s, const struct replica *r)
{
    for (uint32_t i = 0; r && i < r->n_members; i++)
        feed_touch_tasks(s, r->members[i].node_id);
}

static void stream_free(struct log_stream *l)
{
    struct log_stream **at = &l->server->logs;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    touch_members(l->server, l->replica);
    free(l->ended);
    free(l);
}

static void on_reader_gone(void *arg)
{
    stream_free(arg);
}

static void stream_end(struct log_stream *l)
{
    struct http_req *req = l->req;
    http_req_on_close(req, NULL, NULL);
    stream_free(l);
    http_end(req);
}

static struct log_stream *find_stream(const struct server *s, const char *id)
{
    struct log_stream *l = s->logs;
    while (l && strcmp(l->id, id) != 0)
        l = l->next;
    return l;
}

void logs_replica_gone(struct server *s, const struct replica *r)
{
    for (struct log_stream *l = s->logs, *next; l; l = next) {
        next = l->next;
        if (l->replica != r)
            continue;
        l->replica = NULL;
        stream_end(l);
    }
}

void logs_tick(struct server *s)
{
    for (struct log_stream *l = s->logs, *next; l; l = next) {
        next = l->next;
        if (!l->follow && loop_now_ms(s->loop) - l->opened_ms > TAIL_WAIT_MS)
            stream_end(l);
    }
}

void logs_free(struct server *s)
{
    while (s->logs) {
        s->logs->replica = NULL;
        stream_end(s->logs);
    }
}

/* ---- the reader ---- */

struct log_query {
    bool follow;
    uint32_t tail;
    char node[CLUSTER_NAME];
};

static int read_query(const struct call *c, struct log_query *q, struct err *err)
{
    char text[16];
    uint64_t tail = DEFAULT_TAIL;
    *q = (struct log_query){0};
    q->follow = http_req_query(c->req, "follow", text, sizeof text) && strcmp(text, "1") == 0;
    if (http_req_query(c->req, "tail", text, sizeof text) &&
        num_u64(text, "tail", 0, MAX_TAIL, &tail, err))
        return -1;
    q->tail = (uint32_t)tail;
    http_req_query(c->req, "node", q->node, sizeof q->node);
    return 0;
}

static int readable(const struct server *s, const struct replica *r, const struct log_query *q,
                    struct err *err)
{
    size_t streams = 0;
    for (const struct log_stream *l = s->logs; l; l = l->next)
        streams++;
    if (streams >= MAX_STREAMS)
        return err_set(err, ERR_UNAVAILABLE, "%d log readers are the most at a time", MAX_STREAMS);
    if (!r->has_assignment || r->state == REPLICA_PENDING)
        return err_set(err, ERR_UNAVAILABLE, "replica %s/%u is %s and has no engine: %.120s",
                       r->d->spec->name, r->index, replica_state_name(r->state), r->message);
    for (uint32_t i = 0; i < r->n_members; i++)
        if (!q->node[0] || strcmp(q->node, r->members[i].node) == 0)
            return 0;
    return err_set(err, ERR_NOT_FOUND, "replica %s/%u has no member on node '%.40s'",
                   r->d->spec->name, r->index, q->node);
}

void rest_replica_log(const struct call *c)
{
    struct err err = {0};
    struct log_query q;
    char random[17];
    struct replica *r = state_replica(c->s, c->params[0]);
    if (!r)
        err_fill(&err, ERR_NOT_FOUND, "no replica '%s'", c->params[0]);
    if (err.code || read_query(c, &q, &err) || readable(c->s, r, &q, &err)) {
        call_fail(c, &err);
        return;
    }
    struct log_stream *l = mem_calloc(1, sizeof *l);
    os_random_hex(random, 8);
    str_copyf(l->id, sizeof l->id, "l-%s", random);
    STR_COPY(l->node, q.node);
    l->server = c->s;
    l->req = c->req;
    l->replica = r;
    l->follow = q.follow;
    l->tail = q.tail;
    l->opened_ms = loop_now_ms(c->s->loop);
    l->ended = mem_calloc(r->n_members, sizeof *l->ended);
    l->next = c->s->logs;
    c->s->logs = l;
    http_add_header(c->req, "cache-control", "no-store");
    http_start(c->req, 200, "text/plain; charset=utf-8");
    http_req_on_close(c->req, on_reader_gone, l);
    touch_members(c->s, r);
}

/* ---- the members ---- */

static void write_lines(struct log_stream *l, const struct member *m, const struct api_log *log)
{
    buf_auto struct buf b;
    buf_init(&b, SIZE_MAX / 2); /* lines and their number are bounded */
    if (http_pending(l->req) > MAX_UNREAD) {
        l->dropped += log->n_lines;
        return;
    }
    if (l->dropped)
        buf_addf(&b, "%s %s │ (%llu lines left out: this reader is too slow)\n", m->node,
                 api_role_name(m->role), (unsigned long long)l->dropped);
    l->dropped = 0;
    for (uint32_t i = 0; i < log->n_lines; i++)
        buf_addf(&b, "%s %s │ %s\n", m->node, log->lines[i].role, log->lines[i].text);
    if (b.n)
        http_write(l->req, b.p, b.n);
}

/* True when every member that was asked has sent its end. */
static bool note_end(struct log_stream *l, const char *node_id)
{
    const struct replica *r = l->replica;
    uint32_t asked = 0;
    for (uint32_t i = 0; i < l->n_ended; i++)
        if (strcmp(l->ended[i], node_id) == 0)
            return false;
    if (l->n_ended < r->n_members)
        str_copy(l->ended[l->n_ended++], CLUSTER_ID, node_id);
    for (uint32_t i = 0; i < r->n_members; i++)
        asked += !l->node[0] || strcmp(l->node, r->members[i].node) == 0;
    return l->n_ended >= asked;
}

static void reply_more(const struct call *c, bool more)
{
    json_t *o = json_object();
    json_put_bool(o, "more", more);
    http_reply_json(c->req, 200, o);
}

/* The poster's node: a worker's own; an administrator may post for the main (tests, repairs). */
static struct member *poster(const struct call *c, const struct log_stream *l)
{
    if (c->key->scope == AUTH_WORKER)
        return replica_member(l->replica, c->key->node_id);
    return l->replica->members;
}

void rest_log_lines(const struct call *c)
{
    struct err err = {0};
    struct api_log log = {0};
    struct str body = http_req_body(c->req);
    struct log_stream *l = find_stream(c->s, c->params[0]);
    const struct member *m = l ? poster(c, l) : NULL;
    json_auto_t *doc = json_parse(body.p, body.n, &err);
    if (doc && l && !m)
        err_fill(&err, ERR_FORBIDDEN, "this log is not of a replica on your node");
    if (err.code || api_log_from_json(&log, doc, &err)) {
        call_fail(c, &err);
        return;
    }
    if (l)
        write_lines(l, m, &log);
    bool ended = l && log.end && note_end(l, m->node_id);
    api_log_done(&log);
    if (ended)
        stream_end(l);
    reply_more(c, l && !ended);
}
