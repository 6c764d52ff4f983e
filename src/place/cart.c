/* Positions, bundles and the question whether models fit with them; see cart.h. */
#include "place/cart.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "place/edit.h"

#include <stdio.h>
#include <string.h>

#define NONE UINT32_MAX
enum {
    PLAN_STEPS = 1 << 17, /* what a plan costs beside its search */
    ALL_MAX = 1 << 14,    /* units of everything that are put in at once */
};

/* ---- bytes ---- */

static uint64_t room(const struct cart *c, const struct cluster_device *d)
{
    uint64_t kept = num_add_sat(c->s.margin_bytes, c->s.runtime_bytes);
    return d->free_bytes > kept ? d->free_bytes - kept : 0;
}

/* What all layers need wherever they are, or 0 where that says nothing of GPUs. */
static int count_need(struct cart *c, struct err *err)
{
    for (uint32_t i = 0; i < c->n_wishes; i++) {
        const struct place_wish *w = &c->wishes[i];
        struct estimate_model *m = estimate_new(w->d.facts, &w->d.opts, err);
        if (!m)
            return -1;
        uint64_t bytes = m->head;
        for (uint32_t l = 0; l < m->n_layers; l++)
            bytes = num_add_sat(bytes, num_add_sat(m->layers[l].weights, m->layers[l].kv));
        estimate_free(m);
        if (w->d.spec->want.no_ram && !w->d.spec->want.min_ctx)
            c->need_bytes = num_add_sat(c->need_bytes, num_mul_sat(bytes, w->replicas));
    }
    return 0;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static void count_have(struct cart *c)
{
    uint64_t instances = 0, span = c->s.engine_devices ? c->s.engine_devices : CLUSTER_MAX_DEVICES;
    size_t total = 0;
    for (uint32_t i = 0; i < c->n_wishes; i++)
        instances += c->wishes[i].replicas;
    uint64_t most = num_mul_sat(instances, span);
    c->most_gpus = most < CLUSTER_MAX_DEVICES ? (uint32_t)most : CLUSTER_MAX_DEVICES;
    for (uint32_t i = 0; i < c->s.n_nodes; i++)
        total += c->s.nodes[i].n_devices;
    c->rooms = mem_calloc(total + 1, sizeof *c->rooms);
    for (uint32_t i = 0; i < c->s.n_nodes; i++)
        for (uint32_t k = 0; k < c->s.nodes[i].n_devices; k++)
            c->rooms[c->n_rooms++] = room(c, &c->s.nodes[i].devices[k]);
    qsort(c->rooms, c->n_rooms, sizeof *c->rooms, descending);
    c->n_rooms = c->n_rooms < c->most_gpus ? c->n_rooms : c->most_gpus;
}

/* The rooms of a unit of an item: returns how many. */
static uint32_t unit_rooms(const struct cart *c, uint32_t item, uint32_t k, uint64_t *bytes)
{
    const struct price_item *it = &c->prices->items[item];
    uint32_t n = it->node ? it->n_gpus : 1;
    if (k < n)
        *bytes = room(c, it->node ? &c->inside[item][k] : &c->gpus[item]);
    return n;
}

/* The least that one more byte among the GPUs in use costs, when a GPU that is bought takes the
 * place of one of `least` bytes. */
static double byte_price(const struct cart *c, uint64_t least)
{
    double best = 0;
    for (uint32_t i = 0; i < c->prices->n_items; i++) {
        uint64_t gain = 0, bytes = 0;
        for (uint32_t k = 0; k < unit_rooms(c, i, k, &bytes); k++)
            gain = num_add_sat(gain, bytes > least ? bytes - least : 0);
        double one = gain ? c->prices->items[i].price / (double)gain : 0;
        if (one > 0 && (best <= 0 || one < best))
            best = one;
    }
    return best;
}

/* Whatever is missing costs at least the cheapest byte's price; a hair less against rounding. */
double cart_floor(const struct cart *c, const struct bundle *b)
{
    uint64_t bytes = 0, have = 0;
    size_t n = c->n_rooms, bought = 0;
    if (!c->need_bytes)
        return b->price;
    for (uint32_t i = 0; i < b->n; i++)
        bought += unit_rooms(c, c->at[b->at[i]].item, UINT32_MAX, &bytes);
    mem_auto uint64_t *all = mem_calloc(n + bought + 1, sizeof *all);
    memcpy(all, c->rooms, n * sizeof *all);
    for (uint32_t i = 0; i < b->n; i++)
        for (uint32_t k = 0; k < unit_rooms(c, c->at[b->at[i]].item, k, &bytes); k++)
            all[n++] = bytes;
    if (n > c->most_gpus)
        qsort(all, n, sizeof *all, descending);
    bool full = n >= c->most_gpus;
    n = full ? c->most_gpus : n;
    for (size_t i = 0; i < n; i++)
        have = num_add_sat(have, all[i]);
    if (c->need_bytes <= have)
        return b->price;
    return b->price +
           (double)(c->need_bytes - have) * byte_price(c, full && n ? all[n - 1] : 0) * (1 - 1e-9);
}

/* ---- making and freeing ---- */

static int complete(struct cart *c, struct err *err)
{
    const struct prices *p = c->prices;
    c->gpus = mem_calloc(p->n_items, sizeof *c->gpus);
    c->inside = mem_calloc(p->n_items, sizeof *c->inside);
    for (uint32_t i = 0; i < p->n_items; i++) {
        const struct price_item *it = &p->items[i];
        c->inside[i] = mem_calloc((size_t)it->n_gpus + 1, sizeof *c->inside[i]);
        c->gpus[i] = it->gpu;
        c->n_gpu_items += !it->node;
        int rc = it->node ? 0 : edit_complete_gpu(&c->s, &c->gpus[i], err);
        for (uint32_t k = 0; k < it->n_gpus && !rc; k++) {
            c->inside[i][k] = it->gpus[k];
            rc = edit_complete_gpu(&c->s, &c->inside[i][k], err);
        }
        if (rc) {
            err_wrap(err, "item '%s'", it->name);
            return -1;
        }
    }
    return 0;
}

int cart_init(struct cart *c, const struct cluster_snapshot *s, const struct place_wish *wishes,
              uint32_t n, const struct prices *prices, struct err *err)
{
    *c = (struct cart){.prices = prices, .wishes = wishes, .n_wishes = n};
    snapshot_copy(&c->s, s);
    c->had_nodes = s->n_nodes;
    for (uint32_t i = 0; i < n; i++)
        if (wishes[i].d.spec->want.gpus.n)
            return err_set(err, ERR_INVALID,
                           "the GPUs that may be used are listed (gpus), so none "
                           "that is bought could be; leave the list out");
    if (complete(c, err) || cart_find_places(c, err) || count_need(c, err))
        return -1;
    count_have(c);
    return 0;
}

void cart_done(struct cart *c)
{
    for (uint32_t i = 0; c->inside && i < c->prices->n_items; i++)
        free(c->inside[i]);
    free(c->inside);
    free(c->gpus);
    free(c->rooms);
    free(c->hosts);
    free(c->at);
    snapshot_done(&c->s);
    *c = (struct cart){0};
}

/* ---- bundles ---- */

static uint32_t count_at(const struct bundle *b, uint32_t p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        n += b->at[i] == p;
    return n;
}

static uint32_t count_item(const struct cart *c, const struct bundle *b, uint32_t item)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        n += c->at[b->at[i]].item == item;
    return n;
}

