/* Random instances for the exhaustive tests: the same facts as a problem of the search and as a
 * table for the exhaustive methods. Test code only; one thread.
 *
 * Made up ones (brute_make.c), and ones with the layers of real models (brute_real_test.c): all
 * headers of tests/data/models, cut to a stretch of layers or thinned, so that trying everything is
 * affordable. Rooms lie around a share of the model, so that most answers are close. */
#ifndef PLACE_BRUTE_CASE_H
#define PLACE_BRUTE_CASE_H

#include "base/rng.h"
#include "cluster/deployment.h"
#include "estimate/estimate.h"
#include "place/brute.h"
#include "place/scene.h"

struct brute_shape {
    uint32_t max_layers, max_dev, max_nodes;
    bool uniform; /* layers alike, no links of their own */
    bool cpu;     /* the first layers on the main node's CPU */
    bool links;   /* some pairs of nodes have links of their own */
    bool wants;   /* costs, limits, whole nodes, numbers of devices: some of them */
};

struct brute_case {
    struct brute b;
    struct problem *p;
    bool tiered;         /* fewest devices before value; else value first */
    uint32_t k_lo, k_hi; /* so many nodes */
    char what[96];
    /* Of one made of a real model. */
    struct estimate_model *m;
    struct cluster_snapshot s;
    struct deployment_spec *spec;
    struct scene *scene;
    struct mode_problem *mode;
    uint32_t n_moe;
    struct brute_store *store; /* of a made up one */
};
void brute_case_done(struct brute_case *c);

/* A made up instance; *c is filled. */
void brute_make(struct brute_case *c, struct rng *r, const struct brute_shape *o);

/* Gives an instance costs, limits, whole nodes and numbers of devices, some of them; its problem
 * and its table alike. `more` is the order of magnitude of its times. */
void brute_wants(struct brute_case *c, struct rng *r, int64_t more);

/* Every header of the folder with a few contexts and KV types. Fails (NULL) when there is none. */
struct brute_models *brute_models_new(const char *folder, struct err *err);
void brute_models_free(struct brute_models *m);
/* A random model of them with n of its layers; owned by the caller (brute_cut_free). */
struct estimate_model *brute_cut(struct brute_models *all, struct rng *r, uint32_t n,
                                 char what[96]);
void brute_cut_free(struct estimate_model *m);
/* A random cluster for a model; *s is filled, the caller ends it with snapshot_done. */
void brute_cluster(const struct estimate_model *m, struct rng *r, const struct brute_shape *o,
                   struct cluster_snapshot *s);
/* One mode of a random real model on a random cluster. */
void brute_real(struct brute_case *c, struct brute_models *all, struct rng *r,
                const struct brute_shape *o);
/* The table of one mode, from a scene. Needs are asked of estimate/, times are the problem's. */
void brute_table(const struct scene *c, const struct mode_opts *o, const struct problem *p,
                 const uint32_t *node_of, struct brute *b);

#endif
