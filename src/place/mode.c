/* One way of holding the model, as a problem of the search; see scene.h. */
#include "place/scene.h"

#include "base/mem.h"
#include "place/objective.h"
#include "place/times.h"

#include <string.h>

/* ---- a mode's problem ---- */

/* Compute buffers are a constant by position plus the widest layer. The constants of the first, a
 * middle and the last device are read off one probe of estimate/; dev[i] has base[i]. */
static void probe_bases(const struct scene *c, const struct mode_opts *o, const struct need *n,
                        uint64_t base[3])
{
    uint32_t layers = n->n, at = o->mode == MODE_CPU && layers > 1 ? 1 : 0, parts = layers - at;
    parts = parts < 3 ? parts : 3;
    uint32_t counts[3] = {1, 1, 1};
    counts[parts - 1] = layers - at - (parts - 1);
    struct estimate_bytes dev[3], host;
    struct estimate_split s = {.n_devices = parts, .counts = counts, .n_cpu_layers = at};
    s.n_cpu_moe = o->mode == MODE_MOE ? o->n_moe : 0;
    estimate_split_bytes(c->m, &s, dev, &host);
    for (uint32_t i = 0; i < parts; at += counts[i++]) {
        uint64_t peak = 0;
        for (uint32_t l = at; l < at + counts[i]; l++)
            peak = n->peak[l] > peak ? n->peak[l] : peak;
        base[i] = scene_clamp(dev[i].compute) - peak;
    }
    for (uint32_t i = parts; i < 3; i++) /* no such device can be */
        base[i] = base[parts - 1];
    if (parts == 2)
        base[1] = base[2];
    if (o->mode == MODE_CPU) /* the CPU is first; of the devices none is special */
        base[0] = base[1] = base[0] > base[1] ? base[0] : base[1];
}

static void fill_need(const struct scene *c, const struct mode_opts *o, struct need *out)
{
    const struct estimate_model *m = c->m;
    uint32_t n = m->n_layers;
    uint64_t base[3];
    need_init(out, n);
    for (uint32_t l = 0; l < n; l++) {
        const struct estimate_layer *x = &m->layers[l];
        bool away = o->mode == MODE_MOE && l < o->n_moe;
        out->sum[l + 1] =
            out->sum[l] + scene_clamp(x->weights - (away ? x->experts : 0)) + scene_clamp(x->kv);
        out->peak[l] = scene_clamp(away ? x->peak_bare : x->peak);
    }
    probe_bases(c, o, out, base);
    for (uint32_t l = 0; l < n; l++)
        out->peak[l] += base[1];
    /* A last device may take less than one in the middle; the output layer makes up for it. */
    uint64_t last = scene_clamp(m->head) + base[2];
    out->first_extra = (int64_t)(base[0] - base[1]);
    out->head = last > base[1] ? last - base[1] : 0;
    out->fixed = scene_clamp(m->shared);
}

/* In the unit of the objective. */
static int64_t in_ticks(const struct mode_opts *o, int64_t ns)
{
    return o->value ? objective_ticks(o->value, ns) : ns;
}

static struct net net_ticks(const struct mode_opts *o, const struct net *n)
{
    return (struct net){in_ticks(o, n->fixed), in_ticks(o, n->tail), in_ticks(o, n->once)};
}

static void fill_speeds(const struct scene *c, const struct mode_opts *o, struct mode_problem *p)
{
    uint32_t n = c->m->n_layers;
    p->cum = mem_calloc((size_t)c->n_speeds * (n + 1), sizeof *p->cum);
    p->speeds = mem_calloc(c->n_speeds, sizeof *p->speeds);
    for (uint32_t i = 0; i < c->n_speeds; i++) {
        int64_t *cum = p->cum + (size_t)i * (n + 1);
        int64_t sum = 0;
        for (uint32_t l = 0; l < n; l++) {
            bool away = o->mode == MODE_MOE && l < o->n_moe;
            sum += scene_layer_ns(c, i, l, away);
            cum[l + 1] = in_ticks(o, sum);
        }
        p->speeds[i] = (struct speed){cum, in_ticks(o, c->hop_ns), in_ticks(o, c->output_ns[i])};
    }
    if (o->mode != MODE_CPU)
        return;
    p->cpu_ns = mem_calloc(n + 1, sizeof *p->cpu_ns);
    int64_t sum = 0;
    for (uint32_t l = 0; l < n; l++) {
        sum += scene_layer_ns(c, c->n_speeds, l, false);
        p->cpu_ns[l + 1] = in_ticks(o, sum) + in_ticks(o, c->hop_ns);
    }
}

