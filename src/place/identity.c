/* The name of a plan; see identity.h. */
#include "place/identity.h"

#include "base/str.h"
#include "place/objective.h"

#include <string.h>

#define SEED 0x73746f77616765u

static void mix(uint64_t *h, uint64_t x)
{
    *h = (*h ^ x) * 0x9e3779b97f4a7c15u;
    *h ^= *h >> 29;
}

static void mix_text(uint64_t *h, const char *s)
{
    size_t n = strlen(s);
    mix(h, n);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t x = 0;
        memcpy(&x, s + i, n - i < 8 ? n - i : 8);
        mix(h, x);
    }
}

static void mix_double(uint64_t *h, double d)
{
    uint64_t x;
    memcpy(&x, &d, sizeof x);
    mix(h, x);
}

static void mix_names(uint64_t *h, const struct name_list *l)
{
    mix(h, l->n);
    for (uint32_t i = 0; i < l->n; i++)
        mix_text(h, l->items[i]);
}

static bool counts(const struct scene *c, enum policy_term t)
{
    const struct policy *p = &c->goal->p;
    for (uint32_t i = 0; i < p->n_terms; i++)
        if (p->terms[i].term == t)
            return true;
    return false;
}

/* ---- the cluster ---- */

static void mix_device(uint64_t *h, const struct scene *c, const struct cluster_device *d)
{
    mix_text(h, d->uuid);
    mix_text(h, d->name);
    mix(h, d->index);
    mix(h, d->kind);
    mix(h, d->backend);
    mix(h, d->free_bytes);
    mix_double(h, d->bandwidth_bytes_per_s);
    mix(h, d->hbm);
    if (counts(c, TERM_LOAD) || counts(c, TERM_WHOLE)) {
        mix(h, d->total_bytes);
        mix(h, d->claimed_bytes > 0);
    }
    if (counts(c, TERM_POWER))
        mix(h, d->tdp_w);
    if (counts(c, TERM_PRICE))
        mix_double(h, d->price);
}

uint64_t identity_node(const struct scene *c, uint32_t node)
{
    const struct cluster_node *n = &c->s->nodes[node];
    uint64_t all = SEED, *h = &all;
    mix_text(h, n->id);
    mix_text(h, n->name);
    mix(h, n->state);
    mix(h, n->ram_free_bytes);
    for (uint32_t i = 0; i < n->n_devices; i++)
        mix_device(h, c, &n->devices[i]);
    bool labels = c->spec->want.labels.n || c->goal->p.domain[0];
    for (uint32_t i = 0; labels && i < n->n_labels; i++)
        mix_text(h, n->labels[i]);
    if (counts(c, TERM_LOCALITY))
        mix(h, (uint64_t)figure_node(c, TERM_LOCALITY, node));
    return all;
}

static void mix_instances(uint64_t *h, const struct scene *c)
{
    const struct cluster_snapshot *s = c->s;
    if (!c->spec->want.anti_affinity.n && !counts(c, TERM_SPREAD) && !counts(c, TERM_WHOLE))
        return;
    mix_text(h, c->spec->name);
    mix(h, s->n_instances);
    for (uint32_t i = 0; i < s->n_instances; i++) {
        const struct cluster_instance *x = &s->instances[i];
        mix_text(h, x->deployment);
        mix(h, x->main);
        mix(h, x->n_parts);
        for (uint32_t k = 0; k < x->n_parts; k++)
            mix(h, (uint64_t)x->parts[k].node << 32 | x->parts[k].device);
    }
}

static void mix_snapshot(uint64_t *h, const struct scene *c, const uint64_t *nodes)
{
    const struct cluster_snapshot *s = c->s;
    mix(h, s->margin_bytes);
    mix(h, s->runtime_bytes);
    mix(h, s->engine_devices);
    mix(h, s->n_nodes);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        mix(h, nodes ? nodes[i] : identity_node(c, i));
    for (uint32_t i = 0; i < s->n_links; i++) {
        mix(h, s->links[i].all ? UINT64_MAX : ((uint64_t)s->links[i].a << 32 | s->links[i].b));
        mix_double(h, s->links[i].bytes_per_s);
        mix_double(h, s->links[i].rtt_s);
    }
    mix_instances(h, c);
}

/* ---- the demand ---- */

static void mix_model(uint64_t *h, const struct estimate_model *m)
{
    mix(h, m->n_layers);
    for (uint32_t l = 0; l < m->n_layers; l++) {
        mix(h, m->layers[l].weights);
        mix(h, m->layers[l].experts);
        mix(h, m->layers[l].kv);
        mix(h, m->layers[l].peak);
        mix(h, m->layers[l].read);
    }
    mix(h, m->head);
    mix(h, m->host_embedding);
    mix(h, m->n_embd);
    mix(h, m->n_vocab);
    mix(h, m->opts.ctx);
    mix(h, m->opts.n_slots);
    mix(h, m->opts.ubatch);
    mix(h, m->opts.kv_k);
    mix(h, m->opts.kv_v);
}

static void mix_policy(uint64_t *h, const struct policy *p)
{
    mix_text(h, p->name);
    mix(h, p->weighted);
    mix(h, p->n_terms);
    for (uint32_t i = 0; i < p->n_terms; i++) {
        mix(h, p->terms[i].term);
        mix_double(h, p->weighted ? p->terms[i].weight : 0);
    }
    mix(h, p->streams);
    mix_text(h, p->domain);
}

static void mix_constraints(uint64_t *h, const struct constraints *w)
{
    const struct name_list *lists[] = {&w->nodes,  &w->exclude_nodes, &w->gpus,      &w->gpu_types,
                                       &w->labels, &w->anti_affinity, &w->keep_whole};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        mix_names(h, lists[i]);
    mix(h, w->gpus_per_replica);
    mix(h, w->max_nodes);
    mix(h, w->max_gpus);
    mix(h, w->min_ctx);
    mix_double(h, w->min_tok_s);
    mix(h, w->no_ram);
    mix(h, w->no_network);
    mix(h, w->n_split);
    for (uint32_t i = 0; i < w->n_split; i++)
        mix(h, w->split[i]);
}

void identity_set(const struct scene *c, const uint64_t *nodes, char dst[24])
{
    uint64_t h = SEED;
    mix_snapshot(&h, c, nodes);
    mix_model(&h, c->m);
    mix_policy(&h, &c->goal->p);
    mix_constraints(&h, &c->spec->want);
    str_copyf(dst, 24, "p-%012llx", (unsigned long long)(h >> 16));
}
