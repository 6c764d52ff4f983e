/* Exact needs of layer ranges; ranks of devices; see need.h. */
#include "place/need.h"

#include "base/mem.h"

void need_init(struct need *n, uint32_t n_layers)
{
    *n = (struct need){.n = n_layers};
    n->sum = mem_calloc(n_layers + 1, sizeof *n->sum);
    n->peak = mem_calloc(n_layers + 1, sizeof *n->peak);
}

void need_done(struct need *n)
{
    free(n->sum);
    free(n->peak);
    *n = (struct need){0};
}

uint64_t need_bytes(const struct need *n, uint32_t s, uint32_t e, bool first, bool last)
{
    uint64_t peak = 0;
    for (uint32_t i = s; i < e; i++)
        if (n->peak[i] > peak)
            peak = n->peak[i];
    return n->sum[e] - n->sum[s] + n->fixed + peak + (first ? n->first_extra : 0) +
           (last ? n->head : 0);
}

/* ---- fits ---- */

void fit_init(struct fit *f, uint32_t n)
{
    f->lo = mem_calloc(2 * ((size_t)n + 1), sizeof *f->lo);
    f->hi = f->lo + n + 1;
}

void fit_done(struct fit *f)
{
    free(f->lo);
    *f = (struct fit){0};
}

/* Two pointers over the ends; a deque keeps the maxima of the window's peaks. */
static void windows(const struct need *n, uint64_t room, uint16_t *lo, uint16_t *hi)
{
    uint16_t deque[PLACE_MAX_LAYERS + 1];
    uint32_t head = 0, tail = 0, s = 0;
    lo[0] = 0;
    for (uint32_t e = 1; e <= n->n; e++) {
        while (tail > head && n->peak[deque[tail - 1]] <= n->peak[e - 1])
            tail--;
        deque[tail++] = (uint16_t)(e - 1);
        while (s < e && n->sum[e] - n->sum[s] + n->fixed + n->peak[deque[head]] > room) {
            if (deque[head] == s)
                head++;
            s++;
        }
        lo[e] = (uint16_t)s;
    }
    /* hi is the inverse: the last end whose least start is not behind s. */
    for (uint32_t e = 0, i = 0; i <= n->n; i++) {
        e = e > i ? e : i;
        while (e < n->n && lo[e + 1] <= i)
            e++;
        hi[i] = (uint16_t)e;
    }
}

static uint16_t least_start(const struct need *n, uint64_t room, uint64_t extra)
{
    uint64_t peak = 0;
    uint32_t s = n->n;
    while (s > 0) {
        uint64_t p = n->peak[s - 1] > peak ? n->peak[s - 1] : peak;
        if (n->sum[n->n] - n->sum[s - 1] + n->fixed + p + extra > room)
            break;
        peak = p;
        s--;
    }
    return (uint16_t)s;
}

static uint16_t greatest_end(const struct need *n, uint64_t room)
{
    uint64_t peak = 0;
    uint32_t e = 0;
    for (; e < n->n; e++) {
        peak = n->peak[e] > peak ? n->peak[e] : peak;
        if (n->sum[e + 1] + n->fixed + peak + n->first_extra > room)
            break;
    }
    return (uint16_t)e;
}

void fit_fill(struct fit *f, const struct need *n, uint64_t room)
{
    windows(n, room, f->lo, f->hi);
    f->hi_first = greatest_end(n, room);
    f->lo_last = least_start(n, room, n->head);
    f->lo_only = least_start(n, room, n->head + n->first_extra);
}

/* ---- ranks ---- */

struct entry {
    uint64_t need, bytes;
    uint32_t layers;
};

struct ranks {
    const struct need *n;
    struct entry *e; /* by need, distinct; layers and bytes are maxima so far */
    uint32_t n_entries;
    struct fit *fits; /* by rank; lo NULL until asked for */
};

static int by_need(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->need > y->need) - (x->need < y->need);
}

struct ranks *ranks_new(const struct need *n)
{
    struct ranks *r = mem_calloc(1, sizeof *r);
    r->n = n;
    uint32_t starts = n->first_extra ? 1 : 0; /* first ranges differ; they start at layer 0 */
    size_t count = (size_t)n->n * (n->n + 1) / 2 + (size_t)n->n * (1 + starts) + 1, at = 0;
    r->e = mem_calloc(count, sizeof *r->e);
    for (uint32_t s = 0; s < n->n; s++) {
        uint64_t peak = 0;
        for (uint32_t e = s + 1; e <= n->n; e++) {
            peak = n->peak[e - 1] > peak ? n->peak[e - 1] : peak;
            uint64_t bytes = n->sum[e] - n->sum[s], need = bytes + n->fixed + peak;
            r->e[at++] = (struct entry){need, bytes, e - s};
            if (e == n->n)
                r->e[at++] = (struct entry){need + n->head, 0, 0};
            if (s == 0 && starts)
                r->e[at++] = (struct entry){need + n->first_extra, 0, 0};
        }
    }
    r->e[at++] = (struct entry){need_bytes(n, 0, n->n, true, true), n->sum[n->n], n->n};
    qsort(r->e, at, sizeof *r->e, by_need);
    uint32_t out = 0;
    struct entry best = {0};
    for (size_t i = 0; i < at; i++) {
        best.bytes = r->e[i].bytes > best.bytes ? r->e[i].bytes : best.bytes;
        best.layers = r->e[i].layers > best.layers ? r->e[i].layers : best.layers;
        best.need = r->e[i].need;
        if (out && r->e[out - 1].need == best.need)
            out--;
        r->e[out++] = best;
    }
    r->n_entries = out;
    r->fits = mem_calloc(out + 1, sizeof *r->fits);
    return r;
}

void ranks_free(struct ranks *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i <= r->n_entries; i++)
        fit_done(&r->fits[i]);
    free(r->fits);
    free(r->e);
    free(r);
}

uint32_t ranks_of(const struct ranks *r, uint64_t room)
{
    uint32_t lo = 0, hi = r->n_entries;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (r->e[mid].need <= room)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t ranks_layers(const struct ranks *r, uint32_t rank)
{
    return rank ? r->e[rank - 1].layers : 0;
}

uint64_t ranks_bytes(const struct ranks *r, uint32_t rank)
{
    return rank ? r->e[rank - 1].bytes : 0;
}

const struct fit *ranks_fit(struct ranks *r, uint32_t rank)
{
    struct fit *f = &r->fits[rank];
    if (!f->lo) {
        fit_init(f, r->n->n);
        fit_fill(f, r->n, rank ? r->e[rank - 1].need : 0);
    }
    return f;
}
