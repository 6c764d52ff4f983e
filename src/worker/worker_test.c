/* The worker against a scripted server, with a stand-in for the engine: joining, heartbeats, the
 * life of members in all the ways it can go, tunnels, logs, a server that goes away. */
#include "worker/world_test.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"
#include "worker/tiny_model.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const struct api_report *last(const struct world *w)
{
    static const struct api_report none;
    return w->n_reports ? &w->reports[w->n_reports - 1] : &none;
}

#define STATE_IS(name, s)                                                                          \
    static bool name(struct world *w)                                                              \
    {                                                                                              \
        return last(w)->generation == w->task.generation && last(w)->state == (s);                 \
    }
STATE_IS(is_up, MEMBER_UP)
STATE_IS(is_ready, MEMBER_READY)
STATE_IS(is_failed, MEMBER_FAILED)
STATE_IS(is_stopped, MEMBER_STOPPED)
STATE_IS(is_starting, MEMBER_STARTING)

static bool has_joined(struct world *w)
{
    return w->watch && w->heartbeats > 0 && w->engine[0];
}

static bool has_speed(struct world *w)
{
    return last(w)->tok_s > 0;
}

static bool gone(pid_t pid)
{
    return kill(pid, 0) != 0;
}

static void begin(struct world *w)
{
    world_start(w, true);
    world_until(w, has_joined, "the join");
}

static void say_stop(struct world *w)
{
    w->task.run = false;
    world_send_tasks(w);
}

/* ---- tests ---- */

static void test_join_and_heartbeat(void **state)
{
    struct world *w = *state;
    begin(w);
    assert_int_equal(w->joins, 1);
    assert_string_equal(w->engine, "llama.cpp b11669 cpu");
    assert_true(strncmp(w->tunnel, "127.0.0.1:", 10) == 0);
    world_stop(w);
    world_start(w, false); /* the key is kept: no token needed, no second join */
    w->engine[0] = '\0';
    world_until(w, has_joined, "the return");
    assert_int_equal(w->joins, 1);
}

static bool joined_twice(struct world *w)
{
    return w->joins == 2 && w->watch;
}

static void test_forgotten(void **state)
{
    struct world *w = *state;
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    pid_t pid = (pid_t)last(w)->pid;
    w->refuse_key = true; /* another database: joins anew, and nothing of the old one goes on */
    w->has_task = false;
    world_until(w, joined_twice, "the second join");
    assert_true(gone(pid));
}

static void test_main_alone(void **state)
{
    struct world *w = *state;
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    world_until(w, has_speed, "the speed");
    const struct api_report *r = last(w);
    pid_t pid = (pid_t)r->pid;
    assert_true(pid > 0 && !gone(pid));
    assert_true(r->tok_s == 123.5);
    assert_true(r->load_ms > 0);
    assert_true(r->has_host_measured);
    assert_int_equal(r->host_measured.weights_bytes, 5 * MIB);
    say_stop(w);
    world_until(w, is_stopped, "stopped");
    assert_true(gone(pid));
}

static void test_order_of_states(void **state)
{
    static const enum member_state ORDER[] = {MEMBER_FETCHING, MEMBER_STARTING, MEMBER_LOADING,
                                              MEMBER_READY};
    struct world *w = *state;
    setenv("STUB", "slow", 1);
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    size_t at = 0;
    for (int i = 0; i < w->n_reports; i++) {
        while (at < ARRAY_LEN(ORDER) && ORDER[at] != w->reports[i].state)
            at++; /* a state may pass unreported, none may come back */
        assert_true(at < ARRAY_LEN(ORDER));
    }
    assert_true(w->reports[w->n_reports - 1].load_ms >= 1000);
}

static void test_rpc_member(void **state)
{
    struct world *w = *state;
    begin(w);
    world_want(w, API_RPC, 0);
    world_part(&w->task.assignment, "n-me", TINY_BLOCKS, BACKEND_CPU)->output = true;
    world_send_tasks(w);
    world_until(w, is_up, "up");
    pid_t pid = (pid_t)last(w)->pid;
    kill(pid, SIGKILL);
    world_until(w, is_failed, "failed");
    assert_string_equal(last(w)->code, "UNAVAILABLE");
    assert_non_null(strstr(last(w)->message, "SIGKILL"));
    assert_non_null(strstr(last(w)->message, "rpc-server on box"));
    say_stop(w);
    world_until(w, is_stopped, "stopped");
}

