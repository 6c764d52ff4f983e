/* The llama.cpp driver: golden command lines, log lines, and (with an engine at hand) the real
 * splits. */
#include "engine/engine.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* ---- assignments written short ---- */

struct part {
    const char *node;
    enum device_backend backend;
    uint32_t n_layers, index;
};

static struct assignment make(const struct part *parts, uint32_t n, uint32_t n_cpu,
                              uint32_t n_layers, uint32_t n_blocks)
{
    struct assignment a = {.n_layers = n_layers,
                           .n_blocks = n_blocks,
                           .n_cpu_layers = n_cpu,
                           .ctx = 8192,
                           .n_slots = 2,
                           .ubatch = 512,
                           .n_parts = n};
    STR_COPY(a.engine, "llama.cpp");
    STR_COPY(a.main_id, "A");
    STR_COPY(a.kv, "f16");
    a.parts = mem_calloc(n ? n : 1, sizeof *a.parts);
    uint32_t next = n_cpu;
    for (uint32_t i = 0; i < n; i++) {
        struct assignment_part *p = &a.parts[i];
        STR_COPY(p->node_id, parts[i].node);
        STR_COPY(p->node, parts[i].node);
        if (parts[i].backend != BACKEND_CPU)
            str_copyf(p->uuid, sizeof p->uuid, "GPU-%s%u", parts[i].node, parts[i].index);
        p->index = parts[i].index;
        p->backend = parts[i].backend;
        p->first_layer = next;
        p->n_layers = parts[i].n_layers;
        p->output = i + 1 == n;
        p->free_bytes = 1000 + i;
        p->weights_bytes = 400000000;
        next += parts[i].n_layers;
    }
    return a;
}

static char *joined(char *const *items)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    for (size_t i = 0; items[i]; i++)
        buf_addf(&b, "%s%s", i ? " " : "", items[i]);
    return buf_take(&b);
}

static const uint16_t PEERS[] = {20001, 20002, 20003, 20004};

static struct engine_site site_of(const char *node)
{
    return (struct engine_site){.node_id = node,
                                .bin_dir = "/e",
                                .main_port = 21000,
                                .rpc_port = 22000,
                                .peer_ports = PEERS,
                                .n_threads = 4,
                                .alias = "m",
                                .model = "/m.gguf"};
}

/* ---- golden command lines ---- */

#define HEAD                                                                                       \
    "/e/llama-server -m /m.gguf --alias m --host 127.0.0.1 --port 21000 -c 8192 -np 2 -b 2048 "    \
    "-ub 512 -fa on -ctk f16 -ctv f16 "
#define TAIL " -fit off --cache-ram 0 -t 4 -lv 4 --metrics --no-webui --offline"
#define QUIET " GGML_NO_BACKTRACE=1"
#define NO_GPU "CUDA_VISIBLE_DEVICES= GGML_VK_VISIBLE_DEVICES=" QUIET

struct launch_case {
    const char *name;
    struct part parts[8];
    uint32_t n_parts, n_cpu, n_moe, n_blocks; /* of 32 layers; n_blocks 0: 32 */
    const char *node, *role;
    const char *argv, *env;
};

