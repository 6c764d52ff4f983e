/* Reading the cluster file, schema stowage.cluster/1 (docs/cluster-file.md). Nothing is guessed:
 * whatever cannot be meant is refused with file, line and place. */
#include "cluster/cluster_file.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

#define MEMORY_MIN MIB
#define MEMORY_MAX (1ull << 50) /* 1 PiB; larger is a slip of the unit */
#define NOT_GIVEN UINT64_MAX    /* free memory, until it is known what instances hold */

static const char *const BACKENDS[] = {[BACKEND_CUDA] = "cuda",
                                       [BACKEND_VULKAN] = "vulkan",
                                       [BACKEND_CPU] = "cpu",
                                       [BACKEND_FAKE] = "fake"};
_Static_assert(ARRAY_LEN(BACKENDS) == BACKEND_COUNT, "one name per backend");
static const char *const STATES[] = {
    [NODE_READY] = "ready", [NODE_DRAINED] = "drained", [NODE_LOST] = "lost"};
_Static_assert(ARRAY_LEN(STATES) == NODE_STATE_COUNT, "one name per node state");

struct gpu_row {
    struct cluster_device d;
    uint32_t count;
    double watts;
};

/* clang-format off */
#define N(member) DOC_FIELD(struct cluster_node, member)
static const struct doc_field NODE_FIELDS[] = {
    {"name", DOC_TEXT, true, N(name)},
    {"id", DOC_TEXT, false, N(id)},
    {"ram", DOC_BYTES, true, N(ram_bytes), .lo = MEMORY_MIN, .hi = MEMORY_MAX},
    {"ram_free", DOC_BYTES, false, N(ram_free_bytes), .lo = 0, .hi = MEMORY_MAX},
    {"cpus", DOC_U32, false, N(n_cpus), .lo = 1, .hi = 65536},
    {"state", DOC_CHOICE, false, N(state), .choices = STATES, .n_choices = ARRAY_LEN(STATES)},
    {"reason", DOC_TEXT, false, N(reason)},
    {"labels", DOC_OTHER},
    {"files", DOC_OTHER},
    {"gpus", DOC_OTHER},
};
#define G(member) DOC_FIELD(struct gpu_row, member)
static const struct doc_field GPU_FIELDS[] = {
    {"name", DOC_TEXT, true, G(d.name)},
    {"memory", DOC_BYTES, true, G(d.total_bytes), .lo = MEMORY_MIN, .hi = MEMORY_MAX},
    {"free", DOC_BYTES, false, G(d.free_bytes), .lo = 0, .hi = MEMORY_MAX},
    {"bandwidth", DOC_RATE, false, G(d.bandwidth_bytes_per_s), .lo = 1e6, .hi = 1e15},
    {"count", DOC_U32, false, G(count), .lo = 1, .hi = CLUSTER_MAX_NODE_DEVICES},
    {"uuid", DOC_TEXT, false, G(d.uuid)},
    {"index", DOC_U32, false, G(d.index), .lo = 0, .hi = CLUSTER_MAX_NODE_DEVICES - 1},
    {"backend", DOC_CHOICE, false, G(d.backend), .choices = BACKENDS, .n_choices = ARRAY_LEN(BACKENDS)},
    {"hbm", DOC_BOOL, false, G(d.hbm)},
    {"power", DOC_WATTS, false, G(watts), .lo = 1, .hi = 100000},
    {"price", DOC_NUMBER, false, G(d.price), .lo = 0.01, .hi = 1e9},
};
#define L(member) DOC_FIELD(struct cluster_link, member)
static const struct doc_field LINK_FIELDS[] = {
    {"between", DOC_OTHER, true},
    {"bandwidth", DOC_RATE, true, L(bytes_per_s), .lo = 1e3, .hi = 1e15},
    {"rtt", DOC_SECONDS, true, L(rtt_s), .lo = 0, .hi = 10},
};
#define S(member) DOC_FIELD(struct cluster_snapshot, member)
static const struct doc_field RESERVE_FIELDS[] = {
    {"margin", DOC_BYTES, false, S(margin_bytes), .lo = 0, .hi = 1ull << 40},
    {"runtime", DOC_BYTES, false, S(runtime_bytes), .lo = 0, .hi = 1ull << 40},
};
static const struct doc_field ENGINE_FIELDS[] = {
    {"devices", DOC_U32, false, S(engine_devices), .lo = 0, .hi = CLUSTER_MAX_NODE_DEVICES},
};
static const struct doc_field ROOT_FIELDS[] = {
    {"schema", DOC_OTHER, true}, {"nodes", DOC_OTHER, true}, {"links", DOC_OTHER},
    {"reserve", DOC_OTHER},      {"engine", DOC_OTHER},      {"instances", DOC_OTHER},
    {"models", DOC_OTHER}, /* of `apply` and `plan`: not a part of the cluster */
};
/* clang-format on */

