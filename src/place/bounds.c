/* The three dynamic programs of bounds.h. */
#include "place/bounds.h"

#include "base/mem.h"

#include <string.h>

uint64_t bounds_size(uint32_t n, uint32_t k, uint32_t g)
{
    return ((uint64_t)n + 1) * (k + 1) * ((uint64_t)g + 1) * 2;
}

static int64_t *place_share(const struct snode *s, struct share *x, int64_t *at)
{
    x->least = (struct held *)at;
    x->with_last = x->least + s->n_dev + 1;
    x->group = (int64_t *)(x->with_last + s->n_dev + 1);
    x->last = x->group + s->n_dev + s->n_groups;
    return x->last + s->n_dev + s->n_groups;
}

static size_t shares_size(const struct bounds *b, const struct bnode *x)
{
    size_t n = x->s->n_dev, one = 4 * (n + 1) + 2 * (n + x->s->n_groups);
    return x->first ? 2 * b->n_by * one + 2 * n : 0;
}

void bounds_alloc(struct bounds *b)
{
    size_t cells = (size_t)bounds_size(b->n, b->k, b->g), shares = 1;
    b->cap = mem_calloc(cells * b->n_caps, sizeof *b->cap);
    for (uint32_t i = 0; i < b->n_by; i++)
        b->tim[i] = mem_calloc(2 * cells, sizeof **b->tim);
    for (uint32_t i = 0; i < b->n; i++)
        shares += shares_size(b, &b->nodes[i]);
    int64_t *at = b->shares = mem_calloc(shares, sizeof *at);
    for (uint32_t i = 0; i < b->n; i++) {
        struct bnode *x = &b->nodes[i];
        if (!x->first) {
            memcpy(x->by, x[-1].by, sizeof x->by);
            x->dev = x[-1].dev;
            continue;
        }
        for (uint32_t k = 0; k < 2 * b->n_by; k++)
            at = place_share(x->s, &x->by[k / 2][k % 2], at);
        x->dev = (struct quote_ns *)at;
        at += 2 * (size_t)x->s->n_dev;
    }
}

void bounds_done(struct bounds *b)
{
    free(b->cap);
    for (uint32_t i = 0; i < BY_COUNT; i++)
        free(b->tim[i]);
    free(b->shares);
    *b = (struct bounds){0};
}

/* Entries that no choice of devices leads to stay negative in every measure. */
static void room_for(struct bounds *b, uint32_t i, uint32_t k, uint32_t g, uint32_t m)
{
    const struct bnode *x = &b->nodes[i];
    const struct snode *s = x->s;
    uint32_t n = b->n_caps, most = b->free_g ? s->n_dev : s->n_dev < g ? s->n_dev : g;
    int64_t *out = b->cap + BOUNDS_AT(b, i, k, g, m) * n;
    memcpy(out, b->cap + BOUNDS_AT(b, i + 1, k, g, m) * n, n * sizeof *out);
    for (uint32_t main = 0; k && main <= m; main++) {
        if (main && !s->main_ok)
            continue;
        /* More devices never hold less, so a free number takes all of them. */
        for (uint32_t q = b->free_g ? most : !main; q <= most; q++) {
            if ((q == 0 && !main) || !snode_takes(s, q))
                continue;
            const int64_t *rest =
                b->cap + BOUNDS_AT(b, i + 1, k - 1, b->free_g ? 0 : g - q, m - main) * n;
            for (uint32_t c = 0; rest[0] >= 0 && c < n; c++) {
                int64_t sum = rest[c] + (int64_t)(snode_cap(s, c, q) + (main ? x->cpu[c] : 0));
                out[c] = sum > out[c] ? sum : out[c];
            }
        }
    }
}

static void room_at(struct bounds *b, uint32_t by, uint32_t i, uint32_t k, uint32_t g)
{
    room_for(b, i, k, g, 0);
    room_for(b, i, k, g, 1);
}

static int64_t sum_of(int64_t rest, int64_t own)
{
    return rest < PLACE_INF && own < PLACE_INF ? rest + own : PLACE_INF;
}

static void keep_least(int64_t *best, int64_t x)
{
    *best = x < *best ? x : *best;
}

/* One more node with q devices, for all four of "main, last still needed". */
static void time_with(const struct bnode *node, uint32_t by, uint32_t q, const int64_t *rest,
                      int64_t *out)
{
    for (uint32_t main = q ? 0 : 1; main <= node->s->main_ok; main++) {
        const struct share *x = &node->by[by][main];
        for (uint32_t m = main; m < 2; m++) {
            const int64_t *r = rest + (m - main) * 2;
            keep_least(&out[m * 2], sum_of(r[0], x->least[q].value));
            keep_least(&out[m * 2 + 1], sum_of(r[1], x->least[q].value));
            keep_least(&out[m * 2 + 1], sum_of(r[0], x->with_last[q].value));
        }
    }
}

