/* Candidates, needs and times of a demand; see scene.h. */
#include "place/scene.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Figures of foreign files saturate far below what their sums could overflow. */
#define CLAMP ((uint64_t)1 << 50)

static uint64_t clamp(uint64_t x)
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

static bool listed(const struct name_list *l, const struct cluster_node *n)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], n->name) == 0 || strcmp(l->items[i], n->id) == 0)
            return true;
    return false;
}

static int known_nodes(const struct cluster_snapshot *s, const struct name_list *l, struct err *err)
{
    for (uint32_t i = 0; i < l->n; i++) {
        bool found = false;
        for (uint32_t k = 0; k < s->n_nodes && !found; k++)
            found = strcmp(l->items[i], s->nodes[k].name) == 0 ||
                    strcmp(l->items[i], s->nodes[k].id) == 0;
        if (!found)
            return err_set(err, ERR_NOT_FOUND, "there is no node '%.60s'; %s is the first of %u",
                           l->items[i], s->n_nodes ? s->nodes[0].name : "none", s->n_nodes);
    }
    return 0;
}

/* "node:index", or the uuid. */
static bool gpu_is(const char *item, const struct cluster_node *n, const struct cluster_device *d)
{
    if (d->uuid[0] && strcmp(item, d->uuid) == 0)
        return true;
    size_t len = strlen(n->name);
    if (strncmp(item, n->name, len) != 0 || item[len] != ':')
        return false;
    uint64_t index = 0;
    const char *p = item + len + 1;
    if (!*p)
        return false;
    for (; *p >= '0' && *p <= '9' && index < CLUSTER_MAX_NODE_DEVICES; p++)
        index = index * 10 + (uint64_t)(*p - '0');
    return !*p && index == d->index;
}

static bool gpu_listed(const struct name_list *l, const struct cluster_node *n,
                       const struct cluster_device *d)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (gpu_is(l->items[i], n, d))
            return true;
    return false;
}

static int known_gpus(const struct cluster_snapshot *s, const struct name_list *l, struct err *err)
{
    for (uint32_t i = 0; i < l->n; i++) {
        bool found = false;
        for (uint32_t k = 0; k < s->n_nodes && !found; k++)
            for (uint32_t d = 0; d < s->nodes[k].n_devices && !found; d++)
                found = gpu_is(l->items[i], &s->nodes[k], &s->nodes[k].devices[d]);
        if (!found)
            return err_set(err, ERR_NOT_FOUND,
                           "there is no GPU '%.60s'; name one as node:index "
                           "or by its uuid",
                           l->items[i]);
    }
    return 0;
}

static enum scene_why node_why(const struct deployment_spec *spec, const struct cluster_node *n)
{
    if (n->state == NODE_LOST)
        return SCENE_LOST;
    if (n->state == NODE_DRAINED)
        return SCENE_DRAINED;
    if (listed(&spec->want.exclude_nodes, n))
        return SCENE_NODE_EXCLUDED;
    if (spec->want.nodes.n && !listed(&spec->want.nodes, n))
        return SCENE_NODE_NOT_LISTED;
    return SCENE_OK;
}

/* ---- speeds ---- */

static int64_t to_ns(double seconds)
{
    double ns = seconds * 1e9;
    return ns > 0 && ns < 1e17 ? llround(ns) : ns > 0 ? (int64_t)1e17 : 0;
}

/* One layer alone on one device, or on the CPU of the main node when d is NULL. */
static double layer_seconds(const struct estimate_model *m, uint32_t l,
                            const struct estimate_device_speed *d, bool moe)
{
    struct estimate_model one = *m;
    one.n_layers = one.n_blocks = 1;
    one.layers = &m->layers[l];
    one.head_read = 0;
    uint32_t count = 1;
    struct estimate_split s = {.n_devices = d ? 1 : 0,
                               .counts = &count,
                               .n_cpu_layers = d ? 0 : 1,
                               .n_cpu_moe = moe ? 1 : 0};
    return estimate_token_seconds(&one, &s, d, NULL);
}

static double head_seconds(const struct estimate_model *m, const struct estimate_device_speed *d)
{
    struct estimate_model none = *m;
    none.n_layers = 0;
    uint32_t count = 0;
    struct estimate_split s = {.n_devices = 1, .counts = &count};
    return estimate_token_seconds(&none, &s, d, NULL);
}

/* A model of two layers that cost nothing to read, on n devices: hops and network remain. */
static double empty_seconds(const struct estimate_model *m, uint32_t n, bool vocab,
                            const struct estimate_device_speed *d)
{
    struct estimate_layer layers[2] = {{0}};
    struct estimate_model two = *m;
    struct estimate_device_speed both[2] = {*d, *d};
    uint32_t counts[2] = {n == 1 ? 2 : 1, 1};
    two.n_layers = two.n_blocks = 2;
    two.layers = layers;
    two.head_read = 0;
    two.n_vocab = vocab ? m->n_vocab : 0;
    struct estimate_split s = {.n_devices = n, .counts = counts};
    return estimate_token_seconds(&two, &s, both, NULL);
}

