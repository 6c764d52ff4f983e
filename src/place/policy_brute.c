/* Trying every plan; see policy_brute.h. */
#include "place/policy_brute.h"

#include "base/mem.h"
#include "base/num.h"

#include <math.h>
#include <string.h>
#include <strings.h>

struct gpu {
    uint32_t node, dev;
};

/* A plan: main node, devices in order, layers each; the first n_cpu layers, or the experts of the
 * first n_moe blocks, in the main node's RAM. */
struct plan {
    uint32_t main, n, n_cpu, n_moe;
    struct gpu gpu[EVERY_DEV];
    uint32_t counts[EVERY_DEV];
};

static const struct cluster_device *device_of(const struct every *e, const struct gpu *g)
{
    return &e->s->nodes[g->node].devices[g->dev];
}

static bool has_gpu(const struct plan *p, uint32_t node, uint32_t dev)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->gpu[i].node == node && p->gpu[i].dev == dev)
            return true;
    return false;
}

static bool has_node(const struct plan *p, uint32_t node)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->gpu[i].node == node)
            return true;
    return p->main == node;
}

static uint32_t nodes_of(const struct every *e, const struct plan *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->s->n_nodes; i++)
        n += has_node(p, i);
    return n;
}

/* ---- time ---- */

static struct estimate_device_speed speed_of(const struct every *e, const struct gpu *g,
                                             uint32_t main)
{
    const struct cluster_device *d = device_of(e, g);
    struct estimate_device_speed v = {.bandwidth_bytes_per_s = d->bandwidth_bytes_per_s,
                                      .hbm = d->hbm};
    if (g->node != main) {
        struct cluster_link l = snapshot_link(e->s, g->node, main);
        v.remote = true;
        v.net_bytes_per_s = l.bytes_per_s;
        v.net_rtt_s = l.rtt_s;
    }
    return v;
}

static double seconds_of(const struct every *e, const struct plan *p)
{
    struct estimate_device_speed v[EVERY_DEV];
    struct estimate_split split = {
        .n_devices = p->n, .counts = p->counts, .n_cpu_layers = p->n_cpu, .n_cpu_moe = p->n_moe};
    for (uint32_t i = 0; i < p->n; i++)
        v[i] = speed_of(e, &p->gpu[i], p->main);
    return estimate_token_seconds(e->m, &split, v, NULL);
}

/* Time of some layers on one device at the end of a pipeline of two, the first of which costs
 * nothing; without the step from one to the other. */
static double stage_seconds(const struct every *e, uint32_t from, uint32_t n, bool last,
                            uint32_t n_moe, const struct estimate_device_speed *d)
{
    const struct estimate_device_speed far = {
        .bandwidth_bytes_per_s = 1e30, .remote = true, .net_bytes_per_s = 1e30};
    struct estimate_device_speed two[2] = {far, *d}, near = {.bandwidth_bytes_per_s = 1e30};
    struct estimate_model m = *e->m;
    struct estimate_layer none[2] = {{0}};
    uint32_t counts[2] = {1, n}, ones[2] = {1, 1};
    mem_auto struct estimate_layer *layers = mem_calloc((size_t)n + 1, sizeof *layers);
    memcpy(layers + 1, e->m->layers + from, n * sizeof *layers);
    m.layers = layers;
    m.n_layers = m.n_blocks = n + 1;
    m.head_read = last ? m.head_read : 0;
    m.n_vocab = last ? m.n_vocab : 0;
    struct estimate_split split = {
        .n_devices = 2, .counts = counts, .n_cpu_moe = n_moe > from ? n_moe - from + 1 : 0};
    double t = estimate_token_seconds(&m, &split, two, NULL);
    m.layers = none;
    m.n_layers = m.n_blocks = 2;
    m.head_read = m.n_vocab = 0;
    two[1] = near;
    split = (struct estimate_split){.n_devices = 2, .counts = ones};
    double step = estimate_token_seconds(&m, &split, two, NULL);
    /* Two layers were taken off, of which one is the device's own. */
    m.n_layers = m.n_blocks = 1;
    split = (struct estimate_split){.n_devices = 1, .counts = ones};
    return t - step + estimate_token_seconds(&m, &split, &near, NULL);
}