/* ---- GPUs ---- */

/* A card without a uuid gets one that is as good inside this file: node:index, or with the number
 * of the node where its name leaves no room for that. */
static void make_uuid(const struct cluster_reader *r, const struct cluster_node *n,
                      struct cluster_device *d)
{
    if (!str_copyf(d->uuid, sizeof d->uuid, "%s:%u", n->name, d->index))
        str_copyf(d->uuid, sizeof d->uuid, "%.40s~%u:%u", n->name, r->s->n_nodes - 1, d->index);
}

static int add_gpu(struct cluster_reader *r, const struct doc_at *at,
                   const struct cluster_device *d, struct err *err)
{
    struct cluster_node *n = &r->s->nodes[r->s->n_nodes - 1];
    if (n->n_devices == CLUSTER_MAX_NODE_DEVICES)
        return doc_fault(at, err, "node '%s' has more than %d GPUs", n->name,
                         CLUSTER_MAX_NODE_DEVICES);
    if (r->n_gpus == CLUSTER_MAX_DEVICES)
        return doc_fault(at, err, "more than %d GPUs in one cluster", CLUSTER_MAX_DEVICES);
    for (uint32_t k = 0; k < n->n_devices; k++)
        if (n->devices[k].index == d->index)
            return doc_fault(at, err, "%s:%u is there already; give each GPU its own index",
                             n->name, d->index);
    struct cluster_device *slot = node_add_device(n);
    *slot = *d;
    if (!slot->uuid[0])
        make_uuid(r, n, slot);
    mem_grow(&r->gpus, &r->cap_gpus, r->n_gpus + 1, sizeof *r->gpus);
    r->gpus[r->n_gpus++] = (struct cluster_gpu_at){r->s->n_nodes - 1, n->n_devices - 1};
    size_t was = (uintptr_t)map_set(r->by_uuid, slot->uuid, (void *)(uintptr_t)r->n_gpus);
    if (!was)
        return 0;
    const struct cluster_node *other = &r->s->nodes[r->gpus[was - 1].node];
    return doc_fault(at, err, "uuid '%s' is that of %s:%u too", slot->uuid, other->name,
                     other->devices[r->gpus[was - 1].device].index);
}

static int read_gpu(struct cluster_reader *r, const struct doc_at *at, struct err *err)
{
    const struct cluster_node *n = &r->s->nodes[r->s->n_nodes - 1];
    struct gpu_row g = {.d = {.kind = DEVICE_GPU, .backend = BACKEND_CUDA, .free_bytes = NOT_GIVEN},
                        .count = 1};
    g.d.index = n->n_devices;
    if (doc_fields(at, GPU_FIELDS, ARRAY_LEN(GPU_FIELDS), &g, err))
        return -1;
    g.d.tdp_w = (uint32_t)(g.watts + 0.5);
    if (!doc_has(at, "hbm"))
        g.d.hbm = device_name_is_hbm(g.d.name);
    if (g.d.free_bytes != NOT_GIVEN && g.d.free_bytes > g.d.total_bytes) {
        const struct doc_at free_at = doc_member(at, "free");
        char total[24], left[24];
        return doc_fault(&free_at, err, "%s free of %s",
                         num_fmt_gib(left, sizeof left, g.d.free_bytes),
                         num_fmt_gib(total, sizeof total, g.d.total_bytes));
    }
    if (g.count > 1 && (g.d.uuid[0] || doc_has(at, "index")))
        return doc_fault(at, err, "uuid and index belong to one card, but count is %u", g.count);
    for (uint32_t i = 0; i < g.count; i++) {
        if (add_gpu(r, at, &g.d, err))
            return -1;
        g.d.index++;
    }
    return 0;
}

