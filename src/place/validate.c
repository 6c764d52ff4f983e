/* The independent check of a placement. It shares no code with the search: it knows the snapshot,
 * the model and the assignment, and asks only estimate/ for bytes. */
#include "place/place.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

static const struct cluster_node *find_node(const struct cluster_snapshot *s, const char *id)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (strcmp(s->nodes[i].id, id) == 0)
            return &s->nodes[i];
    return NULL;
}

static bool in_list(const struct name_list *l, const char *a, const char *b)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], a) == 0 || strcmp(l->items[i], b) == 0)
            return true;
    return false;
}

static int check_node(const struct cluster_node *n, const char *id,
                      const struct deployment_spec *spec, struct err *err)
{
    if (!n)
        return err_set(err, ERR_NOT_FOUND, "node '%s' of the plan is not in the cluster", id);
    if (n->state != NODE_READY)
        return err_set(err, ERR_CONFLICT, "node '%s' is %s", n->name, node_state_name(n->state));
    if (spec->want.nodes.n && !in_list(&spec->want.nodes, n->name, n->id))
        return err_set(err, ERR_CONFLICT, "node '%s' was not asked for", n->name);
    if (in_list(&spec->want.exclude_nodes, n->name, n->id))
        return err_set(err, ERR_CONFLICT, "node '%s' was excluded", n->name);
    return 0;
}

/* Free bytes of the part's device, after checking that the part names a device there is. */
static int check_device(const struct cluster_node *n, const struct assignment_part *p,
                        const struct deployment_spec *spec, uint64_t *free_bytes, struct err *err)
{
    if (p->backend == BACKEND_CPU && !p->uuid[0]) {
        *free_bytes = n->ram_free_bytes;
        return spec->want.no_ram
                   ? err_set(err, ERR_CONFLICT, "RAM of '%s' used, but forbidden", n->name)
                   : 0;
    }
    for (uint32_t i = 0; i < n->n_devices; i++) {
        const struct cluster_device *d = &n->devices[i];
        if (d->index != p->index || strcmp(d->uuid, p->uuid) != 0)
            continue;
        mem_auto char *name = mem_printf("%s:%u", n->name, d->index);
        if (spec->want.gpus.n && !in_list(&spec->want.gpus, name, d->uuid))
            return err_set(err, ERR_CONFLICT, "GPU %.100s was not asked for", name);
        *free_bytes = d->free_bytes;
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "node '%s' has no GPU %u with uuid '%s'", n->name, p->index,
                   p->uuid);
}

static int check_bytes(const char *what, uint64_t said, uint64_t is, struct err *err)
{
    if (said != is)
        return err_set(err, ERR_CONFLICT, "%s: the plan says %llu bytes, the model %llu", what,
                       (unsigned long long)said, (unsigned long long)is);
    return 0;
}

static int check_part(const struct cluster_snapshot *s, const struct place_demand *d,
                      const struct assignment_part *p, const struct estimate_bytes *b,
                      struct err *err)
{
    const struct cluster_node *n = find_node(s, p->node_id);
    uint64_t have = 0, runtime = p->backend == BACKEND_CPU && !p->uuid[0] ? 0 : s->runtime_bytes;
    if (check_node(n, p->node_id, d->spec, err) || check_device(n, p, d->spec, &have, err) ||
        check_bytes("weights", p->weights_bytes, b->weights, err) ||
        check_bytes("KV", p->kv_bytes, b->kv, err) ||
        check_bytes("compute", p->compute_bytes, b->compute, err) ||
        check_bytes("runtime", p->runtime_bytes, runtime, err))
        return -1;
    uint64_t need = num_add_sat(num_add_sat(b->weights, b->kv), num_add_sat(b->compute, runtime));
    need = num_add_sat(need, s->margin_bytes);
    if (need > have)
        return err_set(err, ERR_NO_PLACEMENT, "%s:%u needs %llu bytes, %llu are free", n->name,
                       p->index, (unsigned long long)need, (unsigned long long)have);
    return 0;
}

static int check_main(const struct cluster_snapshot *s, const struct place_demand *d,
                      const struct assignment *a, const struct estimate_bytes *host,
                      struct err *err)
{
    const struct cluster_node *n = find_node(s, a->main_id);
    if (check_node(n, a->main_id, d->spec, err) ||
        check_bytes("host weights", a->host_weights_bytes, host->weights, err) ||
        check_bytes("host KV", a->host_kv_bytes, host->kv, err) ||
        check_bytes("host compute", a->host_compute_bytes, host->compute, err))
        return -1;
    uint64_t need = num_add_sat(num_add_sat(host->weights, host->kv), host->compute);
    if (need > n->ram_free_bytes)
        return err_set(err, ERR_NO_PLACEMENT, "RAM of '%s': %llu bytes needed, %llu free", n->name,
                       (unsigned long long)need, (unsigned long long)n->ram_free_bytes);
    if (d->spec->want.no_ram && (a->n_cpu_layers || a->n_cpu_moe))
        return err_set(err, ERR_CONFLICT, "%u layers in RAM, but RAM is forbidden",
                       a->n_cpu_layers + a->n_cpu_moe);
    return 0;
}

