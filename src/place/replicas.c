/* How many replicas of a model fit at most; see replicas.h. */
#include "place/replicas.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/scene.h"

/* The most of a measure per byte that any range of layers has, as a fraction; and the least that
 * any range needs. */
struct density {
    uint64_t much[CAP_COUNT], per[CAP_COUNT], whole[CAP_COUNT], least;
};

static void densest(struct density *d, const struct ranks *r, uint64_t need, uint32_t s, uint32_t e)
{
    d->least = need < d->least ? need : d->least;
    for (uint32_t c = 0; c < CAP_COUNT; c++) {
        uint64_t x = ranks_measure(r, c, e) - ranks_measure(r, c, s);
        if ((unsigned __int128)x * d->per[c] > (unsigned __int128)d->much[c] * need) {
            d->much[c] = x;
            d->per[c] = need;
        }
    }
}

static void density_of(const struct need *n, const struct ranks *r, uint64_t single,
                       struct density *d)
{
    *d = (struct density){.least = UINT64_MAX};
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        d->per[c] = 1;
    densest(d, r, single ? single : 1, 0, n->n + 1);
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        d->whole[c] = ranks_measure(r, c, n->n + 1);
    for (uint32_t s = 0; s < n->n; s++) {
        uint64_t peak = 0;
        int64_t extra = s == 0 && n->first_extra < 0 ? n->first_extra : 0;
        for (uint32_t e = s + 1; e <= n->n; e++) {
            peak = n->peak[e - 1] > peak ? n->peak[e - 1] : peak;
            uint64_t need = n->sum[e] - n->sum[s] + n->fixed + peak + (uint64_t)extra;
            densest(d, r, need ? need : 1, s, e);
            if (e == n->n)
                densest(d, r, need + n->head ? need + n->head : 1, s, e + 1);
        }
    }
}

/* On one device: one process, or several that share what is left after a second driver's share.
 * Alone on one GPU a model takes smaller buffers than the whole of it as a part would. */
static uint64_t device_most(const struct ranks *r, const struct density *d, uint64_t room,
                            uint64_t runtime, uint64_t single, uint32_t c)
{
    uint64_t one = ranks_caps(r, ranks_of(r, room))[c], whole = d->whole[c];
    one = room >= single && whole > one ? whole : one;
    if (room < runtime || (room - runtime) / 2 < d->least)
        return one;
    unsigned __int128 all = (unsigned __int128)(room - runtime) * d->much[c] / d->per[c];
    return all > one ? (uint64_t)all : one;
}

static uint64_t on_gpus(const struct scene *c)
{
    struct mode_opts o = {.mode = MODE_FULL, .gpus = true, .ignore_ram = true};
    struct mode_problem *p = mode_new(c, &o);
    struct ranks *r = ranks_new(&p->need);
    struct density d;
    uint64_t most = UINT64_MAX;
    density_of(&p->need, r, c->need_single, &d);
    for (uint32_t k = 0; k < CAP_COUNT; k++) {
        uint64_t have = 0, want = d.whole[k];
        for (uint32_t i = 0; i < c->n_dev && want; i++)
            if (!c->dev[i].why)
                have += device_most(r, &d, c->dev[i].room, c->s->runtime_bytes, c->need_single, k);
        if (want && have / want < most)
            most = have / want;
    }
    ranks_free(r);
    mode_free(p);
    return most;
}

/* Main processes that the nodes' RAM holds. */
static uint64_t mains(const struct scene *c)
{
    uint64_t each = c->ram_single < c->ram_multi ? c->ram_single : c->ram_multi, most = 0;
    for (uint32_t i = 0; i < c->s->n_nodes && each; i++)
        if (!c->nodes[i].why)
            most += c->s->nodes[i].ram_free_bytes / each;
    return each ? most : UINT64_MAX;
}

/* Wherever the layers are, in RAM or on GPUs: their bytes. */
static uint64_t anywhere(const struct scene *c)
{
    uint64_t have = 0, each = 0;
    for (uint32_t l = 0; l < c->m->n_layers; l++)
        each = num_add_sat(each, num_add_sat(c->m->layers[l].weights, c->m->layers[l].kv));
    for (uint32_t i = 0; i < c->n_dev; i++)
        if (!c->dev[i].why)
            have = num_add_sat(have, c->dev[i].room);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        if (!c->nodes[i].why)
            have = num_add_sat(have, c->s->nodes[i].ram_free_bytes);
    return each ? have / each : UINT64_MAX;
}

uint32_t replicas_most(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                       const struct estimate_model *m, uint32_t want)
{
    struct scene *c = scene_new(s, spec, m, NULL);
    if (!c)
        return want;
    uint64_t most = anywhere(c);
    if (spec->want.no_ram) {
        uint64_t gpus = on_gpus(c), main = mains(c);
        most = gpus < most ? gpus : most;
        most = main < most ? main : most;
    }
    scene_free(c);
    return most < want ? (uint32_t)most : want;
}
