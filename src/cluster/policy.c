/* Policies as rows of a table, and constraints in their JSON form. */
#include "cluster/policy.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "cluster/deployment.h"

#include <math.h>
#include <string.h>

static const char *const TERMS[] = {
    [TERM_OFFLOAD] = "offload",
    [TERM_NODES] = "nodes",
    [TERM_GPUS] = "gpus",
    [TERM_TOKEN_TIME] = "token_time",
    [TERM_STREAM_TIME] = "stream_time",
    [TERM_HOPS] = "hops",
    [TERM_LEFTOVER] = "leftover",
    [TERM_WHOLE] = "whole",
    [TERM_SPREAD] = "spread",
    [TERM_LOAD] = "load",
    [TERM_LOCALITY] = "locality",
    [TERM_POWER] = "power",
    [TERM_PRICE] = "price",
};
_Static_assert(ARRAY_LEN(TERMS) == TERM_COUNT, "one name per term");

/* clang-format off */
static const struct policy PRESETS[] = {
    {"tiered", .n_terms = 5,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_TOKEN_TIME, 1}, {TERM_LEFTOVER, 1}}},
    {"fastest", .n_terms = 3, .terms = {{TERM_TOKEN_TIME, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}}},
    {"throughput", .n_terms = 4, .streams = 16,
     .terms = {{TERM_STREAM_TIME, 1}, {TERM_TOKEN_TIME, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}}},
    {"binpack", .n_terms = 6,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_WHOLE, 1}, {TERM_LEFTOVER, 1}, {TERM_TOKEN_TIME, 1}}},
    {"spread", .n_terms = 6,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_SPREAD, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_LOAD, 1}, {TERM_TOKEN_TIME, 1}}},
    {"cheapest", .n_terms = 6,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_PRICE, 1}, {TERM_POWER, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_TOKEN_TIME, 1}}},
};
/* clang-format on */

const char *policy_term_name(enum policy_term t)
{
    return (unsigned)t < TERM_COUNT ? TERMS[t] : "?";
}

const char *policy_term_unit(enum policy_term t)
{
    static const char *const UNITS[TERM_COUNT] = {
        [TERM_TOKEN_TIME] = "ms", [TERM_STREAM_TIME] = "ms", [TERM_LEFTOVER] = "GiB",
        [TERM_WHOLE] = "GiB",     [TERM_LOAD] = "%",         [TERM_LOCALITY] = "MiB",
        [TERM_POWER] = "W",
    };
    return (unsigned)t < TERM_COUNT && UNITS[t] ? UNITS[t] : "";
}

const char *policy_preset_name(uint32_t i)
{
    return i < ARRAY_LEN(PRESETS) ? PRESETS[i].name : NULL;
}

