/* Price lists; see prices.h. */
#include "place/prices.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

enum { RAM_MAX_TIB = 64, GPU_MAX_TIB = 4, MAX_COUNT = 64 };
#define TIB 1099511627776.0
#define RATE_MAX 1e15
#define PRICE_MAX 1e12

enum { KIND_GPU, KIND_NODE };
static const char *const KINDS[] = {"gpu", "node"};

/* What an item or a GPU of a node item says, as the table fills it. */
struct row {
    char name[CLUSTER_NAME];
    int kind;
    uint64_t memory, ram;
    double bandwidth, watts, price;
    bool hbm;
    uint32_t max, count, slots;
};

static const struct doc_field ITEM[] = {
    {"name", DOC_TEXT, .required = true, DOC_FIELD(struct row, name)},
    {"kind", DOC_CHOICE, DOC_FIELD(struct row, kind), .choices = KINDS, .n_choices = 2},
    {"price", DOC_NUMBER, .required = true, DOC_FIELD(struct row, price), .lo = 0, .hi = PRICE_MAX},
    {"max", DOC_U32, DOC_FIELD(struct row, max), .lo = 1, .hi = PRICES_MAX_EACH},
    {"memory", DOC_BYTES, DOC_FIELD(struct row, memory), .lo = 1, .hi = GPU_MAX_TIB * TIB},
    {"bandwidth", DOC_RATE, DOC_FIELD(struct row, bandwidth), .lo = 1, .hi = RATE_MAX},
    {"watts", DOC_WATTS, DOC_FIELD(struct row, watts), .lo = 0, .hi = 100000},
    {"hbm", DOC_BOOL, DOC_FIELD(struct row, hbm)},
    {"ram", DOC_BYTES, DOC_FIELD(struct row, ram), .lo = 1, .hi = RAM_MAX_TIB * TIB},
    {"slots", DOC_U32, DOC_FIELD(struct row, slots), .lo = 0, .hi = PRICES_MAX_NODE_GPUS},
    {"gpus", DOC_OTHER},
};
static const struct doc_field GPU[] = {
    {"name", DOC_TEXT, .required = true, DOC_FIELD(struct row, name)},
    {"memory", DOC_BYTES, DOC_FIELD(struct row, memory), .lo = 1, .hi = GPU_MAX_TIB * TIB},
    {"bandwidth", DOC_RATE, DOC_FIELD(struct row, bandwidth), .lo = 1, .hi = RATE_MAX},
    {"watts", DOC_WATTS, DOC_FIELD(struct row, watts), .lo = 0, .hi = 100000},
    {"hbm", DOC_BOOL, DOC_FIELD(struct row, hbm)},
    {"count", DOC_U32, DOC_FIELD(struct row, count), .lo = 1, .hi = MAX_COUNT},
};

static struct cluster_device device_of(const struct row *r)
{
    struct cluster_device d = {.kind = DEVICE_GPU,
                               .backend = BACKEND_CUDA,
                               .total_bytes = r->memory,
                               .free_bytes = r->memory,
                               .bandwidth_bytes_per_s = r->bandwidth,
                               .hbm = r->hbm,
                               .tdp_w = (uint32_t)r->watts};
    STR_COPY(d.name, r->name);
    return d;
}

static int read_gpus(struct price_item *it, const struct doc_at *at, struct err *err)
{
    size_t n;
    struct doc_at list = doc_member(at, "gpus");
    if (doc_list(&list, PRICES_MAX_NODE_GPUS, &n, err))
        return -1;
    it->gpus = mem_calloc(PRICES_MAX_NODE_GPUS, sizeof *it->gpus);
    for (size_t i = 0; i < n; i++) {
        struct doc_at g = doc_item(&list, i);
        struct row r = {.count = 1};
        if (doc_fields(&g, GPU, ARRAY_LEN(GPU), &r, err))
            return -1;
        if (it->n_gpus + r.count > PRICES_MAX_NODE_GPUS)
            return doc_fault(&g, err, "a node item has more than %d GPUs", PRICES_MAX_NODE_GPUS);
        for (uint32_t k = 0; k < r.count; k++)
            it->gpus[it->n_gpus++] = device_of(&r);
    }
    return 0;
}

