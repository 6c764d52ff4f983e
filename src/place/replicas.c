/* Bounds on replicas of one model; see replicas.h. */
#include "place/replicas.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/objective.h"

#include <string.h>

struct share { /* so much of a measure in so many bytes */
    uint64_t much, per;
};

struct sums {
    const struct scene *c;
    struct mode_problem *mode;
    struct ranks *ranks;
    uint64_t want[CAP_COUNT];
    struct share (*best)[CAP_COUNT]; /* by rank: the best share of any range that fits there */
    uint64_t least;                  /* that any range needs */
    uint64_t (*dev)[CAP_COUNT];      /* by device of the scene: of all processes together */
    uint64_t (*one)[CAP_COUNT];      /* of one process */
};

static bool denser(struct share a, struct share b)
{
    return (unsigned __int128)a.much * b.per > (unsigned __int128)b.much * a.per;
}

static void fill_shares(struct sums *k)
{
    uint32_t n = ranks_of(k->ranks, UINT64_MAX);
    k->best = mem_calloc((size_t)n + 1, sizeof *k->best);
    k->least = n ? ranks_room(k->ranks, 1) : UINT64_MAX;
    for (uint32_t b = 0; b < CAP_COUNT; b++)
        k->best[0][b] = (struct share){0, 1};
    for (uint32_t r = 1; r <= n; r++)
        for (uint32_t b = 0; b < CAP_COUNT; b++) {
            uint64_t need = ranks_room(k->ranks, r);
            struct share x = {ranks_caps(k->ranks, r)[b], need ? need : 1};
            k->best[r][b] = denser(x, k->best[r - 1][b]) ? x : k->best[r - 1][b];
        }
}

/* One process, or several. Alone on one GPU a model takes smaller buffers than the whole of it as a
 * part would. */
static void fill_device(struct sums *k, uint32_t dev)
{
    const struct scene *c = k->c;
    uint64_t room = c->dev[dev].room, single = c->need_single, runtime = c->s->runtime_bytes;
    const uint64_t *own = ranks_caps(k->ranks, ranks_of(k->ranks, room));
    uint64_t two = room > runtime ? room - runtime : 0, least = k->least;
    least = single < least ? single : least;
    uint32_t rank = two > least ? ranks_of(k->ranks, two - least) : 0;
    for (uint32_t b = 0; b < CAP_COUNT; b++) {
        uint64_t one = room >= single && k->want[b] > own[b] ? k->want[b] : own[b];
        struct share x = k->best[rank][b], alone = {k->want[b], single ? single : 1};
        x = two >= single && denser(alone, x) ? alone : x;
        unsigned __int128 all = two / 2 < least ? 0 : (unsigned __int128)two * x.much / x.per;
        k->one[dev][b] = one;
        k->dev[dev][b] = all > one ? (uint64_t)all : one;
    }
}

static void sums_init(struct sums *k, const struct scene *c)
{
    struct mode_opts o = {.mode = MODE_FULL, .gpus = true, .ignore_ram = true};
    *k = (struct sums){.c = c, .mode = mode_new(c, &o)};
    k->ranks = ranks_new(&k->mode->need);
    k->dev = mem_calloc((size_t)c->n_dev + 1, sizeof *k->dev);
    k->one = mem_calloc((size_t)c->n_dev + 1, sizeof *k->one);
    for (uint32_t b = 0; b < CAP_COUNT; b++)
        k->want[b] = ranks_measure(k->ranks, b, c->m->n_layers + 1);
    fill_shares(k);
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why)
            fill_device(k, i);
}

static void sums_done(struct sums *k)
{
    ranks_free(k->ranks);
    mode_free(k->mode);
    free(k->best);
    free(k->dev);
    free(k->one);
}

/* ---- how many ---- */

