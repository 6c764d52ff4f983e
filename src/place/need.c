/* Exact needs of layer ranges; ranks of devices; see need.h. */
#include "place/need.h"

#include "base/mem.h"
#include "place/sort.h"

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
    uint64_t extra = (first ? (uint64_t)n->first_extra : 0) + (last ? n->head : 0);
    return n->sum[e] - n->sum[s] + n->fixed + peak + extra; /* wraps back when first is less */
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
        if (n->sum[e + 1] + n->fixed + peak + (uint64_t)n->first_extra > room)
            break;
    }
    return (uint16_t)e;
}

void fit_fill(struct fit *f, const struct need *n, uint64_t room)
{
    windows(n, room, f->lo, f->hi);
    f->hi_first = greatest_end(n, room);
    f->lo_last = least_start(n, room, n->head);
    f->lo_only = least_start(n, room, n->head + (uint64_t)n->first_extra);
}

/* ---- ranks ---- */

struct entry {
    uint64_t need;
    uint64_t cap[CAP_COUNT];
};

struct ranks {
    const struct need *n;
    struct entry *e; /* by need, distinct; caps are maxima so far */
    uint32_t n_entries, n_caps;
    uint64_t *measure[CAP_COUNT]; /* n + 2 prefix sums */
    struct fit *fits;             /* by rank; lo NULL until asked for */
};

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sizes that start a class of large layers: where the distinct sizes jump most, as a ratio. */
static void thresholds(const struct need *n, uint64_t out[CAP_COUNT - CAP_LARGE])
{
    mem_auto uint64_t *size = mem_calloc(n->n, sizeof *size);
    double jump[CAP_COUNT - CAP_LARGE] = {0};
    for (uint32_t i = 0; i < n->n; i++)
        size[i] = n->sum[i + 1] - n->sum[i];
    qsort(size, n->n, sizeof *size, by_size);
    for (uint32_t k = 0; k < CAP_COUNT - CAP_LARGE; k++)
        out[k] = 0;
    for (uint32_t i = 1; i < n->n; i++) {
        double ratio = (double)size[i] / (double)(size[i - 1] + 1);
        uint64_t at = size[i];
        for (uint32_t k = 0; k < CAP_COUNT - CAP_LARGE && at != size[i - 1]; k++)
            if (ratio > jump[k] && ratio > 1.001) {
                double r = jump[k];
                uint64_t x = out[k];
                jump[k] = ratio;
                out[k] = at;
                ratio = r;
                at = x;
            }
    }
}

static void fill_measures(struct ranks *r)
{
    const struct need *n = r->n;
    uint64_t large[CAP_COUNT - CAP_LARGE];
    thresholds(n, large);
    r->n_caps = CAP_LARGE;
    while (r->n_caps < CAP_COUNT && large[r->n_caps - CAP_LARGE])
        r->n_caps++;
    for (uint32_t b = 0; b < r->n_caps; b++) {
        uint64_t *m = r->measure[b] = mem_calloc(n->n + 2, sizeof *m);
        for (uint32_t i = 0; i <= n->n; i++) {
            uint64_t size = i < n->n ? n->sum[i + 1] - n->sum[i] : n->head, x = size;
            if (b == CAP_LAYERS)
                x = i < n->n;
            else if (b >= CAP_LARGE)
                x = size >= large[b - CAP_LARGE];
            m[i + 1] = m[i] + x;
        }
    }
}

struct ranges {      /* those that some room tells apart; the smaller ones only count together */
    struct keyed *a; /* by need; the item is the start and the end */
    size_t n, cap;
    struct entry base;
    bool any_base;
    uint64_t lo, hi;
};

static void add_caps(const struct ranks *r, struct entry *x, uint32_t s, uint32_t e)
{
    for (uint32_t b = 0; b < r->n_caps; b++) {
        uint64_t m = r->measure[b][e] - r->measure[b][s];
        x->cap[b] = m > x->cap[b] ? m : x->cap[b];
    }
}

