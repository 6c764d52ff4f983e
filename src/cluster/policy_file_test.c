/* Policies, constraints and specs as documents: what is read, what is refused and with which words.
 */
#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "cluster/deployment.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#define S "schema: stowage.policy/1\nname: own\n"
#define T S "terms: [nodes]\n"
#define C T "constraints:\n  "
#define W S "mode: weighted\nterms:\n"

static int load(struct policy *p, struct constraints *c, const char *text, struct err *err)
{
    struct doc d;
    int rc = doc_parse(&d, "p.yaml", text, strlen(text), err);
    if (!rc)
        rc = policy_file_read(p, c, &d, err);
    doc_done(&d);
    return rc;
}

static const struct {
    const char *text, *says;
} BAD[] = {
    {"", "p.yaml:1: the document is empty"},
    {"name: a\n", "p.yaml:1: 'schema' is missing; write schema: stowage.policy/1"},
    {"schema: stowage.cluster/1\n",
     "p.yaml:1: schema: 'stowage.cluster/1' is not read here; this program reads stowage.policy/1"},
    {"schema: stowage.policy/1\nterms: [nodes]\n", "p.yaml:1: 'name' is missing"},
    {S, "p.yaml:1: 'terms' is missing"},
    {S "terms:\n", "p.yaml:3: terms: has no value"},
    {S "terms: []\n", "p.yaml:3: terms: a policy needs at least one term, token_time for example"},
    {S "terms: nodes\n", "p.yaml:3: terms: must be a list, found 'nodes'"},
    {S "trems: [nodes]\n", "p.yaml:3: unknown key 'trems'; did you mean 'terms'?"},
    {S "terms:\n- nodes\n- token_tmie\n",
     "p.yaml:5: terms[1]: 'token_tmie' is not known; did you mean 'token_time'?"},
    {S "terms: [speediness]\n",
     "p.yaml:3: terms[0]: 'speediness' is none of offload, nodes, gpus, token_time, stream_time, "
     "hops, leftover, whole, spread, load, locality, power, price"},
    {S "terms: [7]\n", "p.yaml:3: terms[0]: must be a mapping (key: value), found 7"},
    {S "terms:\n- nodes\n- gpus\n- nodes\n",
     "p.yaml:6: terms[2]: 'nodes' is given twice, first as terms[0]"},
    {S "mode: wieghted\nterms: [nodes]\n",
     "p.yaml:3: mode: 'wieghted' is none of lexicographic, weighted; did you mean 'weighted'?"},
    {S "terms:\n- {term: nodes, weight: 2}\n",
     "p.yaml:4: terms[0].weight: a lexicographic policy compares terms one after the other and has "
     "no weights; write mode: weighted"},
    {W "- {weight: 2}\n", "p.yaml:5: terms[0]: 'term' is missing"},
    {W "- {term: [nodes], weight: 2}\n",
     "p.yaml:5: terms[0].term: a list is none of offload, nodes, gpus, token_time, stream_time, "
     "hops, leftover, whole, spread, load, locality, power, price"},
    {W "- {term: nodes, wieght: 2}\n",
     "p.yaml:5: terms[0]: unknown key 'wieght'; did you mean 'weight'?"},
    {W "- {term: nodes, weight: 0}\n", "p.yaml:5: terms[0].weight: 0 is outside 1e-12 to 1e+12"},
    {W "- {term: nodes, weight: -0.0}\n",
     "p.yaml:5: terms[0].weight: -0 is outside 1e-12 to 1e+12"},
    {W "- {term: nodes, weight: -1}\n", "p.yaml:5: terms[0].weight: -1 is outside 1e-12 to 1e+12"},
    {W "- {term: nodes, weight: .nan}\n",
     "p.yaml:5: terms[0].weight: must be a number, found '.nan'"},
    {W "- {term: nodes, weight: .inf}\n",
     "p.yaml:5: terms[0].weight: must be a number, found '.inf'"},
    {W "- {term: nodes, weight: 1e13}\n",
     "p.yaml:5: terms[0].weight: 1e+13 is outside 1e-12 to 1e+12"},
    {T "streams: 0\n", "p.yaml:4: streams: 0 is outside 1 to 4096"},
    {T "domain: 7\n", "p.yaml:4: domain: must be text, found 7; put it in quotes"},
    /* constraints */
    {T "constraints: [no_ram]\n",
     "p.yaml:4: constraints: must be a mapping (key: value), found a list"},
    {C "no_rma: true\n", "p.yaml:5: constraints: unknown key 'no_rma'; did you mean 'no_ram'?"},
    {C "no_ram: 1\n", "p.yaml:5: constraints.no_ram: must be true or false, found 1"},
    {C "nodes: hill\n", "p.yaml:5: constraints.nodes: must be a list, found 'hill'"},
    {C "nodes: [hill, 7]\n",
     "p.yaml:5: constraints.nodes[1]: must be text, found 7; put it in quotes"},
    {C "labels: [rack]\n", "p.yaml:4: constraints: label 'rack' must be key=value"},
    {C "max_nodes: -1\n", "p.yaml:5: constraints.max_nodes: -1 is outside 0 to 100000"},
    {C "min_tok_s: fast\n", "p.yaml:5: constraints.min_tok_s: must be a number, found 'fast'"},
    {C "min_tok_s: -1\n", "p.yaml:5: constraints.min_tok_s: -1 is outside 0 to 1000000000"},
    {C "max_gpus: 2\n  gpus_per_replica: 3\n",
     "p.yaml:4: constraints: gpus_per_replica is 3, but max_gpus is 2"},
    {C "tensor_split: [1, 2]\n",
     "p.yaml:4: constraints: tensor_split has 2 entries, gpus has 0; they go together in that "
     "order"},
    {C "tensor_split: [1, 0]\n", "p.yaml:5: constraints.tensor_split[1]: 0 is outside 1 to 100000"},
    {C "gpus: [h:0, h:0]\n  tensor_split: [1, 2]\n",
     "p.yaml:4: constraints: gpus names 'h:0' twice beside a tensor_split"},
};

