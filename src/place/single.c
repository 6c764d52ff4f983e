/* Plans of one GPU, or of the CPU of one node: an exact scan by the policy; see pass.h. */
#include "place/pass.h"

#include "base/mem.h"

/* May this GPU hold a model alone? A node that is kept whole must have no other. */
static bool usable(const struct scene *c, const struct scene_device *d)
{
    const struct scene_node *n = &c->nodes[d->node];
    return !d->why && d->room >= c->need_single && (!n->all_or_none || n->n_dev == 1);
}

bool single_fits(const struct scene *c)
{
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (usable(c, &c->dev[i]))
            return true;
    return false;
}

static bool in_time(const struct pass *p, int64_t ns, int64_t stage)
{
    const struct scene *c = p->r->c;
    if (c->limit_ns && ns > c->limit_ns + c->m->n_layers) /* rounded layer by layer */
        return false;
    return (!p->limit_ns || ns <= p->limit_ns) && (!p->stage_ns || stage <= p->stage_ns);
}

static bool has_ram(const struct scene *c, uint32_t node)
{
    return !c->nodes[node].why && c->s->nodes[node].ram_free_bytes >= c->ram_single;
}

/* ---- the scan ---- */

struct scan {
    struct pass *p;
    const struct scene *c;
    uint32_t dev, main; /* the best so far */
    int64_t ns, value;
    bool found;
};

static void look(struct scan *x, uint32_t dev, uint32_t main)
{
    const struct scene *c = x->c;
    const struct scene_device *d = &c->dev[dev], *best = &c->dev[x->dev];
    const struct objective *o = x->p->o;
    int64_t ns = c->single_ns[d->speed], once = 0, ticks = objective_alone(o, c, d->speed);
    x->p->r->used++;
    if (main != d->node) {
        struct net net = scene_net(c, main, d->node);
        ns += net.fixed + net.tail + net.once;
        once = net.once;
        ticks += objective_ticks(o, net.fixed) + objective_ticks(o, net.tail) +
                 objective_ticks(o, net.once);
    }
    if (!in_time(x->p, ns, ns - once))
        return;
    int64_t value = objective_single(o, c, dev, main, ticks);
    if (x->found && value != x->value) {
        if (value > x->value)
            return;
    } else if (x->found) { /* best fit, then by name: devices come in the order of names */
        if (d->room > best->room || (d->room == best->room && dev != x->dev))
            return;
        if (d->room == best->room && c->nodes[main].tag >= c->nodes[x->main].tag)
            return;
    }
    *x = (struct scan){x->p, c, dev, main, ns, value, true};
}

/* The two best nodes for the main process where nothing tells the ways apart: of one GPU's node the
 * other one is taken. */
static uint32_t best_mains(const struct scene *c, const struct objective *o, uint32_t out[2])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        if (!has_ram(c, i))
            continue;
        uint32_t at = n < 2 ? n++ : 2;
        for (; at > 0; at--) {
            uint32_t b = out[at - 1];
            int64_t x = o->main[i] + o->node[i], y = o->main[b] + o->node[b];
            if (x > y || (x == y && c->nodes[i].tag > c->nodes[b].tag))
                break;
            if (at < 2)
                out[at] = b;
        }
        if (at < 2)
            out[at] = i;
    }
    return n;
}

static void look_remote(struct scan *x, uint32_t dev, const uint32_t *mains, uint32_t n)
{
    uint32_t own = x->c->dev[dev].node;
    if (!x->c->nodes[own].special) {
        for (uint32_t i = 0; i < n; i++)
            if (mains[i] != own)
                look(x, dev, mains[i]);
        return;
    }
    for (uint32_t i = 0; i < x->c->s->n_nodes; i++)
        if (i != own && has_ram(x->c, i))
            look(x, dev, i);
}

void single_gpu(struct pass *p, enum single_main where)
{
    const struct scene *c = p->r->c;
    struct scan x = {.p = p, .c = c};
    uint32_t mains[2], n = 0;
    if (c->min_gpus > 1)
        return;
    if (where != SINGLE_LOCAL && p->r->max_nodes > 1)
        n = best_mains(c, p->o, mains);
    for (uint32_t i = 0; i < c->n_dev; i++) {
        if (!usable(c, &c->dev[i]))
            continue;
        if (where != SINGLE_REMOTE && has_ram(c, c->dev[i].node))
            look(&x, i, c->dev[i].node);
        if (n)
            look_remote(&x, i, mains, n);
    }
    p->r->used += c->n_dev;
    if (!x.found)
        return;
    const struct scene_device *d = &c->dev[x.dev];
    bool local = x.main == d->node;
    struct answer a = {.feasible = true,
                       .tier = local ? TIER_ONE_GPU : TIER_NODES,
                       .main = x.main,
                       .n_nodes = local ? 1 : 2,
                       .n_gpus = 1,
                       .ns = x.ns,
                       .value = x.value,
                       .bound_nodes = local ? 1 : 2,
                       .bound_gpus = 1,
                       .parts = mem_calloc(1, sizeof *a.parts),
                       .n_parts = 1};
    a.parts[0] = (struct answer_part){d->node, d->index, c->m->n_layers};
    pass_offer(p, &a);
}

/* Of equally good nodes the one whose RAM is smallest: one CPU is as fast as the next as far as
 * anyone knows. */
void single_cpu(struct pass *p)
{
    const struct scene *c = p->r->c;
    uint32_t n = c->m->n_layers, best = UINT32_MAX;
    int64_t least = 0, ns = c->single_ns[c->n_speeds - 1];
    int64_t ticks = objective_alone(p->o, c, c->n_speeds - 1);
    for (uint32_t i = 0; i < c->s->n_nodes && in_time(p, ns, ns); i++) {
        uint64_t ram = c->s->nodes[i].ram_free_bytes;
        if (c->nodes[i].why || ram < c->ram_cpu[n])
            continue;
        int64_t value = objective_single(p->o, c, UINT32_MAX, i, ticks);
        uint64_t had = best == UINT32_MAX ? 0 : c->s->nodes[best].ram_free_bytes;
        if (best == UINT32_MAX || value < least ||
            (value == least &&
             (ram < had || (ram == had && c->nodes[i].tag < c->nodes[best].tag)))) {
            best = i;
            least = value;
        }
    }
    if (best == UINT32_MAX)
        return;
    struct answer a = {.feasible = true,
                       .tier = TIER_CPU,
                       .main = best,
                       .n_nodes = 1,
                       .bound_nodes = 1,
                       .n_cpu = n,
                       .ns = ns,
                       .value = least};
    pass_offer(p, &a);
}
