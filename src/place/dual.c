/* Lower bounds on value: a price per unit of a measure of layers; see bounds.h and README.md.
 *
 * Every layer costs at least its floor. A device adds its fixed time, its costs, and the least
 * excess over the floor of what it holds, less the price of that: however it chooses, the sum over
 * the devices of an answer and the price of the whole model is no more than the answer's value. The
 * bound is concave in the price, and its slope is what the chosen devices leave over of the model,
 * so the best price is where two tangents meet, found in a few rounds. */
#include "place/solve_int.h"

#include "base/mem.h"

enum {
    UNITS = 1 << 16, /* of a measure, about, in the whole model: prices are integers per unit */
    ROUNDS = 12,
    ROUNDS_LARGE = 4, /* where a round takes long: tables of more than LARGE_TABLE cells */
    LARGE_TABLE = 1 << 18,
};

/* ---- measures in units ---- */

/* The most of a measure in any x layers in a row, the output layer with the last ones. */
static void fill_most(struct solver *v, uint32_t c)
{
    uint32_t n = v->n_layers;
    uint64_t unit = v->want[c] / UNITS + 1;
    int64_t *most = v->most[c] = mem_calloc(n + 1, sizeof *most);
    v->unit[c] = unit;
    for (uint32_t x = 1; x <= n; x++) {
        uint64_t best = 0;
        for (uint32_t e = x; e <= n; e++) {
            uint64_t m =
                ranks_measure(v->ranks, c, e == n ? n + 1 : e) - ranks_measure(v->ranks, c, e - x);
            best = m > best ? m : best;
        }
        most[x] = (int64_t)((best + unit - 1) / unit);
    }
}

void dual_prepare(struct solver *v)
{
    for (uint32_t c = 0; c < v->n_caps; c++)
        fill_most(v, c);
}

/* ---- what devices are worth at a price ---- */

static struct held less(struct held a, struct held b)
{
    return b.value < a.value ? b : a;
}

static void fill_rows(struct dual *t)
{
    const struct solver *v = t->v;
    const int64_t *most = v->most[t->c];
    for (uint32_t s = 0; s < v->p->n_speeds; s++) {
        struct held *row = t->row + (size_t)s * (v->n_layers + 1);
        row[0] = (struct held){PLACE_INF, 0}; /* a device without a layer is no device */
        for (uint32_t x = 1; x <= v->n_layers; x++) {
            int64_t ns = value_mul(t->scale, v->excess[s][x]);
            row[x] = less(row[x - 1], (struct held){ns - t->lambda * most[x], most[x]});
        }
    }
}

