/* Prints a random cluster of N GPUs and a model of equal layers, as numbers of layers and times,
 * and what the search answers: for tests/milp/milp.py, which gives the same to a MILP solver.
 *
 *     milp_instance N SEED
 *
 *     model LAYERS SPAN NET_FIXED NET_TAIL NET_ONCE BASE
 *                                                      GPUs at most, 0 any number; times in ns
 *     node MAIN_OK                                     one line per node
 *     gpu NODE CAP CAP_WITH_HEAD PER_LAYER FIXED HEAD  layers it holds; ns
 *     answer FEASIBLE PROVED NODES GPUS NS BOUND_NODES BOUND_GPUS BOUND_NS */
#include "place/solve.h"

#include "base/mem.h"
#include "base/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_LAYERS = 400, KINDS = 4, STEPS = 40 << 20 };

struct cluster {
    struct rng r;
    struct need need;
    struct problem p;
    struct speed speeds[KINDS];
    int64_t cum[KINDS][MAX_LAYERS + 1];
    uint64_t layer;
    struct pdev *dev;
    uint32_t n_dev;
};

static void make_model(struct cluster *c, uint32_t n_gpus)
{
    struct rng *r = &c->r;
    uint32_t n = 12 + (uint32_t)rng_below(r, n_gpus < 64 ? n_gpus * 2 : n_gpus / 2 + 90);
    need_init(&c->need, n);
    c->layer = 50 + rng_below(r, 100);
    uint64_t peak = rng_below(r, 40);
    for (uint32_t l = 0; l < n; l++) {
        c->need.sum[l + 1] = c->need.sum[l] + c->layer;
        c->need.peak[l] = peak;
    }
    c->need.fixed = rng_below(r, 30);
    c->need.head = rng_below(r, 4) ? rng_below(r, c->layer) : c->layer * rng_below(r, 5);
    for (uint32_t s = 0; s < KINDS; s++) {
        int64_t per = 20 + 17 * s + (int64_t)rng_below(r, 9);
        for (uint32_t l = 0; l < n; l++)
            c->cum[s][l + 1] = c->cum[s][l] + per;
        c->speeds[s] = (struct speed){c->cum[s], (int64_t)rng_below(r, 12), per * 3 / 2};
    }
}

/* Half of the engines span what stock llama.cpp does; there the cards are as much larger. One to
 * eight cards per node, often of one kind; free memory differs by nothing or a little. */
static void make_nodes(struct cluster *c, uint32_t n_gpus)
{
    struct rng *r = &c->r;
    uint32_t n_layers = c->need.n, per_node = 1 + (uint32_t)rng_below(r, 8), n = 0;
    uint32_t span = rng_below(r, 2) ? 15 : 0, share = span && n_gpus > span ? span + 3 : n_gpus;
    uint64_t spare = 105 + rng_below(r, 200), jitter = rng_below(r, 2) * c->layer / 2 + 1;
    uint64_t room[KINDS], mean = n_layers * c->layer * spare / 100 / share + c->layer;
    for (uint32_t k = 0; k < KINDS; k++)
        room[k] = mean / 2 + rng_below(r, mean) + c->need.fixed + c->need.peak[0];
    struct pnode *nodes = mem_calloc(n_gpus, sizeof *nodes);
    c->dev = mem_calloc(n_gpus, sizeof *c->dev);
    while (c->n_dev < n_gpus) {
        uint32_t have = 1 + (uint32_t)rng_below(r, per_node), kind = (uint32_t)rng_below(r, KINDS);
        nodes[n] = (struct pnode){
            .dev = c->dev + c->n_dev, .tag = n, .main_ok = n == 0 || rng_below(r, 8) > 0};
        for (; have > 0 && c->n_dev < n_gpus; have--) {
            uint32_t k = rng_below(r, 6) ? kind : (uint32_t)rng_below(r, KINDS);
            c->dev[c->n_dev] =
                (struct pdev){.room = room[k] + rng_below(r, jitter), .speed = k, .id = c->n_dev};
            c->n_dev++;
            nodes[n].n_dev++;
        }
        n++;
    }
    c->p = (struct problem){.need = &c->need,
                            .speeds = c->speeds,
                            .n_speeds = KINDS,
                            .nodes = nodes,
                            .n_nodes = n,
                            .max_devices = span,
                            .remote_only = PLACE_NO_SPEED,
                            .base_ns = 11};
    c->p.net_all = (struct net){(int64_t)rng_below(r, 80), (int64_t)rng_below(r, 60),
                                (int64_t)rng_below(r, 9)};
}

/* Layers that fit beside the rest, by division. */
static uint64_t cap(const struct cluster *c, uint64_t room, uint64_t head)
{
    uint64_t rest = c->need.fixed + c->need.peak[0] + head;
    uint64_t x = room > rest ? (room - rest) / c->layer : 0;
    return x < c->need.n ? x : c->need.n;
}

static void print_instance(const struct cluster *c)
{
    const struct net *n = &c->p.net_all;
    printf("model %" PRIu32 " %" PRIu32 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
           c->need.n, c->p.max_devices, n->fixed, n->tail, n->once, c->p.base_ns);
    for (uint32_t i = 0; i < c->p.n_nodes; i++)
        printf("node %d\n", c->p.nodes[i].main_ok);
    for (uint32_t i = 0; i < c->p.n_nodes; i++)
        for (uint32_t k = 0; k < c->p.nodes[i].n_dev; k++) {
            const struct pdev *d = &c->p.nodes[i].dev[k];
            const struct speed *s = &c->speeds[d->speed];
            printf("gpu %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
                   i, cap(c, d->room, 0), cap(c, d->room, c->need.head), s->cum[1], s->fixed,
                   s->tail);
        }
}

int main(int argc, char **argv)
{
    uint32_t n_gpus = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    if (n_gpus < 2 || n_gpus > 4096) {
        fprintf(stderr, "usage: milp_instance GPUS SEED, with 2 to 4096 GPUs\n");
        return 2;
    }
    struct cluster *c = mem_calloc(1, sizeof *c);
    c->r.state = strtoull(argv[2], NULL, 10);
    make_model(c, n_gpus);
    make_nodes(c, n_gpus);
    print_instance(c);
    struct solver *v = solver_new(&c->p, STEPS);
    struct solution s;
    solve_tiered(v, 1, c->p.n_nodes, &s);
    printf("answer %d %d %" PRIu32 " %" PRIu32 " %" PRId64 " %" PRIu32 " %" PRIu32 " %" PRId64 "\n",
           s.feasible, s.proved, s.n_nodes, s.n_dev, s.ns, s.bound_nodes, s.bound_dev, s.bound_ns);
    solution_done(&s);
    solver_free(v);
    need_done(&c->need);
    free(c->p.nodes);
    free(c->dev);
    free(c);
    return 0;
}
