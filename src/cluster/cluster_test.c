/* cluster/: the cluster file, the wire forms, the life table. */
#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "cluster/deployment.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const char FILE_TEXT[] =
    "schema: stowage.cluster/1\n"
    "nodes:\n"
    "  - {name: hill, ram: 64GiB, gpus: [{name: RTX 3090, memory: 24GiB, free: 24124MiB, "
    "bandwidth: 936GB/s, count: 2}]}\n"
    "  - {name: dale, ram: 32GiB, gpus: [{name: RTX 4070, memory: 12GiB, bandwidth: 504GB/s},\n"
    "                                    {name: A100 SXM, memory: 40GiB}]}\n"
    "links: [{between: [hill, dale], bandwidth: 10Gbit/s, rtt: 0.1ms}]\n"
    "reserve: {margin: 256MiB, runtime: 600MiB}\n";

static int load(struct cluster_snapshot *s, const char *text, struct err *err)
{
    struct doc d;
    int rc = doc_parse(&d, "c.yaml", text, strlen(text), err) ? -1 : snapshot_from_doc(s, &d, err);
    doc_done(&d);
    return rc;
}

static void test_node_wire(void **state)
{
    struct cluster_snapshot s;
    struct err e = {0};
    snapshot_init(&s);
    assert_int_equal(load(&s, FILE_TEXT, &e), 0);
    json_t *doc = node_to_json(&s.nodes[0]);
    struct cluster_node n = {0};
    assert_int_equal(node_from_json(&n, doc, &e), 0);
    json_t *again = node_to_json(&n);
    assert_true(json_equal(doc, again));
    json_array_append(json_object_get(doc, "devices"),
                      json_array_get(json_object_get(doc, "devices"), 0));
    struct cluster_node twice = {0};
    assert_int_equal(node_from_json(&twice, doc, &e), -1);
    assert_non_null(strstr(e.msg, "twice"));
    json_decref(doc);
    json_decref(again);
    node_done(&n);
    snapshot_done(&s);
}

static void test_spec(void **state)
{
    static const struct {
        const char *text;
        const char *says; /* NULL: good */
    } cases[] = {
        {"{\"name\":\"qwen3:4b\",\"model\":\"/m/x.gguf\",\"gpus\":[\"hill:0\"]}", NULL},
        {"{\"name\":\"a b\",\"model\":\"/m/x.gguf\"}", "name"},
        {"{\"name\":\"\",\"model\":\"/m/x.gguf\"}", "name"},
        {"{\"name\":\"../x\",\"model\":\"/m/x.gguf\"}", "name"},
        {"{\"name\":\"a\",\"model\":\"x.gguf\"}", "absolute"},
        {"{\"name\":\"a\",\"model\":\"/x\",\"ctx\":-1}", "-1"},
        {"{\"name\":\"a\",\"model\":\"/x\",\"ctx\":99999999}", "99999999"},
        {"{\"name\":\"a\",\"model\":\"/x\",\"kv\":\"q5_0\"}", "q5_0"},
        {"{\"name\":\"a\",\"model\":\"/x\",\"policy\":\"best\"}", "best"},
        {"{\"name\":\"a\",\"model\":\"/x\",\"replcas\":2}", "replicas"},
        {"{\"name\":\"a\",\"model\":\"/x\",\"nodes\":\"hill\"}", "list"},
        {"{\"name\":7,\"model\":\"/x\"}", "must be text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        struct deployment_spec spec;
        json_t *doc = json_parse(cases[i].text, strlen(cases[i].text), &e);
        assert_non_null(doc);
        int rc = spec_from_json(&spec, doc, &e);
        if (cases[i].says) {
            assert_int_equal(rc, -1);
            if (!strstr(e.msg, cases[i].says))
                fail_msg("'%s' does not say '%s'", e.msg, cases[i].says);
        } else {
            assert_int_equal(rc, 0);
            assert_int_equal(spec.replicas, 1);
            assert_string_equal(spec.kv, "f16");
            json_t *back = spec_to_json(&spec);
            struct deployment_spec again;
            assert_int_equal(spec_from_json(&again, back, &e), 0);
            json_t *second = spec_to_json(&again);
            assert_true(json_equal(back, second));
            json_decref(back);
            json_decref(second);
        }
        json_decref(doc);
    }
}

static void test_assignment(void **state)
{
    struct assignment_part parts[2] = {{.node_id = "n-1",
                                        .node = "hill",
                                        .uuid = "GPU-1",
                                        .index = 1,
                                        .device_name = "RTX 3090",
                                        .backend = BACKEND_CUDA,
                                        .n_layers = 5,
                                        .weights_bytes = 10,
                                        .kv_bytes = 20,
                                        .compute_bytes = 30,
                                        .runtime_bytes = 40},
                                       {.node_id = "n-2",
                                        .node = "dale",
                                        .backend = BACKEND_CPU,
                                        .first_layer = 5,
                                        .n_layers = 3,
                                        .output = true}};
    struct assignment a = {.plan_id = "p-1",
                           .engine = "llama.cpp",
                           .main_id = "n-1",
                           .main_node = "hill",
                           .n_layers = 8,
                           .n_blocks = 8,
                           .ctx = 4096,
                           .n_slots = 1,
                           .ubatch = 512,
                           .kv = "f16",
                           .tok_s = 14.5,
                           .parts = parts,
                           .n_parts = 2};
    assert_int_equal(assignment_part_bytes(&parts[0]), 100);
    json_t *doc = assignment_to_json(&a);
    struct assignment b;
    struct err e = {0};
    assert_int_equal(assignment_from_json(&b, doc, &e), 0);
    json_t *again = assignment_to_json(&b);
    assert_true(json_equal(doc, again));
    assignment_done(&b);
    json_object_del(json_array_get(json_object_get(doc, "parts"), 1), "n_layers");
    assert_int_equal(assignment_from_json(&b, doc, &e), -1);
    assert_non_null(strstr(e.msg, "parts[1]"));
    json_decref(doc);
    json_decref(again);
}

static void test_life(void **state)
{
    /* the whole table, from row to column: P A F S R D G X L */
    static const char *const MAY[REPLICA_STATE_COUNT] = {".A....G..", "..FS.D.XL", "...SRD.XL",
                                                         "....RD.XL", ".....D.XL", "......G.L",
                                                         ".........", "P....DG..", "P....DG.."};
    for (int i = 0; i < REPLICA_STATE_COUNT; i++) {
        for (int k = 0; k < REPLICA_STATE_COUNT; k++)
            assert_int_equal(replica_may((enum replica_state)i, (enum replica_state)k),
                             MAY[i][k] != '.');
        enum replica_state s;
        assert_int_equal(replica_state_parse(replica_state_name((enum replica_state)i), &s, NULL),
                         0);
        assert_int_equal(s, i);
    }
    assert_int_equal(replica_backoff_ms(0), 0);
    assert_int_equal(replica_backoff_ms(1), 1000);
    assert_int_equal(replica_backoff_ms(4), 8000);
    assert_int_equal(replica_backoff_ms(100), 300000);
    assert_true(replica_deadline_ms(REPLICA_STARTING, 400 * GIB) >
                replica_deadline_ms(REPLICA_STARTING, 0));
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_wire),
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_assignment),
        cmocka_unit_test(test_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