/* The time of the first n layers on the CPU, with nothing of the output layer. */
static double cpu_seconds(const struct every *e, uint32_t n)
{
    struct estimate_model some = *e->m;
    struct estimate_split split = {.n_cpu_layers = n};
    some.n_layers = some.n_blocks = n;
    some.head_read = 0;
    return estimate_token_seconds(&some, &split, NULL, NULL);
}

/* What the CPU takes for experts: their share of the read bytes at the speed at which it reads. */
static double expert_seconds(const struct every *e, uint32_t n)
{
    struct estimate_model one = *e->m;
    struct estimate_layer probe = {.weights = 1 << 30, .read = 1 << 30}, none = {0};
    struct estimate_split split = {.n_cpu_layers = 1};
    one.layers = &probe;
    one.n_layers = one.n_blocks = 1;
    one.head_read = 0;
    double per_byte = estimate_token_seconds(&one, &split, NULL, NULL), bytes = 0;
    one.layers = &none;
    per_byte = (per_byte - estimate_token_seconds(&one, &split, NULL, NULL)) / (1 << 30);
    for (uint32_t l = 0; l < n; l++) {
        const struct estimate_layer *x = &e->m->layers[l];
        if (x->experts)
            bytes += (double)x->read - (double)(x->weights - x->experts);
    }
    return bytes * per_byte;
}

static int64_t stream_ns(const struct every *e, const struct plan *p, double seconds)
{
    double streams = e->policy.streams ? e->policy.streams : 1;
    double most = p->n_cpu ? cpu_seconds(e, p->n_cpu) : 0;
    double experts = p->n_moe ? expert_seconds(e, p->n_moe) : 0;
    most = fmax(most, experts);
    for (uint32_t i = 0, at = p->n_cpu; i < p->n; at += p->counts[i++]) {
        struct estimate_device_speed v = speed_of(e, &p->gpu[i], p->main);
        most = fmax(most, stage_seconds(e, at, p->counts[i], i == p->n - 1, p->n_moe, &v));
    }
    most = p->n ? most : seconds;
    return llround(fmax(most, seconds / streams) * 1e9);
}

/* ---- figures ---- */

static uint64_t up(uint64_t x, uint64_t unit)
{
    return (x + unit - 1) / unit;
}

static bool ours(const struct every *e, const struct gpu *g)
{
    for (uint32_t i = 0; i < e->s->n_instances; i++)
        for (uint32_t k = 0; k < e->s->instances[i].n_parts; k++)
            if (e->s->instances[i].parts[k].node == g->node &&
                e->s->instances[i].parts[k].device == g->dev)
                return true;
    return device_of(e, g)->claimed_bytes > 0;
}

static const char *domain(const struct every *e, uint32_t node)
{
    const struct cluster_node *n = &e->s->nodes[node];
    size_t len = strlen(e->policy.domain);
    for (uint32_t i = 0; len && i < n->n_labels; i++)
        if (strncmp(n->labels[i], e->policy.domain, len) == 0 && n->labels[i][len] == '=')
            return n->labels[i];
    return n->name;
}

static bool instance_in(const struct every *e, const struct cluster_instance *x, const char *where)
{
    bool in = strcmp(domain(e, x->main), where) == 0;
    for (uint32_t k = 0; k < x->n_parts; k++)
        in = in || strcmp(domain(e, x->parts[k].node), where) == 0;
    return in;
}

static int64_t replicas_near(const struct every *e, uint32_t node)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < e->s->n_instances; i++)
        n += strcmp(e->s->instances[i].deployment, e->spec->name) == 0 &&
             instance_in(e, &e->s->instances[i], domain(e, node));
    return n;
}

