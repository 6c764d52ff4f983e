/* The cluster file: what is read, what is refused and with which words, and that a snapshot which
 * is written plans the same when it is read again. */
#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "cluster/cluster.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static int load(struct cluster_snapshot *s, const char *text, struct err *err)
{
    struct doc d;
    int rc = doc_parse(&d, "c.yaml", text, strlen(text), err);
    if (!rc)
        rc = snapshot_from_doc(s, &d, err);
    doc_done(&d);
    return rc;
}

static const char FULL[] =
    "schema: stowage.cluster/1\n"
    "nodes:\n"
    "  - name: hill\n"
    "    ram: 64GiB\n"
    "    ram_free: 50GiB\n"
    "    cpus: 16\n"
    "    labels: {rack: r1, zone: 'a=b'}\n"
    "    files: [/models/a.gguf, /b.gguf]\n"
    "    gpus:\n"
    "      - {name: RTX 3090, memory: 24GiB, bandwidth: 936GB/s, count: 2, power: 350W, price: "
    "699.5}\n"
    "      - {name: A100 SXM, memory: 40GiB, free: 38GiB, uuid: GPU-1f3c, index: 5}\n"
    "  - {name: dale, ram: 32GiB, state: drained, reason: psu swap,\n"
    "     gpus: [{name: RTX 4070, memory: 12GiB, backend: vulkan, hbm: true}]}\n"
    "links:\n"
    "  - {between: all, bandwidth: 10Gbit/s, rtt: 0.1ms}\n"
    "  - {between: [hill, dale], bandwidth: 1Gbit/s, rtt: 0.25ms}\n"
    "reserve: {margin: 256MiB, runtime: 600MiB}\n"
    "engine: {devices: 0}\n"
    "instances:\n"
    "  - name: qwen\n"
    "    main: hill\n"
    "    main_ram: 2GiB\n"
    "    parts: [{gpu: 'hill:0', bytes: 20GiB}, {gpu: GPU-1f3c, bytes: 1GiB}, {ram: dale, bytes: "
    "3GiB}]\n"
    "    spec: {model: /m/q.gguf, ctx: 4096, max_gpus: 3}\n"
    "  - {name: qwen, replica: 1, pinned: true, main: hill, parts: [{gpu: 'hill:5', bytes: "
    "1GiB}]}\n";

static void check_full(const struct cluster_snapshot *s)
{
    const struct cluster_node *hill = &s->nodes[0], *dale = &s->nodes[1];
    assert_int_equal(s->n_nodes, 2);
    assert_string_equal(hill->name, "hill");
    assert_true(hill->ram_bytes == 64 * GIB && hill->ram_free_bytes == 50 * GIB);
    assert_int_equal(hill->n_cpus, 16);
    assert_int_equal(hill->n_labels, 2);
    assert_string_equal(hill->labels[0], "rack=r1");
    assert_string_equal(hill->labels[1], "zone=a=b");
    assert_int_equal(hill->n_files, 2);
    assert_string_equal(hill->files[0], "/models/a.gguf");
    assert_int_equal(hill->n_devices, 3);
    const struct cluster_device *d = hill->devices;
    /* free by default: all but what instances hold */
    assert_true(d[0].free_bytes == 4 * GIB && d[0].claimed_bytes == 20 * GIB);
    assert_true(d[1].free_bytes == 24 * GIB && d[1].claimed_bytes == 0);
    assert_true(d[2].free_bytes == 38 * GIB && d[2].claimed_bytes == 2 * GIB);
    assert_string_equal(d[1].uuid, "hill:1");
    assert_string_equal(d[2].uuid, "GPU-1f3c");
    assert_true(d[1].index == 1 && d[2].index == 5);
    assert_true(d[1].tdp_w == 350 && d[1].price == 699.5 && d[1].bandwidth_bytes_per_s == 936e9);
    assert_true(d[2].tdp_w == 0 && d[2].price == 0 && d[2].bandwidth_bytes_per_s == 0);
    assert_true(!d[1].hbm && d[2].hbm && dale->devices[0].hbm);
    assert_int_equal(d[1].backend, BACKEND_CUDA);
    assert_int_equal(dale->devices[0].backend, BACKEND_VULKAN);
    assert_int_equal(dale->state, NODE_DRAINED);
    assert_string_equal(dale->reason, "psu swap");
    assert_true(dale->ram_free_bytes == 29 * GIB);
    assert_int_equal(s->n_links, 2);
    assert_true(snapshot_link(s, 1, 0).bytes_per_s == 125e6);
    assert_true(snapshot_link(s, 1, 0).rtt_s == 0.25e-3);
    assert_true(s->margin_bytes == 256 * MIB && s->engine_devices == 0);
    assert_int_equal(s->n_instances, 2);
    const struct cluster_instance *x = s->instances;
    assert_string_equal(x[0].deployment, "qwen");
    assert_true(x[0].main == 0 && x[0].main_ram_bytes == 2 * GIB && x[0].n_parts == 3);
    assert_true(x[0].parts[1].node == 0 && x[0].parts[1].device == 2);
    assert_true(x[0].parts[2].node == 1 && x[0].parts[2].device == UINT32_MAX);
    assert_true(x[0].parts[2].bytes == 3 * GIB);
    assert_int_equal(json_integer_value(json_object_get(x[0].spec, "max_gpus")), 3);
    assert_true(x[1].index == 1 && x[1].pinned && !x[1].spec);
}

