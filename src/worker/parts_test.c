/* Parts of the worker that need no server: lines, logs, identity, measures, finding an engine,
 * matching GPUs. */
#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"
#include "worker/filecheck.h"
#include "worker/identity.h"
#include "worker/installed.h"
#include "gpu/gpu.h"
#include "worker/inventory.h"
#include "worker/lines.h"
#include "worker/logfile.h"
#include "worker/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static int setup(void **state)
{
    char *dir = mem_strdup("/tmp/stowage-worker-XXXXXX");
    *state = dir;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    file_remove_tree(*state, NULL);
    free(*state);
    return 0;
}

/* ---- lines ---- */

static void collect(void *arg, const char *line)
{
    struct buf *b = arg;
    buf_addf(b, "[%s]", line);
}

static void test_lines(void **state)
{
    static const struct {
        const char *in, *out;
    } CASES[] = {
        {"a\nb\n", "[a][b]"},
        {"a\r\nb\r", "[a][b]"},
        {"no end", "[no end]"},
        {"\n\n", ""},
        {"tab\there\n", "[tab\there]"},
        {"esc\x1b[31m\n", "[esc?[31m]"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\n",
         "[caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80]"},
        {"\xff\xfe\x80\n", "[???]"},
        {"over \xc0\xaf \xe0\x80\x80\n", "[over ?? ???]"},
        {"surrogate \xed\xa0\x80\n", "[surrogate ???]"},
        {"c1 \xc2\x9b\n", "[c1 ??]"},
        {"cut \xe2\x82\n", "[cut ??]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        for (size_t step = 1; step < 4; step++) { /* in any split the same */
            struct buf buf_auto b;
            struct lines *l = mem_calloc(1, sizeof *l);
            buf_init(&b, 1 << 16);
            size_t n = strlen(CASES[i].in);
            for (size_t at = 0; at < n; at += step)
                lines_feed(l, CASES[i].in + at, n - at < step ? n - at : step, collect, &b);
            lines_end(l, collect, &b);
            assert_string_equal(b.p ? b.p : "", CASES[i].out);
            free(l);
        }
    }
    struct buf buf_auto b;
    struct lines *l = mem_calloc(1, sizeof *l);
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < 3 * LINE_MAX_BYTES; i++)
        lines_feed(l, "x", 1, collect, &b);
    lines_end(l, collect, &b);
    assert_int_equal(b.n, LINE_MAX_BYTES + 5);
    assert_string_equal(b.p + b.n - 5, "x...]");
    free(l);
}

/* ---- logs ---- */

static size_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static void test_log_is_capped(void **state)
{
    mem_auto char *root = mem_printf("%s/capped", (char *)*state);
    struct logfile *f = logfile_open(root, "r-1", 1, "main", NULL);
    assert_non_null(f);
    char line[1024];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    const size_t n = 3 * (size_t)LOGFILE_HALF / sizeof line;
    for (size_t i = 0; i < n; i++) {
        char head[16];
        str_copyf(head, sizeof head, "%08zu", i);
        memcpy(line, head, 8);
        logfile_line(f, line);
    }
    logfile_close(f);
    mem_auto char *now = mem_printf("%s/r-1/1.main.log", root), *old = mem_printf("%s.1", now);
    assert_true(file_size(now) <= LOGFILE_HALF && file_size(old) <= LOGFILE_HALF);
    assert_true(file_size(now) + file_size(old) > LOGFILE_HALF);
    struct buf buf_auto b;
    buf_init(&b, 1 << 20);
    logfile_tail(root, "r-1", 1, "main", 2, collect, &b);
    char want[16];
    str_copyf(want, sizeof want, "[%08zu", n - 2);
    assert_memory_equal(b.p, want, 9);
    buf_clear(&b);
    logfile_tail(root, "r-1", 1, "main", LOGFILE_TAIL_MAX, collect, &b);
    assert_true(b.full); /* 2000 lines of 1 kB across both files, more than the buffer takes */
}

