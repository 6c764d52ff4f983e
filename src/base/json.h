/* JSON trees (jansson) from hostile bytes, and typed access with errors that name the field.
 *
 * Pure. Trees are json_t of jansson: `json_auto_t *v` (our alias of its cleanup attribute) frees
 * one. A tree has one owner at a time: jansson's counts are not shared between threads here. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/err.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    JSON_DEPTH_MAX = 64,       /* nesting of arrays and objects */
    JSON_BYTES_MAX = 64 << 20, /* one document */
};

/* Parses one whole document: UTF-8, no duplicate keys, depth and size capped. The caller owns it.
 */
json_t *json_parse(const char *p, size_t n, struct err *err);
/* Compact text with keys in insertion order; the caller frees it. */
char *json_text(const json_t *v);

/* Field access on an object. `what` is the field name; absent fields leave *out as it was when
 * `required` is false and are an ERR_INVALID otherwise; null counts as absent.
 * Strings are borrowed from the tree. */
int json_get_str(const json_t *obj, const char *what, bool required, const char **out,
                 struct err *err);
int json_get_u64(const json_t *obj, const char *what, bool required, uint64_t hi, uint64_t *out,
                 struct err *err);
int json_get_u32(const json_t *obj, const char *what, bool required, uint32_t hi, uint32_t *out,
                 struct err *err);
int json_get_double(const json_t *obj, const char *what, bool required, double *out,
                    struct err *err);
int json_get_bool(const json_t *obj, const char *what, bool required, bool *out, struct err *err);
/* Copies a string into a fixed array; longer than the array is an ERR_LIMIT. */
int json_copy_str(const json_t *obj, const char *what, bool required, char *dst, size_t cap,
                  struct err *err);
#define JSON_COPY(obj, what, required, array, err)                                                 \
    json_copy_str((obj), (what), (required), (array), sizeof(array), (err))
/* An array or object field, borrowed; NULL when absent (err set only when required or of another
 * type). */
json_t *json_get_array(const json_t *obj, const char *what, bool required, struct err *err);
json_t *json_get_object(const json_t *obj, const char *what, bool required, struct err *err);
/* Refuses keys outside names[n] with "did you mean". */
int json_known_keys(const json_t *obj, const char *where, const char *const *names, size_t n,
                    struct err *err);

/* Setting fields that never fail for memory (aborts). A NULL string is left out. */
void json_put_str(json_t *obj, const char *key, const char *value);
void json_put_u64(json_t *obj, const char *key, uint64_t value); /* saturates at INT64_MAX */
void json_put_double(json_t *obj, const char *key, double value);
void json_put_bool(json_t *obj, const char *key, bool value);
json_t *json_put_object(json_t *obj, const char *key); /* a new object, owned by obj */
json_t *json_put_array(json_t *obj, const char *key);
void json_add_str(json_t *array, const char *value); /* as json_put_str() */
json_t *json_add_object(json_t *array); /* a new object at the end, owned by the array */

#endif
