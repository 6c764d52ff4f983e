/* Figures and constraints of single plans; see brute_policy.h. */
#include "place/brute_policy.h"

#include "base/mem.h"
#include "base/num.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct cluster_device *device_of(const struct brute_wish *w,
                                              const struct brute_plan_gpu *g)
{
    return &w->s->nodes[g->node].devices[g->index];
}

/* ---- constraints ---- */

static bool names_node(const struct name_list *l, const struct cluster_node *n)
{
    return name_list_has(l, n->name) || name_list_has(l, n->id);
}

static bool names_gpu(const struct name_list *l, const struct cluster_node *n,
                      const struct cluster_device *d)
{
    char name[CONSTRAINT_NAME];
    snprintf(name, sizeof name, "%.60s:%u", n->name, d->index);
    return name_list_has(l, name) || name_list_has(l, d->uuid);
}

static bool names_type(const struct name_list *l, const struct cluster_device *d)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (strncasecmp(l->items[i], d->name, strlen(l->items[i])) == 0)
            return true;
    return false;
}

static bool kept_apart(const struct brute_wish *w, uint32_t node)
{
    for (uint32_t i = 0; i < w->s->n_instances; i++) {
        const struct cluster_instance *x = &w->s->instances[i];
        bool here = x->main == node;
        for (uint32_t k = 0; k < x->n_parts; k++)
            here = here || x->parts[k].node == node;
        if (here && name_list_has(&w->spec->want.anti_affinity, x->deployment))
            return true;
    }
    return false;
}

static bool node_allowed(const struct brute_wish *w, const struct brute_candidate *c, uint32_t node)
{
    const struct constraints *want = &w->spec->want;
    const struct cluster_node *n = &w->s->nodes[node];
    uint32_t have = 0;
    for (uint32_t i = 0; i < want->labels.n; i++) {
        bool has = false;
        for (uint32_t k = 0; k < n->n_labels; k++)
            has = has || strcmp(n->labels[k], want->labels.items[i]) == 0;
        if (!has)
            return false;
    }
    for (uint32_t i = 0; i < c->n_gpus; i++)
        have += c->gpu[i].node == node;
    return n->state == NODE_READY && (!want->nodes.n || names_node(&want->nodes, n)) &&
           !names_node(&want->exclude_nodes, n) && !kept_apart(w, node) &&
           (!names_node(&want->keep_whole, n) || !have || have == n->n_devices);
}

static bool gpu_allowed(const struct brute_wish *w, const struct brute_candidate *c,
                        const struct brute_plan_gpu *g)
{
    const struct constraints *want = &w->spec->want;
    const struct cluster_node *n = &w->s->nodes[g->node];
    const struct cluster_device *d = device_of(w, g);
    bool alone = c->n_gpus == 1 && c->tier != TIER_RAM;
    return (!want->gpus.n || names_gpu(&want->gpus, n, d)) &&
           (!want->gpu_types.n || names_type(&want->gpu_types, d)) &&
           (alone || (!names_gpu(&want->keep_whole, n, d) && !names_type(&want->keep_whole, d)));
}

bool brute_allowed(const struct brute_wish *w, const struct brute_candidate *c)
{
    const struct constraints *want = &w->spec->want;
    uint32_t span = w->s->engine_devices, g = c->n_gpus;
    /* RAM of other nodes counts as one of the devices asked for, where GPUs take part. */
    bool ok = (!want->max_nodes || c->n_nodes <= want->max_nodes) &&
              (!want->max_gpus || !g || g + c->n_ram <= want->max_gpus) &&
              (!want->gpus_per_replica || (g == want->gpus_per_replica && !c->n_ram)) &&
              (!want->no_network || c->n_nodes == 1) && (!span || g + c->n_ram <= span) &&
              (!want->no_ram || c->tier < TIER_RAM) &&
              (want->min_tok_s <= 0 || (double)c->ns * want->min_tok_s <= 1e9);
    for (uint32_t i = 0; i < c->n_nodes && ok; i++)
        ok = node_allowed(w, c, c->node[i]);
    for (uint32_t i = 0; i < c->n_gpus && ok; i++)
        ok = gpu_allowed(w, c, &c->gpu[i]);
    return ok;
}

