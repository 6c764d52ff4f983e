/* The cheapest additions: bundles in order of what they cost at least (A*), each planned.
 *
 * A bundle is made by adding a position that is not before its last one, so each is made once. What
 * fits a bundle fits every larger one. So a bundle that is a part of one that failed need not be
 * planned, and one that contains an offer is no offer. To fail early and widely, a bundle that
 * failed is tried again with twice as much of everything in it, until it fits or cannot grow. */
#include "place/size.h"

#include "base/mem.h"
#include "place/cart.h"

#include <string.h>

enum {
    OPEN_MAX = 1 << 18, /* bundles that wait */
    FAILED_MAX = 4096,  /* remembered; an accelerator, not a rule */
    CHILD_STEPS = 64,   /* what making a bundle costs */
};
#define DEFAULT_STEPS ((uint64_t)1 << 28)

struct entry {
    double floor;
    struct bundle b;
};
struct shop {
    struct cart cart;
    uint64_t limit; /* of cart.steps */
    bool grows;     /* more never harms: what the pruning rests on */
    struct entry **heap;
    size_t n_heap, cap_heap;
    struct bundle *failed;
    size_t n_failed, cap_failed;
    struct bundle offers[SIZE_OFFERS];
    uint32_t n_offers;
    struct bundle spare; /* fits, but may be more than is needed */
    bool has_spare;
    double bound;  /* nothing below it does */
    bool complete; /* the search ended by itself */
};

/* ---- the heap: least floor, then price, then fewer pieces, then the order of positions ---- */

static bool less(const struct entry *x, const struct entry *y)
{
    if (x->floor != y->floor)
        return x->floor < y->floor;
    if (x->b.price != y->b.price)
        return x->b.price < y->b.price;
    if (x->b.n != y->b.n)
        return x->b.n < y->b.n;
    for (uint32_t i = 0; i < x->b.n; i++)
        if (x->b.at[i] != y->b.at[i])
            return x->b.at[i] < y->b.at[i];
    return false;
}

static void push(struct shop *x, const struct bundle *b)
{
    mem_grow(&x->heap, &x->cap_heap, x->n_heap + 1, sizeof *x->heap);
    struct entry *e = mem_calloc(1, sizeof *e);
    *e = (struct entry){cart_floor(&x->cart, b), *b};
    size_t i = x->n_heap++;
    for (; i && less(e, x->heap[(i - 1) / 2]); i = (i - 1) / 2)
        x->heap[i] = x->heap[(i - 1) / 2];
    x->heap[i] = e;
}

static struct entry *pop(struct shop *x)
{
    struct entry *top = x->heap[0], *last = x->heap[--x->n_heap];
    size_t i = 0;
    for (size_t kid; (kid = 2 * i + 1) < x->n_heap; i = kid) {
        kid += kid + 1 < x->n_heap && less(x->heap[kid + 1], x->heap[kid]);
        if (!less(x->heap[kid], last))
            break;
        x->heap[i] = x->heap[kid];
    }
    x->heap[i] = last;
    return top;
}

/* ---- what is known without planning ---- */

/* Both sorted: every piece of a is in b. */
static bool within(const struct bundle *a, const struct bundle *b)
{
    uint32_t i = 0;
    for (uint32_t k = 0; k < b->n && i < a->n; k++)
        i += a->at[i] == b->at[k];
    return i == a->n;
}

static bool must_fail(const struct shop *x, const struct bundle *b)
{
    for (size_t i = x->n_failed; x->grows && i-- > 0;)
        if (within(b, &x->failed[i]))
            return true;
    return false;
}

static bool has_offer(const struct shop *x, const struct bundle *b)
{
    for (uint32_t i = 0; i < x->n_offers; i++)
        if (within(&x->offers[i], b))
            return true;
    return false;
}

static void note_failed(struct shop *x, const struct bundle *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->n_failed; i++)
        if (!within(&x->failed[i], b))
            x->failed[kept++] = x->failed[i];
    x->n_failed = kept;
    if (x->n_failed == FAILED_MAX)
        return;
    mem_grow(&x->failed, &x->cap_failed, x->n_failed + 1, sizeof *x->failed);
    x->failed[x->n_failed++] = *b;
}

