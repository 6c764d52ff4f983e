/* Bytes of instances, taken and given; see hold.h. */
#include "place/hold.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

struct map *hold_nodes(const struct cluster_snapshot *s)
{
    struct map *m = map_new(0);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        map_set(m, s->nodes[i].id, (void *)((uintptr_t)i + 1));
    return m;
}

static uint32_t find_node(const struct cluster_snapshot *s, const struct map *nodes, const char *id)
{
    if (nodes)
        return (uint32_t)((uintptr_t)map_get(nodes, id) - 1);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (strcmp(s->nodes[i].id, id) == 0)
            return i;
    return UINT32_MAX;
}

static uint32_t find_device(const struct cluster_node *n, const struct assignment_part *p)
{
    for (uint32_t i = 0; i < n->n_devices; i++)
        if (n->devices[i].index == p->index && strcmp(n->devices[i].uuid, p->uuid) == 0)
            return i;
    return UINT32_MAX;
}

int hold_of(const struct cluster_snapshot *s, const struct map *nodes, const struct assignment *a,
            struct cluster_instance *out, struct err *err)
{
    uint32_t main = find_node(s, nodes, a->main_id);
    if (main >= s->n_nodes)
        return err_set(err, ERR_NOT_FOUND, "the main node '%s' of the plan is not in the cluster",
                       a->main_id);
    mem_auto struct cluster_instance_part *parts = mem_calloc(a->n_parts + 1, sizeof *parts);
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct assignment_part *p = &a->parts[i];
        struct cluster_instance_part *to = &parts[i];
        bool ram = p->backend == BACKEND_CPU && !p->uuid[0];
        to->node = find_node(s, nodes, p->node_id);
        to->bytes = assignment_part_bytes(p);
        if (to->node >= s->n_nodes)
            return err_set(err, ERR_NOT_FOUND, "node '%s' of the plan is not in the cluster",
                           p->node_id);
        to->device = ram ? UINT32_MAX : find_device(&s->nodes[to->node], p);
        if (!ram && to->device == UINT32_MAX)
            return err_set(err, ERR_NOT_FOUND, "node '%s' has no GPU %u with uuid '%s'", p->node,
                           p->index, p->uuid);
    }
    out->main = main;
    out->main_ram_bytes =
        num_add_sat(a->host_weights_bytes, num_add_sat(a->host_kv_bytes, a->host_compute_bytes));
    out->n_parts = a->n_parts;
    out->parts = STEAL(parts);
    return 0;
}

void hold_done(struct cluster_instance *i)
{
    free(i->parts);
    i->parts = NULL;
    i->n_parts = 0;
}

static uint64_t *free_at(struct cluster_snapshot *s, uint32_t node, uint32_t device)
{
    struct cluster_node *n = &s->nodes[node];
    return device == UINT32_MAX ? &n->ram_free_bytes : &n->devices[device].free_bytes;
}

static bool take(struct cluster_snapshot *s, uint32_t node, uint32_t device, uint64_t bytes)
{
    uint64_t *have = free_at(s, node, device);
    if (*have < bytes)
        return false;
    *have -= bytes;
    return true;
}

static void give_parts(struct cluster_snapshot *s, const struct cluster_instance *i, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        *free_at(s, i->parts[k].node, i->parts[k].device) += i->parts[k].bytes;
}

int hold_take(struct cluster_snapshot *s, const struct cluster_instance *i, struct err *err)
{
    for (uint32_t k = 0; k < i->n_parts; k++) {
        const struct cluster_instance_part *p = &i->parts[k];
        if (take(s, p->node, p->device, p->bytes))
            continue;
        give_parts(s, i, k);
        return err_set(err, ERR_NO_PLACEMENT, "part %u needs %llu bytes on '%s', %llu are free", k,
                       (unsigned long long)p->bytes, s->nodes[p->node].name,
                       (unsigned long long)*free_at(s, p->node, p->device));
    }
    if (take(s, i->main, UINT32_MAX, i->main_ram_bytes))
        return 0;
    give_parts(s, i, i->n_parts);
    return err_set(err, ERR_NO_PLACEMENT, "the RAM of '%s' must hold %llu bytes, %llu are free",
                   s->nodes[i->main].name, (unsigned long long)i->main_ram_bytes,
                   (unsigned long long)s->nodes[i->main].ram_free_bytes);
}

void hold_give(struct cluster_snapshot *s, const struct cluster_instance *i)
{
    give_parts(s, i, i->n_parts);
    *free_at(s, i->main, UINT32_MAX) += i->main_ram_bytes;
}