static const struct launch_case LAUNCHES[] = {
    {"one GPU",
     {{"A", BACKEND_CUDA, 32, 0}},
     1,
     0,
     0,
     0,
     "A",
     "main",
     HEAD "--device CUDA0 -sm layer -ngl 33 -ts 33" TAIL,
     "CUDA_VISIBLE_DEVICES=GPU-A0 GGML_VK_VISIBLE_DEVICES=" QUIET},
    {"CPU only", {{0}}, 0, 32, 0, 0, "A", "main", HEAD "--device none -ngl 0" TAIL, NO_GPU},
    {"three CPU nodes: main",
     {{"B", BACKEND_CPU, 12, 0}, {"C", BACKEND_CPU, 10, 0}},
     2,
     10,
     0,
     0,
     "A",
     "main",
     HEAD
     "--rpc 127.0.0.1:20001,127.0.0.1:20002 --device RPC0,RPC1 -sm layer -ngl 23 -ts 12,11" TAIL,
     NO_GPU},
    {"three CPU nodes: member",
     {{"B", BACKEND_CPU, 12, 0}, {"C", BACKEND_CPU, 10, 0}},
     2,
     10,
     0,
     0,
     "C",
     "rpc",
     "/e/ggml-rpc-server -H 127.0.0.1 -p 22000 -d CPU -t 4",
     NO_GPU " STOWAGE_DEVICE_BYTES=1001"},
    {"several GPUs of one node, by UUID in pipeline order",
     {{"A", BACKEND_CUDA, 20, 3}, {"A", BACKEND_CUDA, 12, 1}},
     2,
     0,
     0,
     0,
     "A",
     "main",
     HEAD "--device CUDA0,CUDA1 -sm layer -ngl 33 -ts 20,13" TAIL,
     "CUDA_VISIBLE_DEVICES=GPU-A3,GPU-A1 GGML_VK_VISIBLE_DEVICES=" QUIET},
    {"main between two members with several GPUs: main",
     {{"B", BACKEND_CUDA, 5, 0},
      {"B", BACKEND_CUDA, 6, 1},
      {"A", BACKEND_CUDA, 9, 0},
      {"C", BACKEND_CUDA, 7, 4},
      {"C", BACKEND_CUDA, 5, 2}},
     5,
     0,
     0,
     0,
     "A",
     "main",
     HEAD
     "--rpc 127.0.0.1:20001,127.0.0.1:20002 --device RPC0,RPC1,CUDA0,RPC2,RPC3 -sm layer -ngl 33 "
     "-ts 5,6,9,7,6" TAIL,
     "CUDA_VISIBLE_DEVICES=GPU-A0 GGML_VK_VISIBLE_DEVICES=" QUIET},
    {"main between two members with several GPUs: member",
     {{"B", BACKEND_CUDA, 5, 0},
      {"B", BACKEND_CUDA, 6, 1},
      {"A", BACKEND_CUDA, 9, 0},
      {"C", BACKEND_CUDA, 7, 4},
      {"C", BACKEND_CUDA, 5, 2}},
     5,
     0,
     0,
     0,
     "C",
     "rpc",
     "/e/ggml-rpc-server -H 127.0.0.1 -p 22000 -d CUDA0,CUDA1 -t 4",
     "CUDA_VISIBLE_DEVICES=GPU-C4,GPU-C2 GGML_VK_VISIBLE_DEVICES=" QUIET
     " STOWAGE_DEVICE_BYTES=2007"},
    {"parts of one node apart in the pipeline: names follow endpoints, -ts the pipeline",
     {{"B", BACKEND_CUDA, 5, 0}, {"C", BACKEND_CUDA, 11, 0}, {"B", BACKEND_CUDA, 16, 1}},
     3,
     0,
     0,
     0,
     "A",
     "main",
     HEAD "--rpc 127.0.0.1:20001,127.0.0.1:20002 --device RPC0,RPC2,RPC1 -sm layer -ngl 33 -ts "
          "5,11,17" TAIL,
     NO_GPU},
    {"fake devices of the main are played by its own rpc-server: main",
     {{"B", BACKEND_FAKE, 8, 0}, {"A", BACKEND_FAKE, 14, 0}, {"A", BACKEND_FAKE, 10, 1}},
     3,
     0,
     0,
     0,
     "A",
     "main",
     HEAD "--rpc 127.0.0.1:20001,127.0.0.1:22000 --device RPC0,RPC1,RPC2 -sm layer -ngl 33 -ts "
          "8,14,11" TAIL,
     NO_GPU},
    {"fake devices of the main are played by its own rpc-server: rpc",
     {{"B", BACKEND_FAKE, 8, 0}, {"A", BACKEND_FAKE, 14, 0}, {"A", BACKEND_FAKE, 10, 1}},
     3,
     0,
     0,
     0,
     "A",
     "rpc",
     "/e/ggml-rpc-server -H 127.0.0.1 -p 22000 -d CPU,CPU -t 4",
     NO_GPU " STOWAGE_DEVICE_BYTES=2003"},
    {"part of the layers in RAM",
     {{"A", BACKEND_CUDA, 20, 0}},
     1,
     12,
     0,
     0,
     "A",
     "main",
     HEAD "--device CUDA0 -sm layer -ngl 21 -ts 21 --no-op-offload" TAIL,
     "CUDA_VISIBLE_DEVICES=GPU-A0 GGML_VK_VISIBLE_DEVICES=" QUIET},
    {"experts in RAM",
     {{"A", BACKEND_CUDA, 32, 0}},
     1,
     0,
     24,
     0,
     "A",
     "main",
     HEAD "--device CUDA0 -sm layer -ngl 33 -ts 33 -ncmoe 24 --no-op-offload" TAIL,
     "CUDA_VISIBLE_DEVICES=GPU-A0 GGML_VK_VISIBLE_DEVICES=" QUIET},
    {"blocks for multi-token prediction count on the last",
     {{"A", BACKEND_CUDA, 16, 0}, {"A", BACKEND_CUDA, 16, 1}},
     2,
     0,
     0,
     33,
     "A",
     "main",
     HEAD "--device CUDA0,CUDA1 -sm layer -ngl 34 -ts 16,18" TAIL,
     "CUDA_VISIBLE_DEVICES=GPU-A0,GPU-A1 GGML_VK_VISIBLE_DEVICES=" QUIET},
    {"Vulkan by index",
     {{"A", BACKEND_VULKAN, 12, 2}, {"A", BACKEND_VULKAN, 20, 0}},
     2,
     0,
     0,
     0,
     "A",
     "main",
     HEAD "--device Vulkan0,Vulkan1 -sm layer -ngl 33 -ts 12,21" TAIL,
     "CUDA_VISIBLE_DEVICES= GGML_VK_VISIBLE_DEVICES=2,0" QUIET},
    {"a GPU and the RAM of one member",
     {{"B", BACKEND_CPU, 2, 0}, {"B", BACKEND_CUDA, 30, 0}},
     2,
     0,
     0,
     0,
     "B",
     "rpc",
     "/e/ggml-rpc-server -H 127.0.0.1 -p 22000 -d CPU,CUDA0 -t 4",
     "CUDA_VISIBLE_DEVICES=GPU-B0 GGML_VK_VISIBLE_DEVICES=" QUIET " STOWAGE_DEVICE_BYTES=2001"},
    {"the output layer alone",
     {{"A", BACKEND_CUDA, 32, 0}, {"B", BACKEND_CUDA, 0, 0}},
     2,
     0,
     0,
     0,
     "A",
     "main",
     HEAD "--rpc 127.0.0.1:20001 --device CUDA0,RPC0 -sm layer -ngl 33 -ts 32,1" TAIL,
     "CUDA_VISIBLE_DEVICES=GPU-A0 GGML_VK_VISIBLE_DEVICES=" QUIET},
};

