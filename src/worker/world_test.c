/* The world of the worker's tests. */
#include "worker/world_test.h"

#include "base/mem.h"
#include "model/model.h"
#include "net/sse.h"
#include "os/file.h"
#include "worker/engine_stub_path.h"
#include "worker/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void look(struct world *w)
{
    if (w->want && w->want(w))
        loop_stop(w->loop);
}

/* ---- the server ---- */

void world_send_tasks(struct world *w)
{
    if (!w->watch)
        return;
    struct api_tasks list = {.items = &w->task, .n = w->has_task ? 1 : 0};
    json_auto_t *doc = api_tasks_to_json(&list);
    mem_auto char *text = json_text(doc);
    struct buf buf_auto out;
    buf_init(&out, 1 << 20);
    sse_format(&out, "tasks", NULL, str_of(text));
    http_write(w->watch, out.p, out.n);
}

static void watch_closed(void *arg)
{
    struct world *w = arg;
    w->watch = NULL;
}

static void reply_text(struct http_req *r, int status, const char *text)
{
    http_reply(r, status, "application/json", text, strlen(text));
}

static void take_node(struct world *w, const json_t *doc)
{
    struct cluster_node n = {0};
    struct err err = {0};
    if (node_from_json(&n, doc, &err) < 0)
        fail_msg("node document: %s", err.msg);
    STR_COPY(w->tunnel, n.addr);
    STR_COPY(w->engine, n.engine);
    assert_true(n.ram_bytes > 0 && n.n_cpus > 0);
    node_done(&n);
}

static void take_report(struct world *w, const json_t *doc)
{
    struct err err = {0};
    assert_true(w->n_reports < MAX_REPORTS);
    struct api_report *r = &w->reports[w->n_reports++];
    if (api_report_from_json(r, doc, &err) < 0)
        fail_msg("report: %s", err.msg);
    if (w->has_task && r->generation == w->task.generation && r->state == MEMBER_STOPPED)
        w->has_task = false; /* as the server does: what has stopped leaves the list */
}

static void take_log(struct world *w, const json_t *doc)
{
    struct api_log log = {0};
    assert_int_equal(api_log_from_json(&log, doc, NULL), 0);
    for (uint32_t i = 0; i < log.n_lines; i++)
        buf_addf(&w->log, "%s:%s\n", log.lines[i].role, log.lines[i].text);
    w->log_ended |= log.end;
    api_log_done(&log);
}

void world_request(void *ctx, struct http_req *r)
{
    struct world *w = ctx;
    struct str path = http_req_path(r), body = http_req_body(r);
    json_auto_t *doc = body.n ? json_parse(body.p, body.n, NULL) : NULL;
    struct str key = http_req_header(r, "authorization");
    if (str_eq(path, STR("/api/v1/join"))) {
        assert_true(str_eq(key, STR("Bearer join-token")));
        w->joins++;
        w->refuse_key = false;
        take_node(w, doc);
        reply_text(r, 201, "{\"node_id\":\"n-me\",\"key\":\"sk-mine\"}");
    } else if (!str_eq(key, STR("Bearer sk-mine")) || w->refuse_key) {
        reply_text(r, 401, "{\"error\":{\"code\":\"AUTH\",\"message\":\"unknown key\"}}");
    } else if (str_eq(path, STR("/api/v1/nodes/n-me/inventory"))) {
        w->heartbeats++;
        take_node(w, doc);
        reply_text(r, 200, "{\"lost_after_ms\":10000}");
    } else if (str_eq(path, STR("/api/v1/nodes/n-me/tasks"))) {
        http_start(r, 200, "text/event-stream");
        http_req_on_close(r, watch_closed, w);
        w->watch = r;
        world_send_tasks(w);
    } else if (str_eq(path, STR("/api/v1/replicas/r-1/members/n-me"))) {
        take_report(w, doc);
        reply_text(r, 200, "{}");
    } else if (str_eq(path, STR("/api/v1/logs/s-1"))) {
        take_log(w, doc);
        reply_text(r, 200, "{\"more\":true}");
    } else {
        fail_msg("unexpected path %.*s", (int)path.n, path.p);
    }
    look(w);
}

/* ---- the world ---- */

static void on_limit(void *arg)
{
    struct world *w = arg;
    w->limit = NULL;
    w->timed_out = true;
    loop_stop(w->loop);
}

void world_until(struct world *w, bool (*want)(struct world *w), const char *what)
{
    w->want = want;
    w->timed_out = false;
    if (!want(w)) {
        w->limit = loop_timer_add(w->loop, LIMIT_MS, on_limit, w);
        loop_run(w->loop, NULL);
        loop_timer_del(w->limit);
        w->limit = NULL;
    }
    w->want = NULL;
    if (w->timed_out) {
        const struct api_report *r = w->n_reports ? &w->reports[w->n_reports - 1] : NULL;
        fail_msg("waited in vain for: %s (last report: %s %s)", what,
                 r ? member_state_name(r->state) : "none", r ? r->message : "");
    }
}

static void pass(void *arg)
{
    loop_stop(arg);
}