/* ---- figures ---- */

static int64_t gib_up(uint64_t bytes)
{
    return (int64_t)((bytes + GIB - 1) / GIB);
}

static bool ours(const struct brute_wish *w, const struct brute_plan_gpu *g)
{
    if (device_of(w, g)->claimed_bytes)
        return true;
    for (uint32_t i = 0; i < w->s->n_instances; i++)
        for (uint32_t k = 0; k < w->s->instances[i].n_parts; k++)
            if (w->s->instances[i].parts[k].node == g->node &&
                w->s->instances[i].parts[k].device == g->index)
                return true;
    return false;
}

static int64_t of_gpu(const struct brute_wish *w, const struct brute_candidate *c,
                      enum policy_term t, const struct brute_plan_gpu *g)
{
    const struct cluster_device *d = device_of(w, g);
    uint64_t taken = w->s->margin_bytes + w->s->runtime_bytes;
    if (t == TERM_POWER)
        return d->tdp_w;
    if (t == TERM_PRICE)
        return llround(d->price * 100);
    if (c->tier > TIER_NODES)
        return 0;
    return t == TERM_GPUS       ? 1
           : t == TERM_LEFTOVER ? gib_up(d->free_bytes > taken ? d->free_bytes - taken : 0)
           : ours(w, g)         ? 0
                                : gib_up(d->total_bytes);
}

static const char *domain_of(const struct cluster_node *n, const char *key)
{
    for (uint32_t i = 0; i < n->n_labels; i++)
        if (key[0] && strncmp(n->labels[i], key, strlen(key)) == 0 &&
            n->labels[i][strlen(key)] == '=')
            return n->labels[i] + strlen(key) + 1;
    return n->id;
}

static int64_t replicas_near(const struct brute_wish *w, const struct cluster_node *n)
{
    const char *key = w->spec->policy.domain, *mine = domain_of(n, key);
    int64_t count = 0;
    for (uint32_t i = 0; i < w->s->n_instances; i++) {
        const struct cluster_instance *x = &w->s->instances[i];
        bool near = strcmp(domain_of(&w->s->nodes[x->main], key), mine) == 0;
        for (uint32_t k = 0; k < x->n_parts; k++)
            near = near || strcmp(domain_of(&w->s->nodes[x->parts[k].node], key), mine) == 0;
        count += near && strcmp(x->deployment, w->spec->name) == 0;
    }
    return count;
}

static int64_t load_of(const struct cluster_node *n)
{
    uint64_t total = 0, used = 0;
    for (uint32_t i = 0; i < n->n_devices; i++) {
        const struct cluster_device *d = &n->devices[i];
        total += d->total_bytes;
        used += d->free_bytes < d->total_bytes ? d->total_bytes - d->free_bytes : 0;
    }
    return total ? (int64_t)(((__int128)used * 100 + total - 1) / total) : 0;
}

static int64_t to_move(const struct brute_wish *w, const struct cluster_node *n)
{
    for (uint32_t i = 0; i < n->n_files; i++)
        if (strcmp(n->files[i], w->spec->model) == 0)
            return 0;
    return (int64_t)((w->m->file_bytes + MIB - 1) / MIB);
}

static int64_t of_node(const struct brute_wish *w, enum policy_term t, uint32_t node)
{
    const struct cluster_node *n = &w->s->nodes[node];
    return t == TERM_NODES ? 1 : t == TERM_SPREAD ? replicas_near(w, n) : load_of(n);
}

