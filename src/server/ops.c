/* Building a transaction: the list owns its strings and documents until it is committed. */
#include "server/internal.h"

#include "base/mem.h"

static struct store_op *add(struct ops *o, enum store_op_kind op, const char *kind, const char *id)
{
    mem_grow(&o->items, &o->cap, o->n + 1, sizeof *o->items);
    struct store_op *x = &o->items[o->n++];
    *x = (struct store_op){.op = op, .kind = mem_strdup(kind), .id = mem_strdup(id), .expect = -1};
    return x;
}

void ops_put_spec(struct ops *o, const char *kind, const char *id, json_t *doc, int64_t expect)
{
    struct store_op *x = add(o, STORE_PUT_SPEC, kind, id);
    x->doc = doc;
    x->expect = expect;
}

void ops_put_status(struct ops *o, const char *kind, const char *id, json_t *doc, int64_t expect)
{
    struct store_op *x = add(o, STORE_PUT_STATUS, kind, id);
    x->doc = doc;
    x->expect = expect;
}

void ops_delete(struct ops *o, const char *kind, const char *id)
{
    add(o, STORE_DELETE, kind, id);
}

void ops_claim(struct ops *o, const char *replica, const char *device, uint64_t bytes,
               uint64_t capacity)
{
    struct store_op *x = add(o, STORE_CLAIM, NULL, replica);
    x->device = mem_strdup(device);
    x->bytes = bytes;
    x->capacity = capacity;
}

void ops_unclaim(struct ops *o, const char *replica)
{
    add(o, STORE_UNCLAIM, NULL, replica);
}

void ops_drop(struct ops *o)
{
    for (size_t i = 0; i < o->n; i++) {
        free((char *)o->items[i].kind);
        free((char *)o->items[i].id);
        free((char *)o->items[i].device);
        json_decref(o->items[i].doc);
    }
    free(o->items);
    *o = (struct ops){0};
}

int ops_commit(struct server *s, struct ops *o, int64_t *revision, struct err *err)
{
    int rc = s->store->driver->commit(s->store, o->items, o->n, revision, err);
    ops_drop(o);
    return rc;
}
