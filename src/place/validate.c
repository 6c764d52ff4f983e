/* The independent check of a placement. It shares no code with the search: it knows the snapshot,
 * the model, the spec and the assignment, and asks only estimate/ for bytes and time.
 *
 * Linear in the cluster: nodes and instances are looked at once; everything else is about the
 * devices in use. */
#include "place/place.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct used { /* what a part of the assignment stands on */
    const struct cluster_node *node;
    const struct cluster_device *dev; /* NULL: the node's RAM */
};

struct check {
    const struct cluster_snapshot *s;
    const struct deployment_spec *spec;
    const struct constraints *want;
    const struct estimate_model *m;
    const struct assignment *a;
    const struct cluster_node *main;
    struct used *part;                /* n_parts */
    const struct cluster_node **node; /* distinct ones, the main one among them, sorted */
    uint32_t n_nodes, n_gpus;
};

/* ---- names ---- */

static bool names_node(const char *item, const struct cluster_node *n)
{
    return strcmp(item, n->name) == 0 || strcmp(item, n->id) == 0;
}

static bool lists_node(const struct name_list *l, const struct cluster_node *n)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (names_node(l->items[i], n))
            return true;
    return false;
}

/* node:index or the uuid. */
static bool names_gpu(const char *item, const struct used *u)
{
    mem_auto char *name = mem_printf("%s:%u", u->node->name, u->dev->index);
    return strcmp(item, name) == 0 || (u->dev->uuid[0] && strcmp(item, u->dev->uuid) == 0);
}

/* The type, or the words it begins with, in any case: an RTX 4090 Ti is an "rtx 4090", an RTX 4090D
 * is not. */
static bool names_type(const char *item, const struct cluster_device *d)
{
    size_t n = strlen(item);
    return n && strncasecmp(item, d->name, n) == 0 && !isalnum((unsigned char)d->name[n]);
}

/* ---- the parts and what they stand on ---- */

/* Layers in order without a gap, the output on the last part. */
static int check_layers(const struct check *c, struct err *err)
{
    const struct assignment *a = c->a;
    uint32_t at = a->n_cpu_layers, n_layers = c->m->n_layers;
    if (a->n_cpu_layers > n_layers || a->n_layers != n_layers || a->n_blocks != c->m->n_blocks)
        return err_set(err, ERR_CONFLICT,
                       "the plan is for %u layers, %u of them on the CPU; not %u", a->n_layers,
                       a->n_cpu_layers, n_layers);
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct assignment_part *p = &a->parts[i];
        if (p->n_layers == 0 || p->first_layer != at || p->n_layers > n_layers - at)
            return err_set(err, ERR_CONFLICT,
                           "part %u: layers %u+%u, expected to start at %u and to end by %u", i,
                           p->first_layer, p->n_layers, at, n_layers);
        if (p->output != (i + 1 == a->n_parts))
            return err_set(err, ERR_CONFLICT, "part %u: the output layer is on the last one", i);
        at += p->n_layers;
    }
    if (at != n_layers)
        return err_set(err, ERR_CONFLICT, "the plan holds %u of %u layers", at, n_layers);
    return 0;
}

static int check_options(const struct check *c, struct err *err)
{
    const struct assignment *a = c->a;
    const struct estimate_opts *o = &c->m->opts;
    if (a->ctx != o->ctx || a->n_slots != o->n_slots || a->ubatch != o->ubatch)
        return err_set(err, ERR_CONFLICT,
                       "the plan is for context %u, %u slots, batch %u; not %u, %u, %u", a->ctx,
                       a->n_slots, a->ubatch, o->ctx, o->n_slots, o->ubatch);
    if (strcmp(a->kv, kv_type_name(o->kv_k)) != 0)
        return err_set(err, ERR_CONFLICT, "the plan is for KV type '%s', not %s", a->kv,
                       kv_type_name(o->kv_k));
    return 0;
}

