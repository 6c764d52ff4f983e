/* Questions about placement: edits of a cluster, what-if, why not, limits of a question. */
#include "place/ask.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "model/shelf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char CLUSTER[] =
    "schema: stowage.cluster/1\n"
    "nodes:\n"
    "  - {name: hill, ram: 64GiB, gpus: [{name: RTX 3090, memory: 24GiB, bandwidth: 936GB/s, "
    "count: "
    "2}]}\n"
    "  - {name: dale, ram: 32GiB, gpus: [{name: RTX 4070, memory: 12GiB, bandwidth: 504GB/s}]}\n"
    "  - {name: fern, ram: 32GiB, state: drained, reason: psu, gpus: [{name: A100, memory: "
    "40GiB}]}\n"
    "links: [{between: [hill, dale], bandwidth: 1Gbit/s, rtt: 0.2ms},\n"
    "        {between: [dale, fern], bandwidth: 10Gbit/s, rtt: 0.1ms}]\n"
    "instances:\n"
    "  - {name: a, main: hill, main_ram: 1GiB, parts: [{gpu: 'hill:0', bytes: 4GiB}]}\n"
    "  - {name: b, main: dale, main_ram: 2GiB, parts: [{gpu: 'hill:1', bytes: 6GiB}, {gpu: "
    "'dale:0', "
    "bytes: 8GiB}]}\n"
    "  - {name: a, replica: 1, main: fern, main_ram: 1GiB, parts: [{gpu: 'fern:0', bytes: "
    "3GiB}]}\n";

static void read_cluster(const char *text, struct cluster_snapshot *s)
{
    struct doc d;
    struct err err = {0};
    snapshot_init(s);
    if (doc_parse(&d, "c.yaml", text, strlen(text), &err) || snapshot_from_doc(s, &d, &err))
        fail_msg("%s", err.msg);
    doc_done(&d);
}

/* ---- edits ---- */

/* "hill 24,24 ram 63; dale 4 ram 30; fern 37 drained ram 31": what is free, in GiB. */
static void brief(const struct cluster_snapshot *s, char *dst, size_t cap)
{
    buf_auto struct buf b;
    buf_init(&b, 4096);
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        const struct cluster_node *n = &s->nodes[i];
        buf_addf(&b, "%s%s ", i ? "; " : "", n->name);
        for (uint32_t k = 0; k < n->n_devices; k++)
            buf_addf(&b, "%s%u:%llu", k ? "," : "", n->devices[k].index,
                     (unsigned long long)(n->devices[k].free_bytes / GIB));
        buf_addf(&b, "%s ram %llu%s", n->n_devices ? "" : "-",
                 (unsigned long long)(n->ram_free_bytes / GIB),
                 n->state == NODE_READY ? "" : " drained");
    }
    for (uint32_t i = 0; i < s->n_instances; i++)
        buf_addf(&b, "%s%s/%u@%s", i ? " " : " | ", s->instances[i].deployment,
                 s->instances[i].index, s->nodes[s->instances[i].main].name);
    for (uint32_t i = 0; i < s->n_links; i++)
        buf_addf(&b, "%s%s-%s", i ? " " : " | ", s->nodes[s->links[i].a].name,
                 s->nodes[s->links[i].b].name);
    str_copy(dst, cap, b.p);
}

