/* The control API with scripted workers: the life of replicas. */
#include "server/test_world.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"
#include "server/claims.h"
#include "server/place_double.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static json_t *deploy(struct world *w, const char *name, const char *gpus)
{
    return want(w, 201, "POST", "/api/v1/deployments",
                "{\"name\":\"%s\",\"model\":\"%s\",\"gpus\":[%s]}", name, w->model, gpus);
}

static void deploy_id(struct world *w, const char *name, const char *gpus, char id[CLUSTER_ID])
{
    char buf[64];
    json_t *d = deploy(w, name, gpus);
    str_copy(id, CLUSTER_ID, at(d, "replicas.0.id", buf));
    json_decref(d);
}

struct state_is {
    const char *replica, *state;
    uint32_t generation; /* 0: any */
};

static bool in_state(struct world *w, void *arg)
{
    const struct state_is *x = arg;
    const struct replica *r = state_replica(w->s, x->replica);
    if (!r)
        return strcmp(x->state, "none") == 0;
    return strcmp(replica_state_name(r->state), x->state) == 0 &&
           (!x->generation || r->generation == x->generation);
}

static void until_state(struct world *w, const char *replica, const char *state,
                        uint32_t generation)
{
    struct state_is x = {replica, state, generation};
    char what[96];
    str_copyf(what, sizeof what, "%s %s generation %u", replica, state, generation);
    until(w, in_state, &x, what);
}

static uint64_t claimed(struct world *w, const struct fake_worker *f, uint32_t device)
{
    char name[128];
    uint64_t bytes = 0;
    str_copyf(name, sizeof name, "%s/GPU-%s-%u", f->node_id, f->name, device);
    assert_int_equal(w->s->store->driver->claimed(w->s->store, name, &bytes, NULL), 0);
    return bytes;
}

struct value_is {
    json_t **doc;
    const char *path, *value;
};

static bool has_value(struct world *w, void *arg)
{
    char buf[64];
    const struct value_is *x = arg;
    return *x->doc && strcmp(at(*x->doc, x->path, buf), x->value) == 0;
}

static void until_value(struct world *w, json_t **doc, const char *path, const char *value)
{
    struct value_is x = {doc, path, value};
    until(w, has_value, &x, path);
}

struct streams_are {
    const struct fake_worker *f;
    uint32_t n;
};

static bool has_streams(struct world *w, void *arg)
{
    const struct streams_are *x = arg;
    return x->f->list.n == 1 && x->f->list.items[0].n_log_streams == x->n;
}

static void until_streams(struct world *w, const struct fake_worker *f, uint32_t n)
{
    struct streams_are x = {f, n};
    until(w, has_streams, &x, "log streams in the task");
}

static bool no_tasks(struct world *w, void *arg)
{
    return ((struct fake_worker *)arg)->list.n == 0;
}

static bool one_task(struct world *w, void *arg)
{
    return ((struct fake_worker *)arg)->list.n == 1;
}

/* ---- the straight path ---- */

