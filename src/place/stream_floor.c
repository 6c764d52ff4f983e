/* What no plan's stream time is below: under a limit on stages each device holds a row of so many
 * layers, and those that a plan may have must hold them all. Counting alone, without a search. */
#include "place/pass.h"

#include "base/mem.h"
#include "place/times.h"

struct counting {
    const struct pass *p;
    const struct scene *c;
    uint32_t n, most;     /* layers; devices of a plan */
    int64_t *ns;          /* [speed][layer]: least that it adds to a stage */
    uint64_t *bytes;      /* [layer]: least that it takes of a GPU */
    uint32_t *rows;       /* [device of the scene]: layers in a row that its memory holds */
    uint32_t *near, *far; /* [speed]: layers in a row under the limit, local and remote */
    uint32_t *how_many;   /* [layers in a row]: devices that hold so many */
    int64_t way;          /* the least that a device elsewhere adds to its stage */
};

/* Experts in RAM leave their device the rest; what they take there is a stage of its own. */
static int64_t least_ns(const struct counting *x, uint32_t speed, uint32_t l)
{
    const struct estimate_layer *layer = &x->c->m->layers[l];
    int64_t ns = times_ns(times_layer(x->c->m, l, &x->c->speeds[speed], false));
    uint64_t kept = layer->weights - layer->experts;
    if (!x->p->ram || !layer->experts || kept >= layer->read)
        return ns;
    return (int64_t)((double)ns * (double)kept / (double)layer->read);
}

/* The longest row of layers whose figures sum to no more than most. */
static uint32_t row_of(const int64_t *each, uint32_t n, int64_t most)
{
    uint32_t start = 0, best = 0;
    int64_t sum = 0;
    for (uint32_t l = 0; l < n; l++) {
        sum += each[l];
        while (start <= l && sum > most)
            sum -= each[start++];
        best = l + 1 - start > best ? l + 1 - start : best;
    }
    return best;
}

static void count_init(struct counting *x, const struct pass *p)
{
    const struct scene *c = p->r->c;
    uint32_t n = c->m->n_layers;
    *x = (struct counting){.p = p, .c = c, .n = n, .most = n < c->max_devices ? n : c->max_devices};
    if (c->max_gpus && c->max_gpus < x->most)
        x->most = c->max_gpus;
    x->ns = mem_calloc((size_t)c->n_speeds * n + 1, sizeof *x->ns);
    x->rows = mem_calloc((size_t)c->n_dev + 1, sizeof *x->rows);
    x->near = mem_calloc(2 * (size_t)c->n_speeds, sizeof *x->near);
    x->far = x->near + c->n_speeds;
    x->how_many = mem_calloc((size_t)n + 1, sizeof *x->how_many);
    mem_auto int64_t *bytes = mem_calloc((size_t)n + 1, sizeof *bytes);
    for (uint32_t l = 0; l < n; l++) {
        const struct estimate_layer *y = &c->m->layers[l];
        bytes[l] =
            (int64_t)(scene_clamp(y->weights - (p->ram ? y->experts : 0)) + scene_clamp(y->kv));
        for (uint32_t s = 0; s < c->n_speeds; s++)
            x->ns[(size_t)s * n + l] = least_ns(x, s, l);
    }
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why)
            x->rows[i] = row_of(bytes, n, (int64_t)scene_clamp(c->dev[i].room));
    x->way = c->net_all.fixed;
    for (uint32_t i = 0; i < c->n_pairs; i++)
        x->way = c->pairs[i].net.fixed < x->way ? c->pairs[i].net.fixed : x->way;
}

static void count_done(struct counting *x)
{
    free(x->ns);
    free(x->rows);
    free(x->near);
    free(x->how_many);
}

/* What a node's devices hold beyond what they would elsewhere, as those of the main node. */
static uint64_t gain_of(const struct counting *x, const struct scene_node *n)
{
    uint64_t sum = 0, best = 0;
    for (uint32_t i = n->first; i < n->first + n->n_dev; i++) {
        uint32_t s = x->c->dev[i].speed, row = x->rows[i];
        uint32_t near = row < x->near[s] ? row : x->near[s],
                 far = row < x->far[s] ? row : x->far[s];
        sum += near - far;
        best = near - far > best ? near - far : best;
    }
    return sum < best * x->most ? sum : best * x->most;
}

/* Could stages of at most so long hold all layers? */
static bool may_hold(struct counting *x, int64_t most_ns)
{
    const struct scene *c = x->c;
    uint64_t held = 0, gain = 0;
    for (uint32_t s = 0; s < c->n_speeds; s++) {
        x->near[s] = row_of(x->ns + (size_t)s * x->n, x->n, most_ns);
        x->far[s] = most_ns < x->way ? 0 : row_of(x->ns + (size_t)s * x->n, x->n, most_ns - x->way);
    }
    for (uint32_t r = 0; r <= x->n; r++)
        x->how_many[r] = 0;
    for (uint32_t i = 0; i < c->n_dev; i++) {
        uint32_t far = x->far[c->dev[i].speed];
        x->how_many[x->rows[i] < far ? x->rows[i] : far]++;
    }
    for (uint32_t r = x->n, left = x->most; r > 0 && left; r--) {
        uint32_t take = x->how_many[r] < left ? x->how_many[r] : left;
        held += (uint64_t)take * r;
        left -= take;
    }
    for (uint32_t i = 0; i < c->s->n_nodes; i++) {
        uint64_t g = c->nodes[i].why ? 0 : gain_of(x, &c->nodes[i]);
        gain = g > gain ? g : gain;
    }
    bool cpu = x->p->ram || x->p->cpu;
    return held + gain + (cpu ? x->near[c->n_speeds - 1] : 0) >= x->n;
}

/* The least share of the whole that a stream can have. */
static int64_t least_share(const struct counting *x)
{
    bool cpu = x->p->ram || x->p->cpu;
    int64_t all = 0;
    for (uint32_t l = 0; l < x->n; l++) {
        int64_t least = INT64_MAX;
        for (uint32_t s = 0; s < x->c->n_speeds - !cpu; s++) {
            int64_t ns = x->ns[(size_t)s * x->n + l];
            least = ns < least ? ns : least;
        }
        all += least == INT64_MAX ? 0 : least;
    }
    return all / x->c->goal->streams;
}

int64_t stream_floor(const struct pass *p, int64_t hi)
{
    struct counting x;
    int64_t tick = p->o->tick_ns, lo = 0;
    bool far = (p->ram && !p->near_ram) || (p->cpu && !p->near_cpus); /* RAM elsewhere counts too */
    if (far)
        return 0;
    count_init(&x, p);
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (may_hold(&x, mid * tick + objective_slack_ns(p->o, p->r->c)))
            hi = mid;
        else
            lo = mid + 1;
    }
    int64_t share = least_share(&x) - objective_slack_ns(p->o, p->r->c);
    count_done(&x);
    share = share > 0 ? share / tick : 0;
    return share > lo ? share : lo;
}