/* The group of two on one worker would need two nodes; the member is played by this test: a main
 * whose peer is reached through a tunnel that ends at our own listener, where the rpc task of
 * another replica id runs. */
struct peer {
    struct tunnel_listener *listener;
    int fd;
    uint16_t port;
};

static bool peer_lookup(void *arg, const char *replica, uint32_t generation,
                        enum tunnel_service service, char secret[TUNNEL_SECRET_HEX + 1],
                        uint16_t *port)
{
    struct peer *p = arg;
    memset(secret, 'a', TUNNEL_SECRET_HEX);
    secret[TUNNEL_SECRET_HEX] = '\0';
    *port = p->port;
    return service == TUNNEL_RPC && strcmp(replica, "r-1") == 0;
}

static void test_main_with_remote_and_barrier(void **state)
{
    struct world *w = *state;
    struct peer peer = {0};
    char addr[32];
    assert_int_equal(net_free_port(20000, 30000, &peer.port, NULL), 0);
    str_copyf(addr, sizeof addr, "127.0.0.1:%u", peer.port);
    struct http_server *far = http_server_new(/* accepts connections, which is all the stub needs */
                                              w->loop,
                                              &(struct http_server_opts){
                                                  .addr = addr, .handler = world_request, .ctx = w},
                                              NULL);
    assert_non_null(far);
    peer.listener = tunnel_listen(
        w->loop,
        &(struct tunnel_listener_opts){
            .addr = "127.0.0.1:0", .member = "n-far", .lookup = peer_lookup, .arg = &peer},
        NULL);
    assert_non_null(peer.listener);
    begin(w);
    world_want(w, API_MAIN, 2);
    world_part(&w->task.assignment, "n-far", TINY_BLOCKS - 2, BACKEND_CPU)->output = true;
    w->task.peers = mem_calloc(1, sizeof *w->task.peers);
    w->task.n_peers = 1;
    STR_COPY(w->task.peers[0].node_id, "n-far");
    STR_COPY(w->task.peers[0].node, "far");
    STR_COPY(w->task.peers[0].addr, tunnel_listener_addr(peer.listener));
    w->task.peers_up = false;
    world_send_tasks(w);
    world_until(w, is_starting, "starting");
    world_for(w, 300);
    assert_int_equal(last(w)->state, MEMBER_STARTING); /* the barrier holds */
    w->task.peers_up = true;
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    assert_int_equal(last(w)->n_measured, 1);
    assert_int_equal(last(w)->measured[0].bytes.weights_bytes, 10 * MIB);
    assert_int_equal(last(w)->measured[0].bytes.compute_bytes, 3 * MIB);
    tunnel_listener_free(peer.listener); /* the far host is gone: the engine aborts */
    world_until(w, is_failed, "failed");
    assert_string_equal(last(w)->code, "UNREACHABLE");
    assert_non_null(strstr(last(w)->message, "connection to a member's rpc-server broke"));
    http_server_free(far);
}

static void test_fakes_of_the_main(void **state)
{
    struct world *w = *state;
    begin(w);
    world_want(w, API_MAIN, 0);
    world_part(&w->task.assignment, "n-me", TINY_BLOCKS, BACKEND_FAKE)->output = true;
    STR_COPY(w->task.assignment.parts[0].uuid, "FAKE-1");
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    assert_int_equal(last(w)->n_measured, 1);
    say_stop(w);
    world_until(w, is_stopped, "stopped");
}

struct failure {
    const char *stub;
    enum api_role role;
    const char *code, *says;
};
static const struct failure FAILURES[] = {
    {"kv", API_MAIN, "LIMIT", "no memory for the KV cache"},
    {"dumb", API_MAIN, "UNSUPPORTED", "no logits"},
    {"rpc-port", API_RPC, "CONFLICT", "port is taken"},
};

