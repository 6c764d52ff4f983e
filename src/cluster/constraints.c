/* Constraints: their keys, in specs and in policy files, both ways. */
#include "cluster/policy.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/str.h"
#include "cluster/deployment.h"

#include <math.h>
#include <string.h>

enum { MAX_LAYERS = 100000, MAX_KEYS = 64 };

static const struct {
    const char *key;
    size_t offset;
} LISTS[] = {
    {"nodes", offsetof(struct constraints, nodes)},
    {"exclude_nodes", offsetof(struct constraints, exclude_nodes)},
    {"gpus", offsetof(struct constraints, gpus)},
    {"gpu_types", offsetof(struct constraints, gpu_types)},
    {"labels", offsetof(struct constraints, labels)},
    {"anti_affinity", offsetof(struct constraints, anti_affinity)},
    {"keep_whole", offsetof(struct constraints, keep_whole)},
};
/* clang-format off */
#define C(member) DOC_FIELD(struct constraints, member)
static const struct doc_field FIELDS[] = {
    {"gpus_per_replica", DOC_U32, false, C(gpus_per_replica), .hi = CLUSTER_MAX_DEVICES},
    {"max_nodes", DOC_U32, false, C(max_nodes), .hi = CLUSTER_MAX_NODES},
    {"max_gpus", DOC_U32, false, C(max_gpus), .hi = CLUSTER_MAX_DEVICES},
    {"min_ctx", DOC_U32, false, C(min_ctx), .hi = SPEC_MAX_CTX},
    {"min_tok_s", DOC_NUMBER, false, C(min_tok_s), .hi = 1e9},
    {"no_ram", DOC_BOOL, false, C(no_ram)},
    {"no_network", DOC_BOOL, false, C(no_network)},
    {"tensor_split", DOC_OTHER},
};
/* clang-format on */

/* ---- reading ---- */

static int read_names(const struct doc_at *at, struct name_list *out, struct err *err)
{
    size_t n;
    if (doc_list(at, CONSTRAINT_MAX_NAMES, &n, err))
        return -1;
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct doc_at item = doc_item(at, i);
        if (doc_text(&item, out->items[i], sizeof out->items[i], err))
            return -1;
        out->n++;
    }
    return 0;
}

static int read_split(const struct doc_at *at, struct constraints *c, struct err *err)
{
    size_t n;
    if (doc_list(at, CONSTRAINT_MAX_NAMES, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct doc_at item = doc_item(at, i);
        if (doc_u32(&item, 1, MAX_LAYERS, &c->split[i], err))
            return -1;
    }
    c->n_split = (uint32_t)n;
    return 0;
}

int constraints_read(struct constraints *c, const struct doc_at *at, const char *const *other,
                     size_t n_other, struct err *err)
{
    const char *names[MAX_KEYS];
    size_t n = 0;
    for (size_t i = 0; i < n_other && n < MAX_KEYS; i++)
        names[n++] = other[i];
    for (size_t i = 0; i < ARRAY_LEN(LISTS) && n < MAX_KEYS; i++)
        names[n++] = LISTS[i].key;
    for (size_t i = 0; i < ARRAY_LEN(FIELDS) && n < MAX_KEYS; i++)
        names[n++] = FIELDS[i].key;
    if (doc_known_keys(at, names, n, err) || doc_read_fields(at, FIELDS, ARRAY_LEN(FIELDS), c, err))
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(LISTS); i++) {
        const struct doc_at list = doc_member(at, LISTS[i].key);
        if (list.v && read_names(&list, (void *)((char *)c + LISTS[i].offset), err))
            return -1;
    }
    const struct doc_at split = doc_member(at, "tensor_split");
    if (split.v && read_split(&split, c, err))
        return -1;
    struct err e = {0};
    if (constraints_validate(c, &e))
        return doc_fault(at, err, "%s", e.msg);
    return 0;
}

/* ---- writing ---- */

static void put_number(json_t *o, const char *key, uint64_t x)
{
    if (x)
        json_put_u64(o, key, x);
}

void constraints_to_json(const struct constraints *c, json_t *o)
{
    for (size_t i = 0; i < ARRAY_LEN(LISTS); i++) {
        const struct name_list *l = (const void *)((const char *)c + LISTS[i].offset);
        json_t *a = l->n ? json_put_array(o, LISTS[i].key) : NULL;
        for (uint32_t k = 0; k < l->n; k++)
            json_add_str(a, l->items[k]);
    }
    put_number(o, "gpus_per_replica", c->gpus_per_replica);
    put_number(o, "max_nodes", c->max_nodes);
    put_number(o, "max_gpus", c->max_gpus);
    put_number(o, "min_ctx", c->min_ctx);
    if (c->min_tok_s > 0)
        json_put_double(o, "min_tok_s", c->min_tok_s);
    if (c->no_ram)
        json_put_bool(o, "no_ram", true);
    if (c->no_network)
        json_put_bool(o, "no_network", true);
    json_t *list = c->n_split ? json_put_array(o, "tensor_split") : NULL;
    for (uint32_t i = 0; i < c->n_split; i++)
        json_array_append_new(list, json_integer(c->split[i]));
}

/* ---- sense ---- */

static int check_split(const struct constraints *c, struct err *err)
{
    if (!c->n_split)
        return 0;
    if (c->n_split != c->gpus.n)
        return err_set(err, ERR_INVALID,
                       "tensor_split has %u entries, gpus has %u; they go together in that order",
                       c->n_split, c->gpus.n);
    for (uint32_t i = 0; i < c->gpus.n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(c->gpus.items[i], c->gpus.items[k]) == 0)
                return err_set(err, ERR_INVALID, "gpus names '%s' twice beside a tensor_split",
                               c->gpus.items[i]);
    return 0;
}

int constraints_validate(const struct constraints *c, struct err *err)
{
    if (!isfinite(c->min_tok_s) || c->min_tok_s < 0 || c->min_tok_s > 1e9)
        return err_set(err, ERR_INVALID, "min_tok_s is %g; it must be 0 to 1e9", c->min_tok_s);
    if (c->max_gpus && c->gpus_per_replica > c->max_gpus)
        return err_set(err, ERR_INVALID, "gpus_per_replica is %u, but max_gpus is %u",
                       c->gpus_per_replica, c->max_gpus);
    for (uint32_t i = 0; i < c->labels.n; i++)
        if (!strchr(c->labels.items[i], '=') || c->labels.items[i][0] == '=')
            return err_set(err, ERR_INVALID, "label '%s' must be key=value", c->labels.items[i]);
    return check_split(c, err);
}