/* Finds the nodes of the assignment in one pass over the snapshot. */
static int find_nodes(struct check *c, struct err *err)
{
    static const char none; /* an id that is asked for, but not found yet */
    struct map *ids = map_new(0);
    map_set(ids, c->a->main_id, (void *)&none);
    for (uint32_t i = 0; i < c->a->n_parts; i++)
        map_set(ids, c->a->parts[i].node_id, (void *)&none);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (map_get(ids, c->s->nodes[i].id) == &none)
            map_set(ids, c->s->nodes[i].id, &c->s->nodes[i]);
    const char *missing = NULL, *id;
    void *at;
    for (size_t i = 0; !missing && map_next(ids, &i, &id, &at);)
        missing = at == &none ? id : NULL;
    int rc = 0;
    if (missing)
        rc = err_set(err, ERR_NOT_FOUND, "node '%s' of the plan is not in the cluster", missing);
    c->main = map_get(ids, c->a->main_id);
    for (uint32_t i = 0; i < c->a->n_parts; i++)
        c->part[i].node = map_get(ids, c->a->parts[i].node_id);
    map_free(ids);
    return rc;
}

static int check_name(const char *said, const struct cluster_node *n, struct err *err)
{
    if (strcmp(said, n->name) == 0)
        return 0;
    return err_set(err, ERR_CONFLICT, "node '%s' of the plan is called '%s'", said, n->name);
}

static int find_device(const struct assignment_part *p, struct used *u, struct err *err)
{
    if (check_name(p->node, u->node, err))
        return -1;
    if (p->backend == BACKEND_CPU && !p->uuid[0] && p->index == 0)
        return 0;
    for (uint32_t i = 0; i < u->node->n_devices && !u->dev; i++) {
        const struct cluster_device *d = &u->node->devices[i];
        if (d->index == p->index && strcmp(d->uuid, p->uuid) == 0 && d->kind == DEVICE_GPU)
            u->dev = d;
    }
    if (!u->dev || u->dev->backend != p->backend)
        return err_set(err, ERR_NOT_FOUND, "node '%s' has no %s GPU %u with uuid '%s'",
                       u->node->name, device_backend_name(p->backend), p->index, p->uuid);
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct used *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return (x->dev > y->dev) - (x->dev < y->dev);
}

/* No device twice; the distinct nodes. */
static int count_used(struct check *c, struct err *err)
{
    uint32_t n = c->a->n_parts;
    mem_auto struct used *sorted = mem_calloc((size_t)n + 1, sizeof *sorted);
    memcpy(sorted, c->part, n * sizeof *sorted);
    sorted[n] = (struct used){.node = c->main}; /* its RAM: host buffers, layers on the CPU */
    qsort(sorted, (size_t)n + 1, sizeof *sorted, by_place);
    for (uint32_t i = 0; i <= n; i++) {
        if (i && by_place(&sorted[i - 1], &sorted[i]) == 0)
            return err_set(err, ERR_CONFLICT, "a device or the RAM of '%s' is used twice",
                           sorted[i].node->name);
        if (!i || sorted[i - 1].node != sorted[i].node)
            c->node[c->n_nodes++] = sorted[i].node;
        c->n_gpus += sorted[i].dev != NULL;
    }
    return 0;
}

/* ---- constraints ---- */

static int check_labels(const struct check *c, const struct cluster_node *n, struct err *err)
{
    for (uint32_t i = 0; i < c->want->labels.n; i++) {
        bool has = false;
        for (uint32_t k = 0; k < n->n_labels && !has; k++)
            has = strcmp(n->labels[k], c->want->labels.items[i]) == 0;
        if (!has)
            return err_set(err, ERR_CONFLICT, "node '%s' lacks the label '%s'", n->name,
                           c->want->labels.items[i]);
    }
    return 0;
}

static int check_node(const struct check *c, const struct cluster_node *n, struct err *err)
{
    if (n->state != NODE_READY)
        return err_set(err, ERR_CONFLICT, "node '%s' is %s", n->name, node_state_name(n->state));
    if (c->want->nodes.n && !lists_node(&c->want->nodes, n))
        return err_set(err, ERR_CONFLICT, "node '%s' was not asked for", n->name);
    if (lists_node(&c->want->exclude_nodes, n))
        return err_set(err, ERR_CONFLICT, "node '%s' was excluded", n->name);
    return check_labels(c, n, err);
}

