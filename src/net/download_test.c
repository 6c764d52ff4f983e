/* net/download: against a server of our own in another thread. */
#include "net/download.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/http.h"
#include "os/file.h"

#include <setjmp.h>
#include <sodium.h>
#include <string.h>
#include <cmocka.h>

enum { SIZE = 3000000 };

struct world {
    pthread_t thread;
    struct loop *loop;
    struct http_server *server;
    char *content, sha[65];
    char dir[64], dest[80], part[88];
    int n_requests;
    long last_start; /* of the last range asked for, 0 without one */
    bool tell_stop;
    int n_told;
    uint64_t told_have, told_total;
};

static void serve_from(struct world *w, struct http_req *r, size_t start)
{
    char range[64];
    str_copyf(range, sizeof range, "bytes %zu-%d/%d", start, SIZE - 1, SIZE);
    if (start)
        http_add_header(r, "content-range", range);
    http_reply(r, start ? 206 : 200, "application/octet-stream", w->content + start, SIZE - start);
}

static void redirect(struct http_req *r, const char *to)
{
    http_add_header(r, "location", to);
    http_reply(r, 302, "text/plain", "", 0);
}

static void handler(void *ctx, struct http_req *r)
{
    struct world *w = ctx;
    const char *path = http_req_path(r).p;
    struct str range = http_req_header(r, "range");
    w->n_requests++;
    w->last_start = range.p ? strtoll(range.p + 6, NULL, 10) : 0; /* bytes=N- */
    if (strcmp(path, "/file") == 0 && w->last_start >= SIZE) {
        http_reply(r, 416, "text/plain", "", 0);
    } else if (strcmp(path, "/file") == 0) {
        serve_from(w, r, (size_t)w->last_start);
    } else if (strcmp(path, "/norange") == 0) {
        serve_from(w, r, 0);
    } else if (strcmp(path, "/cut") == 0) {
        http_start(r, 200, "application/octet-stream");
        http_write(r, w->content, 100000);
        http_abort(r);
    } else if (strcmp(path, "/moved") == 0) {
        redirect(r, "/file");
    } else if (strcmp(path, "/out") == 0) {
        redirect(r, "file:///etc/hostname");
    } else if (strcmp(path, "/round") == 0) {
        redirect(r, "/round");
    } else {
        http_reply(r, strcmp(path, "/broken") == 0 ? 500 : 404, "text/plain", "no", 2);
    }
}

static void *serve(void *arg)
{
    struct world *w = arg;
    loop_run(w->loop, NULL);
    http_server_free(w->server);
    return NULL;
}

