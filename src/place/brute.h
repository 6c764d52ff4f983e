/* Small placements solved by trying everything, to test the search. Test code only; pure.
 *
 * Nothing of the search is used here, not even its prefix sums: an instance is one table of needs
 * by (first layer, end) and one of times by (speed, layer); an answer is the least value (time and
 * costs) for every pair (nodes used, devices used). Three methods that know nothing of each other:
 * all orders and splits; all sets of devices, for layers that are alike; and sets of devices with
 * the layers reached, which is exact because time only adds up and any two ways to (set, layer) go
 * on alike.
 */
#ifndef PLACE_BRUTE_H
#define PLACE_BRUTE_H

#include <stdbool.h>
#include <stdint.h>

enum { BRUTE_LAYERS = 24, BRUTE_DEV = 14, BRUTE_NODES = 6, BRUTE_SPEEDS = 6 };
#define BRUTE_NEVER (INT64_MAX / 4)
#define BRUTE_FULL UINT64_MAX /* a need that no device covers */

struct brute_dev {
    uint32_t node, speed;
    uint64_t room;
    bool remote_only; /* not used on the main node (its RAM) */
    uint32_t id;      /* the caller's */
    int64_t cost;     /* of using it */
};
struct brute_node {
    bool main_ok;
    bool all_or_none;   /* all of its devices are used, or none; RAM apart */
    uint32_t n_cpu_max; /* with `cpu`: layers its RAM holds as the main node */
    int64_t cost, main_cost;
};
struct brute_net { /* of a device away from the main node; with the output layer; the first one */
    int64_t fixed, tail, once;
};

struct brute {
    uint32_t n_layers, n_nodes, n_dev;
    uint32_t min_dev, max_dev; /* 0: no bound */
    /* [s][e]: bytes of the layers s..e-1 on a device; e == n_layers means with the output layer, s
     * == 0 on the first device of the pipeline. */
    uint64_t bytes[BRUTE_LAYERS + 1][BRUTE_LAYERS + 1];
    int64_t ns[BRUTE_SPEEDS][BRUTE_LAYERS];
    int64_t fixed[BRUTE_SPEEDS], tail[BRUTE_SPEEDS];
    bool cpu; /* the first layers, at least one, are on the main node's CPU */
    int64_t cpu_ns[BRUTE_LAYERS + 1];
    struct brute_net net[BRUTE_NODES][BRUTE_NODES];
    int64_t base_ns;
    int64_t scale, hop_cost;       /* value: scale * time + costs; a hop is a device elsewhere */
    int64_t limit_ns, limit_value; /* slower, and of this value or more, are none; 0: no bound */
    int64_t stage_ns;              /* nothing in the pipeline takes longer; 0: no bound */
    struct brute_node node[BRUTE_NODES];
    struct brute_dev dev[BRUTE_DEV];
};

/* Least value with exactly k nodes, the main one included, and exactly g devices; BRUTE_NEVER where
 * there is no way. Only entries up to k_cap and g_cap are filled. */
struct brute_best {
    uint32_t k_cap, g_cap;
    int64_t value[BRUTE_NODES + 1][BRUTE_DEV + 1];
};

/* Every order of every subset with every split. Minutes beyond seven devices. */
void brute_orders(const struct brute *b, struct brute_best *out);
/* Every subset with every choice of the first and the last device. Only when all layers are alike
 * (brute_alike): then a device's share is a number. */
void brute_uniform(const struct brute *b, struct brute_best *out);
bool brute_alike(const struct brute *b);
/* Subsets and the layers they reach. With `all`, every entry; else up to the fewest nodes and, on
 * them, the fewest devices by size, which is much quicker. Not to be used without `all` when other
 * things than size decide (limits on time and value, whole nodes, a least number). */
void brute_subsets(const struct brute *b, bool all, struct brute_best *out);

/* One placement, from the definition: devices in pipeline order with their layers. */
struct brute_way {
    uint32_t main, n_cpu, n;
    uint32_t dev[BRUTE_DEV], count[BRUTE_DEV];
};
struct brute_sum {
    uint32_t k; /* nodes */
    int64_t value, stage;
};
/* Its time; BRUTE_NEVER when it breaks anything. */
int64_t brute_time(const struct brute *b, const struct brute_way *w, struct brute_sum *out);

/* For whoever compares by other things than a value: every main node with every set of devices that
 * holds the model, with its least time (stage 0), or every order and split of it, with its slowest
 * stage. Limits, numbers and whole nodes are left to fn. */
typedef void brute_fn(void *arg, uint32_t main, uint32_t mask, int64_t ns, int64_t stage);
void brute_each_set(const struct brute *b, brute_fn *fn, void *arg);
void brute_each_way(const struct brute *b, brute_fn *fn, void *arg);

#endif
