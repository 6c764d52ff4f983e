/* Times of layers, hops and ways; see times.h. */
#include "place/times.h"

#include <math.h>

int64_t times_ns(double seconds)
{
    double ns = seconds * 1e9;
    return ns > 0 && ns < 1e15 ? llround(ns) : ns > 0 ? (int64_t)1e15 : 0;
}

double times_layer(const struct estimate_model *m, uint32_t l,
                   const struct estimate_device_speed *d, bool moe)
{
    struct estimate_model one = *m;
    one.n_layers = one.n_blocks = 1;
    one.layers = &m->layers[l];
    one.head_read = 0;
    uint32_t count = 1;
    struct estimate_split s = {.n_devices = d ? 1 : 0,
                               .counts = &count,
                               .n_cpu_layers = d ? 0 : 1,
                               .n_cpu_moe = moe ? 1 : 0};
    return estimate_token_seconds(&one, &s, d, NULL);
}

double times_output(const struct estimate_model *m, const struct estimate_device_speed *d)
{
    struct estimate_model none = *m;
    none.n_layers = 0;
    uint32_t count = 0;
    struct estimate_split s = {.n_devices = 1, .counts = &count};
    return estimate_token_seconds(&none, &s, d, NULL);
}

double times_empty(const struct estimate_model *m, uint32_t n, bool vocab,
                   const struct estimate_device_speed *d)
{
    struct estimate_layer layers[2] = {{0}};
    struct estimate_model two = *m;
    struct estimate_device_speed both[2] = {*d, *d};
    uint32_t counts[2] = {n == 1 ? 2 : 1, 1};
    two.n_layers = two.n_blocks = 2;
    two.layers = layers;
    two.head_read = 0;
    two.n_vocab = vocab ? m->n_vocab : 0;
    struct estimate_split s = {.n_devices = n, .counts = counts};
    return estimate_token_seconds(&two, &s, both, NULL);
}

double times_experts(const struct estimate_model *m, uint32_t n)
{
    /* On a GPU that takes no time, experts in RAM add what the CPU takes, and two hops. */
    const struct estimate_device_speed instant = {.bandwidth_bytes_per_s = 1e30};
    double hops = 2 * (times_empty(m, 2, false, &instant) - times_empty(m, 1, false, &instant));
    double sum = 0;
    for (uint32_t l = 0; l < n && l < m->n_layers; l++) {
        double t = times_layer(m, l, &instant, true) - times_layer(m, l, &instant, false) - hops;
        sum += m->layers[l].experts && t > 0 ? t : 0;
    }
    return sum;
}
