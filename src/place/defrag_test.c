/* Moves that make room: against trying every set of up to two instances, every order and every way
 * to place each; and by hand. */
#include "place/defrag.h"

#include "base/mem.h"
#include "base/num.h"
#include "place/hold.h"
#include "place/pack_brute.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_INSTANCES = 4 };

struct world {
    struct cluster_snapshot s;
    struct estimate_model *m[MAX_INSTANCES + 1];
    struct deployment_spec *spec[MAX_INSTANCES + 1];
    struct place_wish wish[MAX_INSTANCES + 1]; /* by instance; the pending one last */
    struct pb_way at[MAX_INSTANCES];           /* where they are */
    uint32_t n;
};

static void world_done(struct world *w)
{
    for (uint32_t i = 0; i <= w->n; i++) {
        estimate_free(w->m[i]);
        free(w->spec[i]);
    }
    snapshot_done(&w->s);
}

static void add_model(struct world *w, uint32_t i, struct estimate_model *m)
{
    struct deployment_spec *d = w->spec[i] = mem_calloc(1, sizeof *d);
    assert_int_equal(policy_preset(&d->policy, "tiered", NULL), 0);
    snprintf(d->name, sizeof d->name, "m%u", i);
    w->m[i] = m;
    w->wish[i] = (struct place_wish){.d = {.spec = d}, .m = m, .replicas = 1};
}

/* An instance at a way, with its bytes taken. */
static void settle(struct world *w, uint32_t i, const struct pb_way *way)
{
    struct cluster_instance *x = snapshot_add_instance(&w->s);
    snprintf(x->id, sizeof x->id, "r%u", i);
    snprintf(x->deployment, sizeof x->deployment, "m%u", i);
    x->parts = mem_calloc(PB_DEV, sizeof *x->parts);
    for (uint32_t n = 0; n < w->s.n_nodes; n++) {
        if (way->use[PB_DEV + n]) {
            x->main = n;
            x->main_ram_bytes = way->use[PB_DEV + n];
        }
        for (uint32_t d = 0; d < w->s.nodes[n].n_devices; d++)
            if (way->use[pb_slot(&w->s, n, d)])
                x->parts[x->n_parts++] = (struct cluster_instance_part){
                    .node = n, .device = d, .bytes = way->use[pb_slot(&w->s, n, d)]};
    }
    w->at[i] = *way;
    assert_int_equal(hold_take(&w->s, x, NULL), 0);
}

static bool random_world(struct world *w, struct rng *r)
{
    memset(w, 0, sizeof *w);
    uint32_t want = 1 + (uint32_t)rng_below(r, MAX_INSTANCES);
    uint64_t bytes = 0;
    struct estimate_model *m[MAX_INSTANCES + 1];
    for (uint32_t i = 0; i <= want; i++) {
        m[i] = pb_model(r, 2 + (uint32_t)rng_below(r, i < want ? 2 : 3));
        bytes += pb_model_bytes(m[i]);
    }
    pb_cluster(r, bytes * (60 + rng_below(r, 50)) / 100, 5, &w->s);
    for (uint32_t i = 0; i < want; i++) {
        struct pb_ways ways;
        add_model(w, w->n, m[i]);
        pb_ways(&w->s, w->spec[w->n], m[i], &ways);
        if (ways.n) {
            settle(w, w->n, &ways.items[rng_below(r, ways.n)]);
            w->s.instances[w->n].pinned = rng_below(r, 8) == 0;
            w->n++;
        } else {
            estimate_free(m[i]);
            free(w->spec[w->n]);
        }
        free(ways.items);
    }
    add_model(w, w->n, m[want]);
    w->spec[w->n]->want.no_ram = true;
    w->spec[w->n]->want.max_nodes = (uint32_t)rng_below(r, 2);
    return w->n > 0;
}

/* ---- trying everything ---- */

struct plan {
    bool found;
    uint32_t moves, downs;
    uint64_t bytes;
};

struct trial {
    const struct world *w;
    struct pb_ways ways[MAX_INSTANCES + 1]; /* on a cluster without any instance */
    uint64_t room[PB_SLOTS];
};

static bool fits(const struct trial *t, const struct pb_way *way)
{
    for (uint32_t i = 0; i < PB_SLOTS; i++)
        if (way->use[i] > t->room[i])
            return false;
    return true;
}

static void add(struct trial *t, const struct pb_way *way, bool give)
{
    for (uint32_t i = 0; i < PB_SLOTS; i++)
        t->room[i] += give ? way->use[i] : -way->use[i];
}

