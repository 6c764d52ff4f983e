/* How many nodes and devices, and the least value with so many; see solve.h and README.md. */
#include "place/search.h"

#include "base/mem.h"

enum {
    TABLE_CELLS = 2 << 20, /* of one bound's table; beyond it the smallest nodes are left out */
};

/* A stage may use half of what is left, so that a later one always has something. */
static uint64_t deadline(const struct solver *v)
{
    return v->steps >= v->budget ? v->steps : v->steps + (v->budget - v->steps) / 2 + 1;
}

/* ---- value ---- */

/* The time that value v stands for, rounded up; with costs, the least time there is. */
static int64_t bound_ns(const struct solver *v, uint32_t k, int64_t value)
{
    if (v->costs) {
        int64_t ns = v->floor_ns[0] + v->p->base_ns + (k > 1 ? v->net_min.once : 0);
        return ns;
    }
    return value > 0 ? (value - 1) / v->scale + 1 : value / v->scale;
}

/* Least value with exactly k nodes and g devices, or up to g where the bounds leave their number
 * free. *s may hold an answer already, of other numbers or the same. */
static void least_value(struct solver *v, struct bounds *b, uint32_t k, uint32_t g,
                        struct solution *s)
{
    struct search x = {.v = v, .b = b, .goal = GOAL_FITS, .k = k, .best = s};
    int64_t have = s->feasible ? s->value : v->ceiling, lb = PLACE_INF;
    struct dual *dual = NULL;
    bool may = search_may(&x, g);
    x.goal = GOAL_VALUE;
    for (uint32_t by = b->n_by; may && by-- > 0;) {
        int64_t enough = by == BY_TIME ? v->p->limit_ns + 1 : have;
        struct dual_opts o = {.by = by, .k = k, .g = g, .enough = enough};
        dual_free(dual);
        dual = dual_new(v, b, &o);
        x.rest[by] = dual->rest;
        may = by == BY_VALUE || dual->bound <= v->p->limit_ns;
    }
    x.dual = dual;
    lb = may ? dual->bound : PLACE_INF;
    bool same = s->feasible && s->n_nodes == k && (b->free_g || s->n_dev == g);
    if (may && lb < have && same && search_improve(&x))
        have = s->value;
    bool proved = lb >= have;
    /* Deepen: answers close to the bound first, which proves or improves quickly. */
    int64_t first = (lb - solver_least_cost(v, k, b->free_g ? 0 : g)) / 256 + 1;
    for (int64_t room = first > 0 ? first : 1; !proved;
         room = room < PLACE_INF / 8 ? room * 8 : PLACE_INF) {
        have = s->feasible ? s->value : v->ceiling;
        x.below = lb < have - room ? lb + room : have;
        x.deadline = deadline(v);
        bool last = x.below == have;
        search_run(&x, g);
        if (x.stopped || x.unsure) {
            if (last || x.stopped)
                break;
            if (x.found)
                continue;
        }
        proved = (last || x.found) && !x.unsure && !x.stopped;
    }
    dual_free(dual);
    s->proved = proved;
    s->bound_value = proved && s->feasible ? s->value : lb;
    s->bound_ns = proved && s->feasible && !v->costs ? s->ns : bound_ns(v, k, lb);
}

/* ---- how many nodes and devices ---- */

/* Fewest nodes whose best case holds the model; UINT32_MAX when not even all of them do. */
static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static uint32_t fewest(const struct solver *v, uint32_t c)
{
    mem_auto uint64_t *sum = mem_calloc(v->n_nodes + 1, sizeof *sum);
    uint64_t have = 0;
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        const struct snode *s = &v->nodes[i];
        sum[i] = snode_cap(s, c, s->n_dev);
        uint64_t cpu = snode_cpu(v, s, c);
        have = cpu > have ? cpu : have;
    }
    qsort(sum, v->n_nodes, sizeof *sum, descending);
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        have += sum[i];
        if (have >= v->want[c])
            return i + 1;
    }
    return UINT32_MAX;
}

static uint32_t k_least(const struct solver *v, uint32_t k)
{
    for (uint32_t c = 0; c < v->n_caps; c++) {
        uint32_t x = fewest(v, c);
        k = x > k ? x : k;
    }
    return k;
}

static bool any_main(const struct solver *v)
{
    for (uint32_t i = 0; i < v->n_nodes; i++)
        if (v->nodes[i].main_ok)
            return true;
    return false;
}

/* Would any number of the largest device do? Not when a layer, or the output layer, fits none: no
 * set of devices needs to be looked at then. */
