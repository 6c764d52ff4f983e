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
}

void bounds_done(struct bounds *b)
{
    free(b->cap);
    for (uint32_t i = 0; i < BY_COUNT; i++)
        free(b->tim[i]);
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
        const int64_t *val = main ? s->by[by].loc : s->by[by].rem;
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
