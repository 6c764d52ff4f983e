/* Cluster files, specs and assignments from hostile YAML: read, and what was read is written and
 * read again. */
#include "cluster/deployment.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void snapshot(const json_t *doc)
{
    struct cluster_snapshot s, again;
    snapshot_init(&s);
    snapshot_init(&again);
    if (snapshot_from_json(&s, doc, NULL) == 0) {
        json_t *back = snapshot_to_json(&s);
        if (snapshot_from_json(&again, back, NULL))
            abort();
        json_decref(back);
    }
    snapshot_done(&s);
    snapshot_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *doc = json_parse_yaml((const char *)data, size, NULL);
    struct deployment_spec *spec = calloc(1, sizeof *spec);
    struct assignment a = {0};
    struct cluster_node n = {0};
    if (doc && spec) {
        snapshot(doc);
        spec_from_json(spec, doc, NULL);
        assignment_from_json(&a, doc, NULL);
        node_from_json(&n, doc, NULL);
    }
    assignment_done(&a);
    node_done(&n);
    free(spec);
    json_decref(doc);
    return 0;
}