static struct net link_net(const struct scene *c, const struct cluster_link *l)
{
    struct estimate_device_speed near = {0}, far = {.remote = true,
                                                    .net_bytes_per_s = l->bytes_per_s,
                                                    .net_rtt_s = l->rtt_s};
    double one = empty_seconds(c->m, 1, false, &far) - empty_seconds(c->m, 1, false, &near);
    double two = empty_seconds(c->m, 2, false, &far) - empty_seconds(c->m, 2, false, &near);
    double tail = empty_seconds(c->m, 1, true, &far) - empty_seconds(c->m, 1, false, &far);
    struct net n = {.fixed = to_ns(two - one), .tail = to_ns(tail)};
    n.once = to_ns(one - (two - one));
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
    int64_t ns;
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

/* Fastest first by the time of the whole model; the CPU is appended and stays last. */
static void sort_speeds(struct scene *c, size_t *cap)
{
    mem_grow(&c->speeds, cap, c->n_speeds + 1, sizeof *c->speeds);
    c->speeds[c->n_speeds++] = (struct estimate_device_speed){.cpu = true};
    mem_auto struct timed *t = mem_calloc(c->n_speeds, sizeof *t);
    mem_auto uint32_t *now = mem_calloc(c->n_speeds, sizeof *now);
    c->single_ns = mem_calloc(c->n_speeds, sizeof *c->single_ns);
    mem_auto double *least = mem_calloc(c->m->n_layers + 1, sizeof *least);
    for (uint32_t i = 0; i < c->n_speeds; i++) {
        double s = head_seconds(c->m, &c->speeds[i]);
        least[c->m->n_layers] = i && least[c->m->n_layers] < s ? least[c->m->n_layers] : s;
        for (uint32_t l = 0; l < c->m->n_layers; l++) {
            double x = layer_seconds(c->m, l, &c->speeds[i], false);
            s += x;
            least[l] = i && least[l] < x ? least[l] : x;
        }
        t[i] = (struct timed){c->speeds[i], to_ns(s), i};
    }
    double floor_s = 0;
    for (uint32_t l = 0; l <= c->m->n_layers; l++)
        floor_s += least[l];
    c->floor_ns = to_ns(floor_s);
    qsort(t, c->n_speeds, sizeof *t, faster);
    for (uint32_t i = 0; i < c->n_speeds; i++) {
        now[t[i].was] = i;
        c->speeds[i] = t[i].d;
        c->single_ns[i] = t[i].ns;
    }
    for (uint32_t i = 0; i < c->n_dev; i++)
        c->dev[i].speed = now[c->dev[i].speed];
}

/* ---- the scene ---- */

static uint64_t room_of(const struct scene *c, uint64_t free_bytes, uint64_t taken)
{
    taken += c->s->margin_bytes;
    return free_bytes > taken ? free_bytes - taken : 0;
}

static void add_devices(struct scene *c)
{
    const struct cluster_snapshot *s = c->s;
    size_t cap = 0, speeds = 0, total = 0;
    mem_auto uint32_t *order = mem_calloc(s->n_nodes + 1, sizeof *order);
    bool sorted = true;
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        order[i] = i;
        total += s->nodes[i].n_devices;
        sorted = sorted && (!i || by_name(&order[i - 1], &order[i], (void *)s) < 0);
    }
    if (!sorted)
        qsort_r(order, s->n_nodes, sizeof *order, by_name, (void *)s);
    mem_grow(&c->dev, &cap, total + 1, sizeof *c->dev);
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        const struct cluster_node *n = &s->nodes[order[i]];
        struct scene_node *out = &c->nodes[order[i]];
        *out = (struct scene_node){.why = node_why(c->spec, n), .tag = i, .first = c->n_dev};
        for (uint32_t k = 0; k < n->n_devices; k++) {
            const struct cluster_device *d = &n->devices[k];
            if (d->kind != DEVICE_GPU)
                continue;
            enum scene_why why = out->why;
            if (!why && c->spec->want.gpus.n && !gpu_listed(&c->spec->want.gpus, n, d))
                why = SCENE_NOT_LISTED;
            c->dev[c->n_dev++] =
                (struct scene_device){.node = order[i],
                                      .index = k,
                                      .speed = add_speed(c, &speeds, d),
                                      .room = room_of(c, d->free_bytes, s->runtime_bytes),
                                      .why = why};
            out->n_dev++;
            c->n_usable += why == SCENE_OK;
        }
    }
    sort_speeds(c, &speeds);
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
    return clamp(host.weights) + clamp(host.kv) + clamp(host.compute);
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
    c->need_single = clamp(dev.weights) + clamp(dev.kv) + clamp(dev.compute);
    c->ram_single = clamp(host.weights) + clamp(host.kv) + clamp(host.compute);
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
    if (known_nodes(s, &spec->want.nodes, err) || known_nodes(s, &spec->want.exclude_nodes, err) ||
        known_gpus(s, &spec->want.gpus, err))
        return NULL;
    struct scene *c = mem_calloc(1, sizeof *c);
    c->s = s;
    c->spec = spec;
    c->m = m;
    c->nodes = mem_calloc(s->n_nodes + 1, sizeof *c->nodes);
    add_devices(c);
    add_links(c);
    add_needs(c);
    struct estimate_device_speed local = {0};
    c->hop_ns = to_ns(empty_seconds(m, 2, false, &local) - empty_seconds(m, 1, false, &local));
    return c;
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
    free(c->pairs);
    free(c);
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
        base[i] = clamp(dev[i].compute) - peak;
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
        out->sum[l + 1] = out->sum[l] + clamp(x->weights - (away ? x->experts : 0)) + clamp(x->kv);
        out->peak[l] = clamp(away ? x->peak_bare : x->peak);
    }
    probe_bases(c, o, out, base);
    for (uint32_t l = 0; l < n; l++)
        out->peak[l] += base[1];
    /* A last device may take less than one in the middle; the output layer makes up for it. */
    uint64_t last = clamp(m->head) + base[2];
    out->first_extra = (int64_t)(base[0] - base[1]);
    out->head = last > base[1] ? last - base[1] : 0;
    out->fixed = clamp(m->shared);
}

