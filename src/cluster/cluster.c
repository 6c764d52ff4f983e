/* Snapshots and nodes: storage, and the wire form of a node. */
#include "cluster/cluster.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

static const uint64_t BYTES_MAX = (uint64_t)1 << 60; /* of one memory; larger is a typing error */

static const char *const BACKENDS[] = {[BACKEND_CUDA] = "cuda",
                                       [BACKEND_VULKAN] = "vulkan",
                                       [BACKEND_CPU] = "cpu",
                                       [BACKEND_FAKE] = "fake"};
_Static_assert(sizeof BACKENDS / sizeof *BACKENDS == BACKEND_COUNT, "one name per backend");
static const char *const STATES[] = {
    [NODE_READY] = "ready", [NODE_DRAINED] = "drained", [NODE_LOST] = "lost"};
_Static_assert(sizeof STATES / sizeof *STATES == NODE_STATE_COUNT, "one name per node state");

const char *device_backend_name(enum device_backend b)
{
    return (unsigned)b < BACKEND_COUNT ? BACKENDS[b] : "?";
}

int device_backend_parse(const char *name, enum device_backend *out, struct err *err)
{
    for (int i = 0; i < BACKEND_COUNT; i++) {
        if (strcmp(BACKENDS[i], name) == 0) {
            *out = (enum device_backend)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "backend '%.40s' is none of cuda, vulkan, cpu, fake", name);
}

bool device_name_is_hbm(const char *name)
{
    static const char *const WORDS[] = {"A100", "H100", "H200",  "H800", "A800", "V100",  "B200",
                                        "P100", "MI50", "MI100", "MI2",  "MI3",  "GH200", "A30"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (strstr(name, WORDS[i]))
            return strcmp(WORDS[i], "A30") != 0 || !strstr(name, "A300");
    return false;
}

const char *node_state_name(enum node_state s)
{
    return (unsigned)s < NODE_STATE_COUNT ? STATES[s] : "?";
}

void snapshot_init(struct cluster_snapshot *s)
{
    *s = (struct cluster_snapshot){.margin_bytes = 512 * MIB,
                                   .runtime_bytes = 600 * MIB,
                                   .engine_devices = CLUSTER_ENGINE_DEVICES};
}

void node_done(struct cluster_node *n)
{
    for (uint32_t i = 0; i < n->n_files; i++)
        free(n->files[i]);
    free(n->files);
    free(n->labels);
    free(n->devices);
    n->devices = NULL;
    n->labels = NULL;
    n->files = NULL;
    n->n_devices = n->n_labels = n->n_files = 0;
}

void snapshot_done(struct cluster_snapshot *s)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        node_done(&s->nodes[i]);
    for (uint32_t i = 0; i < s->n_instances; i++) {
        free(s->instances[i].parts);
        json_decref(s->instances[i].spec);
    }
    free(s->nodes);
    free(s->links);
    free(s->instances);
    snapshot_init(s);
}

/* Arrays grow at powers of two: the count alone says when. */
static void *append(void *items, uint32_t *n, size_t size)
{
    char *p = items;
    if ((*n & (*n - 1)) == 0)
        p = mem_realloc(p, *n ? (size_t)*n * 2 : 1, size);
    memset(p + (size_t)*n * size, 0, size);
    (*n)++;
    return p;
}

struct cluster_node *snapshot_add_node(struct cluster_snapshot *s)
{
    s->nodes = append(s->nodes, &s->n_nodes, sizeof *s->nodes);
    struct cluster_node *n = &s->nodes[s->n_nodes - 1];
    n->seen_ms = -1;
    return n;
}

struct cluster_device *node_add_device(struct cluster_node *n)
{
    n->devices = append(n->devices, &n->n_devices, sizeof *n->devices);
    return &n->devices[n->n_devices - 1];
}

struct cluster_link *snapshot_add_link(struct cluster_snapshot *s)
{
    s->links = append(s->links, &s->n_links, sizeof *s->links);
    return &s->links[s->n_links - 1];
}

struct cluster_instance *snapshot_add_instance(struct cluster_snapshot *s)
{
    s->instances = append(s->instances, &s->n_instances, sizeof *s->instances);
    return &s->instances[s->n_instances - 1];
}

/* Room for n items in an array that grows at powers of two. */
static size_t copy_room(uint32_t n)
{
    size_t room = 1;
    while (room < n)
        room *= 2;
    return room;
}

static void *copy_of(const void *items, uint32_t n, size_t size)
{
    void *to = mem_calloc(copy_room(n), size);
    if (n)
        memcpy(to, items, n * size);
    return to;
}

static void copy_node(struct cluster_node *to, const struct cluster_node *from)
{
    *to = *from;
    to->devices = copy_of(from->devices, from->n_devices, sizeof *from->devices);
    to->labels = copy_of(from->labels, from->n_labels, sizeof *from->labels);
    to->files = copy_of(from->files, from->n_files, sizeof *from->files);
    for (uint32_t i = 0; i < from->n_files; i++)
        to->files[i] = mem_printf("%s", from->files[i]);
}

void snapshot_copy(struct cluster_snapshot *to, const struct cluster_snapshot *from)
{
    *to = *from;
    to->nodes = copy_of(from->nodes, from->n_nodes, sizeof *from->nodes);
    to->links = copy_of(from->links, from->n_links, sizeof *from->links);
    to->instances = copy_of(from->instances, from->n_instances, sizeof *from->instances);
    for (uint32_t i = 0; i < from->n_nodes; i++)
        copy_node(&to->nodes[i], &from->nodes[i]);
    for (uint32_t i = 0; i < from->n_instances; i++) {
        const struct cluster_instance *x = &from->instances[i];
        to->instances[i].parts = copy_of(x->parts, x->n_parts, sizeof *x->parts);
        json_incref(x->spec);
    }
}

struct cluster_link snapshot_link(const struct cluster_snapshot *s, uint32_t a, uint32_t b)
{
    struct cluster_link best = {.a = a, .b = b, .all = true, .bytes_per_s = 125e6, .rtt_s = 0.2e-3};
    for (uint32_t i = 0; i < s->n_links; i++) {
        const struct cluster_link *l = &s->links[i];
        if (l->all)
            best = *l;
        else if ((l->a == a && l->b == b) || (l->a == b && l->b == a))
            return *l;
    }
    return best;
}

/* ---- labels ---- */

int label_check(const char *label, struct err *err)
{
    const char *equals = strchr(label, '=');
    char clean[CLUSTER_LABEL];
    if (strlen(label) >= CLUSTER_LABEL)
        return err_set(err, ERR_INVALID, "label '%.60s...' has %zu bytes; %d are the most", label,
                       strlen(label), CLUSTER_LABEL - 1);
    str_clean(clean, sizeof clean, str_of(label));
    if (!equals || equals == label || !equals[1] || strcmp(clean, label) != 0)
        return err_set(err, ERR_INVALID, "label '%s' must be key=value", clean);
    return 0;
}

int node_set_label(struct cluster_node *n, const char *label, struct err *err)
{
    size_t key = strcspn(label, "=") + 1;
    for (uint32_t i = 0; i < n->n_labels; i++)
        if (strncmp(n->labels[i], label, key) == 0) {
            STR_COPY(n->labels[i], label);
            return 0;
        }
    if (n->n_labels >= CLUSTER_MAX_LABELS)
        return err_set(err, ERR_LIMIT, "node '%s' has %d labels already", n->name,
                       CLUSTER_MAX_LABELS);
    n->labels = append(n->labels, &n->n_labels, sizeof *n->labels);
    STR_COPY(n->labels[n->n_labels - 1], label);
    return 0;
}

json_t *labels_to_json(const struct cluster_node *n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n->n_labels; i++)
        json_add_str(list, n->labels[i]);
    return list;
}

