/* Predicted time of one decoded token on one stream. The constants are a fit (docs/memory.md). */
#include "estimate/estimate.h"

#include <math.h>

/* Share of the nominal bandwidth that reading weights reaches. */
#define ETA_GDDR 0.92
#define ETA_HBM 0.56
#define ETA_CPU 0.56 /* an assumption: memory of hosts was not part of the fit */
#define KV_FACTOR 2.36
#define LAYER_SECONDS 96e-6
#define HOP_SECONDS 225e-6 /* from one device to the next */
/* Assumed where nobody knows: an entry-level card, two channels of DDR4, 1 Gbit/s. */
#define DEFAULT_GPU_BYTES_PER_S 200e9
#define DEFAULT_CPU_BYTES_PER_S 40e9
#define DEFAULT_NET_BYTES_PER_S 118e6
#define REMOTE_ROUND_TRIPS 2
/* Bytes of one token's messages besides activations: commands to the first and further devices. */
#define FIRST_COMMAND_BYTES 6e3
#define MORE_COMMAND_BYTES 4e3

static double positive_or(double v, double otherwise)
{
    return isfinite(v) && v > 0 ? v : otherwise;
}

static double weight_rate(const struct estimate_device_speed *d)
{
    if (d->cpu)
        return ETA_CPU * positive_or(d->bandwidth_bytes_per_s, DEFAULT_CPU_BYTES_PER_S);
    double bw = positive_or(d->bandwidth_bytes_per_s, DEFAULT_GPU_BYTES_PER_S);
    return bw * (d->hbm ? ETA_HBM : ETA_GDDR);
}

static double kv_rate(const struct estimate_device_speed *d)
{
    return positive_or(d->bandwidth_bytes_per_s,
                       d->cpu ? DEFAULT_CPU_BYTES_PER_S : DEFAULT_GPU_BYTES_PER_S) /
           KV_FACTOR;
}

/* K, V or state that one stream reads when its slot is full: the pessimistic end. */
static double kv_read(const struct estimate_model *m, const struct estimate_layer *l)
{
    return (double)l->kv / (m->opts.kv_unified ? 1 : m->opts.n_slots);
}

/* Everything passes through the main process: activations to and from each remote device, one more
 * to the first of them, the logits back from the one that holds the output layer. */
static double net_seconds(const struct estimate_model *m, const struct estimate_device_speed *d,
                          bool first, bool head)
{
    double row = 4.0 * m->n_embd;
    double bytes = 2 * row + MORE_COMMAND_BYTES;
    if (first)
        bytes += row + FIRST_COMMAND_BYTES - MORE_COMMAND_BYTES;
    if (head)
        bytes += 4.0 * m->n_vocab;
    double rtt = isfinite(d->net_rtt_s) && d->net_rtt_s > 0 ? d->net_rtt_s : 0;
    return bytes / positive_or(d->net_bytes_per_s, DEFAULT_NET_BYTES_PER_S) +
           REMOTE_ROUND_TRIPS * rtt;
}

double estimate_token_seconds(const struct estimate_model *m, const struct estimate_split *split,
                              const struct estimate_device_speed *devices,
                              const struct estimate_device_speed *host_cpu)
{
    struct estimate_device_speed cpu = {.cpu = true};
    if (host_cpu)
        cpu.bandwidth_bytes_per_s = host_cpu->bandwidth_bytes_per_s;
    double t = 0;
    uint32_t il = 0, parts = 0;
    bool first_remote = true;
    for (; il < split->n_cpu_layers && il < m->n_layers; il++)
        t += (double)m->layers[il].read / weight_rate(&cpu) +
             kv_read(m, &m->layers[il]) / kv_rate(&cpu) + LAYER_SECONDS;
    parts += il > 0;
    for (uint32_t d = 0; d < split->n_devices; d++) {
        const struct estimate_device_speed *dev = &devices[d];
        bool head = d == split->n_devices - 1;
        if (!split->counts[d] && !head)
            continue;
        parts++;
        for (uint32_t n = split->counts[d]; n > 0 && il < m->n_layers; n--, il++) {
            const struct estimate_layer *l = &m->layers[il];
            double used = (double)l->read, in_ram = 0;
            if (il < split->n_cpu_moe && l->experts) {
                in_ram = used - (double)(l->weights - l->experts);
                t += 2 * HOP_SECONDS; /* to the host and back */
            }
            t += (used - in_ram) / weight_rate(dev) + in_ram / weight_rate(&cpu) +
                 kv_read(m, l) / kv_rate(dev) + LAYER_SECONDS;
        }
        if (head)
            t += (double)m->head_read / weight_rate(dev);
        if (dev->remote) {
            t += net_seconds(m, dev, first_remote, head);
            first_remote = false;
        }
    }
    if (split->n_devices == 0)
        t += (double)m->head_read / weight_rate(&cpu);
    return t + (parts > 1 ? parts - 1 : 0) * HOP_SECONDS;
}