/* Layers in order without a gap, the output on the last part, no device twice. */
static int check_order(const struct assignment *a, uint32_t n_layers, struct err *err)
{
    uint32_t at = a->n_cpu_layers;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct assignment_part *p = &a->parts[i];
        if (p->n_layers == 0 || p->first_layer != at)
            return err_set(err, ERR_CONFLICT, "part %u: layers %u+%u, expected to start at %u", i,
                           p->first_layer, p->n_layers, at);
        if (p->output != (i + 1 == a->n_parts))
            return err_set(err, ERR_CONFLICT, "part %u: the output layer is on the last one", i);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(a->parts[k].node_id, p->node_id) == 0 &&
                strcmp(a->parts[k].uuid, p->uuid) == 0 && a->parts[k].index == p->index)
                return err_set(err, ERR_CONFLICT, "parts %u and %u are one device", k, i);
        if (p->n_layers > n_layers - at)
            return err_set(err, ERR_CONFLICT, "part %u ends at layer %u of %u", i, at + p->n_layers,
                           n_layers);
        at += p->n_layers;
    }
    if (at != n_layers)
        return err_set(err, ERR_CONFLICT, "the plan holds %u of %u layers", at, n_layers);
    return 0;
}

static int check_counts(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                        const struct assignment *a, struct err *err)
{
    uint32_t gpus = 0, nodes = 1; /* the main one */
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct assignment_part *p = &a->parts[i];
        bool seen = strcmp(p->node_id, a->main_id) == 0;
        for (uint32_t k = 0; k < i && !seen; k++)
            seen = strcmp(a->parts[k].node_id, p->node_id) == 0;
        nodes += !seen;
        gpus += p->uuid[0] || p->backend != BACKEND_CPU;
    }
    if (s->engine_devices && a->n_parts > s->engine_devices)
        return err_set(err, ERR_CONFLICT, "%u devices used, the engine spans at most %u",
                       a->n_parts, s->engine_devices);
    if (spec->want.max_nodes && nodes > spec->want.max_nodes)
        return err_set(err, ERR_CONFLICT, "%u nodes used, at most %u asked for", nodes,
                       spec->want.max_nodes);
    if (spec->want.max_gpus && gpus > spec->want.max_gpus)
        return err_set(err, ERR_CONFLICT, "%u GPUs used, at most %u asked for", gpus,
                       spec->want.max_gpus);
    return 0;
}

int place_validate_model(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                         const struct estimate_model *m, const struct assignment *a,
                         struct err *err)
{
    struct place_demand d = {.spec = spec, .opts = m->opts};
    if (a->n_cpu_layers > m->n_layers || a->n_layers != m->n_layers || a->ctx != m->opts.ctx ||
        a->n_slots != m->opts.n_slots)
        return err_set(err, ERR_CONFLICT, "the plan is for %u layers and context %u, not %u and %u",
                       a->n_layers, a->ctx, m->n_layers, m->opts.ctx);
    if (check_order(a, m->n_layers, err) || check_counts(s, spec, a, err))
        return -1;
    mem_auto uint32_t *counts = mem_calloc((size_t)a->n_parts + 1, sizeof *counts);
    mem_auto struct estimate_bytes *b = mem_calloc((size_t)a->n_parts + 1, sizeof *b);
    struct estimate_bytes host;
    for (uint32_t i = 0; i < a->n_parts; i++)
        counts[i] = a->parts[i].n_layers;
    struct estimate_split split = {.n_devices = a->n_parts,
                                   .counts = counts,
                                   .n_cpu_layers = a->n_cpu_layers,
                                   .n_cpu_moe = a->n_cpu_moe};
    estimate_split_bytes(m, &split, b, &host);
    for (uint32_t i = 0; i < a->n_parts; i++)
        if (check_part(s, &d, &a->parts[i], &b[i], err))
            return -1;
    return check_main(s, &d, a, &host, err);
}

int place_validate(const struct cluster_snapshot *s, const struct place_demand *d,
                   const struct assignment *a, struct err *err)
{
    struct estimate_model *m = estimate_new(d->facts, &d->opts, err);
    if (!m)
        return -1;
    int rc = place_validate_model(s, d->spec, m, a, err);
    estimate_free(m);
    return rc;
}