/* Replicas that these devices hold. */
static uint64_t devices_most(const struct sums *k, uint32_t first, uint32_t n)
{
    uint64_t most = UINT64_MAX;
    for (uint32_t b = 0; b < CAP_COUNT; b++) {
        uint64_t have = 0;
        for (uint32_t i = first; i < first + n; i++)
            have = num_add_sat(have, k->dev[i][b]);
        if (k->want[b] && have / k->want[b] < most)
            most = have / k->want[b];
    }
    return most;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Main processes that the RAM of a node holds. */
static uint64_t mains(const struct scene *c, uint32_t node)
{
    uint64_t each = least(c->ram_single, c->ram_multi);
    return each ? c->s->nodes[node].ram_free_bytes / each : UINT32_MAX;
}

static uint64_t singles(const struct sums *k, uint32_t node)
{
    const struct scene *c = k->c;
    const struct scene_node *n = &c->nodes[node];
    uint64_t each = num_add_sat(c->need_single, c->s->runtime_bytes), sum = 0;
    for (uint32_t i = n->first; i < n->first + n->n_dev; i++)
        if (!c->dev[i].why && c->dev[i].room >= c->need_single)
            sum += each ? (c->dev[i].room + c->s->runtime_bytes) / each : UINT32_MAX;
    return sum;
}

/* Wherever the layers are, in RAM or on GPUs: their bytes. */
static uint64_t anywhere(const struct scene *c)
{
    uint64_t have = 0, each = 0;
    for (uint32_t l = 0; l < c->m->n_layers; l++)
        each = num_add_sat(each, num_add_sat(c->m->layers[l].weights, c->m->layers[l].kv));
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why)
            have = num_add_sat(have, c->dev[i].room);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why)
            have = num_add_sat(have, c->s->nodes[i].ram_free_bytes);
    return each ? have / each : UINT64_MAX;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* Fewest of these amounts that come to `want`; n + 1: not all of them do. */
static uint32_t fewest_of(uint64_t *amount, uint32_t n, uint64_t want)
{
    uint64_t sum = 0;
    qsort(amount, n, sizeof *amount, descending);
    for (uint32_t i = 0; i < n; i++) {
        sum = num_add_sat(sum, amount[i]);
        if (sum >= want)
            return i + 1;
    }
    return n + 1;
}

/* Fewest devices and nodes of one replica on several devices. */
static void fill_fewest(const struct sums *k, struct replicas_bound *out)
{
    const struct scene *c = k->c;
    mem_auto uint64_t *dev = mem_calloc((size_t)c->n_dev + 1, sizeof *dev);
    mem_auto uint64_t *node = mem_calloc((size_t)c->s->n_nodes + 1, sizeof *node);
    out->gpus = 2;
    out->nodes = 1;
    for (uint32_t b = 0; b < CAP_COUNT; b++) {
        for (uint32_t i = 0; i < c->n_dev; i++)
            dev[i] = k->one[i][b];
        for (uint32_t v = 0; v < c->s->n_nodes; v++) {
            node[v] = 0;
            for (uint32_t i = 0; i < c->nodes[v].n_dev; i++)
                node[v] = num_add_sat(node[v], k->one[c->nodes[v].first + i][b]);
        }
        uint32_t g = k->want[b] ? fewest_of(dev, c->n_dev, k->want[b]) : 0;
        uint32_t n = k->want[b] ? fewest_of(node, c->s->n_nodes, k->want[b]) : 0;
        out->gpus = g > out->gpus ? g : out->gpus;
        out->nodes = n > out->nodes ? n : out->nodes;
    }
}

/* Replicas that keep away from each other have a node each at least. */
static uint32_t apart(const struct scene *c, uint32_t want)
{
    uint32_t n = 0;
    if (!c->spec->name[0] || !name_list_has(&c->spec->want.anti_affinity, c->spec->name))
        return want;
    for (uint32_t v = 0; v < c->s->n_nodes; v++)
        n += !c->nodes[v].why;
    return n < want ? n : want;
}