static int check_gpu(const struct check *c, const struct used *u, struct err *err)
{
    const struct constraints *w = c->want;
    bool listed = w->gpus.n == 0, typed = w->gpu_types.n == 0;
    for (uint32_t i = 0; i < w->gpus.n && !listed; i++)
        listed = names_gpu(w->gpus.items[i], u);
    for (uint32_t i = 0; i < w->gpu_types.n && !typed; i++)
        typed = names_type(w->gpu_types.items[i], u->dev);
    if (!listed)
        return err_set(err, ERR_CONFLICT, "GPU %s:%u was not asked for", u->node->name,
                       u->dev->index);
    if (!typed)
        return err_set(err, ERR_CONFLICT, "GPU %s:%u is a '%s', which was not asked for",
                       u->node->name, u->dev->index, u->dev->name);
    /* A GPU that is kept whole holds a whole model or nothing. */
    bool part = c->a->n_parts > 1 || c->a->n_cpu_layers || c->a->n_cpu_moe;
    for (uint32_t i = 0; i < w->keep_whole.n && part; i++)
        if (names_gpu(w->keep_whole.items[i], u) || names_type(w->keep_whole.items[i], u->dev))
            return err_set(err, ERR_CONFLICT, "GPU %s:%u holds a part, but is kept whole by '%s'",
                           u->node->name, u->dev->index, w->keep_whole.items[i]);
    return 0;
}

/* A node that is kept whole gives all of its GPUs or none. */
static int check_whole_node(const struct check *c, const struct cluster_node *n, struct err *err)
{
    uint32_t have = 0, used = 0;
    if (!lists_node(&c->want->keep_whole, n))
        return 0;
    for (uint32_t i = 0; i < n->n_devices; i++)
        have += n->devices[i].kind == DEVICE_GPU;
    for (uint32_t i = 0; i < c->a->n_parts; i++)
        used += c->part[i].node == n && c->part[i].dev;
    if (used && used != have)
        return err_set(err, ERR_CONFLICT, "%u of %u GPUs of '%s' used, which is kept whole", used,
                       have, n->name);
    return 0;
}