static uint32_t cpu_layers(const struct scene *c, uint64_t ram)
{
    uint32_t lo = 0, hi = c->m->n_layers - 1;
    while (lo < hi) { /* ram_cpu grows with the layers */
        uint32_t mid = (lo + hi + 1) / 2;
        if (c->ram_cpu[mid] <= ram)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

/* May this device be one of several? */
static bool takes_part(const struct scene *c, const struct scene_node *n, uint32_t dev)
{
    bool kept = c->dev[dev].kept;
    for (uint32_t k = n->first; n->all_or_none && k < n->first + n->n_dev; k++)
        kept = kept || c->dev[k].kept;
    return !c->dev[dev].why && !kept;
}

static struct pdev *fill_devices(const struct scene *c, const struct mode_opts *o, uint32_t node,
                                 struct pdev *d)
{
    const struct scene_node *n = &c->nodes[node];
    const int64_t *cost = o->value ? o->value->dev[o->mode == MODE_FULL] : NULL;
    for (uint32_t k = n->first; o->gpus && k < n->first + n->n_dev; k++)
        if (takes_part(c, n, k))
            *d++ = (struct pdev){.room = c->dev[k].room,
                                 .speed = c->dev[k].speed,
                                 .id = k,
                                 .cost = cost ? cost[k] : 0};
    if (o->remote_ram)
        *d++ = (struct pdev){.room = scene_room(c, c->s->nodes[node].ram_free_bytes, 0),
                             .speed = c->n_speeds - 1,
                             .id = c->n_dev + node};
    return d;
}

static uint64_t main_ram(const struct scene *c, const struct mode_opts *o)
{
    return o->mode == MODE_MOE ? scene_ram_moe(c, o->n_moe) : c->ram_multi;
}

/* out->dev is set by the caller; ram: what the main process needs. */
static bool fill_node(const struct scene *c, const struct mode_opts *o, uint64_t ram, uint32_t node,
                      struct pnode *out)
{
    const struct scene_node *from = &c->nodes[node];
    struct pdev *dev = out->dev;
    uint64_t have = o->ignore_ram ? UINT64_MAX : c->s->nodes[node].ram_free_bytes;
    if (from->why)
        return false;
    *out = (struct pnode){
        .dev = dev, .tag = from->tag, .special = from->special, .all_or_none = from->all_or_none};
    if (o->value) {
        out->cost = o->value->node[node];
        out->main_cost = o->value->main[node];
    }
    out->n_dev = (uint32_t)(fill_devices(c, o, node, dev) - dev);
    out->n_cpu_max = o->mode == MODE_CPU ? cpu_layers(c, have) : 0;
    out->main_ok = o->mode == MODE_CPU ? out->n_cpu_max > 0 : ram <= have;
    return out->main_ok || out->n_dev;
}

bool mode_node(const struct scene *c, const struct mode_opts *o, uint32_t node, struct pdev *dev,
               struct pnode *out)
{
    *out = (struct pnode){.dev = dev};
    return fill_node(c, o, main_ram(c, o), node, out);
}

static void fill_nodes(const struct scene *c, const struct mode_opts *o, struct mode_problem *p)
{
    const struct cluster_snapshot *s = c->s;
    mem_auto uint32_t *order = mem_calloc((size_t)s->n_nodes + 1, sizeof *order);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        order[c->nodes[i].tag] = i;
    p->nodes = mem_calloc((size_t)s->n_nodes + 1, sizeof *p->nodes);
    p->node_of = mem_calloc((size_t)s->n_nodes + 1, sizeof *p->node_of);
    p->dev = mem_calloc((size_t)c->n_dev + s->n_nodes + 1, sizeof *p->dev);
    struct pdev *d = p->dev;
    uint64_t ram = main_ram(c, o);
    uint32_t n = 0;
    for (uint32_t t = 0; t < s->n_nodes; t++) {
        p->nodes[n] = (struct pnode){.dev = d};
        if (!fill_node(c, o, ram, order[t], &p->nodes[n]))
            continue;
        d += p->nodes[n].n_dev;
        p->node_of[n++] = order[t];
    }
    p->p.n_nodes = n;
}

/* A bound that is set stays one. */
static int64_t ticks_below(const struct mode_opts *o, int64_t ns)
{
    int64_t t = o->value ? ns / o->value->tick_ns : ns;
    return ns && t < 1 ? 1 : t;
}

/* How many devices a plan may have. RAM of other nodes counts as one of those asked for. */
static void fill_limits(const struct scene *c, const struct mode_opts *o, struct problem *p)
{
    p->max_devices = c->max_devices;
    if (o->gpus && c->max_gpus && c->max_gpus < p->max_devices)
        p->max_devices = c->max_gpus;
    p->min_devices = o->gpus ? c->min_gpus : 0;
    p->first = o->first;
    p->limit_ns = ticks_below(o, o->limit_ns);
    if (o->stage_ns) /* the search counts the step to the next device as part of a stage */
        p->stage_ns = ticks_below(o, o->stage_ns) + in_ticks(o, c->hop_ns);
    if (o->value) {
        p->time_scale = o->value->time_scale;
        p->hop_cost = o->value->hop;
    }
}

struct mode_problem *mode_new(const struct scene *c, const struct mode_opts *o)
{
    struct mode_problem *p = mem_calloc(1, sizeof *p);
    fill_need(c, o, &p->need);
    fill_speeds(c, o, p);
    fill_nodes(c, o, p);
    p->p.need = &p->need;
    p->p.speeds = p->speeds;
    p->p.n_speeds = c->n_speeds;
    p->p.nodes = p->nodes;
    p->p.cpu_ns = p->cpu_ns;
    p->p.base_ns = -in_ticks(o, c->hop_ns);
    p->p.net_all = net_ticks(o, &c->net_all);
    p->pairs = mem_calloc((size_t)c->n_pairs + 1, sizeof *p->pairs);
    for (uint32_t i = 0; i < c->n_pairs; i++)
        p->pairs[i] =
            (struct net_pair){c->pairs[i].a, c->pairs[i].b, net_ticks(o, &c->pairs[i].net)};
    p->p.pairs = p->pairs;
    p->p.n_pairs = c->n_pairs;
    p->p.remote_only = c->n_speeds - 1;
    fill_limits(c, o, &p->p);
    return p;
}

void mode_free(struct mode_problem *p)
{
    if (!p)
        return;
    need_done(&p->need);
    free(p->speeds);
    free(p->cum);
    free(p->cpu_ns);
    free(p->dev);
    free(p->nodes);
    free(p->node_of);
    free(p->pairs);
    free(p);
}
