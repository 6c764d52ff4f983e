/* Where units could go: hosts, of alike ones as few as matter, and positions; see cart.h. */
#include "place/cart.h"

#include "base/mem.h"
#include "place/edit.h"

#include <string.h>

#define NONE UINT32_MAX

/* ---- kinds of nodes ---- */

static bool named_anywhere(const struct cart *c, const struct cluster_node *n)
{
    for (uint32_t i = 0; i < c->n_wishes; i++) {
        const struct constraints *w = &c->wishes[i].d.spec->want;
        const struct name_list *lists[] = {&w->nodes, &w->exclude_nodes, &w->keep_whole};
        for (size_t k = 0; k < ARRAY_LEN(lists); k++)
            if (name_list_has(lists[k], n->name) || name_list_has(lists[k], n->id))
                return true;
    }
    return false;
}

/* Whatever sets a node apart from every other: a link of its own, an instance, a mention. By node.
 */
static bool *find_singular(const struct cart *c)
{
    const struct cluster_snapshot *s = &c->s;
    bool *own = mem_calloc((size_t)s->n_nodes + 1, sizeof *own);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        own[i] = named_anywhere(c, &s->nodes[i]);
    for (uint32_t i = 0; i < s->n_links; i++)
        if (!s->links[i].all)
            own[s->links[i].a] = own[s->links[i].b] = true;
    for (uint32_t i = 0; i < s->n_instances; i++) {
        own[s->instances[i].main] = true;
        for (uint32_t k = 0; k < s->instances[i].n_parts; k++)
            own[s->instances[i].parts[k].node] = true;
    }
    return own;
}

bool cart_same_gpu(const struct cluster_device *a, const struct cluster_device *b)
{
    return a->kind == b->kind && a->free_bytes == b->free_bytes &&
           a->total_bytes == b->total_bytes && a->hbm == b->hbm && a->tdp_w == b->tdp_w &&
           a->price == b->price && a->bandwidth_bytes_per_s == b->bandwidth_bytes_per_s &&
           strcmp(a->name, b->name) == 0;
}

static bool same_node(const struct cluster_node *a, const struct cluster_node *b)
{
    if (a->ram_free_bytes != b->ram_free_bytes || a->n_devices != b->n_devices ||
        a->n_labels != b->n_labels || a->n_files != b->n_files)
        return false;
    for (uint32_t i = 0; i < a->n_devices; i++)
        if (!cart_same_gpu(&a->devices[i], &b->devices[i]))
            return false;
    for (uint32_t i = 0; i < a->n_labels; i++)
        if (strcmp(a->labels[i], b->labels[i]) != 0)
            return false;
    for (uint32_t i = 0; i < a->n_files; i++)
        if (strcmp(a->files[i], b->files[i]) != 0)
            return false;
    return true;
}

/* ---- hosts and positions ---- */

static struct cart_host *add_host(struct cart *c, struct err *err)
{
    if ((c->n_hosts + 1) * c->n_gpu_items > CART_POSITIONS)
        return err_null(err, ERR_LIMIT,
                        "GPUs could go to too many different nodes: more than %d places; name the "
                        "nodes with free slots in the price list (slots: {NODE: N})",
                        CART_POSITIONS);
    mem_grow(&c->hosts, &c->cap_hosts, (size_t)c->n_hosts + 1, sizeof *c->hosts);
    struct cart_host *h = &c->hosts[c->n_hosts++];
    *h = (struct cart_host){.node = NONE, .before = NONE};
    return h;
}

/* Nodes that are alike, as they are found. */
struct kinds {
    bool *own; /* by node: like no other */
    struct {
        uint32_t last, n; /* its last host, and how many: as many as a bundle has pieces */
    } * items;
    uint32_t n;
};

static bool of_kind(const struct cart *c, const struct kinds *k, uint32_t i, uint32_t node,
                    uint32_t slots)
{
    const struct cart_host *h = &c->hosts[k->items[i].last];
    return !k->own[h->node] && h->slots == slots &&
           same_node(&c->s.nodes[h->node], &c->s.nodes[node]);
}

static int add_node_host(struct cart *c, struct kinds *k, uint32_t node, uint32_t slots,
                         struct err *err)
{
    uint32_t i = k->own[node] ? k->n : 0;
    while (i < k->n && !of_kind(c, k, i, node, slots))
        i++;
    bool known = i < k->n;
    if (known && k->items[i].n == SIZE_PIECES)
        return 0;
    struct cart_host *h = add_host(c, err);
    if (!h)
        return -1;
    h->node = node;
    h->had = c->s.nodes[node].n_devices;
    h->slots = slots;
    h->before = known ? k->items[i].last : NONE;
    k->items[i].last = c->n_hosts - 1;
    k->items[i].n++;
    k->n += !known;
    return 0;
}

/* Free slots by node, or none where they are not given and the list has any. */
static uint32_t slots_of(const struct prices *p, const struct cluster_node *n)
{
    for (uint32_t i = 0; i < p->n_slots; i++)
        if (strcmp(p->slots[i].node, n->name) == 0 || strcmp(p->slots[i].node, n->id) == 0)
            return p->slots[i].n;
    return p->has_slots ? 0 : NONE;
}

static int add_existing(struct cart *c, struct err *err)
{
    const struct prices *p = c->prices;
    for (uint32_t i = 0; i < p->n_slots; i++)
        if (edit_find_node(&c->s, p->slots[i].node, err) == NONE) {
            err_wrap(err, "slots");
            return -1;
        }
    struct kinds k = {.own = find_singular(c)};
    k.items = mem_calloc(CART_POSITIONS + 1, sizeof *k.items);
    int rc = 0;
    for (uint32_t i = 0; i < c->s.n_nodes && c->n_gpu_items && !rc; i++) {
        uint32_t slots = slots_of(p, &c->s.nodes[i]);
        if (slots && c->s.nodes[i].state == NODE_READY)
            rc = add_node_host(c, &k, i, slots, err);
    }
    free(k.items);
    free(k.own);
    return rc;
}

static int add_bought(struct cart *c, struct err *err)
{
    for (uint32_t i = 0; i < c->prices->n_items && c->n_gpu_items; i++) {
        const struct price_item *it = &c->prices->items[i];
        for (uint32_t k = 0; it->node && it->slots && k < it->max; k++) {
            struct cart_host *h = add_host(c, err);
            if (!h)
                return -1;
            h->bought = true;
            h->item = i;
            h->nth = k;
            h->slots = it->slots;
            h->before = k ? c->n_hosts - 2 : NONE;
        }
    }
    return 0;
}

static void add_positions(struct cart *c)
{
    const struct prices *p = c->prices;
    c->at = mem_calloc((size_t)p->n_items + c->n_hosts * c->n_gpu_items + 1, sizeof *c->at);
    for (uint32_t i = 0; i < p->n_items; i++)
        if (p->items[i].node)
            c->at[c->n_at++] = (struct cart_position){i, NONE, p->items[i].price};
    for (uint32_t h = 0; h < c->n_hosts; h++) {
        c->hosts[h].first = c->n_at;
        for (uint32_t i = 0; i < p->n_items; i++)
            if (!p->items[i].node)
                c->at[c->n_at++] = (struct cart_position){i, h, p->items[i].price};
    }
}

int cart_find_places(struct cart *c, struct err *err)
{
    if (add_existing(c, err) || add_bought(c, err))
        return -1;
    add_positions(c);
    return 0;
}