static void test_bad(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        mem_auto struct constraints *c = mem_calloc(1, sizeof *c);
        struct policy p = {.n_terms = 99};
        struct err e = {0};
        assert_int_equal(load(&p, c, BAD[i].text, &e), -1);
        assert_string_equal(e.msg, BAD[i].says);
        assert_int_equal(err_info(e.code)->exit, 2);
        assert_int_equal(p.n_terms, 99);
    }
}

static void test_too_many(void **state)
{
    buf_auto struct buf b;
    mem_auto struct constraints *c = mem_calloc(1, sizeof *c);
    struct policy p;
    struct err e = {0};
    buf_init(&b, 1 << 16);
    buf_adds(&b, C "nodes: [");
    for (int i = 0; i < CONSTRAINT_MAX_NAMES; i++)
        buf_addf(&b, "n%d, ", i);
    size_t n = b.n;
    buf_adds(&b, "]\n");
    assert_int_equal(load(&p, c, b.p, &e), 0);
    assert_int_equal(c->nodes.n, CONSTRAINT_MAX_NAMES);
    b.n = n;
    buf_adds(&b, "x]\n");
    assert_int_equal(load(&p, c, b.p, &e), -1);
    assert_string_equal(e.msg, "p.yaml:5: constraints.nodes: 65 items; at most 64 are allowed");
}