/* ---- the search ---- */

/* The same with up to twice as many of each. */
static void doubled(const struct shop *x, const struct bundle *b, struct bundle *out)
{
    *out = (struct bundle){0};
    for (uint32_t i = 0; i < b->n; i++) {
        cart_add(&x->cart, out, b->at[i]);
        if (i + 1 == b->n || b->at[i + 1] != b->at[i]) {
            uint32_t n = 1;
            while (i >= n && b->at[i - n] == b->at[i])
                n++;
            while (n-- && cart_add(&x->cart, out, b->at[i]))
                ;
        }
    }
}

static void keep_spare(struct shop *x, const struct bundle *b)
{
    if (x->has_spare && x->spare.price <= b->price)
        return;
    x->spare = *b;
    x->has_spare = true;
}

/* As few of one position, on top of what is in *b, as it takes, if that is cheaper than the spare.
 * *b need not be sorted for this: it is put in order. */
static int fill_up(struct shop *x, const struct bundle *b, uint32_t p, struct err *err)
{
    const double price = x->cart.at[p].price;
    for (uint32_t n = 1;; n++) {
        struct bundle now = {0};
        bool room = true;
        for (uint32_t i = 0, put = 0; room && (i < b->n || put < n);)
            if (put < n && (i == b->n || p < b->at[i]))
                room = cart_add(&x->cart, &now, p), put++;
            else
                room = cart_add(&x->cart, &now, b->at[i++]);
        if (!room || x->cart.steps >= x->limit / 2 ||
            (x->has_spare && b->price + n * price >= x->spare.price))
            return 0;
        if (cart_floor(&x->cart, &now) > now.price || must_fail(x, &now))
            continue; /* bytes are missing */
        int fits = cart_fits(&x->cart, &now, err);
        if (fits)
            return fits < 0 ? -1 : (keep_spare(x, &now), 0);
        note_failed(x, &now);
    }
}

/* An offer before the search, so that there is one whatever the budget: of one kind of thing in one
 * place; then the cheapest that leaves some of it out for another kind. */
static int first_offer(struct shop *x, struct err *err)
{
    struct bundle none = {0};
    for (uint32_t p = 0; p < x->cart.n_at; p++)
        if (fill_up(x, &none, p, err))
            return -1;
    for (bool better = x->has_spare; better;) {
        struct bundle had = x->spare;
        for (uint32_t keep = had.n; keep-- > 0;) {
            struct bundle part = {0};
            for (uint32_t i = 0; i < keep; i++)
                cart_add(&x->cart, &part, had.at[i]);
            for (uint32_t p = 0; p < x->cart.n_at; p++)
                if (fill_up(x, &part, p, err))
                    return -1;
        }
        better = x->spare.price < had.price;
    }
    return 0;
}

/* b failed: as much of it as there can be, for one plan each. */
static int grow(struct shop *x, const struct bundle *b, struct err *err)
{
    struct bundle now = *b, more;
    int fits = 0;
    while (x->grows && x->cart.steps < x->limit) {
        doubled(x, &now, &more);
        if (more.n <= now.n)
            break;
        fits = must_fail(x, &more) ? 0 : cart_fits(&x->cart, &more, err);
        if (fits)
            break;
        now = more;
    }
    note_failed(x, &now);
    if (fits > 0)
        keep_spare(x, &more);
    return fits < 0 ? -1 : 0;
}

static int look(struct shop *x, const struct bundle *b, struct err *err)
{
    if (x->cart.need_bytes && cart_floor(&x->cart, b) > b->price)
        return 0; /* bytes are missing */
    if (must_fail(x, b))
        return 0;
    int fits = cart_fits(&x->cart, b, err);
    if (fits == 0)
        return grow(x, b, err);
    if (fits > 0)
        x->offers[x->n_offers++] = *b;
    return fits < 0 ? -1 : 0;
}