static int setup(void **state)
{
    struct world *w = *state = mem_calloc(1, sizeof *w);
    struct http_server_opts o = {.addr = "127.0.0.1:0", .handler = handler, .ctx = w};
    STR_COPY(w->dir, "/tmp/stowage-download-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    str_copyf(w->dest, sizeof w->dest, "%s/file", w->dir);
    str_copyf(w->part, sizeof w->part, "%s.part", w->dest);
    w->content = mem_calloc(1, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        w->content[i] = (char)(i * 31 + i / 977);
    unsigned char sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(sum, (const unsigned char *)w->content, SIZE);
    sodium_bin2hex(w->sha, sizeof w->sha, sum, sizeof sum);
    w->loop = loop_new(NULL);
    w->server = http_server_new(w->loop, &o, NULL);
    return w->server ? pthread_create(&w->thread, NULL, serve, w) : -1;
}

static int teardown(void **state)
{
    struct world *w = *state;
    loop_stop(w->loop);
    pthread_join(w->thread, NULL);
    loop_free(w->loop);
    file_remove_tree(w->dir, NULL);
    free(w->content);
    free(w);
    return 0;
}

static bool progress(void *arg, uint64_t have, uint64_t total)
{
    struct world *w = arg;
    w->n_told++;
    w->told_have = have;
    w->told_total = total;
    return !w->tell_stop;
}

static int get(struct world *w, const char *path, const char *sha, uint64_t max, struct err *e)
{
    char url[128];
    str_copyf(url, sizeof url, "http://%s%s", http_server_addr(w->server), path);
    struct download_opts o = {url, w->dest, sha, max, progress, w};
    *e = (struct err){0};
    return net_download(&o, e);
}

static void check_file(struct world *w)
{
    char *got = NULL;
    size_t n = 0;
    assert_int_equal(file_read(w->dest, SIZE * 2, &got, &n, NULL), 0);
    assert_int_equal(n, SIZE);
    assert_memory_equal(got, w->content, SIZE);
    free(got);
    assert_int_equal(access(w->part, F_OK), -1);
    unlink(w->dest);
}

static void put_part(struct world *w, const char *p, size_t n)
{
    assert_int_equal(file_write(w->part, p, n, 0600, NULL), 0);
}

static void test_whole(void **state)
{
    struct world *w = *state;
    struct err e;
    static const char *const paths[] = {"/file", "/norange", "/moved"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (get(w, paths[i], w->sha, 0, &e) != 0)
            fail_msg("%s", e.msg);
        check_file(w);
    }
    assert_int_equal(get(w, "/file", NULL, 0, &e), 0);
    check_file(w);
    assert_int_equal(get(w, "/file", w->sha, SIZE, &e), 0);
    check_file(w);
}

static void test_resume(void **state)
{
    struct world *w = *state;
    struct err e;
    put_part(w, w->content, 1000000);
    assert_int_equal(get(w, "/file", w->sha, 0, &e), 0);
    assert_int_equal(w->last_start, 1000000);
    check_file(w);
    put_part(w, w->content, 1000000); /* a server that cannot resume */
    assert_int_equal(get(w, "/norange", w->sha, 0, &e), 0);
    check_file(w);
    put_part(w, "older bytes", 11); /* of another version of the file */
    w->n_requests = 0;
    assert_int_equal(get(w, "/file", w->sha, 0, &e), 0);
    assert_int_equal(w->n_requests, 2);
    check_file(w);
    put_part(w, w->content, SIZE); /* complete but for its name */
    w->n_requests = 0;
    assert_int_equal(get(w, "/file", w->sha, 0, &e), 0);
    assert_int_equal(w->n_requests, 0);
    check_file(w);
    put_part(w, "older bytes", 11); /* nothing could tell: not continued */
    assert_int_equal(get(w, "/file", NULL, 0, &e), 0);
    assert_int_equal(w->last_start, 0);
    check_file(w);
    mem_auto char *longer = mem_calloc(1, SIZE + 5);
    put_part(w, longer, SIZE + 5);
    assert_int_equal(get(w, "/file", w->sha, 0, &e), 0);
    check_file(w);
}

/* A cut transfer keeps what came, and the next try goes on from there. */
static void test_cut(void **state)
{
    struct world *w = *state;
    struct err e;
    struct stat st;
    assert_int_equal(get(w, "/cut", w->sha, 0, &e), -1);
    assert_int_equal(e.code, ERR_UNREACHABLE);
    assert_int_equal(access(w->dest, F_OK), -1);
    assert_int_equal(stat(w->part, &st), 0);
    assert_in_range(st.st_size, 1, 100000);
    assert_int_equal(get(w, "/file", w->sha, 0, &e), 0);
    assert_int_equal(w->last_start, st.st_size);
    check_file(w);
}

static void test_refused(void **state)
{
    struct world *w = *state;
    char wrong[65];
    memset(wrong, 'a', 64);
    wrong[64] = 0;
    const struct {
        const char *path, *sha;
        uint64_t max;
        enum err_code code;
        bool keeps_part;
    } cases[] = {
        {"/file", wrong, 0, ERR_CORRUPT, false},      {"/file", w->sha, SIZE - 1, ERR_LIMIT, false},
        {"/none", w->sha, 0, ERR_NOT_FOUND, true},    {"/broken", w->sha, 0, ERR_UNREACHABLE, true},
        {"/round", w->sha, 0, ERR_UNREACHABLE, true}, {"/out", w->sha, 0, ERR_INVALID, true},
        {"/file", "abc", 0, ERR_INVALID, true},
    };
    struct err e;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unlink(w->part);
        assert_int_equal(get(w, cases[i].path, cases[i].sha, cases[i].max, &e), -1);
        if (e.code != cases[i].code)
            fail_msg("%s: %s", cases[i].path, e.msg);
        assert_int_equal(access(w->dest, F_OK), -1);
        if (!cases[i].keeps_part)
            assert_int_equal(access(w->part, F_OK), -1);
    }
    static const char *const urls[] = {"file:///etc/hostname", "ftp://x/", "",
                                       "http://127.0.0.1:1/"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct download_opts o = {.url = urls[i], .dest = w->dest};
        assert_int_equal(net_download(&o, &e), -1);
        assert_int_equal(e.code, i < 3 ? ERR_INVALID : ERR_UNREACHABLE);
    }
    struct download_opts o = {.url = "http://127.0.0.1:1/", .dest = "/no/such/folder/x"};
    assert_int_equal(net_download(&o, &e), -1);
    assert_int_equal(e.code, ERR_IO);
    unlink(w->part);
}

static void test_progress(void **state)
{
    struct world *w = *state;
    struct err e;
    w->n_told = 0;
    assert_int_equal(get(w, "/file", w->sha, 0, &e), 0);
    assert_true(w->n_told > 0);
    assert_true(w->told_total == 0 || w->told_total == SIZE);
    check_file(w);
    w->tell_stop = true;
    assert_int_equal(get(w, "/file", w->sha, 0, &e), -1);
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(access(w->dest, F_OK), -1);
    w->tell_stop = false;
    unlink(w->part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),   cmocka_unit_test(test_resume),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_progress),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
