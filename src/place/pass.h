/* One search for the best plan of some kinds under limits: what tiers and stream times are made of.
 * Nobody outside of src/place includes this. Pure. */
#ifndef PLACE_PASS_H
#define PLACE_PASS_H

#include "place/objective.h"

struct run {
    const struct scene *c;
    uint64_t steps, used;
    enum place_tier last; /* tiers after it are not tried */
    uint32_t max_nodes;
    int64_t limit_ns; /* 0: no bound */
};

struct pass {
    struct run *r;
    const struct objective *o;
    bool gpus, ram, cpu;        /* which kinds: all on GPUs, part in RAM, CPU only */
    bool near_ram, near_cpus;   /* without RAM, without CPUs of other nodes: something else fits.
                                   pass_solve sets them; a limit on top changes nothing of it */
    int64_t limit_ns, stage_ns; /* slower plans and stages are none; 0: no bound */
    bool first;                 /* any plan will do */
    struct answer best;         /* the least value; owned by whoever takes it */
    int64_t open;               /* the least value that is not excluded; PLACE_INF: none is */
};

uint64_t run_left(const struct run *r);
/* Over all kinds and numbers of nodes; fills best and open. */
void pass_solve(struct pass *p);
/* The same where TERM_STREAM_TIME is among the terms: fills best with its bound_total and proved.
 */
void stream_solve(struct pass *p);

/* stream_floor.c: no plan has a stream time below this, in ticks; at most hi. Linear in the cluster
 * for each halving of hi. */
int64_t stream_floor(const struct pass *p, int64_t hi);

/* single.c: plans of one device. Keep the better of what is there and what they find. */
enum single_main { SINGLE_LOCAL, SINGLE_REMOTE, SINGLE_ANY };
void single_gpu(struct pass *p, enum single_main where);
void single_cpu(struct pass *p);
/* Is there a GPU that would hold the model, whatever the RAM of its node? */
bool single_fits(const struct scene *c);

/* Takes the answer over when it is better than the best; frees it otherwise. */
void pass_offer(struct pass *p, struct answer *a);
/* Solves one mode for exactly k nodes, k_lo to k_hi, as long as better answers are possible. */
void pass_nodes(struct pass *p, const struct mode_opts *mode, uint32_t k_lo, uint32_t k_hi);
/* The solution of a mode's problem as an answer. */
void pass_answer(const struct pass *p, const struct mode_problem *m, const struct mode_opts *mode,
                 const struct solution *s, struct answer *a);

#endif