static void fill_speeds(const struct scene *c, const struct mode_opts *o, struct mode_problem *p)
{
    uint32_t n = c->m->n_layers;
    p->cum = mem_calloc((size_t)c->n_speeds * (n + 1), sizeof *p->cum);
    p->speeds = mem_calloc(c->n_speeds, sizeof *p->speeds);
    for (uint32_t i = 0; i < c->n_speeds; i++) {
        int64_t *cum = p->cum + (size_t)i * (n + 1);
        double sum = 0;
        for (uint32_t l = 0; l < n; l++) {
            bool away = o->mode == MODE_MOE && l < o->n_moe;
            sum += layer_seconds(c->m, l, &c->speeds[i], away);
            cum[l + 1] = to_ns(sum);
        }
        p->speeds[i] = (struct speed){cum, c->hop_ns, to_ns(head_seconds(c->m, &c->speeds[i]))};
    }
    if (o->mode != MODE_CPU)
        return;
    p->cpu_ns = mem_calloc(n + 1, sizeof *p->cpu_ns);
    double sum = 0;
    for (uint32_t l = 0; l < n; l++) {
        sum += layer_seconds(c->m, l, NULL, false);
        p->cpu_ns[l + 1] = to_ns(sum) + c->hop_ns;
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

static void fill_nodes(const struct scene *c, const struct mode_opts *o, struct mode_problem *p)
{
    const struct cluster_snapshot *s = c->s;
    uint64_t ram = o->mode == MODE_MOE ? scene_ram_moe(c, o->n_moe) : c->ram_multi;
    mem_auto uint32_t *order = mem_calloc(s->n_nodes + 1, sizeof *order);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        order[c->nodes[i].tag] = i;
    p->nodes = mem_calloc(s->n_nodes + 1, sizeof *p->nodes);
    p->node_of = mem_calloc(s->n_nodes + 1, sizeof *p->node_of);
    p->dev = mem_calloc((size_t)c->n_dev + s->n_nodes + 1, sizeof *p->dev);
    struct pdev *d = p->dev;
    uint32_t n = 0;
    for (uint32_t t = 0; t < s->n_nodes; t++) {
        uint32_t i = order[t];
        const struct scene_node *from = &c->nodes[i];
        struct pnode *to = &p->nodes[n];
        uint64_t have = o->ignore_ram ? UINT64_MAX : s->nodes[i].ram_free_bytes;
        if (from->why)
            continue;
        *to = (struct pnode){.dev = d, .tag = t, .special = from->special};
        for (uint32_t k = from->first; o->gpus && k < from->first + from->n_dev; k++)
            if (!c->dev[k].why)
                *d++ = (struct pdev){.room = c->dev[k].room, .speed = c->dev[k].speed, .id = k};
        if (o->remote_ram)
            *d++ = (struct pdev){.room = room_of(c, s->nodes[i].ram_free_bytes, 0),
                                 .speed = c->n_speeds - 1,
                                 .id = c->n_dev + i};
        to->n_dev = (uint32_t)(d - to->dev);
        to->n_cpu_max = o->mode == MODE_CPU ? cpu_layers(c, have) : 0;
        to->main_ok = o->mode == MODE_CPU ? to->n_cpu_max > 0 : ram <= have;
        if (to->main_ok || to->n_dev)
            p->node_of[n++] = i;
    }
    p->p.n_nodes = n;
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
    p->p.base_ns = -c->hop_ns;
    p->p.net_all = c->net_all;
    p->p.pairs = c->pairs;
    p->p.n_pairs = c->n_pairs;
    p->p.max_devices = c->s->engine_devices ? c->s->engine_devices : CLUSTER_MAX_DEVICES;
    if (o->gpus && c->spec->want.max_gpus && c->spec->want.max_gpus < p->p.max_devices)
        p->p.max_devices = c->spec->want.max_gpus;
    p->p.remote_only = c->n_speeds - 1;
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
    free(p);
}