static void from_deploy_to_gone(void **state)
{
    struct world w;
    char buf[64], id[CLUSTER_ID];
    world_open(&w, "sqlite");
    struct fake_worker *f = worker_join(&w, "hill", 2, 8 * GIB);
    struct watch routes = {0};
    watch_open(&routes, &w, "/api/v1/routes?watch=1", server_admin_key(w.s));
    json_t *d = deploy(&w, "tiny", "");
    assert_string_equal(at(d, "spec.ctx", buf), "4096"); /* the trained length, resolved */
    assert_string_equal(at(d, "model.arch", buf), "llama");
    str_copy(id, sizeof id, at(d, "replicas.0.id", buf));
    json_decref(d);
    until_state(&w, id, "ready", 1);
    assert_int_equal(claimed(&w, f, 0), DOUBLE_BYTES);
    until_value(&w, &routes.last, "models.0.state", "ready");
    assert_string_equal(at(routes.last, "models.0.endpoints.0.replica", buf), id);
    assert_string_equal(at(routes.last, "models.0.endpoints.0.addr", buf), "127.0.0.1:10151");
    assert_int_equal(strlen(at(routes.last, "models.0.endpoints.0.secret", buf)), 63); /* of 64 */
    d = want(&w, 200, "GET", "/api/v1/explain/tiny", "%s", "");
    assert_string_equal(at(d, "replicas.0.state", buf), "ready");
    assert_string_equal(at(d, "replicas.0.plan.feasible", buf), "true");
    assert_string_equal(at(d, "replicas.0.measured.0.weights_bytes", buf), "1073741824");
    json_decref(d);

    json_decref(want(&w, 202, "DELETE", "/api/v1/deployments/tiny", "%s", ""));
    until_value(&w, &routes.last, "models.0.name", ""); /* routes drop first */
    assert_int_equal(f->n_stops, 0);
    until_state(&w, id, "none", 0);
    assert_int_equal(f->n_stops, 1);
    assert_int_equal(claimed(&w, f, 0), 0);
    until(&w, no_tasks, f, "no tasks");
    json_decref(want(&w, 404, "GET", "/api/v1/deployments/tiny", "%s", ""));
    watch_close(&routes);
    world_close(&w);
}

static void scaling(void **state)
{
    struct world w;
    char buf[64], id[CLUSTER_ID];
    world_open(&w, "memory");
    worker_join(&w, "hill", 3, 2 * GIB);
    deploy_id(&w, "tiny", "", id);
    json_t *d = want(&w, 200, "PATCH", "/api/v1/deployments/tiny", "{\"replicas\":3}");
    char id2[CLUSTER_ID];
    str_copy(id2, sizeof id2, at(d, "replicas.2.id", buf));
    json_decref(d);
    until_state(&w, id2, "ready", 1);
    json_decref(want(&w, 200, "PATCH", "/api/v1/deployments/tiny", "{\"replicas\":1}"));
    until_state(&w, id2, "draining", 1);
    until_state(&w, id2, "none", 0);
    until_state(&w, id, "ready", 1); /* the first was never touched */
    json_decref(want(&w, 200, "PATCH", "/api/v1/deployments/tiny", "{\"replicas\":0}"));
    until_state(&w, id, "none", 0);
    json_decref(want(&w, 200, "GET", "/api/v1/deployments/tiny", "%s", ""));
    world_close(&w);
}

/* ---- groups ---- */

static void barrier_and_failure(void **state)
{
    struct world w;
    char id[CLUSTER_ID], buf[64];
    world_open(&w, "memory");
    struct fake_worker *a = worker_join(&w, "a", 1, 8 * GIB);
    struct fake_worker *b = worker_join(&w, "b", 1, 8 * GIB);
    b->hold = true;
    deploy_id(&w, "group", "\"a:0\",\"b:0\"", id);
    until_state(&w, id, "starting", 1);
    until(&w, one_task, a, "a's task");
    until(&w, one_task, b, "b's task");
    assert_false(a->list.items[0].peers_up); /* b has not reported */
    assert_int_equal(a->list.items[0].role, API_MAIN);
    assert_int_equal(a->list.items[0].n_peers, 1);
    assert_string_equal(a->list.items[0].peers[0].addr, "127.0.0.1:10151");
    assert_string_equal(a->list.items[0].peers[0].node, "b");
    assert_int_equal(b->list.items[0].role, API_RPC);
    assert_string_equal(a->list.items[0].secret, b->list.items[0].secret);
    assert_int_equal(worker_report(b, id, MEMBER_UP, ""), 200);
    until_state(&w, id, "ready", 1);
    char secret[API_HEX];
    STR_COPY(secret, a->list.items[0].secret);

    /* One member fails: both stop, and after the back-off both start as the next generation. */
    b->hold = false;
    int64_t from = os_now_ms();
    assert_int_equal(worker_report(b, id, MEMBER_FAILED, "killed by signal 9"), 200);
    until_state(&w, id, "failed", 1);
    json_t *d = want(&w, 200, "GET", "/api/v1/replicas", "%s", "");
    assert_string_equal(at(d, "items.0.reason.code", buf), "LIMIT");
    assert_string_equal(at(d, "items.0.reason.message", buf), "b (rpc): killed by signal 9");
    json_decref(d);
    until_state(&w, id, "ready", 2);
    assert_true(os_now_ms() - from >= replica_backoff_ms(1));
    assert_int_equal(a->n_stops, 1);
    assert_int_equal(b->n_stops, 1);
    assert_string_not_equal(secret, a->list.items[0].secret);
    assert_int_equal(claimed(&w, a, 0), DOUBLE_BYTES);
    /* A report of the generation before is refused. */
    b->list.items[0].generation = 1;
    assert_int_equal(worker_report(b, id, MEMBER_FAILED, "late"), 409);
    until_state(&w, id, "ready", 2);
    /* A member that begins anew was restarted: its peers must be too. */
    b->list.items[0].generation = 2;
    assert_int_equal(worker_report(b, id, MEMBER_STARTING, ""), 200);
    until_state(&w, id, "failed", 2);
    until_state(&w, id, "ready", 3);
    world_close(&w);
}

