/* Candidates, needs and times of a demand; see scene.h. */
#include "place/scene.h"

#include "base/mem.h"
#include "place/hand.h"
#include "place/objective.h"
#include "place/times.h"

#include <string.h>

/* Figures of foreign files saturate far below what their sums could overflow. */
#define CLAMP ((uint64_t)1 << 50)

uint64_t scene_clamp(uint64_t x)
{
    return x < CLAMP ? x : CLAMP;
}

/* ---- who may take part ---- */

static int by_name(const void *a, const void *b, void *arg)
{
    const struct cluster_snapshot *s = arg;
    const struct cluster_node *x = &s->nodes[*(const uint32_t *)a];
    const struct cluster_node *y = &s->nodes[*(const uint32_t *)b];
    int c = strcmp(x->name, y->name);
    return c ? c : strcmp(x->id, y->id);
}

/* ---- speeds ---- */

static struct net link_net(const struct scene *c, const struct cluster_link *l)
{
    struct estimate_device_speed near = {0}, far = {.remote = true,
                                                    .net_bytes_per_s = l->bytes_per_s,
                                                    .net_rtt_s = l->rtt_s};
    double one = times_empty(c->m, 1, false, &far) - times_empty(c->m, 1, false, &near);
    double two = times_empty(c->m, 2, false, &far) - times_empty(c->m, 2, false, &near);
    double tail = times_empty(c->m, 1, true, &far) - times_empty(c->m, 1, false, &far);
    struct net n = {.fixed = times_ns(two - one), .tail = times_ns(tail)};
    n.once = times_ns(one - (two - one));
    return n;
}

static bool same_speed(const struct estimate_device_speed *a, const struct cluster_device *d)
{
    return !a->cpu && a->bandwidth_bytes_per_s == d->bandwidth_bytes_per_s && a->hbm == d->hbm;
}

static uint32_t add_speed(struct scene *c, size_t *cap, const struct cluster_device *d)
{
    for (uint32_t i = c->n_speeds; i-- > 0;)
        if (same_speed(&c->speeds[i], d))
            return i;
    mem_grow(&c->speeds, cap, c->n_speeds + 1, sizeof *c->speeds);
    c->speeds[c->n_speeds] = (struct estimate_device_speed){
        .bandwidth_bytes_per_s = d->bandwidth_bytes_per_s, .hbm = d->hbm};
    return c->n_speeds++;
}

struct timed {
    struct estimate_device_speed d;
    int64_t layers, output, ns;
    uint32_t was;
};

static int faster(const void *a, const void *b)
{
    const struct timed *x = a, *y = b;
    if (x->d.cpu != y->d.cpu)
        return x->d.cpu ? 1 : -1;
    if (x->ns != y->ns)
        return x->ns < y->ns ? -1 : 1;
    if (x->d.bandwidth_bytes_per_s != y->d.bandwidth_bytes_per_s)
        return x->d.bandwidth_bytes_per_s > y->d.bandwidth_bytes_per_s ? -1 : 1;
    return (int)y->d.hbm - (int)x->d.hbm;
}

/* Time of all layers on one kind, each rounded as everywhere, so that equal plans stay equal.
 * Seconds of each, and of the output layer, into least and most (GPUs only). */
static int64_t time_all(const struct scene *c, const struct estimate_device_speed *d, bool first,
                        double *least, double *most)
{
    int64_t sum = 0;
    for (uint32_t l = 0; l <= c->m->n_layers; l++) {
        double x = l < c->m->n_layers ? times_layer(c->m, l, d, false) : times_output(c->m, d);
        sum += l < c->m->n_layers ? times_ns(x) : 0;
        least[l] = first || x < least[l] ? x : least[l];
        most[l] = !d->cpu && x > most[l] ? x : most[l];
    }
    return sum;
}

