/* Cluster files, specs and assignments from hostile YAML: what is read is written and read again as
 * the same, and what is refused says why, with a code that ends the program with status 2. */
#include "base/doc.h"
#include "cluster/deployment.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void refused(const struct err *err)
{
    if (err->code != ERR_INVALID || strncmp(err->msg, "f.yaml:", 7) != 0 ||
        err_info(err->code)->exit != 2)
        abort();
}

static void snapshot(const struct doc *d)
{
    struct cluster_snapshot s, again;
    struct err err = {0};
    snapshot_init(&s);
    snapshot_init(&again);
    if (snapshot_from_doc(&s, d, &err) == 0) {
        json_t *once = snapshot_to_json(&s);
        if (snapshot_from_json(&again, once, NULL))
            abort();
        json_t *twice = snapshot_to_json(&again);
        if (!json_equal(once, twice))
            abort();
        json_decref(once);
        json_decref(twice);
    } else {
        refused(&err);
    }
    snapshot_done(&s);
    snapshot_done(&again);
}

static void spec(const struct doc *d)
{
    struct deployment_spec *x = calloc(2, sizeof *x);
    const struct doc_at root = doc_root(d);
    struct err err = {0};
    if (!x)
        return;
    if (spec_read(x, &root, "name", &err) == 0) {
        json_t *back = spec_to_json(x);
        if (spec_from_json(&x[1], back, NULL))
            abort();
        json_decref(back);
    } else {
        refused(&err);
    }
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct doc d;
    struct err err = {0};
    struct assignment a = {0};
    struct cluster_node n = {0};
    if (doc_parse(&d, "f.yaml", (const char *)data, size, &err) == 0) {
        snapshot(&d);
        spec(&d);
        assignment_from_json(&a, d.root, NULL);
        node_from_json(&n, d.root, NULL);
    } else {
        refused(&err);
    }
    assignment_done(&a);
    node_done(&n);
    doc_done(&d);
    return 0;
}
