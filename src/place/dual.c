/* Lower bounds on value: a price per unit of a measure of layers; see bounds.h and README.md.
 *
 * Every layer costs at least its floor. A device adds its fixed time, its costs, and the least
 * excess over the floor of any range it can hold, less the price of that range: whatever an answer
 * is, the sum of that over its devices and the price of the whole model is no more than its value.
 * One of them is the last device; it needs room for the output layer and takes time for it. The
 * bound is concave in the price, and its slope is what the chosen ranges leave over of the model,
 * so the best price is where two tangents meet, found in a few rounds. */
#include "place/solve_int.h"

#include "base/mem.h"

enum {
    UNITS = 1 << 16, /* of a measure, about, in the whole model: prices are integers per unit */
    ROUNDS = 8,
    ROUNDS_LARGE = 3, /* where a round takes long: tables of more than LARGE_TABLE cells */
    LARGE_TABLE = 1 << 18,
    CLOSE = 4096, /* the part of a bound, costs apart, that is not worth another round */
};

/* ---- what a device is worth at a price ---- */

/* gain[speed][x]: time of the first x layers over their floor, less their price; a range is worth
 * the difference of two. The CPU's comes after the speeds. */
static void fill_gain(const struct dual *t, const int64_t *cum, int64_t *out)
{
    const struct solver *v = t->v;
    for (uint32_t x = 0; x <= v->n_layers; x++) {
        int64_t ns = cum[x] - (v->floor_ns[0] - v->floor_ns[x]);
        out[x] = value_add(value_mul(t->scale, ns), -t->lambda * t->units[x]);
    }
}

static const int64_t *gain_of(const struct dual *t, uint32_t speed)
{
    return t->gain + (size_t)speed * (t->v->n_layers + 1);
}

static void fill_gains(struct dual *t)
{
    const struct problem *p = t->v->p;
    for (uint32_t s = 0; s < p->n_speeds; s++)
        fill_gain(t, p->speeds[s].cum, t->gain + (size_t)s * (t->v->n_layers + 1));
    if (p->cpu_ns)
        fill_gain(t, p->cpu_ns, t->gain + (size_t)p->n_speeds * (t->v->n_layers + 1));
}

static void take_less(struct held *a, int64_t value, int64_t units)
{
    if (value < a->value)
        *a = (struct held){value, units};
}

/* The range of least worth of a device that is not the last: for every end the start of most gain,
 * by a deque of candidates. */
static struct held best_range(const struct dual *t, const struct pdev *d)
{
    const struct fit *f = ranks_fit(t->v->ranks, d->rank);
    const int64_t *gain = gain_of(t, d->speed);
    const uint16_t *slow = solver_stage(t->v, d->speed);
    struct held best = {PLACE_INF, 0};
    uint16_t deque[PLACE_MAX_LAYERS + 1];
    uint32_t head = 0, tail = 0;
    for (uint32_t e = 1; e <= t->v->n_layers; e++) {
        while (tail > head && gain[deque[tail - 1]] <= gain[e - 1])
            tail--;
        deque[tail++] = (uint16_t)(e - 1);
        while (head < tail && (deque[head] < f->lo[e] || (slow && deque[head] < slow[e])))
            head++;
        if (head < tail)
            take_less(&best, gain[e] - gain[deque[head]], t->units[e] - t->units[deque[head]]);
        if (e <= f->hi_first && !t->v->p->cpu_ns && !(slow && slow[e]))
            take_less(&best, gain[e] - gain[0], t->units[e]);
    }
    return best;
}