static void test_launch(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(LAUNCHES); i++) {
        const struct launch_case *c = &LAUNCHES[i];
        print_message("# %s\n", c->name);
        struct assignment a =
            make(c->parts, c->n_parts, c->n_cpu, 32, c->n_blocks ? c->n_blocks : 32);
        a.n_cpu_moe = c->n_moe;
        struct engine_site site = site_of(c->node);
        struct engine_launch l = {0};
        struct err err = {0};
        int rc = engine_find("llama.cpp")->launch(&a, &site, c->role, &l, &err);
        assert_string_equal(err.msg, "");
        assert_int_equal(rc, 0);
        mem_auto char *argv = joined(l.argv), *env = joined(l.env);
        assert_string_equal(argv, c->argv);
        assert_string_equal(env, c->env);
        assert_int_equal(l.port, strcmp(c->role, "main") == 0 ? 21000 : 22000);
        engine_launch_done(&l);
        assignment_done(&a);
    }
}

static void test_extra_env(void **state)
{
    const char *extra[] = {"GGML_VK_VISIBLE_DEVICES=7", "X=1", NULL};
    struct assignment a = make(NULL, 0, 32, 32, 32);
    struct engine_site site = site_of("A");
    site.extra_env = extra;
    struct engine_launch l = {0};
    assert_int_equal(engine_find("llama.cpp")->launch(&a, &site, "main", &l, NULL), 0);
    mem_auto char *env = joined(l.env);
    assert_string_equal(env, NO_GPU " GGML_VK_VISIBLE_DEVICES=7 X=1");
    engine_launch_done(&l);
    assignment_done(&a);
}