static void test_full(void **state)
{
    struct cluster_snapshot s, t;
    struct err e = {0};
    snapshot_init(&s);
    snapshot_init(&t);
    int rc = load(&s, FULL, &e);
    assert_string_equal(e.msg, "");
    assert_int_equal(rc, 0);
    check_full(&s);
    /* written out and read again, from the tree and from its text, it is the same cluster */
    json_t *tree = snapshot_to_json(&s);
    assert_int_equal(snapshot_from_json(&t, tree, &e), 0);
    check_full(&t);
    json_t *again = snapshot_to_json(&t);
    assert_true(json_equal(tree, again));
    char *text = json_text(tree);
    assert_int_equal(load(&t, text, &e), 0);
    check_full(&t);
    free(text);
    json_decref(tree);
    json_decref(again);
    snapshot_done(&s);
    snapshot_done(&t);
}

#define S "schema: stowage.cluster/1\n"
#define A S "nodes: [{name: a, ram: 1GiB}, {name: dale, ram: 1GiB}]\n"
#define GPU(text)                                                                                  \
    S "nodes:\n- name: hill\n  ram: 1GiB\n  gpus:\n  - {name: x, memory: 8GiB}\n  - " text "\n"
#define LINK(text) A "links:\n- " text "\n"
#define INSTANCE(text) GPU("{name: y, memory: 8GiB}") "instances:\n- " text "\n"