/* The same for the last device, with the output layer. */
static struct held best_end(const struct dual *t, const struct pdev *d)
{
    const struct solver *v = t->v;
    const struct fit *f = ranks_fit(v->ranks, d->rank);
    const int64_t *gain = gain_of(t, d->speed);
    const uint16_t *slow = solver_stage(v, d->speed);
    uint32_t n = v->n_layers, lo = slow && slow[n + 1] > f->lo_last ? slow[n + 1] : f->lo_last;
    struct held best = {PLACE_INF, 0};
    for (uint32_t s = lo; s < n; s++)
        take_less(&best, gain[n] - gain[s], t->units[n] - t->units[s]);
    if (f->lo_only == 0 && !v->p->cpu_ns && !(slow && slow[n + 1]))
        take_less(&best, gain[n] - gain[0], t->units[n]);
    if (best.value < PLACE_INF) {
        int64_t tail = v->p->speeds[d->speed].tail - v->floor_ns[n];
        best.value = value_add(best.value, value_mul(t->scale, tail));
    }
    return best;
}

static struct quote quote_device(const struct dual *t, const struct pdev *d)
{
    struct quote q = {best_range(t, d), best_end(t, d)};
    int64_t fixed = value_mul(t->scale, t->v->p->speeds[d->speed].fixed);
    q.any.value = value_add(q.any.value, fixed);
    q.last.value = value_add(q.last.value, fixed);
    return q;
}

static int64_t down(int64_t value, int64_t scale)
{
    return value / scale - (value % scale < 0);
}

struct quote_ns dual_device(const struct dual *t, const struct pdev *d)
{
    struct quote q = quote_device(t, d);
    return (struct quote_ns){down(q.any.value, t->scale), down(q.last.value, t->scale)};
}

/* ---- what a node is worth ---- */

static int by_value(const void *a, const void *b)
{
    const struct quote *x = a, *y = b;
    return (x->any.value > y->any.value) - (x->any.value < y->any.value);
}

/* Inside each group: sums of the first q, and what it adds that the last device is among them. */
static void fill_groups(const struct snode *s, const struct quote *one, struct share *out)
{
    for (uint32_t g = 0; g < s->n_groups; g++) {
        const struct group *r = &s->groups[g];
        int64_t *sum = out->group + r->first + g, *last = out->last + r->first + g;
        sum[0] = 0;
        last[0] = PLACE_INF;
        for (uint32_t i = 0; i < r->n; i++) {
            const struct quote *q = &one[r->first + i];
            int64_t more = value_add(q->last.value, -q->any.value);
            sum[i + 1] = value_add(sum[i], q->any.value);
            last[i + 1] = last[i] < more ? last[i] : more;
        }
    }
}

/* Least sums of q devices, ascending by what each is worth. With the last device among them it is
 * one of the q cheapest, or another one beside the q - 1 cheapest. */
static void fill_least(const struct quote *one, uint32_t n, struct share *out)
{
    struct held in = {PLACE_INF, 0}, *least = out->least, *last = out->with_last;
    last[0] = (struct held){PLACE_INF, 0};
    for (uint32_t q = 1; q <= n; q++) {
        const struct quote *x = &one[q - 1];
        least[q].value = value_add(least[q - 1].value, x->any.value);
        least[q].units = least[q - 1].units + x->any.units;
        take_less(&in, value_add(x->last.value, -x->any.value), x->last.units - x->any.units);
        last[q].value = value_add(least[q].value, in.value);
        last[q].units = least[q].units + in.units;
    }
    struct held out_of = {PLACE_INF, 0};
    for (uint32_t q = n; q > 0; q--) {
        take_less(&out_of, one[q - 1].last.value, one[q - 1].last.units);
        take_less(&last[q], value_add(least[q - 1].value, out_of.value),
                  least[q - 1].units + out_of.units);
    }
}

static void price_share(const struct dual *t, const struct snode *s, struct held own,
                        struct share *out)
{
    out->own = own.value;
    out->least[0] = own;
    fill_groups(s, t->one, out);
    if (s->n_groups > 1)
        qsort(t->one, s->n_dev, sizeof *t->one, by_value);
    fill_least(t->one, s->n_dev, out);
}

