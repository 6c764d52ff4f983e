/* What to buy: against trying every bundle, and price lists that are refused. */
#include "place/size.h"

#include "arch/arch.h"
#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "model/model.h"
#include "place/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_PLACES = 16, MOST = 3 /* units in a bundle that is tried by hand */, TRIES = 80 };

/* ---- a random case ---- */

struct gpu {
    const char *name;
    unsigned gib, gb_s;
};
static const struct gpu GPUS[] = {
    {"RTX 3060", 12, 360}, {"RTX 4060 Ti", 16, 288}, {"RTX 3090", 24, 936}, {"A100", 40, 1555}};

struct item { /* of the list, as the brute force sees it */
    const struct gpu *gpu;
    unsigned price, max, in_node, slots;
    bool node;
};
struct world {
    struct cluster_snapshot s;
    struct deployment_spec *spec;
    struct place_wish wish;
    struct item items[3];
    unsigned n_items, slots[3];
    bool slots_known;
    struct prices *prices;
};

static void make_cluster(struct world *w, struct rng *r)
{
    snapshot_init(&w->s);
    uint32_t n = 1 + (uint32_t)rng_below(r, 2);
    bool twins = rng_below(r, 2);
    for (uint32_t i = 0; i < n; i++) {
        struct cluster_node *x = snapshot_add_node(&w->s);
        str_copyf(x->name, sizeof x->name, "n%u", i);
        STR_COPY(x->id, x->name);
        x->ram_bytes = x->ram_free_bytes = 64 * GIB;
        if (rng_below(r, 3) == 0 || (twins && i))
            continue;
        const struct gpu *g = &GPUS[rng_below(r, 2)];
        struct cluster_device d = {.kind = DEVICE_GPU,
                                   .total_bytes = g->gib * GIB,
                                   .bandwidth_bytes_per_s = g->gb_s * 1e9};
        STR_COPY(d.name, g->name);
        edit_add_gpu(x, &d);
    }
}

static void make_prices(struct world *w, struct rng *r)
{
    buf_auto struct buf b;
    struct err err = {0};
    buf_init(&b, 4096);
    w->n_items = 2 + (unsigned)rng_below(r, 2);
    buf_adds(&b, "schema: stowage.prices/1\ncurrency: EUR\nitems:\n");
    for (unsigned i = 0; i < w->n_items; i++) {
        struct item *it = &w->items[i];
        *it = (struct item){.gpu = &GPUS[rng_below(r, ARRAY_LEN(GPUS))],
                            .price = 100 + (unsigned)rng_below(r, 20) * 50,
                            .max = 1 + (unsigned)rng_below(r, 3),
                            .node = i && rng_below(r, 3) == 0};
        it->in_node = it->node ? (unsigned)rng_below(r, 3) : 0;
        it->slots = it->node ? (unsigned)rng_below(r, 2) : 0;
        const struct gpu *g = it->gpu;
        if (!it->node)
            buf_addf(&b,
                     "  - {name: item%u, price: %u, max: %u, memory: %uGiB, bandwidth: %uGB/s}\n",
                     i, it->price, it->max, g->gib, g->gb_s);
        else if (!it->in_node)
            buf_addf(&b,
                     "  - {name: item%u, kind: node, ram: 64GiB, price: %u, max: %u, slots: %u}\n",
                     i, it->price, it->max, it->slots);
        else
            buf_addf(&b,
                     "  - {name: item%u, kind: node, ram: 64GiB, price: %u, max: %u, slots: %u, "
                     "gpus: [{name: %s, memory: %uGiB, bandwidth: %uGB/s, count: %u}]}\n",
                     i, it->price, it->max, it->slots, g->name, g->gib, g->gb_s, it->in_node);
    }
    w->slots_known = rng_below(r, 2);
    if (w->slots_known) {
        buf_adds(&b, "slots: {");
        for (uint32_t i = 0; i < w->s.n_nodes; i++) {
            w->slots[i] = (unsigned)rng_below(r, 3);
            buf_addf(&b, "%sn%u: %u", i ? ", " : "", i, w->slots[i]);
        }
        buf_adds(&b, "}\n");
    }
    struct doc d;
    if (doc_parse(&d, "p.yaml", b.p, b.n, &err) || prices_read(&w->prices, &d, &err))
        fail_msg("%s\n%s", err.msg, b.p);
    doc_done(&d);
}

