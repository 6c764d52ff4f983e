/* The command line: tables, options, exit statuses; commands against a scripted server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/table.h"
#include "net/http.h"
#include "os/file.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the table printer ---- */

static const struct table_column COLUMNS[] = {
    {"NAME", false, 0}, {"SIZE", true, 0}, {"LONG", false, 2}, {"MORE", false, 1}};

static struct table *sample(void)
{
    struct table *t = table_new(COLUMNS, ARRAY_LEN(COLUMNS));
    table_row(t);
    table_cell(t, "a");
    table_cell(t, "%d", 5);
    table_cell(t, "%s", "something long");
    table_cell(t, "x");
    table_row(t);
    table_cell(t, "模型");
    table_cell(t, "%d", 1234);
    table_note(t, "a reason that is longer than the line has room for");
    return t;
}

static void test_table(void **state)
{
    static const struct {
        size_t width;
        const char *text;
    } cases[] = {
        {0, "NAME  SIZE  LONG            MORE\n"
            "a        5  something long  x\n"
            "模型  1234                        a reason that is longer than the line has room "
            "for\n"},
        {60, "NAME  SIZE  LONG            MORE\n"
             "a        5  something long  x\n"
             "模型  1234\n"
             "    a reason that is longer than the line has room for\n"},
        {20, "NAME  SIZE  MORE\n"
             "a        5  x\n"
             "模型  1234\n"
             "    a reason that i…\n"},
        {12, "NAME  SIZE\n"
             "a        5\n"
             "模型  1234\n"
             "    a reaso…\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct table *t = sample();
        buf_auto struct buf out;
        buf_init(&out, 4096);
        table_render(t, cases[i].width, &out);
        assert_string_equal(out.p, cases[i].text);
        table_free(t);
    }
}

/* ---- running commands ---- */

struct run {
    int status;
    char out[65536], err[65536];
};

static void slurp(int fd, char *dst, size_t cap)
{
    ssize_t n = pread(fd, dst, cap - 1, 0);
    dst[n > 0 ? n : 0] = 0;
}

/* Runs one command of the table with its output caught. The words end with NULL. */
static void run(struct run *r, const char *first, ...)
{
    char *argv[24] = {(char *)first};
    int argc = 1, saved[2] = {dup(1), dup(2)}, fds[2];
    va_list ap;
    va_start(ap, first);
    while ((argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        fds[i] = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        assert_true(fds[i] >= 0);
        dup2(fds[i], i + 1);
    }
    r->status = -1;
    for (const struct cli_command *c = CLI_COMMANDS; c->name; c++)
        if (strcmp(c->name, first) == 0)
            r->status = c->run(argc, argv);
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    slurp(fds[0], r->out, sizeof r->out);
    slurp(fds[1], r->err, sizeof r->err);
    close(fds[0]);
    close(fds[1]);
}

static void has(const struct run *r, const char *text, const char *needle)
{
    if (!strstr(text, needle))
        fail_msg("no '%s'\nstatus %d\n%s\n%s", needle, r->status, r->out, r->err);
}

/* Every line within 80 columns (characters). */
static void narrow(const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        n = *p == '\n' ? 0 : n + (((unsigned char)*p & 0xC0) != 0x80);
        if (n > 80)
            fail_msg("wider than 80 columns:\n%s", text);
    }
}

static void test_every_command_helps(void **state)
{
    struct run *r = mem_calloc(1, sizeof *r);
    for (const struct cli_command *c = CLI_COMMANDS; c->name; c++) {
        run(r, c->name, "--help", NULL);
        assert_int_equal(r->status, 0);
        mem_auto char *usage = mem_printf("usage: stowage %s", c->name);
        has(r, r->out, usage);
        has(r, r->out, "--json");
        assert_string_equal(r->err, "");
        run(r, c->name, "--no-such-option", NULL);
        assert_int_equal(r->status, 2);
        has(r, r->err, "--no-such-option");
        assert_string_equal(r->out, "");
        run(r, c->name, "--no-such-option", "--json", NULL);
        assert_int_equal(r->status, 2);
        json_auto_t *doc = json_parse(r->out, strlen(r->out), NULL);
        assert_string_equal(cli_str(json_object_get(doc, "error"), "code"), "USAGE");
    }
    free(r);
}

static void test_usage(void **state)
{
    static const struct {
        const char *argv[8];
        const char *needle;
    } cases[] = {
        {{"deploy"}, "deploy needs FILE"},
        {{"deploy", "a", "b"}, "unexpected argument 'b'"},
        {{"deploy", "a.gguf", "--ctx", "many"}, "--ctx"},
        {{"deploy", "a.gguf", "--ctx"}, "--ctx needs a value"},
        {{"deploy", "a.gguf", "--replica", "2"}, "did you mean --replicas?"},
        {{"deploy", "a.gguf", "--kv", "q5"}, "none of f16, q8_0, q4_0"},
        {{"deploy", "a.gguf", "--name", "a b"}, "name 'a b'"},
        {{"deploy", "a.gguf", "--timeout", "soon"}, "--timeout"},
        {{"deploy", "a.gguf", "--wait", "--no-wait"}, "exclude each other"},
        {{"scale", "m"}, "scale needs NAME N"},
        {{"scale", "m", "x"}, "N"},
        {{"wait", "m", "--for", "ever"}, "neither ready nor gone"},
        {{"logs", "m/x"}, "INDEX"},
        {{"logs", "m", "-f", "--json"}, "cannot follow"},
        {{"chat", "m", "--json"}, "one is needed"},
        {{"key", "make"}, "create NAME, list, or rm ID"},
        {{"token", "list"}, "token takes: create"},
        {{"ps", "--server", "ftp://x"}, "must start with http://"},
    };
    struct run *r = mem_calloc(1, sizeof *r);
    setenv("STOWAGE_KEY", "sk-none", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const *a = cases[i].argv;
        run(r, a[0], a[1], a[2], a[3], a[4], a[5], NULL);
        if (r->status != 2)
            fail_msg("%s %s: status %d %s", a[0], a[1], r->status, r->err);
        has(r, strstr(r->out, "error") ? r->out : r->err, cases[i].needle);
    }
    free(r);
}

/* Where the server is: --server, else STOWAGE_URL, else what it wrote beside its key. */
static void test_finds_server(void **state)
{
    struct run *r = mem_calloc(1, sizeof *r);
    char dir[] = "/tmp/stowage-cli-XXXXXX";
    assert_non_null(mkdtemp(dir));
    mem_auto char *url = mem_printf("%s/url", dir), *key = mem_printf("%s/admin.key", dir);
    assert_int_equal(file_write(url, "http://127.0.0.1:2\n", 19, 0600, NULL), 0);
    assert_int_equal(file_write(key, "sk-file\n", 8, 0600, NULL), 0);
    run(r, "ps", "--state-dir", dir, NULL);
    assert_int_equal(r->status, 7);
    has(r, r->err, "http://127.0.0.1:2 ");
    setenv("STOWAGE_URL", "http://127.0.0.1:3", 1);
    run(r, "ps", "--state-dir", dir, NULL);
    has(r, r->err, "http://127.0.0.1:3 ");
    run(r, "ps", "--state-dir", dir, "--server", "http://127.0.0.1:4", NULL);
    has(r, r->err, "http://127.0.0.1:4 ");
    unsetenv("STOWAGE_URL");
    unlink(url);
    unlink(key);
    rmdir(dir);
    free(r);
}

static void test_no_server(void **state)
{
    struct run *r = mem_calloc(1, sizeof *r);
    run(r, "ps", "--server", "http://127.0.0.1:1", NULL);
    assert_int_equal(r->status, 7);
    has(r, r->err, "is it running? stowage serve");
    run(r, "ps", "--json", "--server", "http://127.0.0.1:1", NULL);
    assert_int_equal(r->status, 7);
    json_auto_t *doc = json_parse(r->out, strlen(r->out), NULL);
    assert_string_equal(cli_str(json_object_get(doc, "error"), "code"), "UNREACHABLE");
    unsetenv("STOWAGE_KEY");
    run(r, "ps", "--state-dir", "/nonexistent", NULL);
    assert_int_equal(r->status, 6);
    has(r, r->err, "/nonexistent/admin.key");
    free(r);
}

/* ---- a scripted server ---- */

#define PART(node, uuid, index, first, n)                                                          \
    "{\"node_id\":\"n\",\"node\":\"" node "\",\"uuid\":\"" uuid "\",\"index\":" index              \
    ",\"first_layer\":" first ",\"n_layers\":" n ",\"weights_bytes\":8589934592,\"kv_bytes\":0}"
#define DEPLOYED                                                                                   \
    "{\"name\":\"qwen2.5-72b\",\"spec\":{\"ctx\":8192,\"n_slots\":4,\"replicas\":1},\"replicas\":" \
    "[{\"id\":\"r1\",\"index\":0,\"state\":\"ready\",\"since_ms\":7200000,\"tok_s\":14.1,"         \
    "\"requests\":1,\"assignment\":{\"main_node\":\"hill\",\"n_cpu_layers\":0,\"parts\":[" PART(   \
        "dale", "GPU-77", "0", "0", "3") "," PART("hill", "GPU-1f", "0", "3",                      \
                                                  "39") "," PART("hill", "GPU-9b", "1", "42",      \
                                                                 "38") "]}}]}"
#define PENDING                                                                                    \
    "{\"name\":\"qwq-32b\",\"spec\":{\"ctx\":4096,\"n_slots\":1,\"replicas\":1},\"replicas\":["    \
    "{\"id\":\"r2\",\"index\":0,\"state\":\"pending\",\"since_ms\":180000,\"reason\":{\"code\":"   \
    "\"NO_PLACEMENT\",\"message\":\"5.9 GiB short\"}}]}"
#define NODES                                                                                      \
    "{\"items\":[{\"id\":\"n1\",\"name\":\"hill\",\"state\":\"ready\",\"version\":\"0.1.0\","      \
    "\"engine\":\"llama.cpp b11669 cpu\",\"ram_bytes\":68719476736,\"ram_free_bytes\":"            \
    "34359738368,\"n_cpus\":16,\"seen_ms\":1200,\"devices\":[{\"uuid\":\"GPU-1f\",\"index\":0,"    \
    "\"name\":\"RTX 3090\",\"total_bytes\":25769803776,\"free_bytes\":1073741824,"                 \
    "\"claimed_bytes\":24266145792,\"util_percent\":93,\"temp_c\":67,\"power_w\":312}]},"          \
    "{\"id\":\"n2\",\"name\":\"fern\",\"state\":\"drained\",\"reason\":\"psu "                     \
    "swap\",\"ram_bytes\":"                                                                        \
    "8589934592,\"ram_free_bytes\":0,\"n_cpus\":4,\"devices\":[]}]}"

struct peer {
    struct loop *loop;
    struct http_server *http;
    pthread_t thread;
    char url[96], last[256], body[4096], auth[64];
    int n_polls;
    bool refuse;
};

static void reply(struct http_req *r, int status, const char *text)
{
    http_reply(r, status, "application/json", text, strlen(text));
}

static void deployment(struct peer *p, struct http_req *r, const char *name)
{
    static const char *const life[] = {
        "{\"name\":\"tiny\",\"spec\":{\"ctx\":512,\"replicas\":1},\"replicas\":[{\"index\":0,"
        "\"state\":\"assigned\"}]}",
        "{\"name\":\"tiny\",\"spec\":{\"ctx\":512,\"replicas\":1},\"replicas\":[{\"index\":0,"
        "\"state\":\"starting\",\"members\":[{\"state\":\"loading\",\"percent\":45}]}]}",
        "{\"name\":\"tiny\",\"spec\":{\"ctx\":512,\"replicas\":1},\"replicas\":[{\"index\":0,"
        "\"state\":\"ready\",\"tok_s\":20.5}]}",
    };
    if (strcmp(name, "tiny") == 0)
        reply(r, 200, life[p->n_polls < 2 ? p->n_polls++ : 2]);
    else if (strcmp(name, "sick") == 0)
        reply(r, 200,
              "{\"name\":\"sick\",\"spec\":{\"replicas\":1},\"replicas\":[{\"index\":0,"
              "\"state\":\"failed\",\"reason\":{\"code\":\"LIMIT\",\"message\":\"out of "
              "memory\"}}]}");
    else if (strcmp(name, "qwen2.5-72b") == 0)
        reply(r, 200, DEPLOYED);
    else
        reply(r, 404, "{\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"no such model\"}}");
}

static void handler(void *ctx, struct http_req *r)
{
    struct peer *p = ctx;
    struct str path = http_req_path(r), method = http_req_method(r), body = http_req_body(r);
    str_copyf(p->last, sizeof p->last, "%.*s %.*s", (int)method.n, method.p, (int)path.n, path.p);
    str_copyf(p->body, sizeof p->body, "%.*s", (int)body.n, body.n ? body.p : "");
    struct str auth = http_req_header(r, "authorization");
    str_copyf(p->auth, sizeof p->auth, "%.*s", (int)auth.n, auth.p ? auth.p : "");
    static const char prefix[] = "GET /api/v1/deployments/";
    if (strncmp(p->last, prefix, sizeof prefix - 1) == 0)
        deployment(p, r, p->last + sizeof prefix - 1);
    else if (strcmp(p->last, "GET /api/v1/deployments") == 0)
        reply(r, 200, "{\"items\":[" DEPLOYED "," PENDING "]}");
    else if (strcmp(p->last, "GET /api/v1/nodes") == 0)
        reply(r, 200, NODES);
    else if (strcmp(p->last, "POST /api/v1/plan") == 0)
        reply(r, 200,
              p->refuse ? "{\"schema\":\"stowage.plan/1\",\"feasible\":false,\"summary\":"
                          "{\"code\":\"NO_FIT\",\"params\":{\"layers\":80,\"layers_fit\":61,"
                          "\"layer_bytes\":1108344832,\"n_gpus\":4}}}"
                        : "{\"feasible\":true}");
    else if (strcmp(p->last, "POST /api/v1/deployments") == 0)
        reply(r, 201, "{\"name\":\"tiny\",\"spec\":{\"ctx\":512,\"replicas\":1}}");
    else if (strcmp(p->last, "POST /api/v1/keys") == 0)
        reply(r, 201, "{\"id\":\"k1\",\"key\":\"sk-new\"}");
    else if (strcmp(p->last, "POST /v1/chat/completions") == 0) {
        static const char stream[] = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n"
                                     "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n"
                                     "data: {\"choices\":[],\"usage\":{\"completion_tokens\":12},"
                                     "\"timings\":{\"predicted_per_second\":14.1}}\n\n"
                                     "data: [DONE]\n\n";
        http_start(r, 200, "text/event-stream");
        http_write(r, stream, sizeof stream - 1);
        http_end(r);
    } else
        reply(r, 200, "{}");
}

static void *peer_main(void *arg)
{
    struct peer *p = arg;
    loop_run(p->loop, NULL);
    return NULL;
}

static int peer_open(void **state)
{
    struct err err = {0};
    struct peer *p = mem_calloc(1, sizeof *p);
    p->loop = loop_new(&err);
    p->http = http_server_new(
        p->loop, &(struct http_server_opts){.addr = "127.0.0.1:0", .handler = handler, .ctx = p},
        &err);
    if (!p->http)
        return -1;
    str_copyf(p->url, sizeof p->url, "http://%s", http_server_addr(p->http));
    setenv("STOWAGE_URL", p->url, 1);
    setenv("STOWAGE_KEY", "sk-cli", 1);
    *state = p;
    return pthread_create(&p->thread, NULL, peer_main, p);
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static int peer_close(void **state)
{
    struct peer *p = *state;
    loop_post(p->loop, stop, p->loop);
    pthread_join(p->thread, NULL);
    http_server_free(p->http);
    loop_free(p->loop);
    free(p);
    unsetenv("STOWAGE_URL");
    unsetenv("STOWAGE_KEY");
    return 0;
}

static void test_lists(void **state)
{
    struct run *r = mem_calloc(1, sizeof *r);
    run(r, "ps", NULL);
    assert_int_equal(r->status, 0);
    has(r, r->out, "qwen2.5-72b     0  ready    8192");
    has(r, r->out, "dale:0 hill:0,1");
    has(r, r->out, "24.0 GiB");
    has(r, r->out, "5.9 GiB short");
    narrow(r->out);
    run(r, "nodes", NULL);
    has(r, r->out, "1.0/24.0 GiB");
    has(r, r->out, "psu swap");
    narrow(r->out);
    run(r, "gpus", NULL);
    has(r, r->out, "hill:0");
    has(r, r->out, "22.6");
    has(r, r->out, "qwen2.5-72b L3-41");
    narrow(r->out);
    run(r, "gpus", "--json", "--node", "fern", NULL);
    assert_string_equal(r->out, "{\"items\":[]}\n");
    run(r, "ps", "--json", NULL);
    json_auto_t *doc = json_parse(r->out, strlen(r->out), NULL);
    assert_int_equal(json_array_size(json_object_get(doc, "items")), 2);
    assert_string_equal(((struct peer *)*state)->auth, "Bearer sk-cli");
    free(r);
}

static void test_deploy(void **state)
{
    struct peer *p = *state;
    struct run *r = mem_calloc(1, sizeof *r);
    p->refuse = true;
    run(r, "deploy", "models/Big_Model-Q4-00001-of-00003.gguf", NULL);
    assert_int_equal(r->status, 3);
    assert_string_equal(p->last, "POST /api/v1/plan"); /* nothing was deployed */
    has(r, r->err, "no placement: 80 layers of 1.0 GiB needed, 61 fit on 4 GPUs");
    assert_string_equal(r->out, "");
    json_auto_t *asked = json_parse(p->body, strlen(p->body), NULL);
    const json_t *spec = json_object_get(asked, "spec");
    assert_string_equal(cli_str(spec, "name"), "Big_Model-Q4");
    assert_int_equal(cli_str(spec, "model")[0], '/');
    assert_non_null(strstr(cli_str(spec, "model"), "/models/Big_Model-Q4-00001-of-00003.gguf"));
    run(r, "deploy", "x.gguf", "--json", NULL);
    assert_int_equal(r->status, 3);
    json_auto_t *doc = json_parse(r->out, strlen(r->out), NULL);
    const json_t *e = json_object_get(doc, "error");
    assert_string_equal(cli_str(e, "code"), "NO_PLACEMENT");
    assert_true(json_is_object(json_object_get(json_object_get(e, "params"), "plan")));
    p->refuse = false;
    run(r, "deploy", "/m/tiny.gguf", "--ctx", "512", "--gpus", "a:0,b:1", "--gpus", "c:2", NULL);
    assert_int_equal(r->status, 0);
    assert_string_equal(r->out, "tiny is ready, context 512\n");
    has(r, r->err, "tiny/0  assigned");
    has(r, r->err, "loading 45 %");
    has(r, r->err, "20.5 tok/s");
    has(r, r->err, "OPENAI_BASE_URL");
    run(r, "deploy", "/m/tiny.gguf", "--no-wait", NULL);
    assert_int_equal(r->status, 0);
    assert_string_equal(r->out, "tiny is deployed\n");
    json_auto_t *sent = json_parse(p->body, strlen(p->body), NULL);
    assert_string_equal(cli_str(sent, "name"), "tiny");
    free(r);
}

static void test_others(void **state)
{
    struct peer *p = *state;
    struct run *r = mem_calloc(1, sizeof *r);
    run(r, "wait", "sick", "--timeout", "1s", NULL);
    assert_int_equal(r->status, 8); /* a failed replica is tried again, so it is waited for */
    run(r, "wait", "none", "--for", "gone", NULL);
    assert_int_equal(r->status, 0);
    run(r, "wait", "none", NULL);
    assert_int_equal(r->status, 4);
    run(r, "rm", "qwen2.5-72b", NULL);
    assert_int_equal(r->status, 2); /* no terminal to ask on */
    has(r, r->err, "frees 24.0 GiB on dale:0 hill:0,1");
    has(r, r->err, "--yes");
    run(r, "rm", "qwen2.5-72b", "--yes", NULL);
    assert_int_equal(r->status, 0);
    assert_string_equal(p->last, "DELETE /api/v1/deployments/qwen2.5-72b");
    run(r, "scale", "tiny", "3", NULL);
    assert_string_equal(p->last, "PATCH /api/v1/deployments/tiny");
    assert_string_equal(p->body, "{\"replicas\":3}");
    run(r, "drain", "hill", "--reason", "psu", NULL);
    assert_string_equal(p->last, "POST /api/v1/nodes/n1/drain");
    assert_string_equal(p->body, "{\"reason\":\"psu\"}");
    run(r, "drain", "nowhere", NULL);
    assert_int_equal(r->status, 4);
    has(r, r->err, "there is hill, fern");
    run(r, "key", "create", "anna", NULL);
    assert_string_equal(r->out, "sk-new\n");
    has(r, r->err, "shown once");
    run(r, "chat", "m", "hi", NULL);
    assert_int_equal(r->status, 0);
    assert_string_equal(r->out, "Hello\n");
    has(r, r->err, "14.1 tok/s · ");
    has(r, r->err, " s to first · 12 tokens");
    run(r, "chat", "m", "hi", "--json", NULL);
    json_auto_t *doc = json_parse(r->out, strlen(r->out), NULL);
    assert_string_equal(cli_str(doc, "content"), "Hello");
    free(r);
}

static void test_helpers(void **state)
{
    char s[16];
    struct err err = {0};
    assert_true(cli_segment(s, sizeof s, "a/b c"));
    assert_string_equal(s, "a%2Fb%20c");
    assert_false(cli_segment(s, sizeof s, "a name that is too long"));
    assert_false(cli_segment(s, sizeof s, ""));
    struct opt_list list = {.items = {"a,b", "", "c,,"}, .n = 3};
    json_auto_t *names = cli_list(&list);
    mem_auto char *text = json_text(names);
    assert_string_equal(text, "[\"a\",\"b\",\"c\"]");
    mem_auto char *abs = cli_absolute("/x/y", &err), *rel = cli_absolute("./y", &err);
    assert_string_equal(abs, "/x/y");
    assert_int_equal(rel[0], '/');
    assert_string_equal(strrchr(rel, '/'), "/y");
    setenv("STOWAGE_STATE_DIR", "/s", 1);
    mem_auto char *dir = cli_state_dir(NULL), *given = cli_state_dir("/t");
    assert_string_equal(dir, "/s");
    assert_string_equal(given, "/t");
    unsetenv("STOWAGE_STATE_DIR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_command_helps),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_finds_server),
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_helpers),
        cmocka_unit_test_setup_teardown(test_lists, peer_open, peer_close),
        cmocka_unit_test_setup_teardown(test_deploy, peer_open, peer_close),
        cmocka_unit_test_setup_teardown(test_others, peer_open, peer_close),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    log_quiet(true);
    if (freopen("/dev/null", "r", stdin) == NULL) /* nobody to ask */
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