static bool expand(struct shop *x, const struct bundle *b)
{
    for (uint32_t p = b->n ? b->at[b->n - 1] : 0; p < x->cart.n_at; p++) {
        struct bundle kid = *b;
        x->cart.steps += CHILD_STEPS;
        if (!cart_add(&x->cart, &kid, p))
            continue;
        if (x->n_heap >= OPEN_MAX)
            return false;
        push(x, &kid);
    }
    return true;
}

/* Of a cluster on which it does not fit as it is. */
static int search(struct shop *x, struct err *err)
{
    struct bundle none = {0};
    if (x->grows && first_offer(x, err))
        return -1;
    x->bound = cart_floor(&x->cart, &none);
    bool room = expand(x, &none);
    while (x->n_heap && room && x->n_offers < SIZE_OFFERS && x->cart.steps < x->limit) {
        struct entry *e = pop(x);
        struct bundle b = e->b;
        if (!x->n_offers)
            x->bound = e->floor;
        if (!x->n_offers && x->has_spare && e->floor >= x->spare.price)
            x->offers[x->n_offers++] = x->spare; /* nothing cheaper is left */
        free(e);
        if (has_offer(x, &b))
            continue;
        uint32_t had = x->n_offers;
        if (look(x, &b, err))
            return -1;
        if (x->n_offers == had)
            room = expand(x, &b);
    }
    x->complete = room && x->cart.steps < x->limit;
    return 0;
}

/* ---- the answer ---- */

static int put_offer(struct shop *x, const struct bundle *b, bool least, json_t *list,
                     struct err *err)
{
    json_t *plan = cart_plan(&x->cart, b, err);
    if (!plan)
        return -1;
    json_t *o = json_add_object(list);
    cart_put(&x->cart, b, o);
    json_put_bool(o, "minimal", least);
    json_object_set_new(o, "plan", plan);
    return 0;
}

/* `now`: it fits as it is; `none`: no bundle does. */
static json_t *to_json(struct shop *x, bool now, bool none, struct err *err)
{
    bool found = now || x->n_offers || x->has_spare;
    json_auto_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.size/1");
    json_put_bool(doc, "feasible", found);
    json_put_bool(doc, "fits_now", now);
    json_put_bool(doc, "optimal", now || (!x->cart.unsure && (none || x->n_offers || x->complete)));
    json_put_str(doc, "currency", x->cart.prices->currency);
    json_put_bool(doc, "slots_known", x->cart.prices->has_slots);
    json_put_double(doc, "bound", x->bound);
    json_put_u64(doc, "most_pieces", SIZE_PIECES);
    json_t *list = json_put_array(doc, "offers");
    for (uint32_t i = 0; i < x->n_offers; i++)
        if (put_offer(x, &x->offers[i], true, list, err))
            return NULL;
    if (!x->n_offers && x->has_spare && put_offer(x, &x->spare, false, list, err))
        return NULL;
    json_put_u64(doc, "plans", x->cart.n_plans);
    json_put_u64(doc, "steps", x->cart.steps);
    return STEAL(doc);
}

static bool never_harms(const struct place_wish *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (w[i].d.spec->want.keep_whole.n) /* a node with one more GPU asks for that one too */
            return false;
    return true;
}

static void shop_done(struct shop *x)
{
    while (x->n_heap)
        free(x->heap[--x->n_heap]);
    free(x->heap);
    free(x->failed);
    cart_done(&x->cart);
    free(x);
}

json_t *size_answer(const struct cluster_snapshot *s, const struct place_wish *wishes, uint32_t n,
                    const struct prices *prices, uint64_t steps, struct err *err)
{
    struct shop *x = mem_calloc(1, sizeof *x);
    json_t *doc = NULL;
    x->limit = steps ? steps : DEFAULT_STEPS;
    x->grows = never_harms(wishes, n);
    struct bundle nothing = {0};
    int now = -1, none = 0;
    if (cart_init(&x->cart, s, wishes, n, prices, err) == 0)
        now = cart_fits(&x->cart, &nothing, err);
    if (now == 0 && x->grows)
        none = cart_hopeless(&x->cart, err);
    if (now > 0 || (now == 0 && none >= 0 && (none || search(x, err) == 0)))
        doc = to_json(x, now > 0, none > 0, err);
    shop_done(x);
    return doc;
}