/* The most layers that are sure to be no more than so many units. */
static uint32_t within(const int64_t *most, uint32_t n, int64_t units)
{
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = (lo + hi + 1) / 2;
        if (most[mid] <= units)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

/* Of one device alone: fixed time and excess, less the price of what it holds. */
static struct held price_device(const struct dual *t, const struct pdev *d)
{
    const struct solver *v = t->v;
    uint64_t own[CAP_COUNT];
    const uint64_t *cap = solver_caps(v, d, own);
    uint32_t n = (uint32_t)cap[CAP_LAYERS];
    int64_t units = (int64_t)((cap[t->c] + v->unit[t->c] - 1) / v->unit[t->c]);
    uint32_t x = within(v->most[t->c], n, units);
    struct held best = t->row[(size_t)d->speed * (v->n_layers + 1) + x];
    if (x < n) { /* more layers, but no more units */
        int64_t ns = value_mul(t->scale, v->excess[d->speed][x + 1]);
        best = less(best, (struct held){ns - t->lambda * units, units});
    }
    best.value = value_add(best.value, value_mul(t->scale, v->p->speeds[d->speed].fixed));
    return best;
}

static int64_t down(int64_t value, int64_t scale)
{
    return value / scale - (value % scale < 0);
}

int64_t dual_device(const struct dual *t, const struct pdev *d)
{
    return down(price_device(t, d).value, t->scale);
}

static struct held price_cpu(const struct dual *t, const struct snode *s)
{
    const struct solver *v = t->v;
    struct held best = {s->cpu_lay ? PLACE_INF : 0, 0};
    for (uint32_t x = 1; x <= s->cpu_lay; x++) {
        int64_t units = (int64_t)(ranks_measure(v->ranks, t->c, x) / v->unit[t->c]) + 1;
        int64_t ns = value_mul(t->scale, v->cpu_excess[x]);
        best = less(best, (struct held){ns - t->lambda * units, units});
    }
    return best;
}

static int by_value(const void *a, const void *b)
{
    const struct held *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Least sums of q devices of a node, and inside each group; `more` is what each costs in addition,
 * `own` what taking part costs. The devices' own values are ascending inside a group. */
static void sum_up(const struct dual *t, const struct snode *s, int64_t more, struct held own,
                   struct share *out)
{
    const struct held *one = t->one;
    struct held *all = t->all;
    for (uint32_t g = 0; g < s->n_groups; g++) {
        const struct group *r = &s->groups[g];
        int64_t *sum = out->group + r->first + g;
        sum[0] = 0;
        for (uint32_t i = 0; i < r->n; i++) {
            all[r->first + i] = one[r->first + i];
            all[r->first + i].value = value_add(one[r->first + i].value, more);
            sum[i + 1] = value_add(sum[i], all[r->first + i].value);
        }
    }
    if (s->n_groups > 1)
        qsort(all, s->n_dev, sizeof *all, by_value);
    out->own = out->least[0] = own.value;
    out->units[0] = own.units;
    for (uint32_t q = 0; q < s->n_dev; q++) {
        out->least[q + 1] = value_add(out->least[q], all[q].value);
        out->units[q + 1] = out->units[q] + all[q].units;
    }
}

static void price_node(const struct dual *t, struct snode *s)
{
    const struct problem *p = t->v->p;
    bool costs = t->o.by == BY_VALUE;
    for (uint32_t d = 0; d < s->n_dev; d++) {
        t->one[d] = price_device(t, &s->src->dev[d]);
        if (costs)
            t->one[d].value = value_add(t->one[d].value, s->src->dev[d].cost);
    }
    struct held rem = {costs ? s->src->cost : 0, 0}, loc = price_cpu(t, s);
    loc.value = value_add(loc.value, rem.value);
    loc.value = costs ? value_add(loc.value, s->src->main_cost) : loc.value;
    int64_t hop = value_mul(t->scale, t->v->net_min.fixed);
    hop = costs ? value_add(hop, p->hop_cost) : hop;
    sum_up(t, s, 0, loc, &s->by[t->o.by][1]);
    sum_up(t, s, hop, rem, &s->by[t->o.by][0]);
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
    uint32_t g = b->free_g ? 0 : t->o.g;
    int64_t want = (int64_t)(v->want[t->c] / v->unit[t->c]);
    t->lambda = lambda;
    fill_rows(t);
    for (uint32_t i = 0; i < b->n; i++)
        price_node(t, &b->nodes[i]);
    bounds_fill_time(b, t->o.by);
    v->steps += bounds_size(b->n, t->o.k, b->g) / 4 + 1;
    int64_t ns = v->floor_ns[0] + v->p->base_ns + (t->o.k > 1 ? v->net_min.once : 0);
    t->rest = value_add(value_mul(t->scale, ns), lambda * want);
    int64_t least = b->tim[t->o.by][BOUNDS_AT(b, 0, t->o.k, g, 1)];
    if (least >= PLACE_INF)
        return (struct point){lambda, PLACE_INF, 0};
    return (struct point){lambda, value_add(least, t->rest),
                          want - bounds_units(b, t->o.by, t->o.k, g)};
}

/* The dearest layer per unit: no higher price is useful. Sums of prices stay within PLACE_INF. */
static int64_t lambda_max(const struct dual *t)
{
    const struct solver *v = t->v;
    const int64_t *units = v->most[t->c];
    int64_t most = 0, cap = PLACE_INF / (2 * UNITS) / (solver_most(v) + 1);
    for (uint32_t x = 1; x <= v->n_layers; x++) {
        int64_t step = v->cpu_excess[x] - v->cpu_excess[x - 1];
        for (uint32_t s = 0; s < v->p->n_speeds; s++) {
            int64_t d = v->excess[s][x] - v->excess[s][x - 1];
            step = d > step ? d : step;
        }
        int64_t more = units[x] - units[x - 1], per = more > 0 ? (step - 1) / more + 1 : step;
        most = per > most ? per : most;
    }
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
        if (mid.slope == 0 || most - best.value <= best.value / 4096)
            break;
        if (mid.slope > 0)
            lo = mid;
        else
            hi = mid;
    }
    return best;
}

/* The best over the measures. */
static void search_price(struct dual *t)
{
    struct point best = {.value = -PLACE_INF};
    uint32_t best_c = 0;
    for (t->c = 0; t->c < t->v->n_caps && best.value < t->o.enough; t->c++) {
        if (!t->v->most[t->c])
            fill_most(t->v, t->c);
        struct point x = best_price(t);
        if (x.value > best.value) {
            best = x;
            best_c = t->c;
        }
        if (best.lambda == 0 && x.slope <= 0) /* what is fastest holds the model */
            break;
    }
    t->c = best_c;
    bound_at(t, best.lambda);
    t->bound = best.value;
}

struct dual *dual_new(struct solver *v, struct bounds *b, const struct dual_opts *o)
{
    struct dual *t = mem_calloc(1, sizeof *t);
    size_t rows = (size_t)v->p->n_speeds * (v->n_layers + 1), most = 0;
    for (uint32_t i = 0; i < b->n; i++)
        most = b->nodes[i].n_dev > most ? b->nodes[i].n_dev : most;
    *t = (struct dual){.v = v, .b = b, .o = *o, .scale = value_scale(v, o->by)};
    t->row = mem_calloc(rows + 2 * most + 1, sizeof *t->row);
    t->one = t->row + rows;
    t->all = t->one + most;
    search_price(t);
    t->rest_ns = mem_calloc(v->n_layers + 1, sizeof *t->rest_ns);
    const uint64_t *sum = ranks_sums(v->ranks, t->c);
    for (uint32_t x = 0; x <= v->n_layers; x++) {
        int64_t units = (int64_t)((sum[v->n_layers + 1] - sum[x]) / v->unit[t->c]);
        t->rest_ns[x] = v->floor_ns[x] + down(t->lambda * units, t->scale);
    }
    return t;
}

void dual_free(struct dual *t)
{
    if (!t)
        return;
    free(t->row);
    free(t->rest_ns);
    free(t);
}