static uint32_t count_host(const struct cart *c, const struct bundle *b, uint32_t host)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        n += c->at[b->at[i]].host == host;
    return n;
}

/* Of alike nodes the first gets most, item by item: the others are the same bundle, renamed. Items
 * before p's are final for its host, and all are for the host before. */
static bool in_order(const struct cart *c, const struct bundle *b, uint32_t p)
{
    const struct cart_host *h = &c->hosts[c->at[p].host];
    if (h->before == NONE)
        return true;
    uint32_t other = c->hosts[h->before].first;
    for (uint32_t q = h->first; q <= p; q++) {
        uint32_t mine = count_at(b, q), his = count_at(b, other + (q - h->first));
        if (mine != his)
            return mine < his;
    }
    return true;
}

bool cart_add(const struct cart *c, struct bundle *b, uint32_t p)
{
    const struct cart_position *x = &c->at[p];
    if (b->n == SIZE_PIECES || count_item(c, b, x->item) >= c->prices->items[x->item].max)
        return false;
    if (x->host != NONE) {
        const struct cart_host *h = &c->hosts[x->host];
        uint32_t here = count_host(c, b, x->host), has = 0;
        if (!h->bought)
            has = h->had;
        else if (count_item(c, b, h->item) <= h->nth)
            return false;
        if (here >= h->slots || has + here >= CLUSTER_MAX_NODE_DEVICES)
            return false;
    }
    b->at[b->n++] = (uint16_t)p;
    b->price += x->price;
    if (x->host == NONE || in_order(c, b, p))
        return true;
    b->n--;
    b->price -= x->price;
    return false;
}