static void failing_backs_off(void **state)
{
    struct world w;
    char id[CLUSTER_ID];
    world_open(&w, "memory");
    struct fake_worker *f = worker_join(&w, "a", 1, 8 * GIB);
    f->fail = true;
    deploy_id(&w, "bad", "", id);
    until_state(&w, id, "failed", 2);
    const struct replica *r = state_replica(w.s, id);
    assert_int_equal(r->failures, 2);
    assert_true(r->backoff_until_ms - r->since_ms == 2000);
    assert_int_equal(claimed(&w, f, 0) != 0, r->claimed);
    json_decref(want(&w, 202, "DELETE", "/api/v1/deployments/bad", "%s", ""));
    until_state(&w, id, "none", 0); /* nobody waits for the back-off */
    world_close(&w);
}

static void lost_node_moves_replicas(void **state)
{
    struct world w;
    char id[CLUSTER_ID], other[CLUSTER_ID];
    world_open(&w, "memory");
    struct fake_worker *a = worker_join(&w, "a", 1, 8 * GIB);
    struct fake_worker *b = worker_join(&w, "b", 1, 8 * GIB);
    deploy_id(&w, "m", "", id);
    until_state(&w, id, "ready", 1);
    struct fake_worker *on = a->list.n ? a : b, *off = on == a ? b : a;
    worker_silence(on);
    until_state(&w, id, "lost", 1);
    assert_string_equal(state_replica(w.s, id)->code, "UNREACHABLE");
    until_state(&w, id, "ready", 2);
    assert_int_equal(off->list.n, 1);
    assert_int_equal(claimed(&w, on, 0), 0);
    assert_int_equal(claimed(&w, off, 0), DOUBLE_BYTES);
    /* It comes back and is told nothing of the old generation. */
    worker_speak(on);
    run_ms(&w, 300);
    assert_int_equal(on->list.n, 0);
    assert_false(state_node(w.s, on->node_id)->lost);
    deploy_id(&w, "n", on == a ? "\"a:0\"" : "\"b:0\"", other);
    until_state(&w, other, "ready", 1);
    world_close(&w);
}

/* More than 30 % silent at once, and at least three: nobody is lost until they are heard again. */
static void mass_silence_is_braked(void **state)
{
    struct world w;
    struct fake_worker *f[5];
    char id[CLUSTER_ID];
    world_open(&w, "memory");
    for (int i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + i), 0};
        f[i] = worker_join(&w, name, 1, 8 * GIB);
    }
    deploy_id(&w, "m", "\"a:0\"", id);
    until_state(&w, id, "ready", 1);
    for (int i = 0; i < 3; i++)
        worker_silence(f[i]);
    run_ms(&w, 1500);
    assert_true(w.s->frozen);
    for (int i = 0; i < 5; i++)
        assert_false(state_node(w.s, f[i]->node_id)->lost);
    until_state(&w, id, "ready", 1);
    worker_speak(f[1]);
    worker_speak(f[2]);
    until_state(&w, id, "lost", 1); /* one alone is really gone */
    world_close(&w);
}

