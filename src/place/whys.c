/* Each constraint asked alone; see whys.h. */
#include "place/whys.h"

#include "base/mem.h"
#include "place/trial.h"

#include <stddef.h>
#include <string.h>

/* Lists that leave nodes out, and those that leave GPUs out. */
static const size_t OF_NODES[] = {
    offsetof(struct constraints, nodes),
    offsetof(struct constraints, exclude_nodes),
    offsetof(struct constraints, labels),
    offsetof(struct constraints, anti_affinity),
};
static const size_t OF_GPUS[] = {
    offsetof(struct constraints, gpus),
    offsetof(struct constraints, gpu_types),
};

/* Nothing but the list at this place; false when it is empty. */
static bool alone(const struct constraints *from, size_t at, struct constraints *to)
{
    const struct name_list *l = (const void *)((const char *)from + at);
    *to = (struct constraints){0};
    memcpy((char *)to + at, l, sizeof *l);
    return l->n > 0;
}

/* As if every node was ready: its state would be the only reason told. */
static void ask_nodes(struct whys *w, const struct scene *c, struct constraints *one)
{
    struct cluster_snapshot s;
    mem_auto enum scene_why *why = mem_calloc(c->s->n_nodes + 1, sizeof *why);
    trial_snapshot(&s, c->s);
    for (uint32_t i = 0; i < s.n_nodes; i++)
        s.nodes[i].state = NODE_READY;
    for (size_t k = 0; k < ARRAY_LEN(OF_NODES); k++) {
        if (!alone(&c->spec->want, OF_NODES[k], one))
            continue;
        allow_nodes(&s, one, why);
        for (uint32_t i = 0; i < s.n_nodes; i++)
            w->node[i] |= why[i] ? 1u << why[i] : 0;
    }
    trial_snapshot_done(&s, c->s);
}

void whys_init(struct whys *w, const struct scene *c)
{
    mem_auto struct constraints *one = mem_calloc(1, sizeof *one);
    w->node = mem_calloc(c->s->n_nodes + 1, sizeof *w->node);
    w->dev = mem_calloc(c->n_dev + 1, sizeof *w->dev);
    for (uint32_t i = 0; i < c->s->n_nodes; i++)
        w->node[i] = c->nodes[i].why ? 1u << c->nodes[i].why : 0;
    ask_nodes(w, c, one);
    for (uint32_t i = 0; i < c->n_dev; i++)
        w->dev[i] = w->node[c->dev[i].node] | (c->dev[i].why ? 1u << c->dev[i].why : 0);
    for (size_t k = 0; k < ARRAY_LEN(OF_GPUS); k++) {
        if (!alone(&c->spec->want, OF_GPUS[k], one))
            continue;
        for (uint32_t i = 0; i < c->n_dev; i++) {
            const struct cluster_node *n = &c->s->nodes[c->dev[i].node];
            enum scene_why why = allow_gpu(one, n, &n->devices[c->dev[i].index]);
            w->dev[i] |= why ? 1u << why : 0;
        }
    }
}

void whys_done(struct whys *w)
{
    free(w->node);
    free(w->dev);
    *w = (struct whys){0};
}