static void test_log_old_ones_go(void **state)
{
    mem_auto char *root = mem_printf("%s/old", (char *)*state);
    for (uint32_t g = 1; g <= 8; g++) {
        struct logfile *f = logfile_open(root, "r-1", g, "main", NULL);
        logfile_line(f, "hello");
        logfile_close(f);
    }
    for (uint32_t g = 1; g <= 8; g++)
        assert_int_equal(logfile_exists(root, "r-1", g, "main"), g > 8 - LOGFILE_STARTS);
    for (int i = 0; i < LOGFILE_REPLICAS + 5; i++) {
        char name[16];
        str_copyf(name, sizeof name, "n-%03d", i);
        logfile_close(logfile_open(root, name, 1, "rpc", NULL));
    }
    assert_false(logfile_exists(root, "r-1", 8, "main")); /* the oldest folder */
    assert_false(logfile_exists(root, "n-000", 1, "rpc"));
    assert_true(logfile_exists(root, "n-068", 1, "rpc"));
    struct err err = {0};
    assert_null(logfile_open(root, "../evil", 1, "main", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(logfile_open(root, "", 1, "main", NULL));
}

/* ---- identity ---- */

static void test_identity(void **state)
{
    struct identity i = {.id = "n-1", .key = "sk-secret"}, j = {0};
    struct err err = {0};
    assert_int_equal(identity_load(&j, *state, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(identity_save(&i, *state, NULL), 0);
    assert_int_equal(identity_load(&j, *state, NULL), 0);
    assert_string_equal(j.id, "n-1");
    assert_string_equal(j.key, "sk-secret");
    struct stat st;
    mem_auto char *path = mem_printf("%s/node.json", (char *)*state);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    static const char *const BAD[] = {"{", "{}", "{\"id\":\"a/b\",\"key\":\"k\"}",
                                      "{\"id\":\"\",\"key\":\"k\"}"};
    for (size_t k = 0; k < ARRAY_LEN(BAD); k++) {
        assert_int_equal(file_write(path, BAD[k], strlen(BAD[k]), 0600, NULL), 0);
        assert_int_equal(identity_load(&j, *state, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        assert_non_null(strstr(err.msg, "node.json"));
    }
    unlink(path);
}

static void test_address(void **state)
{
    static const struct {
        const char *url, *advertise, *listen, *out;
    } CASES[] = {
        {"http://127.0.0.1:8080", NULL, "127.0.0.1:10151", "127.0.0.1:10151"},
        {"http://127.0.0.1:8080/x", "box.lan", "0.0.0.0:10151", "box.lan:10151"},
        {"http://127.0.0.1", "fd00::1", "[::]:10151", "[fd00::1]:10151"},
        {"http://[::1]:8080", NULL, "[::1]:7", "[::1]:7"},
        {"http://", NULL, "127.0.0.1:1", NULL},
        {"http://[::1", NULL, "127.0.0.1:1", NULL},
        {"http://no-such-host.invalid:1", NULL, "127.0.0.1:1", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char out[CLUSTER_ADDR];
        struct err err = {0};
        int rc = identity_address(CASES[i].url, CASES[i].advertise, CASES[i].listen, out,
                                  sizeof out, &err);
        print_message("# %s %s\n", CASES[i].url, err.msg);
        assert_int_equal(rc, CASES[i].out ? 0 : -1);
        if (CASES[i].out)
            assert_string_equal(out, CASES[i].out);
    }
}

/* ---- what the engine took ---- */

static void test_measure(void **state)
{
    struct assignment_part parts[2] = {{.node_id = "B", .n_layers = 4},
                                       {.node_id = "A", .backend = BACKEND_CUDA, .output = true}};
    struct assignment a = {.main_id = "A", .parts = parts, .n_parts = 2};
    const uint16_t ports[] = {20001};
    struct engine_site site = {.node_id = "A", .peer_ports = ports};
    static const char *const LINES[] = {
        "load: RPC0[127.0.0.1:20001] model buffer size = 1.00 MiB",
        "load: RPC0[127.0.0.1:20001] model buffer size = 2.00 MiB", /* a second buffer: adds up */
        "kv: RPC0[127.0.0.1:20001] KV buffer size = 1.00 MiB",
        "kv: RPC0[127.0.0.1:20001] KV buffer size = 1.00 MiB",
        "r: RPC0[127.0.0.1:20001] compute buffer size = 9.00 MiB",
        "r: RPC0[127.0.0.1:20001] compute buffer size = 4.00 MiB", /* planned anew: the last holds
                                                                    */
        "load: CPU_Mapped model buffer size = 3.00 MiB",
        "load: CUDA_Host model buffer size = 1.00 MiB",
        "r: CPU compute buffer size = 5.00 MiB",
        "r: CUDA_Host compute buffer size = 2.00 MiB",
        "r: CPU compute buffer size = 1.00 MiB",
        "r: RPC7[127.0.0.1:9] compute buffer size = 1.00 MiB", /* nobody's */
        "plain words",
    };
    const struct engine_driver *d = engine_find("llama.cpp");
    struct measure m = {0};
    struct engine_fact f;
    measure_init(&m, 2);
    for (size_t i = 0; i < ARRAY_LEN(LINES); i++)
        if (d->read_line(LINES[i], &f))
            measure_fact(&m, d, &a, &site, &f);
    struct api_report r = {0};
    measure_report(&m, &r);
    assert_int_equal(r.n_measured, 1);
    assert_int_equal(r.measured[0].part, 0);
    assert_int_equal(r.measured[0].bytes.weights_bytes, 3 * MIB);
    assert_int_equal(r.measured[0].bytes.kv_bytes, 2 * MIB);
    assert_int_equal(r.measured[0].bytes.compute_bytes, 4 * MIB);
    assert_true(r.has_host_measured);
    assert_int_equal(r.host_measured.weights_bytes, 4 * MIB);
    assert_int_equal(r.host_measured.compute_bytes, 3 * MIB);
    api_report_done(&r);
    measure_done(&m);
}

/* ---- the engine on disk ---- */

static void make_engine(const char *dir, const char *rpc)
{
    static const char *const NAMES[] = {"llama-server", NULL};
    assert_int_equal(file_mkdirs(dir, 0700, NULL), 0);
    mem_auto char *a = mem_printf("%s/%s", dir, NAMES[0]), *b = mem_printf("%s/%s", dir, rpc);
    assert_int_equal(file_write(a, "#!/bin/sh\n", 10, 0755, NULL), 0);
    assert_int_equal(file_write(b, "#!/bin/sh\n", 10, 0755, NULL), 0);
}

static void test_find_engine(void **state)
{
    mem_auto char *dir = mem_printf("%s/engines", (char *)*state);
    mem_auto char *one = mem_printf("%s/llama.cpp-1/bin", dir);
    mem_auto char *cur = mem_printf("%s/current/bin", dir), *bin = mem_printf("%s/bin", dir);
    struct installed_info info;
    assert_false(installed_find(dir, &info));
    assert_non_null(strstr(info.reason, "stowage engine install llama.cpp"));
    make_engine(one, "rpc-server");
    assert_true(installed_find(dir, &info));
    assert_string_equal(info.bin_dir, one);
    assert_string_equal(info.rpc_program, "rpc-server");
    make_engine(cur, "ggml-rpc-server");
    assert_true(installed_find(dir, &info));
    assert_string_equal(info.bin_dir, cur);
    assert_string_equal(info.rpc_program, "ggml-rpc-server");
    make_engine(bin, "ggml-rpc-server");
    assert_true(installed_find(dir, &info) && strcmp(info.bin_dir, bin) == 0);
    assert_true(installed_find(bin, &info) && strcmp(info.bin_dir, bin) == 0);
}

static void test_engine_says(void **state)
{
    static const char *const LINES[] = {
        "version: 0.7.0 (build 11669, commit Debian)",
        "built with GNU 16.2.0 for Linux x86_64",
        "Available devices:",
        "  CUDA0: NVIDIA GeForce RTX 3090 (24268 MiB, 23900 MiB free)",
        "  Vulkan1: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 24000 MiB free)",
        "  (none)",
        "got 600 input configs, but system only has 16 devices",
    };
    struct installed_info info = {0};
    for (size_t i = 0; i < ARRAY_LEN(LINES); i++)
        installed_line(&info, LINES[i]);
    assert_string_equal(info.label, "llama.cpp b11669");
    assert_int_equal(info.n_devices, 2);
    assert_string_equal(info.devices[0].id, "CUDA0");
    assert_string_equal(info.devices[0].name, "NVIDIA GeForce RTX 3090");
    assert_string_equal(info.devices[1].name, "AMD Radeon RX 7900 XTX (RADV NAVI31)");
    assert_int_equal(info.devices[1].total_mib, 24560);
    assert_int_equal(info.max_devices, 15);
    struct installed_info up = {0};
    installed_line(&up, "version: 4567 (3f4fc97f)");
    assert_string_equal(up.label, "llama.cpp b4567");
}

/* ---- GPUs and the engine ---- */

static void test_match(void **state)
{
    static const struct {
        const char *name, *lines[3];
        enum device_backend in[3];
        const char *names[3];
        uint64_t gib[3];
        uint32_t dropped, n;
        enum device_backend out;
        uint32_t index[3];
    } CASES[] = {
        {"an engine with CUDA",
         {"  CUDA0: NVIDIA X (24000 MiB, 1 MiB free)"},
         {BACKEND_CUDA, BACKEND_CUDA},
         {"RTX 3090", "A40"},
         {24, 48},
         0,
         2,
         BACKEND_CUDA,
         {0, 1}},
        {"an engine for the CPU only",
         {"  (none)"},
         {BACKEND_CUDA, BACKEND_CUDA},
         {"RTX 3090", "A40"},
         {24, 48},
         2,
         0,
         0,
         {0}},
        {"Vulkan, by name, whatever the order",
         {"  Vulkan0: NVIDIA A40 (48000 MiB, 1 MiB free)",
          "  Vulkan1: NVIDIA GeForce RTX 3090 (24000 MiB, 1 MiB free)"},
         {BACKEND_CUDA, BACKEND_CUDA},
         {"RTX 3090", "A40"},
         {24, 48},
         0,
         2,
         BACKEND_VULKAN,
         {1, 0}},
        {"Vulkan, by size",
         {"  Vulkan3: AMD Radeon RX 7900 XTX (RADV) (24560 MiB, 1 MiB free)"},
         {BACKEND_VULKAN},
         {"AMD GPU 0x744c"},
         {24},
         0,
         1,
         BACKEND_VULKAN,
         {3}},
        {"two cards, one device",
         {"  Vulkan0: AMD Radeon (24560 MiB, 1 MiB free)"},
         {BACKEND_VULKAN, BACKEND_VULKAN},
         {"AMD GPU 1", "AMD GPU 2"},
         {24, 24},
         1,
         1,
         BACKEND_VULKAN,
         {0}},
        {"fakes need nothing",
         {"  (none)"},
         {BACKEND_FAKE},
         {"RTX 3090"},
         {24},
         0,
         1,
         BACKEND_FAKE,
         {0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("# %s\n", CASES[i].name);
        struct installed_info e = {.found = true};
        struct cluster_node n = {0};
        for (size_t k = 0; k < 3 && CASES[i].lines[k]; k++)
            installed_line(&e, CASES[i].lines[k]);
        for (uint32_t k = 0; k < 3 && CASES[i].names[k]; k++) {
            struct cluster_device *d = node_add_device(&n);
            d->index = k;
            d->backend = CASES[i].in[k];
            d->total_bytes = CASES[i].gib[k] * GIB;
            STR_COPY(d->name, CASES[i].names[k]);
        }
        assert_int_equal(inventory_match(&n, &e), CASES[i].dropped);
        assert_int_equal(n.n_devices, CASES[i].n);
        for (uint32_t k = 0; k < n.n_devices; k++) {
            assert_int_equal(n.devices[k].backend, CASES[i].out);
            assert_int_equal(n.devices[k].index, CASES[i].index[k]);
        }
        node_done(&n);
    }
}

static void test_inventory(void **state)
{
    struct err err = {0};
    assert_null(inventory_new("gpus", 0, &err));
    assert_non_null(strstr(err.msg, "'gpus'"));
    assert_null(inventory_new("fake:/no/such.yaml", 0, &err));
    mem_auto char *yaml = mem_printf("%s/f.yaml", (char *)*state);
    static const char TEXT[] = "devices: [{name: A40, memory: 48GiB, count: 2}]";
    file_write(yaml, TEXT, sizeof TEXT - 1, 0600, NULL);
    mem_auto char *word = mem_printf("fake:%s", yaml);
    struct inventory *i = inventory_new(word, 2 * GIB, &err);
    struct installed_info e = {.found = true, .label = "llama.cpp b1 cpu"};
    struct cluster_node n = {.name = "a"};
    assert_int_equal(inventory_read(i, &e, GIB, &n, &err), 0);
    assert_int_equal(n.n_devices, 2);
    assert_int_equal(n.ram_bytes, 2 * GIB); /* --ram-limit, of which our engines hold one */
    assert_true(n.ram_free_bytes <= GIB);
    assert_string_equal(n.engine, "llama.cpp b1 cpu");
    node_done(&n);
    inventory_free(i);
    i = inventory_new("none", 0, &err);
    struct cluster_node all = {.name = "a"}, host = {0};
    assert_int_equal(inventory_read(i, &e, 0, &all, &err), 0);
    assert_int_equal(host_read(&host, &err), 0);
    assert_int_equal(all.ram_bytes, host.ram_bytes);
    assert_true(all.ram_free_bytes + INVENTORY_RAM_RESERVE / 2 < host.ram_free_bytes);
    inventory_free(i);
}

static void test_file_compare(void **state)
{
    const struct api_model want = {.path = "/m", .bytes = 10, .header_sha256 = "aa"};
    const struct api_model loose = {.path = "/m"};
    struct err err = {0};
    assert_int_equal(filecheck_compare(&want, 10, "aa", &err), 0);
    assert_int_equal(filecheck_compare(&loose, 7, "bb", &err), 0);
    assert_int_equal(filecheck_compare(&want, 11, "aa", &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "11 bytes"));
    assert_int_equal(filecheck_compare(&want, 10, "ab", &err), -1);
    assert_non_null(strstr(err.msg, "header"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),           cmocka_unit_test(test_log_is_capped),
        cmocka_unit_test(test_log_old_ones_go), cmocka_unit_test(test_identity),
        cmocka_unit_test(test_address),         cmocka_unit_test(test_measure),
        cmocka_unit_test(test_find_engine),     cmocka_unit_test(test_engine_says),
        cmocka_unit_test(test_match),           cmocka_unit_test(test_inventory),
        cmocka_unit_test(test_file_compare),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    log_quiet(true);
    return cmocka_run_group_tests(tests, setup, teardown);
}