static struct held price_cpu(const struct dual *t, const struct snode *s)
{
    const int64_t *gain = gain_of(t, t->v->p->n_speeds);
    struct held best = {s->cpu_lay ? PLACE_INF : 0, 0};
    for (uint32_t x = 1; x <= s->cpu_lay; x++)
        take_less(&best, gain[x] - gain[0], t->units[x]);
    return best;
}

static void price_node(const struct dual *t, struct bnode *node)
{
    const struct solver *v = t->v;
    const struct snode *s = node->s;
    bool costs = t->o.by == BY_VALUE;
    for (uint32_t d = 0; d < s->n_dev; d++) {
        const struct pdev *x = &s->src->dev[d];
        bool same = d && x->speed == x[-1].speed && x->rank == x[-1].rank;
        t->own[d] = same ? t->own[d - 1] : quote_device(t, x);
        node->dev[d].any = down(t->own[d].any.value, t->scale);
        node->dev[d].last = down(t->own[d].last.value, t->scale);
    }
    for (uint32_t main = 0; main < 2; main++) {
        int64_t hop = main ? 0 : value_mul(t->scale, v->net_min.fixed);
        int64_t tail = main ? 0 : value_mul(t->scale, v->net_min.tail);
        hop = costs && !main ? value_add(hop, v->p->hop_cost) : hop;
        for (uint32_t d = 0; d < s->n_dev; d++) {
            int64_t more = costs ? value_add(hop, s->src->dev[d].cost) : hop;
            t->one[d] = t->own[d];
            t->one[d].any.value = value_add(t->one[d].any.value, more);
            t->one[d].last.value = value_add(value_add(t->one[d].last.value, tail), more);
        }
        struct held own = main ? price_cpu(t, s) : (struct held){0};
        own.value = costs ? value_add(own.value, s->src->cost) : own.value;
        own.value = costs && main ? value_add(own.value, s->src->main_cost) : own.value;
        price_share(t, s, own, &node->by[t->o.by][main]);
    }
}

/* ---- the best price ---- */

struct point {
    int64_t lambda, value, slope;
};

/* The bound at a price. Leaves the tables filled for it. */
static struct point bound_at(struct dual *t, int64_t lambda)
{
    struct solver *v = t->v;
    struct bounds *b = t->b;
    int64_t want = t->units[v->n_layers];
    t->lambda = lambda;
    fill_gains(t);
    for (uint32_t i = 0; i < b->n; i++)
        if (b->nodes[i].first)
            price_node(t, &b->nodes[i]);
    bounds_fill_time(b, t->o.by);
    v->steps += bounds_size(b->n, t->o.k, b->g) / 4 + 1;
    int64_t ns = v->floor_ns[0] + v->p->base_ns + (t->o.k > 1 ? v->net_min.once : 0);
    t->rest = value_add(value_mul(t->scale, ns), lambda * want);
    int64_t units, least = bounds_least(b, t->o.by, t->o.k, t->o.g, &units);
    if (least >= PLACE_INF)
        return (struct point){lambda, PLACE_INF, 0};
    return (struct point){lambda, value_add(least, t->rest), want - units};
}

static int64_t step_max(const struct dual *t, const int64_t *cum, int64_t most)
{
    const struct solver *v = t->v;
    for (uint32_t l = 0; l < v->n_layers; l++) {
        int64_t ns = cum[l + 1] - cum[l] - (v->floor_ns[l] - v->floor_ns[l + 1]);
        int64_t units = t->units[l + 1] - t->units[l], per = units > 1 ? ns / units + 1 : ns;
        most = per > most ? per : most;
    }
    return most;
}

/* The dearest layer per unit: no higher price is useful. Sums of prices stay within PLACE_INF. */
static int64_t lambda_max(const struct dual *t)
{
    const struct solver *v = t->v;
    int64_t most = 0, cap = PLACE_INF / (2 * UNITS) / (solver_most(v) + 1);
    for (uint32_t s = 0; s < v->p->n_speeds; s++)
        most = step_max(t, v->p->speeds[s].cum, most);
    if (v->p->cpu_ns)
        most = step_max(t, v->p->cpu_ns, most);
    most = value_mul(t->scale, most);
    return most < cap ? most : cap;
}

