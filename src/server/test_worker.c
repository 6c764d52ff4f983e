/* Workers that follow a script: what a task asks for is reported as done, one report at a time. */
#include "server/test_world.h"

#include "base/mem.h"
#include "base/num.h"

enum { BEAT_MS = 100, RETRY_MS = 50 };

struct put {
    struct fake_worker *f; /* NULL: nobody waits */
    int status;
    bool done;
};

static void put_head(void *arg, const struct http_head *h)
{
    ((struct put *)arg)->status = h->status;
}

static void step(struct fake_worker *f);

static void put_done(void *arg, const struct err *err)
{
    struct put *p = arg;
    struct fake_worker *f = p->f;
    free(p);
    if (!f)
        return;
    f->report = NULL;
    step(f);
}

static void put_async(struct fake_worker *f, const char *path, json_t *doc /* taken */, bool report)
{
    mem_auto char *headers = mem_printf("Authorization: Bearer %s\r\n", f->key);
    mem_auto char *text = json_text(doc);
    json_decref(doc);
    struct put *p = mem_calloc(1, sizeof *p);
    p->f = report ? f : NULL;
    if (report)
        f->report = p;
    struct http_call_opts o = {.addr = f->w->addr,
                               .fd = -1,
                               .method = "PUT",
                               .path = path,
                               .headers = headers,
                               .body = text,
                               .body_n = strlen(text),
                               .on_head = put_head,
                               .on_done = put_done,
                               .arg = p};
    http_call_new(f->w->loop, &o);
}

static json_t *inventory(const struct fake_worker *f)
{
    struct cluster_node n = {.ram_bytes = 64 * GIB, .ram_free_bytes = 60 * GIB, .n_cpus = 8};
    STR_COPY(n.name, f->name);
    STR_COPY(n.engine, "llama.cpp b1 cpu");
    STR_COPY(n.addr, "0.0.0.0:10151");
    n.seen_ms = -1;
    for (uint32_t i = 0; i < f->n_devices; i++) {
        struct cluster_device *d = node_add_device(&n);
        str_copyf(d->uuid, sizeof d->uuid, "GPU-%s-%u", f->name, i);
        STR_COPY(d->name, "Fake 8");
        d->index = i;
        d->backend = BACKEND_FAKE;
        d->total_bytes = f->total_bytes;
        d->free_bytes = f->free_bytes;
    }
    json_t *doc = node_to_json(&n);
    node_done(&n);
    return doc;
}

static void on_beat(void *arg)
{
    struct fake_worker *f = arg;
    char path[128];
    f->beat = loop_timer_add(f->w->loop, BEAT_MS, on_beat, f);
    if (f->silent)
        return;
    str_copyf(path, sizeof path, "/api/v1/nodes/%s/inventory", f->node_id);
    put_async(f, path, inventory(f), false);
}

static struct fake_run *run_of(struct fake_worker *f, const struct api_task *t)
{
    int i = 0;
    while (i < f->n_runs && strcmp(f->runs[i].replica, t->replica) != 0)
        i++;
    assert_true(i < (int)ARRAY_LEN(f->runs));
    if (i == f->n_runs)
        f->n_runs++;
    struct fake_run *r = &f->runs[i];
    if (strcmp(r->replica, t->replica) != 0 || r->generation != t->generation) {
        *r = (struct fake_run){.generation = t->generation};
        STR_COPY(r->replica, t->replica);
    }
    return r;
}

/* The state that the task asks for next; the present one when there is nothing to say. */
static enum member_state next_state(const struct fake_worker *f, const struct api_task *t,
                                    enum member_state now)
{
    if (!t->run)
        return MEMBER_STOPPED;
    switch (now) {
    case MEMBER_WAITING:
        return f->fail ? MEMBER_FAILED : MEMBER_STARTING;
    case MEMBER_STARTING:
        return t->role == API_RPC ? MEMBER_UP : t->peers_up ? MEMBER_LOADING : now;
    case MEMBER_LOADING:
        return MEMBER_READY;
    default:
        return now;
    }
}