/* ---- nodes ---- */

/* As a live node's, so that node:index and lists with commas stay readable. */
static bool name_ok(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
            !strchr("._-", *p))
            return false;
    return name[0] != '-' && name[0] != '.';
}

static int read_name(struct cluster_reader *r, const struct doc_at *at, struct cluster_node *n,
                     struct err *err)
{
    const struct doc_at name = doc_member(at, "name");
    if (!name_ok(n->name))
        return doc_fault(&name, err,
                         "'%s' must be letters, digits, '.', '_' or '-', and not begin with '.' or "
                         "'-'",
                         n->name);
    size_t was = (uintptr_t)map_set(r->by_name, n->name, (void *)(uintptr_t)r->s->n_nodes);
    if (was) {
        const struct doc_at first = doc_item(&r->nodes, was - 1);
        return doc_fault(&name, err, "'%s' is the name of nodes[%zu] too, in line %u", n->name,
                         was - 1, doc_line(&first));
    }
    if (!n->id[0] && !STR_COPY(n->id, n->name)) /* an id is shorter than a name may be */
        str_copyf(n->id, sizeof n->id, "%.24s~%zu", n->name, (size_t)r->s->n_nodes - 1);
    was = (uintptr_t)map_set(r->by_id, n->id, (void *)(uintptr_t)r->s->n_nodes);
    if (was)
        return doc_fault(at, err, "the id '%s' is that of nodes[%zu] too", n->id, was - 1);
    return 0;
}

static int read_labels(struct cluster_node *n, const struct doc_at *at, struct err *err)
{
    const char *key;
    json_t *v;
    if (doc_map(at, CLUSTER_MAX_LABELS, err))
        return -1;
    n->labels = mem_calloc(json_object_size(at->v), sizeof *n->labels);
    json_object_foreach(at->v, key, v)
    {
        const struct doc_at member = doc_member(at, key);
        char value[CLUSTER_LABEL], clean[CLUSTER_LABEL];
        if (doc_text(&member, value, sizeof value, err))
            return -1;
        str_clean(clean, sizeof clean, str_of(key));
        if (!*key || strchr(key, '=') || strcmp(clean, key) != 0)
            return doc_fault(&member, err, "a label's key must be text without '='");
        if (!str_copyf(n->labels[n->n_labels++], CLUSTER_LABEL, "%s=%s", key, value))
            return doc_fault(&member, err, "a label of %zu bytes; key=value may have %d",
                             strlen(key) + 1 + strlen(value), CLUSTER_LABEL - 1);
    }
    return 0;
}

static int read_files(struct cluster_node *n, const struct doc_at *at, struct err *err)
{
    size_t count;
    if (doc_list(at, CLUSTER_MAX_FILES, &count, err))
        return -1;
    n->files = mem_calloc(count, sizeof *n->files);
    for (size_t i = 0; i < count; i++) {
        const struct doc_at item = doc_item(at, i);
        char path[CLUSTER_FILE];
        if (doc_text(&item, path, sizeof path, err))
            return -1;
        if (path[0] != '/')
            return doc_fault(&item, err, "'%.60s' must be an absolute path", path);
        n->files[n->n_files++] = mem_strdup(path);
    }
    return 0;
}

