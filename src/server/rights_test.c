/* Who may do what: every route of the table with every kind of key; keys, tokens; hostile requests.
 */
#include "server/test_world.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"

enum caller { NOBODY, WRONG, API, GATEWAY, OTHER_WORKER, OWN_WORKER, USED_TOKEN, ADMIN, N_CALLERS };
static const char *const CALLERS[] = {"nobody",         "a wrong key", "an api key",   "a gateway",
                                      "another worker", "its worker",  "a used token", "the admin"};

/* The pattern with the names of things that exist. */
static void path_of(const struct api_route_row *row, const char *node, const char *replica,
                    char *dst, size_t cap)
{
    buf_auto struct buf b;
    buf_init(&b, cap - 1);
    bool of_replica = strstr(row->pattern, "/replicas/") != NULL;
    int n = 0;
    for (const char *p = row->pattern; *p; p++) {
        if (*p != '{') {
            buf_addc(&b, *p);
            continue;
        }
        buf_adds(&b, of_replica && n == 0                ? replica
                     : strstr(row->pattern, "{id}") || n ? node
                                                         : "x");
        n++;
        p = strchr(p, '}');
    }
    str_copy(dst, cap, buf_str(&b).p);
}

static bool allowed(enum caller who, enum api_policy policy)
{
    switch (policy) {
    case POLICY_PUBLIC:
        return true;
    case POLICY_WORKER_OWN:
        return who == OWN_WORKER || who == ADMIN;
    case POLICY_GATEWAY:
        return who == GATEWAY || who == ADMIN;
    default:
        return who == ADMIN;
    }
}

static bool has_status(struct world *w, void *arg)
{
    const struct watch *x = arg;
    return x->status || x->done;
}

/* The status alone: of a stream too, which never ends. */
static int status_of(struct world *w, const char *method, const char *path, const char *key,
                     const char *body)
{
    if (strcmp(method, "GET") != 0)
        return ask(w, method, path, key, body, NULL);
    struct watch x = {0};
    watch_open(&x, w, path, key ? key : "");
    until(w, has_status, &x, path);
    int status = x.status;
    watch_close(&x);
    return status;
}

static void matrix(void **state)
{
    struct world w;
    char buf[64], key[N_CALLERS][96] = {""}, replica[CLUSTER_ID];
    world_open(&w, "memory");
    struct fake_worker *own = worker_join(&w, "own", 1, 8 * GIB);
    struct fake_worker *other = worker_join(&w, "other", 1, 8 * GIB);
    own->hold = true; /* its replica stays as it is */
    json_t *d = want(&w, 201, "POST", "/api/v1/keys", "{\"name\":\"app\"}");
    STR_COPY(key[API], at(d, "key", buf));
    json_decref(d);
    STR_COPY(key[WRONG], "sk-0123456789012345678901234567890123456789012");
    STR_COPY(key[OTHER_WORKER], other->key);
    STR_COPY(key[OWN_WORKER], own->key);
    STR_COPY(key[ADMIN], server_admin_key(w.s));
    server_gateway_key(w.s, key[GATEWAY]);
    server_local_token(w.s, key[USED_TOKEN]);
    json_t *doc = json_pack("{s:s,s:I,s:I}", "name", "third", "ram_bytes", (json_int_t)GIB,
                            "ram_free_bytes", (json_int_t)GIB);
    mem_auto char *text = json_text(doc);
    json_decref(doc);
    assert_int_equal(ask(&w, "POST", "/api/v1/join", key[USED_TOKEN], text, NULL), 201);
    d = want(&w, 201, "POST", "/api/v1/deployments",
             "{\"name\":\"m\",\"model\":\"%s\","
             "\"gpus\":[\"own:0\"]}",
             w.model);
    STR_COPY(replica, at(d, "replicas.0.id", buf));
    json_decref(d);
    run_ms(&w, 100);

    for (int i = 0; i < ROUTE_COUNT; i++)
        for (int who = 0; who < N_CALLERS; who++) {
            const struct api_route_row *row = &API_ROUTES[i];
            char path[200];
            path_of(row, own->node_id, replica, path, sizeof path);
            int status = status_of(&w, row->method, path, who == NOBODY ? NULL : key[who], NULL);
            /* A stream nobody reads belongs to nobody: any worker is told so. */
            bool ok = allowed(who, row->policy) || (i == ROUTE_LOG_LINES && who == OTHER_WORKER);
            int no = who == NOBODY || who == WRONG || who == USED_TOKEN ? 401 : 403;
            bool right = ok ? status != 401 && status != 403 && status > 0 : status == no;
            if (!right)
                fail_msg("%s %s by %s: %d", row->method, path, CALLERS[who], status);
        }
    assert_int_equal(ask(&w, "GET", "/api/v1/nothing", NULL, NULL, NULL), 401);
    assert_int_equal(ask(&w, "GET", "/api/v1/nothing", key[ADMIN], NULL, NULL), 404);
    assert_int_equal(ask(&w, "PUT", "/api/v1/nodes", key[ADMIN], NULL, NULL), 404);
    world_close(&w);
}