static const struct {
    enum edit_op op;
    const char *what;
    const char *gives; /* the cluster in brief, or a part of the error */
    enum err_code code;
} EDITS[] = {
    {EDIT_ADD, "dale: RTX 3090",
     "hill 0:20,1:18 ram 63; dale 0:4,1:24 ram 30; fern 0:37 ram 31 drained | a/0@hill b/0@dale "
     "a/1@fern | hill-dale dale-fern",
     ERR_NONE},
    {EDIT_ADD, "dale: 2x rtx 3090 16GiB, RTX 5090 32GiB 1792GB/s",
     "dale 0:4,1:16,2:16,3:32 ram 30;", ERR_NONE},
    {EDIT_ADD_NODE, "elm: ram 64GiB, 2x RTX 4070",
     "fern 0:37 ram 31 drained; elm 0:12,1:12 ram 64 |", ERR_NONE},
    {EDIT_ADD_NODE, "elm: ram 8 GiB", "; elm - ram 8 |", ERR_NONE},
    {EDIT_REMOVE, "hill:0",
     "hill 1:18 ram 64; dale 0:4 ram 30; fern 0:37 ram 31 drained | b/0@dale a/1@fern | hill-dale "
     "dale-fern",
     ERR_NONE},
    {EDIT_REMOVE, "hill:1",
     "hill 0:20 ram 63; dale 0:12 ram 32; fern 0:37 ram 31 drained | a/0@hill "
     "a/1@fern | hill-dale dale-fern",
     ERR_NONE},
    {EDIT_REMOVE, "dale", "hill 0:20,1:24 ram 63; fern 0:37 ram 31 drained | a/0@hill a/1@fern",
     ERR_NONE},
    {EDIT_REMOVE, "hill", "dale 0:12 ram 32; fern 0:37 ram 31 drained | a/1@fern | dale-fern",
     ERR_NONE},
    {EDIT_DRAIN, "dale", "dale 0:4 ram 30 drained; fern", ERR_NONE},
    {EDIT_UNDRAIN, "fern", "fern 0:37 ram 31 |", ERR_NONE},
    {EDIT_RELEASE, "a",
     "hill 0:24,1:18 ram 64; dale 0:4 ram 30; fern 0:40 ram 32 drained | b/0@dale |", ERR_NONE},
    {EDIT_ADD, "hil: RTX 3090", "there is no node 'hil'; did you mean 'hill'?", ERR_NOT_FOUND},
    {EDIT_ADD, "hill RTX 3090", "has no colon", ERR_INVALID},
    {EDIT_ADD, "hill:", "names no GPUs", ERR_INVALID},
    {EDIT_ADD, "hill: 2x", "names no GPUs", ERR_INVALID},
    {EDIT_ADD, "hill: 0x RTX 3090", "the number of GPUs", ERR_INVALID},
    {EDIT_ADD, "hill: 9999x RTX 3090", "the number of GPUs", ERR_INVALID},
    {EDIT_ADD, "hill: RTX 6000", "so its memory and bandwidth must be given", ERR_INVALID},
    {EDIT_ADD, "hill: RTX 6000 48GiB", "so its bandwidth must be given", ERR_INVALID},
    {EDIT_ADD, "hill: RTX 3090 24GiB fast", "'fast' is neither a size nor a rate", ERR_INVALID},
    {EDIT_ADD, "hill: 1023x RTX 3090", "more than 1024 GPUs", ERR_LIMIT},
    {EDIT_ADD_NODE, "elm: 2x RTX 3090", "needs its RAM", ERR_INVALID},
    {EDIT_ADD_NODE, "elm: ram 64 apples", "'64 apples' is not a size", ERR_INVALID},
    {EDIT_ADD_NODE, "elm: ram 1PiB", "up to 64 TiB", ERR_INVALID},
    {EDIT_ADD_NODE, "hill: ram 64GiB", "a node 'hill' already", ERR_INVALID},
    {EDIT_ADD_NODE, ": ram 64GiB", "no name of a node", ERR_INVALID},
    {EDIT_REMOVE, "hill:7", "hill has no GPU 7; it has 0, 1", ERR_NOT_FOUND},
    {EDIT_REMOVE, "dal", "did you mean 'dale'?", ERR_NOT_FOUND},
    {EDIT_REMOVE, "GPU-unknown", "there is no node 'GPU-unknown'", ERR_NOT_FOUND},
    {EDIT_DRAIN, "hills", "did you mean 'hill'?", ERR_NOT_FOUND},
    {EDIT_RELEASE, "c", "nothing named 'c' runs", ERR_NOT_FOUND},
};

static void edits_change_a_cluster(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(EDITS); i++) {
        struct cluster_snapshot s;
        struct edit e = {.op = EDITS[i].op};
        struct err err = {0};
        char text[1024];
        read_cluster(CLUSTER, &s);
        STR_COPY(e.what, EDITS[i].what);
        edit_apply(&s, &e, &err);
        if (!err.code)
            brief(&s, text, sizeof text);
        if (err.code != EDITS[i].code || !strstr(err.code ? err.msg : text, EDITS[i].gives))
            fail_msg("%s %s: %s", edit_op_name(e.op), e.what, err.code ? err.msg : text);
        snapshot_done(&s);
    }
}

