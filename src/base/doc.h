/* A document that a person wrote, in YAML or JSON, read strictly. Pure; one owner.
 *
 * Every complaint is an ERR_INVALID that names file, line and place, and the nearest name where a
 * name is unknown: "c.yaml:12: nodes[3].gpus[0]: unknown key 'memroy'; did you mean 'memory'?".
 * A reader goes down the tree with `struct doc_at`; most tables of a document are read by one
 * doc_fields() call. JSON goes through the same parser, as nearly all of it is YAML (not the
 * surrogate pairs of \u escapes). Documents of the wire are not read here but by json.h. */
#ifndef BASE_DOC_H
#define BASE_DOC_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DOC_VALUES_MAX = 1 << 22 }; /* values in one document */

struct doc {
    const char *name; /* of the file, borrowed; NULL: places are named without it */
    json_t *root;
    uint32_t *lines; /* of every value in the order of the text (that of its key, if it has one) */
    size_t n_lines, cap_lines; /* 0: lines are not known */
    bool nulls;                /* null counts as absent, as on the wire */
};

/* Parses a whole document of at most JSON_BYTES_MAX bytes into *d; doc_done() frees what it holds,
 * also after a failure. Refused: a key given twice (both lines are named), nesting beyond
 * JSON_DEPTH_MAX, anchors, aliases, tags, NUL characters, an empty document. */
int doc_parse(struct doc *d, const char *name, const char *p, size_t n, struct err *err);
void doc_done(struct doc *d);
/* A tree from the wire, or one whose text is gone: errors name its places only, and null counts as
 * absent. Borrows the tree; no doc_done(). */
struct doc doc_of(const json_t *root);
/* How many values `v` holds, itself counted. */
size_t doc_values(const json_t *v);

/* A value and the way to it. Lives on the stack, not longer than `up`. */
struct doc_at {
    const struct doc *doc;
    const struct doc_at *up; /* NULL: the root */
    const char *key;         /* the member of `up`, or NULL: the item `index` of it */
    size_t index;
    json_t *v; /* NULL: `up` has no such member */
};
struct doc_at doc_root(const struct doc *d);
struct doc_at doc_member(const struct doc_at *at, const char *key);
struct doc_at doc_item(const struct doc_at *at, size_t i);
bool doc_has(const struct doc_at *at, const char *key);
/* The line of a value, 0 when it is not known. Walks the document: for error messages. */
uint32_t doc_line(const struct doc_at *at);

/* Fills err with ERR_INVALID, "FILE:LINE: PLACE: " and the message, all of it made fit to print;
 * the line is that of the place, or the one given (0: none). */
void doc_fill(const struct doc_at *at, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void doc_fill_line(const struct doc_at *at, uint32_t line, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* `return doc_fault(&at, err, "two nodes are named '%s'", name);` -- always -1. */
#define doc_fault(at, err, ...) (doc_fill((at), (err), __VA_ARGS__), -1)

/* ---- single values; out is not touched on failure ---- */

/* A list (of at most `max` items) or a mapping; an absent one counts as empty. */
int doc_list(const struct doc_at *at, size_t max, size_t *n, struct err *err);
int doc_map(const struct doc_at *at, size_t max, struct err *err);
/* Text without control characters, not empty, that fits into dst[cap]. */
int doc_text(const struct doc_at *at, char *dst, size_t cap, struct err *err);
/* One of names[n], as its index; a fault names all of them or the nearest. */
int doc_choice(const struct doc_at *at, const char *const *names, size_t n, int *out,
               struct err *err);
/* A whole number of at most `hi`. */
int doc_u32(const struct doc_at *at, uint32_t lo, uint32_t hi, uint32_t *out, struct err *err);

/* ---- tables ---- */

enum doc_kind {
    DOC_TEXT,    /* char[size], as doc_text() */
    DOC_BYTES,   /* uint64_t; "24GiB" or a whole number of bytes */
    DOC_U32,     /* uint32_t; a whole number */
    DOC_NUMBER,  /* double */
    DOC_RATE,    /* double; "936GB/s", "10Gbit/s" or a number of bytes per second */
    DOC_SECONDS, /* double; "0.2ms"; a unit is needed */
    DOC_WATTS,   /* double; "350W" or a number of watts */
    DOC_BOOL,    /* bool */
    DOC_CHOICE,  /* int; which of choices[] */
    DOC_OTHER,   /* a known key that the caller reads by itself */
};

struct doc_field {
    const char *key;
    enum doc_kind kind;
    bool required;
    size_t offset, size; /* of the member of the struct; size for DOC_TEXT only */
    double lo, hi;       /* bounds of numbers of any kind, both allowed */
    const char *const *choices;
    size_t n_choices;
};
#define DOC_FIELD(type, member)                                                                    \
    .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

/* Reads the mapping at `at` into *out by its table (at most 64 fields): an unknown key, a missing
 * required one, one without a value, and a value of another kind or out of bounds are refused. What
 * is absent stays as it was in *out. */
int doc_fields(const struct doc_at *at, const struct doc_field *fields, size_t n, void *out,
               struct err *err);
/* The two halves of doc_fields(), for mappings whose keys are those of several tables. */
int doc_known_keys(const struct doc_at *at, const char *const *names, size_t n, struct err *err);
int doc_read_fields(const struct doc_at *at, const struct doc_field *fields, size_t n, void *out,
                    struct err *err);
/* Checks that the document is a mapping whose key `schema` says `want`. */
int doc_schema(const struct doc *d, const char *want, struct err *err);

#endif
