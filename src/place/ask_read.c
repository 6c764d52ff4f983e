/* Questions from their documents; see ask.h. */
#include "place/ask.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

static const char *const KINDS[] = {
    [ASK_PLAN] = "plan",     [ASK_WHATIF] = "whatif",   [ASK_SIZE] = "size",
    [ASK_DEFRAG] = "defrag", [ASK_WHY_NOT] = "why_not",
};
_Static_assert(ARRAY_LEN(KINDS) == ASK_KIND_COUNT, "one name per kind");

static int read_kind(struct ask *a, const json_t *doc, struct err *err)
{
    const char *name = "plan";
    if (json_get_str(doc, "kind", false, &name, err))
        return -1;
    for (size_t i = 0; i < ASK_KIND_COUNT; i++)
        if (strcmp(name, KINDS[i]) == 0)
            return a->kind = (enum ask_kind)i, 0;
    const char *near = str_nearest(name, KINDS, ASK_KIND_COUNT);
    return err_set(err, ERR_INVALID,
                   "kind '%.40s' is none of plan, whatif, size, defrag, "
                   "why_not%s%s%s",
                   name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* What is only planned needs no name. */
static int read_spec(struct ask *a, const json_t *tree, struct err *err)
{
    struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct doc d = doc_of(tree);
    struct doc_at at = doc_root(&d);
    a->specs[a->n_specs++] = spec;
    return spec_read(spec, &at, "plan", err);
}

static int read_specs(struct ask *a, const json_t *doc, struct err *err)
{
    const json_t *one = json_object_get(doc, "spec"), *list = json_object_get(doc, "specs");
    size_t n = json_array_size(list);
    if (!one == !list)
        return err_set(err, ERR_INVALID, "'spec' or 'specs' must be given, and not both");
    if (list && (!json_is_array(list) || !n || n > ASK_MAX_SPECS))
        return err_set(err, ERR_INVALID, "'specs' must be a list of 1 to %d specs", ASK_MAX_SPECS);
    a->many = list != NULL;
    a->specs = mem_calloc(n + 1, sizeof *a->specs);
    if (one)
        return read_spec(a, one, err);
    for (size_t i = 0; i < n; i++)
        if (read_spec(a, json_array_get(list, i), err)) {
            err_wrap(err, "specs[%zu]", i);
            return -1;
        }
    if (a->kind == ASK_PLAN || a->kind == ASK_WHATIF || a->kind == ASK_SIZE)
        return 0;
    return err_set(err, ERR_INVALID, "%s takes one 'spec', not 'specs'", KINDS[a->kind]);
}

static int read_edits(struct ask *a, const json_t *doc, struct err *err)
{
    const json_t *list = json_object_get(doc, "edits");
    size_t n = json_array_size(list);
    if (list && (!json_is_array(list) || n > ASK_MAX_EDITS))
        return err_set(err, ERR_INVALID, "'edits' must be a list of at most %d", ASK_MAX_EDITS);
    if (!n && a->kind == ASK_WHATIF)
        return err_set(err, ERR_INVALID, "whatif needs 'edits': what would be different");
    a->edits = mem_calloc(n + 1, sizeof *a->edits);
    for (size_t i = 0; i < n; i++) {
        if (edit_from_json(&a->edits[i], json_array_get(list, i), err)) {
            err_wrap(err, "edits[%zu]", i);
            return -1;
        }
        a->n_edits++;
    }
    return 0;
}

/* What belongs to one kind is refused with the others, where it would mean nothing. */
static int read_own(struct ask *a, const json_t *doc, struct err *err)
{
    bool why_not = a->kind == ASK_WHY_NOT, size = a->kind == ASK_SIZE;
    if (json_object_get(doc, "gpu") && !why_not)
        return err_set(err, ERR_INVALID, "'gpu' belongs to why_not, not to %s", KINDS[a->kind]);
    if (json_object_get(doc, "prices") && !size)
        return err_set(err, ERR_INVALID, "'prices' belongs to size, not to %s", KINDS[a->kind]);
    if (JSON_COPY(doc, "gpu", why_not, a->gpu, err))
        return -1;
    return size ? prices_from_json(&a->prices, json_object_get(doc, "prices"), err) : 0;
}

int ask_from_json(struct ask *a, const json_t *doc, struct err *err)
{
    static const char *const KEYS[] = {"kind", "spec", "specs", "edits", "budget", "prices", "gpu"};
    if (json_known_keys(doc, "a question", KEYS, ARRAY_LEN(KEYS), err) == 0 &&
        json_get_u64(doc, "budget", false, INT64_MAX, &a->steps, err) == 0 &&
        read_kind(a, doc, err) == 0 && read_specs(a, doc, err) == 0 &&
        read_edits(a, doc, err) == 0 && read_own(a, doc, err) == 0)
        return 0;
    ask_done(a);
    return -1;
}

void ask_done(struct ask *a)
{
    for (uint32_t i = 0; i < a->n_specs; i++)
        free(a->specs[i]);
    free(a->specs);
    free(a->edits);
    prices_free(a->prices);
    *a = (struct ask){0};
}
