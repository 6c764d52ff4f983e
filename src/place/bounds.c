/* The three dynamic programs of bounds.h. */
#include "place/bounds.h"

#include "base/mem.h"

uint64_t bounds_size(uint32_t n, uint32_t k, uint32_t g)
{
    return ((uint64_t)n + 1) * (k + 1) * ((uint64_t)g + 1) * 2;
}

void bounds_alloc(struct bounds *b, struct snode *nodes, uint32_t n, uint32_t k, uint32_t g,
                  bool free_g)
{
    *b = (struct bounds){.nodes = nodes, .n = n, .k = k, .g = free_g ? 0 : g, .free_g = free_g};
    size_t cells = (size_t)bounds_size(n, k, b->g);
    b->lay = mem_calloc(cells, sizeof *b->lay);
    b->byt = mem_calloc(cells, sizeof *b->byt);
    b->tim = mem_calloc(cells, sizeof *b->tim);
}

void bounds_done(struct bounds *b)
{
    free(b->lay);
    free(b->byt);
    free(b->tim);
    *b = (struct bounds){0};
}

/* Least number of nodes that g devices of the remaining ones can be spread over is k itself, so
 * entries with g < k - 1 stay impossible without a test of their own. */
static void room_at(struct bounds *b, uint32_t i, uint32_t k, uint32_t g, uint32_t m)
{
    const struct snode *s = &b->nodes[i];
    size_t at = BOUNDS_AT(b, i, k, g, m);
    int32_t lay = b->lay[BOUNDS_AT(b, i + 1, k, g, m)];
    int64_t byt = b->byt[BOUNDS_AT(b, i + 1, k, g, m)];
    uint32_t most = b->free_g ? s->n_dev : s->n_dev < g ? s->n_dev : g;
    for (uint32_t main = 0; k && main <= m; main++) {
        if (main && !s->src->main_ok)
            continue;
        /* More devices never hold less, so a free number takes all of them. */
        for (uint32_t q = b->free_g ? most : !main; q <= most; q++) {
            if (q == 0 && !main)
                continue;
            size_t rest = BOUNDS_AT(b, i + 1, k - 1, b->free_g ? 0 : g - q, m - main);
            if (b->lay[rest] < 0)
                continue;
            int32_t l = b->lay[rest] + (int32_t)(s->lay[q] + (main ? s->cpu_lay : 0));
            int64_t y = b->byt[rest] + (int64_t)(s->byt[q] + (main ? s->cpu_byt : 0));
            lay = l > lay ? l : lay;
            byt = y > byt ? y : byt;
        }
    }
    b->lay[at] = lay;
    b->byt[at] = byt;
}

static void time_at(struct bounds *b, uint32_t i, uint32_t k, uint32_t g, uint32_t m)
{
    const struct snode *s = &b->nodes[i];
    int64_t best = b->tim[BOUNDS_AT(b, i + 1, k, g, m)];
    uint32_t most = b->free_g ? s->n_dev : s->n_dev < g ? s->n_dev : g;
    for (uint32_t main = 0; k && main <= m; main++) {
        if (main && !s->src->main_ok)
            continue;
        const int64_t *val = main ? s->loc : s->rem;
        for (uint32_t q = !main; q <= most; q++) {
            int64_t rest = b->tim[BOUNDS_AT(b, i + 1, k - 1, b->free_g ? 0 : g - q, m - main)];
            if (rest >= PLACE_INF)
                continue;
            int64_t t = rest + val[q] + (main ? s->cpu_tim : 0);
            best = t < best ? t : best;
        }
    }
    b->tim[BOUNDS_AT(b, i, k, g, m)] = best;
}

static void sweep(struct bounds *b,
                  void (*at)(struct bounds *, uint32_t, uint32_t, uint32_t, uint32_t))
{
    for (uint32_t i = b->n; i-- > 0;)
        for (uint32_t k = 0; k <= b->k && k <= b->n - i; k++)
            for (uint32_t g = 0; g <= b->g; g++)
                for (uint32_t m = 0; m <= 1; m++)
                    at(b, i, k, g, m);
}

static void clear(struct bounds *b, bool time)
{
    for (size_t i = 0, n = (size_t)bounds_size(b->n, b->k, b->g); i < n; i++) {
        if (time) {
            b->tim[i] = PLACE_INF;
        } else {
            b->lay[i] = -1;
            b->byt[i] = -1;
        }
    }
    for (uint32_t i = 0; i <= b->n; i++) {
        size_t none = BOUNDS_AT(b, i, 0, 0, 0);
        if (time)
            b->tim[none] = 0;
        else
            b->lay[none] = 0, b->byt[none] = 0;
    }
}

void bounds_fill_room(struct bounds *b)
{
    clear(b, false);
    sweep(b, room_at);
}

void bounds_fill_time(struct bounds *b)
{
    clear(b, true);
    sweep(b, time_at);
}
