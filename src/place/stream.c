/* Time over several streams: the larger of its share of the whole and the slowest stage. It is no
 * sum over devices, so the search gets it as a limit x: with stages and shares of at most x, is
 * there a plan, and what is the least value?
 *
 * Where it comes first, x is halved between what no plan is below and the best plan found; any plan
 * will do for that. Then the least value under the x found. Where other terms come before it, or
 * all are weighted: the least value grows as x falls, in steps, and a plan found under x is the
 * best for every limit down to its own stream time. Spans of x that are not settled yet are halved,
 * the one whose bound is least first, until no bound is below the best total. */
#include "place/pass.h"

#include "base/mem.h"

enum { PROBE_PART = 8 }; /* of the budget that is left, for one limit */

struct span { /* plans whose stream time lies in lo..hi have at least this value */
    int64_t lo, hi, value;
};

struct halving {
    struct pass *p;
    struct span *span;
    uint32_t n;
    size_t cap;
    struct answer best;
    __int128 total, open; /* of the best; the least that is not excluded */
};

static int64_t stream_ticks(const struct pass *p, const struct answer *a)
{
    int64_t tick = p->o->tick_ns, ns = figure_answer(p->r->c, a, TERM_STREAM_TIME);
    return (ns + tick - 1) / tick;
}

static void add_span(struct halving *h, int64_t lo, int64_t hi, int64_t value)
{
    if (lo > hi)
        return;
    mem_grow(&h->span, &h->cap, (size_t)h->n + 1, sizeof *h->span);
    h->span[h->n++] = (struct span){lo, hi, value};
}

static void leave_open(struct halving *h, int64_t value, int64_t stream)
{
    __int128 total = objective_total(h->p->o, value, stream);
    h->open = total < h->open ? total : h->open;
}

/* Takes what a search under the limit hi found for the span. Its plans with stream times from that
 * of the answer on are settled. */
static void settle(struct halving *h, struct pass *found, const struct span *s)
{
    struct answer *a = &found->best;
    int64_t proved = found->open < PLACE_INF ? found->open : a->value;
    if (!a->feasible) {
        if (found->open < PLACE_INF)
            leave_open(h, found->open > s->value ? found->open : s->value, s->lo);
        return;
    }
    int64_t x = stream_ticks(h->p, a);
    x = x > s->hi ? s->hi : x; /* times are rounded */
    __int128 total = objective_total(h->p->o, a->value, x);
    int64_t least = proved < a->value ? proved : a->value;
    if (least < a->value)
        leave_open(h, least, x > s->lo ? x : s->lo);
    add_span(h, s->lo, x - 1, least);
    if (!h->best.feasible || total < h->total) {
        answer_done(&h->best);
        h->best = *a;
        h->total = total;
    } else {
        answer_done(a);
    }
}

/* The span with the least bound, taken out; false when none is below the best. */
static bool next(struct halving *h, struct span *out)
{
    uint32_t at = UINT32_MAX;
    __int128 least = h->total;
    for (uint32_t i = 0; i < h->n; i++) {
        __int128 t = objective_total(h->p->o, h->span[i].value, h->span[i].lo);
        if (t < least) {
            least = t;
            at = i;
        }
    }
    if (at == UINT32_MAX)
        return false;
    *out = h->span[at];
    h->span[at] = h->span[--h->n];
    return true;
}

/* A search under a limit on shares and stages, which may use a part of what is left. */
static void probe(const struct pass *p, int64_t limit, uint32_t part, struct pass *q)
{
    int64_t share;
    struct run *r = p->r;
    uint64_t steps = r->steps;
    *q = *p;
    q->stage_ns = limit * p->o->tick_ns;
    if (!__builtin_mul_overflow(q->stage_ns, (int64_t)r->c->goal->streams, &share) &&
        (!q->limit_ns || share < q->limit_ns))
        q->limit_ns = share;
    r->steps = r->used + run_left(r) / part;
    pass_solve(q);
    r->steps = steps;
}

/* ---- where it comes first ---- */

/* Takes the plan if its stream time is the least so far; *hi is that. */
static void take(struct pass *p, struct pass *q, int64_t *hi)
{
    int64_t x = q->best.feasible ? stream_ticks(p, &q->best) : INT64_MAX;
    if (x >= *hi) {
        answer_done(&q->best);
        return;
    }
    answer_done(&p->best);
    p->best = q->best;
    *hi = x;
}

