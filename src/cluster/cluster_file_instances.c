/* The part of the cluster file that says what runs: `instances`. */
#include "cluster/cluster_file.h"

#include "base/mem.h"
#include "base/num.h"
#include "cluster/deployment.h"

#include <stdio.h>
#include <string.h>

enum { MAX_PARTS = CLUSTER_MAX_NODE_DEVICES }; /* of one instance, as of an assignment */

struct part_row {
    uint64_t bytes;
};

/* clang-format off */
#define I(member) DOC_FIELD(struct cluster_instance, member)
static const struct doc_field INSTANCE_FIELDS[] = {
    {"name", DOC_TEXT, true, I(deployment)},
    {"id", DOC_TEXT, false, I(id)},
    {"replica", DOC_U32, false, I(index), .lo = 0, .hi = SPEC_MAX_REPLICAS - 1},
    {"pinned", DOC_BOOL, false, I(pinned)},
    {"main", DOC_OTHER, true},
    {"main_ram", DOC_BYTES, false, I(main_ram_bytes), .lo = 0, .hi = 1ull << 50},
    {"parts", DOC_OTHER},
    {"spec", DOC_OTHER},
};
static const struct doc_field PART_FIELDS[] = {
    {"gpu", DOC_OTHER},
    {"ram", DOC_OTHER},
    {"bytes", DOC_BYTES, true, DOC_FIELD(struct part_row, bytes), .lo = 1, .hi = 1ull << 50},
};
/* clang-format on */

/* "node:index" of a GPU that has a uuid of its own. */
static bool by_index(const struct cluster_reader *r, const char *text, struct cluster_gpu_at *out)
{
    const char *colon = strrchr(text, ':');
    uint64_t index;
    if (!colon || num_u64(colon + 1, "", 0, CLUSTER_MAX_NODE_DEVICES, &index, NULL))
        return false;
    size_t node = (uintptr_t)map_get_n(r->by_name, text, (size_t)(colon - text));
    const struct cluster_node *n = node ? &r->s->nodes[node - 1] : NULL;
    for (uint32_t k = 0; n && k < n->n_devices; k++) {
        if (n->devices[k].index == index) {
            *out = (struct cluster_gpu_at){(uint32_t)node - 1, k};
            return true;
        }
    }
    return false;
}

/* What is wrong with "node:index": the node, or the index on it. */
static int no_gpu(const struct cluster_reader *r, const struct doc_at *at, const char *text,
                  struct err *err)
{
    const struct cluster_node *nodes = r->s->nodes;
    char name[CLUSTER_NAME + 16], meant[CLUSTER_NAME + 32] = "";
    str_copy(name, sizeof name, text);
    char *colon = strrchr(name, ':');
    if (!colon || !nodes)
        return doc_fault(
            at, err, "there is no GPU '%s' in this file; name one as node:index or by uuid", text);
    *colon = 0;
    size_t node = (uintptr_t)map_get(r->by_name, name);
    if (node)
        return doc_fault(at, err, "there is no GPU '%s' in this file; '%s' has %u GPUs", text, name,
                         nodes[node - 1].n_devices);
    const char *near = str_nearest_in(name, nodes->name, r->s->n_nodes, sizeof *nodes);
    if (near)
        str_copyf(meant, sizeof meant, "%s:%s", near, colon + 1);
    return doc_fault(at, err, "there is no GPU '%s' in this file%s", text,
                     str_did_you_mean(near ? meant : NULL).text);
}

static int find_gpu(const struct cluster_reader *r, const struct doc_at *at,
                    struct cluster_gpu_at *out, struct err *err)
{
    char text[CLUSTER_NAME + 16];
    if (doc_text(at, text, sizeof text, err))
        return -1;
    size_t found = (uintptr_t)map_get(r->by_uuid, text);
    if (found)
        *out = r->gpus[found - 1];
    return found || by_index(r, text, out) ? 0 : no_gpu(r, at, text, err);
}

