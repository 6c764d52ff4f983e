/* The worker: joins, keeps the server informed, and follows its list of tasks.
 *
 * Nothing here waits: joining, the engine's answers and the server's are events of the loop. Losing
 * the server changes nothing for engines that run; the watch comes back by itself and brings the
 * whole list again. */
#include "worker/worker.h"

#include "base/mem.h"
#include "base/str.h"
#include "client/client.h"
#include "net/tunnel.h"
#include "os/file.h"
#include "worker/identity.h"
#include "worker/installed.h"
#include "worker/inventory.h"
#include "worker/tasks.h"

#include <string.h>
#include <unistd.h>

enum {
    HEARTBEAT_MS = 2000,
    ANSWER_MS = 5000,
    JOIN_RETRY_MS = 3000,
    MAX_THREADS = 8, /* more rarely helps one engine and starves its neighbours */
};

struct worker {
    struct loop *loop;
    char *url, *token, *state_dir, *log_root, *listen, *advertise;
    char name[CLUSTER_NAME], addr[CLUSTER_ADDR];
    uint32_t threads;
    const char *const *engine_env;
    void (*on_refused)(void *arg, const struct err *why);
    void *refused_arg;
    struct cluster_node given; /* its labels only */
    struct identity identity;
    struct inventory *inventory;
    struct installed *engine;
    struct tunnel_listener *listener;
    struct client *client, *joiner; /* joiner: with the token as its key */
    struct client_watch *watch;
    struct client_call *call; /* a join or a heartbeat */
    struct loop_timer *timer; /* the next of them */
    struct tasks *tasks;
    bool stopping, connected, reported_gpu_error;
    char complaint[240]; /* the last thing the server refused; logged once */
};

static void start(void *arg);
static void connect_server(struct worker *w);

static void again(struct worker *w, int64_t ms, loop_timer_fn fn)
{
    loop_timer_del(w->timer);
    w->timer = loop_timer_add(w->loop, ms, fn, w);
}

static void complain(struct worker *w, const char *event, const struct err *err, const char *next)
{
    if (strcmp(w->complaint, err->msg) == 0)
        return;
    STR_COPY(w->complaint, err->msg);
    log_line(LOG_WARN, "%s code=%s reason=\"%s\" next=\"%s\"", event, err_info(err->code)->name,
             err->msg, next);
}

/* ---- what we tell ---- */

static json_t *node_document(struct worker *w)
{
    struct cluster_node node = {0};
    struct err err = {0};
    uint64_t rss = w->tasks ? tasks_rss(w->tasks) : 0;
    STR_COPY(node.id, w->identity.id);
    STR_COPY(node.name, w->name);
    STR_COPY(node.addr, w->addr);
    if (inventory_read(w->inventory, installed_get(w->engine), rss, &node, &err) < 0 &&
        !w->reported_gpu_error) {
        w->reported_gpu_error = true;
        log_line(LOG_WARN, "inventory.incomplete reason=\"%s\" next=\"asked again in 2 s\"",
                 err.msg);
    }
    for (uint32_t i = 0; i < w->given.n_labels; i++)
        node_set_label(&node, w->given.labels[i], NULL);
    json_t *doc = node_to_json(&node);
    node_done(&node);
    return doc;
}

/* ---- joining ---- */

/* Trying again would not help: someone has to bring a token. */
static void refused(struct worker *w, const char *what)
{
    struct err err = {0};
    err_fill(&err, ERR_AUTH, "%s; make one on the server: stowage token create", what);
    complain(w, "join.refused", &err, "restart with --token");
    if (w->on_refused)
        w->on_refused(w->refused_arg, &err);
}

static void on_joined(void *arg, const json_t *doc, const struct err *err)
{
    struct worker *w = arg;
    struct identity got = {0};
    struct err why = {0};
    w->call = NULL;
    if (err && err->code == ERR_AUTH) {
        refused(w, "the join token is not valid: wrong, used up or expired");
        return;
    }
    if (err || JSON_COPY(doc, "node_id", true, got.id, &why) ||
        JSON_COPY(doc, "key", true, got.key, &why) || identity_save(&got, w->state_dir, &why)) {
        complain(w, "join.failed", err ? err : &why, "tried again every 3 s");
        again(w, JOIN_RETRY_MS, start);
        return;
    }
    w->identity = got;
    w->complaint[0] = '\0';
    log_line(LOG_INFO, "join.done node=%s id=%s server=%s", w->name, got.id, w->url);
    again(w, 0, start); /* not from here: the joiner is still in use */
}

