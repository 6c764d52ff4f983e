/* The memory driver: for tests and for clusters that need no tomorrow. The same contract, no file.
 *
 * A transaction first checks everything on the side (expectations, then claims in a scratch table
 * of the devices it touches) and only then applies, so that a failure leaves nothing behind. */
#include "store/store_int.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"

#include <string.h>

struct claim {
    char *device, *replica;
    uint64_t bytes;
};

struct mem_store {
    struct store base;
    struct store_feed feed;
    struct store_object *objects; /* sorted by kind, then id */
    size_t n, cap;
    struct claim *claims;
    size_t n_claims, cap_claims;
    int64_t revision;
};

static struct mem_store *of(struct store *s)
{
    return (struct mem_store *)s;
}

static struct store *mem_open(const char *where, struct err *err)
{
    struct mem_store *s = mem_calloc(1, sizeof *s);
    s->base.driver = &STORE_MEMORY;
    return &s->base;
}

static void claims_free(struct claim *claims, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(claims[i].device);
        free(claims[i].replica);
    }
    free(claims);
}

static void mem_close(struct store *base)
{
    struct mem_store *s = of(base);
    for (size_t i = 0; i < s->n; i++)
        store_object_done(&s->objects[i]);
    free(s->objects);
    claims_free(s->claims, s->n_claims);
    free(s);
}

/* Index of the first object not before (kind, id). */
static size_t lower(const struct mem_store *s, const char *kind, const char *id)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(s->objects[mid].kind, kind);
        if (c == 0)
            c = strcmp(s->objects[mid].id, id);
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct store_object *find(const struct mem_store *s, const char *kind, const char *id)
{
    size_t i = lower(s, kind, id);
    return i < s->n && !strcmp(s->objects[i].kind, kind) && !strcmp(s->objects[i].id, id)
               ? &s->objects[i]
               : NULL;
}

static uint64_t claimed_on(const struct claim *claims, size_t n, const char *device)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(claims[i].device, device) == 0)
            sum = num_add_sat(sum, claims[i].bytes);
    return sum;
}

struct claim_list {
    struct claim *items;
    size_t n, cap;
};

static void claim_add(struct claim_list *l, const char *device, const char *replica, uint64_t bytes)
{
    mem_grow(&l->items, &l->cap, l->n + 1, sizeof *l->items);
    l->items[l->n++] = (struct claim){mem_strdup(device), mem_strdup(replica), bytes};
}

static void claim_drop(struct claim_list *l, const char *replica)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->items[i].replica, replica) != 0) {
            l->items[kept++] = l->items[i];
            continue;
        }
        free(l->items[i].device);
        free(l->items[i].replica);
    }
    l->n = kept;
}

/* The claims as they would be after the transaction, in *after (owned by the caller even on
 * failure). */
static int claims_after(const struct mem_store *s, const struct store_op *ops, size_t n,
                        struct claim_list *after, struct err *err)
{
    for (size_t i = 0; i < s->n_claims; i++)
        claim_add(after, s->claims[i].device, s->claims[i].replica, s->claims[i].bytes);
    for (size_t i = 0; i < n; i++) {
        const struct store_op *op = &ops[i];
        if (op->op == STORE_UNCLAIM)
            claim_drop(after, op->id);
        if (op->op != STORE_CLAIM)
            continue;
        uint64_t sum = num_add_sat(claimed_on(after->items, after->n, op->device), op->bytes);
        if (sum > op->capacity)
            return err_set(err, ERR_CONFLICT, "device '%s': %llu bytes would be claimed of %llu",
                           op->device, (unsigned long long)sum, (unsigned long long)op->capacity);
        claim_add(after, op->device, op->id, op->bytes);
    }
    return 0;
}