static bool largest_holds(const struct solver *v)
{
    uint32_t rank = 0, at = 0, n = v->n_layers;
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        const struct snode *s = &v->nodes[i];
        at = s->cpu_lay > at ? s->cpu_lay : at;
        for (uint32_t d = 0; d < s->n_dev; d++)
            rank = s->src->dev[d].rank > rank ? s->src->dev[d].rank : rank;
    }
    const struct fit *f = ranks_fit(v->ranks, rank);
    if (!v->p->cpu_ns && f->lo_only == 0)
        return true;
    at = v->p->cpu_ns ? at : f->hi_first;
    while (at > 0 && at < f->lo_last && f->hi[at] > at)
        at = f->hi[at];
    return at > 0 && at >= f->lo_last && f->lo_last < n;
}

/* A set of k nodes on which it fits, as a set in *s; s->bound_dev is how many devices it took. */
static bool exists(struct solver *v, struct bounds *b, uint32_t k, uint32_t g, struct solution *s,
                   bool *sure)
{
    struct search x = {
        .v = v, .b = b, .goal = GOAL_FITS, .k = k, .best = s, .deadline = deadline(v)};
    search_run(&x, g);
    *sure = x.found || !x.unsure;
    return x.found;
}

/* Tables for k nodes and up to g devices (UINT32_MAX: any number), with rooms filled. False when
 * there are not so many nodes. *cut: not all nodes could be kept. */
struct tables {
    struct bnode *nodes;
    struct bounds b;
    bool cut;
};

static bool tables_open(struct solver *v, uint32_t k, uint32_t g, uint64_t max_cells,
                        struct tables *t)
{
    *t = (struct tables){0};
    uint64_t fit = max_cells / bounds_size(0, k, g == UINT32_MAX ? 0 : g);
    uint32_t n = prepare_nodes(v, k, k == 1, UINT32_MAX, &t->nodes, &t->cut);
    if (n > fit) {
        free(t->nodes);
        n = prepare_nodes(v, k, false, fit > k ? (uint32_t)fit : k, &t->nodes, &t->cut);
    }
    if (n < k)
        return false;
    bool free_g = g == UINT32_MAX;
    t->b = (struct bounds){.nodes = t->nodes,
                           .n = n,
                           .k = k,
                           .g = free_g ? 0 : g,
                           .free_g = free_g,
                           .n_caps = v->n_caps,
                           .n_by = v->n_by};
    bounds_alloc(&t->b);
    bounds_fill_room(&t->b);
    v->steps += bounds_size(n, k, t->b.g);
    return true;
}

static void tables_close(struct tables *t)
{
    bounds_done(&t->b);
    free(t->nodes);
}

/* What the passes over one number of nodes agree on. */
struct pass {
    struct solver *v;
    struct tables t;
    uint32_t k, most;
    bool proved;
    uint32_t bound_g; /* the first number of devices that is not proved too few */
};

/* The first number of devices from g on that could do by size; p->most + 1 when none does. *s: a
 * set that does. */
static uint32_t first_by_size(struct pass *p, uint32_t g, struct solution *s)
{
    bool found = false;
    for (; g <= p->most; g++) {
        bool sure = true;
        found = exists(p->v, &p->t.b, p->k, g, s, &sure);
        p->proved = p->proved && sure;
        if (!p->bound_g && (found || !sure))
            p->bound_g = g;
        if (found)
            break;
    }
    return g;
}

/* Sizes decide on the number of devices; then the least value with so many. */
static void by_size(struct pass *p, struct solution *s)
{
    struct solution set = *s;
    *s = (struct solution){0};
    if (first_by_size(p, 2, s) <= p->most)
        solution_done(&set);
    else /* the set that showed that k nodes do */
        *s = set;
    search_first(p->v, s);
    if (s->feasible && s->n_dev <= p->t.b.g)
        least_value(p->v, &p->t.b, p->k, s->n_dev, s);
}

/* Other constraints decide too: every number of devices in turn. */
static void by_turns(struct pass *p, uint32_t g, struct solution *s)
{
    solution_done(s);
    first_by_size(p, g, s);
    solution_done(s);
    g = p->bound_g ? p->bound_g : p->most + 1; /* what was not settled by size is looked at again */
    s->proved = p->proved = true;
    for (p->bound_g = 0; g <= p->most && !s->feasible; g++) {
        least_value(p->v, &p->t.b, p->k, g, s);
        if (!p->bound_g && (s->feasible || !s->proved))
            p->bound_g = g;
        p->proved = p->proved && s->proved;
    }
}

/* Nodes were left out of the tables: of them nothing is known but the floor. */
static void unbind(const struct solver *v, uint32_t k, struct solution *s)
{
    int64_t floor = solver_floor(v, k), ns = bound_ns(v, k, floor);
    s->bound_value = floor < s->bound_value ? floor : s->bound_value;
    s->bound_ns = ns < s->bound_ns ? ns : s->bound_ns;
}

