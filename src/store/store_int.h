/* What the drivers share; private to the folder. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "store/store.h"

enum { STORE_MAX_NAME = 200 };

struct store_feed {
    void (*fn)(void *arg, int64_t revision, const char *kind, const char *id, bool deleted);
    void *arg;
};

extern const struct store_driver STORE_SQLITE, STORE_MEMORY;

/* Count, names and ranges of a transaction's operations. ERR_INVALID, ERR_LIMIT. */
int store_check_ops(const struct store_op *ops, size_t n, struct err *err);
/* The text of op's document (caller frees); ERR_LIMIT. */
char *store_doc_text(const struct store_op *op, struct err *err);
/* Compares op's expectation with the object's revision (0: absent). ERR_CONFLICT. */
int store_check_expect(const struct store_op *op, int64_t found, struct err *err);
void store_notify(const struct store_feed *f, int64_t revision, const struct store_op *ops,
                  const bool *changed, size_t n);

#endif
