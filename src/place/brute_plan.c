/* Every tier by trying everything; see brute_plan.h. */
#include "place/brute_plan.h"

#include "base/mem.h"
#include "place/place_int.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Where devices of a table are; RAM of a node has no index. */
struct tally {
    struct brute_wish w;
    const struct scene *c; /* of a spec that wants nothing: all devices take part */
    const struct mode_opts *mode;
    const struct brute *b;
    const uint32_t *node_of;
    int64_t least_stage; /* of the mode: experts on the CPU */
    bool one_kind;       /* GPUs and RAM of other nodes are compared as if all were part in RAM */
    struct brute_outcome out;
};

static bool streams(const struct policy *p)
{
    for (uint32_t i = 0; i < p->n_terms; i++)
        if (p->terms[i].term == TERM_STREAM_TIME)
            return true;
    return false;
}

static void offer(struct tally *t, const struct brute_candidate *c)
{
    struct brute_worth worth;
    struct brute_candidate as = *c;
    if (!brute_allowed(&t->w, c))
        return;
    as.tier = t->one_kind ? TIER_RAM : c->tier;
    brute_worth(&t->w, &as, &worth);
    if (t->out.feasible && brute_compare(&t->w, &worth, &t->out.worth) >= 0)
        return;
    t->out = (struct brute_outcome){true, t->out.vague, *c, worth};
}

static void add_node(struct brute_candidate *c, uint32_t node)
{
    for (uint32_t i = 0; i < c->n_nodes; i++)
        if (c->node[i] == node)
            return;
    c->node[c->n_nodes++] = node;
}

static void add_gpu(struct brute_candidate *c, uint32_t node, uint32_t index)
{
    c->gpu[c->n_gpus++] = (struct brute_plan_gpu){node, index};
    c->hops += node != c->main;
    add_node(c, node);
}

static void add_ram(struct brute_candidate *c, uint32_t node)
{
    c->n_ram++;
    c->hops += node != c->main;
    add_node(c, node);
}

static void start(struct brute_candidate *c, uint32_t main, int64_t ns, int64_t stage)
{
    *c = (struct brute_candidate){.main = main, .ns = ns, .stage = stage};
    add_node(c, main);
}

/* ---- one GPU, here or with the main process elsewhere; one CPU ---- */

static void host_and_device(const struct estimate_model *m, uint64_t *host, uint64_t *dev)
{
    struct estimate_bytes b, h;
    struct estimate_split split = {.n_devices = 1, .counts = &m->n_layers};
    estimate_split_bytes(m, &split, &b, &h);
    *host = h.weights + h.kv + h.compute;
    *dev = b.weights + b.kv + b.compute;
}

static int64_t single_ns(const struct scene *c, uint32_t dev, uint32_t main)
{
    const struct scene_device *d = &c->dev[dev];
    struct net n = {0};
    if (d->node != main)
        n = scene_net(c, main, d->node);
    return c->single_ns[d->speed] + n.fixed + n.tail + n.once;
}

/* The first message to a device elsewhere is no part of its stage. */
static int64_t single_stage(const struct scene *c, uint32_t dev, uint32_t main)
{
    uint32_t node = c->dev[dev].node;
    return single_ns(c, dev, main) - (node == main ? 0 : scene_net(c, main, node).once);
}

static void singles(struct tally *t)
{
    const struct scene *c = t->c;
    const struct cluster_snapshot *s = c->s;
    uint64_t host, dev;
    host_and_device(c->m, &host, &dev);
    for (uint32_t i = 0; i < c->n_dev; i++)
        for (uint32_t main = 0; main < s->n_nodes; main++) {
            const struct scene_device *d = &c->dev[i];
            struct brute_candidate x;
            int64_t ns = single_ns(c, i, main);
            if (s->nodes[d->node].devices[d->index].free_bytes <
                    s->margin_bytes + s->runtime_bytes + dev ||
                s->nodes[main].ram_free_bytes < host)
                continue;
            start(&x, main, ns, single_stage(c, i, main));
            add_gpu(&x, d->node, d->index);
            x.tier = x.n_nodes > 1 ? TIER_NODES : TIER_ONE_GPU;
            offer(t, &x);
        }
}