static void tokens_and_keys(void **state)
{
    struct world w;
    char buf[64], token[64], key[64], id[64];
    world_open(&w, "sqlite");
    json_t *d = want(&w, 201, "POST", "/api/v1/tokens", "{\"uses\":2,\"ttl_s\":60}");
    STR_COPY(token, at(d, "token", buf));
    assert_non_null(strstr(json_string_value(json_object_get(d, "command")), token));
    json_decref(d);
    static const char *const NAMES[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        char body[160];
        str_copyf(body, sizeof body, "{\"name\":\"%s\",\"ram_bytes\":1,\"ram_free_bytes\":1}",
                  NAMES[i]);
        assert_int_equal(ask(&w, "POST", "/api/v1/join", token, body, NULL), i < 2 ? 201 : 401);
        if (i == 0) /* the same name again does not use it up */
            assert_int_equal(ask(&w, "POST", "/api/v1/join", token, body, NULL), 409);
        if (i == 0)
            world_restart(&w); /* neither does a restart renew it */
    }
    d = want(&w, 201, "POST", "/api/v1/tokens", "{\"ttl_s\":1}");
    STR_COPY(token, at(d, "token", buf));
    json_decref(d);
    run_ms(&w, 1100);
    assert_int_equal(ask(&w, "POST", "/api/v1/join", token, "{}", NULL), 401);

    /* An API key: known to the gateway by its hash until it is deleted; never shown again. */
    d = want(&w, 201, "POST", "/api/v1/keys", "{\"name\":\"app\",\"scope\":\"api\"}");
    STR_COPY(key, at(d, "key", buf));
    STR_COPY(id, at(d, "id", buf));
    json_decref(d);
    assert_int_equal(strlen(key), 46);
    d = want(&w, 200, "GET", "/api/v1/routes", "%s", "");
    struct api_routes routes = {0};
    assert_int_equal(api_routes_from_json(&routes, d, NULL), 0);
    assert_int_equal(routes.n_keys, 2); /* it and the admin's */
    assert_int_equal(strlen(routes.keys[1].hash), 64);
    mem_auto char *text = json_text(d);
    assert_null(strstr(text, key));
    assert_null(strstr(text, key + 3));
    api_routes_done(&routes);
    json_decref(d);
    char path[96];
    str_copyf(path, sizeof path, "/api/v1/keys/%s", id);
    json_decref(want(&w, 200, "DELETE", path, "%s", ""));
    json_decref(want(&w, 404, "DELETE", path, "%s", ""));
    d = want(&w, 200, "GET", "/api/v1/routes", "%s", "");
    assert_int_equal(json_array_size(json_object_get(d, "keys")), 1);
    json_decref(d);
    json_decref(want(&w, 409, "DELETE", "/api/v1/keys/admin", "%s", ""));
    world_close(&w);
}

/* Keys lie in no file but the admin's own, and those are for their owner only. */
static void files_hold_no_keys(void **state)
{
    struct world w;
    char path[128], buf[64], key[64];
    world_open(&w, "sqlite");
    struct fake_worker *f = worker_join(&w, "a", 1, GIB);
    json_t *d = want(&w, 201, "POST", "/api/v1/keys", "{\"name\":\"app\"}");
    STR_COPY(key, at(d, "key", buf));
    json_decref(d);
    static const char *const FILES[] = {"state.db", "state.db-wal", "secret.key"};
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        mem_auto char *text = NULL;
        size_t n;
        str_copyf(path, sizeof path, "%s/%s", w.dir, FILES[i]);
        assert_int_equal(file_read(path, 16 << 20, &text, &n, NULL), 0);
        assert_null(memmem(text, n, key, strlen(key)));
        assert_null(memmem(text, n, f->key, strlen(f->key)));
        assert_null(memmem(text, n, server_admin_key(w.s), strlen(server_admin_key(w.s))));
    }
    world_close(&w);
}

