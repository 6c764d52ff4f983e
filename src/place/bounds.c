/* The three dynamic programs of bounds.h. */
#include "place/bounds.h"

#include "base/mem.h"

uint64_t bounds_size(uint32_t n, uint32_t k, uint32_t g)
{
    return ((uint64_t)n + 1) * (k + 1) * ((uint64_t)g + 1) * 2;
}

void bounds_alloc(struct bounds *b, struct snode *nodes, uint32_t n, uint32_t k, uint32_t g,
                  uint32_t n_by)
{
    bool free_g = g == UINT32_MAX;
    *b = (struct bounds){
        .nodes = nodes, .n = n, .k = k, .g = free_g ? 0 : g, .free_g = free_g, .n_by = n_by};
    size_t cells = (size_t)bounds_size(n, k, b->g);
    for (uint32_t i = 0; i < CAP_COUNT; i++)
        b->cap[i] = mem_calloc(cells, sizeof **b->cap);
    for (uint32_t i = 0; i < n_by; i++)
        b->tim[i] = mem_calloc(cells, sizeof **b->tim);
}

void bounds_done(struct bounds *b)
{
    for (uint32_t i = 0; i < CAP_COUNT; i++)
        free(b->cap[i]);
    for (uint32_t i = 0; i < BY_COUNT; i++)
        free(b->tim[i]);
    *b = (struct bounds){0};
}

/* Entries that no choice of devices leads to stay negative in every measure. */
static void room_at(struct bounds *b, uint32_t by, uint32_t i, uint32_t k, uint32_t g, uint32_t m)
{
    const struct snode *s = &b->nodes[i];
    size_t at = BOUNDS_AT(b, i, k, g, m), skip = BOUNDS_AT(b, i + 1, k, g, m);
    uint32_t most = b->free_g ? s->n_dev : s->n_dev < g ? s->n_dev : g;
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        b->cap[c][at] = b->cap[c][skip];
    for (uint32_t main = 0; k && main <= m; main++) {
        if (main && !s->main_ok)
            continue;
        /* More devices never hold less, so a free number takes all of them. */
        for (uint32_t q = b->free_g ? most : !main; q <= most; q++) {
            if ((q == 0 && !main) || !snode_takes(s, q))
                continue;
            size_t rest = BOUNDS_AT(b, i + 1, k - 1, b->free_g ? 0 : g - q, m - main);
            if (b->cap[0][rest] < 0)
                continue;
            for (uint32_t c = 0; c < CAP_COUNT; c++) {
                uint64_t own = s->cap[c][q] + (main ? s->cpu_cap[c] : 0);
                int64_t x = b->cap[c][rest] + (int64_t)own;
                b->cap[c][at] = x > b->cap[c][at] ? x : b->cap[c][at];
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

static void clear(int64_t *table, const struct bounds *b, int64_t none)
{
    for (size_t i = 0, n = (size_t)bounds_size(b->n, b->k, b->g); i < n; i++)
        table[i] = none;
    for (uint32_t i = 0; i <= b->n; i++)
        table[BOUNDS_AT(b, i, 0, 0, 0)] = 0;
}

void bounds_fill_room(struct bounds *b)
{
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        clear(b->cap[c], b, -1);
    sweep(b, 0, room_at);
}

void bounds_fill_time(struct bounds *b, uint32_t by)
{
    clear(b->tim[by], b, PLACE_INF);
    sweep(b, by, time_at);
}