static int64_t amount_of(const struct brute_wish *w, const struct brute_candidate *c,
                         enum policy_term t)
{
    int64_t sum = 0, streams = w->spec->policy.streams ? w->spec->policy.streams : 1;
    int64_t share = (c->ns + streams - 1) / streams;
    switch (t) {
    case TERM_OFFLOAD:
        return c->tier == TIER_CPU ? 2 : c->tier == TIER_RAM;
    case TERM_TOKEN_TIME:
        return c->ns;
    case TERM_STREAM_TIME:
        return share > c->stage ? share : c->stage;
    case TERM_HOPS:
        return c->hops;
    case TERM_LOCALITY:
        return to_move(w, &w->s->nodes[c->main]);
    case TERM_NODES:
    case TERM_SPREAD:
    case TERM_LOAD:
        for (uint32_t i = 0; i < c->n_nodes; i++)
            sum += of_node(w, t, c->node[i]);
        return sum;
    default:
        for (uint32_t i = 0; i < c->n_gpus; i++)
            sum += of_gpu(w, c, t, &c->gpu[i]);
        return sum;
    }
}

static double resolution(enum policy_term t)
{
    return t == TERM_TOKEN_TIME || t == TERM_STREAM_TIME ? 1e6 : t == TERM_PRICE ? 100 : 1;
}

static bool has_term(const struct brute_worth *x, enum policy_term t)
{
    for (uint32_t i = 0; i < x->n; i++)
        if (x->term[i] == t)
            return true;
    return false;
}

/* Leftover at the end, after time, is a preference and not compared. */
void brute_worth(const struct brute_wish *w, const struct brute_candidate *c,
                 struct brute_worth *out)
{
    static const enum policy_term ENDS[] = {TERM_NODES, TERM_GPUS, TERM_TOKEN_TIME};
    const struct policy *p = &w->spec->policy;
    *out = (struct brute_worth){0};
    for (uint32_t i = 0; i < p->n_terms; i++) {
        enum policy_term t = p->terms[i].term;
        bool preference = !p->weighted && t == TERM_LEFTOVER && i + 1 == p->n_terms &&
                          has_term(out, TERM_TOKEN_TIME);
        if (!preference)
            out->term[out->n++] = t;
    }
    for (uint32_t i = 0; i < 3; i++)
        if (!has_term(out, ENDS[i]))
            out->term[out->n++] = ENDS[i];
    for (uint32_t i = 0; i < out->n; i++) {
        out->amount[i] = amount_of(w, c, out->term[i]);
        if (p->weighted && i < p->n_terms)
            out->sum += p->terms[i].weight * (double)out->amount[i] / resolution(out->term[i]);
    }
}

int brute_compare(const struct brute_wish *w, const struct brute_worth *a,
                  const struct brute_worth *b)
{
    if (w->spec->policy.weighted && a->sum != b->sum)
        return a->sum < b->sum ? -1 : 1;
    for (uint32_t i = 0; i < a->n; i++)
        if (a->amount[i] != b->amount[i])
            return a->amount[i] < b->amount[i] ? -1 : 1;
    return 0;
}

/* ---- random ones ---- */

static void add_instance(struct cluster_snapshot *s, struct rng *r)
{
    struct cluster_instance *x = snapshot_add_instance(s);
    uint32_t node = (uint32_t)rng_below(r, s->n_nodes);
    snprintf(x->deployment, sizeof x->deployment, "%s", rng_below(r, 2) ? "chat" : "embed");
    x->main = (uint32_t)rng_below(r, s->n_nodes);
    x->parts = mem_calloc(1, sizeof *x->parts);
    x->n_parts = 1;
    x->parts[0].node = node;
    x->parts[0].device = s->nodes[node].n_devices ? 0 : UINT32_MAX;
}

void brute_dress(struct cluster_snapshot *s, struct rng *r)
{
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        struct cluster_node *n = &s->nodes[i];
        n->labels = mem_calloc(2, sizeof *n->labels);
        n->n_labels = 2;
        snprintf(n->labels[0], sizeof n->labels[0], "rack=%u", (unsigned)rng_below(r, 2));
        snprintf(n->labels[1], sizeof n->labels[1], "zone=%c", 'a' + (int)rng_below(r, 2));
        n->files = mem_calloc(1, sizeof *n->files);
        n->n_files = 1;
        n->files[0] = mem_strdup(rng_below(r, 2) ? "/models/this.gguf" : "/models/that.gguf");
        for (uint32_t k = 0; k < n->n_devices; k++) {
            struct cluster_device *d = &n->devices[k];
            d->tdp_w = 50 * (uint32_t)(1 + rng_below(r, 8));
            d->price = 0.25 * (double)(1 + rng_below(r, 12));
            d->total_bytes = d->free_bytes + rng_below(r, 3) * 2 * GIB;
            d->claimed_bytes = d->total_bytes > d->free_bytes ? GIB : 0;
        }
    }
    for (uint64_t i = rng_below(r, 4); i > 0; i--)
        add_instance(s, r);
}