static void join(struct worker *w)
{
    struct err err = {0};
    if (!w->token) {
        refused(w, "this node has not joined yet and was given no join token");
        return;
    }
    if (!w->joiner)
        w->joiner = client_new(w->loop, w->url, w->token, &err);
    if (!w->joiner) {
        complain(w, "join.failed", &err, "tried again every 3 s");
        again(w, JOIN_RETRY_MS, start);
        return;
    }
    json_auto_t *doc = node_document(w);
    w->call = client_send(w->joiner, "POST", "/api/v1/join", doc, ANSWER_MS, on_joined, w);
}

/* The server does not know our key: its store is another one, or this node was removed. */
static void forget(struct worker *w)
{
    log_line(LOG_WARN, "server.forgot_us id=%s next=\"engines are stopped, then a new join\"",
             w->identity.id);
    client_watch_free(STEAL(w->watch));
    tasks_free(STEAL(w->tasks));
    client_free(STEAL(w->client));
    tunnel_listener_free(STEAL(w->listener));
    w->identity = (struct identity){0};
    w->connected = false;
}

static void start(void *arg)
{
    struct worker *w = arg;
    struct err err = {0};
    w->timer = NULL;
    if (identity_address(w->url, w->advertise, w->listen, w->addr, sizeof w->addr, &err) < 0) {
        complain(w, "server.unreachable", &err, "tried again every 3 s");
        again(w, JOIN_RETRY_MS, start);
    } else if (w->identity.id[0]) {
        connect_server(w);
    } else {
        join(w);
    }
}

/* ---- heartbeat ---- */

static void heartbeat(void *arg);

static void rejoin(void *arg)
{
    struct worker *w = arg;
    w->timer = NULL;
    forget(w);
    start(w);
}

static void on_heartbeat(void *arg, const json_t *doc, const struct err *err)
{
    struct worker *w = arg;
    (void)doc;
    w->call = NULL;
    if (err)
        complain(w, "heartbeat.failed", err, "engines go on; tried again every 2 s");
    else
        w->complaint[0] = '\0';
    if (err && (err->code == ERR_AUTH || err->code == ERR_NOT_FOUND) && w->token && !w->stopping)
        again(w, 0, rejoin);
}

static void heartbeat(void *arg)
{
    struct worker *w = arg;
    w->timer = NULL;
    again(w, HEARTBEAT_MS, heartbeat);
    if (w->call)
        return; /* the server is slow: no second one */
    mem_auto char *path = mem_printf("/api/v1/nodes/%s/inventory", w->identity.id);
    json_auto_t *doc = node_document(w);
    w->call = client_send(w->client, "PUT", path, doc, ANSWER_MS, on_heartbeat, w);
}

/* ---- tasks ---- */

static void on_event(void *arg, const char *event, const json_t *data)
{
    struct worker *w = arg;
    struct api_tasks list = {0};
    struct err err = {0};
    if (strcmp(event, "tasks") != 0 || w->stopping)
        return;
    if (api_tasks_from_json(&list, data, &err) < 0) {
        complain(w, "tasks.malformed", &err, "what runs goes on as it is");
        return;
    }
    tasks_apply(w->tasks, &list);
    api_tasks_done(&list);
}

static void on_watch_state(void *arg, bool up, const struct err *err)
{
    struct worker *w = arg;
    if (up && !w->connected) {
        log_line(LOG_INFO, "server.connected url=%s", w->url);
        tasks_report_all(w->tasks);
    } else if (!up && w->connected) {
        log_line(LOG_WARN, "server.lost url=%s reason=\"%s\" next=\"engines go on; reconnecting\"",
                 w->url, err ? err->msg : "closed");
    }
    w->connected = up;
}

static bool on_lookup(void *arg, const char *replica, uint32_t generation,
                      enum tunnel_service service, char secret[TUNNEL_SECRET_HEX + 1],
                      uint16_t *port)
{
    struct worker *w = arg;
    return w->tasks && tasks_lookup(w->tasks, replica, generation, service, secret, port);
}

static void on_gone(void *arg, const char *replica)
{
    struct worker *w = arg;
    if (w->listener)
        tunnel_drop(w->listener, replica);
}

static struct tunnel_listener *listen_as(struct worker *w, const char *id, struct err *err)
{
    const struct tunnel_listener_opts o = {
        .addr = w->listen, .member = id, .lookup = on_lookup, .arg = w};
    return tunnel_listen(w->loop, &o, err);
}

static void on_engine(void *arg)
{
    struct worker *w = arg;
    if (!w->tasks)
        return;
    tasks_kick(w->tasks);
    if (!w->stopping)
        again(w, 0, heartbeat); /* the server waits for it too */
}

static int open_link(struct worker *w, struct err *err)
{
    w->listener = listen_as(w, w->identity.id, err);
    if (!w->listener)
        return -1;
    w->client = client_new(w->loop, w->url, w->identity.key, err);
    return w->client ? 0 : -1;
}

