/* The three dynamic programs of bounds.h. */
#include "place/bounds.h"

#include "base/mem.h"

#include <string.h>

uint64_t bounds_size(uint32_t n, uint32_t k, uint32_t g)
{
    return ((uint64_t)n + 1) * (k + 1) * ((uint64_t)g + 1) * 2;
}

void bounds_alloc(struct bounds *b)
{
    size_t cells = (size_t)bounds_size(b->n, b->k, b->g);
    b->cap = mem_calloc(cells * b->n_caps, sizeof *b->cap);
    for (uint32_t i = 0; i < b->n_by; i++)
        b->tim[i] = mem_calloc(cells, sizeof **b->tim);
    size_t shares = 0;
    for (uint32_t i = 0; i < b->n; i++)
        shares += 3 * (size_t)b->nodes[i].n_dev + b->nodes[i].n_groups + 2;
    int64_t *at = b->shares = mem_calloc(2 * b->n_by * shares + 1, sizeof *at);
    for (uint32_t i = 0; i < 2 * b->n * b->n_by; i++) {
        struct snode *s = &b->nodes[i / 2 / b->n_by];
        struct share *x = &s->by[i / 2 % b->n_by][i % 2];
        x->least = at;
        x->units = x->least + s->n_dev + 1;
        x->group = x->units + s->n_dev + 1;
        at = x->group + s->n_dev + s->n_groups;
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
static void room_at(struct bounds *b, uint32_t by, uint32_t i, uint32_t k, uint32_t g, uint32_t m)
{
    const struct snode *s = &b->nodes[i];
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
                uint64_t own = s->cap[c][q] + (main ? s->cpu_cap[c] : 0);
                int64_t x = rest[c] + (int64_t)own;
                out[c] = x > out[c] ? x : out[c];
            }
        }
    }
}

static void time_at(struct bounds *b, uint32_t by, uint32_t i, uint32_t k, uint32_t g, uint32_t m)
{
    const struct snode *s = &b->nodes[i];
    int64_t *tim = b->tim[by], best = tim[BOUNDS_AT(b, i + 1, k, g, m)];
    uint32_t most = b->free_g ? s->n_dev : s->n_dev < g ? s->n_dev : g;
    for (uint32_t main = 0; k && main <= m; main++) {
        if (main && !s->main_ok)
            continue;
        const int64_t *val = s->by[by][main].least;
        for (uint32_t q = !main; q <= most; q++) {
            int64_t rest = tim[BOUNDS_AT(b, i + 1, k - 1, b->free_g ? 0 : g - q, m - main)];
            if (rest >= PLACE_INF || !snode_takes(s, q))
                continue;
            int64_t t = rest + val[q];
            best = t < best ? t : best;
        }
    }
    tim[BOUNDS_AT(b, i, k, g, m)] = best < -PLACE_INF ? -PLACE_INF : best;
}

static void sweep(struct bounds *b, uint32_t by,
                  void (*at)(struct bounds *, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t))
{
    for (uint32_t i = b->n; i-- > 0;)
        for (uint32_t k = 0; k <= b->k && k <= b->n - i; k++)
            for (uint32_t g = 0; g <= b->g; g++)
                for (uint32_t m = 0; m <= 1; m++)
                    at(b, by, i, k, g, m);
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
    size_t cells = (size_t)bounds_size(b->n, b->k, b->g);
    for (size_t i = 0; i < cells; i++)
        b->tim[by][i] = PLACE_INF;
    for (uint32_t i = 0; i <= b->n; i++)
        b->tim[by][BOUNDS_AT(b, i, 0, 0, 0)] = 0;
    sweep(b, by, time_at);
}

/* The choice at node i that the least value in its table stands for; false: node i is left out. */
static bool chosen(const struct bounds *b, uint32_t by, uint32_t i, uint32_t *k, uint32_t *g,
                   uint32_t *m, int64_t *units)
{
    const struct snode *s = &b->nodes[i];
    const int64_t *tim = b->tim[by];
    int64_t least = tim[BOUNDS_AT(b, i, *k, *g, *m)];
    if (*k == 0 || tim[BOUNDS_AT(b, i + 1, *k, *g, *m)] == least)
        return false;
    uint32_t most = b->free_g || s->n_dev < *g ? s->n_dev : *g;
    for (uint32_t main = 0; main <= *m; main++)
        for (uint32_t q = !main; q <= most && (!main || s->main_ok); q++) {
            uint32_t left = b->free_g ? 0 : *g - q;
            int64_t rest = tim[BOUNDS_AT(b, i + 1, *k - 1, left, *m - main)];
            if (rest >= PLACE_INF || !snode_takes(s, q) || rest + s->by[by][main].least[q] != least)
                continue;
            *units += s->by[by][main].units[q];
            *k -= 1;
            *g = left;
            *m -= main;
            return true;
        }
    return false; /* saturated: no choice adds up to it */
}

int64_t bounds_units(const struct bounds *b, uint32_t by, uint32_t k, uint32_t g)
{
    int64_t units = 0;
    uint32_t m = 1;
    for (uint32_t i = 0; i < b->n && k; i++)
        chosen(b, by, i, &k, &g, &m, &units);
    return units;
}
