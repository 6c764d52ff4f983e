/* The cluster file, schema stowage.cluster/1 (docs/cluster-file.md): strict both ways. */
#include "cluster/cluster.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

static const char *const ROOT_KEYS[] = {"schema", "nodes", "links", "reserve", "engine"};
static const char *const NODE_KEYS[] = {"name", "ram",   "ram_free", "cpus",
                                        "gpus", "state", "reason"};
static const char *const GPU_KEYS[] = {"name", "memory", "free",    "bandwidth", "count",
                                       "uuid", "index",  "backend", "hbm"};
static const char *const LINK_KEYS[] = {"between", "bandwidth", "rtt"};
static const char *const ENGINE_KEYS[] = {"devices"};
static const char *const RESERVE_KEYS[] = {"margin", "runtime"};

/* A size field: text with a unit, or a whole number of bytes. */
static int get_bytes(const json_t *o, const char *key, bool required, uint64_t *out,
                     struct err *err)
{
    const json_t *v = json_object_get(o, key);
    if (v && json_is_string(v))
        return num_bytes(json_string_value(v), key, out, err);
    return json_get_u64(o, key, required, (uint64_t)1 << 60, out, err);
}

static int get_rate(const json_t *o, const char *key, double *out, struct err *err)
{
    const json_t *v = json_object_get(o, key);
    if (v && json_is_string(v))
        return num_rate(json_string_value(v), key, out, err);
    if (json_get_double(o, key, false, out, err))
        return -1;
    if (*out < 0)
        return err_set(err, ERR_INVALID, "'%s' is negative", key);
    return 0;
}

