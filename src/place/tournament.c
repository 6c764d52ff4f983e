/* A tree of winners; see tournament.h. */
#include "place/tournament.h"

#include "base/mem.h"

void tournament_init(struct tournament *t, uint32_t n,
                     bool (*better)(const void *ctx, uint32_t a, uint32_t b), const void *ctx)
{
    *t = (struct tournament){.n = n, .width = 1, .better = better, .ctx = ctx};
    while (t->width < n)
        t->width *= 2;
    t->win = mem_calloc(2 * (size_t)t->width, sizeof *t->win);
    for (uint32_t i = 0; i < 2 * t->width; i++)
        t->win[i] = TOURNAMENT_NONE;
}

void tournament_done(struct tournament *t)
{
    free(t->win);
    *t = (struct tournament){0};
}

void tournament_set(struct tournament *t, uint32_t i, bool in)
{
    uint32_t at = t->width + i;
    t->win[at] = in ? i : TOURNAMENT_NONE;
    while (at > 1) {
        uint32_t a = t->win[at & ~1u], b = t->win[at | 1u];
        at /= 2;
        bool first = b == TOURNAMENT_NONE || (a != TOURNAMENT_NONE && t->better(t->ctx, a, b));
        t->win[at] = first ? a : b;
    }
}

uint32_t tournament_best(const struct tournament *t)
{
    return t->win[1];
}