/* ---- with a bundle in ---- */

static void bought_name(const struct cart *c, uint32_t item, uint32_t nth, char *dst, size_t cap)
{
    str_copyf(dst, cap, "%.40s-%u", c->prices->items[item].name, nth + 1);
    for (char *p = dst; *p; p++)
        if (*p == ' ' || *p == ':' || *p == ',')
            *p = '-';
}

/* The nth node of an item, with the hosts that it is. */
static void add_node(struct cart *c, uint32_t item, uint32_t nth)
{
    const struct price_item *it = &c->prices->items[item];
    struct cluster_node *n = snapshot_add_node(&c->s);
    bought_name(c, item, nth, n->name, sizeof n->name);
    STR_COPY(n->id, n->name);
    n->ram_bytes = n->ram_free_bytes = it->ram_bytes;
    for (uint32_t k = 0; k < it->n_gpus; k++)
        edit_add_gpu(n, &c->inside[item][k]);
    for (uint32_t h = 0; h < c->n_hosts; h++)
        if (c->hosts[h].bought && c->hosts[h].item == item && c->hosts[h].nth == nth)
            c->hosts[h].node = c->s.n_nodes - 1;
}

/* Nodes come before GPUs among positions, so a host is there before what goes into it. */
static void put_in(struct cart *c, const struct bundle *b)
{
    uint32_t nth = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct cart_position *x = &c->at[b->at[i]];
        nth = i && b->at[i - 1] == b->at[i] ? nth + 1 : 0;
        if (x->host == NONE)
            add_node(c, x->item, nth);
        else
            edit_add_gpu(&c->s.nodes[c->hosts[x->host].node], &c->gpus[x->item]);
    }
}

/* As many of everything everywhere as one bundle could have: more than any. False: too much. */
static bool put_in_all(struct cart *c)
{
    uint64_t total = 0;
    for (uint32_t p = 0; p < c->n_at; p++) {
        const struct cart_position *x = &c->at[p];
        uint32_t n = c->prices->items[x->item].max;
        if (x->host != NONE && c->hosts[x->host].slots < n)
            n = c->hosts[x->host].slots;
        total += n;
        if (total > ALL_MAX)
            return false;
        for (uint32_t k = 0; k < n; k++)
            if (x->host == NONE)
                add_node(c, x->item, k);
            else
                edit_add_gpu(&c->s.nodes[c->hosts[x->host].node], &c->gpus[x->item]);
    }
    return true;
}

/* Leaves the cluster as it was. */
static void take_out(struct cart *c)
{
    while (c->s.n_nodes > c->had_nodes)
        node_done(&c->s.nodes[--c->s.n_nodes]);
    for (uint32_t h = 0; h < c->n_hosts; h++)
        if (!c->hosts[h].bought)
            c->s.nodes[c->hosts[h].node].n_devices = c->hosts[h].had;
}

static bool alone(const struct cart *c)
{
    return c->n_wishes == 1 && c->wishes[0].replicas == 1;
}

static int fits_alone(struct cart *c, struct err *err)
{
    struct place_budget b = {.no_changes = true, .bare = true};
    struct place_plan *p = place_plan(&c->s, &c->wishes[0].d, &b, err);
    if (!p)
        return -1;
    int fits = p->feasible;
    c->steps += p->steps;
    c->unsure |= !p->feasible && !p->optimal;
    place_free(p);
    return fits;
}

static int fits_all(struct cart *c, struct err *err)
{
    struct place_budget b = {.no_changes = true, .bare = true};
    struct place_set *p = place_many(&c->s, c->wishes, c->n_wishes, &b, err);
    if (!p)
        return -1;
    int fits = p->n_placed == p->n_items;
    c->steps += p->steps;
    c->unsure |= !fits && p->bound_placed == p->n_items;
    place_set_free(p);
    return fits;
}

static int try_now(struct cart *c, struct err *err)
{
    c->n_plans++;
    c->steps += PLAN_STEPS;
    return alone(c) ? fits_alone(c, err) : fits_all(c, err);
}

int cart_fits(struct cart *c, const struct bundle *b, struct err *err)
{
    put_in(c, b);
    int rc = try_now(c, err);
    take_out(c);
    return rc;
}