static void make_world(struct world *w, struct rng *r, const struct arch_facts *facts)
{
    static const uint32_t CTX[] = {2048, 8192, 32768, 131072};
    static const double SPEED[] = {0, 0, 20, 40, 80};
    *w = (struct world){.spec = mem_calloc(1, sizeof *w->spec)};
    make_cluster(w, r);
    make_prices(w, r);
    policy_preset(&w->spec->policy, "tiered", NULL);
    STR_COPY(w->spec->name, "m");
    STR_COPY(w->spec->kv, "f16");
    w->spec->n_slots = w->spec->replicas = 1;
    w->spec->ctx = CTX[rng_below(r, ARRAY_LEN(CTX))];
    w->spec->want.no_ram = rng_below(r, 2);
    w->spec->want.min_tok_s = SPEED[rng_below(r, ARRAY_LEN(SPEED))];
    w->wish.replicas = 1 + (uint32_t)(rng_below(r, 4) == 0);
    assert_int_equal(place_demand_init(&w->wish.d, facts, w->spec, NULL), 0);
}

static void world_done(struct world *w)
{
    snapshot_done(&w->s);
    prices_free(w->prices);
    free(w->spec);
}

/* ---- every bundle ---- */

struct place_of { /* one unit of an item: a node, or a GPU in a node that is there or bought */
    unsigned item;
    int node;            /* -1: a node is bought; below n_nodes: there; else bought */
    unsigned owner, nth; /* of a bought one: the item it is, and which */
};
struct brute {
    const struct world *w;
    struct place_of at[MAX_PLACES];
    unsigned n_at;
    unsigned count[MAX_PLACES];
    double best[8]; /* prices of minimal bundles that do, cheapest first */
    unsigned minimal[8][MAX_PLACES];
    unsigned n_best;
};

static void list_places(struct brute *b)
{
    const struct world *w = b->w;
    for (unsigned i = 0; i < w->n_items; i++) {
        if (w->items[i].node) {
            b->at[b->n_at++] = (struct place_of){i, -1, 0, 0};
            continue;
        }
        for (uint32_t n = 0; n < w->s.n_nodes; n++)
            b->at[b->n_at++] = (struct place_of){i, (int)n, 0, 0};
        for (unsigned k = 0; k < w->n_items; k++)
            for (unsigned nth = 0; w->items[k].node && nth < w->items[k].max && nth < MOST; nth++)
                if (b->n_at < MAX_PLACES)
                    b->at[b->n_at++] = (struct place_of){i, (int)w->s.n_nodes, k, nth};
    }
}

static unsigned bought(const struct brute *b, unsigned item)
{
    unsigned n = 0;
    for (unsigned p = 0; p < b->n_at; p++)
        n += b->at[p].item == item ? b->count[p] : 0;
    return n;
}

static bool allowed(const struct brute *b)
{
    const struct world *w = b->w;
    for (unsigned i = 0; i < w->n_items; i++)
        if (bought(b, i) > w->items[i].max)
            return false;
    for (unsigned p = 0; p < b->n_at; p++) {
        const struct place_of *x = &b->at[p];
        unsigned here = 0, slots = UINT32_MAX;
        if (!b->count[p] || x->node < 0)
            continue;
        for (unsigned q = 0; q < b->n_at; q++)
            if (b->at[q].node == x->node && b->at[q].owner == x->owner && b->at[q].nth == x->nth)
                here += b->count[q];
        if (x->node >= (int)w->s.n_nodes) {
            slots = w->items[x->owner].slots;
            if (bought(b, x->owner) <= x->nth)
                return false;
        } else if (w->slots_known) {
            slots = w->slots[x->node];
        }
        if (here > slots)
            return false;
    }
    return true;
}