static void fill_counts(const struct sums *k, uint32_t want, struct replicas_bound *out)
{
    const struct scene *c = k->c;
    uint64_t all = 0, one_node = 0, one_gpu = 0;
    want = apart(c, want);
    for (uint32_t v = 0; v < c->s->n_nodes; v++) {
        if (c->nodes[v].why)
            continue;
        uint64_t most = mains(c, v), here = devices_most(k, c->nodes[v].first, c->nodes[v].n_dev);
        all = num_add_sat(all, most);
        one_node = num_add_sat(one_node, least(most, here));
        one_gpu = num_add_sat(one_gpu, singles(k, v)); /* the main process may be elsewhere */
    }
    out->on_gpus = (uint32_t)least(want, least(all, devices_most(k, 0, c->n_dev)));
    out->one_node = (uint32_t)least(out->on_gpus, one_node);
    out->one_gpu = (uint32_t)least(out->on_gpus, one_gpu);
    out->most = c->spec->want.no_ram ? out->on_gpus : (uint32_t)least(want, anywhere(c));
}

int replicas_bound(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                   const struct estimate_model *m, uint32_t want, struct replicas_bound *out,
                   struct err *err)
{
    struct scene *c = scene_new(s, spec, m, err);
    if (!c)
        return -1;
    struct sums k;
    sums_init(&k, c);
    fill_counts(&k, want, out);
    fill_fewest(&k, out);
    sums_done(&k);
    scene_free(c);
    return 0;
}

int replicas_caps(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                  const struct estimate_model *m, uint64_t *want, uint64_t (*node)[CAP_COUNT],
                  struct err *err)
{
    struct scene *c = scene_new(s, spec, m, err);
    if (!c)
        return -1;
    struct sums k;
    sums_init(&k, c);
    memcpy(want, k.want, sizeof k.want);
    for (uint32_t v = 0; v < s->n_nodes; v++)
        for (uint32_t b = 0; b < CAP_COUNT; b++) {
            node[v][b] = 0;
            for (uint32_t i = 0; i < c->nodes[v].n_dev; i++)
                node[v][b] = num_add_sat(node[v][b], k.dev[c->nodes[v].first + i][b]);
        }
    sums_done(&k);
    scene_free(c);
    return 0;
}

/* ---- how fast ---- */

int64_t replicas_least_ns(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                          const struct estimate_model *m, uint32_t n_nodes, uint32_t n_gpus)
{
    struct scene *c = scene_new(s, spec, m, NULL);
    if (!c)
        return 0;
    struct mode_opts o = {.mode = MODE_FULL, .gpus = true};
    struct mode_problem *p = mode_new(c, &o);
    int64_t ns = p->p.base_ns, tail = PLACE_INF, fixed = PLACE_INF;
    uint32_t gpus = c->n_speeds - 1; /* the last speed is a CPU's */
    for (uint32_t l = 0; l < m->n_layers && gpus; l++) {
        int64_t least_ns = PLACE_INF;
        for (uint32_t i = 0; i < gpus; i++) {
            int64_t x = p->speeds[i].cum[l + 1] - p->speeds[i].cum[l];
            least_ns = x < least_ns ? x : least_ns;
        }
        ns += least_ns;
    }
    for (uint32_t i = 0; i < gpus; i++) {
        tail = p->speeds[i].tail < tail ? p->speeds[i].tail : tail;
        fixed = p->speeds[i].fixed < fixed ? p->speeds[i].fixed : fixed;
    }
    struct net net = c->net_all;
    for (uint32_t i = 0; i < c->n_pairs; i++) {
        const struct net *x = &c->pairs[i].net;
        net.fixed = x->fixed < net.fixed ? x->fixed : net.fixed;
        net.once = x->once < net.once ? x->once : net.once;
    }
    if (n_nodes > 1)
        ns += net.once + (int64_t)(n_nodes - 1) * net.fixed;
    ns = gpus ? ns + tail + (int64_t)n_gpus * fixed : 0;
    for (uint32_t i = 0; i < gpus && n_gpus == 1 && n_nodes == 1; i++)
        ns = c->single_ns[i] < ns ? c->single_ns[i] : ns; /* it is rounded once */
    mode_free(p);
    scene_free(c);
    return ns;
}