/* The most devices that k nodes have. */
static uint64_t most_together(const struct solver *v, uint32_t k)
{
    mem_auto uint64_t *n = mem_calloc(v->n_nodes + 1, sizeof *n);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < v->n_nodes; i++)
        n[i] = v->nodes[i].n_dev;
    qsort(n, v->n_nodes, sizeof *n, descending);
    for (uint32_t i = 0; i < k && i < v->n_nodes; i++)
        sum += n[i];
    return sum;
}

/* Exactly k nodes: fewest devices, then value. *sure: a "no" is proved. */
static bool tiered_at(struct solver *v, uint32_t k, struct solution *s, bool *sure)
{
    struct pass p = {.v = v, .k = k, .most = solver_most(v), .proved = true};
    uint32_t least = v->p->min_devices > 2 ? v->p->min_devices : 2;
    uint32_t g = most_together(v, k) > p.most ? p.most : UINT32_MAX;
    bool found = tables_open(v, k, g, g == UINT32_MAX ? UINT64_MAX : TABLE_CELLS, &p.t) &&
                 exists(v, &p.t.b, k, p.most, s, sure);
    *sure = *sure && (found || !p.t.cut);
    v->k_holds += !found && *sure && v->k_holds == k;
    tables_close(&p.t);
    if (!found || p.most < least) {
        solution_done(s);
        return false;
    }
    /* Where one device would do, alone it is another mode: then every number has to be tried. */
    bool sized = v->bound_by_size && !v->p->limit_value && s->bound_dev >= 2 && !v->more_nodes;
    p.most = sized ? s->bound_dev : p.most;
    tables_open(v, k, p.most, TABLE_CELLS, &p.t);
    if (sized)
        by_size(&p, s);
    else
        by_turns(&p, least, s);
    s->proved = (s->feasible ? s->proved : !sized) && p.proved && !p.t.cut;
    s->bound_dev = p.t.cut ? least : p.bound_g;
    if (p.t.cut)
        unbind(v, k, s);
    *sure = s->proved;
    tables_close(&p.t);
    return s->feasible;
}

/* Exactly k nodes: least value, whatever the number of devices. */
static bool fastest_at(struct solver *v, uint32_t k, struct solution *s, bool *sure)
{
    struct tables t;
    uint32_t most = solver_most(v), least = v->p->min_devices;
    bool any = least < 2;
    *sure = true;
    if (tables_open(v, k, any ? UINT32_MAX : most, TABLE_CELLS, &t)) {
        int64_t open = PLACE_INF; /* what numbers of devices that are not settled could reach */
        for (uint32_t g = any ? most : least; g <= most; g++) {
            least_value(v, &t.b, k, g, s);
            open = s->proved || s->bound_value > open ? open : s->bound_value;
        }
        *sure = s->feasible ? open >= s->value : open == PLACE_INF;
        s->bound_value = s->feasible && s->value < open ? s->value : open;
    }
    if (t.cut)
        unbind(v, k, s);
    *sure = *sure && !t.cut;
    s->proved = *sure;
    tables_close(&t);
    return s->feasible;
}

/* Only values below this are answers: the caller's limit, and that on time where nothing has costs.
 */
static int64_t ceiling(const struct solver *v)
{
    const struct problem *p = v->p;
    int64_t most = p->limit_value ? p->limit_value : PLACE_INF;
    int64_t time = p->limit_ns && !v->costs ? value_mul(v->scale, p->limit_ns) : PLACE_INF;
    return time < most ? time + 1 : most;
}

static void solve(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out,
                  bool (*at)(struct solver *, uint32_t, struct solution *, bool *))
{
    *out = (struct solution){0};
    v->ceiling = ceiling(v);
    v->k_holds = k_least(v, 1);
    bool sure = true;
    /* Each node but the main one has a device in use. */
    uint32_t most = v->n_nodes < solver_most(v) + 1 ? v->n_nodes : solver_most(v) + 1, bound = 0;
    k_hi = k_hi < most ? k_hi : most;
    if (any_main(v) && largest_holds(v) && prepare_enough(v, solver_most(v)))
        for (uint32_t k = k_least(v, k_lo); k <= k_hi && !out->feasible; k++) {
            bool k_sure = true;
            v->more_nodes = k_lo > 1 && v->k_holds < k;
            at(v, k, out, &k_sure);
            sure = sure && k_sure;
            if (!bound && (out->feasible || !k_sure))
                bound = k;
        }
    out->proved = sure;
    out->bound_nodes = bound;
    if (out->feasible)
        polish(v, out);
}

void solve_tiered(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out)
{
    solve(v, k_lo, k_hi, out, tiered_at);
}

void solve_fastest(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out)
{
    solve(v, k_lo, k_hi, out, fastest_at);
}