static int64_t load(const struct cluster_node *n)
{
    uint64_t used = 0, total = 0;
    for (uint32_t i = 0; i < n->n_devices; i++) {
        total += n->devices[i].total_bytes;
        used += n->devices[i].total_bytes - n->devices[i].free_bytes;
    }
    return total ? (int64_t)up(used * 100, total) : 0;
}

static int64_t to_move(const struct every *e, uint32_t node)
{
    const struct cluster_node *n = &e->s->nodes[node];
    for (uint32_t i = 0; i < n->n_files; i++)
        if (strcmp(n->files[i], e->spec->model) == 0)
            return 0;
    return (int64_t)up(e->m->file_bytes, MIB);
}

static void figures(const struct every *e, const struct plan *p, int64_t *f)
{
    bool gpus = p->n && !p->n_cpu && !p->n_moe;
    double t = seconds_of(e, p);
    memset(f, 0, EVERY_TERMS * sizeof *f);
    f[TERM_OFFLOAD] = !p->n ? 2 : gpus ? 0 : 1;
    f[TERM_NODES] = nodes_of(e, p);
    f[TERM_TOKEN_TIME] = llround(t * 1e9);
    f[TERM_STREAM_TIME] = stream_ns(e, p, t);
    f[TERM_LOCALITY] = to_move(e, p->main);
    for (uint32_t i = 0; i < p->n; i++) {
        const struct cluster_device *d = device_of(e, &p->gpu[i]);
        uint64_t kept = e->s->runtime_bytes + e->s->margin_bytes;
        f[TERM_GPUS] += gpus;
        f[TERM_HOPS] += p->gpu[i].node != p->main;
        f[TERM_LEFTOVER] += gpus ? (int64_t)up(d->free_bytes - kept, GIB) : 0;
        f[TERM_WHOLE] += gpus && !ours(e, &p->gpu[i]) ? (int64_t)up(d->total_bytes, GIB) : 0;
        f[TERM_POWER] += d->tdp_w;
        f[TERM_PRICE] += llround(d->price * 100);
    }
    for (uint32_t i = 0; i < e->s->n_nodes; i++) {
        if (!has_node(p, i))
            continue;
        f[TERM_SPREAD] += replicas_near(e, i);
        f[TERM_LOAD] += load(&e->s->nodes[i]);
    }
}

uint32_t every_terms(const struct every *e, enum policy_term *out)
{
    static const enum policy_term ENDS[] = {TERM_NODES, TERM_GPUS, TERM_TOKEN_TIME};
    const struct policy *p = &e->policy;
    uint32_t n = 0;
    bool has[EVERY_TERMS] = {0};
    for (uint32_t i = 0; i < p->n_terms; i++)
        has[p->terms[i].term] = true;
    for (uint32_t i = 0; i < p->n_terms && !p->weighted; i++) {
        enum policy_term t = p->terms[i].term;
        bool preference =
            t == TERM_LEFTOVER && i + 1 == p->n_terms && has[TERM_TOKEN_TIME]; /* not compared */
        if (!preference)
            out[n++] = t;
    }
    for (uint32_t i = 0; i < ARRAY_LEN(ENDS); i++)
        if (p->weighted || !has[ENDS[i]])
            out[n++] = ENDS[i];
    return n;
}

double every_sum(const struct every *e, const int64_t *f)
{
    double sum = 0;
    for (uint32_t i = 0; i < e->policy.n_terms; i++) {
        enum policy_term t = e->policy.terms[i].term;
        bool time = t == TERM_TOKEN_TIME || t == TERM_STREAM_TIME;
        double unit = time ? 1e6 : t == TERM_PRICE ? 100 : 1;
        sum += e->policy.terms[i].weight * (double)f[t] / unit;
    }
    return sum;
}

/* ---- constraints ---- */

static bool names_node(const struct name_list *l, const struct cluster_node *n)
{
    return name_list_has(l, n->name) || name_list_has(l, n->id);
}

