/* Watches: server-sent events of tasks, routes and everything.
 *
 * Tasks and routes are level-triggered: whenever something may have changed the whole list is made
 * again and sent when its text differs from what this reader has. Events carry whole objects; one
 * object is sent at most every OBJECT_MS, however often it changes meanwhile. A reader that does
 * not keep up is cut off; it comes back and gets a snapshot. */
#include "server/internal.h"

#include "base/mem.h"
#include "net/sse.h"

#include <string.h>

enum { OBJECT_MS = 250, FLUSH_MS = 2 };

enum watch_kind { WATCH_TASKS, WATCH_ROUTES, WATCH_EVENTS };

struct watcher {
    struct feed *feed;
    struct http_req *req;
    enum watch_kind kind;
    char node_id[CLUSTER_ID];
    char *last; /* text sent last: tasks and routes */
    bool dirty;
    int64_t sent_ms;
    struct watcher *next;
};

struct object {
    enum feed_kind kind;
    char id[CLUSTER_NAME];
    bool dirty;
    int64_t sent_ms;
};

struct feed {
    struct server *s;
    struct watcher *watchers;
    struct map *objects; /* by "kind/id"; lives until the object's deletion was sent */
    struct loop_timer *timer;
    int64_t due_ms;
};

static const char *const KIND_NAMES[] = {"node", "deployment", "replica"};
_Static_assert(ARRAY_LEN(KIND_NAMES) == FEED_KIND_COUNT, "one name per kind");

struct feed *feed_new(struct server *s)
{
    struct feed *f = mem_calloc(1, sizeof *f);
    f->s = s;
    f->objects = map_new(0);
    return f;
}

static void watcher_free(struct watcher *w)
{
    free(w->last);
    free(w);
}

static void unlink_watcher(struct watcher *w)
{
    struct watcher **at = &w->feed->watchers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    watcher_free(w);
}

static void on_close(void *arg)
{
    unlink_watcher(arg);
}

void feed_free(struct feed *f)
{
    void *value;
    if (!f)
        return;
    loop_timer_del(f->timer);
    while (f->watchers) {
        struct watcher *w = f->watchers;
        f->watchers = w->next;
        http_req_on_close(w->req, NULL, NULL);
        http_end(w->req);
        watcher_free(w);
    }
    for (size_t i = 0; map_next(f->objects, &i, NULL, &value);)
        free(value);
    map_free(f->objects);
    free(f);
}

static void send_bytes(struct watcher *w, const void *p, size_t n)
{
    w->sent_ms = loop_now_ms(w->feed->s->loop);
    http_write(w->req, p, n);
}

static void send_event(struct watcher *w, const char *event, const char *id, const char *text)
{
    buf_auto struct buf b;
    buf_init(&b, SIZE_MAX / 2); /* our own document */
    sse_format(&b, event, id, str_of(text));
    send_bytes(w, b.p, b.n);
}

/* True when the reader was too slow and is gone now. */
static bool too_slow(struct watcher *w)
{
    if (http_pending(w->req) < SERVER_MAX_WATCH_BYTES)
        return false;
    struct http_req *req = w->req;
    http_req_on_close(req, NULL, NULL);
    unlink_watcher(w);
    http_abort(req);
    return true;
}

static void send_list(struct watcher *w)
{
    json_auto_t *doc =
        w->kind == WATCH_TASKS ? view_tasks(w->feed->s, w->node_id) : view_routes(w->feed->s);
    char *text = json_text(doc);
    w->dirty = false;
    if (w->last && strcmp(w->last, text) == 0) {
        free(text);
        return;
    }
    free(w->last);
    w->last = text;
    send_event(w, w->kind == WATCH_TASKS ? "tasks" : "routes", NULL, text);
}

static json_t *object_doc(const struct server *s, const struct object *o)
{
    const void *x = o->kind == FEED_NODE         ? (void *)state_node(s, o->id)
                    : o->kind == FEED_DEPLOYMENT ? (void *)state_deployment(s, o->id)
                                                 : (void *)state_replica(s, o->id);
    if (!x) {
        json_t *gone = json_object();
        json_put_str(gone, o->kind == FEED_DEPLOYMENT ? "name" : "id", o->id);
        json_put_bool(gone, "deleted", true);
        return gone;
    }
    return o->kind == FEED_NODE         ? node_doc(s, x)
           : o->kind == FEED_DEPLOYMENT ? deployment_doc(s, x, false)
                                        : replica_doc(s, x);
}

static void revision_text(const struct server *s, char dst[24])
{
    str_copyf(dst, 24, "%lld", (long long)s->store->driver->revision(s->store));
}

static void broadcast(struct feed *f, const struct object *o, const json_t *doc)
{
    char id[24];
    mem_auto char *text = json_text(doc);
    revision_text(f->s, id);
    for (struct watcher *w = f->watchers; w; w = w->next)
        if (w->kind == WATCH_EVENTS)
            send_event(w, KIND_NAMES[o->kind], id, text);
}