void brute_policy(struct policy *p, struct rng *r)
{
    uint64_t kind = rng_below(r, 10);
    uint32_t presets = 0;
    while (policy_preset_name(presets))
        presets++;
    if (kind < 6) {
        policy_preset(p, policy_preset_name((uint32_t)rng_below(r, presets)), NULL);
        return;
    }
    *p = (struct policy){.name = "own", .weighted = kind > 8};
    enum policy_term all[TERM_COUNT];
    for (uint32_t i = 0; i < TERM_COUNT; i++)
        all[i] = (enum policy_term)i;
    for (uint64_t i = 1 + rng_below(r, 5), left = TERM_COUNT; i > 0; i--, left--) {
        uint64_t at = rng_below(r, left);
        p->terms[p->n_terms].weight = 0.5 * (double)(1 + rng_below(r, 20));
        p->terms[p->n_terms++].term = all[at];
        all[at] = all[left - 1];
    }
    p->streams = (uint32_t)rng_below(r, 9);
    if (rng_below(r, 2))
        snprintf(p->domain, sizeof p->domain, "rack");
}

static void add(struct name_list *l, const char *name)
{
    snprintf(l->items[l->n++], sizeof l->items[0], "%s", name);
}

static void lists(const struct cluster_snapshot *s, struct constraints *c, struct rng *r)
{
    const struct cluster_node *n = &s->nodes[rng_below(r, s->n_nodes)];
    char gpu[CONSTRAINT_NAME];
    const struct cluster_device *d = n->n_devices ? &n->devices[0] : NULL;
    switch (rng_below(r, 8)) {
    case 0:
        add(&c->exclude_nodes, n->name);
        break;
    case 1:
        for (uint32_t i = 0; i < s->n_nodes; i++)
            if (&s->nodes[i] != n)
                add(&c->nodes, s->nodes[i].id);
        break;
    case 2:
        add(&c->labels, n->labels[rng_below(r, 2)]);
        break;
    case 3:
        add(&c->anti_affinity, "chat");
        break;
    case 4:
        add(&c->keep_whole, n->name);
        break;
    case 5:
        if (d)
            add(&c->keep_whole, rng_below(r, 2) ? d->name : d->uuid);
        break;
    case 6:
        if (d)
            add(&c->gpu_types, d->name);
        break;
    default:
        for (uint32_t i = 0; i < s->n_nodes; i++)
            for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
                if (rng_below(r, 3)) {
                    snprintf(gpu, sizeof gpu, "%.60s:%u", s->nodes[i].name, k);
                    add(&c->gpus, gpu);
                }
    }
}

void brute_constraints(const struct cluster_snapshot *s, struct constraints *c, struct rng *r)
{
    c->no_ram = rng_below(r, 3) == 0;
    c->max_gpus = rng_below(r, 5) ? 0 : 1 + (uint32_t)rng_below(r, 5);
    c->max_nodes = rng_below(r, 8) ? 0 : 1 + (uint32_t)rng_below(r, 2);
    c->no_network = rng_below(r, 12) == 0;
    c->gpus_per_replica = rng_below(r, 10) ? 0 : 1 + (uint32_t)rng_below(r, 4);
    if (c->max_gpus && c->gpus_per_replica > c->max_gpus)
        c->gpus_per_replica = c->max_gpus;
    c->min_tok_s = rng_below(r, 8) ? 0 : 1 + 200 * rng_unit(r);
    if (rng_below(r, 3) == 0)
        lists(s, c, r);
}