static const struct {
    const char *name;
    struct part parts[3];
    uint32_t n_parts, n_cpu;
    uint16_t port;
    const char *role;
    enum err_code code;
    const char *says;
} REFUSED[] = {
    {"RAM of the main as a part",
     {{"A", BACKEND_CPU, 32, 0}},
     1,
     0,
     21000,
     "main",
     ERR_UNSUPPORTED,
     "n_cpu_layers"},
    {"a device twice",
     {{"A", BACKEND_CUDA, 16, 0}, {"A", BACKEND_CUDA, 16, 0}},
     2,
     0,
     21000,
     "main",
     ERR_UNSUPPORTED,
     "GPU-A0"},
    {"layers missing",
     {{"A", BACKEND_CUDA, 30, 0}},
     1,
     0,
     21000,
     "main",
     ERR_INVALID,
     "layer 30 of 32"},
    {"no layer",
     {{"A", BACKEND_CUDA, 0, 0}, {"A", BACKEND_CUDA, 32, 1}},
     2,
     0,
     21000,
     "main",
     ERR_INVALID,
     "no layer"},
    {"a port of the kernel's",
     {{"A", BACKEND_CUDA, 32, 0}},
     1,
     0,
     40000,
     "main",
     ERR_INVALID,
     "40000"},
    {"no port", {{"A", BACKEND_CUDA, 32, 0}}, 1, 0, 0, "main", ERR_INVALID, "port 0"},
    {"rpc of a node that plays nothing",
     {{"A", BACKEND_CUDA, 32, 0}},
     1,
     0,
     21000,
     "rpc",
     ERR_INVALID,
     "no remote part"},
    {"another role", {{"A", BACKEND_CUDA, 32, 0}}, 1, 0, 21000, "draft", ERR_INVALID, "draft"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(REFUSED); i++) {
        print_message("# %s\n", REFUSED[i].name);
        struct assignment a = make(REFUSED[i].parts, REFUSED[i].n_parts, REFUSED[i].n_cpu, 32, 32);
        struct engine_site site = site_of("A");
        site.main_port = REFUSED[i].port;
        struct engine_launch l = {0};
        struct err err = {0};
        int rc = engine_find("llama.cpp")->launch(&a, &site, REFUSED[i].role, &l, &err);
        assert_int_equal(rc, -1);
        assert_int_equal(err.code, REFUSED[i].code);
        assert_non_null(strstr(err.msg, REFUSED[i].says));
        assert_null(l.argv[0]);
        assignment_done(&a);
    }
    struct assignment_part *parts = mem_calloc(257, sizeof *parts);
    struct assignment many = {.n_layers = 300,
                              .n_blocks = 300,
                              .ctx = 256,
                              .n_slots = 1,
                              .ubatch = 512,
                              .parts = parts,
                              .n_parts = 257};
    struct engine_site site = site_of("A");
    struct engine_launch l = {0};
    struct err err = {0};
    assert_int_equal(engine_find("llama.cpp")->launch(&many, &site, "main", &l, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.msg, "257 devices"));
    free(parts);
}

static void test_members(void **state)
{
    const struct part parts[] = {{"B", BACKEND_CUDA, 5, 0},
                                 {"A", BACKEND_CUDA, 5, 0},
                                 {"C", BACKEND_CPU, 5, 0},
                                 {"B", BACKEND_CUDA, 5, 1},
                                 {"A", BACKEND_FAKE, 12, 1}};
    struct assignment a = make(parts, 5, 0, 32, 32);
    const char *ids[8];
    const struct engine_driver *d = engine_find("llama.cpp");
    assert_int_equal(d->members(&a, ids, 8), 3);
    assert_string_equal(ids[0], "B");
    assert_string_equal(ids[1], "C");
    assert_string_equal(ids[2], "A");
    assert_int_equal(d->members(&a, ids, 1), 1);
    assert_null(engine_find("vllm"));
    /* 120 s, 1.6 GB of which crosses at 40 MB/s, 2 GB read at 100 MB/s: A's fake is no network */
    assert_int_equal(d->startup_ms(&a), 120000 + 30000 + 20000);
    assignment_done(&a);
}

