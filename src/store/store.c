/* The list of drivers, and the checks that every driver makes alike. */
#include "store/store_int.h"

#include "base/mem.h"

#include <string.h>

const struct store_driver *const STORE_DRIVERS[] = {&STORE_SQLITE, &STORE_MEMORY, NULL};

void store_object_done(struct store_object *o)
{
    free(o->kind);
    free(o->id);
    json_decref(o->spec);
    json_decref(o->status);
    *o = (struct store_object){0};
}

struct store *store_open(const char *driver, const char *where, struct err *err)
{
    for (size_t i = 0; STORE_DRIVERS[i]; i++)
        if (strcmp(STORE_DRIVERS[i]->name, driver) == 0)
            return STORE_DRIVERS[i]->open(where, err);
    return err_null(err, ERR_INVALID, "no store driver '%.40s'; there are sqlite and memory",
                    driver);
}

static bool name_ok(const char *s)
{
    return s && s[0] && strlen(s) <= STORE_MAX_NAME;
}

static int check_op(const struct store_op *op, struct err *err)
{
    if (!name_ok(op->id))
        return err_set(err, ERR_INVALID, "a store id must be 1 to %d bytes", STORE_MAX_NAME);
    switch (op->op) {
    case STORE_CLAIM:
        if (!name_ok(op->device))
            return err_set(err, ERR_INVALID, "a claim's device must be 1 to %d bytes",
                           STORE_MAX_NAME);
        if (op->bytes > INT64_MAX || op->capacity > INT64_MAX)
            return err_set(err, ERR_INVALID, "a claim of %llu bytes on '%s' (%llu) is out of range",
                           (unsigned long long)op->bytes, op->device,
                           (unsigned long long)op->capacity);
        return 0;
    case STORE_UNCLAIM:
        return 0;
    case STORE_PUT_SPEC:
    case STORE_PUT_STATUS:
        if (!json_is_object(op->doc))
            return err_set(err, ERR_INVALID, "the document of '%s' is no object", op->id);
        __attribute__((fallthrough));
    case STORE_DELETE:
        if (!name_ok(op->kind))
            return err_set(err, ERR_INVALID, "a store kind must be 1 to %d bytes", STORE_MAX_NAME);
        return 0;
    }
    return err_set(err, ERR_INVALID, "no store operation %d", (int)op->op);
}

int store_check_ops(const struct store_op *ops, size_t n, struct err *err)
{
    if (!n)
        return err_set(err, ERR_INVALID, "a transaction of no operations");
    if (n > STORE_MAX_OPS)
        return err_set(err, ERR_LIMIT, "a transaction of %zu operations; at most %d are allowed", n,
                       STORE_MAX_OPS);
    for (size_t i = 0; i < n; i++)
        if (check_op(&ops[i], err))
            return -1;
    return 0;
}

char *store_doc_text(const struct store_op *op, struct err *err)
{
    char *text = json_text(op->doc);
    size_t n = strlen(text);
    if (n <= STORE_MAX_DOC)
        return text;
    free(text);
    return err_null(err, ERR_LIMIT, "the document of '%s' has %zu bytes; at most %d are stored",
                    op->id, n, STORE_MAX_DOC);
}

int store_check_expect(const struct store_op *op, int64_t found, struct err *err)
{
    if (op->op == STORE_CLAIM || op->op == STORE_UNCLAIM || op->expect < 0 || op->expect == found)
        return 0;
    if (!op->expect)
        return err_set(err, ERR_CONFLICT, "%s '%s' exists already", op->kind, op->id);
    if (!found)
        return err_set(err, ERR_CONFLICT, "%s '%s' is gone", op->kind, op->id);
    return err_set(err, ERR_CONFLICT, "%s '%s' changed meanwhile (revision %lld, expected %lld)",
                   op->kind, op->id, (long long)found, (long long)op->expect);
}

void store_notify(const struct store_feed *f, int64_t revision, const struct store_op *ops,
                  const bool *changed, size_t n)
{
    for (size_t i = 0; f->fn && i < n; i++)
        if (changed[i])
            f->fn(f->arg, revision, ops[i].kind, ops[i].id, ops[i].op == STORE_DELETE);
}