static struct cluster_device card(const struct gpu *g)
{
    struct cluster_device d = {.kind = DEVICE_GPU,
                               .total_bytes = g->gib * GIB,
                               .bandwidth_bytes_per_s = g->gb_s * 1e9,
                               .hbm = device_name_is_hbm(g->name)};
    STR_COPY(d.name, g->name);
    return d;
}

static void buy_nodes(const struct brute *b, struct cluster_snapshot *s, uint32_t first[3])
{
    for (unsigned p = 0; p < b->n_at; p++) {
        const struct item *it = &b->w->items[b->at[p].item];
        if (b->at[p].node >= 0)
            continue;
        first[b->at[p].item] = s->n_nodes;
        for (unsigned k = 0; k < b->count[p]; k++) {
            struct cluster_node *n = snapshot_add_node(s);
            struct cluster_device d = card(it->gpu);
            str_copyf(n->name, sizeof n->name, "new%u-%u", b->at[p].item, k);
            STR_COPY(n->id, n->name);
            n->ram_bytes = n->ram_free_bytes = 64 * GIB;
            for (unsigned g = 0; g < it->in_node; g++)
                edit_add_gpu(n, &d);
        }
    }
}

static bool does(const struct brute *b)
{
    struct cluster_snapshot s;
    struct place_budget budget = {.no_changes = true, .bare = true};
    uint32_t first[3] = {0};
    snapshot_copy(&s, &b->w->s);
    buy_nodes(b, &s, first);
    for (unsigned p = 0; p < b->n_at; p++) {
        const struct place_of *x = &b->at[p];
        /* The item's own figures, its name is no card's. */
        struct cluster_device d = card(b->w->items[x->item].gpu);
        d.hbm = false;
        uint32_t node =
            x->node >= (int)b->w->s.n_nodes ? first[x->owner] + x->nth : (uint32_t)x->node;
        for (unsigned k = 0; x->node >= 0 && k < b->count[p]; k++)
            edit_add_gpu(&s.nodes[node], &d);
    }
    struct place_set *set = place_many(&s, &b->w->wish, 1, &budget, NULL);
    bool all = set->n_placed == set->n_items;
    assert_true(all || set->bound_placed < set->n_items); /* else the case proves nothing */
    place_set_free(set);
    snapshot_done(&s);
    return all;
}

static double price_of(const struct brute *b)
{
    double sum = 0;
    for (unsigned p = 0; p < b->n_at; p++)
        sum += b->count[p] * (double)b->w->items[b->at[p].item].price;
    return sum;
}