/* Cards whose memory is HBM by their usual names; a file can say `hbm: true` itself. */
static bool looks_like_hbm(const char *name)
{
    static const char *const WORDS[] = {"A100", "H100", "H200",  "H800", "A800", "V100",  "B200",
                                        "P100", "MI50", "MI100", "MI2",  "MI3",  "GH200", "A30"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (strstr(name, WORDS[i]))
            return strcmp(WORDS[i], "A30") != 0 || !strstr(name, "A300");
    return false;
}

static int read_gpu(struct cluster_node *n, const json_t *o, struct err *err)
{
    struct cluster_device d = {.kind = DEVICE_GPU, .backend = BACKEND_CUDA};
    uint64_t count = 1, index = n->n_devices;
    const char *backend = NULL;
    bool has_index = json_object_get(o, "index") != NULL;
    if (json_known_keys(o, "a gpu", GPU_KEYS, ARRAY_LEN(GPU_KEYS), err) ||
        JSON_COPY(o, "name", true, d.name, err) || JSON_COPY(o, "uuid", false, d.uuid, err) ||
        get_bytes(o, "memory", true, &d.total_bytes, err) ||
        json_get_u64(o, "count", false, CLUSTER_MAX_NODE_DEVICES, &count, err) ||
        json_get_u64(o, "index", false, CLUSTER_MAX_NODE_DEVICES, &index, err) ||
        json_get_str(o, "backend", false, &backend, err) ||
        get_rate(o, "bandwidth", &d.bandwidth_bytes_per_s, err))
        return -1;
    d.free_bytes = d.total_bytes;
    d.hbm = looks_like_hbm(d.name);
    if (get_bytes(o, "free", false, &d.free_bytes, err) ||
        json_get_bool(o, "hbm", false, &d.hbm, err) ||
        (backend && device_backend_parse(backend, &d.backend, err)))
        return -1;
    if (d.free_bytes > d.total_bytes)
        return err_set(err, ERR_INVALID, "gpu '%s' has %llu bytes free of %llu", d.name,
                       (unsigned long long)d.free_bytes, (unsigned long long)d.total_bytes);
    if (count > 1 && (d.uuid[0] || has_index))
        return err_set(err, ERR_INVALID,
                       "gpu '%s': uuid and index belong to one card, count is %llu", d.name,
                       (unsigned long long)count);
    if (n->n_devices + count > CLUSTER_MAX_NODE_DEVICES)
        return err_set(err, ERR_LIMIT, "node '%s' has more than %d gpus", n->name,
                       CLUSTER_MAX_NODE_DEVICES);
    for (uint64_t i = 0; i < count; i++) {
        struct cluster_device *slot = node_add_device(n);
        *slot = d;
        slot->index = (uint32_t)(index + i);
        if (!d.uuid[0])
            snprintf(slot->uuid, sizeof slot->uuid, "%.50s:%u", n->name, slot->index);
        for (uint32_t k = 0; k + 1 < n->n_devices; k++)
            if (n->devices[k].index == slot->index)
                return err_set(err, ERR_INVALID, "node '%s' has two gpus with index %u", n->name,
                               slot->index);
    }
    return 0;
}

static int read_node(struct cluster_snapshot *s, const json_t *o, struct err *err)
{
    struct cluster_node *n = snapshot_add_node(s);
    const char *state = "ready";
    if (json_known_keys(o, "a node", NODE_KEYS, ARRAY_LEN(NODE_KEYS), err) ||
        JSON_COPY(o, "name", true, n->name, err) || get_bytes(o, "ram", true, &n->ram_bytes, err))
        return -1;
    if (!n->name[0])
        return err_set(err, ERR_INVALID, "a node has an empty name");
    STR_COPY(n->id, n->name);
    n->ram_free_bytes = n->ram_bytes;
    if (get_bytes(o, "ram_free", false, &n->ram_free_bytes, err) ||
        json_get_u32(o, "cpus", false, 65536, &n->n_cpus, err) ||
        json_get_str(o, "state", false, &state, err) ||
        JSON_COPY(o, "reason", false, n->reason, err))
        return -1;
    if (strcmp(state, "drained") == 0)
        n->state = NODE_DRAINED;
    else if (strcmp(state, "lost") == 0)
        n->state = NODE_LOST;
    else if (strcmp(state, "ready") != 0)
        return err_set(err, ERR_INVALID, "state '%.40s' is none of ready, drained, lost", state);
    struct err e = {0};
    json_t *gpus = json_get_array(o, "gpus", false, &e);
    if (e.code) {
        if (err)
            *err = e;
        return -1;
    }
    for (size_t i = 0; i < json_array_size(gpus); i++)
        if (read_gpu(n, json_array_get(gpus, i), err))
            return -1;
    return 0;
}

static int find_node(const struct cluster_snapshot *s, const json_t *v, uint32_t *out,
                     struct err *err)
{
    const char *name = json_string_value(v);
    for (uint32_t i = 0; name && i < s->n_nodes; i++) {
        if (strcmp(s->nodes[i].name, name) == 0) {
            *out = i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "a link names node '%.60s', which is not in the file",
                   name ? name : "?");
}

static int read_link(struct cluster_snapshot *s, const json_t *o, struct err *err)
{
    struct cluster_link l = {0};
    const json_t *between = json_object_get(o, "between");
    const char *rtt = NULL;
    if (json_known_keys(o, "a link", LINK_KEYS, ARRAY_LEN(LINK_KEYS), err) ||
        get_rate(o, "bandwidth", &l.bytes_per_s, err) || json_get_str(o, "rtt", true, &rtt, err) ||
        num_seconds(rtt, "rtt", &l.rtt_s, err))
        return -1;
    if (l.bytes_per_s <= 0)
        return err_set(err, ERR_INVALID, "a link needs a bandwidth above 0");
    if (json_is_string(between) && strcmp(json_string_value(between), "all") == 0) {
        l.all = true;
    } else if (json_is_array(between) && json_array_size(between) == 2) {
        if (find_node(s, json_array_get(between, 0), &l.a, err) ||
            find_node(s, json_array_get(between, 1), &l.b, err))
            return -1;
    } else {
        return err_set(err, ERR_INVALID, "'between' must be all or [node, node]");
    }
    *snapshot_add_link(s) = l;
    return 0;
}

static void free_names(struct map **m)
{
    map_free(*m);
}

static int read_all(struct cluster_snapshot *s, const json_t *doc, struct err *err)
{
    const char *schema = NULL;
    if (json_known_keys(doc, "a cluster file", ROOT_KEYS, ARRAY_LEN(ROOT_KEYS), err) ||
        json_get_str(doc, "schema", true, &schema, err))
        return -1;
    if (strcmp(schema, "stowage.cluster/1") != 0)
        return err_set(err, ERR_INVALID, "schema is '%.60s'; this program reads stowage.cluster/1",
                       schema);
    json_t *nodes = json_get_array(doc, "nodes", true, err);
    if (!nodes)
        return -1;
    if (json_array_size(nodes) > CLUSTER_MAX_NODES)
        return err_set(err, ERR_LIMIT, "%zu nodes; at most %d are read", json_array_size(nodes),
                       CLUSTER_MAX_NODES);
    __attribute__((cleanup(free_names))) struct map *names = map_new(0);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        if (read_node(s, json_array_get(nodes, i), err)) {
            err_wrap(err, "nodes[%zu]", i);
            return -1;
        }
        if (map_set(names, s->nodes[i].name, s))
            return err_set(err, ERR_INVALID, "two nodes are named '%s'", s->nodes[i].name);
    }
    const json_t *links = json_object_get(doc, "links");
    for (size_t i = 0; i < json_array_size(links); i++) {
        if (read_link(s, json_array_get(links, i), err)) {
            err_wrap(err, "links[%zu]", i);
            return -1;
        }
    }
    const json_t *reserve = json_object_get(doc, "reserve");
    if (reserve &&
        (json_known_keys(reserve, "'reserve'", RESERVE_KEYS, ARRAY_LEN(RESERVE_KEYS), err) ||
         get_bytes(reserve, "margin", false, &s->margin_bytes, err) ||
         get_bytes(reserve, "runtime", false, &s->runtime_bytes, err)))
        return -1;
    const json_t *engine = json_object_get(doc, "engine");
    if (engine &&
        (json_known_keys(engine, "'engine'", ENGINE_KEYS, ARRAY_LEN(ENGINE_KEYS), err) ||
         json_get_u32(engine, "devices", false, CLUSTER_MAX_NODE_DEVICES, &s->engine_devices, err)))
        return -1;
    return 0;
}

int snapshot_from_json(struct cluster_snapshot *s, const json_t *doc, struct err *err)
{
    struct cluster_snapshot fresh;
    snapshot_init(&fresh);
    if (read_all(&fresh, doc, err)) {
        snapshot_done(&fresh);
        return -1;
    }
    snapshot_done(s);
    *s = fresh;
    return 0;
}

json_t *snapshot_to_json(const struct cluster_snapshot *s)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.cluster/1");
    json_t *nodes = json_put_array(doc, "nodes");
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        const struct cluster_node *n = &s->nodes[i];
        json_t *o = json_add_object(nodes);
        json_put_str(o, "name", n->name);
        json_put_u64(o, "ram", n->ram_bytes);
        json_put_u64(o, "ram_free", n->ram_free_bytes);
        json_put_u64(o, "cpus", n->n_cpus);
        if (n->state != NODE_READY)
            json_put_str(o, "state", node_state_name(n->state));
        if (n->reason[0])
            json_put_str(o, "reason", n->reason);
        json_t *gpus = json_put_array(o, "gpus");
        for (uint32_t k = 0; k < n->n_devices; k++) {
            const struct cluster_device *d = &n->devices[k];
            json_t *g = json_add_object(gpus);
            json_put_str(g, "name", d->name);
            json_put_str(g, "uuid", d->uuid);
            json_put_u64(g, "index", d->index);
            json_put_str(g, "backend", device_backend_name(d->backend));
            json_put_u64(g, "memory", d->total_bytes);
            json_put_u64(g, "free", d->free_bytes);
            json_put_double(g, "bandwidth", d->bandwidth_bytes_per_s);
            json_put_bool(g, "hbm", d->hbm);
        }
    }
    json_t *links = json_put_array(doc, "links");
    for (uint32_t i = 0; i < s->n_links; i++) {
        const struct cluster_link *l = &s->links[i];
        json_t *o = json_add_object(links);
        char rtt[32];
        if (l->all)
            json_put_str(o, "between", "all");
        else
            json_object_set_new(o, "between",
                                json_pack("[s,s]", s->nodes[l->a].name, s->nodes[l->b].name));
        json_put_double(o, "bandwidth", l->bytes_per_s);
        snprintf(rtt, sizeof rtt, "%.6gus", l->rtt_s * 1e6);
        json_put_str(o, "rtt", rtt);
    }
    json_t *reserve = json_put_object(doc, "reserve");
    json_put_u64(reserve, "margin", s->margin_bytes);
    json_put_u64(reserve, "runtime", s->runtime_bytes);
    json_put_u64(json_put_object(doc, "engine"), "devices", s->engine_devices);
    return doc;
}