static void schedule(struct feed *f, int64_t at_ms);

static void flush_objects(struct feed *f, int64_t now)
{
    const char *key;
    void *value;
    int64_t next = INT64_MAX;
    for (size_t i = 0; map_next(f->objects, &i, &key, &value);) {
        struct object *o = value;
        if (!o->dirty)
            continue;
        if (now < o->sent_ms + OBJECT_MS) {
            next = o->sent_ms + OBJECT_MS < next ? o->sent_ms + OBJECT_MS : next;
            continue;
        }
        json_auto_t *doc = object_doc(f->s, o);
        broadcast(f, o, doc);
        o->dirty = false;
        o->sent_ms = now;
        if (!json_object_get(doc, "deleted"))
            continue;
        map_del(f->objects, key);
        free(o);
    }
    if (next != INT64_MAX)
        schedule(f, next);
}

static void flush(void *arg)
{
    struct feed *f = arg;
    f->timer = NULL;
    for (struct watcher *w = f->watchers, *next; w; w = next) {
        next = w->next;
        if (w->dirty && w->kind != WATCH_EVENTS)
            send_list(w);
        too_slow(w);
    }
    flush_objects(f, loop_now_ms(f->s->loop));
}

static void schedule(struct feed *f, int64_t at_ms)
{
    if (f->timer && f->due_ms <= at_ms)
        return;
    loop_timer_del(f->timer);
    int64_t now = loop_now_ms(f->s->loop);
    f->due_ms = at_ms;
    f->timer = loop_timer_add(f->s->loop, at_ms > now ? at_ms - now : 0, flush, f);
}

void feed_touch(struct server *s, enum feed_kind kind, const char *id)
{
    char key[CLUSTER_NAME + 8];
    str_copyf(key, sizeof key, "%d/%s", (int)kind, id);
    struct object *o = map_get(s->feed->objects, key);
    if (!o) {
        o = mem_calloc(1, sizeof *o);
        o->kind = kind;
        o->sent_ms = -OBJECT_MS;
        STR_COPY(o->id, id);
        map_set(s->feed->objects, key, o);
    }
    o->dirty = true;
    schedule(s->feed, loop_now_ms(s->loop) + FLUSH_MS);
}

static void mark(struct server *s, enum watch_kind kind, const char *node_id)
{
    for (struct watcher *w = s->feed->watchers; w; w = w->next) {
        if (w->kind != kind || (node_id && strcmp(w->node_id, node_id) != 0))
            continue;
        w->dirty = true;
        schedule(s->feed, loop_now_ms(s->loop) + FLUSH_MS);
    }
}

void feed_touch_tasks(struct server *s, const char *node_id)
{
    mark(s, WATCH_TASKS, node_id);
}

void feed_touch_routes(struct server *s)
{
    mark(s, WATCH_ROUTES, NULL);
}

void feed_touch_replica(struct server *s, const struct replica *r)
{
    feed_touch(s, FEED_REPLICA, r->id);
    feed_touch_routes(s);
    for (uint32_t i = 0; i < r->n_members; i++) {
        feed_touch_tasks(s, r->members[i].node_id);
        if (state_node(s, r->members[i].node_id))
            feed_touch(s, FEED_NODE, r->members[i].node_id); /* its claims */
    }
}

static struct watcher *watch(struct server *s, struct http_req *r, enum watch_kind kind)
{
    struct watcher *w = mem_calloc(1, sizeof *w);
    w->feed = s->feed;
    w->req = r;
    w->kind = kind;
    w->next = s->feed->watchers;
    s->feed->watchers = w;
    http_add_header(r, "cache-control", "no-store");
    http_start(r, 200, "text/event-stream");
    http_req_on_close(r, on_close, w);
    return w;
}

void feed_watch_tasks(struct server *s, struct http_req *r, const char *node_id)
{
    struct watcher *w = watch(s, r, WATCH_TASKS);
    STR_COPY(w->node_id, node_id);
    send_list(w);
}

void feed_watch_routes(struct server *s, struct http_req *r)
{
    send_list(watch(s, r, WATCH_ROUTES));
}

void feed_watch_events(struct server *s, struct http_req *r)
{
    char id[24];
    struct watcher *w = watch(s, r, WATCH_EVENTS);
    json_auto_t *doc = view_snapshot(s);
    mem_auto char *text = json_text(doc);
    revision_text(s, id);
    send_event(w, "snapshot", id, text);
}

void feed_tick(struct server *s)
{
    int64_t now = loop_now_ms(s->loop);
    for (struct watcher *w = s->feed->watchers, *next; w; w = next) {
        next = w->next;
        if (now - w->sent_ms >= SERVER_HEARTBEAT_MS)
            send_bytes(w, ":\n\n", 3);
        too_slow(w);
    }
}