/* What is added and taken away again leaves the cluster as it was, file for file. */
static void edits_undo_each_other(void **state)
{
    static const struct edit THERE_AND_BACK[] = {
        {EDIT_ADD, "hill: 3x RTX 3090"},
        {EDIT_ADD_NODE, "elm: ram 64GiB, 2x RTX 4070"},
        {EDIT_DRAIN, "dale"},
        {EDIT_REMOVE, "hill:4"},
        {EDIT_REMOVE, "elm"},
        {EDIT_REMOVE, "hill:2"},
        {EDIT_UNDRAIN, "dale"},
        {EDIT_REMOVE, "hill:3"},
    };
    struct cluster_snapshot s, was;
    read_cluster(CLUSTER, &s);
    snapshot_copy(&was, &s);
    for (size_t i = 0; i < ARRAY_LEN(THERE_AND_BACK); i++)
        assert_int_equal(edit_apply(&s, &THERE_AND_BACK[i], NULL), 0);
    json_auto_t *a = snapshot_to_json(&was), *b = snapshot_to_json(&s);
    mem_auto char *x = json_text(a), *y = json_text(b);
    assert_string_equal(x, y);
    snapshot_done(&s);
    snapshot_done(&was);
}

/* ---- questions ---- */

static char *model_path(const char *name)
{
    const char *root = getenv("STOWAGE_SOURCE");
    assert_non_null(root);
    return mem_printf("%s/tests/data/models/%s.ggufh", root, name);
}

/* `question` has %s for the path of the 70B model. The answer; or NULL with err. */
static json_t *ask_it(const char *question, struct err *err)
{
    struct cluster_snapshot s;
    struct shelf shelf = {0};
    struct ask a = {0};
    mem_auto char *path = model_path("llama-3.3-70b-q4_k_m");
    const char *at = strstr(question, "%s");
    mem_auto char *text = at ? mem_printf("%.*s%s%s", (int)(at - question), question, path, at + 2)
                             : mem_strdup(question);
    json_auto_t *doc = json_parse(text, strlen(text), err);
    json_t *answer = NULL;
    read_cluster(CLUSTER, &s);
    if (doc && ask_from_json(&a, doc, err) == 0)
        answer = ask_answer(&a, &s, &(struct ask_models){shelf_get, &shelf}, err);
    ask_done(&a);
    shelf_done(&shelf);
    snapshot_done(&s);
    return answer;
}

static json_t *must(const char *question)
{
    struct err err = {0};
    json_t *answer = ask_it(question, &err);
    if (!answer)
        fail_msg("%s: %s", question, err.msg);
    return answer;
}

static const char *str_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static bool feasible(const json_t *o)
{
    return json_is_true(json_object_get(o, "feasible"));
}

