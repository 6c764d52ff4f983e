/* The server's context: state folder, store, keys, the parts that live on the loop. */
#include "server/server.h"

#include "base/mem.h"
#include "os/file.h"
#include "server/auth.h"
#include "server/internal.h"
#include "server/work.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

/* Two servers on one state would each keep its own picture of it. */
static int lock_state(struct server *s, struct err *err)
{
    mem_auto char *path = mem_printf("%s/server.lock", s->state_dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return err_set(err, ERR_IO, "cannot open %.150s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return err_set(err, ERR_CONFLICT, "another server uses the state in %.150s", s->state_dir);
}

/* The store turned out to hold something else than memory: read it anew, between two requests. */
static void reload(struct server *s)
{
    struct err err = {0};
    logs_free(s);
    state_free(s);
    if (state_load(s, &err)) {
        log_line(LOG_ERROR, "state_reload_failed error=\"%s\" next=\"again in 1 s\"", err.msg);
        return;
    }
    s->broken = false;
    log_line(LOG_WARN, "state_reloaded revision=%lld",
             (long long)s->store->driver->revision(s->store));
    feed_touch_routes(s);
    feed_touch_tasks(s, NULL);
    server_wake(s);
}

static void on_change(void *arg, int64_t revision, const char *kind, const char *id, bool deleted)
{
    struct server *s = arg;
    if (!kind)
        s->broken = true;
}

static void on_tick(void *arg)
{
    struct server *s = arg;
    int64_t now = loop_now_ms(s->loop);
    int64_t lag = now - s->tick_ms - s->tick_every_ms;
    s->tick_ms = now;
    s->tick = loop_timer_add(s->loop, s->tick_every_ms, on_tick, s);
    if (s->broken)
        reload(s);
    nodes_tick(s, lag);
    feed_tick(s);
    logs_tick(s);
}

void server_start_ticks(struct server *s)
{
    loop_timer_del(s->tick);
    s->tick_ms = loop_now_ms(s->loop);
    s->tick = loop_timer_add(s->loop, s->tick_every_ms, on_tick, s);
}

static int start(struct server *s, const struct server_opts *o, struct err *err)
{
    mem_auto char *db = mem_printf("%s/state.db", s->state_dir);
    if (file_mkdirs(s->state_dir, 0700, err) || lock_state(s, err) ||
        !(s->store = store_open(o->store_driver, db, err)) || state_load(s, err))
        return -1;
    s->store->driver->on_change(s->store, on_change, s);
    s->feed = feed_new(s);
    if (!(s->auth = auth_new(s, err)) || !(s->work = work_new(s->loop, err)))
        return -1;
    s->sched = sched_new(s);
    server_start_ticks(s);
    server_wake(s);
    return 0;
}

struct server *server_new(const struct server_opts *o, struct err *err)
{
    struct server *s = mem_calloc(1, sizeof *s);
    s->loop = o->loop;
    s->lock_fd = -1;
    s->lost_after_ms = SERVER_LOST_AFTER_MS;
    s->drain_ms = SERVER_DRAIN_MS;
    s->tick_every_ms = SERVER_TICK_MS;
    s->state_dir = mem_strdup(o->state_dir);
    s->url = mem_strdup(o->url ? o->url : "");
    if (!start(s, o, err)) {
        log_line(LOG_INFO, "server_started state=%s nodes=%zu deployments=%zu replicas=%zu",
                 s->state_dir, map_count(s->nodes), map_count(s->deployments),
                 map_count(s->replicas));
        return s;
    }
    server_free(s);
    return NULL;
}

void server_free(struct server *s)
{
    if (!s)
        return;
    loop_timer_del(s->tick);
    loop_timer_del(s->pump);
    work_free(s->work);
    if (s->feed)
        logs_free(s);
    sched_free(s->sched);
    feed_free(s->feed);
    auth_free(s->auth);
    state_free(s);
    if (s->store)
        s->store->driver->close(s->store);
    fd_close(s->lock_fd);
    free(s->state_dir);
    free(s->url);
    free(s);
}

const char *server_admin_key(const struct server *s)
{
    return auth_admin_key(s->auth);
}

static void make_local(struct server *s, enum auth_scope scope, char text[96])
{
    struct auth_key k = {.scope = scope, .uses = 1, .in_memory = true, .name = "this process"};
    char key[AUTH_KEY_TEXT];
    auth_make(s->auth, &k, key);
    auth_added(s->auth, &k);
    str_copy(text, 96, key);
}

void server_local_token(struct server *s, char token[96])
{
    make_local(s, AUTH_TOKEN, token);
}

void server_gateway_key(struct server *s, char key[96])
{
    make_local(s, AUTH_GATEWAY, key);
}