/* Where the tangents at two prices meet. */
static int64_t meet(const struct point *a, const struct point *b)
{
    __int128 x = (__int128)b->value - a->value;
    x += (__int128)a->slope * a->lambda - (__int128)b->slope * b->lambda;
    return (int64_t)(x / (a->slope - b->slope));
}

static struct point best_price(struct dual *t)
{
    struct point lo = bound_at(t, 0), best = lo, hi, mid;
    uint64_t cost = bounds_size(t->b->n, t->o.k, t->b->g);
    int64_t costs = t->o.by == BY_VALUE ? solver_least_cost(t->v, t->o.k, 0) : 0;
    if (lo.slope <= 0 || lo.value >= t->o.enough)
        return best;
    hi = bound_at(t, lambda_max(t));
    best = hi.value > best.value ? hi : best;
    for (uint32_t i = cost > LARGE_TABLE ? ROUNDS_LARGE : ROUNDS; i > 0 && hi.slope < 0; i--) {
        int64_t at = meet(&lo, &hi);
        if (at <= lo.lambda || at >= hi.lambda || best.value >= t->o.enough)
            break;
        mid = bound_at(t, at);
        best = mid.value > best.value ? mid : best;
        __int128 most = lo.value + (__int128)lo.slope * (at - lo.lambda);
        if (mid.slope == 0 || most - best.value <= (best.value - costs) / CLOSE)
            break;
        if (mid.slope > 0)
            lo = mid;
        else
            hi = mid;
    }
    return best;
}

static void set_measure(struct dual *t, uint32_t c)
{
    const uint64_t *sum = ranks_sums(t->v->ranks, c);
    uint64_t unit = sum[t->v->n_layers] / UNITS + 1;
    for (uint32_t x = 0; x <= t->v->n_layers; x++)
        t->units[x] = (int64_t)(sum[x] / unit);
    t->c = c;
}

/* The best over the measures. */
static void search_price(struct dual *t)
{
    struct point best = {.value = -PLACE_INF};
    uint32_t best_c = 0;
    for (uint32_t c = 0; c < t->v->n_caps && best.value < t->o.enough; c++) {
        set_measure(t, c);
        struct point x = best_price(t);
        if (x.value > best.value) {
            best = x;
            best_c = c;
        }
        if (best.lambda == 0 && x.slope <= 0) /* what is fastest holds the model */
            break;
    }
    if (t->c != best_c || t->lambda != best.lambda) {
        set_measure(t, best_c);
        bound_at(t, best.lambda);
    }
    t->bound = best.value;
}

struct dual *dual_new(struct solver *v, struct bounds *b, const struct dual_opts *o)
{
    struct dual *t = mem_calloc(1, sizeof *t);
    size_t n = v->n_layers + 1, most = 0;
    for (uint32_t i = 0; i < b->n; i++)
        most = b->nodes[i].s->n_dev > most ? b->nodes[i].s->n_dev : most;
    *t = (struct dual){.v = v, .b = b, .o = *o, .scale = value_scale(v, o->by)};
    t->units = mem_calloc((v->p->n_speeds + 3) * n, sizeof *t->units);
    t->rest_ns = t->units + n;
    t->gain = t->rest_ns + n;
    t->own = mem_calloc(2 * most + 1, sizeof *t->own);
    t->one = t->own + most;
    search_price(t);
    for (uint32_t x = 0; x < n; x++)
        t->rest_ns[x] =
            v->floor_ns[x] + down(t->lambda * (t->units[n - 1] - t->units[x]), t->scale);
    return t;
}

void dual_free(struct dual *t)
{
    if (!t)
        return;
    free(t->units);
    free(t->own);
    free(t);
}