static const struct {
    const char *text, *says;
} BAD[] = {
    {"", "c.yaml:1: the document is empty"},
    {"[1]\n", "c.yaml:1: must be a mapping (key: value), found a list"},
    {"nodes: []\n", "c.yaml:1: 'schema' is missing; write schema: stowage.cluster/1"},
    {"nodes: []\nschema: stowage.cluster/2\n", "c.yaml:2: schema: 'stowage.cluster/2' is not read "
                                               "here; this program reads stowage.cluster/1"},
    {S, "c.yaml:1: 'nodes' is missing"},
    {S "nodse: []\n", "c.yaml:2: unknown key 'nodse'; did you mean 'nodes'?"},
    {S "nodes: []\nnodes: []\n", "c.yaml:3: key 'nodes' is there twice, first in line 2"},
    {S "nodes:\n", "c.yaml:2: nodes: has no value"},
    {S "nodes: hill\n", "c.yaml:2: nodes: must be a list, found 'hill'"},
    {S "nodes: [hill]\n", "c.yaml:2: nodes[0]: must be a mapping (key: value), found 'hill'"},
    /* nodes */
    {S "nodes:\n- name: a\n", "c.yaml:3: nodes[0]: 'ram' is missing"},
    {S "nodes:\n- name: a\n  ram: 1GiB\n  gpu: []\n",
     "c.yaml:5: nodes[0]: unknown key 'gpu'; did you mean 'gpus'?"},
    {S "nodes:\n- {name: a b, ram: 1GiB}\n",
     "c.yaml:3: nodes[0].name: 'a b' must be letters, digits, '.', '_' or '-', and not begin with "
     "'.' or '-'"},
    {S "nodes:\n- name: 7\n  ram: 1GiB\n",
     "c.yaml:3: nodes[0].name: must be text, found 7; put it in quotes"},
    {S "nodes:\n- {name: a, ram: 1GiB}\n- {name: b, ram: 1GiB}\n- ram: 1GiB\n  name: a\n",
     "c.yaml:6: nodes[2].name: 'a' is the name of nodes[0] too, in line 3"},
    {S "nodes:\n- {name: a, ram: 0}\n", "c.yaml:3: nodes[0].ram: 0 is outside 1MiB to 1PiB"},
    {S "nodes:\n- {name: a, ram: 64}\n",
     "c.yaml:3: nodes[0].ram: 64 is outside 1MiB to 1PiB; a number without a unit counts bytes"},
    {S "nodes:\n- {name: a, ram: -1GiB}\n",
     "c.yaml:3: nodes[0].ram: '-1GiB' is not a size; write for example 24GiB or 512MiB"},
    {S "nodes:\n- {name: a, ram: .inf}\n",
     "c.yaml:3: nodes[0].ram: '.inf' is not a size; write for example 24GiB or 512MiB"},
    {S "nodes:\n- {name: a, ram: 1GiB, ram_free: 2GiB}\n",
     "c.yaml:3: nodes[0].ram_free: 2.0 GiB free of 1.0 GiB"},
    {S "nodes:\n- {name: a, ram: 1GiB, cpus: 0}\n",
     "c.yaml:3: nodes[0].cpus: 0 is outside 1 to 65536"},
    {S "nodes:\n- {name: a, ram: 1GiB, state: redy}\n",
     "c.yaml:3: nodes[0].state: 'redy' is none of ready, drained, lost; did you mean 'ready'?"},
    {S "nodes:\n- {name: a, ram: 1GiB, labels: [rack]}\n",
     "c.yaml:3: nodes[0].labels: must be a mapping (key: value), found a list"},
    {S "nodes:\n- name: a\n  ram: 1GiB\n  labels:\n    rack: 7\n",
     "c.yaml:6: nodes[0].labels.rack: must be text, found 7; put it in quotes"},
    {S "nodes:\n- {name: a, ram: 1GiB, labels: {a=b: c}}\n",
     "c.yaml:3: nodes[0].labels.a=b: a label's key must be text without '='"},
    {S "nodes:\n- {name: a, ram: 1GiB, files: [/a, '']}\n",
     "c.yaml:3: nodes[0].files[1]: is empty"},
    {S "nodes:\n- {name: a, ram: 1GiB, files: [b.gguf]}\n",
     "c.yaml:3: nodes[0].files[0]: 'b.gguf' must be an absolute path"},
    /* GPUs */
    {GPU("{name: y, memory: 8GiB, memroy: 8GiB}"),
     "c.yaml:7: nodes[0].gpus[1]: unknown key 'memroy'; did you mean 'memory'?"},
    {GPU("{name: y, memory: 24 GB/s}"),
     "c.yaml:7: nodes[0].gpus[1].memory: '24 GB/s' is not a size; did you mean the unit GB?"},
    {GPU("{name: y, memory: 24Gib}"),
     "c.yaml:7: nodes[0].gpus[1].memory: '24Gib' is not a size; did you mean the unit GiB?"},
    {GPU("{name: y, memory: 12 parsecs}"),
     "c.yaml:7: nodes[0].gpus[1].memory: '12 parsecs' is not a size; write for example 24GiB or "
     "512MiB"},
    {GPU("{name: y, memory: 2PiB}"),
     "c.yaml:7: nodes[0].gpus[1].memory: '2PiB' is outside 1MiB to 1PiB"},
    {GPU("{name: y, memory: 8GiB, free: 9GiB}"),
     "c.yaml:7: nodes[0].gpus[1].free: 9.0 GiB free of 8.0 GiB"},
    {GPU("{name: y, memory: 8GiB, free: -1}"),
     "c.yaml:7: nodes[0].gpus[1].free: -1 is outside 0 to 1PiB"},
    {GPU("{name: y, memory: 8GiB, bandwidth: 936GiB}"),
     "c.yaml:7: nodes[0].gpus[1].bandwidth: '936GiB' is not a rate; did you mean the unit GiB/s?"},
    {GPU("{name: y, memory: 8GiB, bandwidth: 5e15}"),
     "c.yaml:7: nodes[0].gpus[1].bandwidth: 5e+15 is outside 1MB/s to 1000TB/s"},
    {GPU("{name: y, memory: 8GiB, bandwidth: -0.0}"),
     "c.yaml:7: nodes[0].gpus[1].bandwidth: -0 is outside 1MB/s to 1000TB/s"},
    {GPU("{name: y, memory: 8GiB, count: 1000000}"),
     "c.yaml:7: nodes[0].gpus[1].count: 1000000 is outside 1 to 1024"},
    {GPU("{name: y, memory: 8GiB, count: 1024}"),
     "c.yaml:7: nodes[0].gpus[1]: node 'hill' has more than 1024 GPUs"},
    {GPU("{name: y, memory: 8GiB, count: 2, uuid: u}"),
     "c.yaml:7: nodes[0].gpus[1]: uuid and index belong to one card, but count is 2"},
    {GPU("{name: y, memory: 8GiB, index: 0}"),
     "c.yaml:7: nodes[0].gpus[1]: hill:0 is there already; give each GPU its own index"},
    {GPU("{name: y, memory: 8GiB, uuid: 'hill:0'}"),
     "c.yaml:7: nodes[0].gpus[1]: uuid 'hill:0' is that of hill:0 too"},
    {GPU("{name: y, memory: 8GiB, uuid: U}\n- {name: b, ram: 1GiB, gpus: [{name: z, memory: 8GiB, "
         "uuid: U}]}"),
     "c.yaml:8: nodes[1].gpus[0]: uuid 'U' is that of hill:1 too"},
    {GPU("{name: y, memory: 8GiB, backend: rocm}"),
     "c.yaml:7: nodes[0].gpus[1].backend: 'rocm' is none of cuda, vulkan, cpu, fake"},
    {GPU("{name: y, memory: 8GiB, hbm: yes}"),
     "c.yaml:7: nodes[0].gpus[1].hbm: must be true or false, found 'yes'"},
    {GPU("{name: y, memory: 8GiB, power: 350V}"),
     "c.yaml:7: nodes[0].gpus[1].power: '350V' is not a power; write for example 350W"},
    {GPU("{name: y, memory: 8GiB, price: .nan}"),
     "c.yaml:7: nodes[0].gpus[1].price: must be a number, found '.nan'"},
    {GPU("{name: y, memory: 8GiB, price: 700 EUR}"),
     "c.yaml:7: nodes[0].gpus[1].price: must be a number, found '700 EUR'"},
    {GPU("{name: y, memory: 8GiB, price: -1}"),
     "c.yaml:7: nodes[0].gpus[1].price: -1 is outside 0.01 to 1000000000"},
    /* links */
    {A "links: 5\n", "c.yaml:3: links: must be a list, found 5"},
    {LINK("{between: all, rtt: 1ms}"), "c.yaml:4: links[0]: 'bandwidth' is missing"},
    {LINK("{between: [a], bandwidth: 1Gbit/s, rtt: 1ms}"),
     "c.yaml:4: links[0].between: must be all, or two nodes: [a, b]"},
    {LINK("{between: al, bandwidth: 1Gbit/s, rtt: 1ms}"),
     "c.yaml:4: links[0].between: must be all, or two nodes: [a, b]"},
    {LINK("{between: [a, dael], bandwidth: 1Gbit/s, rtt: 1ms}"),
     "c.yaml:4: links[0].between[1]: there is no node 'dael' in this file; did you mean 'dale'?"},
    {LINK("{between: [a, a], bandwidth: 1Gbit/s, rtt: 1ms}"),
     "c.yaml:4: links[0].between: a link from 'a' to itself"},
    {LINK("{between: [a, dale], bandwidth: 1Gbit/s, rtt: 1ms}\n- {between: [dale, a], bandwidth: "
          "1Gbit/s, rtt: 1ms}"),
     "c.yaml:5: links[1].between: 'dale' and 'a' have a link already, links[0]"},
    {LINK("{between: all, bandwidth: 1Gbit/s, rtt: 1ms}\n- {between: all, bandwidth: 1Gbit/s, rtt: "
          "1ms}"),
     "c.yaml:5: links[1].between: links[0] is for all pairs already"},
    {LINK("{between: all, bandwidth: 0, rtt: 1ms}"),
     "c.yaml:4: links[0].bandwidth: 0 is outside 1KB/s to 1000TB/s"},
    {LINK("{between: all, bandwidth: 1e999, rtt: 1ms}"),
     "c.yaml:4: links[0].bandwidth: '1e999' is not a rate; write for example 936GB/s or 10Gbit/s"},
    {LINK("{between: all, bandwidth: 1Gbit/s, rtt: 1h}"),
     "c.yaml:4: links[0].rtt: '1h' is outside 0 to 10s"},
    {LINK("{between: all, bandwidth: 1Gbit/s, rtt: 1}"),
     "c.yaml:4: links[0].rtt: found 1; write for example 0.2ms or 30s"},
    /* reserve, engine */
    {A "reserve: {margins: 1}\n",
     "c.yaml:3: reserve: unknown key 'margins'; did you mean 'margin'?"},
    {A "reserve: {margin: 2TiB}\n", "c.yaml:3: reserve.margin: '2TiB' is outside 0 to 1TiB"},
    {A "reserve: []\n", "c.yaml:3: reserve: must be a mapping (key: value), found a list"},
    {A "engine: {devices: -1}\n", "c.yaml:3: engine.devices: -1 is outside 0 to 1024"},
    /* instances */
    {INSTANCE("{name: q}"), "c.yaml:9: instances[0]: 'main' is missing"},
    {INSTANCE("{name: q, main: hil}"),
     "c.yaml:9: instances[0].main: there is no node 'hil' in this file; did you mean 'hill'?"},
    {INSTANCE("{name: q, main: hill, parts: [{bytes: 1GiB}]}"),
     "c.yaml:9: instances[0].parts[0]: must have one of gpu (node:index or uuid) and ram (a node)"},
    {INSTANCE("{name: q, main: hill, parts: [{gpu: 'hill:2', bytes: 1GiB}]}"),
     "c.yaml:9: instances[0].parts[0].gpu: there is no GPU 'hill:2' in this file; 'hill' has 2 "
     "GPUs"},
    {INSTANCE("{name: q, main: hill, parts: [{gpu: 'hlil:1', bytes: 1GiB}]}"),
     "c.yaml:9: instances[0].parts[0].gpu: there is no GPU 'hlil:1' in this file; did you mean "
     "'hill:1'?"},
    {INSTANCE("{name: q, main: hill, parts: [{gpu: GPU-7, bytes: 1GiB}]}"),
     "c.yaml:9: instances[0].parts[0].gpu: there is no GPU 'GPU-7' in this file; name one as "
     "node:index or by uuid"},
    {INSTANCE("{name: q, main: hill, parts: [{gpu: 'hill:1', bytes: 0}]}"),
     "c.yaml:9: instances[0].parts[0].bytes: 0 is outside 1 to 1PiB"},
    {INSTANCE(
         "{name: q, main: hill, parts: [{gpu: 'hill:1', bytes: 1}, {gpu: 'hill:1', bytes: 1}]}"),
     "c.yaml:9: instances[0].parts[1]: is the same place as parts[0]"},
    {INSTANCE("{name: q, main: hill, parts: [{gpu: 'hill:1', bytes: 9GiB}]}"),
     "c.yaml:3: nodes[0]: hill:1: instances hold 9.0 GiB and 0 B is free, of 8.0 GiB"},
    {INSTANCE("{name: q, main: hill, main_ram: 2GiB}"),
     "c.yaml:3: nodes[0]: RAM: instances hold 2.0 GiB and 0 B is free, of 1.0 GiB"},
    {INSTANCE("{name: q, main: hill}\n- {name: q, main: hill}"),
     "c.yaml:10: instances[1]: replica 0 of 'q' is there twice"},
    {INSTANCE("{name: q, main: hill, spec: {model: q.gguf}}"),
     "c.yaml:9: instances[0].spec: model 'q.gguf' must be an absolute path"},
    {INSTANCE("{name: q, main: hill, spec: {name: r, model: /q.gguf}}"),
     "c.yaml:9: instances[0].spec: is that of 'r', but the instance's name is 'q'"},
};