/* ---- log lines ---- */

static const struct {
    const char *line;
    int kind; /* -1: says nothing */
    const char *device;
    uint64_t bytes;
    uint32_t layer;
    enum err_code code;
    const char *text;
} LINES[] = {
    {"0.00.044.122 I load_tensors: RPC0[127.0.0.1:20001] model buffer size =   123.45 MiB",
     ENGINE_WEIGHTS, "RPC0[127.0.0.1:20001]", 129446707, 0, 0, NULL},
    {"0.00.044.121 I load_tensors:   CPU_Mapped model buffer size =     0.27 MiB", ENGINE_WEIGHTS,
     "CPU_Mapped", 283116, 0, 0, NULL},
    {"0.00.049.020 I llama_kv_cache:      CUDA0 KV buffer size =     3.00 MiB", ENGINE_KV, "CUDA0",
     3145728, 0, 0, NULL},
    {"I llama_memory_recurrent:      CUDA0 RS buffer size =     0.50 MiB", ENGINE_KV, "CUDA0",
     524288, 0, 0, NULL},
    {"0.00.057.146 I sched_reserve:        CPU compute buffer size =     9.07 MiB", ENGINE_COMPUTE,
     "CPU", 9510584, 0, 0, NULL},
    {"0.00.037.849 D load_tensors: layer   3 assigned to device RPC2, is_swa = 0", ENGINE_LAYER,
     "RPC2", 0, 3, 0, NULL},
    {"  transport      : TCP", ENGINE_LISTENING, "", 0, 0, 0, NULL},
    {"0.04.9 D ~llama_context:        CPU compute buffer size is   7.5176 MiB, matches expectation",
     -1, NULL, 0, 0, 0, NULL},
    {"0.00.048.715 I llama_context:        CPU  output buffer size =     0.01 MiB", -1, NULL, 0, 0,
     0, NULL},
    {"load_tensors: model buffer size = 1.00 MiB", ENGINE_WEIGHTS, "load_tensors:", 1048576, 0, 0,
     NULL},
    {"x CPU model buffer size = nan MiB", -1, NULL, 0, 0, 0, NULL},
    {"x CPU model buffer size = 12 KiB", -1, NULL, 0, 0, 0, NULL},
    {"0.00.045 W [ggml_backend_rpc_buffer_type_alloc_buffer] endpoint: x, device: 0, size: 5 MiB "
     "-> failed",
     -1, NULL, 0, 0, 0, NULL},
    {"E graph_reserve: failed to allocate compute buffers", -1, NULL, 0, 0, 0, NULL},
    {"E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 21080",
     ENGINE_ERROR, "", 0, 0, ERR_CONFLICT, "port is taken"},
    {"Failed to create server socket", ENGINE_ERROR, "", 0, 0, ERR_CONFLICT, "port is taken"},
    {"E llama_model_load: error loading model: unable to allocate RPC0[127.0.0.1:20001] buffer",
     ENGINE_ERROR, "RPC0[127.0.0.1:20001]", 0, 0, ERR_LIMIT, "no memory for the weights"},
    {"E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv "
     "cache",
     ENGINE_ERROR, "", 0, 0, ERR_LIMIT, "KV cache"},
    {"E llama_init_from_model: failed to initialize the context: failed to allocate compute pp "
     "buffers",
     ENGINE_ERROR, "", 0, 0, ERR_LIMIT, "compute buffers"},
    {"terminate called after throwing an instance of 'std::bad_alloc'", ENGINE_ERROR, "", 0, 0,
     ERR_LIMIT, "out of RAM"},
    {"E llama_model_load: error loading model: tensor 'blk.4.x' data is not within the file "
     "bounds, model "
     "is corrupted or incomplete",
     ENGINE_ERROR, "", 0, 0, ERR_CORRUPT, "incomplete"},
    {"E gguf_init_from_reader: invalid magic characters: '&x', expected 'GGUF'", ENGINE_ERROR, "",
     0, 0, ERR_CORRUPT, "no GGUF"},
    {"E gguf_init_from_reader: failed to read key-value pairs", ENGINE_ERROR, "", 0, 0, ERR_CORRUPT,
     "failed to read key-value pairs"},
    {"E llama_model_load: error loading model: unknown model architecture: 'zz'", ENGINE_ERROR, "",
     0, 0, ERR_UNSUPPORTED, "'zz'"},
    {"Failed to connect to 127.0.0.1:20001", ENGINE_ERROR, "", 0, 0, ERR_UNREACHABLE,
     "127.0.0.1:20001"},
    {"ggml-rpc.cpp:482: Remote RPC server crashed or returned malformed response", ENGINE_ERROR, "",
     0, 0, ERR_UNREACHABLE, "broke"},
    {"error: invalid argument: --bogus", ENGINE_ERROR, "", 0, 0, ERR_UNSUPPORTED, "--bogus"},
    {"error: unknown device: CUDA0", ENGINE_ERROR, "", 0, 0, ERR_NOT_FOUND, "CUDA0"},
    {"CUDA error: out of memory", ENGINE_ERROR, "", 0, 0, ERR_LIMIT, "GPU memory"},
    {"", -1, NULL, 0, 0, 0, NULL},
    {"layer 99999999999999999999 assigned to device ", -1, NULL, 0, 0, 0, NULL},
};

