/* Writing a snapshot as a cluster file that plans the same: what is not known is left out. What
 * drivers and people said is written so that the strict reader takes it. */
#include "cluster/cluster_file.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

/* Text from outside, without what cannot be shown. */
static void put_shown(json_t *o, const char *key, const char *text)
{
    char clean[CLUSTER_NAME];
    str_clean(clean, sizeof clean, str_of(text));
    json_put_str(o, key, clean);
}

/* Some cards are known by their bus address alone, which another node may have too: then the file
 * names the later one by node:index. */
static void write_gpu(const struct cluster_device *d, struct map *uuids, json_t *list)
{
    json_t *o = json_add_object(list);
    put_shown(o, "name", d->name[0] ? d->name : "unknown");
    if (!map_set(uuids, d->uuid, uuids))
        put_shown(o, "uuid", d->uuid);
    json_put_u64(o, "index", d->index);
    json_put_str(o, "backend", device_backend_name(d->backend));
    json_put_u64(o, "memory", d->total_bytes);
    json_put_u64(o, "free", d->free_bytes);
    if (d->bandwidth_bytes_per_s > 0)
        json_put_double(o, "bandwidth", d->bandwidth_bytes_per_s);
    json_put_bool(o, "hbm", d->hbm);
    if (d->tdp_w)
        json_put_u64(o, "power", d->tdp_w);
    if (d->price > 0)
        json_put_double(o, "price", d->price);
}

static void write_labels(const struct cluster_node *n, json_t *o)
{
    json_t *labels = n->n_labels ? json_put_object(o, "labels") : NULL;
    for (uint32_t i = 0; i < n->n_labels; i++) {
        char key[CLUSTER_LABEL];
        STR_COPY(key, n->labels[i]);
        char *value = strchr(key, '=');
        if (!value)
            continue; /* not one of ours: a label is key=value */
        *value = 0;
        json_put_str(labels, key, value + 1);
    }
}

static void write_node(const struct cluster_node *n, struct map *uuids, json_t *list)
{
    json_t *o = json_add_object(list);
    json_put_str(o, "name", n->name);
    if (n->id[0] && strcmp(n->id, n->name) != 0)
        json_put_str(o, "id", n->id);
    json_put_u64(o, "ram", n->ram_bytes);
    json_put_u64(o, "ram_free", n->ram_free_bytes);
    if (n->n_cpus)
        json_put_u64(o, "cpus", n->n_cpus);
    if (n->state != NODE_READY)
        json_put_str(o, "state", node_state_name(n->state));
    if (n->reason[0])
        put_shown(o, "reason", n->reason);
    write_labels(n, o);
    json_t *files = n->n_files ? json_put_array(o, "files") : NULL;
    for (uint32_t i = 0; i < n->n_files; i++)
        json_add_str(files, n->files[i]);
    json_t *gpus = json_put_array(o, "gpus");
    for (uint32_t k = 0; k < n->n_devices; k++)
        write_gpu(&n->devices[k], uuids, gpus);
}

static void write_link(const struct cluster_snapshot *s, const struct cluster_link *l, json_t *list)
{
    json_t *o = json_add_object(list);
    char rtt[48];
    if (l->all) {
        json_put_str(o, "between", "all");
    } else {
        json_t *ends = json_put_array(o, "between");
        json_add_str(ends, s->nodes[l->a].name);
        json_add_str(ends, s->nodes[l->b].name);
    }
    json_put_double(o, "bandwidth", l->bytes_per_s);
    json_put_str(o, "rtt", num_fmt_unit(rtt, sizeof rtt, NUM_SECONDS, l->rtt_s));
}

json_t *snapshot_to_json(const struct cluster_snapshot *s)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", CLUSTER_SCHEMA);
    json_t *nodes = json_put_array(doc, "nodes");
    struct map *uuids = map_new(0);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        write_node(&s->nodes[i], uuids, nodes);
    map_free(uuids);
    json_t *links = json_put_array(doc, "links");
    for (uint32_t i = 0; i < s->n_links; i++)
        write_link(s, &s->links[i], links);
    json_t *reserve = json_put_object(doc, "reserve");
    json_put_u64(reserve, "margin", s->margin_bytes);
    json_put_u64(reserve, "runtime", s->runtime_bytes);
    json_put_u64(json_put_object(doc, "engine"), "devices", s->engine_devices);
    cluster_write_instances(s, doc);
    return doc;
}
