/* Predicted times of the parts of a token, as estimate/ has them. Pure; any thread.
 *
 * They are asked of estimate/ on models of one layer or none, so no formula is written twice. */
#ifndef PLACE_TIMES_H
#define PLACE_TIMES_H

#include "estimate/estimate.h"

int64_t times_ns(double seconds); /* rounded; at most 1e15, so that sums over layers fit */
/* Layer l alone on one device, or on the CPU of the main node when d is NULL. moe: its routed
 * experts are in RAM. Seconds, as of all of these. */
double times_layer(const struct estimate_model *m, uint32_t l,
                   const struct estimate_device_speed *d, bool moe);
double times_output(const struct estimate_model *m, const struct estimate_device_speed *d);
/* A model of two layers that cost nothing to read, on n devices: hops and network remain. vocab:
 * with the logits. */
double times_empty(const struct estimate_model *m, uint32_t n, bool vocab,
                   const struct estimate_device_speed *d);
/* What the CPU takes for the routed experts of the first n blocks. */
double times_experts(const struct estimate_model *m, uint32_t n);

#endif