/* Keys of the other kind are refused: they would mean nothing. */
static int check_kind(const struct doc_at *at, const struct row *r, struct err *err)
{
    static const char *const OF_NODE[] = {"ram", "slots", "gpus"};
    static const char *const OF_GPU[] = {"memory", "bandwidth", "watts", "hbm"};
    const char *const *wrong = r->kind == KIND_NODE ? OF_GPU : OF_NODE;
    size_t n = r->kind == KIND_NODE ? ARRAY_LEN(OF_GPU) : ARRAY_LEN(OF_NODE);
    for (size_t i = 0; i < n; i++) {
        struct doc_at key = doc_member(at, wrong[i]);
        if (key.v)
            return doc_fault(&key, err, "an item of kind %s has no '%s'", KINDS[r->kind], wrong[i]);
    }
    if (r->kind == KIND_NODE && !r->ram)
        return doc_fault(at, err, "a node needs its 'ram'");
    if (r->price <= 0)
        return doc_fault(at, err, "'price' must be above 0");
    return 0;
}

static int read_item(struct prices *p, const struct doc_at *at, struct err *err)
{
    struct row r = {.max = PRICES_MAX_EACH};
    if (doc_fields(at, ITEM, ARRAY_LEN(ITEM), &r, err) || check_kind(at, &r, err))
        return -1;
    for (uint32_t i = 0; i < p->n_items; i++)
        if (strcmp(p->items[i].name, r.name) == 0)
            return doc_fault(at, err, "two items are named '%s'", r.name);
    struct price_item *it = &p->items[p->n_items++];
    *it = (struct price_item){.price = r.price, .max = r.max, .node = r.kind == KIND_NODE};
    STR_COPY(it->name, r.name);
    if (!it->node) {
        it->gpu = device_of(&r);
        return 0;
    }
    it->ram_bytes = r.ram;
    it->slots = r.slots;
    return doc_has(at, "gpus") ? read_gpus(it, at, err) : 0;
}

static int read_slots(struct prices *p, const struct doc_at *root, struct err *err)
{
    struct doc_at at = doc_member(root, "slots");
    const char *key;
    json_t *v;
    p->has_slots = at.v != NULL;
    if (!at.v)
        return 0;
    if (doc_map(&at, PRICES_MAX_SLOTS, err))
        return -1;
    p->slots = mem_calloc(json_object_size(at.v) + 1, sizeof *p->slots);
    json_object_foreach(at.v, key, v)
    {
        struct doc_at one = doc_member(&at, key);
        json_int_t n = json_integer_value(v);
        if (!json_is_integer(v) || n < 0 || n > PRICES_MAX_NODE_GPUS)
            return doc_fault(&one, err, "must be a number of free slots, 0 to %d",
                             PRICES_MAX_NODE_GPUS);
        if (!STR_COPY(p->slots[p->n_slots].node, key))
            return doc_fault(&one, err, "names of nodes have at most %d bytes", CLUSTER_NAME - 1);
        p->slots[p->n_slots++].n = (uint32_t)n;
    }
    return 0;
}

struct top {
    char schema[32], currency[16];
};

static int read_all(struct prices *p, const struct doc *d, struct err *err)
{
    static const struct doc_field TOP[] = {
        {"schema", DOC_TEXT, .required = true, DOC_FIELD(struct top, schema)},
        {"currency", DOC_TEXT, DOC_FIELD(struct top, currency)},
        {"items", DOC_OTHER, .required = true},
        {"slots", DOC_OTHER},
    };
    struct doc_at root = doc_root(d), items = doc_member(&root, "items");
    struct top top = {0};
    size_t n;
    if (doc_schema(d, "stowage.prices/1", err) ||
        doc_fields(&root, TOP, ARRAY_LEN(TOP), &top, err) ||
        doc_list(&items, PRICES_MAX_ITEMS, &n, err))
        return -1;
    if (!n)
        return doc_fault(&items, err, "a price list needs at least one item");
    STR_COPY(p->currency, top.currency);
    p->items = mem_calloc(n, sizeof *p->items);
    for (size_t i = 0; i < n; i++) {
        struct doc_at at = doc_item(&items, i);
        if (read_item(p, &at, err))
            return -1;
    }
    return read_slots(p, &root, err);
}

int prices_read(struct prices **out, const struct doc *d, struct err *err)
{
    struct prices *p = mem_calloc(1, sizeof *p);
    if (read_all(p, d, err)) {
        prices_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

int prices_from_json(struct prices **out, const json_t *doc, struct err *err)
{
    if (!json_is_object(doc))
        return err_set(err, ERR_INVALID, "'prices' must be a price list");
    struct doc d = doc_of(doc);
    return prices_read(out, &d, err);
}

void prices_free(struct prices *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; i < p->n_items; i++)
        free(p->items[i].gpus);
    free(p->items);
    free(p->slots);
    free(p);
}