/* The rest of a sequence: item[k..n) moved in this order, then the pending one. */
static bool run(struct trial *t, const uint32_t *item, const bool *down, uint32_t k, uint32_t n)
{
    const struct pb_ways *ways = &t->ways[k < n ? item[k] : t->w->n];
    bool done = false;
    if (k < n && down[k])
        add(t, &t->w->at[item[k]], true);
    for (uint32_t i = 0; i < ways->n && !done; i++) {
        if (!fits(t, &ways->items[i]))
            continue;
        if (k == n)
            return true;
        add(t, &ways->items[i], false);
        if (!down[k])
            add(t, &t->w->at[item[k]], true);
        done = run(t, item, down, k + 1, n);
        if (!down[k])
            add(t, &t->w->at[item[k]], false);
        add(t, &ways->items[i], true);
    }
    if (k < n && down[k])
        add(t, &t->w->at[item[k]], false);
    return done;
}

static uint64_t load_bytes(const struct estimate_model *m)
{
    uint64_t sum = m->head + m->shared + m->host_embedding;
    for (uint32_t i = 0; i < m->n_layers; i++)
        sum += m->layers[i].weights;
    return sum;
}

static void offer(struct trial *t, const uint32_t *item, uint32_t n, struct plan *best)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += load_bytes(t->w->m[item[i]]);
    for (uint32_t mask = 0; mask < 1u << n; mask++) {
        bool down[2] = {mask & 1, mask >> 1 & 1};
        uint32_t downs = (uint32_t)__builtin_popcount(mask);
        bool better =
            !best->found || bytes < best->bytes || (bytes == best->bytes && downs < best->downs);
        if (better && run(t, item, down, 0, n))
            *best = (struct plan){true, n, downs, bytes};
    }
}

/* The best plan with at most two moves. */
static struct plan exhaust(const struct world *w)
{
    struct plan best = {0};
    struct trial t = {.w = w};
    struct cluster_snapshot empty;
    snapshot_copy(&empty, &w->s);
    for (uint32_t i = 0; i < w->n; i++)
        hold_give(&empty, &w->s.instances[i]);
    for (uint32_t i = 0; i <= w->n; i++)
        pb_ways(&empty, w->spec[i], w->m[i], &t.ways[i]);
    pb_room(&w->s, t.room);
    offer(&t, NULL, 0, &best);
    for (uint32_t a = 0; a < w->n && (!best.found || best.moves > 0); a++)
        if (!w->s.instances[a].pinned)
            offer(&t, &a, 1, &best);
    for (uint32_t a = 0; a < w->n && (!best.found || best.moves > 1); a++)
        for (uint32_t b = 0; b < w->n; b++) {
            uint32_t item[2] = {a, b};
            if (a != b && !w->s.instances[a].pinned && !w->s.instances[b].pinned)
                offer(&t, item, 2, &best);
        }
    for (uint32_t i = 0; i <= w->n; i++)
        free(t.ways[i].items);
    snapshot_done(&empty);
    return best;
}

/* Every step is good on the state it finds. */
static void check_steps(const struct world *w, const struct place_defrag *d)
{
    struct cluster_snapshot s;
    struct err err = {0};
    uint64_t bytes = 0;
    snapshot_copy(&s, &w->s);
    for (uint32_t i = 0; i < d->n_moves; i++) {
        const struct defrag_move *m = &d->moves[i];
        struct cluster_instance *old = &w->s.instances[m->instance], held = {0};
        assert_false(old->pinned);
        if (m->down_time)
            hold_give(&s, old);
        assert_true(m->plan->tier < TIER_RAM);
        if (place_validate_model(&s, w->spec[m->instance], w->m[m->instance], &m->plan->a, &err))
            fail_msg("move %u: %s", i, err.msg);
        assert_int_equal(hold_of(&s, NULL, &m->plan->a, &held, &err), 0);
        assert_int_equal(hold_take(&s, &held, &err), 0);
        if (!m->down_time)
            hold_give(&s, old);
        assert_int_equal(m->bytes, load_bytes(w->m[m->instance]));
        bytes += m->bytes;
        hold_done(&held);
    }
    assert_int_equal(bytes, d->bytes);
    if (d->feasible && place_validate_model(&s, w->spec[w->n], w->m[w->n], &d->pending->a, &err))
        fail_msg("pending: %s", err.msg);
    snapshot_done(&s);
}