static void test_failures(void **state)
{
    struct world *w = *state;
    begin(w);
    for (size_t i = 0; i < ARRAY_LEN(FAILURES); i++) {
        print_message("# %s\n", FAILURES[i].stub);
        setenv("STUB", FAILURES[i].stub, 1);
        bool is_main = FAILURES[i].role == API_MAIN;
        world_want(w, FAILURES[i].role, is_main ? TINY_BLOCKS : 0);
        if (!is_main)
            world_part(&w->task.assignment, "n-me", TINY_BLOCKS, BACKEND_CPU)->output = true;
        world_send_tasks(w);
        world_until(w, is_failed, "failed");
        assert_string_equal(last(w)->code, FAILURES[i].code);
        assert_non_null(strstr(last(w)->message, FAILURES[i].says));
        say_stop(w);
        world_until(w, is_stopped, "stopped");
    }
}

static void test_wrong_files(void **state)
{
    struct world *w = *state;
    begin(w);
    for (int i = 0; i < 4; i++) {
        static const char *const SAYS[] = {"is not on this node", "bytes here", "another header",
                                           "GGUF"};
        static const char *const CODES[] = {"NOT_FOUND", "CONFLICT", "CONFLICT", "UNSUPPORTED"};
        print_message("# %s\n", SAYS[i]);
        world_want(w, API_MAIN, TINY_BLOCKS);
        struct api_model *m = &w->task.model;
        if (i == 0)
            STR_COPY(m->path, "/no/such/file.gguf");
        else if (i == 1)
            m->bytes++;
        else if (i == 2)
            memset(m->header_sha256, '0', 64);
        else {
            str_copyf(m->path, sizeof m->path, "%s/noise.gguf", w->dir);
            file_write(m->path, "noise, not a model", 18, 0600, NULL);
        }
        world_send_tasks(w);
        world_until(w, is_failed, "failed");
        assert_string_equal(last(w)->code, CODES[i]);
        assert_non_null(strstr(last(w)->message, SAYS[i]));
        say_stop(w);
        world_until(w, is_stopped, "stopped");
    }
}

static void test_no_engine(void **state)
{
    struct world *w = *state;
    char path[200];
    str_copyf(path, sizeof path, "%s/llama-server", w->engines);
    unlink(path);
    world_start(w, true);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_until(w, is_failed, "failed");
    assert_string_equal(last(w)->code, "NOT_FOUND");
    assert_non_null(strstr(last(w)->message, "run: stowage engine install llama.cpp"));
    assert_string_equal(w->engine, "");
}

static void test_deaf_engine(void **state)
{
    struct world *w = *state;
    setenv("STUB", "deaf", 1);
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    pid_t pid = (pid_t)last(w)->pid;
    int64_t before = os_now_ms();
    say_stop(w);
    world_until(w, is_stopped, "stopped");
    assert_true(gone(pid));
    assert_true(os_now_ms() - before >= 2900); /* the second SIGTERM, after three seconds */
}

static void test_new_generation_replaces(void **state)
{
    struct world *w = *state;
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    pid_t pid = (pid_t)last(w)->pid;
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "the next generation");
    assert_true(gone(pid));
    assert_true((pid_t)last(w)->pid != pid);
    pid = (pid_t)last(w)->pid;
    w->has_task = false; /* out of the list: stopped without a word */
    world_send_tasks(w);
    int n = w->n_reports;
    for (int i = 0; i < 50 && !gone(pid); i++)
        world_for(w, 100);
    assert_true(gone(pid));
    assert_int_equal(w->n_reports, n);
}

static void test_stop_of_what_never_ran(void **state)
{
    struct world *w = *state;
    world_want(w, API_RPC, 0);
    world_part(&w->task.assignment, "n-me", TINY_BLOCKS, BACKEND_CPU)->output = true;
    w->task.run = false; /* as after a restart of the worker */
    world_start(w, true);
    world_until(w, is_stopped, "stopped");
}