static bool apply(struct mem_store *s, const struct store_op *op, json_t *doc, int64_t revision)
{
    size_t i = lower(s, op->kind, op->id);
    struct store_object *o = find(s, op->kind, op->id);
    if (op->op == STORE_DELETE) {
        if (!o)
            return false;
        store_object_done(o);
        memmove(o, o + 1, (s->n - i - 1) * sizeof *o);
        s->n--;
        return true;
    }
    if (!o) {
        mem_grow(&s->objects, &s->cap, s->n + 1, sizeof *s->objects);
        o = &s->objects[i];
        memmove(o + 1, o, (s->n - i) * sizeof *o);
        s->n++;
        *o = (struct store_object){.kind = mem_strdup(op->kind), .id = mem_strdup(op->id)};
    }
    json_t **slot = op->op == STORE_PUT_SPEC ? &o->spec : &o->status;
    json_decref(*slot);
    *slot = doc;
    o->revision = revision;
    return true;
}

/* Copies by way of the text, as a store with a file would: the same limits, no shared trees. */
static int copy_docs(const struct store_op *ops, size_t n, json_t **docs, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i].op != STORE_PUT_SPEC && ops[i].op != STORE_PUT_STATUS)
            continue;
        mem_auto char *text = store_doc_text(&ops[i], err);
        if (!text || !(docs[i] = json_parse(text, strlen(text), err)))
            return -1;
    }
    return 0;
}

static int mem_commit(struct store *base, const struct store_op *ops, size_t n, int64_t *revision,
                      struct err *err)
{
    struct mem_store *s = of(base);
    if (store_check_ops(ops, n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct store_object *o = ops[i].kind ? find(s, ops[i].kind, ops[i].id) : NULL;
        if (store_check_expect(&ops[i], o ? o->revision : 0, err))
            return -1;
    }
    struct claim_list after = {0};
    mem_auto json_t **docs = mem_calloc(n, sizeof *docs);
    if (copy_docs(ops, n, docs, err) || claims_after(s, ops, n, &after, err)) {
        for (size_t i = 0; i < n; i++)
            json_decref(docs[i]);
        claims_free(after.items, after.n);
        return -1;
    }
    claims_free(s->claims, s->n_claims);
    s->claims = after.items;
    s->n_claims = after.n;
    s->cap_claims = after.cap;
    s->revision++;
    mem_auto bool *changed = mem_calloc(n, sizeof *changed);
    for (size_t i = 0; i < n; i++)
        if (ops[i].op != STORE_CLAIM && ops[i].op != STORE_UNCLAIM)
            changed[i] = apply(s, &ops[i], docs[i], s->revision);
    if (revision)
        *revision = s->revision;
    store_notify(&s->feed, s->revision, ops, changed, n);
    return 0;
}

static int mem_get(struct store *base, const char *kind, const char *id, struct store_object *out,
                   struct err *err)
{
    const struct store_object *o = find(of(base), kind, id);
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "no %s '%.60s'", kind, id);
    *out = (struct store_object){mem_strdup(o->kind), mem_strdup(o->id), o->revision,
                                 o->spec ? json_deep_copy(o->spec) : NULL,
                                 o->status ? json_deep_copy(o->status) : NULL};
    return 0;
}

static int mem_list(struct store *base, const char *kind,
                    bool (*fn)(void *arg, const struct store_object *o), void *arg, struct err *err)
{
    struct mem_store *s = of(base);
    for (size_t i = lower(s, kind, ""); i < s->n && strcmp(s->objects[i].kind, kind) == 0; i++)
        if (!fn(arg, &s->objects[i]))
            break;
    return 0;
}

static int mem_claimed(struct store *base, const char *device, uint64_t *bytes, struct err *err)
{
    *bytes = claimed_on(of(base)->claims, of(base)->n_claims, device);
    return 0;
}

static int64_t mem_revision(struct store *base)
{
    return of(base)->revision;
}

static void mem_on_change(struct store *base,
                          void (*fn)(void *arg, int64_t revision, const char *kind, const char *id,
                                     bool deleted),
                          void *arg)
{
    of(base)->feed = (struct store_feed){fn, arg};
}

const struct store_driver STORE_MEMORY = {
    .name = "memory",
    .open = mem_open,
    .close = mem_close,
    .commit = mem_commit,
    .get = mem_get,
    .list = mem_list,
    .claimed = mem_claimed,
    .revision = mem_revision,
    .on_change = mem_on_change,
};