static void connect_server(struct worker *w)
{
    struct err err = {0};
    client_free(STEAL(w->joiner));
    if (open_link(w, &err) < 0) {
        complain(w, "worker.cannot_listen", &err, "tried again every 3 s");
        tunnel_listener_free(STEAL(w->listener));
        again(w, JOIN_RETRY_MS, start);
        return;
    }
    const struct member_env env = {.loop = w->loop,
                                   .node_id = w->identity.id,
                                   .node_name = w->name,
                                   .log_root = w->log_root,
                                   .engine = w->engine,
                                   .engine_env = w->engine_env,
                                   .n_threads = w->threads};
    w->tasks = tasks_new(&env, w->client);
    tasks_on_gone(w->tasks, on_gone, w);
    mem_auto char *path = mem_printf("/api/v1/nodes/%s/tasks?watch=1", w->identity.id);
    w->watch = client_watch_new(w->client, path, on_event, on_watch_state, w);
    heartbeat(w);
}

/* ---- life ---- */

static int make_folders(struct worker *w, struct err *err)
{
    return file_mkdirs(w->state_dir, 0700, err) < 0 || file_mkdirs(w->log_root, 0700, err) < 0 ? -1
                                                                                               : 0;
}

/* A taken port is said now, not after the join. The listener itself needs our id and comes later;
 * its address is kept, so that a port chosen by the system stays ours. */
static int claim_port(struct worker *w, struct err *err)
{
    struct tunnel_listener *l = listen_as(w, "", err);
    if (!l)
        return -1;
    free(w->listen);
    w->listen = mem_strdup(tunnel_listener_addr(l));
    tunnel_listener_free(l);
    return 0;
}

static int load_identity(struct worker *w, struct err *err)
{
    struct err why = {0};
    if (identity_load(&w->identity, w->state_dir, &why) == 0 || why.code == ERR_NOT_FOUND)
        return 0;
    return err_set(err, why.code, "%.230s", why.msg);
}

static void name_node(struct worker *w, const char *name)
{
    char host[256] = "";
    if (!name && gethostname(host, sizeof host - 1) == 0)
        name = host;
    str_copyf(w->name, sizeof w->name, "%.63s", name && *name ? name : "node");
}

static int take_labels(struct worker *w, const char *const *labels, struct err *err)
{
    for (; labels && *labels; labels++)
        if (label_check(*labels, err) || node_set_label(&w->given, *labels, err))
            return -1;
    return 0;
}

static int prepare(struct worker *w, const struct worker_opts *o, struct err *err)
{
    if (take_labels(w, o->labels, err) < 0 || make_folders(w, err) < 0 || load_identity(w, err) < 0)
        return -1;
    w->inventory = inventory_new(o->devices ? o->devices : "auto", o->ram_limit, err);
    if (!w->inventory || claim_port(w, err) < 0)
        return -1;
    w->engine = installed_new(w->loop, o->engine_dir, o->engine_env, on_engine, w);
    return 0;
}

static uint32_t default_threads(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (uint32_t)n;
}

struct worker *worker_new(const struct worker_opts *o, struct err *err)
{
    struct worker *w = mem_calloc(1, sizeof *w);
    w->loop = o->loop;
    w->url = mem_strdup(o->server_url);
    w->token = o->token && *o->token ? mem_strdup(o->token) : NULL;
    w->state_dir = mem_strdup(o->state_dir);
    w->log_root = mem_printf("%s/logs", o->state_dir);
    w->listen = mem_strdup(o->tunnel_listen);
    w->advertise = mem_strdup(o->advertise);
    w->engine_env = o->engine_env;
    w->on_refused = o->on_refused;
    w->refused_arg = o->arg;
    w->threads = o->threads ? o->threads : default_threads();
    name_node(w, o->name);
    if (prepare(w, o, err) < 0) {
        worker_free(w);
        return NULL;
    }
    w->timer = loop_timer_add(w->loop, 0, start, w);
    return w;
}

void worker_stop(struct worker *w, void (*fn)(void *arg), void *arg)
{
    struct err why = {0};
    w->stopping = true;
    err_fill(&why, ERR_UNAVAILABLE, "the worker on %s was stopped", w->name);
    if (w->tasks)
        tasks_stop(w->tasks, &why, fn, arg);
    else
        loop_post(w->loop, fn, arg);
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    loop_timer_del(w->timer);
    client_watch_free(w->watch);
    tasks_free(w->tasks);
    client_free(w->client);
    client_free(w->joiner);
    tunnel_listener_free(w->listener);
    installed_free(w->engine);
    inventory_free(w->inventory);
    node_done(&w->given);
    free(w->url);
    free(w->token);
    free(w->state_dir);
    free(w->log_root);
    free(w->listen);
    free(w->advertise);
    free(w);
}