static void hostile_requests(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *says;
    } CASES[] = {
        {"POST", "/api/v1/deployments", "", 400, "JSON"},
        {"POST", "/api/v1/deployments", "[]", 400, "mapping"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\"", 400, "JSON"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\"}", 400, "model"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"name\":\"n\"}", 400, "duplicate"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"MODEL\",\"ctxx\":1}", 400,
         "did you mean 'ctx'"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"MODEL\",\"ctx\":\"4k\"}", 400,
         "ctx"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"MODEL\",\"ctx\":-1}", 400,
         "ctx"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"MODEL\",\"replicas\":1e9}",
         400, "replicas"},
        {"POST", "/api/v1/deployments", "{\"name\":\"../m\",\"model\":\"MODEL\"}", 400, "name"},
        {"POST", "/api/v1/deployments", "{\"name\":\"a/b\",\"model\":\"MODEL\"}", 400, "name"},
        {"POST", "/api/v1/deployments", "{\"name\":\"\",\"model\":\"MODEL\"}", 400, "name"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\\u0000\",\"model\":\"MODEL\"}", 400, ""},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"tiny.gguf\"}", 400,
         "absolute"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"/nowhere/x.gguf\"}", 404,
         "/nowhere/x.gguf"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"/dev/zero\"}", 400,
         "/dev/zero"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"DIR\"}", 400, ""},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"DIR/text.gguf\"}", 422,
         "no GGUF"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"DIR/cut.gguf\"}", 422, ""},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"DIR/head.ggufh\"}", 422,
         "only the header"},
        {"POST", "/api/v1/deployments", "{\"name\":\"m\",\"model\":\"MODEL\",\"kv\":\"q3\"}", 400,
         "q3"},
        {"PATCH", "/api/v1/deployments/none", "{\"replicas\":1}", 404, "none"},
        {"DELETE", "/api/v1/deployments/none", "", 404, "none"},
        {"GET", "/api/v1/explain/none", "", 404, "none"},
        {"POST", "/api/v1/plan", "{}", 400, "spec"},
        {"POST", "/api/v1/plan", "{\"spec\":{\"model\":\"MODEL\"},\"budget\":-1}", 400, "budget"},
        {"POST", "/api/v1/plan", "{\"spec\":{\"model\":\"MODEL\",\"x\":1}}", 400, "'x'"},
        {"POST", "/api/v1/plan", "{\"spec\":{\"model\":\"MODEL\"}}", 200, ""},
        {"POST", "/api/v1/plan", "{\"spec\":{\"model\":\"DIR/head.ggufh\"}}", 200, ""},
        {"POST", "/api/v1/keys", "{}", 400, "name"},
        {"POST", "/api/v1/keys", "{\"name\":\"x\",\"scope\":\"worker\"}", 400, "worker"},
        {"POST", "/api/v1/keys", "{\"name\":\"a\\nb\"}", 400, "control"},
        {"POST", "/api/v1/keys", "{\"nam\":\"x\"}", 400, "did you mean"},
        {"POST", "/api/v1/tokens", "{\"uses\":0}", 400, "uses"},
        {"POST", "/api/v1/tokens", "{\"uses\":99999999}", 400, "uses"},
        {"POST", "/api/v1/tokens", "{\"ttl_s\":99999999}", 400, "ttl_s"},
        {"POST", "/api/v1/join", "{\"name\":\"own\",\"ram_bytes\":1,\"ram_free_bytes\":1}", 409,
         "own"},
        {"POST", "/api/v1/join", "{\"name\":\"a b\",\"ram_bytes\":1,\"ram_free_bytes\":1}", 400,
         "a b"},
        {"POST", "/api/v1/join", "{\"name\":\"x\",\"ram_bytes\":-1,\"ram_free_bytes\":1}", 400,
         "ram_bytes"},
        {"PUT", "/api/v1/nodes/n-none/inventory", "{}", 404, "n-none"},
        {"PUT", "/api/v1/nodes/NODE/inventory", "{}", 400, "name"},
        {"PUT", "/api/v1/replicas/r-none/members/NODE", "{}", 404, "r-none"},
        {"POST", "/api/v1/nodes/none/drain", "{}", 404, "none"},
        {"POST", "/api/v1/nodes/NODE/drain", "{\"why\":1}", 400, "why"},
        {"DELETE", "/api/v1/nodes/NODE", "", 409, "not lost"},
        {"GET", "/api/v1/replicas/r-none/log", "", 404, "r-none"},
        {"POST", "/api/v1/logs/l-none", "{}", 400, "lines"},
    };
    struct world w;
    world_open(&w, "memory");
    struct fake_worker *own = worker_join(&w, "own", 1, 8 * GIB);
    mem_auto char *bytes = NULL;
    size_t n;
    char path[160];
    assert_int_equal(file_read(w.model, 1 << 20, &bytes, &n, NULL), 0);
    str_copyf(path, sizeof path, "%s/text.gguf", w.dir);
    assert_int_equal(file_write(path, "hello, this is text and no model", 32, 0600, NULL), 0);
    str_copyf(path, sizeof path, "%s/cut.gguf", w.dir);
    assert_int_equal(file_write(path, bytes, 100, 0600, NULL), 0);
    str_copyf(path, sizeof path, "%s/head.ggufh", w.dir);
    size_t header = n;
    while (header && !bytes[header - 1])
        header--; /* the weights are a hole */
    header = (header + 31) / 32 * 32;
    assert_int_equal(file_write(path, bytes, header, 0600, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        static const char *const WORDS[] = {"MODEL", "DIR", "NODE"};
        const char *with[] = {w.model, w.dir, own->node_id};
        buf_auto struct buf url, body;
        struct buf *out[] = {&url, &body};
        const char *in[] = {CASES[i].path, CASES[i].body};
        for (int k = 0; k < 2; k++) {
            buf_init(out[k], 4096);
            for (const char *p = in[k]; *p;) {
                size_t v = 0;
                while (v < 3 && strncmp(p, WORDS[v], strlen(WORDS[v])) != 0)
                    v++;
                if (v < 3)
                    buf_adds(out[k], with[v]);
                else
                    buf_addc(out[k], *p);
                p += v < 3 ? strlen(WORDS[v]) : 1;
            }
        }
        json_t *doc;
        int status = ask(&w, CASES[i].method, buf_str(&url).p, server_admin_key(w.s),
                         buf_str(&body).p, &doc);
        mem_auto char *text = json_text(doc);
        json_decref(doc);
        if (status != CASES[i].status || !strstr(text, CASES[i].says))
            fail_msg("%s %s %s: %d %s", CASES[i].method, CASES[i].path, CASES[i].body, status,
                     text);
    }
    assert_int_equal(map_count(w.s->deployments), 0);
    mem_auto char *big = mem_calloc(SERVER_MAX_BODY + 10, 1);
    memset(big, ' ', SERVER_MAX_BODY + 5);
    assert_int_equal(ask(&w, "POST", "/api/v1/deployments", server_admin_key(w.s), big, NULL), 413);
    world_close(&w);
}

/* A machine that is set up anew takes over the name of a lost one, whose key is void. */
static void lost_names_pass_on(void **state)
{
    struct world w;
    char path[128];
    world_open(&w, "memory");
    struct fake_worker *old = worker_join(&w, "hill", 1, 8 * GIB);
    worker_silence(old);
    run_ms(&w, 900);
    assert_true(state_node(w.s, old->node_id)->lost);
    struct fake_worker *new = worker_join(&w, "hill", 1, 8 * GIB);
    assert_string_not_equal(old->node_id, new->node_id);
    str_copyf(path, sizeof path, "/api/v1/nodes/%s/inventory", old->node_id);
    assert_int_equal(ask(&w, "PUT", path, old->key, "{}", NULL), 401);
    worker_silence(new);
    run_ms(&w, 900);
    json_decref(want(&w, 200, "DELETE", "/api/v1/nodes/hill", "%s", ""));
    assert_int_equal(map_count(w.s->nodes), 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrix),
        cmocka_unit_test(tokens_and_keys),
        cmocka_unit_test(files_hold_no_keys),
        cmocka_unit_test(hostile_requests),
        cmocka_unit_test(lost_names_pass_on),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