static void test_exhaustive(void **state)
{
    const char *times = getenv("PLACE_TEST_TIMES");
    uint32_t n = 400 * (times ? (uint32_t)strtoul(times, NULL, 10) : 1);
    uint32_t by_moves[DEFRAG_MOVES + 2] = {0}, proved = 0, with_down = 0;
    struct rng r = {5};
    for (uint32_t i = 0; i < n; i++) {
        struct world w;
        struct err err = {0};
        if (!random_world(&w, &r)) {
            world_done(&w);
            continue;
        }
        struct plan best = exhaust(&w);
        struct place_defrag *d = place_defrag_models(&w.s, w.wish, &w.wish[w.n], NULL, &err);
        if (!d)
            fail_msg("case %u: %s", i, err.msg);
        check_steps(&w, d);
        uint32_t downs = 0;
        for (uint32_t k = 0; k < d->n_moves; k++)
            downs += d->moves[k].down_time;
        bool within = d->feasible && d->n_moves <= 2;
        if (within != best.found ||
            (within && (d->n_moves != best.moves || d->bytes != best.bytes ||
                        (d->proved && downs != best.downs))))
            fail_msg("case %u: %s %u moves %llu bytes %u down; want %s %u %llu %u", i,
                     d->feasible ? "yes" : "no", d->n_moves, (unsigned long long)d->bytes, downs,
                     best.found ? "yes" : "no", best.moves, (unsigned long long)best.bytes,
                     best.downs);
        by_moves[d->feasible ? d->n_moves : DEFRAG_MOVES + 1]++;
        proved += d->proved;
        with_down += downs > 0;
        place_defrag_free(d);
        world_done(&w);
    }
    printf("# moves 0: %u, 1: %u, 2: %u, 3: %u, none: %u; %u proved, %u with down time\n",
           by_moves[0], by_moves[1], by_moves[2], by_moves[3], by_moves[4], proved, with_down);
    assert_true(by_moves[1] > n / 20 && by_moves[2] > n / 200 && with_down > n / 100);
}

/* ---- by hand ---- */

enum { LAYERS = 4 };

/* Four equal layers of 1 GiB. */
static struct estimate_model *even_model(uint64_t layer_bytes)
{
    struct rng r = {1};
    struct estimate_model *m = pb_model(&r, LAYERS);
    for (uint32_t i = 0; i < LAYERS; i++) {
        m->layers[i] = (struct estimate_layer){.weights = layer_bytes, .read = layer_bytes};
        m->layers[i].peak = m->layers[i].peak_bare = 10 * MIB;
    }
    m->head = m->head_read = m->head_host = 10 * MIB;
    m->first_extra = m->shared = 0;
    return m;
}

/* One node with cards of so many GiB. */
static void world_init(struct world *w, const uint32_t *gib, uint32_t n)
{
    memset(w, 0, sizeof *w);
    snapshot_init(&w->s);
    w->s.margin_bytes = w->s.runtime_bytes = 64 * MIB;
    struct cluster_node *node = snapshot_add_node(&w->s);
    snprintf(node->name, sizeof node->name, "hill");
    snprintf(node->id, sizeof node->id, "hill");
    node->ram_bytes = node->ram_free_bytes = 64 * GIB;
    for (uint32_t i = 0; i < n; i++) {
        struct cluster_device *d = node_add_device(node);
        d->index = i;
        snprintf(d->uuid, sizeof d->uuid, "gpu-%u", i);
        d->total_bytes = d->free_bytes = gib[i] * GIB + 900 * MIB;
        d->bandwidth_bytes_per_s = 936e9;
    }
}

static uint64_t most_used(const struct pb_way *w)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < PB_DEV; i++)
        most = w->use[i] > most ? w->use[i] : most;
    return most;
}

/* A model of so many GiB on so many cards, this one among them, evenly. */
static void run_on(struct world *w, uint32_t gib, uint32_t n_cards, uint32_t card)
{
    struct pb_ways ways;
    const struct pb_way *best = NULL;
    add_model(w, w->n, even_model(gib * GIB / LAYERS));
    pb_ways(&w->s, w->spec[w->n], w->m[w->n], &ways);
    for (uint32_t i = 0; i < ways.n; i++) {
        const struct pb_way *x = &ways.items[i];
        if (x->g == n_cards && x->use[card] && (!best || most_used(x) < most_used(best)))
            best = x;
    }
    assert_non_null(best);
    settle(w, w->n++, best);
    free(ways.items);
}

static void want(struct world *w, uint32_t gib)
{
    add_model(w, w->n, even_model(gib * GIB / LAYERS));
    w->spec[w->n]->want.no_ram = true;
    w->spec[w->n]->want.max_gpus = 1;
}

static struct place_defrag *defrag(struct world *w)
{
    struct err err = {0};
    struct place_defrag *d = place_defrag_models(&w->s, w->wish, &w->wish[w->n], NULL, &err);
    if (!d)
        fail_msg("%s", err.msg);
    check_steps(w, d);
    return d;
}