int labels_from_json(struct cluster_node *n, const json_t *list, struct err *err)
{
    const json_t *v;
    size_t i;
    if (list && !json_is_array(list))
        return err_set(err, ERR_INVALID, "'labels' must be a list");
    json_array_foreach(list, i, v)
    {
        const char *label = json_string_value(v);
        if (!label)
            return err_set(err, ERR_INVALID, "'labels'[%zu] must be a text", i);
        if (label_check(label, err) || node_set_label(n, label, err))
            return -1;
    }
    return 0;
}

/* ---- the wire form ---- */

static void device_to_json(json_t *list, const struct cluster_device *d)
{
    json_t *o = json_add_object(list);
    json_put_str(o, "uuid", d->uuid);
    json_put_u64(o, "index", d->index);
    json_put_str(o, "name", d->name);
    json_put_str(o, "kind", d->kind == DEVICE_GPU ? "gpu" : "cpu");
    json_put_str(o, "backend", device_backend_name(d->backend));
    json_put_u64(o, "total_bytes", d->total_bytes);
    json_put_u64(o, "free_bytes", d->free_bytes);
    json_put_u64(o, "claimed_bytes", d->claimed_bytes);
    json_put_double(o, "bandwidth_bytes_per_s", d->bandwidth_bytes_per_s);
    json_put_bool(o, "hbm", d->hbm);
    if (d->has_readings) {
        json_put_u64(o, "util_percent", d->util_percent);
        json_put_u64(o, "temp_c", d->temp_c);
        json_put_u64(o, "power_w", d->power_w);
    }
}