/* Fastest first by the time of the whole model; the CPU is appended and stays last. */
static void sort_speeds(struct scene *c, size_t *cap)
{
    mem_grow(&c->speeds, cap, c->n_speeds + 1, sizeof *c->speeds);
    c->speeds[c->n_speeds++] = (struct estimate_device_speed){.cpu = true};
    mem_auto struct timed *t = mem_calloc(c->n_speeds, sizeof *t);
    mem_auto uint32_t *now = mem_calloc(c->n_speeds, sizeof *now);
    c->single_ns = mem_calloc(c->n_speeds, sizeof *c->single_ns);
    c->layers_ns = mem_calloc(c->n_speeds, sizeof *c->layers_ns);
    c->output_ns = mem_calloc(c->n_speeds, sizeof *c->output_ns);
    uint32_t n = c->m->n_layers;
    mem_auto double *least = mem_calloc(n + 1, sizeof *least);
    mem_auto double *most = mem_calloc(n + 1, sizeof *most);
    for (uint32_t i = 0; i < c->n_speeds; i++) {
        int64_t ns = time_all(c, &c->speeds[i], i == 0, least, most);
        int64_t output = times_ns(times_output(c->m, &c->speeds[i]));
        t[i] = (struct timed){c->speeds[i], ns, output, ns + output, i};
    }
    double floor_s = 0, most_s = 0;
    for (uint32_t l = 0; l <= n; l++) {
        floor_s += least[l];
        most_s += most[l];
    }
    c->floor_ns = times_ns(floor_s);
    c->most_gpu_ns = times_ns(most_s);
    qsort(t, c->n_speeds, sizeof *t, faster);
    for (uint32_t i = 0; i < c->n_speeds; i++) {
        now[t[i].was] = i;
        c->speeds[i] = t[i].d;
        c->single_ns[i] = t[i].ns;
        c->layers_ns[i] = t[i].layers;
        c->output_ns[i] = t[i].output;
    }
    for (uint32_t i = 0; i < c->n_dev; i++)
        c->dev[i].speed = now[c->dev[i].speed];
    size_t times = 2 * ((size_t)c->n_speeds + 1) * n;
    c->layer_ns = mem_calloc(times, sizeof *c->layer_ns);
    for (size_t i = 0; i < times; i++)
        c->layer_ns[i] = -1;
}

/* ---- the scene ---- */

uint64_t scene_room(const struct scene *c, uint64_t free_bytes, uint64_t taken)
{
    taken += c->s->margin_bytes;
    return free_bytes > taken ? free_bytes - taken : 0;
}

/* Nodes by name: order[tag] is a node. */
static uint32_t *name_order(const struct cluster_snapshot *s)
{
    uint32_t *order = mem_calloc((size_t)s->n_nodes + 1, sizeof *order);
    bool sorted = true;
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        order[i] = i;
        sorted = sorted && (!i || by_name(&order[i - 1], &order[i], (void *)s) < 0);
    }
    if (!sorted)
        qsort_r(order, s->n_nodes, sizeof *order, by_name, (void *)s);
    return order;
}

/* A node that is kept whole takes part with all of its GPUs or with none. */
static void keep_whole(struct scene *c, struct scene_node *n)
{
    bool all = true;
    for (uint32_t i = n->first; i < n->first + n->n_dev; i++)
        all = all && !c->dev[i].why;
    for (uint32_t i = n->first; i < n->first + n->n_dev && !all; i++)
        if (!c->dev[i].why) {
            c->dev[i].why = SCENE_KEPT_NODE;
            c->n_usable--;
        }
}

static void add_node_devices(struct scene *c, size_t *speeds, uint32_t at, struct scene_node *out)
{
    const struct cluster_node *n = &c->s->nodes[at];
    const struct constraints *w = &c->spec->want;
    for (uint32_t k = 0; k < n->n_devices; k++) {
        const struct cluster_device *d = &n->devices[k];
        if (d->kind != DEVICE_GPU)
            continue;
        enum scene_why why = out->why ? out->why : allow_gpu(w, n, d);
        c->dev[c->n_dev++] =
            (struct scene_device){.node = at,
                                  .index = k,
                                  .speed = add_speed(c, speeds, d),
                                  .room = scene_room(c, d->free_bytes, c->s->runtime_bytes),
                                  .why = why,
                                  .kept = allow_gpu_kept(w, n, d)};
        out->n_dev++;
        c->n_usable += why == SCENE_OK;
    }
    out->all_or_none = allow_node_kept(w, n);
    if (out->all_or_none)
        keep_whole(c, out);
}