/* Stream times: no plan is below lo; the best found has hi; of what lies between, u is the least
 * and v the greatest that a search could not decide (u above v: none). */
struct between {
    int64_t lo, hi, u, v;
};

/* The next one to look at; false when it is settled, or not worth more: to one part in a thousand
 * once there is something that cannot be decided. */
static bool next_limit(const struct between *b, int64_t *mid)
{
    int64_t grain = b->hi / 1024;
    if (b->lo >= b->hi)
        return false;
    if (b->u > b->v)
        *mid = b->lo + (b->hi - b->lo) / 2;
    else if (b->hi - b->v > grain + 1)
        *mid = b->v + (b->hi - b->v) / 2;
    else
        *mid = b->lo + (b->u - b->lo) / 2;
    return b->u > b->v || b->hi - b->v > grain + 1 || b->u - b->lo > grain;
}

/* Halves between lo and the best found. Returns the least stream time that is not excluded. */
static int64_t halve(struct pass *p, int64_t lo, int64_t *hi)
{
    struct between b = {lo, *hi, INT64_MAX, -1};
    struct pass any = *p, q;
    int64_t mid;
    any.first = true;
    while (run_left(p->r) && next_limit(&b, &mid)) {
        probe(&any, mid, PROBE_PART, &q);
        if (q.best.feasible) {
            take(p, &q, &b.hi);
            b.hi = b.hi < mid ? b.hi : mid; /* times are rounded */
        } else if (q.open >= PLACE_INF) {
            b.lo = mid + 1;
        } else {
            b.u = mid < b.u ? mid : b.u;
            b.v = mid > b.v ? mid : b.v;
        }
        b.v = b.v < b.hi ? b.v : b.u; /* what is above the best, or below lo, matters no more */
        b.u = b.u >= b.lo ? b.u : b.v;
        if (b.u >= b.hi || b.v < b.lo) {
            b.u = INT64_MAX;
            b.v = -1;
        }
    }
    *hi = b.hi;
    return b.lo < b.hi ? b.lo : b.hi;
}

static void stream_first(struct pass *p, int64_t most)
{
    struct pass q = *p;
    int64_t hi = most + 1;
    q.first = true;
    pass_solve(&q);
    p->near_ram = q.near_ram;
    p->near_cpus = q.near_cpus;
    p->open = q.best.feasible ? PLACE_INF : q.open;
    take(p, &q, &hi);
    if (!p->best.feasible)
        return;
    int64_t open = halve(p, stream_floor(p, hi), &hi);
    struct answer found = p->best;
    p->best = (struct answer){0};
    probe(p, hi, 1, &q);
    bool better = q.best.feasible;
    p->best = better ? q.best : found;
    if (better)
        answer_done(&found);
    int64_t value = q.open < PLACE_INF ? q.open : p->best.value;
    value = better || q.open < PLACE_INF ? value : 0;
    value = open < hi ? 0 : value < p->best.value ? value : p->best.value;
    p->best.bound_total = objective_total(p->o, value, open);
    p->best.proved = better && open >= hi && value >= p->best.value;
}

/* ---- anywhere else ---- */

static void stream_anywhere(struct pass *p, int64_t most)
{
    struct halving h = {.p = p};
    struct pass q = *p;
    struct span s = {stream_floor(p, most), most, 0};
    h.open = objective_total(p->o, PLACE_INF, s.hi);
    pass_solve(&q);
    p->near_ram = q.near_ram;
    p->near_cpus = q.near_cpus;
    p->open = q.best.feasible ? PLACE_INF : q.open;
    settle(&h, &q, &s);
    while (h.best.feasible && next(&h, &s)) {
        if (!run_left(p->r)) {
            leave_open(&h, s.value, s.lo);
            continue;
        }
        int64_t mid = s.lo + (s.hi - s.lo) / 2;
        add_span(&h, mid + 1, s.hi, s.value);
        s.hi = mid;
        probe(p, mid, PROBE_PART, &q);
        settle(&h, &q, &s);
    }
    free(h.span);
    p->best = h.best;
    p->best.proved = h.open >= h.total;
    p->best.bound_total = p->best.proved ? h.total : h.open;
}

void stream_solve(struct pass *p)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < p->o->n; i++)
        if (p->o->t[i].term == TERM_STREAM_TIME)
            most = p->o->t[i].most;
    if (!p->o->weighted && p->o->t[0].term == TERM_STREAM_TIME)
        stream_first(p, most);
    else
        stream_anywhere(p, most);
}
