/* The store: durable objects with revisions, one writer, a change feed. Seam with drivers sqlite
 * and memory; one contract test runs over every driver (store_test.c). I/O; owned by the server's
 * thread.
 *
 * An object is (kind, id) with two documents that have different writers: `spec` (desired: API,
 * reconciler, scheduler) and `status` (observed: workers by way of the server). A transaction
 * applies all of its operations or none and gets ONE revision, greater than every earlier one.
 * Acknowledged means durable (SQLite: WAL, synchronous=FULL). Heartbeats and readings never come
 * here. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

enum { STORE_MAX_DOC = 4 << 20, STORE_MAX_OPS = 4096 };

struct store;
enum store_op_kind { STORE_PUT_SPEC, STORE_PUT_STATUS, STORE_DELETE, STORE_CLAIM, STORE_UNCLAIM };

struct store_op {
    enum store_op_kind op;
    const char *kind, *id;
    json_t *doc; /* PUT_*: borrowed */
    /* Compare-and-set on the object's revision: -1 any, 0 must not exist, n must be at revision n.
     */
    int64_t expect;
    /* CLAIM/UNCLAIM: (id = replica) takes `bytes` of device `device`, whose capacity is `capacity`;
     * a claim that passes the capacity fails the transaction with ERR_CONFLICT (guarded in the
     * store, also by a database constraint). UNCLAIM drops all claims of the replica. */
    const char *device;
    uint64_t bytes, capacity;
};

struct store_object {
    char *kind, *id;
    int64_t revision;      /* of its last change */
    json_t *spec, *status; /* NULL when never put */
};
void store_object_done(struct store_object *o);

struct store_driver {
    const char *name;
    /* `where` is a path for sqlite, ignored by memory. ERR_IO, ERR_CORRUPT (checked at open). */
    struct store *(*open)(const char *where, struct err *err);
    void (*close)(struct store *s);
    /* ERR_CONFLICT when an expectation or a capacity fails (nothing applied), ERR_IO (disk full...)
     */
    int (*commit)(struct store *s, const struct store_op *ops, size_t n, int64_t *revision,
                  struct err *err);
    /* ERR_NOT_FOUND */
    int (*get)(struct store *s, const char *kind, const char *id, struct store_object *out,
               struct err *err);
    /* Every object of a kind, by id; the callback's object is borrowed. Stops when fn returns
     * false. */
    int (*list)(struct store *s, const char *kind,
                bool (*fn)(void *arg, const struct store_object *o), void *arg, struct err *err);
    /* Bytes claimed on a device; 0 when none. */
    int (*claimed)(struct store *s, const char *device, uint64_t *bytes, struct err *err);
    /* Of the last commit; 0 for a new store. */
    int64_t (*revision)(struct store *s);
    /* Called after every commit, on the same thread, once per operation that changed an object.
     * With kind and id NULL: the store is not what the caller last knew; read everything again. */
    void (*on_change)(struct store *s,
                      void (*fn)(void *arg, int64_t revision, const char *kind, const char *id,
                                 bool deleted),
                      void *arg);
};
struct store {
    const struct store_driver *driver;
};
extern const struct store_driver *const STORE_DRIVERS[]; /* NULL-terminated: sqlite, memory */
struct store *store_open(const char *driver, const char *where, struct err *err);

#endif