static void one_cpu(struct tally *t)
{
    const struct scene *c = t->c;
    struct estimate_bytes host;
    struct estimate_split split = {.n_cpu_layers = c->m->n_layers};
    estimate_split_bytes(c->m, &split, NULL, &host);
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        struct brute_candidate x;
        start(&x, i, c->single_ns[c->n_speeds - 1], c->single_ns[c->n_speeds - 1]);
        x.tier = TIER_CPU;
        if (host.weights + host.kv + host.compute <= c->s->nodes[i].ram_free_bytes)
            offer(t, &x);
    }
}

/* ---- the modes of several devices ---- */

static void fill(const struct tally *t, uint32_t main, uint32_t mask, struct brute_candidate *x)
{
    start(x, t->node_of[main], 0, 0);
    for (uint32_t i = 0; i < t->b->n_dev; i++) {
        uint32_t id = t->b->dev[i].id;
        if (!(mask >> i & 1))
            continue;
        if (id >= t->c->n_dev)
            add_ram(x, t->node_of[t->b->dev[i].node]);
        else
            add_gpu(x, t->c->dev[id].node, t->c->dev[id].index);
    }
    x->tier = t->mode->mode != MODE_FULL ? (x->n_gpus ? TIER_RAM : TIER_CPU)
              : x->n_nodes > 1           ? TIER_NODES
                                         : TIER_ONE_NODE;
}

static void visit(void *arg, uint32_t main, uint32_t mask, int64_t ns, int64_t stage)
{
    struct tally *t = arg;
    struct brute_candidate x;
    fill(t, main, mask, &x);
    x.ns = ns;
    stage -= t->c->hop_ns; /* of the search's table; here it is not part of it */
    x.stage = stage > t->least_stage ? stage : t->least_stage;
    offer(t, &x);
}

/* One device is as fast however it was found: policies may compare it by the nanosecond. */
static void check_single(const struct scene *c, const struct brute *b)
{
    for (uint32_t k = 0; k < c->n_speeds; k++) {
        int64_t ns = b->tail[k];
        for (uint32_t l = 0; l < b->n_layers; l++)
            ns += b->ns[k][l];
        assert(ns == c->single_ns[k]);
    }
}

static void mode_best(struct tally *t, const struct mode_opts *o)
{
    struct mode_problem *p = mode_new(t->c, o);
    mem_auto struct brute *b = mem_calloc(1, sizeof *b);
    brute_table(t->c, o, &p->p, p->node_of, b);
    if (o->mode == MODE_FULL)
        check_single(t->c, b);
    t->mode = o;
    t->b = b;
    t->node_of = p->node_of;
    t->least_stage = o->mode == MODE_MOE ? scene_moe_ns(t->c, o->n_moe) : 0;
    if (streams(&t->w.spec->policy))
        brute_each_way(b, visit, t);
    else
        brute_each_set(b, visit, t);
    mode_free(p);
}

static void with_ram(struct tally *t)
{
    const struct estimate_model *m = t->c->m;
    struct mode_opts o = {.mode = MODE_CPU, .gpus = true};
    if (m->n_layers > 1)
        mode_best(t, &o);
    o.mode = MODE_MOE;
    for (o.n_moe = 1; o.n_moe <= m->n_layers; o.n_moe++)
        if (m->layers[o.n_moe - 1].experts)
            mode_best(t, &o);
}

/* What is tried only where nothing else fits: RAM of further nodes, if the best of it uses a GPU.
 */
static void remote_ram(struct tally *t)
{
    struct mode_opts far = {.mode = MODE_CPU, .gpus = true, .remote_ram = true};
    if (t->out.feasible || t->c->m->n_layers < 2 || t->w.spec->want.gpus_per_replica)
        return;
    t->one_kind = true;
    mode_best(t, &far);
    t->one_kind = false;
    t->out.vague = t->out.feasible && t->out.best.n_gpus == 0;
    if (t->out.vague)
        t->out.feasible = false;
}

