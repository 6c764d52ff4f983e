/* Subsets in order of size; see place_base.h. */
#include "place_base.h"

#include "base/mem.h"

struct base {
    const struct cluster_snapshot *s;
    const struct estimate_model *m;
    const struct cluster_device **dev;
    uint32_t n, pick[BASE_MAX_SET];
    int *where; /* scratch: the device of each block */
    uint64_t calls, limit;
    bool found;
};

const char *base_end_name(enum base_end e)
{
    static const char *const NAMES[] = {"fits", "no answer", "gives up", "limit"};
    return (unsigned)e < ARRAY_LEN(NAMES) ? NAMES[e] : "?";
}

static bool ended(const struct base *b)
{
    return b->found || b->calls >= b->limit;
}

static void try_set(struct base *b, uint32_t g)
{
    double shares[BASE_MAX_SET] = {0};
    uint32_t counts[BASE_MAX_SET] = {0};
    struct estimate_bytes bytes[BASE_MAX_SET], host;
    for (uint32_t i = 0; i < g; i++)
        shares[i] = (double)b->dev[b->pick[i]]->free_bytes;
    estimate_engine_layers(b->m->n_blocks, g, shares, -1, b->where);
    for (uint32_t l = 0; l < b->m->n_layers; l++)
        counts[b->where[l]]++;
    struct estimate_split split = {.n_devices = g, .counts = counts};
    estimate_split_bytes(b->m, &split, bytes, &host);
    b->calls++;
    for (uint32_t i = 0; i < g; i++)
        if (bytes[i].weights + bytes[i].kv + bytes[i].compute + b->s->runtime_bytes +
                b->s->margin_bytes >
            b->dev[b->pick[i]]->free_bytes)
            return;
    b->found = true;
}

static void subsets(struct base *b, uint32_t from, uint32_t g, uint32_t want)
{
    if (g == want) {
        try_set(b, g);
        return;
    }
    for (uint32_t i = from; i + (want - g) <= b->n && !ended(b); i++) {
        b->pick[g] = i;
        subsets(b, i + 1, g + 1, want);
    }
}

static uint32_t list_devices(const struct cluster_snapshot *s, const struct cluster_device ***out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        n += s->nodes[i].n_devices;
    *out = mem_calloc(n, sizeof **out);
    n = 0;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
            (*out)[n++] = &s->nodes[i].devices[k];
    return n;
}

struct base_result base_search(const struct cluster_snapshot *s, const struct estimate_model *m,
                               bool capped, uint64_t limit)
{
    struct base b = {.s = s, .m = m, .limit = limit};
    struct base_result r = {.end = BASE_GIVES_UP};
    b.n = list_devices(s, &b.dev);
    if (!capped || b.n <= BASE_CAP_GPUS) {
        uint32_t most = s->engine_devices && s->engine_devices < BASE_MAX_SET ? s->engine_devices
                                                                              : BASE_MAX_SET;
        most = capped && most > BASE_CAP_SET ? BASE_CAP_SET : most;
        b.where = mem_calloc(m->n_blocks + 2, sizeof *b.where);
        for (uint32_t g = 1; g <= most && g <= b.n && !ended(&b); g++)
            subsets(&b, 0, 0, g);
        r.end = b.found ? BASE_FITS : b.calls >= limit ? BASE_LIMIT : BASE_NO_ANSWER;
    }
    r.calls = b.calls;
    free(b.where);
    free(b.dev);
    return r;
}
