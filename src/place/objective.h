/* A policy on a scene, as whole numbers that the search adds up and compares. Pure; any thread.
 *
 * Every term is a count of steps: what it can differ by at all, the greatest common divisor of its
 * figures. In an ordered policy a step of a term weighs more than all that the terms after it can
 * come to together, so one sum has the order of the list, exactly. In a weighted one each weight
 * becomes a whole number, to at least one part in a thousand. What does not fit 64 bits is an
 * error. After the terms of the policy come nodes, GPUs and time, unless it names them.
 *
 * The time over several streams is no sum over devices: the search minimises the value, which is
 * everything else, under a limit of it (stream.c), and the total has it at its place. */
#ifndef PLACE_OBJECTIVE_H
#define PLACE_OBJECTIVE_H

#include "place/figures.h"
#include "place/place.h"
#include "place/scene.h"
#include "place/tiers.h"

struct objective_term {
    enum policy_term term;
    int64_t step;  /* in the resolution of the term */
    int64_t most;  /* steps that no plan exceeds */
    int64_t mult;  /* of one step in the value; 0 for TERM_STREAM_TIME */
    __int128 wide; /* of one step in the total */
};

struct objective {
    struct objective_term t[PLACE_MAX_TERMS];
    uint32_t n;
    bool weighted;
    int64_t tick_ns;      /* unit of times: 1 unless larger numbers need the room */
    int64_t *dev[2];      /* cost: [all on GPUs][device of the scene] */
    int64_t *node, *main; /* nodes of the snapshot: taking part; being the main one, in addition */
    int64_t time_scale;   /* cost of a tick */
    int64_t hop, offload; /* cost of a device on another node; of a step of TERM_OFFLOAD */
    double sum_scale;     /* weighted: of a unit of the user's weights in the total */
    int64_t sum_step;     /* weighted: what only breaks ties is below it */
};

/* The policy as it is followed here. */
struct goal {
    struct policy p;  /* without terms that nothing here decides */
    uint32_t streams; /* at least 1 */
    bool by_tier;     /* offload comes first: one tier after the other */
    bool counted;     /* then nodes, then GPUs, for plans all on GPUs */
    bool prefers_fit; /* leftover comes last, after time: a preference between equal plans */
    bool streaming;   /* TERM_STREAM_TIME is among the terms */
    enum policy_term left_out; /* a term that no GPU has a figure of; TERM_COUNT: none */
    struct figures figures;
    struct objective *gpus, *ram; /* of plans all on GPUs, and of others; one when not by_tier */
};

/* What decides between plans that are equal by the policy; names come after it. */
enum { GOAL_ENDS = 3 };
static const enum policy_term GOAL_END[GOAL_ENDS] = {TERM_NODES, TERM_GPUS, TERM_TOKEN_TIME};

/* Fills c->goal, which the scene owns. ERR_INVALID names the GPU whose price or power is not known;
 * ERR_LIMIT the terms that do not fit together. */
int goal_new(struct scene *c, struct err *err);
void goal_free(struct goal *g);

/* The objective that the plan was judged by. */
const struct objective *goal_objective(const struct scene *c, const struct answer *a);
double goal_units(enum policy_term t, double figure); /* in the unit for people */
/* Below 0: a is better by the policy, then by nodes, GPUs, time; 0: as good. */
int goal_compare(const struct scene *c, const struct answer *a, const struct answer *b);
/* Fills terms, sums and gap of the plan. */
void goal_report(const struct scene *c, const struct answer *a, struct place_plan *p);

/* One objective: of plans all on GPUs, of others, or of both. NULL and ERR_LIMIT as above. */
struct objective *objective_new(const struct scene *c, bool gpus, bool ram, struct err *err);
void objective_free(struct objective *o);
bool objective_is_time(enum policy_term t);
/* The value of a plan of one device of the scene; UINT32_MAX: of the main node's CPU alone. */
int64_t objective_single(const struct objective *o, const struct scene *c, uint32_t dev,
                         uint32_t main, int64_t ticks);
/* What the search may be off by in the time of a plan: it adds up rounded ones. */
int64_t objective_slack_ns(const struct objective *o, const struct scene *c);
int64_t objective_ticks(const struct objective *o, int64_t ns); /* rounded */
/* The whole model on one local device of this speed, as the search rounds it. */
int64_t objective_alone(const struct objective *o, const struct scene *c, uint32_t speed);
/* The value with the stream time, in ticks, at its place. Grows with both. */
__int128 objective_total(const struct objective *o, int64_t value, int64_t stream);

#endif