static json_t *report_doc(const struct api_task *t, enum member_state state, const char *message)
{
    struct api_report r = {.generation = t->generation, .state = state, .percent = 50, .pid = 7};
    struct api_measured m = {0, {GIB, 1, 2}};
    if (state == MEMBER_FAILED)
        STR_COPY(r.code, "LIMIT");
    STR_COPY(r.message, message);
    if (state == MEMBER_READY) {
        r.measured = &m;
        r.n_measured = 1;
        r.tok_s = 42.5;
    }
    return api_report_to_json(&r);
}

static void step(struct fake_worker *f)
{
    for (uint32_t i = 0; i < f->list.n && !f->report && !f->silent && !f->hold; i++) {
        const struct api_task *t = &f->list.items[i];
        struct fake_run *r = run_of(f, t);
        enum member_state to = next_state(f, t, r->state);
        char path[160];
        if (to == r->state)
            continue;
        r->state = to;
        f->n_stops += to == MEMBER_STOPPED;
        str_copyf(path, sizeof path, "/api/v1/replicas/%s/members/%s", t->replica, f->node_id);
        put_async(f, path, report_doc(t, to, to == MEMBER_FAILED ? "no memory" : ""), true);
    }
}

static void on_tasks(struct watch *x)
{
    struct fake_worker *f = x->arg;
    struct err err = {0};
    assert_string_equal(x->event, "tasks");
    api_tasks_done(&f->list);
    if (api_tasks_from_json(&f->list, x->last, &err))
        fail_msg("%s", err.msg);
    step(f);
}

/* Watches again when the server went away or refused. */
static void on_retry(void *arg)
{
    struct fake_worker *f = arg;
    char path[128];
    f->retry = loop_timer_add(f->w->loop, RETRY_MS, on_retry, f);
    if (f->silent || (f->tasks.w && !f->tasks.done))
        return;
    watch_close(&f->tasks);
    f->tasks.on_event = on_tasks;
    f->tasks.arg = f;
    str_copyf(path, sizeof path, "/api/v1/nodes/%s/tasks?watch=1", f->node_id);
    watch_open(&f->tasks, f->w, path, f->key);
}

void worker_free(struct fake_worker *f)
{
    loop_timer_del(f->beat);
    loop_timer_del(f->retry);
    watch_close(&f->tasks);
    api_tasks_done(&f->list);
    if (f->report)
        f->report->f = NULL;
    free(f);
}

struct fake_worker *worker_join(struct world *w, const char *name, uint32_t n_devices,
                                uint64_t total_bytes)
{
    struct fake_worker *f = mem_calloc(1, sizeof *f);
    char buf[64];
    f->w = w;
    STR_COPY(f->name, name);
    f->n_devices = n_devices;
    f->total_bytes = f->free_bytes = total_bytes;
    json_t *token = want(w, 201, "POST", "/api/v1/tokens", "{}"), *joined;
    json_auto_t *doc = inventory(f);
    mem_auto char *text = json_text(doc);
    assert_int_equal(ask(w, "POST", "/api/v1/join", at(token, "token", buf), text, &joined), 201);
    STR_COPY(f->node_id, at(joined, "node_id", buf));
    STR_COPY(f->key, at(joined, "key", buf));
    json_decref(token);
    json_decref(joined);
    f->next = w->workers;
    w->workers = f;
    on_beat(f);
    on_retry(f);
    return f;
}

void worker_silence(struct fake_worker *f)
{
    f->silent = true;
    watch_close(&f->tasks);
}

void worker_speak(struct fake_worker *f)
{
    f->silent = false;
}

int worker_report(struct fake_worker *f, const char *replica, enum member_state state,
                  const char *message)
{
    for (uint32_t i = 0; i < f->list.n; i++) {
        const struct api_task *t = &f->list.items[i];
        char path[160];
        if (strcmp(t->replica, replica) != 0)
            continue;
        str_copyf(path, sizeof path, "/api/v1/replicas/%s/members/%s", replica, f->node_id);
        json_auto_t *doc = report_doc(t, state, message);
        mem_auto char *text = json_text(doc);
        return ask(f->w, "PUT", path, f->key, text, NULL);
    }
    return -1;
}