int policy_preset(struct policy *p, const char *name, struct err *err)
{
    const char *names[ARRAY_LEN(PRESETS)];
    for (size_t i = 0; i < ARRAY_LEN(PRESETS); i++) {
        names[i] = PRESETS[i].name;
        if (strcmp(name, names[i]) == 0) {
            *p = PRESETS[i];
            return 0;
        }
    }
    const char *near = str_nearest(name, names, ARRAY_LEN(names));
    return err_set(err, ERR_INVALID,
                   "policy '%.40s' is none of tiered, fastest, throughput, binpack, spread, "
                   "cheapest%s%s%s",
                   name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

bool policy_same(const struct policy *a, const struct policy *b)
{
    if (a->weighted != b->weighted || a->n_terms != b->n_terms || a->streams != b->streams ||
        strcmp(a->domain, b->domain) != 0)
        return false;
    for (uint32_t i = 0; i < a->n_terms; i++)
        if (a->terms[i].term != b->terms[i].term ||
            (a->weighted && a->terms[i].weight != b->terms[i].weight))
            return false;
    return true;
}

static int term_from_json(struct policy *p, const json_t *doc, struct err *err)
{
    static const char *const KEYS[] = {"term", "weight"};
    const char *name = json_string_value(doc);
    double weight = 1;
    if (!name && (json_known_keys(doc, "a term", KEYS, ARRAY_LEN(KEYS), err) ||
                  json_get_str(doc, "term", true, &name, err) ||
                  json_get_double(doc, "weight", false, &weight, err)))
        return -1;
    if (!isfinite(weight) || weight <= 0 || weight > 1e12)
        return err_set(err, ERR_INVALID,
                       "weight of '%.40s' is %g; it must be above 0, at most 1e12", name, weight);
    if (!p->weighted && json_object_get(doc, "weight"))
        return err_set(err, ERR_INVALID,
                       "'%.40s' has a weight, but the policy is lexicographic; say mode: weighted",
                       name);
    for (uint32_t t = 0; t < TERM_COUNT; t++) {
        if (strcmp(name, TERMS[t]) != 0)
            continue;
        for (uint32_t i = 0; i < p->n_terms; i++)
            if (p->terms[i].term == t)
                return err_set(err, ERR_INVALID, "the term '%s' is given twice", name);
        p->terms[p->n_terms].term = t;
        p->terms[p->n_terms++].weight = weight;
        return 0;
    }
    const char *near = str_nearest(name, TERMS, TERM_COUNT);
    return err_set(err, ERR_INVALID, "there is no term '%.40s'%s%s%s", name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int policy_from_json(struct policy *p, const json_t *doc, struct err *err)
{
    static const char *const KEYS[] = {"name", "mode", "terms", "streams", "domain"};
    struct policy x = {0};
    const char *mode = "lexicographic";
    if (json_is_string(doc))
        return policy_preset(p, json_string_value(doc), err);
    if (json_known_keys(doc, "a policy", KEYS, ARRAY_LEN(KEYS), err) ||
        JSON_COPY(doc, "name", true, x.name, err) || json_get_str(doc, "mode", false, &mode, err) ||
        json_get_u32(doc, "streams", false, POLICY_MAX_STREAMS, &x.streams, err) ||
        JSON_COPY(doc, "domain", false, x.domain, err))
        return -1;
    x.weighted = strcmp(mode, "weighted") == 0;
    if (!x.weighted && strcmp(mode, "lexicographic") != 0)
        return err_set(err, ERR_INVALID, "mode '%.40s' is none of lexicographic, weighted", mode);
    const json_t *list = json_get_array(doc, "terms", true, err), *t;
    size_t i;
    if (!list)
        return -1;
    if (json_array_size(list) == 0)
        return err_set(err, ERR_INVALID, "policy '%s' has no terms; name at least one", x.name);
    json_array_foreach(list, i, t)
    {
        if (term_from_json(&x, t, err))
            return -1;
    }
    *p = x;
    return 0;
}

json_t *policy_to_json(const struct policy *p)
{
    struct policy preset;
    if (policy_preset(&preset, p->name, NULL) == 0 && policy_same(&preset, p))
        return json_string(p->name);
    json_t *o = json_object();
    json_put_str(o, "name", p->name);
    json_put_str(o, "mode", p->weighted ? "weighted" : "lexicographic");
    json_t *list = json_put_array(o, "terms");
    for (uint32_t i = 0; i < p->n_terms; i++) {
        if (!p->weighted) {
            json_array_append_new(list, json_string(TERMS[p->terms[i].term]));
            continue;
        }
        json_t *t = json_add_object(list);
        json_put_str(t, "term", TERMS[p->terms[i].term]);
        json_put_double(t, "weight", p->terms[i].weight);
    }
    if (p->streams)
        json_put_u64(o, "streams", p->streams);
    if (p->domain[0])
        json_put_str(o, "domain", p->domain);
    return o;
}

/* ---- constraints ---- */

#define LISTS(X)                                                                                   \
    X(nodes)                                                                                       \
    X(exclude_nodes)                                                                               \
    X(gpus)                                                                                        \
    X(gpu_types)                                                                                   \
    X(labels)                                                                                      \
    X(anti_affinity)                                                                               \
    X(keep_whole)
#define NAME(x) #x,
static const char *const CONSTRAINT_KEYS[] = {LISTS(NAME) "gpus_per_replica",
                                              "max_nodes",
                                              "max_gpus",
                                              "min_ctx",
                                              "min_tok_s",
                                              "no_ram",
                                              "no_network",
                                              "tensor_split"};

static int get_names(const json_t *doc, const char *key, struct name_list *out, struct err *err)
{
    const json_t *list = json_object_get(doc, key);
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return err_set(err, ERR_INVALID, "'%s' must be a list of names", key);
    if (json_array_size(list) > CONSTRAINT_MAX_NAMES)
        return err_set(err, ERR_LIMIT, "'%s' has %zu names; at most %d are allowed", key,
                       json_array_size(list), CONSTRAINT_MAX_NAMES);
    out->n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name || !name[0])
            return err_set(err, ERR_INVALID, "'%s'[%zu] must be a name", key, i);
        if (!STR_COPY(out->items[i], name))
            return err_set(err, ERR_LIMIT, "'%s'[%zu] is longer than %zu bytes", key, i,
                           sizeof out->items[i] - 1);
        out->n++;
    }
    return 0;
}

static int get_split(const json_t *doc, struct constraints *c, struct err *err)
{
    const json_t *list = json_get_array(doc, "tensor_split", false, NULL);
    if (!json_object_get(doc, "tensor_split") || json_is_null(json_object_get(doc, "tensor_split")))
        return 0;
    size_t n = json_array_size(list);
    if (n > CONSTRAINT_MAX_NAMES)
        return err_set(err, ERR_LIMIT, "'tensor_split' has %zu entries; at most %d are allowed", n,
                       CONSTRAINT_MAX_NAMES);
    for (size_t i = 0; i < n; i++) {
        json_int_t v = json_integer_value(json_array_get(list, i));
        if (v < 1 || v > 100000)
            return err_set(err, ERR_INVALID, "'tensor_split'[%zu] must be a number of layers", i);
        c->split[i] = (uint32_t)v;
    }
    c->n_split = (uint32_t)n;
    return 0;
}

int constraints_from_json(struct constraints *c, const json_t *doc, const char *const *other,
                          size_t n_other, struct err *err)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(CONSTRAINT_KEYS); i++)
        names[n++] = CONSTRAINT_KEYS[i];
    for (size_t i = 0; i < n_other && n < ARRAY_LEN(names); i++)
        names[n++] = other[i];
    if (json_known_keys(doc, "a deployment", names, n, err))
        return -1;
#define GET(x)                                                                                     \
    if (get_names(doc, #x, &c->x, err))                                                            \
        return -1;
    LISTS(GET)
#undef GET
    return json_get_u32(doc, "gpus_per_replica", false, CLUSTER_MAX_DEVICES, &c->gpus_per_replica,
                        err) ||
                   json_get_u32(doc, "max_nodes", false, CLUSTER_MAX_NODES, &c->max_nodes, err) ||
                   json_get_u32(doc, "max_gpus", false, CLUSTER_MAX_DEVICES, &c->max_gpus, err) ||
                   json_get_u32(doc, "min_ctx", false, SPEC_MAX_CTX, &c->min_ctx, err) ||
                   json_get_double(doc, "min_tok_s", false, &c->min_tok_s, err) ||
                   json_get_bool(doc, "no_ram", false, &c->no_ram, err) ||
                   json_get_bool(doc, "no_network", false, &c->no_network, err) ||
                   get_split(doc, c, err)
               ? -1
               : constraints_validate(c, err);
}

static void put_names(json_t *o, const char *key, const struct name_list *list)
{
    if (!list->n)
        return;
    json_t *a = json_put_array(o, key);
    for (uint32_t i = 0; i < list->n; i++)
        json_array_append_new(a, json_string(list->items[i]));
}

static void put_number(json_t *o, const char *key, uint64_t x)
{
    if (x)
        json_put_u64(o, key, x);
}

void constraints_to_json(const struct constraints *c, json_t *o)
{
#define PUT(x) put_names(o, #x, &c->x);
    LISTS(PUT)
#undef PUT
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

int constraints_validate(const struct constraints *c, struct err *err)
{
    if (!isfinite(c->min_tok_s) || c->min_tok_s < 0 || c->min_tok_s > 1e9)
        return err_set(err, ERR_INVALID, "min_tok_s is %g; it must be 0 to 1e9", c->min_tok_s);
    if (c->max_gpus && c->gpus_per_replica > c->max_gpus)
        return err_set(err, ERR_INVALID, "gpus_per_replica is %u, but max_gpus is %u",
                       c->gpus_per_replica, c->max_gpus);
    if (c->n_split && c->n_split != c->gpus.n)
        return err_set(err, ERR_INVALID,
                       "tensor_split has %u entries, gpus has %u; they go together in that order",
                       c->n_split, c->gpus.n);
    for (uint32_t i = 0; i < c->labels.n; i++)
        if (!strchr(c->labels.items[i], '=') || c->labels.items[i][0] == '=')
            return err_set(err, ERR_INVALID, "label '%s' must be key=value", c->labels.items[i]);
    return 0;
}

bool name_list_has(const struct name_list *l, const char *name)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], name) == 0)
            return true;
    return false;
}
