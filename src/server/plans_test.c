/* What the server does about placement beside placing: questions, the snapshot's labels and
 * instances, policies in specs, and plans that do not pass the validator. */
#include "server/test_world.h"

#include "base/mem.h"
#include "base/num.h"
#include "server/place_double.h"

#include <stdlib.h>

static json_t *deploy(struct world *w, const char *name, const char *more)
{
    return want(w, 201, "POST", "/api/v1/deployments", "{\"name\":\"%s\",\"model\":\"%s\"%s}", name,
                w->model, more);
}

struct replica_of {
    const char *deployment, *state, *code;
};

static bool replica_is(struct world *w, void *arg)
{
    const struct replica_of *x = arg;
    const struct deployment *d = state_deployment(w->s, x->deployment);
    const struct replica *r = d ? d->replicas : NULL;
    return r && strcmp(replica_state_name(r->state), x->state) == 0 &&
           strcmp(r->code, x->code) == 0;
}

static void until_is(struct world *w, const char *name, const char *state, const char *code)
{
    struct replica_of x = {name, state, code};
    mem_auto char *what = mem_printf("%s to be %s", name, state);
    until(w, replica_is, &x, what);
}

/* A plan that the validator refuses is not committed; the replica says so, and others go on. */
static void a_wrong_plan_is_not_committed(void **state)
{
    struct world w;
    char buf[64];
    world_open(&w, "memory");
    worker_join(&w, "hill", 1, 8 * GIB);
    json_decref(deploy(&w, DOUBLE_WRONG "-plan", ""));
    until_is(&w, DOUBLE_WRONG "-plan", "pending", "INTERNAL");
    const struct replica *r = state_deployment(w.s, DOUBLE_WRONG "-plan")->replicas;
    assert_non_null(strstr(r->message, "hill:0 holds 1073741824 bytes, not 1"));
    assert_non_null(strstr(r->message, "please report this"));
    assert_false(r->claimed || r->has_assignment);
    json_decref(deploy(&w, "right", ""));
    until_is(&w, "right", "ready", "");
    json_auto_t *nodes = want(&w, 200, "GET", "/api/v1/nodes", "%s", "");
    assert_string_equal(at(nodes, "items.0.devices.0.claimed_bytes", buf), "1073741824");
    world_close(&w);
}

static const char *labels_of(struct world *w, char *dst, size_t cap)
{
    json_auto_t *doc = want(w, 200, "GET", "/api/v1/nodes", "%s", "");
    const json_t *item = json_array_get(json_object_get(doc, "items"), 0), *l;
    size_t i, n = 0;
    dst[0] = 0;
    json_array_foreach(json_object_get(item, "labels"), i, l)
    {
        str_copyf(dst + n, cap - n, "%s%s", n ? " " : "", json_string_value(l));
        n = strlen(dst);
    }
    return dst;
}

/* Labels that people set are kept by the store and win over the worker's. */
static void labels_are_kept(void **state)
{
    static const struct {
        const char *body;
        int status;
        const char *labels;
    } CASES[] = {
        {"{\"labels\":{\"zone\":\"a\",\"rack\":\"7\"}}", 200, "zone=a rack=7"},
        {"{\"labels\":{\"zone\":\"b\",\"rack\":null}}", 200, "zone=b"},
        {"{\"labels\":{\"none\":null}}", 200, "zone=b"},
        {"{\"labels\":{\"a=b\":\"c\"}}", 400, "zone=b"},
        {"{\"labels\":{\"zone\":3}}", 400, "zone=b"},
        {"{\"labels\":{\"\":\"x\"}}", 400, "zone=b"},
        {"{\"labels\":{\"zone\":\"\"}}", 400, "zone=b"},
        {"{\"labels\":{\"zone\":\"x\\ny\"}}", 400, "zone=b"},
        {"{\"labels\":[]}", 400, "zone=b"},
        {"{\"label\":{}}", 400, "zone=b"},
    };
    struct world w;
    char text[256];
    world_open(&w, "sqlite");
    struct fake_worker *f = worker_join(&w, "hill", 1, 8 * GIB);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        json_decref(
            want(&w, CASES[i].status, "PATCH", "/api/v1/nodes/hill/labels", "%s", CASES[i].body));
        assert_string_equal(labels_of(&w, text, sizeof text), CASES[i].labels);
    }
    json_decref(want(&w, 404, "PATCH", "/api/v1/nodes/dale/labels", "%s", "{\"labels\":{}}"));
    world_restart(&w);
    struct node *n = state_node(w.s, f->node_id);
    assert_int_equal(node_set_label(&n->info, "zone=worker", NULL), 0);
    assert_int_equal(node_set_label(&n->info, "gpu=small", NULL), 0);
    struct cluster_node all = {0};
    node_labels(n, &all);
    assert_int_equal(all.n_labels, 2);
    assert_string_equal(all.labels[0], "zone=b");
    assert_string_equal(all.labels[1], "gpu=small");
    node_done(&all);
    world_close(&w);
}