int cart_hopeless(struct cart *c, struct err *err)
{
    int fits = put_in_all(c) ? try_now(c, err) : 1;
    take_out(c);
    return fits < 0 ? -1 : !fits;
}

json_t *cart_plan(struct cart *c, const struct bundle *b, struct err *err)
{
    struct place_budget budget = {.no_changes = true};
    put_in(c, b);
    json_t *doc = NULL;
    if (alone(c)) {
        struct place_plan *p = place_plan(&c->s, &c->wishes[0].d, &budget, err);
        doc = p ? place_to_json(p) : NULL;
        place_free(p);
    } else {
        struct place_set *p = place_many(&c->s, c->wishes, c->n_wishes, &budget, err);
        doc = p ? place_set_to_json(p, c->wishes) : NULL;
        place_set_free(p);
    }
    take_out(c);
    return doc;
}

/* ---- for people ---- */

static void gpu_words(const struct cluster_device *d, char *dst, size_t cap)
{
    char memory[40], rate[40];
    num_fmt_unit(memory, sizeof memory, NUM_BYTES, (double)d->total_bytes);
    num_fmt_unit(rate, sizeof rate, NUM_RATE, d->bandwidth_bytes_per_s);
    str_copyf(dst, cap, "%s %s%s%s", d->name, memory, d->bandwidth_bytes_per_s > 0 ? " " : "",
              d->bandwidth_bytes_per_s > 0 ? rate : "");
}

static void put_edit(json_t *edits, enum edit_op op, const char *what)
{
    struct edit e = {.op = op};
    STR_COPY(e.what, what);
    json_array_append_new(edits, edit_to_json(&e));
}

static void put_node(const struct cart *c, uint32_t item, uint32_t nth, json_t *edits)
{
    const struct price_item *it = &c->prices->items[item];
    char name[CLUSTER_NAME], gpu[CLUSTER_NAME + 96], ram[40];
    buf_auto struct buf text;
    buf_init(&text, EDIT_TEXT);
    bought_name(c, item, nth, name, sizeof name);
    buf_addf(&text, "%s: ram %s", name,
             num_fmt_unit(ram, sizeof ram, NUM_BYTES, (double)it->ram_bytes));
    for (uint32_t k = 0, n; k < it->n_gpus; k += n) {
        for (n = 1;
             k + n < it->n_gpus && cart_same_gpu(&c->inside[item][k], &c->inside[item][k + n]);)
            n++;
        gpu_words(&c->inside[item][k], gpu, sizeof gpu);
        buf_addf(&text, ", %ux %s", n, gpu);
    }
    put_edit(edits, EDIT_ADD_NODE, text.p);
}

static void put_gpus(const struct cart *c, const struct cart_position *x, uint32_t n, json_t *edits)
{
    const struct cart_host *h = &c->hosts[x->host];
    char name[CLUSTER_NAME], gpu[CLUSTER_NAME + 96], text[EDIT_TEXT];
    if (!h->bought)
        STR_COPY(name, c->s.nodes[h->node].name);
    else
        bought_name(c, h->item, h->nth, name, sizeof name);
    gpu_words(&c->gpus[x->item], gpu, sizeof gpu);
    str_copyf(text, sizeof text, "%s: %ux %s", name, n, gpu);
    put_edit(edits, EDIT_ADD, text);
}

void cart_put(const struct cart *c, const struct bundle *b, json_t *offer)
{
    json_put_double(offer, "price", b->price);
    json_t *lines = json_put_array(offer, "buy"), *edits = json_put_array(offer, "edits");
    for (uint32_t i = 0, n; i < b->n; i += n) {
        const struct cart_position *x = &c->at[b->at[i]];
        for (n = 1; i + n < b->n && b->at[i + n] == b->at[i];)
            n++;
        json_t *o = json_add_object(lines);
        json_put_str(o, "item", c->prices->items[x->item].name);
        json_put_u64(o, "count", n);
        json_put_double(o, "price", x->price * n);
        if (x->host == NONE) {
            for (uint32_t k = 0; k < n; k++)
                put_node(c, x->item, k, edits);
            continue;
        }
        char name[CLUSTER_NAME];
        const struct cart_host *h = &c->hosts[x->host];
        if (!h->bought)
            STR_COPY(name, c->s.nodes[h->node].name);
        else
            bought_name(c, h->item, h->nth, name, sizeof name);
        json_put_str(o, "node", name);
        put_gpus(c, x, n, edits);
    }
}