static void time_at(struct bounds *b, uint32_t by, uint32_t i, uint32_t k, uint32_t g)
{
    const struct snode *s = b->nodes[i].s;
    int64_t *tim = b->tim[by], *out = tim + BOUNDS_AT(b, i, k, g, 0) * 2;
    uint32_t most = b->free_g ? s->n_dev : s->n_dev < g ? s->n_dev : g;
    memcpy(out, tim + BOUNDS_AT(b, i + 1, k, g, 0) * 2, 4 * sizeof *out);
    for (uint32_t q = 0; k && q <= most; q++)
        if (snode_takes(s, q))
            time_with(&b->nodes[i], by, q,
                      tim + BOUNDS_AT(b, i + 1, k - 1, b->free_g ? 0 : g - q, 0) * 2, out);
    for (uint32_t m = 0; m < 4; m++)
        out[m] = out[m] < -PLACE_INF ? -PLACE_INF : out[m];
}

static void sweep(struct bounds *b, uint32_t by,
                  void (*at)(struct bounds *, uint32_t, uint32_t, uint32_t, uint32_t))
{
    for (uint32_t i = b->n; i-- > 0;)
        for (uint32_t k = 0; k <= b->k && k <= b->n - i; k++)
            for (uint32_t g = 0; g <= b->g; g++)
                at(b, by, i, k, g);
}

void bounds_fill_room(struct bounds *b)
{
    size_t cells = (size_t)bounds_size(b->n, b->k, b->g) * b->n_caps;
    for (size_t i = 0; i < cells; i++)
        b->cap[i] = -1;
    for (uint32_t i = 0; i <= b->n; i++)
        for (uint32_t g = 0; g <= b->g; g++)
            memset(b->cap + BOUNDS_AT(b, i, 0, g, 0) * b->n_caps, 0, b->n_caps * sizeof *b->cap);
    sweep(b, 0, room_at);
}

void bounds_fill_time(struct bounds *b, uint32_t by)
{
    size_t cells = (size_t)bounds_size(b->n, b->k, b->g) * 2;
    for (size_t i = 0; i < cells; i++)
        b->tim[by][i] = PLACE_INF;
    for (uint32_t i = 0; i <= b->n; i++)
        b->tim[by][BOUNDS_AT(b, i, 0, 0, 0) * 2] = 0;
    sweep(b, by, time_at);
}

/* What is still to be chosen. */
struct open {
    uint32_t k, g, m, last;
};

static int64_t least_of(const struct bounds *b, uint32_t by, uint32_t i, const struct open *o)
{
    return b->tim[by][BOUNDS_AT(b, i, o->k, o->g, o->m) * 2 + o->last];
}

/* The choice at node i that the least value in its table stands for; its units, 0 when left out. */
static int64_t chosen(const struct bounds *b, uint32_t by, uint32_t i, struct open *o)
{
    const struct snode *s = b->nodes[i].s;
    int64_t least = least_of(b, by, i, o);
    if (o->k == 0 || least_of(b, by, i + 1, o) == least)
        return 0;
    uint32_t most = b->free_g || s->n_dev < o->g ? s->n_dev : o->g;
    for (uint32_t q = 0; q <= most; q++)
        for (uint32_t x = q ? 0 : 2; x < 4 && snode_takes(s, q); x++) {
            uint32_t main = x / 2, last = x % 2;
            if (main > o->m || last > o->last || (main && !s->main_ok))
                continue;
            const struct share *of = &b->nodes[i].by[by][main];
            const struct held *own = last ? &of->with_last[q] : &of->least[q];
            struct open rest = {o->k - 1, b->free_g ? 0 : o->g - q, o->m - main, o->last - last};
            if (sum_of(least_of(b, by, i + 1, &rest), own->value) != least)
                continue;
            *o = rest;
            return own->units;
        }
    return 0; /* saturated: no choice adds up to it */
}

int64_t bounds_least(const struct bounds *b, uint32_t by, uint32_t k, uint32_t g, int64_t *units)
{
    struct open o = {k, b->free_g ? 0 : g, 1, 1};
    int64_t least = least_of(b, by, 0, &o);
    *units = 0;
    for (uint32_t i = 0; i < b->n && o.k && least < PLACE_INF; i++)
        *units += chosen(b, by, i, &o);
    return least;
}
