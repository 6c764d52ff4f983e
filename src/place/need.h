/* How much of a model fits a device: exact needs of layer ranges, and equivalence of devices. Pure.
 *
 * A device that holds the layers [s, e) needs
 *     sum[e] - sum[s] + fixed + max(peak[s..e)) (+ first_extra on the first) (+ head on the last).
 * It grows with every layer at either end, so "furthest end from s" and "earliest start to e" are
 * monotone and found with two pointers. Two devices whose room lies between the same two of the
 * sorted needs can hold exactly the same ranges; the place among them is the device's rank. */
#ifndef PLACE_NEED_H
#define PLACE_NEED_H

#include <stdbool.h>
#include <stdint.h>

/* The engine loads at most 512 blocks; ranks take n^2 / 2 entries. */
enum { PLACE_MAX_LAYERS = 1024 };

/* Plain numbers of one model in one mode; arrays are owned by it. */
struct need {
    uint32_t n;          /* layers */
    uint64_t *sum;       /* n + 1: weights and KV of the layers before */
    uint64_t *peak;      /* n: compute buffer of a device that holds just this layer */
    uint64_t fixed;      /* once per device */
    int64_t first_extra; /* more, or less, on the first device */
    uint64_t head;       /* the output layer, on the last device */
};
void need_init(struct need *n, uint32_t n_layers);
void need_done(struct need *n);
uint64_t need_bytes(const struct need *n, uint32_t s, uint32_t e, bool first, bool last);

/* Where ranges may start and end on a device of one rank. lo[e]: least start of a range that ends
 * at e, or e when not even one layer fits. hi[s]: greatest end from s, or s. */
struct fit {
    uint16_t *lo, *hi;         /* neither first nor last */
    uint16_t hi_first;         /* greatest end of a first range (from layer 0), or 0 */
    uint16_t lo_last, lo_only; /* least start of a last (or first and last) range; n when none */
};

struct ranks;
/* Sorts the needs of all ranges: O(n^2). `n` is borrowed. */
struct ranks *ranks_new(const struct need *n);
/* The same where all rooms that will be asked for are known to lie from lo to hi; only needs
 * between them are told apart. */
struct ranks *ranks_new_within(const struct need *n, uint64_t lo, uint64_t hi);
void ranks_free(struct ranks *r);
uint32_t ranks_of(const struct ranks *r, uint64_t room);   /* 0: holds nothing */
uint64_t ranks_room(const struct ranks *r, uint32_t rank); /* the least of that rank */
/* Capacities: the most of some additive measure of layers that any range of a rank holds. Whatever
 * the measure, devices whose capacities sum to less than the model's total cannot hold it. The
 * measures: layers; bytes; and layers at least as large as some size, which sees that small layers
 * are few. The output layer counts as one more layer of its size (not in the first measure). */
enum { CAP_LAYERS, CAP_BYTES, CAP_LARGE, CAP_COUNT = CAP_LARGE + 3 };
uint32_t ranks_n_caps(const struct ranks *r); /* measures in use; the others are all 0 */
const uint64_t *ranks_caps(const struct ranks *r, uint32_t rank); /* [CAP_COUNT] */
/* Measure b of the first x layers; x = n + 1: of all of them and the output layer. */
uint64_t ranks_measure(const struct ranks *r, uint32_t b, uint32_t x);
const uint64_t *ranks_sums(const struct ranks *r, uint32_t b); /* the same for all x; b in use */
/* The most layers of any range. */
uint32_t ranks_layers(const struct ranks *r, uint32_t rank);
const struct fit *ranks_fit(struct ranks *r, uint32_t rank); /* computed once, kept by r */
/* The same for any room, into the caller's fit (made by fit_init, freed by fit_done). */
void fit_init(struct fit *f, uint32_t n_layers);
void fit_fill(struct fit *f, const struct need *n, uint64_t room);
void fit_done(struct fit *f);

#endif