static int read_part(struct cluster_reader *r, const struct doc_at *at, struct cluster_instance *x,
                     struct err *err)
{
    const struct doc_at gpu = doc_member(at, "gpu"), ram = doc_member(at, "ram");
    struct part_row row = {0};
    struct cluster_gpu_at where = {0, UINT32_MAX};
    if (doc_fields(at, PART_FIELDS, ARRAY_LEN(PART_FIELDS), &row, err))
        return -1;
    if (!gpu.v == !ram.v)
        return doc_fault(at, err, "must have one of gpu (node:index or uuid) and ram (a node)");
    if (gpu.v ? find_gpu(r, &gpu, &where, err) : cluster_find_node(r, &ram, &where.node, err))
        return -1;
    for (uint32_t i = 0; i < x->n_parts; i++)
        if (x->parts[i].node == where.node && x->parts[i].device == where.device)
            return doc_fault(at, err, "is the same place as parts[%u]", i);
    struct cluster_node *n = &r->s->nodes[where.node];
    uint64_t *held = gpu.v ? &n->devices[where.device].claimed_bytes : &r->ram_held[where.node];
    *held = num_add_sat(*held, row.bytes);
    x->parts[x->n_parts++] = (struct cluster_instance_part){where.node, where.device, row.bytes};
    return 0;
}

/* The spec as `stowage deploy` would send it; its name is the instance's. */
static int read_spec(const struct doc_at *at, struct cluster_instance *x, struct err *err)
{
    if (!at->v)
        return 0;
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    if (spec_read(spec, at, x->deployment, err))
        return -1;
    if (strcmp(spec->name, x->deployment) != 0)
        return doc_fault(at, err, "is that of '%s', but the instance's name is '%s'", spec->name,
                         x->deployment);
    x->spec = json_deep_copy(at->v);
    json_put_str(x->spec, "name", x->deployment);
    return 0;
}

static int read_instance(struct cluster_reader *r, const struct doc_at *at, struct map *seen,
                         struct err *err)
{
    struct cluster_instance *x = snapshot_add_instance(r->s);
    const struct doc_at main = doc_member(at, "main"), parts = doc_member(at, "parts"),
                        spec = doc_member(at, "spec");
    size_t n;
    if (doc_fields(at, INSTANCE_FIELDS, ARRAY_LEN(INSTANCE_FIELDS), x, err) ||
        cluster_find_node(r, &main, &x->main, err) || doc_list(&parts, MAX_PARTS, &n, err))
        return -1;
    x->parts = mem_calloc(n, sizeof *x->parts);
    for (size_t i = 0; i < n; i++) {
        const struct doc_at part = doc_item(&parts, i);
        if (read_part(r, &part, x, err))
            return -1;
    }
    r->ram_held[x->main] = num_add_sat(r->ram_held[x->main], x->main_ram_bytes);
    char key[CLUSTER_NAME + 16];
    str_copyf(key, sizeof key, "%s/%u", x->deployment, x->index);
    if (map_set(seen, key, r))
        return doc_fault(at, err, "replica %u of '%s' is there twice", x->index, x->deployment);
    return read_spec(&spec, x, err);
}

int cluster_read_instances(struct cluster_reader *r, struct err *err)
{
    const struct doc_at list = doc_member(&r->root, "instances");
    size_t n;
    if (doc_list(&list, CLUSTER_MAX_INSTANCES, &n, err))
        return -1;
    struct map *seen = map_new(0);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        const struct doc_at item = doc_item(&list, i);
        rc = read_instance(r, &item, seen, err);
    }
    map_free(seen);
    return rc;
}

/* ---- writing ---- */

static void write_part(const struct cluster_snapshot *s, const struct cluster_instance_part *p,
                       json_t *list)
{
    const struct cluster_node *n = &s->nodes[p->node];
    json_t *o = json_add_object(list);
    if (p->device == UINT32_MAX) {
        json_put_str(o, "ram", n->name);
    } else {
        char gpu[CLUSTER_NAME + 16];
        str_copyf(gpu, sizeof gpu, "%s:%u", n->name, n->devices[p->device].index);
        json_put_str(o, "gpu", gpu);
    }
    json_put_u64(o, "bytes", p->bytes);
}

void cluster_write_instances(const struct cluster_snapshot *s, json_t *doc)
{
    json_t *list = s->n_instances ? json_put_array(doc, "instances") : NULL;
    for (uint32_t i = 0; i < s->n_instances; i++) {
        const struct cluster_instance *x = &s->instances[i];
        json_t *o = json_add_object(list);
        json_put_str(o, "name", x->deployment);
        if (x->id[0])
            json_put_str(o, "id", x->id);
        json_put_u64(o, "replica", x->index);
        if (x->pinned)
            json_put_bool(o, "pinned", true);
        json_put_str(o, "main", s->nodes[x->main].name);
        json_put_u64(o, "main_ram", x->main_ram_bytes);
        json_t *parts = json_put_array(o, "parts");
        for (uint32_t k = 0; k < x->n_parts; k++)
            write_part(s, &x->parts[k], parts);
        if (x->spec)
            json_object_set(o, "spec", x->spec);
    }
}
