/* os/proc: exit status, output, process group, programs that cannot be started. */
#include "os/proc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

struct run {
    struct loop *loop;
    struct proc *proc;
    struct buf out;
    int status, exits;
    bool free_at_output;
};

static void on_output(void *arg, const char *p, size_t n)
{
    struct run *r = arg;
    buf_add(&r->out, p, n);
    if (r->free_at_output) {
        proc_free(r->proc);
        loop_stop(r->loop);
    }
}

static void on_exit_(void *arg, int status)
{
    struct run *r = arg;
    r->status = status;
    r->exits++;
    proc_free(r->proc);
    loop_stop(r->loop);
}

static void run_init(struct run *r)
{
    *r = (struct run){.loop = loop_new(NULL)};
    assert_non_null(r->loop);
    buf_init(&r->out, 1 << 20);
}

static void run_done(struct run *r)
{
    loop_free(r->loop);
    buf_done(&r->out);
}

static void start(struct run *r, const char *script, const char *const *env, const char *cwd)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct proc_opts o = {argv, env, cwd, on_output, on_exit_, r};
    struct err e = {0};
    r->proc = proc_spawn(r->loop, &o, &e);
    if (!r->proc)
        fail_msg("%s", e.msg);
}

static void test_status_and_output(void **state)
{
    static const struct {
        const char *script, *out, *status;
    } cases[] = {
        {"echo one; echo two >&2; exit 3", "one\ntwo\n", "exit status 3"},
        {"exit 0", "", "exit status 0"},
        {"kill -9 $$", "", "killed by signal 9 (SIGKILL)"},
        {"cat; echo end", "end\n", "exit status 0"},
        {"echo $NAME $PWD", "value /\n", "exit status 0"},
        {"for i in 3 4 5 6 7 8 9; do test ! -e /proc/$$/fd/$i || echo $i; done", "",
         "exit status 0"},
        {"grep -c 'SigBlk:.0*$' /proc/self/status", "1\n", "exit status 0"},
        {"echo last; sleep 100 &", "last\n", "exit status 0"},
    };
    setenv("NAME", "ours", 1);
    int leak = dup(STDERR_FILENO); /* without close-on-exec, and yet not inherited */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct run r;
        char text[64];
        run_init(&r);
        start(&r, cases[i].script, (const char *[]){"NAME=value", NULL}, "/");
        int64_t begin = os_now_ms();
        assert_int_equal(loop_run(r.loop, NULL), 0);
        proc_status_text(r.status, text, sizeof text);
        assert_string_equal(text, cases[i].status);
        assert_string_equal(r.out.p ? r.out.p : "", cases[i].out);
        assert_int_equal(r.exits, 1);
        assert_true(os_now_ms() - begin < 10000);
        run_done(&r);
    }
    close(leak);
}

static void test_big_output(void **state)
{
    struct run r;
    run_init(&r);
    start(&r, "head -c 700000 /dev/zero | tr '\\0' x", NULL, NULL);
    assert_int_equal(loop_run(r.loop, NULL), 0);
    assert_int_equal(r.out.n, 700000);
    run_done(&r);
}

static void test_cannot_start(void **state)
{
    char script[64];
    str_copyf(script, sizeof script, "/tmp/stowage-proc-%d", (int)getpid());
    assert_int_equal(file_write(script, "#!/no/such/interpreter\n", 23, 0755, NULL), 0);
    char plain[70];
    str_copyf(plain, sizeof plain, "%s.txt", script);
    assert_int_equal(file_write(plain, "text\n", 5, 0644, NULL), 0);
    const struct {
        const char *program, *cwd;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"no-such-program-x", NULL, ERR_NOT_FOUND, "no-such-program-x"},
        {"/no/such/program", NULL, ERR_NOT_FOUND, "/no/such/program"},
        {"/tmp", NULL, ERR_IO, "/tmp"},
        {script, NULL, ERR_NOT_FOUND, script},
        {plain, NULL, ERR_IO, "Permission denied"},
        {"true", "/no/such/folder", ERR_NOT_FOUND, "/no/such/folder"},
    };
    struct loop *l = loop_new(NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *argv[] = {cases[i].program, NULL};
        struct proc_opts o = {.argv = argv, .cwd = cases[i].cwd};
        struct err e = {0};
        assert_null(proc_spawn(l, &o, &e));
        assert_int_equal(e.code, cases[i].code);
        assert_non_null(strstr(e.msg, cases[i].says));
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
    unlink(script);
    unlink(plain);
    loop_free(l);
}

