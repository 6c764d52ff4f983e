/* Planning again; see trial.h. */
#include "place/trial.h"

#include "base/mem.h"
#include "place/place_int.h"

#include <string.h>

/* Nodes that take part, the main one included; names are unique. */
static uint32_t nodes_of(const struct assignment *a)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        bool seen = strcmp(a->parts[i].node, a->main_node) == 0;
        for (uint32_t k = 0; k < i && !seen; k++)
            seen = strcmp(a->parts[i].node, a->parts[k].node) == 0;
        n += !seen;
    }
    return n;
}

static void fill(struct trial *t, const struct place_plan *p)
{
    *t = (struct trial){.fits = p->feasible, .sure = p->optimal, .tier = p->tier};
    if (!p->feasible)
        return;
    const struct assignment *a = &p->a;
    t->n_nodes = nodes_of(a);
    for (uint32_t i = 0; i < a->n_parts; i++)
        t->n_gpus += a->parts[i].uuid[0] != 0; /* of RAM it is empty */
    t->tok_s = a->tok_s;
    t->n_cpu = a->n_cpu_layers;
    t->n_moe = a->n_cpu_moe;
    STR_COPY(t->main, a->main_node);
}

bool trial_run(const struct cluster_snapshot *s, const struct deployment_spec *spec,
               const struct estimate_model *m, struct trials *all, struct trial *t)
{
    struct place_budget b = {.steps = all->left < TRIAL_STEPS ? all->left : TRIAL_STEPS,
                             .bare = true};
    bool run = all->left && all->n_run < TRIALS_MAX;
    *t = (struct trial){.sure = run, .tier = TIER_NONE};
    all->n_run++;
    struct place_plan *p = run ? place_model(s, spec, m, &b, NULL) : NULL;
    if (p) {
        fill(t, p);
        all->used += p->steps;
        all->left -= p->steps < all->left ? p->steps : all->left;
    }
    all->n_ended += !t->sure;
    place_free(p);
    return t->fits;
}

void trials_report(const struct trials *all, const char *list, struct place_plan *p)
{
    p->steps += all->used;
    if (!all->n_ended)
        return;
    struct note *n = note_str(notes_add(&p->remarks, NOTE_TRIALS_ENDED), WORD_LIST, list);
    note_num(note_num(n, WORD_SHOWN, all->n_ended), WORD_TOTAL, all->n_run);
}

struct deployment_spec *trial_spec(const struct deployment_spec *spec, enum place_tier tier)
{
    struct deployment_spec *d = mem_calloc(1, sizeof *d);
    *d = *spec;
    if (tier <= TIER_RAM)
        d->want.no_ram = true;
    if (tier <= TIER_NODES)
        d->want.max_nodes = 1;
    if (tier <= TIER_ONE_NODE)
        d->want.max_gpus = 1;
    return d;
}

void trial_snapshot(struct cluster_snapshot *to, const struct cluster_snapshot *from)
{
    *to = *from;
    to->nodes = mem_calloc(from->n_nodes + 1, sizeof *to->nodes);
    memcpy(to->nodes, from->nodes, from->n_nodes * sizeof *to->nodes);
}

void trial_snapshot_done(struct cluster_snapshot *s, const struct cluster_snapshot *from)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (s->nodes[i].devices != from->nodes[i].devices)
            free(s->nodes[i].devices);
    free(s->nodes);
}

struct cluster_node *trial_node(struct cluster_snapshot *s, const struct cluster_snapshot *from,
                                uint32_t node, uint32_t more)
{
    struct cluster_node *n = &s->nodes[node];
    const struct cluster_node *was = &from->nodes[node];
    if (n->devices != was->devices)
        free(n->devices);
    n->devices = mem_calloc((size_t)was->n_devices + more + 1, sizeof *n->devices);
    if (was->n_devices)
        memcpy(n->devices, was->devices, was->n_devices * sizeof *n->devices);
    n->n_devices = was->n_devices + more;
    return n;
}

void trial_note(struct note *n, const struct trial *t)
{
    uint64_t has = word_at(n->code)->params;
    if (has >> WORD_N_NODES & 1)
        note_num(n, WORD_N_NODES, t->n_nodes);
    if (has >> WORD_N_GPUS & 1)
        note_num(n, WORD_N_GPUS, t->n_gpus);
    if (has >> WORD_TOK_S & 1)
        note_real(n, WORD_TOK_S, t->tok_s);
}