static int read_node(struct cluster_reader *r, const struct doc_at *at, struct err *err)
{
    struct cluster_node *n = snapshot_add_node(r->s);
    const struct doc_at labels = doc_member(at, "labels"), files = doc_member(at, "files"),
                        gpus = doc_member(at, "gpus"), free_at = doc_member(at, "ram_free");
    size_t count;
    n->ram_free_bytes = NOT_GIVEN;
    if (doc_fields(at, NODE_FIELDS, ARRAY_LEN(NODE_FIELDS), n, err) || read_name(r, at, n, err) ||
        read_labels(n, &labels, err) || read_files(n, &files, err) ||
        doc_list(&gpus, CLUSTER_MAX_NODE_DEVICES, &count, err))
        return -1;
    if (free_at.v && n->ram_free_bytes > n->ram_bytes) {
        char total[24], left[24];
        return doc_fault(&free_at, err, "%s free of %s",
                         num_fmt_gib(left, sizeof left, n->ram_free_bytes),
                         num_fmt_gib(total, sizeof total, n->ram_bytes));
    }
    for (size_t i = 0; i < count; i++) {
        const struct doc_at gpu = doc_item(&gpus, i);
        if (read_gpu(r, &gpu, err))
            return -1;
    }
    return 0;
}

static int read_nodes(struct cluster_reader *r, struct err *err)
{
    size_t count;
    if (doc_list(&r->nodes, CLUSTER_MAX_NODES, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct doc_at node = doc_item(&r->nodes, i);
        if (read_node(r, &node, err))
            return -1;
    }
    r->ram_held = mem_calloc(count, sizeof *r->ram_held);
    return 0;
}

int cluster_find_node(const struct cluster_reader *r, const struct doc_at *at, uint32_t *out,
                      struct err *err)
{
    char name[CLUSTER_NAME];
    if (doc_text(at, name, sizeof name, err))
        return -1;
    size_t found = (uintptr_t)map_get(r->by_name, name);
    if (found) {
        *out = (uint32_t)(found - 1);
        return 0;
    }
    const struct cluster_node *nodes = r->s->nodes;
    const char *near =
        nodes ? str_nearest_in(name, nodes->name, r->s->n_nodes, sizeof *nodes) : NULL;
    return doc_fault(at, err, "there is no node '%s' in this file%s", name,
                     str_did_you_mean(near).text);
}

/* ---- links ---- */

/* Which nodes a link joins; a pair (or `all`) has one link. */
static int read_ends(struct cluster_reader *r, const struct doc_at *at, struct cluster_link *l,
                     struct map *seen, struct err *err)
{
    char pair[32] = "all";
    l->all = json_is_string(at->v) && strcmp(json_string_value(at->v), "all") == 0;
    if (!l->all) {
        const struct doc_at a = doc_item(at, 0), b = doc_item(at, 1);
        if (json_array_size(at->v) != 2)
            return doc_fault(at, err, "must be all, or two nodes: [a, b]");
        if (cluster_find_node(r, &a, &l->a, err) || cluster_find_node(r, &b, &l->b, err))
            return -1;
        if (l->a == l->b)
            return doc_fault(at, err, "a link from '%s' to itself", r->s->nodes[l->a].name);
        str_copyf(pair, sizeof pair, "%u %u", l->a < l->b ? l->a : l->b, l->a < l->b ? l->b : l->a);
    }
    size_t was = (uintptr_t)map_set(seen, pair, (void *)(uintptr_t)(r->s->n_links + 1));
    if (!was)
        return 0;
    if (l->all)
        return doc_fault(at, err, "links[%zu] is for all pairs already", was - 1);
    return doc_fault(at, err, "'%s' and '%s' have a link already, links[%zu]",
                     r->s->nodes[l->a].name, r->s->nodes[l->b].name, was - 1);
}

static void free_map(struct map **m)
{
    map_free(*m);
}

static int read_links(struct cluster_reader *r, struct err *err)
{
    const struct doc_at links = doc_member(&r->root, "links");
    size_t count;
    if (doc_list(&links, CLUSTER_MAX_LINKS, &count, err))
        return -1;
    __attribute__((cleanup(free_map))) struct map *seen = map_new(0);
    for (size_t i = 0; i < count; i++) {
        const struct doc_at link = doc_item(&links, i), between = doc_member(&link, "between");
        struct cluster_link l = {0};
        if (doc_fields(&link, LINK_FIELDS, ARRAY_LEN(LINK_FIELDS), &l, err) ||
            read_ends(r, &between, &l, seen, err))
            return -1;
        *snapshot_add_link(r->s) = l;
    }
    return 0;
}

/* ---- the whole ---- */

/* What is not said to be free is free but for what instances hold; together they fit. */
static int settle(const struct doc_at *at, const char *what, uint64_t total, uint64_t held,
                  uint64_t *free_bytes, struct err *err)
{
    if (*free_bytes == NOT_GIVEN)
        *free_bytes = held < total ? total - held : 0;
    if (num_add_sat(held, *free_bytes) <= total)
        return 0;
    char text[3][24];
    return doc_fault(at, err, "%s: instances hold %s and %s is free, of %s", what,
                     num_fmt_gib(text[0], sizeof text[0], held),
                     num_fmt_gib(text[1], sizeof text[1], *free_bytes),
                     num_fmt_gib(text[2], sizeof text[2], total));
}

static int settle_all(struct cluster_reader *r, struct err *err)
{
    for (uint32_t i = 0; i < r->s->n_nodes; i++) {
        struct cluster_node *n = &r->s->nodes[i];
        const struct doc_at at = doc_item(&r->nodes, i);
        if (settle(&at, "RAM", n->ram_bytes, r->ram_held[i], &n->ram_free_bytes, err))
            return -1;
        for (uint32_t k = 0; k < n->n_devices; k++) {
            struct cluster_device *d = &n->devices[k];
            char what[CLUSTER_NAME + 16];
            str_copyf(what, sizeof what, "%s:%u", n->name, d->index);
            if (settle(&at, what, d->total_bytes, d->claimed_bytes, &d->free_bytes, err))
                return -1;
        }
    }
    return 0;
}

static int read_all(struct cluster_reader *r, struct err *err)
{
    const struct doc_at reserve = doc_member(&r->root, "reserve"),
                        engine = doc_member(&r->root, "engine");
    if (doc_schema(r->root.doc, CLUSTER_SCHEMA, err) ||
        doc_fields(&r->root, ROOT_FIELDS, ARRAY_LEN(ROOT_FIELDS), NULL, err) ||
        (reserve.v && doc_fields(&reserve, RESERVE_FIELDS, ARRAY_LEN(RESERVE_FIELDS), r->s, err)) ||
        (engine.v && doc_fields(&engine, ENGINE_FIELDS, ARRAY_LEN(ENGINE_FIELDS), r->s, err)))
        return -1;
    return read_nodes(r, err) || read_links(r, err) || cluster_read_instances(r, err) ||
                   settle_all(r, err)
               ? -1
               : 0;
}

int snapshot_from_doc(struct cluster_snapshot *s, const struct doc *d, struct err *err)
{
    struct cluster_snapshot fresh;
    snapshot_init(&fresh);
    struct cluster_reader r = {.s = &fresh,
                               .root = doc_root(d),
                               .by_name = map_new(0),
                               .by_uuid = map_new(0),
                               .by_id = map_new(0)};
    r.nodes = doc_member(&r.root, "nodes");
    int rc = read_all(&r, err);
    map_free(r.by_name);
    map_free(r.by_uuid);
    map_free(r.by_id);
    free(r.gpus);
    free(r.ram_held);
    if (rc) {
        snapshot_done(&fresh);
        return -1;
    }
    snapshot_done(s);
    *s = fresh;
    return 0;
}

int snapshot_from_json(struct cluster_snapshot *s, const json_t *tree, struct err *err)
{
    struct doc d = doc_of(tree);
    return snapshot_from_doc(s, &d, err);
}
