/* A demand on a snapshot, as the search sees it: candidates after the constraints, needs and times
 * taken from estimate/, links. Pure; any thread.
 *
 * Times and compute buffers are asked of estimate/ itself, on models of one layer or none, so no
 * formula is written twice. */
#ifndef PLACE_SCENE_H
#define PLACE_SCENE_H

#include "cluster/cluster.h"
#include "cluster/deployment.h"
#include "estimate/estimate.h"
#include "place/allow.h"
#include "place/solve.h"

struct scene_device {
    uint32_t node, index; /* in the snapshot; index UINT32_MAX: the node's RAM */
    uint32_t speed;
    uint64_t room; /* free minus margin and runtime */
    enum scene_why why;
    bool kept; /* keep_whole: takes part in plans of one GPU alone */
};
struct scene_node {
    enum scene_why why;
    uint32_t tag;          /* its place in the order of names */
    uint32_t first, n_dev; /* in scene.dev, in order of index */
    bool special;          /* has a link of its own */
    bool all_or_none;      /* keep_whole: all of its GPUs or none */
};

struct goal;
struct objective;

struct scene {
    const struct cluster_snapshot *s;
    const struct deployment_spec *spec;
    const struct estimate_model *m;
    struct scene_node *nodes; /* as in the snapshot */
    struct scene_device *dev;
    uint32_t n_dev, n_usable;             /* usable: not left out */
    uint32_t max_nodes;                   /* that a plan may have; at least 1 */
    uint32_t max_devices;                 /* the engine's span; at least 1 */
    uint32_t min_gpus, max_gpus;          /* of plans with GPUs; 0: no bound */
    int64_t limit_ns;                     /* slower plans are none; 0: no bound */
    struct estimate_device_speed *speeds; /* distinct, fastest first */
    uint32_t n_speeds;                    /* the last one is a CPU */
    uint64_t need_single;                 /* on one GPU, whole */
    uint64_t ram_single, ram_multi;       /* host RAM of the main node */
    uint64_t *ram_cpu;                    /* [x]: with the first x layers on its CPU, up to all */
    int64_t *layers_ns, *output_ns;       /* [speed]: of all layers, of the output layer */
    int64_t *single_ns;                   /* [speed]: whole model on one local device */
    int64_t *layer_ns;                    /* what scene_layer_ns keeps; below 0: not known yet */
    int64_t hop_ns;
    int64_t floor_ns;    /* every layer on the kind that is fastest for it */
    int64_t most_gpu_ns; /* every layer on the GPU that is slowest for it */
    int64_t most_ns;     /* the same with the CPU, and a way to RAM and back at every layer */
    struct net net_all;
    struct net_pair *pairs;
    uint32_t n_pairs;
    struct goal *goal; /* the policy; owned */
};

/* Borrows all three. ERR_LIMIT: a model of more layers than the search handles, a policy whose
 * terms whole numbers do not hold; ERR_NOT_FOUND: a name that the cluster does not have;
 * ERR_INVALID: a figure that the policy needs is not known. */
struct scene *scene_new(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                        const struct estimate_model *m, struct err *err);
void scene_free(struct scene *c);

enum mode { MODE_FULL, MODE_CPU, MODE_MOE };
struct mode_opts {
    enum mode mode;
    uint32_t n_moe;                /* MODE_MOE: blocks whose experts are in RAM */
    bool gpus;                     /* GPUs take part */
    bool remote_ram;               /* RAM of other nodes takes part */
    bool ignore_ram;               /* as if every node had enough (for reasons) */
    const struct objective *value; /* NULL: time alone */
    int64_t limit_ns, stage_ns;    /* slower plans and stages (figures.h) are none; 0: no bound */
    bool first;                    /* any plan will do */
};
struct mode_problem {
    struct problem p;
    struct need need;
    struct speed *speeds;
    int64_t *cum, *cpu_ns;
    struct pdev *dev;
    struct pnode *nodes;
    uint32_t *node_of;      /* problem node: snapshot node */
    struct net_pair *pairs; /* in the unit of its times */
};
struct mode_problem *mode_new(const struct scene *c, const struct mode_opts *o);
void mode_free(struct mode_problem *p);
/* One node of such a problem; dev has room for its GPUs and its RAM. False: it takes no part. */
bool mode_node(const struct scene *c, const struct mode_opts *o, uint32_t node, struct pdev *dev,
               struct pnode *out);

/* What the main node's RAM must hold with the experts of n blocks in it. */
uint64_t scene_ram_moe(const struct scene *c, uint32_t n);
/* Time of one layer on one kind (n_speeds: the main node's CPU), rounded as everywhere; away: its
 * experts are in RAM. Kept by the scene once it is known. */
int64_t scene_layer_ns(const struct scene *c, uint32_t speed, uint32_t layer, bool away);
/* Time per token that the CPU takes for the experts of n blocks. */
int64_t scene_moe_ns(const struct scene *c, uint32_t n);
uint64_t scene_clamp(uint64_t bytes); /* figures of foreign files, far below what sums overflow */
uint64_t scene_room(const struct scene *c, uint64_t free_bytes, uint64_t taken);
struct net scene_net(const struct scene *c, uint32_t a, uint32_t b); /* nodes of the snapshot */
/* The speed as seen from the main node, with the link filled in. */
struct estimate_device_speed scene_speed(const struct scene *c, uint32_t main, uint32_t node,
                                         const struct cluster_device *d);

#endif