static int device_from_json(struct cluster_device *d, const json_t *o, struct err *err)
{
    const char *kind = "gpu", *backend = NULL;
    if (JSON_COPY(o, "uuid", true, d->uuid, err) || JSON_COPY(o, "name", true, d->name, err) ||
        json_get_u32(o, "index", true, CLUSTER_MAX_NODE_DEVICES - 1, &d->index, err) ||
        json_get_str(o, "kind", false, &kind, err) ||
        json_get_str(o, "backend", true, &backend, err) ||
        device_backend_parse(backend, &d->backend, err) ||
        json_get_u64(o, "total_bytes", true, BYTES_MAX, &d->total_bytes, err) ||
        json_get_u64(o, "free_bytes", true, BYTES_MAX, &d->free_bytes, err) ||
        json_get_u64(o, "claimed_bytes", false, BYTES_MAX, &d->claimed_bytes, err) ||
        json_get_double(o, "bandwidth_bytes_per_s", false, &d->bandwidth_bytes_per_s, err) ||
        json_get_bool(o, "hbm", false, &d->hbm, err) ||
        json_get_u32(o, "util_percent", false, 100, &d->util_percent, err) ||
        json_get_u32(o, "temp_c", false, 1000, &d->temp_c, err) ||
        json_get_u32(o, "power_w", false, 100000, &d->power_w, err))
        return -1;
    if (!d->uuid[0])
        return err_set(err, ERR_INVALID, "device '%s' has an empty uuid", d->name);
    if (d->bandwidth_bytes_per_s < 0)
        return err_set(err, ERR_INVALID, "device '%s' has a negative bandwidth", d->name);
    d->kind = strcmp(kind, "cpu") == 0 ? DEVICE_CPU : DEVICE_GPU;
    d->has_readings = json_object_get(o, "util_percent") != NULL;
    if (d->free_bytes > d->total_bytes)
        d->free_bytes = d->total_bytes;
    return 0;
}

json_t *node_to_json(const struct cluster_node *n)
{
    json_t *o = json_object();
    json_put_str(o, "id", n->id);
    json_put_str(o, "name", n->name);
    json_put_str(o, "addr", n->addr);
    json_put_str(o, "state", node_state_name(n->state));
    json_put_str(o, "reason", n->reason);
    json_put_str(o, "version", n->version);
    json_put_str(o, "engine", n->engine);
    json_put_u64(o, "engine_devices", n->engine_devices);
    json_put_u64(o, "ram_bytes", n->ram_bytes);
    json_put_u64(o, "ram_free_bytes", n->ram_free_bytes);
    json_put_u64(o, "n_cpus", n->n_cpus);
    if (n->seen_ms >= 0)
        json_put_u64(o, "seen_ms", (uint64_t)n->seen_ms);
    if (n->n_labels)
        json_object_set_new(o, "labels", labels_to_json(n));
    json_t *devices = json_put_array(o, "devices");
    for (uint32_t i = 0; i < n->n_devices; i++)
        device_to_json(devices, &n->devices[i]);
    return o;
}

static int devices_from_json(struct cluster_node *n, const json_t *list, struct err *err)
{
    size_t count = json_array_size(list);
    if (count > CLUSTER_MAX_NODE_DEVICES)
        return err_set(err, ERR_LIMIT, "node '%s' has %zu devices; at most %d are allowed", n->name,
                       count, CLUSTER_MAX_NODE_DEVICES);
    for (size_t i = 0; i < count; i++) {
        struct cluster_device *d = node_add_device(n);
        if (device_from_json(d, json_array_get(list, i), err)) {
            err_wrap(err, "node '%s', device %zu", n->name, i);
            return -1;
        }
        for (uint32_t k = 0; k + 1 < n->n_devices; k++)
            if (strcmp(n->devices[k].uuid, d->uuid) == 0 || n->devices[k].index == d->index)
                return err_set(err, ERR_INVALID, "node '%s' has device '%s' (index %u) twice",
                               n->name, d->uuid, d->index);
    }
    return 0;
}

int node_from_json(struct cluster_node *n, const json_t *doc, struct err *err)
{
    const char *state = "ready";
    uint64_t seen = 0;
    if (!json_is_object(doc))
        return err_set(err, ERR_INVALID, "a node must be an object");
    if (JSON_COPY(doc, "id", false, n->id, err) || JSON_COPY(doc, "name", true, n->name, err) ||
        JSON_COPY(doc, "addr", false, n->addr, err) ||
        JSON_COPY(doc, "reason", false, n->reason, err) ||
        JSON_COPY(doc, "version", false, n->version, err) ||
        JSON_COPY(doc, "engine", false, n->engine, err) ||
        json_get_u32(doc, "engine_devices", false, CLUSTER_MAX_NODE_DEVICES, &n->engine_devices,
                     err) ||
        json_get_str(doc, "state", false, &state, err) ||
        json_get_u64(doc, "ram_bytes", true, BYTES_MAX, &n->ram_bytes, err) ||
        json_get_u64(doc, "ram_free_bytes", true, BYTES_MAX, &n->ram_free_bytes, err) ||
        json_get_u32(doc, "n_cpus", false, 65536, &n->n_cpus, err) ||
        json_get_u64(doc, "seen_ms", false, INT64_MAX, &seen, err))
        return -1;
    n->seen_ms = json_object_get(doc, "seen_ms") ? (int64_t)seen : -1;
    for (int i = 0; i < NODE_STATE_COUNT; i++)
        if (strcmp(STATES[i], state) == 0)
            n->state = (enum node_state)i;
    struct err e = {0};
    json_t *list = json_get_array(doc, "devices", false, &e);
    if (e.code) {
        if (err)
            *err = e;
        return -1;
    }
    if (devices_from_json(n, list, err) ||
        labels_from_json(n, json_object_get(doc, "labels"), err)) {
        node_done(n);
        return -1;
    }
    return 0;
}
