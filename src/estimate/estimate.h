/* Memory of a model on llama.cpp, exact per device, and honest speed bounds. Pure; any thread.
 *
 * Weights and KV are equal to the engine's own figures to the byte; compute buffers follow a closed
 * form (docs/memory.md names source and error). Layers are the model's blocks 0..n_layers-1 in
 * order; the output layer (norm + head) rides on the device of the last layer. */
#ifndef ESTIMATE_ESTIMATE_H
#define ESTIMATE_ESTIMATE_H

#include "arch/arch.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum kv_type { KV_F16, KV_Q8_0, KV_Q4_0, KV_F32, KV_BF16, KV_TYPE_COUNT };
const char *kv_type_name(enum kv_type t); /* "f16": as the engine spells it */
int kv_type_parse(const char *name, enum kv_type *out, struct err *err);

struct estimate_opts {
    uint32_t ctx;     /* tokens over all slots together, as -c; not 0 */
    uint32_t n_slots; /* -np; not 0 */
    bool kv_unified;  /* -kvu */
    uint32_t ubatch;  /* -ub, 512 by default */
    enum kv_type kv_k, kv_v;
    bool no_flash_attn;
};

/* What one request for (model, options) costs, layer by layer. Everything in bytes. */
struct estimate_layer {
    uint64_t weights;   /* every tensor of the block, padded */
    uint64_t experts;   /* the routed-expert part of weights (can stay in RAM) */
    uint64_t kv;        /* KV cache or recurrent state, all slots */
    uint64_t peak;      /* P: widest transient of the block (compute buffer) */
    uint64_t peak_bare; /* the same with the routed experts in RAM */
    uint64_t read;      /* weights read to decode one token (MoE: experts in use) */
};
struct estimate_model {
    uint32_t n_layers; /* blocks that are loaded (blocks the engine skips are in n_blocks) */
    uint32_t n_blocks; /* blocks -ts and -ngl count (n_layers + MTP blocks) */
    struct estimate_layer *layers; /* n_layers */
    uint64_t head;                 /* output layer on a device (a tied embedding counts again) */
    uint64_t head_read;
    uint64_t head_host;      /* output layer on the CPU: a tied embedding counts once */
    uint64_t expert_peak;    /* widest transient of the routed experts; 0: no experts */
    bool recurrent_only;     /* no layer keeps K and V */
    uint64_t host_embedding; /* token embedding, host RAM of the main node */
    uint64_t shared;         /* once per device that holds layers (rope factors) */
    uint64_t mask, act;      /* compute closed form: mask bytes, A = 4*ubatch*n_embd */
    uint64_t host_mask;
    uint64_t big, first_extra; /* pipelined extras: each device; the first device */
    uint64_t logits;           /* host logits buffer */
    uint32_t n_embd, n_vocab;
    uint64_t file_bytes;
    struct estimate_opts opts;
    char warning[240]; /* "" or why figures are conservative (unknown architecture) */
};

/* Builds the table; the result is owned by the caller and freed with estimate_free. ERR_INVALID for
 * options the engine refuses (quantised V without flash attention, unequal K/V types with MLA,
 * ctx above the trained context is allowed and noted). */
struct estimate_model *estimate_new(const struct arch_facts *facts,
                                    const struct estimate_opts *opts, struct err *err);
void estimate_free(struct estimate_model *m);

/* Which device takes which layers: devices in pipeline order. Layers [0, n_cpu_layers) stay on the
 * main node's CPU; then counts[i] layers on device i, in order; the head on the last device unless
 * n_devices is 0. Sum of n_cpu_layers and counts must be n_layers. */
struct estimate_split {
    uint32_t n_devices;
    const uint32_t *counts;
    uint32_t n_cpu_layers;
    uint32_t n_cpu_moe; /* routed experts of the first n blocks stay in host RAM */
};
struct estimate_bytes {
    uint64_t weights, kv, compute;
};
/* Fills out[n_devices] and *host (weights: mapped embedding and CPU layers; kv; compute).
 * Saturates on implausible files, never wraps. */
void estimate_split_bytes(const struct estimate_model *m, const struct estimate_split *split,
                          struct estimate_bytes *out, struct estimate_bytes *host);

/* Device of every block and of the output layer (last entry, index n_blocks) as llama.cpp assigns
 * them from -ts (shares[n]) and -ngl; -1 is the CPU. The same 32-bit float arithmetic. */
void estimate_engine_layers(uint32_t n_blocks, uint32_t n_devices, const double *shares,
                            int64_t ngl, int *out);

/* Predicted decode time of one token on one stream, seconds; the pessimistic and the likely end.
 * Formula and fit: docs/memory.md. */
struct estimate_device_speed {
    double bandwidth_bytes_per_s; /* 0: unknown, a stated default is used */
    bool hbm;
    bool remote; /* reached over RPC from the main node */
    bool cpu;
    double net_bytes_per_s, net_rtt_s; /* main node to this device's node; local: 0 */
};
double estimate_token_seconds(const struct estimate_model *m, const struct estimate_split *split,
                              const struct estimate_device_speed *devices,
                              const struct estimate_device_speed *host_cpu);

#endif