static void answers_have_their_schema(void **state)
{
    static const struct {
        const char *question, *schema;
        bool feasible;
    } CASES[] = {
        {"{\"spec\":{\"model\":\"%s\"}}", "stowage.plan/1", true},
        {"{\"spec\":{\"model\":\"%s\",\"no_ram\":true}}", "stowage.plan/1", false},
        {"{\"spec\":{\"model\":\"%s\",\"no_ram\":true},\"edits\":[{\"op\":\"release\",\"what\":"
         "\"b\"}]}",
         "stowage.plan/1", true},
        {"{\"specs\":[{\"model\":\"%s\",\"replicas\":2,\"no_ram\":true}]}", "stowage.plans/1",
         false},
        {"{\"kind\":\"whatif\",\"spec\":{\"model\":\"%s\",\"no_ram\":true},\"edits\":[{\"op\":"
         "\"undrain\",\"what\":\"fern\"}]}",
         "stowage.whatif/1", true},
        {"{\"kind\":\"size\",\"spec\":{\"model\":\"%s\",\"no_ram\":true},\"prices\":{\"schema\":"
         "\"stowage.prices/1\",\"items\":[{\"name\":\"RTX 3090\",\"price\":800}]}}",
         "stowage.size/1", true},
        {"{\"kind\":\"defrag\",\"spec\":{\"model\":\"%s\"}}", "stowage.defrag/1", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        json_auto_t *a = must(CASES[i].question);
        assert_string_equal(str_at(a, "schema"), CASES[i].schema);
        if (feasible(a) != CASES[i].feasible || ask_fits(a) != CASES[i].feasible)
            fail_msg("%s: %d", CASES[i].question, feasible(a));
    }
}

/* The same question, the same bytes; and whatif's sides are what plan says of each cluster. */
static void whatif_is_two_plans(void **state)
{
    static const char EDIT[] = "\"edits\":[{\"op\":\"add\",\"what\":\"hill: RTX 3090\"}]";
    mem_auto char *question =
        mem_printf("{\"kind\":\"whatif\",\"spec\":{\"model\":\"%%s\",\"ctx\":16384},%s}", EDIT);
    mem_auto char *plan = mem_printf("{\"spec\":{\"model\":\"%%s\",\"ctx\":16384},%s}", EDIT);
    json_auto_t *a = must(question), *again = must(question), *after = must(plan);
    json_auto_t *before = must("{\"spec\":{\"model\":\"%s\",\"ctx\":16384}}");
    mem_auto char *x = json_text(a), *y = json_text(again);
    assert_string_equal(x, y);
    static const char *const SAME[] = {"id", "tier", "parts", "estimate", "spec"};
    for (size_t i = 0; i < ARRAY_LEN(SAME); i++) {
        assert_true(json_equal(json_object_get(json_object_get(a, "before"), SAME[i]),
                               json_object_get(before, SAME[i])));
        assert_true(json_equal(json_object_get(json_object_get(a, "after"), SAME[i]),
                               json_object_get(after, SAME[i])));
    }
    assert_string_not_equal(str_at(before, "id"), str_at(after, "id"));
}

static void why_a_gpu_is_not_used(void **state)
{
    static const struct {
        const char *gpu, *more;
        bool used;
        const char *with; /* the tier of the best plan with it; "": none */
        const char *says; /* code of a reason; "": any */
    } CASES[] = {
        {"hill:0", "", true, "", ""},
        {"dale:0", ",\"exclude_nodes\":[\"dale\"]", false, "", "NODE_EXCLUDED"},
        {"dale:0", ",\"gpus\":[\"hill:0\",\"hill:1\"]", false, "", "GPU_NOT_LISTED"},
        {"fern:0", "", false, "", "DRAINED"},
        {"dale:0", "", false, "several nodes", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        mem_auto char *q =
            mem_printf("{\"kind\":\"why_not\",\"gpu\":\"%s\",\"spec\":{\"model\":\"%%s\",\"ctx\":"
                       "4096%s},\"edits\":[{\"op\":\"release\",\"what\":\"a\"},{\"op\":\"release\","
                       "\"what\":\"b\"}]}",
                       CASES[i].gpu, CASES[i].more);
        json_auto_t *a = must(q);
        const json_t *says = json_object_get(a, "says"), *n;
        size_t k;
        bool found = !CASES[i].says[0];
        json_array_foreach(says, k, n) found = found || !strcmp(str_at(n, "code"), CASES[i].says);
        const char *with = str_at(json_object_get(a, "with"), "tier");
        if (json_is_true(json_object_get(a, "used")) != CASES[i].used || !found ||
            strcmp(with, CASES[i].with) != 0) {
            mem_auto char *text = json_text(a);
            fail_msg("%s%s: %s", CASES[i].gpu, CASES[i].more, text);
        }
    }
}

static void questions_have_limits(void **state)
{
    static const struct {
        const char *key, *item;
        int n;
        const char *says;
    } CASES[] = {
        {"specs", "{\"model\":\"/m\",\"replicas\":0}", ASK_MAX_SPECS, NULL},
        {"specs", "{\"model\":\"/m\"}", ASK_MAX_SPECS + 1, "a list of 1 to 64 specs"},
        {"edits", "{\"op\":\"drain\",\"what\":\"x\"}", ASK_MAX_EDITS, NULL},
        {"edits", "{\"op\":\"drain\",\"what\":\"x\"}", ASK_MAX_EDITS + 1, "a list of at most 64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        buf_auto struct buf b;
        struct ask a = {0};
        struct err err = {0};
        buf_init(&b, 1 << 16);
        buf_addf(&b, "{%s\"%s\":[",
                 strcmp(CASES[i].key, "specs") ? "\"spec\":{\"model\":\"/m\"}," : "", CASES[i].key);
        for (int k = 0; k < CASES[i].n; k++)
            buf_addf(&b, "%s%s", k ? "," : "", CASES[i].item);
        buf_adds(&b, "]}");
        json_auto_t *doc = json_parse(b.p, b.n, &err);
        ask_from_json(&a, doc, &err);
        if (CASES[i].says ? !strstr(err.msg, CASES[i].says) : err.code != 0)
            fail_msg("%d %s: %s", CASES[i].n, CASES[i].key, err.msg);
        ask_done(&a);
    }
    struct err err = {0};
    json_t *none = ask_it("{\"spec\":{\"model\":\"/no/such.gguf\"}}", &err);
    assert_null(none);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_change_a_cluster),    cmocka_unit_test(edits_undo_each_other),
        cmocka_unit_test(answers_have_their_schema), cmocka_unit_test(whatif_is_two_plans),
        cmocka_unit_test(why_a_gpu_is_not_used),     cmocka_unit_test(questions_have_limits),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
