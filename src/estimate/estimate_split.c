/* Bytes per device of a split, and the engine's own assignment of layers to devices. */
#include "estimate/estimate.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

enum { PIPELINE_COPIES = 4 }; /* of every input, when several devices hold all layers */

/* What the compute formula depends on. */
struct shape {
    bool whole;           /* every layer is on a device */
    bool pipelined;       /* ... and there are several, and nothing stays in RAM */
    bool moe_host;        /* routed experts of the first blocks stay in RAM */
    uint32_t first, last; /* devices in use */
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static struct shape shape_of(const struct estimate_split *s)
{
    struct shape h = {.moe_host = s->n_cpu_moe > 0};
    uint32_t used = 0;
    for (uint32_t i = s->n_devices; i-- > 0;)
        if (s->counts[i] || i == s->n_devices - 1) {
            h.first = i;
            used++;
        }
    h.last = s->n_devices ? s->n_devices - 1 : 0;
    h.whole = s->n_devices && s->n_cpu_layers == 0;
    h.pipelined = h.whole && used > 1 && !h.moe_host;
    return h;
}

static uint64_t device_compute(const struct estimate_model *m, const struct shape *h, uint32_t dev,
                               bool has_layers, uint64_t peak)
{
    if (h->pipelined) {
        unsigned copies = dev == h->first ? 16 : 7;
        if (m->recurrent_only) /* measured on falcon-mamba, 2 and 4 devices */
            copies = dev == h->first ? 25 : dev == h->last ? 24 : 32;
        uint64_t acts = num_mul_sat(copies, m->act);
        uint64_t n = num_add_sat(num_mul_sat(PIPELINE_COPIES, m->mask), acts);
        n = num_add_sat(n, num_add_sat(peak, m->big));
        if (dev == h->first)
            n = num_add_sat(n, m->first_extra);
        return n;
    }
    if (!h->whole && !has_layers) /* the output layer alone: one row of logits per slot */
        return num_mul_sat(num_mul_sat(4, (uint64_t)m->n_vocab + m->n_embd), m->opts.n_slots);
    uint64_t acts = !h->whole ? (m->recurrent_only ? 5 : 2) : dev == h->first ? 4 : 3;
    if (!h->moe_host && h->whole)
        acts = 4;
    return num_add_sat(num_add_sat(m->mask, num_mul_sat(acts, m->act)), peak);
}

static uint64_t host_compute(const struct estimate_model *m, const struct shape *h,
                             uint64_t cpu_peak, uint64_t moe_peak)
{
    if (h->pipelined)
        return num_add_sat(num_mul_sat(PIPELINE_COPIES, m->host_mask), num_mul_sat(10, m->act));
    uint64_t four = num_mul_sat(4, m->act);
    if (h->whole && h->moe_host)
        return num_add_sat(max_u64(m->host_mask, moe_peak), four);
    if (h->whole)
        return num_add_sat(m->host_mask, four);
    return num_add_sat(num_add_sat(m->host_mask, num_mul_sat(m->recurrent_only ? 7 : 5, m->act)),
                       max_u64(cpu_peak, moe_peak));
}

void estimate_split_bytes(const struct estimate_model *m, const struct estimate_split *split,
                          struct estimate_bytes *out, struct estimate_bytes *host)
{
    struct shape h = shape_of(split);
    struct estimate_bytes ram = {.weights = m->host_embedding};
    uint64_t cpu_peak = 0, moe_peak = 0;
    uint32_t il = 0;
    for (; il < split->n_cpu_layers && il < m->n_layers; il++) {
        const struct estimate_layer *l = &m->layers[il];
        ram.weights = num_add_sat(ram.weights, l->weights);
        ram.kv = num_add_sat(ram.kv, l->kv);
        cpu_peak = max_u64(cpu_peak, l->peak);
    }
    if (il)
        ram.weights = num_add_sat(ram.weights, m->shared);
    for (uint32_t d = 0; d < split->n_devices; d++) {
        struct estimate_bytes b = {0};
        uint64_t peak = 0;
        uint32_t end =
            num_add_sat(il, split->counts[d]) < m->n_layers ? il + split->counts[d] : m->n_layers;
        bool has_layers = il < end;
        for (; il < end; il++) {
            const struct estimate_layer *l = &m->layers[il];
            bool away = il < split->n_cpu_moe;
            b.weights = num_add_sat(b.weights, l->weights - (away ? l->experts : 0));
            b.kv = num_add_sat(b.kv, l->kv);
            peak = max_u64(peak, away ? l->peak_bare : l->peak);
            if (away && l->experts) {
                ram.weights = num_add_sat(ram.weights, l->experts);
                moe_peak = m->expert_peak;
            }
        }
        if (has_layers)
            b.weights = num_add_sat(b.weights, m->shared);
        if (d == h.last)
            b.weights = num_add_sat(b.weights, m->head);
        if (has_layers || d == h.last)
            b.compute = device_compute(m, &h, d, has_layers, peak);
        out[d] = b;
    }
    if (split->n_devices == 0)
        ram.weights = num_add_sat(ram.weights, m->head_host);
    ram.compute = host_compute(m, &h, cpu_peak, moe_peak);
    *host = ram;
}

/* The engine compares 32-bit floats, so this does too: prefix sums of the shares divided by their
 * total; an item goes to the first device whose prefix is above its place among the items. */
void estimate_engine_layers(uint32_t n_blocks, uint32_t n_devices, const double *shares,
                            int64_t ngl, int *out)
{
    uint64_t items = (uint64_t)n_blocks + 1;
    uint64_t wanted = ngl < 0 || (uint64_t)ngl > items ? items : (uint64_t)ngl;
    uint64_t start = n_devices ? items - wanted : items;
    float sum = 0;
    mem_auto float *prefix = mem_calloc((size_t)n_devices + 1, sizeof *prefix);
    for (uint32_t d = 0; d < n_devices; d++)
        prefix[d] = sum += (float)shares[d];
    for (uint32_t d = 0; d < n_devices; d++) /* all zero means equal, as without shares */
        prefix[d] = sum > 0 ? prefix[d] / sum : (float)(d + 1) / (float)n_devices;
    for (uint64_t i = 0; i < items; i++) {
        if (i < start) {
            out[i] = -1;
            continue;
        }
        float place = (float)(i - start) / (float)wanted;
        uint32_t d = 0;
        while (d + 1 < n_devices && !(place < prefix[d]))
            d++;
        out[i] = (int)d;
    }
}