void world_for(struct world *w, int64_t ms)
{
    loop_timer_add(w->loop, ms, pass, w->loop);
    loop_run(w->loop, NULL);
}

void world_listen(struct world *w, const char *addr)
{
    struct err err = {0};
    w->http = http_server_new(
        w->loop, &(struct http_server_opts){.addr = addr, .handler = world_request, .ctx = w},
        &err);
    if (!w->http)
        fail_msg("%s", err.msg);
    STR_COPY(w->addr, http_server_addr(w->http));
}

void world_start(struct world *w, bool with_token)
{
    char url[96];
    struct err err = {0};
    str_copyf(url, sizeof url, "http://%s", w->addr);
    const struct worker_opts o = {.loop = w->loop,
                                  .server_url = url,
                                  .token = with_token ? "join-token" : NULL,
                                  .state_dir = w->state,
                                  .name = "box",
                                  .tunnel_listen = "127.0.0.1:0",
                                  .devices = "none",
                                  .engine_dir = w->engines,
                                  .threads = 1};
    w->worker = worker_new(&o, &err);
    if (!w->worker)
        fail_msg("%s", err.msg);
}

static void link_engine(const struct world *w)
{
    char path[200];
    str_copyf(path, sizeof path, "%s/llama-server", w->engines);
    assert_int_equal(symlink(ENGINE_STUB_PATH, path), 0);
    str_copyf(path, sizeof path, "%s/ggml-rpc-server", w->engines);
    assert_int_equal(symlink(ENGINE_STUB_PATH, path), 0);
}

int world_setup(void **state)
{
    struct world *w = mem_calloc(1, sizeof *w);
    *state = w;
    unsetenv("STUB");
    w->loop = loop_new(NULL);
    buf_init(&w->log, 1 << 20);
    STR_COPY(w->dir, "/tmp/stowage-worker-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    str_copyf(w->model, sizeof w->model, "%s/m.gguf", w->dir);
    str_copyf(w->state, sizeof w->state, "%s/state", w->dir);
    str_copyf(w->engines, sizeof w->engines, "%s/engines", w->dir);
    tiny_model_write(w->model);
    if (file_mkdirs(w->engines, 0700, NULL) < 0)
        return -1;
    link_engine(w);
    world_listen(w, "127.0.0.1:0");
    return 0;
}

static bool has_stopped(struct world *w)
{
    return w->stopped;
}

static void on_stopped(void *arg)
{
    struct world *w = arg;
    w->stopped = true;
    look(w);
}

void world_stop(struct world *w)
{
    w->stopped = false;
    worker_stop(w->worker, on_stopped, w);
    world_until(w, has_stopped, "the worker's end");
    worker_free(STEAL(w->worker));
}

int world_teardown(void **state)
{
    struct world *w = *state;
    worker_free(w->worker);
    http_server_free(w->http);
    loop_free(w->loop);
    api_task_done(&w->task);
    for (int i = 0; i < w->n_reports; i++)
        api_report_done(&w->reports[i]);
    buf_done(&w->log);
    file_remove_tree(w->dir, NULL);
    free(w);
    unsetenv("STUB");
    return 0;
}

/* ---- tasks ---- */

struct assignment_part *world_part(struct assignment *a, const char *node, uint32_t n_layers,
                                   enum device_backend backend)
{
    a->parts = mem_realloc(a->parts, a->n_parts + 1, sizeof *a->parts);
    struct assignment_part *p = &a->parts[a->n_parts++];
    *p = (struct assignment_part){.backend = backend, .n_layers = n_layers};
    STR_COPY(p->node_id, node);
    STR_COPY(p->node, node);
    STR_COPY(p->device_name, "card");
    p->first_layer = a->n_parts > 1 ? p[-1].first_layer + p[-1].n_layers : a->n_cpu_layers;
    return p;
}

/* A task of this node: everything in RAM, unless parts are added. */
void world_want(struct world *w, enum api_role role, uint32_t n_cpu)
{
    struct api_task *t = &w->task;
    struct model_info info = {0};
    uint32_t generation = t->generation + 1;
    gguf_free(model_open(w->model, &info, NULL));
    api_task_done(t);
    *t = (struct api_task){.generation = generation, .role = role, .run = true};
    STR_COPY(t->replica, "r-1");
    STR_COPY(t->deployment, "d");
    STR_COPY(t->alias, "d");
    memset(t->secret, 'a', SECRET_DIGITS);
    STR_COPY(t->model.path, w->model);
    t->model.bytes = info.bytes_on_disk;
    STR_COPY(t->model.header_sha256, info.header_sha256);
    struct assignment *a = &t->assignment;
    STR_COPY(a->plan_id, "p-1");
    STR_COPY(a->engine, "llama.cpp");
    STR_COPY(a->main_id, role == API_MAIN ? "n-me" : "n-main");
    STR_COPY(a->main_node, "box");
    STR_COPY(a->kv, "f16");
    a->n_layers = a->n_blocks = TINY_BLOCKS;
    a->n_cpu_layers = n_cpu;
    a->ctx = 512;
    a->n_slots = 1;
    a->ubatch = 64;
    t->peers_up = role == API_MAIN;
    w->has_task = true;
}
