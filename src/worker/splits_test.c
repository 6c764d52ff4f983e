/* The real engine against the plan: for random splits of a tiny model over several rpc-servers, the
 * engine's own lines "layer N assigned to device" are those of the assignment, and buffer lines are
 * tied to the right parts.
 *
 * Needs the engine in STOWAGE_ENGINE_DIR; without it the test is skipped and says so. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "engine/engine.h"
#include "net/tunnel.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/proc.h"
#include "worker/installed.h"
#include "worker/lines.h"
#include "worker/ports.h"
#include "worker/tiny_model.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { N_SPLITS = 20, MAX_NODES = 4, LIMIT_MS = 60000, POLL_MS = 20 };

struct run {
    struct loop *loop;
    struct assignment a;
    struct engine_site site;
    uint16_t ports[MAX_NODES];
    struct lines *lines;
    char device[TINY_BLOCKS + 2][48]; /* as the engine says, by item */
    bool weights[TINY_BLOCKS + 2];    /* by part */
    bool loaded, over;
    struct buf log;
};

static void on_line(void *arg, const char *line)
{
    struct run *r = arg;
    struct engine_fact f;
    buf_addf(&r->log, "# %s\n", line);
    if (strstr(line, "server is listening") || strstr(line, "listening on http"))
        r->loaded = true;
    if (!engine_find("llama.cpp")->read_line(line, &f))
        return;
    if (f.kind == ENGINE_LAYER && f.layer <= TINY_BLOCKS)
        STR_COPY(r->device[f.layer], f.device);
    int part = engine_find("llama.cpp")->part_of(&r->a, &r->site, f.device);
    if (f.kind == ENGINE_WEIGHTS && part >= 0)
        r->weights[part] = true;
}

static void on_output(void *arg, const char *p, size_t n)
{
    struct run *r = arg;
    lines_feed(r->lines, p, n, on_line, r);
    if (r->loaded)
        loop_stop(r->loop);
}

static void on_exit_status(void *arg, int status)
{
    struct run *r = arg;
    r->over = true;
    loop_stop(r->loop);
}

static void ignore_output(void *arg, const char *p, size_t n)
{
}

static void ignore_exit(void *arg, int status)
{
}

static void too_long(void *arg)
{
    struct run *r = arg;
    r->over = true;
    loop_stop(r->loop);
}