static void cpus(struct tally *t)
{
    struct mode_opts far = {.mode = MODE_CPU, .remote_ram = true};
    if (t->w.spec->want.gpus_per_replica)
        return;
    one_cpu(t);
    if (!t->out.feasible && t->c->m->n_layers > 1)
        mode_best(t, &far);
}

void brute_outcome(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                   const struct estimate_model *m, struct brute_outcome *out)
{
    mem_auto struct deployment_spec *bare = mem_calloc(1, sizeof *bare);
    struct scene *c = scene_new(s, bare, m, NULL);
    struct tally t = {.w = {s, spec, m}, .c = c};
    struct mode_opts full = {.mode = MODE_FULL, .gpus = true};
    const struct policy *p = &spec->policy;
    bool by_tier = !p->weighted && p->terms[0].term == TERM_OFFLOAD, near;
    singles(&t);
    if (m->n_layers > 1)
        mode_best(&t, &full);
    if (!spec->want.no_ram && (!by_tier || !t.out.feasible))
        with_ram(&t);
    near = t.out.feasible;
    if (!spec->want.no_ram && (!by_tier || !near))
        remote_ram(&t);
    if (!spec->want.no_ram && (!by_tier || !t.out.feasible))
        cpus(&t);
    scene_free(c);
    *out = t.out;
    out->vague |= streams(p) && !near;
}

/* ---- the plan as one of the candidates ---- */

uint32_t brute_nodes_of(const struct assignment *a)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        bool seen = strcmp(a->parts[i].node_id, a->main_id) == 0;
        for (uint32_t k = 0; k < i; k++)
            seen = seen || strcmp(a->parts[k].node_id, a->parts[i].node_id) == 0;
        n += !seen;
    }
    return n;
}

uint32_t brute_gpus_of(const struct assignment *a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_parts; i++)
        n += a->parts[i].uuid[0] != 0;
    return n;
}

static uint32_t node_at(const struct cluster_snapshot *s, const char *id)
{
    uint32_t i = 0;
    while (i < s->n_nodes && strcmp(s->nodes[i].id, id) != 0)
        i++;
    return i;
}

/* The device of the table that a part stands on. */
static uint32_t device_at(const struct tally *t, const struct assignment_part *p)
{
    uint32_t node = node_at(t->w.s, p->node_id);
    for (uint32_t i = 0; i < t->b->n_dev; i++) {
        uint32_t id = t->b->dev[i].id;
        bool ram = id >= t->c->n_dev;
        if (t->node_of[t->b->dev[i].node] == node && ram == !p->uuid[0] &&
            (ram || t->c->dev[id].index == p->index))
            return i;
    }
    return 0;
}

/* An assignment of several devices, timed by the table of its mode; false when it does not hold. */
static bool replay(struct tally *t, const struct assignment *a)
{
    struct brute_way way = {.n_cpu = a->n_cpu_layers, .n = a->n_parts};
    struct brute_sum is;
    for (uint32_t i = 0; i < t->b->n_nodes; i++)
        if (t->node_of[i] == node_at(t->w.s, a->main_id))
            way.main = i;
    uint32_t mask = 0;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        way.dev[i] = device_at(t, &a->parts[i]);
        way.count[i] = a->parts[i].n_layers;
        mask |= 1u << way.dev[i];
    }
    int64_t ns = brute_time(t->b, &way, &is);
    if (ns < BRUTE_NEVER)
        visit(t, way.main, mask, ns, is.stage);
    return t->out.feasible;
}

