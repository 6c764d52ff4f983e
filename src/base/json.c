/* JSON trees and typed access. */
#include "base/json.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* jansson recurses at most JSON_PARSER_MAX_DEPTH (2048); ours is smaller and checked before
 * parsing. */
static int check_depth(const char *p, size_t n, struct err *err)
{
    int depth = 0;
    bool text = false;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                text = false;
        } else if (c == '"') {
            text = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return err_set(err, ERR_LIMIT, "JSON nests deeper than %d at byte %zu",
                               JSON_DEPTH_MAX, i);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return 0;
}

json_t *json_parse(const char *p, size_t n, struct err *err)
{
    if (n > JSON_BYTES_MAX)
        return err_null(err, ERR_LIMIT, "JSON of %zu bytes; at most %d are read", n,
                        JSON_BYTES_MAX);
    const char *nul = n ? memchr(p, 0, n) : NULL; /* the parser overlooks one after a number */
    if (nul)
        return err_null(err, ERR_INVALID, "not valid JSON: a NUL at byte %zu", (size_t)(nul - p));
    if (check_depth(p, n, err))
        return NULL;
    json_error_t e;
    json_t *v = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!v)
        return err_null(err, ERR_INVALID, "not valid JSON: %.120s (line %d, byte %d)", e.text,
                        e.line, e.position);
    return v;
}

char *json_text(const json_t *v)
{
    char *s = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    return s ? s : mem_strdup("null");
}

/* The field, or NULL: absent (sets err when required) or null. */
static json_t *field(const json_t *obj, const char *what, bool required, struct err *err)
{
    json_t *v = json_is_object(obj) ? json_object_get(obj, what) : NULL;
    if (v && !json_is_null(v))
        return v;
    if (required)
        err_fill(err, ERR_INVALID, "'%s' is missing", what);
    return NULL;
}

static const char *type_name(const json_t *v)
{
    static const char *const NAMES[] = {"an object", "an array", "a string", "an integer",
                                        "a real",    "true",     "false",    "null"};
    return NAMES[json_typeof(v)];
}

static int wrong_type(const json_t *v, const char *what, const char *want, struct err *err)
{
    return err_set(err, ERR_INVALID, "'%s' must be %s, found %s", what, want, type_name(v));
}

int json_get_str(const json_t *obj, const char *what, bool required, const char **out,
                 struct err *err)
{
    json_t *v = field(obj, what, required, err);
    if (!v)
        return required ? -1 : 0;
    if (!json_is_string(v))
        return wrong_type(v, what, "a string", err);
    *out = json_string_value(v);
    return 0;
}

int json_get_u64(const json_t *obj, const char *what, bool required, uint64_t hi, uint64_t *out,
                 struct err *err)
{
    json_t *v = field(obj, what, required, err);
    if (!v)
        return required ? -1 : 0;
    if (!json_is_integer(v))
        return wrong_type(v, what, "a whole number", err);
    json_int_t n = json_integer_value(v);
    if (n < 0 || (uint64_t)n > hi)
        return err_set(err, ERR_INVALID, "'%s' is %lld; it must be 0 to %llu", what, (long long)n,
                       (unsigned long long)hi);
    *out = (uint64_t)n;
    return 0;
}

int json_get_u32(const json_t *obj, const char *what, bool required, uint32_t hi, uint32_t *out,
                 struct err *err)
{
    uint64_t v = *out;
    if (json_get_u64(obj, what, required, hi, &v, err))
        return -1;
    *out = (uint32_t)v;
    return 0;
}

int json_get_double(const json_t *obj, const char *what, bool required, double *out,
                    struct err *err)
{
    json_t *v = field(obj, what, required, err);
    if (!v)
        return required ? -1 : 0;
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        return wrong_type(v, what, "a number", err);
    *out = json_number_value(v);
    return 0;
}

int json_get_bool(const json_t *obj, const char *what, bool required, bool *out, struct err *err)
{
    json_t *v = field(obj, what, required, err);
    if (!v)
        return required ? -1 : 0;
    if (!json_is_boolean(v))
        return wrong_type(v, what, "true or false", err);
    *out = json_is_true(v);
    return 0;
}

int json_copy_str(const json_t *obj, const char *what, bool required, char *dst, size_t cap,
                  struct err *err)
{
    const char *s = NULL;
    if (json_get_str(obj, what, required, &s, err))
        return -1;
    if (!s)
        return 0;
    if (strlen(s) >= cap)
        return err_set(err, ERR_LIMIT, "'%s' is %zu bytes long; at most %zu are allowed", what,
                       strlen(s), cap - 1);
    str_copy(dst, cap, s);
    return 0;
}

json_t *json_get_array(const json_t *obj, const char *what, bool required, struct err *err)
{
    json_t *v = field(obj, what, required, err);
    if (v && !json_is_array(v)) {
        wrong_type(v, what, "a list", err);
        return NULL;
    }
    return v;
}

json_t *json_get_object(const json_t *obj, const char *what, bool required, struct err *err)
{
    json_t *v = field(obj, what, required, err);
    if (v && !json_is_object(v)) {
        wrong_type(v, what, "an object", err);
        return NULL;
    }
    return v;
}

int json_known_keys(const json_t *obj, const char *where, const char *const *names, size_t n,
                    struct err *err)
{
    if (!json_is_object(obj))
        return err_set(err, ERR_INVALID, "%s must be an object", where);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)obj, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(names[i], key) != 0)
            i++;
        if (i < n)
            continue;
        return err_set(err, ERR_INVALID, "%s has no key '%.60s'%s", where, key,
                       str_did_you_mean(str_nearest(key, names, n)).text);
    }
    return 0;
}

static void put(json_t *obj, const char *key, json_t *value)
{
    if (!value || json_object_set_new(obj, key, value))
        abort();
}

/* Text that is not UTF-8 (foreign, such as a log line) keeps its ASCII. */
static json_t *text_of(const char *value)
{
    json_t *s = json_string(value);
    if (!s) {
        char *copy = mem_strdup(value);
        for (char *c = copy; *c; c++)
            if ((unsigned char)*c >= 0x80)
                *c = '?';
        s = json_string(copy);
        free(copy);
    }
    return s;
}

void json_put_str(json_t *obj, const char *key, const char *value)
{
    if (value)
        put(obj, key, text_of(value));
}

void json_add_str(json_t *array, const char *value)
{
    if (value && json_array_append_new(array, text_of(value)))
        abort();
}

void json_put_u64(json_t *obj, const char *key, uint64_t value)
{
    put(obj, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void json_put_double(json_t *obj, const char *key, double value)
{
    put(obj, key, json_real(isfinite(value) ? value : 0));
}

void json_put_bool(json_t *obj, const char *key, bool value)
{
    put(obj, key, json_boolean(value));
}

json_t *json_put_object(json_t *obj, const char *key)
{
    json_t *v = json_object();
    put(obj, key, v);
    return v;
}

json_t *json_put_array(json_t *obj, const char *key)
{
    json_t *v = json_array();
    put(obj, key, v);
    return v;
}

json_t *json_add_object(json_t *array)
{
    json_t *v = json_object();
    if (!v || json_array_append_new(array, v))
        abort();
    return v;
}
