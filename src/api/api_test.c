/* Routes and messages. */
#include "api/messages.h"
#include "api/routes.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* ---- routes ---- */

static void routes_match(void **state)
{
    static const struct {
        const char *method, *path;
        int id; /* -1: none; -2: none, but the path is known */
        const char *a, *b;
    } CASES[] = {
        {"GET", "/api/v1/health", ROUTE_HEALTH, "", ""},
        {"POST", "/api/v1/health", -2, "", ""},
        {"PUT", "/api/v1/nodes/n-1/inventory", ROUTE_NODE_INVENTORY, "n-1", ""},
        {"PUT", "/api/v1/replicas/r-1/members/n-2", ROUTE_MEMBER_REPORT, "r-1", "n-2"},
        {"GET", "/api/v1/deployments", ROUTE_DEPLOYMENTS, "", ""},
        {"DELETE", "/api/v1/deployments/a:b.c", ROUTE_UNDEPLOY, "a:b.c", ""},
        {"GET", "/api/v1/deployments/", -1, "", ""},
        {"GET", "/api/v1/deployments/a/b", -1, "", ""},
        {"GET", "/api/v1/healthy", -1, "", ""},
        {"GET", "/api/v1/healt", -1, "", ""},
        {"GET", "/api/v1/nodes//tasks", -1, "", ""},
        {"get", "/api/v1/health", -2, "", ""},
        {"GET", "", -1, "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct api_match m = api_route_match(str_of(CASES[i].method), str_of(CASES[i].path));
        int id = m.row ? (int)m.row->id : m.path_known ? -2 : -1;
        if (id != CASES[i].id)
            fail_msg("%s %s: %d", CASES[i].method, CASES[i].path, id);
        assert_true(!m.row || str_eq(m.params[0], str_of(CASES[i].a)));
        assert_true(!m.row || str_eq(m.params[1], str_of(CASES[i].b)));
    }
}

/* Every pattern matches itself and nothing else does. */
static void routes_are_distinct(void **state)
{
    for (int i = 0; i < ROUTE_COUNT; i++) {
        char path[128];
        size_t n = 0;
        for (const char *p = API_ROUTES[i].pattern; *p; p++) {
            if (*p == '{') {
                path[n++] = 'x';
                p = strchr(p, '}');
            } else {
                path[n++] = *p;
            }
        }
        path[n] = 0;
        struct api_match m = api_route_match(str_of(API_ROUTES[i].method), str_of(path));
        assert_non_null(m.row);
        assert_int_equal(m.row->id, i);
        assert_true(API_ROUTES[i].policy > POLICY_UNSET);
        assert_string_not_equal(api_policy_name(API_ROUTES[i].policy), "unset");
    }
}

/* ---- messages: what goes out comes back ---- */

static void make_task(struct api_task *t)
{
    *t = (struct api_task){.index = 3,
                           .generation = 9,
                           .role = API_MAIN,
                           .run = true,
                           .peers_up = true,
                           .n_peers = 2,
                           .n_log_streams = 1};
    STR_COPY(t->replica, "r-1");
    STR_COPY(t->deployment, "qwen:4b");
    STR_COPY(t->secret, "00ff");
    STR_COPY(t->alias, "qwen:4b");
    STR_COPY(t->model.path, "/m/\"odd\" \xc3\xa9.gguf");
    STR_COPY(t->model.header_sha256, "abc");
    t->model.bytes = 123456789012;
    STR_COPY(t->assignment.plan_id, "p-1");
    STR_COPY(t->assignment.engine, "llama.cpp");
    STR_COPY(t->assignment.main_id, "n-1");
    STR_COPY(t->assignment.kv, "f16");
    t->assignment.n_slots = 2;
    t->assignment.n_parts = 1;
    t->assignment.parts = mem_calloc(1, sizeof *t->assignment.parts);
    STR_COPY(t->assignment.parts[0].node_id, "n-2");
    t->assignment.parts[0].backend = BACKEND_FAKE;
    t->assignment.parts[0].weights_bytes = 77;
    t->peers = mem_calloc(2, sizeof *t->peers);
    STR_COPY(t->peers[1].node_id, "n-2");
    STR_COPY(t->peers[1].addr, "10.0.0.2:10151");
    t->log_streams = mem_calloc(1, sizeof *t->log_streams);
    STR_COPY(t->log_streams[0].stream, "l-1");
    t->log_streams[0].follow = true;
    t->log_streams[0].tail = 7;
}

/* By way of text, as over the wire. */
static json_t *wire(json_t *doc /* taken */)
{
    struct err err = {0};
    mem_auto char *text = json_text(doc);
    json_decref(doc);
    json_t *back = json_parse(text, strlen(text), &err);
    if (!back)
        fail_msg("%s", err.msg);
    return back;
}

static void same(json_t *a /* taken */, const json_t *b)
{
    mem_auto char *x = json_text(a), *y = json_text(b);
    json_decref(a);
    assert_string_equal(x, y);
}

static void tasks_round(void **state)
{
    struct api_tasks t = {mem_calloc(2, sizeof(struct api_task)), 2}, back = {0};
    struct err err = {0};
    make_task(&t.items[0]);
    make_task(&t.items[1]);
    t.items[1].role = API_RPC;
    t.items[1].run = false;
    json_auto_t *doc = wire(api_tasks_to_json(&t));
    if (api_tasks_from_json(&back, doc, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(back.n, 2);
    assert_int_equal(back.items[1].role, API_RPC);
    assert_false(back.items[1].run);
    assert_string_equal(back.items[0].peers[1].addr, "10.0.0.2:10151");
    assert_int_equal(back.items[0].assignment.parts[0].backend, BACKEND_FAKE);
    assert_int_equal(back.items[0].log_streams[0].tail, 7);
    same(api_tasks_to_json(&back), doc);
    api_tasks_done(&t);
    api_tasks_done(&back);
    api_tasks_done(&back); /* twice is once */
}

static void report_round(void **state)
{
    struct api_measured measured[] = {{1, {10, 20, 30}}};
    struct api_report r = {.generation = 4,
                           .state = MEMBER_LOADING,
                           .percent = 55,
                           .pid = 99,
                           .measured = measured,
                           .n_measured = 1,
                           .has_host_measured = true,
                           .host_measured = {1, 2, 3},
                           .tok_s = 12.5};
    struct api_report back = {0};
    json_auto_t *doc = wire(api_report_to_json(&r));
    assert_int_equal(api_report_from_json(&back, doc, NULL), 0);
    assert_int_equal(back.state, MEMBER_LOADING);
    assert_int_equal(back.measured[0].bytes.compute_bytes, 30);
    assert_int_equal(back.host_measured.kv_bytes, 2);
    same(api_report_to_json(&back), doc);
    api_report_done(&back);
}

static void routes_round(void **state)
{
    struct api_endpoint e = {.generation = 2, .slots = 4};
    struct api_route m = {
        .ctx = 8192, .n_slots = 4, .created_at = 5, .endpoints = &e, .n_endpoints = 1};
    struct name_list models = {.n = 1};
    struct api_key keys[2] = {{.models = &models}, {.models = NULL}};
    struct api_routes r = {.models = &m, .n_models = 1, .keys = keys, .n_keys = 2}, back = {0};
    STR_COPY(r.key_salt, "aa");
    STR_COPY(m.name, "m");
    STR_COPY(m.state, "ready");
    STR_COPY(e.replica, "r-1");
    STR_COPY(models.items[0], "m");
    json_auto_t *doc = wire(api_routes_to_json(&r));
    struct err err = {0};
    if (api_routes_from_json(&back, doc, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(back.models[0].endpoints[0].replica, "r-1");
    assert_int_equal(back.keys[0].models->n, 1);
    assert_null(back.keys[1].models);
    same(api_routes_to_json(&back), doc);
    api_routes_done(&back);
}

static void log_round(void **state)
{
    struct api_log_line lines[] = {{"main", (char *)"a \"b\"\t\xc3\xa9"}, {"rpc", (char *)""}};
    struct api_log l = {lines, 2, true}, back = {0};
    json_auto_t *doc = wire(api_log_to_json(&l));
    assert_int_equal(api_log_from_json(&back, doc, NULL), 0);
    assert_true(back.end);
    assert_string_equal(back.lines[0].text, lines[0].text);
    same(api_log_to_json(&back), doc);
    api_log_done(&back);
}

/* ---- hostile ---- */

enum msg { TASKS, REPORT, ROUTES, LOG };

static enum err_code read_msg(enum msg m, const json_t *doc, char says[240])
{
    struct err err = {0};
    struct api_tasks tasks = {0};
    struct api_report report = {0};
    struct api_routes routes = {0};
    struct api_log log = {0};
    int rc = m == TASKS    ? api_tasks_from_json(&tasks, doc, &err)
             : m == REPORT ? api_report_from_json(&report, doc, &err)
             : m == ROUTES ? api_routes_from_json(&routes, doc, &err)
                           : api_log_from_json(&log, doc, &err);
    assert_true((rc == 0) == (err.code == ERR_NONE));
    assert_true(rc == 0 || (!tasks.items && !report.measured && !routes.models && !log.lines));
    api_tasks_done(&tasks);
    api_report_done(&report);
    api_routes_done(&routes);
    api_log_done(&log);
    str_copy(says, 240, err.msg);
    return err.code;
}

static void hostile(void **state)
{
    static const struct {
        enum msg msg;
        const char *text;
        enum err_code code;
        const char *says;
    } CASES[] = {
        {TASKS, "[]", ERR_INVALID, "items"},
        {TASKS, "{}", ERR_INVALID, "items"},
        {TASKS, "{\"items\":[3]}", ERR_INVALID, "object"},
        {TASKS, "{\"items\":[{}]}", ERR_INVALID, "replica"},
        {REPORT, "3", ERR_INVALID, "object"},
        {REPORT, "{\"generation\":1}", ERR_INVALID, "state"},
        {REPORT, "{\"generation\":-1,\"state\":\"up\"}", ERR_INVALID, "generation"},
        {REPORT, "{\"generation\":1,\"state\":\"fine\"}", ERR_INVALID, "fine"},
        {REPORT, "{\"generation\":1,\"state\":\"waiting\"}", ERR_INVALID, "waiting"},
        {REPORT, "{\"generation\":1,\"state\":\"up\",\"percent\":101}", ERR_INVALID, "101"},
        {REPORT, "{\"generation\":1,\"state\":\"up\",\"measured\":{}}", ERR_INVALID, "list"},
        {REPORT, "{\"generation\":1,\"state\":\"up\",\"measured\":[{}]}", ERR_INVALID, "part"},
        {REPORT, "{\"generation\":1,\"state\":\"up\",\"measured\":[1]}", ERR_INVALID, "part"},
        {REPORT, "{\"generation\":1,\"state\":\"up\",\"host_measured\":[]}", ERR_INVALID, "object"},
        {REPORT, "{\"generation\":1,\"state\":\"up\",\"from\":\"a newer worker\"}", ERR_NONE, ""},
        {ROUTES, "{\"key_salt\":\"a\",\"models\":[],\"keys\":[{}]}", ERR_INVALID, "id"},
        {ROUTES, "{\"key_salt\":\"a\",\"models\":[null],\"keys\":[]}", ERR_INVALID, "name"},
        {ROUTES, "{\"key_salt\":1,\"models\":[],\"keys\":[]}", ERR_INVALID, "key_salt"},
        {LOG, "{\"lines\":[{\"role\":\"main\"}]}", ERR_INVALID, "text"},
        {LOG, "{\"lines\":[{\"role\":\"a role of many letters\",\"text\":\"\"}]}", ERR_LIMIT,
         "role"},
        {LOG, "{\"lines\":[],\"end\":3}", ERR_INVALID, "end"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char says[240];
        json_auto_t *doc = json_parse(CASES[i].text, strlen(CASES[i].text), NULL);
        assert_non_null(doc);
        enum err_code code = read_msg(CASES[i].msg, doc, says);
        if (code != CASES[i].code || !strstr(says, CASES[i].says))
            fail_msg("%s: %d %s", CASES[i].text, code, says);
    }
}

/* Lists and texts one past their limit. */
static void oversized(void **state)
{
    char says[240];
    json_auto_t *log = json_object(), *tasks = json_object(), *line = json_object();
    json_t *lines = json_put_array(log, "lines"), *items = json_put_array(tasks, "items");
    for (int i = 0; i <= API_MAX_LOG_LINES; i++)
        json_add_object(lines);
    for (int i = 0; i <= API_MAX_TASKS; i++)
        json_add_object(items);
    assert_int_equal(read_msg(LOG, log, says), ERR_LIMIT);
    assert_int_equal(read_msg(TASKS, tasks, says), ERR_LIMIT);
    mem_auto char *text = mem_calloc(API_MAX_LOG_LINE + 2, 1);
    memset(text, 'x', API_MAX_LOG_LINE + 1);
    json_t *one = json_add_object(json_put_array(line, "lines"));
    json_put_str(one, "role", "main");
    json_put_str(one, "text", text);
    assert_int_equal(read_msg(LOG, line, says), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_match), cmocka_unit_test(routes_are_distinct),
        cmocka_unit_test(tasks_round),  cmocka_unit_test(report_round),
        cmocka_unit_test(routes_round), cmocka_unit_test(log_round),
        cmocka_unit_test(hostile),      cmocka_unit_test(oversized),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