/* ---- capacity ---- */

static bool settled(struct world *w, void *arg)
{
    void *value;
    for (size_t i = 0; map_next(w->s->replicas, &i, NULL, &value);) {
        const struct replica *r = value;
        if (r->state != REPLICA_READY && (r->state != REPLICA_PENDING || !r->message[0]))
            return false;
    }
    return true;
}

static bool no_replicas(struct world *w, void *arg)
{
    return map_count(w->s->replicas) == 0;
}

static void racing_for_devices(void **state)
{
    struct world w;
    uint64_t sum = 0;
    world_open(&w, "sqlite");
    struct fake_worker *f = worker_join(&w, "hill", 2, 2 * GIB + GIB / 2);
    /* Two devices with room for two each; seven ask at once. */
    for (int i = 0; i < 7; i++) {
        char name[16];
        str_copyf(name, sizeof name, "m%d", i);
        json_decref(deploy(&w, name, ""));
    }
    until(&w, settled, NULL, "all placed or refused");
    size_t ready = 0;
    char refused[64] = "", buf[64];
    json_t *d = want(&w, 200, "GET", "/api/v1/replicas", "%s", "");
    for (size_t i = 0; i < 7; i++) {
        char path[32];
        str_copyf(path, sizeof path, "items.%zu.state", i);
        bool is_ready = strcmp(at(d, path, buf), "ready") == 0;
        ready += is_ready;
        str_copyf(path, sizeof path, "items.%zu.deployment", i);
        if (!is_ready)
            STR_COPY(refused, at(d, path, buf));
    }
    json_decref(d);
    assert_int_equal(ready, 4);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(claimed(&w, f, i) <= f->total_bytes);
        sum += claimed(&w, f, i);
    }
    assert_int_equal(sum, 4 * DOUBLE_BYTES);
    /* The refused ones know why, with a way out; what comes free goes to one of them at once. */
    char path[96];
    str_copyf(path, sizeof path, "/api/v1/explain/%s", refused);
    d = want(&w, 200, "GET", path, "%s", "");
    assert_string_equal(at(d, "replicas.0.reason.code", buf), "NO_PLACEMENT");
    assert_string_equal(at(d, "replicas.0.plan.feasible", buf), "false");
    assert_string_equal(at(d, "replicas.0.plan.n_changes", buf), "1");
    json_decref(d);
    int64_t from = os_now_ms();
    json_decref(want(&w, 202, "DELETE", "/api/v1/deployments/m0", "%s", ""));
    run_ms(&w, 400);
    until(&w, settled, NULL, "the next one placed");
    assert_true(os_now_ms() - from < 2000); /* woken, not swept */
    assert_int_equal(claimed(&w, f, 0) + claimed(&w, f, 1), 4 * DOUBLE_BYTES);
    world_close(&w);
}

static void drained_nodes_get_nothing(void **state)
{
    struct world w;
    char id[CLUSTER_ID], path[128], buf[64];
    world_open(&w, "memory");
    struct fake_worker *f = worker_join(&w, "hill", 1, 8 * GIB);
    json_decref(want(&w, 200, "POST", "/api/v1/nodes/hill/drain", "{\"reason\":\"psu swap\"}"));
    deploy_id(&w, "m", "", id);
    until(&w, settled, NULL, "refused");
    until_state(&w, id, "pending", 0);
    json_t *d = want(&w, 200, "GET", "/api/v1/nodes", "%s", "");
    assert_string_equal(at(d, "items.0.state", buf), "drained");
    assert_string_equal(at(d, "items.0.reason", buf), "psu swap");
    json_decref(d);
    str_copyf(path, sizeof path, "/api/v1/nodes/%s/undrain", f->node_id);
    json_decref(want(&w, 200, "POST", path, "%s", ""));
    until_state(&w, id, "ready", 1);
    world_close(&w);
}