static bool replay_single(struct tally *t, const struct assignment *a)
{
    struct brute_candidate x;
    uint32_t main = node_at(t->w.s, a->main_id);
    if (!a->n_parts) {
        one_cpu(t);
        t->out.best.main = main; /* which of them is a preference */
        return t->out.feasible;
    }
    for (uint32_t i = 0; i < t->c->n_dev; i++) {
        const struct scene_device *d = &t->c->dev[i];
        if (strcmp(t->w.s->nodes[d->node].devices[d->index].uuid, a->parts[0].uuid) != 0)
            continue;
        start(&x, main, single_ns(t->c, i, main), single_stage(t->c, i, main));
        add_gpu(&x, d->node, d->index);
        x.tier = x.n_nodes > 1 ? TIER_NODES : TIER_ONE_GPU;
        offer(t, &x);
    }
    return t->out.feasible;
}

/* What the plan is worth; false when it breaks a constraint or does not hold. */
static bool worth_of(const struct brute_wish *w, const struct assignment *a,
                     struct brute_outcome *out)
{
    mem_auto struct deployment_spec *bare = mem_calloc(1, sizeof *bare);
    struct scene *c = scene_new(w->s, bare, w->m, NULL);
    struct tally t = {.w = *w, .c = c};
    struct mode_opts o = {.mode = a->n_cpu_moe      ? MODE_MOE
                                  : a->n_cpu_layers ? MODE_CPU
                                                    : MODE_FULL,
                          .n_moe = a->n_cpu_moe,
                          .gpus = true};
    bool ok = false;
    o.remote_ram = o.mode == MODE_CPU;
    if (a->n_parts < 2 && (o.mode == MODE_FULL || !a->n_parts)) {
        ok = replay_single(&t, a);
    } else {
        struct mode_problem *p = mode_new(c, &o);
        mem_auto struct brute *b = mem_calloc(1, sizeof *b);
        brute_table(c, &o, &p->p, p->node_of, b);
        t.mode = &o;
        t.b = b;
        t.node_of = p->node_of;
        t.least_stage = o.mode == MODE_MOE ? scene_moe_ns(c, o.n_moe) : 0;
        ok = replay(&t, a);
        mode_free(p);
    }
    scene_free(c);
    *out = t.out;
    return ok;
}

/* ---- comparing ---- */

static void describe(char *dst, size_t cap, const struct brute_outcome *o)
{
    int n = snprintf(dst, cap, "%s", o->feasible ? place_tier_name(o->best.tier) : "none");
    for (uint32_t i = 0; o->feasible && i < o->worth.n && (size_t)n < cap; i++)
        n += snprintf(dst + n, cap - (size_t)n, " %s %lld", policy_term_name(o->worth.term[i]),
                      (long long)o->worth.amount[i]);
}

static int differ(const char *what, const struct brute_outcome *got,
                  const struct brute_outcome *best, struct err *err)
{
    char a[110], b[110];
    describe(a, sizeof a, got);
    describe(b, sizeof b, best);
    return err_set(err, ERR_INTERNAL, "%s: %s; is %s", what, a, b);
}

static bool is_time(enum policy_term t)
{
    return t == TERM_TOKEN_TIME || t == TERM_STREAM_TIME;
}

static double unit_of(enum policy_term t)
{
    return is_time(t) ? 1e6 : t == TERM_PRICE ? 100 : 1;
}

/* Times are added up in coarser ticks where terms need the room, and then said in them. */
static double rounding(const struct place_plan *p, const struct brute_outcome *got)
{
    for (uint32_t i = 0; i < p->n_terms; i++)
        if (p->terms[i].term == TERM_TOKEN_TIME &&
            fabs(p->terms[i].amount * 1e6 - (double)got->best.ns) > 0.6)
            return 5e-3;
    return 0;
}

static int compare_ordered(const struct place_plan *p, const struct brute_outcome *got,
                           const struct brute_outcome *best, struct err *err)
{
    double coarse = rounding(p, got);
    for (uint32_t i = 0; i < best->worth.n; i++) {
        enum policy_term t = best->worth.term[i];
        double a = (double)got->worth.amount[i], b = (double)best->worth.amount[i];
        double off = is_time(t) ? coarse * b : 0;
        const struct place_term *said = i < p->n_terms ? &p->terms[i] : NULL;
        if (said && said->term == t && !p->weighted && said->bound * unit_of(t) > b + off + 0.6)
            return differ("bound above the best", got, best, err);
        if (a < b - off)
            return differ("better than everything", got, best, err);
        if (a > b + off)
            return p->optimal ? differ("proved", got, best, err) : 0;
        if (a != b)
            return 0; /* equal in ticks: what follows may differ */
    }
    return 0;
}