static void test_worker_restart_fails_the_generation(void **state)
{
    struct world *w = *state;
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    pid_t pid = (pid_t)last(w)->pid;
    world_stop(w);
    assert_true(gone(pid));
    assert_int_equal(last(w)->state, MEMBER_FAILED); /* said before it went */
    assert_non_null(strstr(last(w)->message, "was stopped"));
    w->n_reports = 0;
    world_start(w, false);
    world_until(w, is_failed, "failed");
    assert_non_null(strstr(last(w)->message, "restarted"));
}

static bool has_watch(struct world *w)
{
    return w->watch != NULL;
}

static void test_server_away(void **state)
{
    struct world *w = *state;
    char addr[64];
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    pid_t pid = (pid_t)last(w)->pid;
    STR_COPY(addr, w->addr);
    http_server_free(w->http);
    w->watch = NULL;
    world_for(w, 1000);
    assert_false(gone(pid)); /* engines go on */
    int n = w->n_reports;
    world_listen(w, addr);
    world_until(w, has_watch, "the watch comes back");
    world_for(w, 300);
    assert_false(gone(pid));
    assert_true(w->n_reports > n && last(w)->state == MEMBER_READY); /* and is told again */
    assert_int_equal((pid_t)last(w)->pid, pid);
}

static bool has_log(struct world *w)
{
    return w->log.n > 0 && strstr(w->log.p, "CPU_Mapped") && strstr(w->log.p, "weird bytes");
}

static bool log_over(struct world *w)
{
    return w->log_ended;
}

static void test_logs(void **state)
{
    struct world *w = *state;
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    w->task.log_streams = mem_calloc(1, sizeof *w->task.log_streams);
    w->task.n_log_streams = 1;
    w->task.log_streams[0] = (struct api_log_stream){.stream = "s-1", .follow = true, .tail = 10};
    world_send_tasks(w);
    world_until(w, has_log, "the tail");
    assert_non_null(strstr(w->log.p, "main:weird bytes: ?[31m ?? end\n"));
    say_stop(w);
    world_until(w, log_over, "the end of the log");
}

static void on_dialed(void *arg, int fd, const struct err *err)
{
    int *out = arg;
    *out = fd >= 0 ? fd : -2;
}

static int dial(struct world *w, const char *replica, char digit, enum tunnel_service service)
{
    struct tunnel_target t = {.generation = w->task.generation, .service = service};
    int fd = -1;
    STR_COPY(t.replica, replica);
    STR_COPY(t.member, "n-me");
    memset(t.secret, digit, TUNNEL_SECRET_HEX);
    tunnel_dial_new(w->loop, w->tunnel, &t, 2000, on_dialed, &fd);
    for (int i = 0; i < 30 && fd == -1; i++)
        world_for(w, 100);
    return fd;
}

static void test_tunnels(void **state)
{
    static const struct {
        const char *name, *replica;
        char digit;
        enum tunnel_service service;
        bool ok;
    } CASES[] = {
        {"the gateway's way", "r-1", 'a', TUNNEL_HTTP, true},
        {"another secret", "r-1", 'b', TUNNEL_HTTP, false},
        {"another replica", "r-2", 'a', TUNNEL_HTTP, false},
        {"a service that does not run", "r-1", 'a', TUNNEL_RPC, false},
    };
    struct world *w = *state;
    begin(w);
    world_want(w, API_MAIN, TINY_BLOCKS);
    world_send_tasks(w);
    world_until(w, is_ready, "ready");
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("# %s\n", CASES[i].name);
        int fd = dial(w, CASES[i].replica, CASES[i].digit, CASES[i].service);
        assert_int_equal(fd >= 0, CASES[i].ok);
        fd_close(fd >= 0 ? fd : -1);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_join_and_heartbeat),
        T(test_forgotten),
        T(test_main_alone),
        T(test_order_of_states),
        T(test_rpc_member),
        T(test_main_with_remote_and_barrier),
        T(test_fakes_of_the_main),
        T(test_failures),
        T(test_wrong_files),
        T(test_no_engine),
        T(test_deaf_engine),
        T(test_new_generation_replaces),
        T(test_stop_of_what_never_ran),
        T(test_worker_restart_fails_the_generation),
        T(test_server_away),
        T(test_logs),
        T(test_tunnels),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