static struct proc *start(struct run *r, const char *node, const char *role)
{
    struct engine_launch l;
    struct err err = {0};
    bool is_main = strcmp(role, "main") == 0;
    r->site.node_id = node;
    if (engine_find("llama.cpp")->launch(&r->a, &r->site, role, &l, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; l.argv[i]; i++)
        if (is_main && strcmp(l.argv[i], "-lv") == 0)
            l.argv[i + 1][0] = '5'; /* layer lines are for debugging */
    struct proc_opts o = {.argv = (const char *const *)l.argv,
                          .env = (const char *const *)l.env,
                          .on_output = is_main ? on_output : ignore_output,
                          .on_exit = is_main ? on_exit_status : ignore_exit,
                          .arg = r};
    struct proc *p = proc_spawn(r->loop, &o, &err);
    if (!p)
        fail_msg("%s", err.msg);
    engine_launch_done(&l);
    return p;
}

/* Parts on 1 to 4 nodes in random order, at least one block each, some blocks in RAM at times. */
static void random_assignment(struct run *r, struct rng *rng)
{
    struct assignment *a = &r->a;
    uint32_t n_cpu = rng_below(rng, 3) == 0 ? (uint32_t)rng_below(rng, 4) : 0;
    uint32_t left = TINY_BLOCKS - n_cpu, n = 1 + (uint32_t)rng_below(rng, left < 6 ? left : 6);
    *a = (struct assignment){.n_layers = TINY_BLOCKS,
                             .n_blocks = TINY_BLOCKS,
                             .n_cpu_layers = n_cpu,
                             .ctx = 256,
                             .n_slots = 1,
                             .ubatch = 64,
                             .n_parts = n};
    STR_COPY(a->engine, "llama.cpp");
    STR_COPY(a->main_id, "M");
    STR_COPY(a->kv, "f16");
    a->parts = mem_calloc(n, sizeof *a->parts);
    for (uint32_t i = 0, next = n_cpu; i < n; i++) {
        struct assignment_part *p = &a->parts[i];
        uint32_t spare = left - (n - i);
        p->n_layers = i + 1 == n ? left : 1 + (uint32_t)rng_below(rng, spare + 1);
        left -= p->n_layers;
        p->first_layer = next;
        next += p->n_layers;
        p->output = i + 1 == n;
        p->backend = BACKEND_FAKE;
        str_copyf(p->node_id, sizeof p->node_id, "N%u", (unsigned)rng_below(rng, MAX_NODES));
        str_copyf(p->uuid, sizeof p->uuid, "F%u", i);
    }
}

static void check(const struct run *r)
{
    for (uint32_t item = 0; item <= TINY_BLOCKS; item++) {
        char want[48] = "CPU";
        for (uint32_t i = 0; i < r->a.n_parts; i++) {
            const struct assignment_part *p = &r->a.parts[i];
            if (item >= p->first_layer && (item < p->first_layer + p->n_layers || p->output))
                engine_device_name(&r->a, i, want, sizeof want);
        }
        if (strcmp(r->device[item], want) != 0)
            fail_msg("layer %u is on '%s', planned on '%s'\n%s", item, r->device[item], want,
                     r->log.p);
    }
    for (uint32_t i = 0; i < r->a.n_parts; i++)
        assert_true(r->weights[i]);
}

static void one_split(struct run *r, struct rng *rng)
{
    struct proc *rpc[MAX_NODES] = {0};
    const char *ids[MAX_NODES];
    random_assignment(r, rng);
    uint32_t n = engine_find("llama.cpp")->members(&r->a, ids, MAX_NODES);
    r->site.peer_ports = r->ports;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(net_free_port(20000, 30000, &r->ports[i], NULL), 0);
        r->site.rpc_port = r->ports[i];
        rpc[i] = start(r, ids[i], "rpc");
        for (int k = 0; k < LIMIT_MS / POLL_MS && !port_accepts(r->ports[i]); k++)
            usleep(POLL_MS * 1000);
    }
    assert_int_equal(net_free_port(20000, 30000, &r->site.main_port, NULL), 0);
    struct proc *engine = start(r, "M", "main");
    struct loop_timer *limit = loop_timer_add(r->loop, LIMIT_MS, too_long, r);
    loop_run(r->loop, NULL);
    if (!r->loaded)
        fail_msg("the engine did not load\n%s", r->log.p);
    loop_timer_del(limit);
    proc_free(engine);
    for (uint32_t i = 0; i < n; i++)
        proc_free(rpc[i]);
    check(r);
    assignment_done(&r->a);
}

static void test_splits(void **state)
{
    const char *dir = getenv("STOWAGE_ENGINE_DIR");
    struct installed_info engine;
    if (!dir || !installed_find(dir, &engine)) {
        print_message("# no engine in STOWAGE_ENGINE_DIR: the real splits are NOT tested\n");
        skip();
    }
    char model[] = "/tmp/stowage-tiny-XXXXXX";
    int fd = mkstemp(model);
    assert_true(fd >= 0);
    close(fd);
    tiny_model_write(model);
    struct rng rng = {.state = 11};
    for (int i = 0; i < N_SPLITS; i++) {
        struct run r = {.site = {.bin_dir = engine.bin_dir,
                                 .rpc_program = engine.rpc_program,
                                 .n_threads = 1,
                                 .alias = "tiny",
                                 .model = model}};
        r.loop = loop_new(NULL);
        r.lines = mem_calloc(1, sizeof *r.lines);
        buf_init(&r.log, 1 << 20);
        one_split(&r, &rng);
        buf_done(&r.log);
        free(r.lines);
        loop_free(r.loop);
    }
    unlink(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_splits)};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
