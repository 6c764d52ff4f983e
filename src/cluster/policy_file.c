/* Policies as people and specs write them (docs/policies.md): strict both ways. */
#include "cluster/policy.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

#define POLICY_SCHEMA "stowage.policy/1"

static const char *const MODES[] = {"lexicographic", "weighted"};

struct policy_row {
    struct policy p;
    int mode; /* of MODES */
};
struct term_row {
    double weight;
};

/* clang-format off */
#define P(member) DOC_FIELD(struct policy_row, member)
static const struct doc_field POLICY_FIELDS[] = {
    {"name", DOC_TEXT, true, P(p.name)},
    {"mode", DOC_CHOICE, false, P(mode), .choices = MODES, .n_choices = ARRAY_LEN(MODES)},
    {"terms", DOC_OTHER, true},
    {"streams", DOC_U32, false, P(p.streams), .lo = 1, .hi = POLICY_MAX_STREAMS},
    {"domain", DOC_TEXT, false, P(p.domain)},
    /* of a file only */
    {"schema", DOC_OTHER},
    {"constraints", DOC_OTHER},
};
enum { N_FILE_FIELDS = ARRAY_LEN(POLICY_FIELDS), N_FIELDS = N_FILE_FIELDS - 2 };
static const struct doc_field TERM_FIELDS[] = {
    {"term", DOC_OTHER, true},
    {"weight", DOC_NUMBER, false, DOC_FIELD(struct term_row, weight), .lo = 1e-12, .hi = 1e12},
};
/* clang-format on */

/* ---- reading ---- */

/* A name, or {term, weight}. */
static int read_term(struct policy *p, const struct doc_at *at, struct err *err)
{
    const char *names[TERM_COUNT];
    const bool plain = json_is_string(at->v);
    const struct doc_at member = doc_member(at, "term"), weight = doc_member(at, "weight");
    struct term_row row = {.weight = 1};
    int t = 0;
    for (int i = 0; i < TERM_COUNT; i++)
        names[i] = policy_term_name((enum policy_term)i);
    if ((!plain && doc_fields(at, TERM_FIELDS, ARRAY_LEN(TERM_FIELDS), &row, err)) ||
        doc_choice(plain ? at : &member, names, TERM_COUNT, &t, err))
        return -1;
    if (weight.v && !p->weighted)
        return doc_fault(&weight, err,
                         "a lexicographic policy compares terms one after the other and has no "
                         "weights; write mode: weighted");
    for (uint32_t i = 0; i < p->n_terms; i++)
        if ((int)p->terms[i].term == t)
            return doc_fault(at, err, "'%s' is given twice, first as terms[%u]", names[t], i);
    p->terms[p->n_terms].term = (enum policy_term)t;
    p->terms[p->n_terms++].weight = row.weight;
    return 0;
}

static int read_mapping(struct policy *p, const struct doc_at *at, size_t n_fields, struct err *err)
{
    struct policy_row row = {.mode = 0};
    const struct doc_at terms = doc_member(at, "terms");
    size_t n;
    if (doc_fields(at, POLICY_FIELDS, n_fields, &row, err) || doc_list(&terms, TERM_COUNT, &n, err))
        return -1;
    if (!n)
        return doc_fault(&terms, err, "a policy needs at least one term, %s for example",
                         policy_term_name(TERM_TOKEN_TIME));
    row.p.weighted = row.mode == 1;
    for (size_t i = 0; i < n; i++) {
        const struct doc_at term = doc_item(&terms, i);
        if (read_term(&row.p, &term, err))
            return -1;
    }
    *p = row.p;
    return 0;
}

int policy_read(struct policy *p, const struct doc_at *at, struct err *err)
{
    struct err e = {0};
    if (!json_is_string(at->v))
        return read_mapping(p, at, N_FIELDS, err);
    if (policy_preset(p, json_string_value(at->v), &e))
        return doc_fault(at, err, "%s", e.msg);
    return 0;
}

int policy_from_json(struct policy *p, const json_t *tree, struct err *err)
{
    const struct doc d = doc_of(tree);
    const struct doc_at root = doc_root(&d);
    return policy_read(p, &root, err);
}

int policy_file_read(struct policy *p, struct constraints *c, const struct doc *d, struct err *err)
{
    const struct doc_at root = doc_root(d), constraints = doc_member(&root, "constraints");
    struct policy fresh;
    if (doc_schema(d, POLICY_SCHEMA, err) || read_mapping(&fresh, &root, N_FILE_FIELDS, err) ||
        (constraints.v && constraints_read(c, &constraints, NULL, 0, err)))
        return -1;
    *p = fresh;
    return 0;
}

/* ---- writing ---- */

static void write_mapping(const struct policy *p, json_t *o)
{
    json_put_str(o, "name", p->name);
    json_put_str(o, "mode", MODES[p->weighted]);
    json_t *list = json_put_array(o, "terms");
    for (uint32_t i = 0; i < p->n_terms; i++) {
        const char *name = policy_term_name(p->terms[i].term);
        if (!p->weighted) {
            json_add_str(list, name);
            continue;
        }
        json_t *t = json_add_object(list);
        json_put_str(t, "term", name);
        json_put_double(t, "weight", p->terms[i].weight);
    }
    if (p->streams)
        json_put_u64(o, "streams", p->streams);
    if (p->domain[0])
        json_put_str(o, "domain", p->domain);
}

json_t *policy_to_json(const struct policy *p)
{
    struct policy preset;
    if (policy_preset(&preset, p->name, NULL) == 0 && policy_same(&preset, p))
        return json_string(p->name);
    json_t *o = json_object();
    write_mapping(p, o);
    return o;
}

json_t *policy_file_to_json(const struct policy *p, const struct constraints *c)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", POLICY_SCHEMA);
    write_mapping(p, doc);
    json_t *constraints = json_put_object(doc, "constraints");
    constraints_to_json(c, constraints);
    if (!json_object_size(constraints))
        json_object_del(doc, "constraints");
    return doc;
}