static void add_devices(struct scene *c)
{
    const struct cluster_snapshot *s = c->s;
    size_t cap = 0, speeds = 0, total = 0;
    mem_auto uint32_t *order = name_order(s);
    mem_auto enum scene_why *why = mem_calloc((size_t)s->n_nodes + 1, sizeof *why);
    allow_nodes(s, &c->spec->want, why);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        total += s->nodes[i].n_devices;
    mem_grow(&c->dev, &cap, total + 1, sizeof *c->dev);
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        struct scene_node *out = &c->nodes[order[i]];
        *out = (struct scene_node){.why = why[order[i]], .tag = i, .first = c->n_dev};
        add_node_devices(c, &speeds, order[i], out);
    }
    sort_speeds(c, &speeds);
}

/* Bounds of a plan that the constraints and the engine give. */
static void add_limits(struct scene *c)
{
    const struct constraints *w = &c->spec->want;
    uint32_t span = c->s->engine_devices;
    c->max_nodes = c->s->n_nodes;
    if (w->max_nodes && w->max_nodes < c->max_nodes)
        c->max_nodes = w->max_nodes;
    if (w->no_network || !c->max_nodes)
        c->max_nodes = 1;
    c->max_devices = span ? span : CLUSTER_MAX_DEVICES;
    c->min_gpus = w->gpus_per_replica;
    c->max_gpus = w->max_gpus;
    if (w->gpus_per_replica && (!w->max_gpus || w->gpus_per_replica < w->max_gpus))
        c->max_gpus = w->gpus_per_replica;
    if (w->min_tok_s > 0)
        c->limit_ns = times_ns(1 / w->min_tok_s) + 1;
}

static int by_pair(const void *a, const void *b)
{
    const struct net_pair *x = a, *y = b;
    if (x->a != y->a)
        return x->a < y->a ? -1 : 1;
    return (x->b > y->b) - (x->b < y->b);
}

static void add_links(struct scene *c)
{
    const struct cluster_snapshot *s = c->s;
    struct cluster_link all = snapshot_link(s, UINT32_MAX, UINT32_MAX - 1);
    c->net_all = link_net(c, &all);
    c->pairs = mem_calloc(s->n_links + 1, sizeof *c->pairs);
    for (uint32_t i = 0; i < s->n_links; i++) {
        uint32_t a = s->links[i].a, b = s->links[i].b;
        if (s->links[i].all || a >= s->n_nodes || b >= s->n_nodes)
            continue;
        c->nodes[a].special = c->nodes[b].special = true;
        struct cluster_link l = snapshot_link(s, a, b); /* of two for a pair the same one, always */
        uint32_t x = c->nodes[a].tag, y = c->nodes[b].tag;
        c->pairs[c->n_pairs++] = (struct net_pair){x < y ? x : y, x < y ? y : x, link_net(c, &l)};
    }
    qsort(c->pairs, c->n_pairs, sizeof *c->pairs, by_pair);
}

/* Host RAM with a split; counts of up to two devices. */
static uint64_t host_ram(const struct estimate_model *m, uint32_t a, uint32_t b, uint32_t n_cpu,
                         uint32_t n_moe)
{
    uint32_t counts[2] = {a, b};
    struct estimate_bytes out[2], host;
    struct estimate_split s = {.n_devices = b   ? 2
                                            : a ? 1
                                                : 0,
                               .counts = counts,
                               .n_cpu_layers = n_cpu,
                               .n_cpu_moe = n_moe};
    estimate_split_bytes(m, &s, out, &host);
    return scene_clamp(host.weights) + scene_clamp(host.kv) + scene_clamp(host.compute);
}

uint64_t scene_ram_moe(const struct scene *c, uint32_t n)
{
    return host_ram(c->m, c->m->n_layers, 0, 0, n);
}