static void add_range(const struct ranks *r, struct ranges *all, uint64_t need, uint32_t s,
                      uint32_t e)
{
    if (need > all->hi)
        return;
    if (need <= all->lo) {
        all->base.need = need > all->base.need ? need : all->base.need;
        all->any_base = true;
        add_caps(r, &all->base, s, e);
        return;
    }
    mem_grow(&all->a, &all->cap, all->n + 1, sizeof *all->a);
    all->a[all->n++] = (struct keyed){need, s << 16 | e};
}

static void add_ranges(const struct ranks *r, struct ranges *all)
{
    const struct need *n = r->n;
    uint64_t less = n->first_extra < 0 ? -(uint64_t)n->first_extra : 0;
    for (uint32_t s = 0; s < n->n; s++) {
        uint64_t peak = 0;
        for (uint32_t e = s + 1; e <= n->n; e++) {
            peak = n->peak[e - 1] > peak ? n->peak[e - 1] : peak;
            uint64_t need = n->sum[e] - n->sum[s] + n->fixed + peak;
            if (need > all->hi && (s || need - less > all->hi))
                break;
            add_range(r, all, need, s, e);
            if (e == n->n)
                add_range(r, all, need + n->head, s, n->n + 1);
            if (s == 0 && n->first_extra) /* first ranges differ; they start at layer 0 */
                add_range(r, all, need + (uint64_t)n->first_extra, s, e);
        }
    }
    add_range(r, all, need_bytes(n, 0, n->n, true, true), 0, n->n + 1);
}

struct ranks *ranks_new(const struct need *n)
{
    return ranks_new_within(n, 0, UINT64_MAX);
}

struct ranks *ranks_new_within(const struct need *n, uint64_t lo, uint64_t hi)
{
    struct ranks *r = mem_calloc(1, sizeof *r);
    r->n = n;
    fill_measures(r);
    struct ranges all = {.lo = lo, .hi = hi};
    add_ranges(r, &all);
    sort_keyed(all.a, all.n);
    r->e = mem_calloc(all.n + 1, sizeof *r->e);
    if (all.any_base)
        r->e[r->n_entries++] = all.base;
    for (size_t i = 0; i < all.n; i++) {
        uint32_t k = r->n_entries;
        if (k && r->e[k - 1].need == all.a[i].key)
            k--;
        else if (k)
            r->e[k] = r->e[k - 1];
        r->e[k].need = all.a[i].key;
        add_caps(r, &r->e[k], all.a[i].item >> 16, all.a[i].item & 0xffff);
        r->n_entries = k + 1;
    }
    free(all.a);
    r->fits = mem_calloc(r->n_entries + 1, sizeof *r->fits);
    return r;
}

uint32_t ranks_n_caps(const struct ranks *r)
{
    return r->n_caps;
}

void ranks_free(struct ranks *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i <= r->n_entries; i++)
        fit_done(&r->fits[i]);
    for (uint32_t b = 0; b < CAP_COUNT; b++)
        free(r->measure[b]);
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

uint64_t ranks_room(const struct ranks *r, uint32_t rank)
{
    return rank ? r->e[rank - 1].need : 0;
}

const uint64_t *ranks_caps(const struct ranks *r, uint32_t rank)
{
    static const uint64_t none[CAP_COUNT];
    return rank ? r->e[rank - 1].cap : none;
}

uint64_t ranks_measure(const struct ranks *r, uint32_t b, uint32_t x)
{
    return b < r->n_caps ? r->measure[b][x] : 0;
}

const uint64_t *ranks_sums(const struct ranks *r, uint32_t b)
{
    return r->measure[b];
}

uint32_t ranks_layers(const struct ranks *r, uint32_t rank)
{
    return (uint32_t)ranks_caps(r, rank)[CAP_LAYERS];
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
