/* Sums of capacities; see capacity.h. */
#include "place/capacity.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

#define WORK ((uint64_t)1 << 26) /* steps of the exact table */
enum { SHORT_LIST = 64 };

struct capacity *capacity_new(const struct scene *c)
{
    struct capacity *k = mem_calloc(1, sizeof *k);
    struct mode_opts o = {.mode = MODE_FULL, .gpus = true, .ignore_ram = true};
    k->c = c;
    k->mode = mode_new(c, &o);
    k->ranks = ranks_new(&k->mode->need);
    k->dev = mem_calloc(c->n_dev + 1, sizeof *k->dev);
    k->most = c->n_usable < c->m->n_layers ? c->n_usable : c->m->n_layers;
    k->most = k->mode->p.max_devices < k->most ? k->mode->p.max_devices : k->most;
    for (uint32_t b = 0; b < CAP_COUNT; b++)
        k->want[b] = ranks_measure(k->ranks, b, c->m->n_layers + 1);
    k->list = mem_calloc(c->n_dev + 1, sizeof *k->list);
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why)
            memcpy(k->dev[i], ranks_caps(k->ranks, ranks_of(k->ranks, c->dev[i].room)),
                   sizeof *k->dev);
    return k;
}

void capacity_free(struct capacity *k)
{
    if (!k)
        return;
    ranks_free(k->ranks);
    mode_free(k->mode);
    free(k->dev);
    free(k->list);
    free(k);
}

uint32_t capacity_layers(const struct capacity *k, uint64_t room)
{
    return ranks_layers(k->ranks, ranks_of(k->ranks, room));
}