static void labels_have_a_limit(void **state)
{
    struct world w;
    world_open(&w, "memory");
    worker_join(&w, "hill", 1, 8 * GIB);
    for (int i = 0; i < CLUSTER_MAX_LABELS; i++)
        json_decref(
            want(&w, 200, "PATCH", "/api/v1/nodes/hill/labels", "{\"labels\":{\"k%d\":\"v\"}}", i));
    json_auto_t *e =
        want(&w, 413, "PATCH", "/api/v1/nodes/hill/labels", "%s", "{\"labels\":{\"more\":\"v\"}}");
    char buf[64];
    assert_string_equal(at(e, "error.code", buf), "LIMIT");
    world_close(&w);
}

/* What runs is in the snapshot with its spec, and in the file that is made of it; reading that file
 * gives the same snapshot. */
static void instances_are_in_the_snapshot(void **state)
{
    struct world w;
    struct err err = {0};
    struct cluster_snapshot live, read;
    char buf[64];
    world_open(&w, "memory");
    worker_join(&w, "hill", 1, 8 * GIB);
    worker_join(&w, "dale", 1, 8 * GIB);
    json_decref(
        want(&w, 200, "PATCH", "/api/v1/nodes/dale/labels", "%s", "{\"labels\":{\"zone\":\"b\"}}"));
    json_decref(deploy(&w, "m", ",\"gpus\":[\"hill:0\",\"dale:0\"],\"anti_affinity\":[\"x\"]"));
    until_is(&w, "m", "ready", "");
    sched_snapshot_specs(w.s, &live);
    assert_int_equal(live.n_instances, 1);
    const struct cluster_instance *x = &live.instances[0];
    assert_string_equal(x->deployment, "m");
    assert_string_equal(x->id, state_deployment(w.s, "m")->replicas->id);
    assert_int_equal(x->n_parts, 2);
    assert_string_equal(live.nodes[x->parts[0].node].name, "hill");
    assert_string_equal(live.nodes[x->parts[1].node].name, "dale");
    assert_int_equal(x->parts[0].bytes, DOUBLE_BYTES);
    assert_string_equal(at(x->spec, "anti_affinity.0", buf), "x");
    json_auto_t *file = want(&w, 200, "GET", "/api/v1/snapshot", "%s", "");
    snapshot_init(&read);
    if (snapshot_from_json(&read, file, &err))
        fail_msg("%s", err.msg);
    json_auto_t *again = snapshot_to_json(&read);
    mem_auto char *a = json_text(file), *b = json_text(again);
    assert_string_equal(a, b);
    assert_int_equal(read.n_instances, 1);
    for (uint32_t i = 0; i < read.n_nodes; i++)
        assert_string_equal(read.nodes[i].id, live.nodes[i].id);
    snapshot_done(&read);
    snapshot_done(&live);
    world_close(&w);
}

/* A policy of one's own is resolved when it is deployed, kept, and told. */
static void policies_are_kept(void **state)
{
    static const char MINE[] = ",\"policy\":{\"name\":\"mine\",\"mode\":\"weighted\",\"terms\":"
                               "[{\"term\":\"token_time\",\"weight\":2},"
                               "{\"term\":\"price\",\"weight\":3}]}";
    struct world w;
    char buf[64];
    world_open(&w, "sqlite");
    worker_join(&w, "hill", 1, 8 * GIB);
    json_decref(deploy(&w, "m", MINE));
    world_restart(&w);
    const struct policy *p = &state_deployment(w.s, "m")->spec->policy;
    assert_true(p->weighted && p->n_terms == 2);
    assert_int_equal(p->terms[1].term, TERM_PRICE);
    json_auto_t *d = want(&w, 200, "GET", "/api/v1/deployments/m", "%s", "");
    assert_string_equal(at(d, "spec.policy.name", buf), "mine");
    json_auto_t *e = want(&w, 400, "POST", "/api/v1/deployments",
                          "{\"name\":\"n\",\"model\":\"%s\",\"policy\":{\"name\":\"empty\","
                          "\"terms\":[]}}",
                          w.model);
    assert_string_equal(at(e, "error.code", buf), "INVALID");
    world_close(&w);
}

/* A replica that was planned together with others goes where that plan had it, while it can; a
 * later generation goes where it goes. */