static int compare_sum(const struct place_plan *p, const struct brute_outcome *got,
                       const struct brute_outcome *best, struct err *err)
{
    double a = got->worth.sum, b = best->worth.sum;
    double off = 2e-3 * b + 1e-3; /* weights are whole numbers; what breaks ties is below them */
    if (a < b - 1e-9 * b || (p->optimal && a > b + off) || p->bound_sum > b + off)
        return differ(p->optimal ? "proved sum" : "sum or its bound", got, best, err);
    return 0;
}

/* What the plan says of its terms is what they are. */
static int check_said(const struct place_plan *p, const struct brute_outcome *got, struct err *err)
{
    double coarse = rounding(p, got);
    for (uint32_t i = 0; i < p->n_terms; i++)
        for (uint32_t k = 0; k < got->worth.n; k++) {
            enum policy_term t = got->worth.term[k];
            double is = (double)got->worth.amount[k] / unit_of(t);
            double off = is_time(t) ? coarse * is + 1e-6 : 1e-9;
            if (p->terms[i].term == t && fabs(p->terms[i].amount - is) > off)
                return err_set(err, ERR_INTERNAL, "%s is %g, the plan says %g", policy_term_name(t),
                               is, p->terms[i].amount);
        }
    return 0;
}

static int compare(const struct brute_wish *w, const struct place_plan *p,
                   const struct brute_outcome *best, struct err *err)
{
    struct brute_outcome got = {0};
    if (p->feasible && (place_validate_model(w->s, w->spec, w->m, &p->a, err)))
        return -1;
    if (p->feasible && !worth_of(w, &p->a, &got))
        return err_set(err, ERR_INTERNAL, "a plan that does not hold");
    if (p->feasible != best->feasible && (p->optimal || p->feasible))
        return differ("feasible", &got, best, err);
    if (!p->feasible || best->vague)
        return 0;
    if (check_said(p, &got, err))
        return -1;
    return w->spec->policy.weighted ? compare_sum(p, &got, best, err)
                                    : compare_ordered(p, &got, best, err);
}

int brute_plan(struct brute_models *all, struct rng *r, const struct brute_shape *o, uint64_t steps,
               struct place_plan **out, struct brute_outcome *best, struct err *err)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct place_budget budget = {.steps = steps, .bare = true};
    struct brute_shape shape = *o;
    struct cluster_snapshot s;
    struct err why = {0};
    char what[96];
    snprintf(spec->name, sizeof spec->name, "chat");
    snprintf(spec->model, sizeof spec->model, "/models/this.gguf");
    brute_policy(&spec->policy, r);
    if (streams(&spec->policy)) { /* every order: small ones */
        shape.max_dev = shape.max_dev < 5 ? shape.max_dev : 5;
        shape.max_layers = shape.max_layers < 7 ? shape.max_layers : 7;
    }
    struct estimate_model *m =
        brute_cut(all, r, 2 + (uint32_t)rng_below(r, shape.max_layers - 1), what);
    brute_cluster(m, r, &shape, &s);
    brute_dress(&s, r);
    brute_constraints(&s, &spec->want, r);
    struct brute_wish w = {&s, spec, m};
    brute_outcome(&s, spec, m, best);
    struct place_plan *p = *out = place_model(&s, spec, m, &budget, &why);
    int rc = p ? compare(&w, p, best, err) : 0;
    if (!p && why.code != ERR_LIMIT)
        rc = err_set(err, why.code, "%s", why.msg);
    if (rc)
        err_wrap(err, "%s on %u nodes, policy %s", what, s.n_nodes, spec->policy.name);
    snapshot_done(&s);
    brute_cut_free(m);
    return rc;
}