static void on_kill_timer(void *arg)
{
    proc_kill(((struct run *)arg)->proc, SIGTERM);
}

/* An orphan that nobody has reaped yet is gone as well. */
static bool gone(pid_t pid)
{
    char path[40];
    mem_auto char *text = NULL;
    str_copyf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (file_read(path, 4096, &text, NULL, NULL) != 0)
        return true;
    const char *state = strrchr(text, ')');
    return state && state[2] == 'Z';
}

static bool gone_within(pid_t pid, int ms)
{
    for (int64_t end = os_now_ms() + ms; os_now_ms() < end; usleep(5000))
        if (gone(pid))
            return true;
    return false;
}

/* The grandchild's pid is the output; it must go with the group, however the group ends. */
static void test_group(void **state)
{
    static const struct {
        const char *name, *script;
        bool kill;
    } cases[] = {
        {"SIGTERM reaches the group", "sleep 100 & echo $!; wait", true},
        {"the leader exits by itself", "sleep 100 & echo $!", false},
        {"a stubborn grandchild", "(trap '' TERM; sleep 100; sleep 100) & echo $!; wait", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct run r;
        run_init(&r);
        start(&r, cases[i].script, NULL, NULL);
        if (cases[i].kill)
            loop_timer_add(r.loop, 200, on_kill_timer, &r);
        assert_int_equal(loop_run(r.loop, NULL), 0);
        int pid = 0;
        assert_int_equal(sscanf(r.out.p, "%d", &pid), 1);
        if (!gone_within(pid, 2000))
            fail_msg("%s: %d still runs", cases[i].name, pid);
        run_done(&r);
    }
}

static void test_free_in_output(void **state)
{
    struct run r;
    run_init(&r);
    r.free_at_output = true;
    start(&r, "echo $$; sleep 100", NULL, NULL);
    pid_t pid = proc_pid(r.proc);
    assert_true(proc_rss_bytes(pid) > 0);
    assert_int_equal(loop_run(r.loop, NULL), 0);
    assert_int_equal(r.exits, 0);
    assert_true(gone_within(pid, 1000));
    assert_true(proc_rss_bytes(pid) == 0);
    run_done(&r);
}

/* The process that spawned is killed: its child must die as well. */
static void test_dies_with_parent(void **state)
{
    int link[2];
    assert_int_equal(pipe(link), 0);
    pid_t middle = fork();
    if (middle == 0) {
        struct run r = {.loop = loop_new(NULL)};
        const char *argv[] = {"sleep", "100", NULL};
        struct proc_opts o = {.argv = argv, .arg = &r};
        r.proc = proc_spawn(r.loop, &o, NULL);
        pid_t pid = r.proc ? proc_pid(r.proc) : 0;
        ssize_t n = write(link[1], &pid, sizeof pid);
        (void)n;
        pause();
        _exit(0);
    }
    pid_t child = 0;
    assert_int_equal(read(link[0], &child, sizeof child), sizeof child);
    assert_true(child > 0 && kill(child, 0) == 0);
    kill(middle, SIGKILL);
    waitpid(middle, NULL, 0);
    assert_true(gone_within(child, 2000));
    close(link[0]);
    close(link[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_and_output), cmocka_unit_test(test_big_output),
        cmocka_unit_test(test_cannot_start),      cmocka_unit_test(test_group),
        cmocka_unit_test(test_free_in_output),    cmocka_unit_test(test_dies_with_parent),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