static void wishes_are_tried_first(void **state)
{
    static const struct {
        const char *name, *place;
        int status;
        const char *where; /* of replica 0, or what the error says */
    } CASES[] = {
        {"none", "", 201, "hill"},
        {"dale", ",\"place\":[{\"gpus\":[\"dale:0\"],\"tensor_split\":[1]}]", 201, "dale"},
        {"null", ",\"place\":[null]", 201, "hill"},
        {"full", ",\"place\":[{\"gpus\":[\"fern:0\"],\"tensor_split\":[1]}]", 201, "hill"},
        {"bad1", ",\"place\":{}", 400, "'place' must be a list"},
        {"bad2", ",\"place\":[{\"gpus\":[\"dale:0\"]}]", 400, "place[0]: gpus and tensor_split"},
        {"bad3", ",\"place\":[{\"gpus\":[\"dale:0\"],\"tensor_split\":[1,2]}]", 400, "place[0]"},
        {"bad4", ",\"place\":[{\"nodes\":[\"dale\"]}]", 400, "unknown key 'nodes'"},
    };
    struct world w;
    char buf[64];
    world_open(&w, "memory");
    worker_join(&w, "hill", 1, 16 * GIB);
    worker_join(&w, "dale", 1, 8 * GIB);
    worker_join(&w, "fern", 1, GIB / 2);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        json_auto_t *d =
            want(&w, CASES[i].status, "POST", "/api/v1/deployments",
                 "{\"name\":\"%s\",\"model\":\"%s\"%s}", CASES[i].name, w.model, CASES[i].place);
        const char *message =
            json_string_value(json_object_get(json_object_get(d, "error"), "message"));
        if (CASES[i].status != 201) {
            if (!strstr(message, CASES[i].where))
                fail_msg("%s: %s", CASES[i].name, message);
            continue;
        }
        until_is(&w, CASES[i].name, "ready", "");
        assert_string_equal(state_deployment(w.s, CASES[i].name)->replicas->a.parts[0].node,
                            CASES[i].where);
    }
    json_decref(want(&w, 200, "PATCH", "/api/v1/deployments/none", "%s",
                     "{\"replicas\":2,\"place\":[{\"gpus\":[\"dale:0\"],\"tensor_split\":[1]}]}"));
    const struct replica *second = state_deployment(w.s, "none")->replicas->sibling;
    run_ms(&w, 200);
    assert_string_equal(second->a.parts[0].node, "dale");
    json_auto_t *d = want(&w, 200, "GET", "/api/v1/deployments/none", "%s", "");
    assert_string_equal(at(d, "replicas.0.assignment.parts.0.node", buf), "hill");
    assert_string_equal(at(d, "spec.place", buf), "");
    world_close(&w);
}

static void questions_are_checked(void **state)
{
    static const struct {
        const char *body; /* %s: the model */
        int status;
        const char *says;
    } CASES[] = {
        {"{\"spec\":{\"model\":\"%s\"}}", 200, NULL},
        {"{\"kind\":\"plan\",\"specs\":[{\"model\":\"%s\"}],\"budget\":5}", 200, NULL},
        {"{\"kind\":\"plans\",\"spec\":{\"model\":\"%s\"}}", 400, "did you mean 'plan'?"},
        {"{\"spec\":{\"model\":\"%s\"},\"specs\":[]}", 400, "'spec' or 'specs'"},
        {"{\"model\":\"%s\"}", 400, "key 'model'"},
        {"{\"specs\":[]}", 400, "a list of 1 to 64"},
        {"{\"kind\":\"whatif\",\"spec\":{\"model\":\"%s\"}}", 400, "whatif needs 'edits'"},
        {"{\"spec\":{\"model\":\"%s\"},\"edits\":[{\"op\":\"ad\",\"what\":\"x\"}]}", 400,
         "did you mean 'add'?"},
        {"{\"kind\":\"size\",\"spec\":{\"model\":\"%s\"}}", 400, "'prices'"},
        {"{\"kind\":\"size\",\"spec\":{\"model\":\"%s\"},\"prices\":{\"schema\":"
         "\"stowage.prices/1\",\"items\":[]}}",
         400, "at least one item"},
        {"{\"spec\":{\"model\":\"%s\"},\"gpu\":\"hill:0\"}", 400, "belongs to why_not"},
        {"{\"kind\":\"why_not\",\"spec\":{\"model\":\"%s\"}}", 400, "'gpu' is missing"},
        {"{\"kind\":\"defrag\",\"specs\":[{\"model\":\"%s\"}]}", 400, "takes one 'spec'"},
        {"{\"spec\":{\"model\":\"%s\",\"polcy\":\"x\"}}", 400, "did you mean 'policy'?"},
        {"{\"spec\":{\"model\":\"/no/such.gguf\"}}", 404, "/no/such.gguf"},
        {"[]", 400, "object"},
    };
    struct world w;
    world_open(&w, "memory");
    worker_join(&w, "hill", 1, 8 * GIB);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char body[1024];
        const char *at_model = strstr(CASES[i].body, "%s");
        if (at_model)
            str_copyf(body, sizeof body, "%.*s%s%s", (int)(at_model - CASES[i].body), CASES[i].body,
                      w.model, at_model + 2);
        else
            STR_COPY(body, CASES[i].body);
        json_auto_t *doc = want(&w, CASES[i].status, "POST", "/api/v1/plan", "%s", body);
        const char *message =
            json_string_value(json_object_get(json_object_get(doc, "error"), "message"));
        if (CASES[i].says && (!message || !strstr(message, CASES[i].says)))
            fail_msg("%s: '%s'", CASES[i].body, message ? message : "");
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_plan_is_not_committed),
        cmocka_unit_test(labels_are_kept),
        cmocka_unit_test(labels_have_a_limit),
        cmocka_unit_test(instances_are_in_the_snapshot),
        cmocka_unit_test(policies_are_kept),
        cmocka_unit_test(wishes_are_tried_first),
        cmocka_unit_test(questions_are_checked),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