static bool names_gpu(const char *item, const struct every *e, const struct gpu *g)
{
    mem_auto char *name = mem_printf("%s:%u", e->s->nodes[g->node].name, device_of(e, g)->index);
    return strcmp(item, name) == 0 || strcmp(item, device_of(e, g)->uuid) == 0;
}

static bool of_type(const char *item, const char *name)
{
    size_t n = strlen(item);
    return strncasecmp(item, name, n) == 0 && (!name[n] || name[n] == ' ');
}

static bool node_allowed(const struct every *e, uint32_t node)
{
    const struct constraints *w = &e->spec->want;
    const struct cluster_node *n = &e->s->nodes[node];
    if (n->state != NODE_READY || names_node(&w->exclude_nodes, n) ||
        (w->nodes.n && !names_node(&w->nodes, n)))
        return false;
    for (uint32_t i = 0; i < w->labels.n; i++) {
        bool has = false;
        for (uint32_t k = 0; k < n->n_labels; k++)
            has = has || strcmp(n->labels[k], w->labels.items[i]) == 0;
        if (!has)
            return false;
    }
    for (uint32_t i = 0; i < e->s->n_instances; i++) {
        const struct cluster_instance *x = &e->s->instances[i];
        bool there = x->main == node;
        for (uint32_t k = 0; k < x->n_parts; k++)
            there = there || x->parts[k].node == node;
        if (there && name_list_has(&w->anti_affinity, x->deployment))
            return false;
    }
    return true;
}

static bool gpu_allowed(const struct every *e, const struct plan *p, const struct gpu *g)
{
    const struct constraints *w = &e->spec->want;
    bool listed = !w->gpus.n, typed = !w->gpu_types.n, kept = false;
    for (uint32_t i = 0; i < w->gpus.n; i++)
        listed = listed || names_gpu(w->gpus.items[i], e, g);
    for (uint32_t i = 0; i < w->gpu_types.n; i++)
        typed = typed || of_type(w->gpu_types.items[i], device_of(e, g)->name);
    for (uint32_t i = 0; i < w->keep_whole.n; i++)
        kept = kept || names_gpu(w->keep_whole.items[i], e, g) ||
               of_type(w->keep_whole.items[i], device_of(e, g)->name);
    return listed && typed && !(kept && (p->n > 1 || p->n_cpu || p->n_moe));
}

static bool whole_nodes(const struct every *e, const struct plan *p)
{
    for (uint32_t i = 0; i < e->s->n_nodes; i++) {
        uint32_t used = 0, all = e->s->nodes[i].n_devices;
        for (uint32_t d = 0; d < all; d++)
            used += has_gpu(p, i, d);
        if (used && used != all && names_node(&e->spec->want.keep_whole, &e->s->nodes[i]))
            return false;
    }
    return true;
}

static bool as_split(const struct every *e, const struct plan *p)
{
    const struct constraints *w = &e->spec->want;
    if (p->n != w->n_split || p->n_cpu || p->n_moe)
        return false;
    for (uint32_t i = 0; i < p->n; i++)
        if (p->counts[i] != w->split[i] || !names_gpu(w->gpus.items[i], e, &p->gpu[i]))
            return false;
    return true;
}

static bool allowed(const struct every *e, const struct plan *p)
{
    const struct constraints *w = &e->spec->want;
    uint32_t k = nodes_of(e, p);
    bool ram = p->n_cpu || p->n_moe || !p->n;
    if ((w->max_nodes && k > w->max_nodes) || (w->no_network && k > 1) ||
        (w->max_gpus && p->n > w->max_gpus) ||
        (w->gpus_per_replica && p->n != w->gpus_per_replica) || (w->no_ram && ram) ||
        (e->s->engine_devices && p->n > e->s->engine_devices) || !whole_nodes(e, p) ||
        (w->n_split && !as_split(e, p)))
        return false;
    for (uint32_t i = 0; i < e->s->n_nodes; i++)
        if (has_node(p, i) && !node_allowed(e, i))
            return false;
    for (uint32_t i = 0; i < p->n; i++)
        if (!gpu_allowed(e, p, &p->gpu[i]))
            return false;
    return seconds_of(e, p) * w->min_tok_s <= 1 + 1e-9;
}