static void test_lines(void **state)
{
    const struct engine_driver *d = engine_find("llama.cpp");
    for (size_t i = 0; i < ARRAY_LEN(LINES); i++) {
        print_message("# %s\n", LINES[i].line);
        struct engine_fact f = {0};
        bool said = d->read_line(LINES[i].line, &f);
        assert_int_equal(said ? (int)f.kind : -1, LINES[i].kind);
        if (!said)
            continue;
        assert_string_equal(f.device, LINES[i].device);
        assert_int_equal(f.bytes, LINES[i].bytes);
        assert_int_equal(f.layer, LINES[i].layer);
        assert_int_equal(f.code, LINES[i].code);
        if (LINES[i].text)
            assert_non_null(strstr(f.text, LINES[i].text));
    }
}

static void test_part_of(void **state)
{
    const struct part parts[] = {{"B", BACKEND_CUDA, 5, 0},
                                 {"A", BACKEND_FAKE, 5, 0},
                                 {"C", BACKEND_CPU, 5, 0},
                                 {"B", BACKEND_CUDA, 5, 1},
                                 {"A", BACKEND_CUDA, 12, 1}};
    static const struct {
        const char *device;
        int part;
    } CASES[] = {
        {"RPC0[127.0.0.1:20001]", 0},
        {"RPC1[127.0.0.1:20001]", 3},
        {"RPC0[127.0.0.1:22000]", 1},
        {"RPC0[127.0.0.1:20003]", 2},
        {"RPC1[127.0.0.1:20003]", ENGINE_PART_UNKNOWN},
        {"RPC0", 0},
        {"RPC1", 3},
        {"RPC2", 1},
        {"RPC3", 2},
        {"CUDA0", 4},
        {"CUDA1", ENGINE_PART_UNKNOWN},
        {"CPU", ENGINE_PART_HOST},
        {"CPU_Mapped", ENGINE_PART_HOST},
        {"CUDA_Host", ENGINE_PART_HOST},
        {"RPC0[10.0.0.1:20001]", ENGINE_PART_UNKNOWN},
    };
    struct assignment a = make(parts, 5, 0, 32, 32);
    struct engine_site site = site_of("A");
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("# %s\n", CASES[i].device);
        assert_int_equal(engine_find("llama.cpp")->part_of(&a, &site, CASES[i].device),
                         CASES[i].part);
    }
    assignment_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launch),  cmocka_unit_test(test_extra_env),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_members),
        cmocka_unit_test(test_lines),   cmocka_unit_test(test_part_of),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