static bool is_used(const struct check *c, const struct cluster_node *n)
{
    uint32_t lo = 0, hi = c->n_nodes;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (c->node[mid] == n)
            return true;
        if (c->node[mid] < n)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static const struct cluster_node *used_at(const struct check *c, uint32_t node)
{
    const struct cluster_node *n = node < c->s->n_nodes ? &c->s->nodes[node] : NULL;
    return n && is_used(c, n) ? n : NULL;
}

static int check_apart(const struct check *c, struct err *err)
{
    for (uint32_t i = 0; i < c->s->n_instances && c->want->anti_affinity.n; i++) {
        const struct cluster_instance *x = &c->s->instances[i];
        const struct cluster_node *on = used_at(c, x->main);
        for (uint32_t k = 0; k < x->n_parts && !on; k++)
            on = used_at(c, x->parts[k].node);
        if (on && name_list_has(&c->want->anti_affinity, x->deployment))
            return err_set(err, ERR_CONFLICT, "'%s' runs on node '%s' already; to be kept apart",
                           x->deployment, on->name);
    }
    return 0;
}

static int check_counts(const struct check *c, struct err *err)
{
    const struct constraints *w = c->want;
    if (c->s->engine_devices && c->a->n_parts > c->s->engine_devices)
        return err_set(err, ERR_CONFLICT, "%u devices used, the engine spans at most %u",
                       c->a->n_parts, c->s->engine_devices);
    if ((w->max_nodes && c->n_nodes > w->max_nodes) || (w->no_network && c->n_nodes > 1))
        return err_set(err, ERR_CONFLICT, "%u nodes used, at most %u asked for", c->n_nodes,
                       w->no_network ? 1 : w->max_nodes);
    if (w->max_gpus && c->n_gpus > w->max_gpus)
        return err_set(err, ERR_CONFLICT, "%u GPUs used, at most %u asked for", c->n_gpus,
                       w->max_gpus);
    if (w->gpus_per_replica && c->n_gpus != w->gpus_per_replica)
        return err_set(err, ERR_CONFLICT, "%u GPUs used, exactly %u asked for", c->n_gpus,
                       w->gpus_per_replica);
    if (w->no_ram &&
        (c->a->n_cpu_layers || c->a->n_cpu_moe || c->n_gpus != c->a->n_parts || !c->n_gpus))
        return err_set(err, ERR_CONFLICT, "layers or experts are in RAM, but RAM is forbidden");
    return 0;
}

/* A split written by hand: these GPUs in this order with these layers. */
static int check_split(const struct check *c, struct err *err)
{
    const struct constraints *w = c->want;
    if (!w->n_split)
        return 0;
    if (c->a->n_parts != w->n_split || c->a->n_cpu_layers || c->a->n_cpu_moe)
        return err_set(err, ERR_CONFLICT, "the split asked for has %u GPUs, the plan %u parts",
                       w->n_split, c->a->n_parts);
    for (uint32_t i = 0; i < w->n_split; i++)
        if (!c->part[i].dev || !names_gpu(w->gpus.items[i], &c->part[i]) ||
            c->a->parts[i].n_layers != w->split[i])
            return err_set(err, ERR_CONFLICT, "part %u: %u layers on %s, asked for %u on %s", i,
                           c->a->parts[i].n_layers, c->a->parts[i].device_name, w->split[i],
                           w->gpus.items[i]);
    return 0;
}

static int check_wants(const struct check *c, struct err *err)
{
    for (uint32_t i = 0; i < c->n_nodes; i++)
        if (check_node(c, c->node[i], err) || check_whole_node(c, c->node[i], err))
            return -1;
    for (uint32_t i = 0; i < c->a->n_parts; i++)
        if (c->part[i].dev && check_gpu(c, &c->part[i], err))
            return -1;
    return check_counts(c, err) || check_split(c, err) || check_apart(c, err) ? -1 : 0;
}

/* ---- bytes and time ---- */

static int check_bytes(const char *what, uint64_t said, uint64_t is, struct err *err)
{
    if (said != is)
        return err_set(err, ERR_CONFLICT, "%s: the plan says %llu bytes, it is %llu", what,
                       (unsigned long long)said, (unsigned long long)is);
    return 0;
}

static int check_part(const struct check *c, uint32_t i, const struct estimate_bytes *b,
                      struct err *err)
{
    const struct assignment_part *p = &c->a->parts[i];
    const struct used *u = &c->part[i];
    uint64_t have = u->dev ? u->dev->free_bytes : u->node->ram_free_bytes;
    uint64_t runtime = u->dev ? c->s->runtime_bytes : 0;
    if (check_bytes("weights", p->weights_bytes, b->weights, err) ||
        check_bytes("KV", p->kv_bytes, b->kv, err) ||
        check_bytes("compute", p->compute_bytes, b->compute, err) ||
        check_bytes("runtime", p->runtime_bytes, runtime, err))
        return -1;
    uint64_t need = num_add_sat(num_add_sat(b->weights, b->kv), num_add_sat(b->compute, runtime));
    need = num_add_sat(need, c->s->margin_bytes);
    if (need > have)
        return err_set(err, ERR_NO_PLACEMENT, "%s:%u needs %llu bytes, %llu are free",
                       u->node->name, p->index, (unsigned long long)need, (unsigned long long)have);
    return 0;
}

static int check_host(const struct check *c, const struct estimate_bytes *host, struct err *err)
{
    const struct assignment *a = c->a;
    uint64_t have = c->main->ram_free_bytes;
    if (check_bytes("host weights", a->host_weights_bytes, host->weights, err) ||
        check_bytes("host KV", a->host_kv_bytes, host->kv, err) ||
        check_bytes("host compute", a->host_compute_bytes, host->compute, err))
        return -1;
    uint64_t need = num_add_sat(num_add_sat(host->weights, host->kv), host->compute);
    if (need > have)
        return err_set(err, ERR_NO_PLACEMENT, "RAM of '%s': %llu bytes needed, %llu free",
                       c->main->name, (unsigned long long)need, (unsigned long long)have);
    return 0;
}

static int check_speed(const struct check *c, const struct estimate_split *split, struct err *err)
{
    mem_auto struct estimate_device_speed *v = mem_calloc((size_t)c->a->n_parts + 1, sizeof *v);
    for (uint32_t i = 0; i < c->a->n_parts; i++) {
        const struct used *u = &c->part[i];
        v[i].cpu = !u->dev;
        v[i].remote = u->node != c->main;
        if (u->dev) {
            v[i].bandwidth_bytes_per_s = u->dev->bandwidth_bytes_per_s;
            v[i].hbm = u->dev->hbm;
        }
        if (v[i].remote) {
            struct cluster_link l = snapshot_link(c->s, (uint32_t)(c->main - c->s->nodes),
                                                  (uint32_t)(u->node - c->s->nodes));
            v[i].net_bytes_per_s = l.bytes_per_s;
            v[i].net_rtt_s = l.rtt_s;
        }
    }
    double t = estimate_token_seconds(c->m, split, v, NULL), tok_s = t > 0 ? 1 / t : 0;
    if (!(fabs(c->a->tok_s - tok_s) <= 1e-9 * tok_s))
        return err_set(err, ERR_CONFLICT, "the plan says %.6f tokens/s, it is %.6f", c->a->tok_s,
                       tok_s);
    if (c->want->min_tok_s > 0 && tok_s < c->want->min_tok_s * (1 - 1e-9))
        return err_set(err, ERR_NO_PLACEMENT, "%.2f tokens/s, at least %.2f asked for", tok_s,
                       c->want->min_tok_s);
    return 0;
}

static int check_figures(const struct check *c, struct err *err)
{
    const struct assignment *a = c->a;
    mem_auto uint32_t *counts = mem_calloc((size_t)a->n_parts + 1, sizeof *counts);
    mem_auto struct estimate_bytes *b = mem_calloc((size_t)a->n_parts + 1, sizeof *b);
    struct estimate_bytes host;
    for (uint32_t i = 0; i < a->n_parts; i++)
        counts[i] = a->parts[i].n_layers;
    struct estimate_split split = {.n_devices = a->n_parts,
                                   .counts = counts,
                                   .n_cpu_layers = a->n_cpu_layers,
                                   .n_cpu_moe = a->n_cpu_moe};
    estimate_split_bytes(c->m, &split, b, &host);
    for (uint32_t i = 0; i < a->n_parts; i++)
        if (check_part(c, i, &b[i], err))
            return -1;
    return check_host(c, &host, err) || check_speed(c, &split, err) ? -1 : 0;
}

/* ---- all of it ---- */

static int run(struct check *c, struct err *err)
{
    if (check_layers(c, err) || check_options(c, err) || find_nodes(c, err) ||
        check_name(c->a->main_node, c->main, err))
        return -1;
    for (uint32_t i = 0; i < c->a->n_parts; i++)
        if (find_device(&c->a->parts[i], &c->part[i], err))
            return -1;
    return count_used(c, err) || check_wants(c, err) || check_figures(c, err) ? -1 : 0;
}

int place_validate_model(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                         const struct estimate_model *m, const struct assignment *a,
                         struct err *err)
{
    mem_auto struct used *part = mem_calloc((size_t)a->n_parts + 1, sizeof *part);
    mem_auto const struct cluster_node **node = mem_calloc((size_t)a->n_parts + 1, sizeof *node);
    struct check c = {.s = s, .spec = spec, .want = &spec->want, .m = m, .a = a};
    c.part = part;
    c.node = node;
    return run(&c, err);
}

/* The context may have been lowered, if the spec lets it, down to what it names per slot. */
static int lowered(const struct place_demand *d, const struct assignment *a,
                   struct estimate_opts *o, struct err *err)
{
    uint64_t least = (uint64_t)d->spec->want.min_ctx * d->opts.n_slots;
    *o = d->opts;
    if (a->ctx == d->opts.ctx)
        return 0;
    if (!least || a->ctx > d->opts.ctx || a->ctx < least)
        return err_set(err, ERR_CONFLICT, "the plan is for context %u, asked for %u, at least %llu",
                       a->ctx, d->opts.ctx, (unsigned long long)(least ? least : d->opts.ctx));
    o->ctx = a->ctx;
    return 0;
}

int place_validate(const struct cluster_snapshot *s, const struct place_demand *d,
                   const struct assignment *a, struct err *err)
{
    struct estimate_opts o;
    if (lowered(d, a, &o, err))
        return -1;
    struct estimate_model *m = estimate_new(d->facts, &o, err);
    if (!m)
        return -1;
    int rc = place_validate_model(s, d->spec, m, a, err);
    estimate_free(m);
    return rc;
}