static bool fits(const struct every *e, const struct plan *p)
{
    struct estimate_bytes b[EVERY_DEV], host;
    struct estimate_split split = {
        .n_devices = p->n, .counts = p->counts, .n_cpu_layers = p->n_cpu, .n_cpu_moe = p->n_moe};
    estimate_split_bytes(e->m, &split, b, &host);
    for (uint32_t i = 0; i < p->n; i++)
        if (b[i].weights + b[i].kv + b[i].compute + e->s->runtime_bytes + e->s->margin_bytes >
            device_of(e, &p->gpu[i])->free_bytes)
            return false;
    return host.weights + host.kv + host.compute <= e->s->nodes[p->main].ram_free_bytes;
}

/* ---- all of them ---- */

static void offer(struct every *e, const struct plan *p)
{
    enum policy_term terms[EVERY_TERMS];
    int64_t f[EVERY_TERMS];
    if (!fits(e, p) || !allowed(e, p))
        return;
    e->plans++;
    e->with_gpus = e->with_gpus || p->n;
    figures(e, p, f);
    double sum = e->policy.weighted ? every_sum(e, f) : 0;
    bool better = !e->feasible || sum < e->sum;
    if (e->feasible && sum == e->sum) {
        uint32_t n = every_terms(e, terms), i = 0;
        while (i < n && f[terms[i]] == e->best[terms[i]])
            i++;
        better = i < n && f[terms[i]] < e->best[terms[i]];
    }
    if (!better)
        return;
    e->feasible = true;
    e->sum = sum;
    memcpy(e->best, f, sizeof e->best);
}

static void extend(struct every *e, struct plan *p, uint32_t at)
{
    uint32_t n = e->m->n_layers;
    if (at == n)
        offer(e, p);
    for (uint32_t i = 0; i < e->s->n_nodes && at < n && p->n < EVERY_DEV; i++)
        for (uint32_t d = 0; d < e->s->nodes[i].n_devices; d++) {
            if (has_gpu(p, i, d))
                continue;
            p->gpu[p->n++] = (struct gpu){i, d};
            for (uint32_t end = at + 1; end <= n; end++) {
                p->counts[p->n - 1] = end - at;
                extend(e, p, end);
            }
            p->n--;
        }
}

void every_plan(struct every *e)
{
    uint32_t n = e->m->n_layers;
    bool ram = !e->spec->want.no_ram;
    for (uint32_t i = 0; i < e->s->n_nodes; i++) {
        struct plan p = {.main = i};
        for (p.n_cpu = 0; p.n_cpu <= (ram ? n : 0); p.n_cpu++)
            extend(e, &p, p.n_cpu);
        p.n_cpu = 0;
        for (p.n_moe = 1; p.n_moe <= (ram ? n : 0); p.n_moe++)
            if (e->m->layers[p.n_moe - 1].experts)
                extend(e, &p, 0);
    }
}

void every_figures(const struct every *e, const struct assignment *a, int64_t *out)
{
    struct plan p = {.n_cpu = a->n_cpu_layers, .n_moe = a->n_cpu_moe, .n = a->n_parts};
    for (uint32_t i = 0; i < e->s->n_nodes; i++) {
        if (strcmp(e->s->nodes[i].id, a->main_id) == 0)
            p.main = i;
        for (uint32_t k = 0; k < a->n_parts; k++)
            for (uint32_t d = 0; d < e->s->nodes[i].n_devices; d++)
                if (strcmp(e->s->nodes[i].devices[d].uuid, a->parts[k].uuid) == 0)
                    p.gpu[k] = (struct gpu){i, d};
    }
    for (uint32_t k = 0; k < a->n_parts; k++)
        p.counts[k] = a->parts[k].n_layers;
    figures(e, &p, out);
}