/* The cheapest price of all bundles of at most MOST units. */
static void try_all(struct brute *b, unsigned p, unsigned left, double *least)
{
    if (p == b->n_at) {
        double price = price_of(b);
        if (allowed(b) && price < *least && does(b))
            *least = price;
        return;
    }
    for (b->count[p] = 0; b->count[p] <= left; b->count[p]++)
        try_all(b, p + 1, left - b->count[p], least);
    b->count[p] = 0;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static unsigned units_of(const json_t *offer)
{
    const json_t *l;
    size_t i;
    unsigned n = 0;
    json_array_foreach(json_object_get(offer, "buy"), i, l) n += (unsigned)number(l, "count");
    return n;
}

/* Each offer is a plan of the cluster with its edits made, and with one unit less it is none. */
static void check_offer(const struct world *w, const json_t *offer)
{
    struct cluster_snapshot s;
    struct err err = {0};
    struct place_budget budget = {.no_changes = true, .bare = true};
    const json_t *e;
    size_t i;
    double sum = 0;
    snapshot_copy(&s, &w->s);
    json_array_foreach(json_object_get(offer, "edits"), i, e)
    {
        struct edit edit;
        if (edit_from_json(&edit, e, &err) || edit_apply(&s, &edit, &err))
            fail_msg("%s", err.msg);
    }
    struct place_set *set = place_many(&s, &w->wish, 1, &budget, NULL);
    assert_int_equal(set->n_placed, set->n_items);
    place_set_free(set);
    snapshot_done(&s);
    json_array_foreach(json_object_get(offer, "buy"), i, e) sum += number(e, "price");
    assert_true(sum > number(offer, "price") - 1e-6 && sum < number(offer, "price") + 1e-6);
}

/* `cheapest` of the brute force, over bundles of at most MOST units. */
static void compare(const struct world *w, const json_t *doc, double cheapest, int round)
{
    const json_t *offers = json_object_get(doc, "offers");
    const json_t *first = json_array_get(offers, 0);
    double last = 0;
    assert_true(json_is_true(json_object_get(doc, "optimal")));
    if (json_is_true(json_object_get(doc, "fits_now"))) {
        assert_true(cheapest == 0);
        return;
    }
    if (!first && cheapest < 1e9)
        fail_msg("round %d: nothing, but %.0f does", round, cheapest);
    if (first && (number(first, "price") > cheapest ||
                  (number(first, "price") < cheapest && units_of(first) <= MOST)))
        fail_msg("round %d: %.0f, by trying all %.0f", round, number(first, "price"), cheapest);
    for (size_t i = 0; i < json_array_size(offers); i++) {
        const json_t *o = json_array_get(offers, i);
        assert_true(number(o, "price") >= last);
        last = number(o, "price");
        check_offer(w, o);
    }
}

static void cheapest_by_trying_all(void **state)
{
    const char *root = getenv("STOWAGE_SOURCE");
    mem_auto char *path = mem_printf("%s/tests/data/models/%s.ggufh", root, "qwen2.5-32b-q4_k_m");
    struct arch_facts *facts = model_facts(path, NULL, NULL);
    struct rng r = {20260101};
    int bought_some = 0, none = 0, now = 0;
    assert_non_null(facts);
    for (int i = 0; i < TRIES; i++) {
        struct world w;
        struct err err = {0};
        double cheapest = 1e9;
        make_world(&w, &r, facts);
        json_auto_t *doc = size_answer(&w.s, &w.wish, 1, w.prices, 0, &err);
        if (!doc)
            fail_msg("round %d: %s", i, err.msg);
        struct brute b = {.w = &w};
        list_places(&b);
        try_all(&b, 0, MOST, &cheapest);
        compare(&w, doc, cheapest, i);
        now += cheapest == 0;
        none += cheapest >= 1e9;
        bought_some += cheapest > 0 && cheapest < 1e9;
        world_done(&w);
    }
    print_message("# %d fit as they are, %d after buying, %d not with %d units\n", now, bought_some,
                  none, MOST);
    assert_true(bought_some >= TRIES / 5);
    arch_free(facts);
}

/* A search that ends early says so, with a bound that holds. */
static void bounds_hold(void **state)
{
    static const char LIST[] = "schema: stowage.prices/1\nitems:\n"
                               "  - {name: small, memory: 6GiB, bandwidth: 300GB/s, price: 90}\n"
                               "  - {name: mid, memory: 8GiB, bandwidth: 300GB/s, price: 130}\n"
                               "  - {name: large, memory: 12GiB, bandwidth: 300GB/s, price: 210}\n";
    const char *root = getenv("STOWAGE_SOURCE");
    mem_auto char *path = mem_printf("%s/tests/data/models/%s.ggufh", root, "llama-3.3-70b-q4_k_m");
    struct arch_facts *facts = model_facts(path, NULL, NULL);
    struct rng r = {7};
    struct world w;
    struct doc d;
    struct err err = {0};
    assert_non_null(facts);
    make_world(&w, &r, facts);
    prices_free(w.prices);
    assert_int_equal(doc_parse(&d, "p.yaml", LIST, strlen(LIST), &err), 0);
    assert_int_equal(prices_read(&w.prices, &d, &err), 0);
    doc_done(&d);
    w.spec->want = (struct constraints){.no_ram = true};
    w.spec->ctx = 8192;
    w.wish.replicas = 1;
    assert_int_equal(place_demand_init(&w.wish.d, facts, w.spec, NULL), 0);
    json_auto_t *full = size_answer(&w.s, &w.wish, 1, w.prices, 0, &err);
    assert_true(json_is_true(json_object_get(full, "optimal")));
    double cheapest = number(json_array_get(json_object_get(full, "offers"), 0), "price");
    assert_true(cheapest > 0);
    uint64_t steps = (uint64_t)number(full, "steps");
    for (uint64_t part = 2; part <= 64; part *= 2) {
        json_auto_t *cut = size_answer(&w.s, &w.wish, 1, w.prices, steps / part, &err);
        const json_t *first = json_array_get(json_object_get(cut, "offers"), 0);
        bool sure = json_is_true(json_object_get(cut, "optimal"));
        assert_true(number(cut, "bound") <= cheapest);
        if (first)
            assert_true(sure ? number(first, "price") == cheapest
                             : number(first, "price") >= cheapest);
        if (!sure && first)
            assert_true(json_is_false(json_object_get(first, "minimal")));
    }
    world_done(&w);
    arch_free(facts);
}

static void price_lists_are_checked(void **state)
{
    static const struct {
        const char *text, *says;
    } CASES[] = {
        {"items: []\n", "p.yaml:1: 'schema' is missing"},
        {"schema: stowage.cluster/1\nitems: []\n", "stowage.prices/1"},
        {"schema: stowage.prices/1\n", "'items' is missing"},
        {"schema: stowage.prices/1\nitems: []\n", "p.yaml:2: items: a price list needs"},
        {"schema: stowage.prices/1\nitem: []\n", "p.yaml:2: unknown key 'item'"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 0}\n",
         "p.yaml:3: items[0]: 'price' must be above 0"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: -1}\n", "p.yaml:3: items[0].price"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: .nan}\n",
         "p.yaml:3: items[0].price"},
        {"schema: stowage.prices/1\nitems:\n- {name: a}\n", "items[0]: 'price' is missing"},
        {"schema: stowage.prices/1\nitems:\n- {price: 3}\n", "items[0]: 'name' is missing"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, prise: 3}\n", "did you mean 'price'?"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, kind: gpus}\n",
         "did you mean 'gpu'?"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, memory: 24GB/s}\n",
         "items[0].memory"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, memory: 9PiB}\n",
         "items[0].memory"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, max: 0}\n", "items[0].max"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, max: 65}\n", "items[0].max"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, ram: 64GiB}\n",
         "an item of kind gpu has no 'ram'"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, kind: node}\n",
         "a node needs its 'ram'"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, kind: node, ram: 1GiB, memory: "
         "1GiB}\n",
         "an item of kind node has no 'memory'"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3, kind: node, ram: 1GiB, gpus: "
         "[{name: x, count: 33}, {name: y, count: 32}]}\n",
         "more than 64 GPUs"},
        {"schema: stowage.prices/1\nitems:\n- {name: a, price: 3}\n- {name: a, price: 4}\n",
         "p.yaml:4: items[1]: two items are named 'a'"},
        {"schema: stowage.prices/1\nitems: [{name: a, price: 3}]\nslots: {hill: many}\n",
         "p.yaml:3: slots.hill"},
        {"schema: stowage.prices/1\nitems: [{name: a, price: 3}]\nslots: {hill: 99}\n", "0 to 64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct prices *p = NULL;
        struct doc d;
        struct err err = {0};
        if (doc_parse(&d, "p.yaml", CASES[i].text, strlen(CASES[i].text), &err) == 0)
            prices_read(&p, &d, &err);
        if (err.code != ERR_INVALID || !strstr(err.msg, CASES[i].says))
            fail_msg("%s: '%s'", CASES[i].text, err.msg);
        assert_null(p);
        doc_done(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cheapest_by_trying_all),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(price_lists_are_checked),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