static void test_good(void **state)
{
    static const char TEXT[] = "schema: stowage.policy/1\n"
                               "name: green\n"
                               "mode: weighted\n"
                               "streams: 8\n"
                               "domain: rack\n"
                               "terms:\n"
                               "  - {term: token_time, weight: 0.25}\n"
                               "  - power\n"
                               "constraints:\n"
                               "  nodes: [hill, dale]\n"
                               "  labels: [ssd=yes]\n"
                               "  keep_whole: [A100]\n"
                               "  gpus: ['hill:0', GPU-1]\n"
                               "  tensor_split: [3, 39]\n"
                               "  max_gpus: 4\n"
                               "  min_tok_s: 12.5\n"
                               "  no_ram: true\n";
    mem_auto struct constraints *c = mem_calloc(2, sizeof *c);
    struct policy p, q;
    struct err e = {0};
    c->max_nodes = 7; /* what the file does not name is kept */
    assert_int_equal(load(&p, c, TEXT, &e), 0);
    assert_string_equal(p.name, "green");
    assert_true(p.weighted && p.n_terms == 2 && p.streams == 8);
    assert_string_equal(p.domain, "rack");
    assert_true(p.terms[0].term == TERM_TOKEN_TIME && p.terms[0].weight == 0.25);
    assert_true(p.terms[1].term == TERM_POWER && p.terms[1].weight == 1);
    assert_true(c->nodes.n == 2 && c->n_split == 2 && c->split[1] == 39 && c->max_gpus == 4);
    assert_true(c->min_tok_s == 12.5 && c->no_ram && !c->no_network && c->max_nodes == 7);
    json_t *tree = policy_file_to_json(&p, c);
    char *text = json_text(tree);
    assert_int_equal(load(&q, &c[1], text, &e), 0);
    assert_true(policy_same(&p, &q));
    assert_memory_equal(&c[0], &c[1], sizeof *c);
    free(text);
    json_decref(tree);
}

/* Every preset, written as a file, is read as itself. */
static void test_presets(void **state)
{
    for (uint32_t i = 0; policy_preset_name(i); i++) {
        mem_auto struct constraints *c = mem_calloc(1, sizeof *c);
        struct policy p, q;
        struct err e = {0};
        assert_int_equal(policy_preset(&p, policy_preset_name(i), &e), 0);
        json_t *tree = policy_file_to_json(&p, c);
        assert_null(json_object_get(tree, "constraints"));
        char *text = json_text(tree);
        assert_int_equal(load(&q, c, text, &e), 0);
        assert_true(policy_same(&p, &q));
        json_t *name = policy_to_json(&q);
        assert_string_equal(json_string_value(name), p.name);
        json_decref(name);
        free(text);
        json_decref(tree);
    }
}

/* Inside a spec, from the wire: places without lines; null is absent. */
static void test_in_spec(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"model\":\"/m\"}", "'name' is missing"},
        {"{\"name\":\"a\",\"model\":\"/m\",\"policy\":\"tierd\"}",
         "policy: policy 'tierd' is none of tiered, fastest, throughput, binpack, spread, "
         "cheapest; "
         "did you mean 'tiered'?"},
        {"{\"name\":\"a\",\"model\":\"/m\",\"policy\":{\"name\":\"x\",\"terms\":[\"npdes\"]}}",
         "policy.terms[0]: 'npdes' is not known; did you mean 'nodes'?"},
        {"{\"name\":\"a\",\"model\":\"/m\",\"policy\":{\"name\":\"x\",\"schema\":1,\"terms\":[]}}",
         "policy: unknown key 'schema'; known: name, mode, terms, streams, domain"},
        {"{\"name\":\"a\",\"model\":\"/m\",\"ctx\":2.5}", "ctx: must be a whole number, found 2.5"},
        {"{\"name\":\"a\",\"model\":\"/m\",\"max_gpu\":2}",
         "unknown key 'max_gpu'; did you mean 'max_gpus'?"},
        {"{\"name\":\"a\",\"model\":\"/m\",\"ctx\":null,\"policy\":null,\"nodes\":null}", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
        struct err e = {0};
        json_t *tree = json_parse(cases[i].text, strlen(cases[i].text), &e);
        assert_int_equal(spec_from_json(spec, tree, &e), cases[i].says[0] ? -1 : 0);
        assert_string_equal(e.msg, cases[i].says);
        json_decref(tree);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),     cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_good),    cmocka_unit_test(test_presets),
        cmocka_unit_test(test_in_spec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