/* What a reading shows and what the books hold are not given away twice, nor counted twice. */
static void free_memory_of_a_snapshot(void **state)
{
    static const struct {
        const char *name;
        enum device_backend backend;
        uint64_t live_free;
        bool ready;
        uint64_t expect;
    } CASES[] = {
        {"starting, nothing shows yet", BACKEND_CUDA, 8 * GIB, false, 7 * GIB},
        {"ready, the reading shows it", BACKEND_CUDA, 7 * GIB, true, 7 * GIB},
        {"ready, others use 2 GiB as well", BACKEND_CUDA, 5 * GIB, true, 5 * GIB},
        {"ready, the reading lags behind", BACKEND_CUDA, 8 * GIB, true, 7 * GIB},
        {"fake, readings never show it", BACKEND_FAKE, 6 * GIB, true, 5 * GIB},
        {"others took what we were promised", BACKEND_CUDA, GIB / 2, false, 0},
    };
    struct world w;
    char id[CLUSTER_ID];
    world_open(&w, "memory");
    struct fake_worker *f = worker_join(&w, "hill", 1, 8 * GIB);
    deploy_id(&w, "m", "", id);
    until_state(&w, id, "ready", 1);
    worker_silence(f);
    struct node *n = state_node(w.s, f->node_id);
    struct replica *r = state_replica(w.s, id);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct cluster_snapshot snap;
        n->info.devices[0].backend = CASES[i].backend;
        n->info.devices[0].free_bytes = CASES[i].live_free;
        r->ready_ms = CASES[i].ready ? n->seen_ms - 1 : 0;
        sched_snapshot(w.s, &snap);
        if (snap.nodes[0].devices[0].free_bytes != CASES[i].expect)
            fail_msg("%s: %llu", CASES[i].name,
                     (unsigned long long)snap.nodes[0].devices[0].free_bytes);
        snapshot_done(&snap);
    }
    world_close(&w);
}

/* ---- the server itself ---- */

static void restart_keeps_everything(void **state)
{
    struct world w;
    char ready[CLUSTER_ID], starting[CLUSTER_ID], key[64];
    world_open(&w, "sqlite");
    struct fake_worker *a = worker_join(&w, "a", 1, 8 * GIB);
    struct fake_worker *b = worker_join(&w, "b", 1, 8 * GIB);
    b->hold = true;
    deploy_id(&w, "m", "\"a:0\"", ready);
    deploy_id(&w, "n", "\"b:0\"", starting);
    until_state(&w, ready, "ready", 1);
    until_state(&w, starting, "assigned", 1);
    STR_COPY(key, server_admin_key(w.s));
    int64_t revision = w.s->store->driver->revision(w.s->store);
    world_restart(&w);
    assert_string_equal(key, server_admin_key(w.s));
    until_state(&w, ready, "ready", 1);
    assert_true(w.s->store->driver->revision(w.s->store) >= revision);
    b->hold = false;
    until_state(&w, starting, "ready", 1);
    run_ms(&w, 1000); /* longer than lost_after: everybody was heard again */
    until_state(&w, ready, "ready", 1);
    assert_int_equal(a->n_stops, 0);
    assert_int_equal(claimed(&w, a, 0), DOUBLE_BYTES);
    /* A deployment from before can be planned again: its facts are read anew. */
    json_decref(want(&w, 200, "PATCH", "/api/v1/deployments/m", "{\"replicas\":2}"));
    run_ms(&w, 300);
    json_decref(want(&w, 202, "DELETE", "/api/v1/deployments/m", "%s", ""));
    until_state(&w, ready, "none", 0);
    world_close(&w);
}