static void test_bad(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct cluster_snapshot s;
        struct err e = {0};
        snapshot_init(&s);
        assert_int_equal(load(&s, BAD[i].text, &e), -1);
        assert_string_equal(e.msg, BAD[i].says);
        assert_int_equal(err_info(e.code)->exit, 2);
        assert_int_equal(s.n_nodes, 0);
        snapshot_done(&s);
    }
}

/* n nodes with `gpus` GPUs each, as one text. */
static char *many(uint32_t n, uint32_t gpus)
{
    struct buf b;
    buf_init(&b, JSON_BYTES_MAX);
    buf_adds(&b, S "nodes:\n");
    for (uint32_t i = 0; i < n; i++) {
        buf_addf(&b, "- {name: n%u, ram: 1GiB", i);
        buf_addf(&b, gpus ? ", gpus: [{name: x, memory: 1GiB, count: %u}]}\n" : "}\n", gpus);
    }
    return buf_take(&b);
}

static void test_limits(void **state)
{
    static const struct {
        uint32_t nodes, gpus;
        const char *says; /* NULL: read */
    } cases[] = {
        {CLUSTER_MAX_NODES, 1, NULL},
        {CLUSTER_MAX_NODES + 1, 0, "c.yaml:2: nodes: 100001 items; at most 100000 are allowed"},
        {100, 1000, NULL},
        {101, 1000, "c.yaml:103: nodes[100].gpus[0]: more than 100000 GPUs in one cluster"},
        {1000, 1000, "c.yaml:103: nodes[100].gpus[0]: more than 100000 GPUs in one cluster"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cluster_snapshot s;
        struct err e = {0};
        snapshot_init(&s);
        char *text = many(cases[i].nodes, cases[i].gpus);
        int rc = load(&s, text, &e);
        assert_string_equal(e.msg, cases[i].says ? cases[i].says : "");
        assert_int_equal(rc, cases[i].says ? -1 : 0);
        assert_int_equal(s.n_nodes, cases[i].says ? 0 : cases[i].nodes);
        free(text);
        snapshot_done(&s);
    }
}

/* Lists and mappings with one item too many: counted before anything is made of them. */
static void test_lengths(void **state)
{
    static const struct {
        const char *before, *item, *after; /* item NULL: keys that differ */
        int n;
        const char *says;
    } cases[] = {
        {S "nodes:\n- {name: a, ram: 1GiB, files: [", "/f", "]}\n", CLUSTER_MAX_FILES,
         "c.yaml:3: nodes[0].files: 4097 items; at most 4096 are allowed"},
        {S "nodes:\n- {name: a, ram: 1GiB, labels: {", NULL, "}}\n", CLUSTER_MAX_LABELS,
         "c.yaml:3: nodes[0].labels: 65 keys; at most 64 are allowed"},
        {S "nodes:\n- {name: a, ram: 1GiB, gpus: [", "{}", "]}\n", CLUSTER_MAX_NODE_DEVICES,
         "c.yaml:3: nodes[0].gpus: 1025 items; at most 1024 are allowed"},
        {A "links: [", "0", "]\n", CLUSTER_MAX_LINKS,
         "c.yaml:3: links: 100001 items; at most 100000 are allowed"},
        {A "instances: [", "0", "]\n", CLUSTER_MAX_INSTANCES,
         "c.yaml:3: instances: 100001 items; at most 100000 are allowed"},
        {A "instances:\n- {name: q, main: a, parts: [", "0", "]}\n", CLUSTER_MAX_NODE_DEVICES,
         "c.yaml:4: instances[0].parts: 1025 items; at most 1024 are allowed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cluster_snapshot s;
        struct err e = {0};
        buf_auto struct buf b;
        snapshot_init(&s);
        buf_init(&b, JSON_BYTES_MAX);
        buf_adds(&b, cases[i].before);
        for (int k = 0; k <= cases[i].n; k++) {
            if (cases[i].item)
                buf_addf(&b, "%s,", cases[i].item);
            else
                buf_addf(&b, "k%d: v,", k);
        }
        buf_adds(&b, cases[i].after);
        assert_int_equal(load(&s, b.p, &e), -1);
        assert_string_equal(e.msg, cases[i].says);
        snapshot_done(&s);
    }
}

static void test_label_length(void **state)
{
    char text[400];
    struct cluster_snapshot s;
    struct err e = {0};
    snapshot_init(&s);
    str_copyf(text, sizeof text, S "nodes:\n- {name: a, ram: 1GiB, labels: {kk: v%0*d}}\n",
              CLUSTER_LABEL - 5, 0);
    assert_int_equal(load(&s, text, &e), 0);
    assert_int_equal(strlen(s.nodes[0].labels[0]), CLUSTER_LABEL - 1);
    str_copyf(text, sizeof text, S "nodes:\n- {name: a, ram: 1GiB, labels: {kk: v%0*d}}\n",
              CLUSTER_LABEL - 4, 0);
    assert_int_equal(load(&s, text, &e), -1);
    assert_string_equal(e.msg,
                        "c.yaml:3: nodes[0].labels.kk: a label of 80 bytes; key=value may have 79");
    snapshot_done(&s);
}

/* What only live nodes can have: cards without a name, or with the same bus address for a uuid;
 * reasons of people. A snapshot of them is read again. */
static void test_live(void **state)
{
    struct cluster_snapshot s, t;
    struct err e = {0};
    snapshot_init(&s);
    snapshot_init(&t);
    for (int i = 0; i < 2; i++) {
        struct cluster_node *n = snapshot_add_node(&s);
        str_copyf(n->name, sizeof n->name, "n%d", i);
        str_copyf(n->id, sizeof n->id, "id-%d", i);
        STR_COPY(n->reason, "line\nline");
        n->state = NODE_DRAINED;
        n->ram_bytes = n->ram_free_bytes = GIB;
        struct cluster_device *d = node_add_device(n);
        STR_COPY(d->uuid, "PCI-0000:03:00.0");
        d->total_bytes = d->free_bytes = GIB;
    }
    json_t *tree = snapshot_to_json(&s);
    int rc = snapshot_from_json(&t, tree, &e);
    assert_string_equal(e.msg, "");
    assert_int_equal(rc, 0);
    assert_string_equal(t.nodes[1].id, "id-1");
    assert_string_equal(t.nodes[0].reason, "line?line");
    assert_string_equal(t.nodes[0].devices[0].uuid, "PCI-0000:03:00.0");
    assert_string_equal(t.nodes[1].devices[0].uuid, "n1:0");
    assert_string_equal(t.nodes[1].devices[0].name, "unknown");
    json_decref(tree);
    snapshot_done(&s);
    snapshot_done(&t);
}

/* Names as long as they may be still give every node and GPU an id of its own. */
static void test_long_names(void **state)
{
    char text[1000], a[CLUSTER_NAME], b[CLUSTER_NAME];
    memset(a, 'n', sizeof a);
    a[sizeof a - 1] = 0;
    memcpy(b, a, sizeof b);
    b[sizeof b - 2] = 'm';
    str_copyf(text, sizeof text,
              S "nodes:\n- {name: %s, ram: 1GiB, gpus: [{name: x, memory: 1GiB, count: 2}]}\n"
                "- {name: %s, ram: 1GiB, gpus: [{name: x, memory: 1GiB, count: 2}]}\n",
              a, b);
    struct cluster_snapshot s;
    struct err e = {0};
    snapshot_init(&s);
    assert_int_equal(load(&s, text, &e), 0);
    assert_string_not_equal(s.nodes[0].id, s.nodes[1].id);
    assert_string_not_equal(s.nodes[0].devices[0].uuid, s.nodes[1].devices[0].uuid);
    assert_string_not_equal(s.nodes[0].devices[0].uuid, s.nodes[0].devices[1].uuid);
    json_t *tree = snapshot_to_json(&s);
    assert_int_equal(snapshot_from_json(&s, tree, &e), 0);
    json_decref(tree);
    snapshot_done(&s);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),       cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_live),
        cmocka_unit_test(test_lengths),    cmocka_unit_test(test_label_length),
        cmocka_unit_test(test_long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