static void add_needs(struct scene *c)
{
    const struct estimate_model *m = c->m;
    uint32_t n = m->n_layers;
    struct estimate_bytes dev, host;
    struct estimate_split s = {.n_devices = 1, .counts = &n};
    estimate_split_bytes(m, &s, &dev, &host);
    c->need_single = scene_clamp(dev.weights) + scene_clamp(dev.kv) + scene_clamp(dev.compute);
    c->ram_single = scene_clamp(host.weights) + scene_clamp(host.kv) + scene_clamp(host.compute);
    c->ram_multi = n > 1 ? host_ram(m, 1, n - 1, 0, 0) : c->ram_single;
    c->ram_cpu = mem_calloc(n + 1, sizeof *c->ram_cpu);
    for (uint32_t x = 0; x <= n; x++)
        c->ram_cpu[x] = host_ram(m, n - x, 0, x, 0);
}

struct scene *scene_new(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                        const struct estimate_model *m, struct err *err)
{
    if (m->n_layers == 0 || m->n_layers > PLACE_MAX_LAYERS)
        return err_null(err, ERR_LIMIT, "the model has %u layers; 1 to %d can be placed",
                        m->n_layers, PLACE_MAX_LAYERS);
    if (allow_check(s, &spec->want, err))
        return NULL;
    struct scene *c = mem_calloc(1, sizeof *c);
    c->s = s;
    c->spec = spec;
    c->m = m;
    c->nodes = mem_calloc((size_t)s->n_nodes + 1, sizeof *c->nodes);
    add_devices(c);
    add_links(c);
    add_needs(c);
    add_limits(c);
    struct estimate_device_speed local = {0};
    c->hop_ns = times_ns(times_empty(m, 2, false, &local) - times_empty(m, 1, false, &local));
    c->most_ns =
        c->most_gpu_ns + 2 * c->single_ns[c->n_speeds - 1] + 2 * (int64_t)m->n_layers * c->hop_ns;
    if (goal_new(c, err) == 0 && hand_check(c, err) == 0)
        return c;
    scene_free(c);
    return NULL;
}

void scene_free(struct scene *c)
{
    if (!c)
        return;
    free(c->nodes);
    free(c->dev);
    free(c->speeds);
    free(c->ram_cpu);
    free(c->single_ns);
    free(c->layer_ns);
    free(c->layers_ns);
    free(c->output_ns);
    free(c->pairs);
    goal_free(c->goal);
    free(c);
}

struct net scene_net(const struct scene *c, uint32_t a, uint32_t b)
{
    if (!c->nodes[a].special || !c->nodes[b].special)
        return c->net_all;
    uint32_t x = c->nodes[a].tag, y = c->nodes[b].tag;
    struct net_pair key = {.a = x < y ? x : y, .b = x < y ? y : x};
    const struct net_pair *p = bsearch(&key, c->pairs, c->n_pairs, sizeof key, by_pair);
    return p ? p->net : c->net_all;
}

int64_t scene_layer_ns(const struct scene *c, uint32_t speed, uint32_t layer, bool away)
{
    size_t n = c->m->n_layers, kinds = (size_t)c->n_speeds + 1;
    int64_t *ns = &c->layer_ns[(away * kinds + speed) * n + layer];
    const struct estimate_device_speed *d = speed < c->n_speeds ? &c->speeds[speed] : NULL;
    if (*ns < 0)
        *ns = times_ns(times_layer(c->m, layer, d, away));
    return *ns;
}

int64_t scene_moe_ns(const struct scene *c, uint32_t n)
{
    return times_ns(times_experts(c->m, n));
}

struct estimate_device_speed scene_speed(const struct scene *c, uint32_t main, uint32_t node,
                                         const struct cluster_device *d)
{
    struct estimate_device_speed s = {.cpu = !d};
    if (d) {
        s.bandwidth_bytes_per_s = d->bandwidth_bytes_per_s;
        s.hbm = d->hbm;
    }
    if (main != node) {
        struct cluster_link l = snapshot_link(c->s, main, node);
        s.remote = true;
        s.net_bytes_per_s = l.bytes_per_s;
        s.net_rtt_s = l.rtt_s;
    }
    return s;
}