static int more(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* Largest first. Lists of a node are short, and most of their values alike. */
static void descending(uint64_t *list, uint32_t len)
{
    if (len > SHORT_LIST) {
        qsort(list, len, sizeof *list, more);
        return;
    }
    for (uint32_t i = 1; i < len; i++) {
        uint64_t x = list[i];
        uint32_t k = i;
        for (; k > 0 && list[k - 1] < x; k--)
            list[k] = list[k - 1];
        list[k] = x;
    }
}

/* The sum of the n largest: few of many are picked without sorting all. */
static uint64_t sum_of(uint64_t *list, uint32_t len, uint32_t n)
{
    uint64_t sum = 0, top[SHORT_LIST];
    uint32_t have = 0;
    if (n > SHORT_LIST) {
        descending(list, len);
        for (uint32_t i = 0; i < n && i < len; i++)
            sum = num_add_sat(sum, list[i]);
        return sum;
    }
    for (uint32_t i = 0; i < len && n; i++) {
        if (have == n && list[i] <= top[n - 1])
            continue;
        uint32_t k = have < n ? have++ : n - 1;
        for (; k > 0 && top[k - 1] < list[i]; k--)
            top[k] = top[k - 1];
        top[k] = list[i];
    }
    for (uint32_t i = 0; i < have; i++)
        sum = num_add_sat(sum, top[i]);
    return sum;
}

/* The GPUs of a node in one measure, best first; returns how many. */
static uint32_t node_list(const struct capacity *k, uint32_t node, uint32_t b, uint64_t *out)
{
    const struct scene_node *n = &k->c->nodes[node];
    for (uint32_t i = 0; i < n->n_dev; i++)
        out[i] = k->dev[n->first + i][b];
    descending(out, n->n_dev);
    return n->n_dev;
}

/* Best sums over nodes one by one: f[n][g] of n nodes and g GPUs so far. */
static uint64_t exact(const struct capacity *k, uint32_t b, uint32_t n_nodes, uint32_t n_gpus)
{
    size_t row = (size_t)n_gpus + 1;
    mem_auto uint64_t *f = mem_calloc((n_nodes + 1) * row, sizeof *f);
    for (uint32_t i = 0; i < k->c->s->n_nodes; i++) {
        uint32_t len = node_list(k, i, b, k->list);
        for (uint32_t n = n_nodes; n > 0; n--)
            for (uint32_t g = n_gpus; g > 0; g--) {
                uint64_t *best = &f[n * row + g], sum = 0;
                for (uint32_t q = 1; q <= len && q <= g && k->list[q - 1]; q++) {
                    sum = num_add_sat(sum, k->list[q - 1]);
                    uint64_t x = num_add_sat(f[(n - 1) * row + g - q], sum);
                    *best = x > *best ? x : *best;
                }
            }
    }
    return f[n_nodes * row + n_gpus];
}

static uint64_t by_nodes(const struct capacity *k, uint32_t b, uint32_t n_nodes, uint32_t n_gpus)
{
    const struct scene *c = k->c;
    mem_auto uint64_t *list = mem_calloc(c->s->n_nodes + 1, sizeof *list);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        list[i] = sum_of(k->list, node_list(k, i, b, k->list), n_gpus);
    return sum_of(list, c->s->n_nodes, n_nodes);
}

static uint64_t by_gpus(const struct capacity *k, uint32_t b, uint32_t n_gpus)
{
    mem_auto uint64_t *list = mem_calloc(k->c->n_dev + 1, sizeof *list);
    for (uint32_t i = 0; i < k->c->n_dev; i++)
        list[i] = k->dev[i][b];
    return sum_of(list, k->c->n_dev, n_gpus);
}

uint64_t capacity_sum(const struct capacity *k, uint32_t measure, uint32_t n_nodes, uint32_t n_gpus)
{
    n_gpus = n_gpus < k->most ? n_gpus : k->most;
    uint64_t all = by_gpus(k, measure, n_gpus);
    if (!n_nodes || n_nodes >= k->c->s->n_nodes || all < k->want[measure])
        return all;
    uint64_t some = by_nodes(k, measure, n_nodes, n_gpus);
    some = some < all ? some : all;
    uint64_t work = num_mul_sat(num_mul_sat(k->c->n_dev, n_nodes), n_gpus);
    if (some < k->want[measure] || work > WORK)
        return some;
    return exact(k, measure, n_nodes, n_gpus);
}

uint32_t capacity_lacks(const struct capacity *k, uint32_t n_nodes, uint32_t n_gpus, uint64_t *fits)
{
    for (uint32_t b = 0; b < CAP_COUNT; b++) {
        *fits = capacity_sum(k, b, n_nodes, n_gpus);
        if (*fits < k->want[b])
            return b;
    }
    return CAP_COUNT;
}

/* The smallest of the pieces that are counted: they are the want[measure] largest ones. */
uint64_t capacity_large(const struct capacity *k, uint32_t measure)
{
    const struct need *n = &k->mode->need;
    mem_auto uint64_t *size = mem_calloc(n->n + 1, sizeof *size);
    for (uint32_t i = 0; i < n->n; i++)
        size[i] = n->sum[i + 1] - n->sum[i];
    size[n->n] = n->head;
    qsort(size, n->n + 1, sizeof *size, more);
    uint64_t count = k->want[measure];
    return count && count <= n->n + 1 ? size[count - 1] : 0;
}

uint32_t capacity_best_node(const struct capacity *k)
{
    uint32_t best = UINT32_MAX;
    uint64_t most[2] = {0};
    for (uint32_t i = 0; i < k->c->s->n_nodes; i++) {
        uint64_t sum[2];
        for (uint32_t b = 0; b < 2; b++)
            sum[b] = sum_of(k->list, node_list(k, i, b, k->list), k->most);
        if (sum[0] > most[0] || (sum[0] && sum[0] == most[0] && sum[1] > most[1])) {
            best = i;
            most[0] = sum[0];
            most[1] = sum[1];
        }
    }
    return best;
}

uint64_t capacity_node_short(const struct capacity *k, uint32_t node, uint64_t *need)
{
    const struct scene_node *n = &k->c->nodes[node];
    const struct need *x = &k->mode->need;
    uint64_t have, peak = UINT64_MAX, *room = k->list;
    uint32_t used = 0;
    for (uint32_t i = 0; i < x->n; i++)
        peak = x->peak[i] < peak ? x->peak[i] : peak;
    for (uint32_t i = 0; i < n->n_dev; i++)
        if (!k->c->dev[n->first + i].why)
            room[used++] = k->c->dev[n->first + i].room;
    have = sum_of(room, used, k->most);
    used = used < k->most ? used : k->most;
    *need = x->sum[x->n] + x->head + used * (x->fixed + peak);
    *need += x->first_extra < 0 ? (uint64_t)x->first_extra : 0; /* wraps back: less on the first */
    return *need > have ? *need - have : 0;
}