/* 8 GiB are wanted on one card; 4, 4 and 2 are in use on cards of 8, 8 and 6. */
static void test_one_move(void **state)
{
    static const uint32_t CARDS[] = {8, 8, 6};
    struct world w;
    world_init(&w, CARDS, 3);
    run_on(&w, 4, 1, 0);
    run_on(&w, 4, 1, 1);
    run_on(&w, 2, 1, 2);
    want(&w, 8);
    struct place_defrag *d = defrag(&w);
    assert_true(d->feasible && d->proved);
    assert_int_equal(d->n_moves, 1);
    assert_int_equal(d->excluded, 1);
    assert_false(d->moves[0].down_time);
    assert_true(d->moves[0].instance < 2);
    assert_non_null(notes_find(&d->proof, NOTE_MOVES_FEWEST));
    place_defrag_free(d);
    /* With one of the two pinned it is the other one. */
    for (uint32_t i = 0; i < 2; i++) {
        w.s.instances[i].pinned = true;
        w.s.instances[1 - i].pinned = false;
        d = defrag(&w);
        assert_int_equal(d->n_moves, 1);
        assert_int_equal(d->moves[0].instance, 1 - i);
        place_defrag_free(d);
    }
    world_done(&w);
}

/* Half on each of two cards: the whole fits one of them once it is stopped. */
static void test_down_time(void **state)
{
    static const uint32_t CARDS[] = {5, 5};
    struct world w;
    world_init(&w, CARDS, 2);
    run_on(&w, 4, 2, 0);
    want(&w, 5);
    struct place_defrag *d = defrag(&w);
    assert_true(d->feasible && d->proved);
    assert_int_equal(d->n_moves, 1);
    assert_true(d->moves[0].down_time);
    assert_int_equal(d->moves[0].plan->a.n_parts, 1);
    place_defrag_free(d);
    world_done(&w);
}

static void test_no_plan(void **state)
{
    static const uint32_t CARDS[] = {8, 8};
    struct world w;
    world_init(&w, CARDS, 2);
    run_on(&w, 6, 1, 0);
    run_on(&w, 6, 1, 1);
    want(&w, 4);
    struct place_defrag *d = defrag(&w);
    assert_true(!d->feasible && d->proved);
    assert_int_equal(d->n_moves, 0);
    assert_int_equal(d->excluded, DEFRAG_MOVES + 1);
    assert_int_equal(d->n_movable, 2);
    assert_true(d->pending->summary.code != NOTE_NONE);
    const struct note *n = notes_find(&d->proof, NOTE_MOVES_NO_PLAN);
    assert_non_null(n);
    assert_int_equal(note_num_of(n, WORD_MOVES), DEFRAG_MOVES);
    json_auto_t *doc = place_defrag_to_json(d, &w.s);
    assert_string_equal(json_string_value(json_object_get(doc, "schema")), "stowage.defrag/1");
    assert_true(json_is_false(json_object_get(doc, "feasible")));
    assert_int_equal(json_array_size(json_object_get(doc, "moves")), 0);
    place_defrag_free(d);
    /* A budget that ends at once is said. */
    struct place_budget budget = {.steps = 1};
    d = place_defrag_models(&w.s, w.wish, &w.wish[w.n], &budget, NULL);
    assert_true(!d->feasible && !d->proved);
    assert_non_null(notes_find(&d->proof, NOTE_MOVES_OPEN));
    place_defrag_free(d);
    world_done(&w);
}

static void test_document(void **state)
{
    static const uint32_t CARDS[] = {8, 8, 6};
    struct world w;
    world_init(&w, CARDS, 3);
    run_on(&w, 4, 1, 0);
    run_on(&w, 4, 1, 1);
    want(&w, 8);
    struct place_defrag *d = defrag(&w);
    json_auto_t *doc = place_defrag_to_json(d, &w.s);
    json_t *m = json_array_get(json_object_get(doc, "moves"), 0);
    assert_int_equal(json_array_size(json_object_get(doc, "moves")), 1);
    uint32_t i = d->moves[0].instance;
    assert_string_equal(json_string_value(json_object_get(m, "name")), w.s.instances[i].deployment);
    assert_true(json_is_false(json_object_get(m, "down_time")));
    assert_int_equal(json_integer_value(json_object_get(m, "bytes")), load_bytes(w.m[i]));
    json_t *from = json_array_get(json_object_get(m, "from"), 0);
    assert_string_equal(json_string_value(json_object_get(from, "node")), "hill");
    assert_int_equal(json_integer_value(json_object_get(from, "gpu")), i);
    assert_non_null(json_object_get(json_object_get(m, "plan"), "parts"));
    json_t *pending = json_object_get(doc, "pending");
    assert_true(json_is_true(json_object_get(pending, "feasible")));
    place_defrag_free(d);
    /* Nothing to move when it fits as it is. */
    w.spec[w.n]->want.max_gpus = 0;
    d = defrag(&w);
    assert_true(d->feasible && d->proved && d->n_moves == 0);
    assert_non_null(notes_find(&d->proof, NOTE_MOVES_NONE_NEEDED));
    place_defrag_free(d);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustive), cmocka_unit_test(test_one_move),
        cmocka_unit_test(test_down_time),  cmocka_unit_test(test_no_plan),
        cmocka_unit_test(test_document),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