static void one_server_per_state(void **state)
{
    struct world w;
    struct err err = {0};
    world_open(&w, "sqlite");
    struct server_opts o = {
        .loop = w.loop, .state_dir = w.dir, .store_driver = "sqlite", .url = "http://x"};
    assert_null(server_new(&o, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    world_close(&w);
}

/* A loop that did not run for a while has not heard anybody: that is nobody's silence. */
static void own_pause_is_not_silence(void **state)
{
    struct world w;
    char id[CLUSTER_ID];
    world_open(&w, "memory");
    struct fake_worker *f = worker_join(&w, "a", 1, 8 * GIB);
    deploy_id(&w, "m", "", id);
    until_state(&w, id, "ready", 1);
    usleep(1500 * 1000); /* lost_after_ms is 600 here */
    run_ms(&w, 300);
    assert_false(state_node(w.s, f->node_id)->lost);
    until_state(&w, id, "ready", 1);
    world_close(&w);
}

/* No byte can be written: requests that need one fail, everything else goes on, nothing is half
 * done. */
static void full_disk(void **state)
{
    struct world w;
    struct rlimit old, none;
    char id[CLUSTER_ID], body[256], buf[64];
    json_t *doc;
    world_open(&w, "sqlite");
    struct fake_worker *f = worker_join(&w, "a", 1, 8 * GIB);
    deploy_id(&w, "m", "", id);
    until_state(&w, id, "ready", 1);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    none = old;
    none.rlim_cur = 1;
    setrlimit(RLIMIT_FSIZE, &none);
    str_copyf(body, sizeof body, "{\"name\":\"n\",\"model\":\"%s\"}", w.model);
    int status = ask(&w, "POST", "/api/v1/deployments", server_admin_key(w.s), body, &doc);
    int deleted = ask(&w, "DELETE", "/api/v1/deployments/m", server_admin_key(w.s), NULL, NULL);
    worker_report(f, id, MEMBER_FAILED, "gone");
    run_ms(&w, 300);
    bool still_ready = state_replica(w.s, id)->state == REPLICA_READY;
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, 500);
    assert_string_equal(at(doc, "error.code", buf), "IO");
    json_decref(doc);
    assert_int_equal(deleted, 500);
    assert_true(still_ready);
    assert_null(state_deployment(w.s, "n"));
    assert_false(state_deployment(w.s, "m")->deleting);
    json_decref(want(&w, 201, "POST", "/api/v1/deployments", "%s", body));
    assert_int_equal(worker_report(f, id, MEMBER_FAILED, "gone"), 200);
    until_state(&w, id, "ready", 2);
    world_restart(&w);
    assert_int_equal(map_count(w.s->deployments), 2);
    world_close(&w);
}

/* Memory that no longer equals the store is read again, under running replicas. */
static void reloads_when_told(void **state)
{
    struct world w;
    char id[CLUSTER_ID];
    world_open(&w, "sqlite");
    struct fake_worker *f = worker_join(&w, "a", 1, 8 * GIB);
    deploy_id(&w, "m", "", id);
    until_state(&w, id, "ready", 1);
    STR_COPY(state_replica(w.s, id)->message, "what the store never heard of");
    w.s->broken = true;
    run_ms(&w, 400);
    assert_false(w.s->broken);
    assert_string_equal(state_replica(w.s, id)->message, "");
    until_state(&w, id, "ready", 1);
    assert_int_equal(f->n_stops, 0);
    json_decref(want(&w, 202, "DELETE", "/api/v1/deployments/m", "%s", ""));
    until_state(&w, id, "none", 0);
    world_close(&w);
}

/* A thousand replicas are some transactions, not a thousand. */
static void many_replicas_few_commits(void **state)
{
    struct world w;
    world_open(&w, "sqlite");
    worker_join(&w, "a", 1, 8 * GIB);
    json_decref(deploy(&w, "m", "\"a:0\""));
    int64_t before = w.s->store->driver->revision(w.s->store);
    json_decref(want(&w, 200, "PATCH", "/api/v1/deployments/m", "{\"replicas\":1000}"));
    assert_int_equal(map_count(w.s->replicas), 1000);
    until(&w, settled, NULL, "all placed or refused");
    assert_true(w.s->store->driver->revision(w.s->store) - before < 100);
    json_decref(want(&w, 200, "PATCH", "/api/v1/deployments/m", "{\"replicas\":0}"));
    before = w.s->store->driver->revision(w.s->store);
    until(&w, no_replicas, NULL, "all gone");
    assert_true(w.s->store->driver->revision(w.s->store) - before < 100);
    world_close(&w);
}

/* ---- watches ---- */

static bool saw_all(struct world *w, void *arg)
{
    const struct watch *x = arg;
    return x->n_deployments && x->n_replicas;
}

static bool saw_deleted(struct world *w, void *arg)
{
    return ((struct watch *)arg)->n_deleted == 2;
}

static void events_tell_all(void **state)
{
    struct world w;
    char id[CLUSTER_ID];
    world_open(&w, "memory");
    worker_join(&w, "hill", 1, 8 * GIB);
    struct watch x = {0};
    watch_open(&x, &w, "/api/v1/events", server_admin_key(w.s));
    run_ms(&w, 50);
    assert_int_equal(x.n >= 1, 1);
    run_ms(&w, 1000);
    assert_true(x.n_nodes >= 3 &&
                x.n_nodes <= 6); /* a beat each 100 ms, an event each 250 at most */
    deploy_id(&w, "m", "", id);
    until_state(&w, id, "ready", 1);
    until(&w, saw_all, &x, "events of the deployment");
    assert_int_equal(x.n_deleted, 0);
    json_decref(want(&w, 202, "DELETE", "/api/v1/deployments/m", "%s", ""));
    until_state(&w, id, "none", 0);
    until(&w, saw_deleted, &x, "events of the removal");
    watch_close(&x);
    run_ms(&w, 50);
    world_close(&w);
}

static void append_lines(void *arg, const char *p, size_t n)
{
    buf_add(arg, p, n);
}

struct reader {
    struct buf text;
    bool done;
};

static void reader_body(void *arg, const char *p, size_t n)
{
    append_lines(&((struct reader *)arg)->text, p, n);
}

static bool has_text(struct world *w, void *arg)
{
    return ((struct reader *)arg)->text.n > 0;
}

static bool read_done(struct world *w, void *arg)
{
    return ((struct reader *)arg)->done;
}

static void reader_done(void *arg, const struct err *err)
{
    ((struct reader *)arg)->done = true;
}

static struct http_call *read_log(struct world *w, struct reader *x, const char *id,
                                  const char *query)
{
    mem_auto char *path = mem_printf("/api/v1/replicas/%s/log?%s", id, query);
    mem_auto char *headers = mem_printf("Authorization: Bearer %s\r\n", server_admin_key(w->s));
    struct http_call_opts o = {.addr = w->addr,
                               .fd = -1,
                               .method = "GET",
                               .path = path,
                               .headers = headers,
                               .on_body = reader_body,
                               .on_done = reader_done,
                               .arg = x};
    *x = (struct reader){0};
    buf_init(&x->text, 1 << 20);
    return http_call_new(w->loop, &o);
}

static int post_line(struct fake_worker *f, const char *stream, const char *text, bool end,
                     bool *more)
{
    char buf[64];
    json_t *doc;
    mem_auto char *path = mem_printf("/api/v1/logs/%s", stream);
    mem_auto char *body = mem_printf("{\"lines\":[{\"role\":\"main\",\"text\":\"%s\"}],\"end\":%s}",
                                     text, end ? "true" : "false");
    int status = ask(f->w, "POST", path, f->key, body, &doc);
    *more = strcmp(at(doc, "more", buf), "true") == 0;
    json_decref(doc);
    return status;
}

static void logs_are_relayed(void **state)
{
    struct world w;
    struct reader x;
    char id[CLUSTER_ID], stream[CLUSTER_ID];
    bool more;
    world_open(&w, "memory");
    struct fake_worker *a = worker_join(&w, "a", 1, 8 * GIB);
    struct fake_worker *b = worker_join(&w, "b", 1, 8 * GIB);
    deploy_id(&w, "m", "\"a:0\"", id);
    until_state(&w, id, "ready", 1);
    struct http_call *call = read_log(&w, &x, id, "follow=1&tail=5");
    until_streams(&w, a, 1);
    assert_int_equal(a->list.items[0].log_streams[0].tail, 5);
    assert_true(a->list.items[0].log_streams[0].follow);
    STR_COPY(stream, a->list.items[0].log_streams[0].stream);
    assert_int_equal(post_line(a, stream, "hello", false, &more), 200);
    assert_true(more);
    assert_int_equal(post_line(b, stream, "from a stranger", false, &more), 403);
    until(&w, has_text, &x, "the line");
    assert_string_equal(buf_str(&x.text).p, "a main │ hello\n");
    http_cancel(call);
    until_streams(&w, a, 0);
    assert_int_equal(post_line(a, stream, "to nobody", false, &more), 200);
    assert_false(more);
    buf_done(&x.text);
    /* Without follow the stream ends when every member has sent its end. */
    read_log(&w, &x, id, "tail=1");
    until_streams(&w, a, 1);
    STR_COPY(stream, a->list.items[0].log_streams[0].stream);
    post_line(a, stream, "last", true, &more);
    assert_false(more);
    until(&w, read_done, &x, "the end");
    assert_string_equal(buf_str(&x.text).p, "a main │ last\n");
    buf_done(&x.text);
    world_close(&w);
}

/* What log_line writes from here on; log_end gives it back to the terminal and to the test. */
static int log_begin(const char *path)
{
    int keep = dup(2), fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(keep >= 0 && fd >= 0 && dup2(fd, 2) == 2);
    close(fd);
    return keep;
}
static char *log_end(const char *path, int keep)
{
    char *text = NULL;
    size_t n;
    assert_int_equal(dup2(keep, 2), 2);
    close(keep);
    assert_int_equal(file_read(path, 1 << 20, &text, &n, NULL), 0);
    return text;
}

/* A search that ended early is a warning where decisions are logged, with the gap and a way out. */
static void unproved_plan_is_logged(void **state)
{
    struct world w;
    char buf[64], id[CLUSTER_ID], path[96];
    world_open(&w, "memory");
    str_copyf(path, sizeof path, "%s/log", w.dir);
    worker_join(&w, "hill", 1, 8 * GIB);
    int keep = log_begin(path);
    deploy_id(&w, "proved", "", id);
    until_state(&w, id, "ready", 1);
    mem_auto char *before = log_end(path, keep);
    keep = log_begin(path);
    json_t *d = want(&w, 201, "POST", "/api/v1/deployments",
                     "{\"name\":\"open\",\"model\":\"%s\",\"policy\":\"fastest\"}", w.model);
    str_copy(id, sizeof id, at(d, "replicas.0.id", buf));
    json_decref(d);
    until_state(&w, id, "ready", 1);
    mem_auto char *text = log_end(path, keep);
    assert_null(strstr(before, "placement_not_proved"));
    assert_non_null(strstr(text, "placement_not_proved"));
    assert_non_null(strstr(text, "model=open/0"));
    assert_non_null(strstr(text, "gap_percent=12.5"));
    assert_non_null(strstr(text, "pin its GPUs"));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_deploy_to_gone),       cmocka_unit_test(scaling),
        cmocka_unit_test(barrier_and_failure),       cmocka_unit_test(failing_backs_off),
        cmocka_unit_test(lost_node_moves_replicas),  cmocka_unit_test(mass_silence_is_braked),
        cmocka_unit_test(racing_for_devices),        cmocka_unit_test(drained_nodes_get_nothing),
        cmocka_unit_test(free_memory_of_a_snapshot), cmocka_unit_test(restart_keeps_everything),
        cmocka_unit_test(one_server_per_state),      cmocka_unit_test(events_tell_all),
        cmocka_unit_test(logs_are_relayed),          cmocka_unit_test(unproved_plan_is_logged),
        cmocka_unit_test(own_pause_is_not_silence),  cmocka_unit_test(full_disk),
        cmocka_unit_test(reloads_when_told),         cmocka_unit_test(many_replicas_few_commits),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
