/* Strict reading of documents that people write: places, lines, complaints, tables of fields. */
#include "base/doc.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_SHOWN = 80,  /* of a file: the end of a longer path tells more than its begin */
    PLACE_SHOWN = 90, /* "nodes[3].gpus[0]" */
    VALUE_SHOWN = 60,
    FIELDS_MAX = 64,
};

/* ---- places ---- */

struct doc doc_of(const json_t *root)
{
    return (struct doc){.root = (json_t *)root, .nulls = true};
}

struct doc_at doc_root(const struct doc *d)
{
    return (struct doc_at){.doc = d, .v = d->root};
}

struct doc_at doc_member(const struct doc_at *at, const char *key)
{
    json_t *v = json_object_get(at->v, key);
    if (at->doc->nulls && json_is_null(v))
        v = NULL;
    return (struct doc_at){.doc = at->doc, .up = at, .key = key, .v = v};
}

struct doc_at doc_item(const struct doc_at *at, size_t i)
{
    return (struct doc_at){.doc = at->doc, .up = at, .index = i, .v = json_array_get(at->v, i)};
}

bool doc_has(const struct doc_at *at, const char *key)
{
    return doc_member(at, key).v != NULL;
}

size_t doc_values(const json_t *v)
{
    size_t n = 1, i;
    const char *key;
    json_t *child;
    json_object_foreach((json_t *)v, key, child) n += doc_values(child);
    json_array_foreach(v, i, child) n += doc_values(child);
    return n;
}

/* How many values stand before this one in the text. */
static size_t position(const struct doc_at *at)
{
    if (!at->up)
        return 0;
    size_t n = position(at->up) + (at->v != NULL);
    const char *key;
    json_t *child;
    if (at->v && at->key)
        json_object_foreach(at->up->v, key, child)
        {
            if (strcmp(key, at->key) == 0)
                break;
            n += doc_values(child);
        }
    for (size_t i = 0; !at->key && i < at->index; i++)
        n += doc_values(json_array_get(at->up->v, i));
    return n;
}

uint32_t doc_line(const struct doc_at *at)
{
    size_t i = at->doc->n_lines ? position(at) : 0;
    return i < at->doc->n_lines ? at->doc->lines[i] : 0;
}

static void add_place(const struct doc_at *at, struct buf *out)
{
    if (!at->up)
        return;
    add_place(at->up, out);
    if (at->key)
        buf_addf(out, "%s%.60s", out->n ? "." : "", at->key);
    else
        buf_addf(out, "[%zu]", at->index);
}

static void add_file(const struct doc *d, uint32_t line, struct buf *out)
{
    const char *name = d->name;
    size_t n = name ? strlen(name) : 0;
    if (n > NAME_SHOWN)
        buf_addf(out, "...%s", name + n - (NAME_SHOWN - 3));
    else if (name)
        buf_adds(out, name);
    else if (line)
        buf_adds(out, "line ");
    if (line)
        buf_addf(out, "%s%u", name ? ":" : "", line);
    if (name || line)
        buf_adds(out, ": ");
}

static void vfill(const struct doc_at *at, uint32_t line, struct err *err, const char *fmt,
                  va_list ap)
{
    if (!err)
        return;
    buf_auto struct buf out, place;
    buf_init(&out, 4096);
    buf_init(&place, JSON_DEPTH_MAX * 80);
    add_file(at->doc, line, &out);
    add_place(at, &place);
    if (place.n)
        buf_addf(&out, "%.*s%s: ", PLACE_SHOWN, place.p, place.n > PLACE_SHOWN ? "..." : "");
    buf_addv(&out, fmt, ap);
    err->code = ERR_INVALID;
    str_clean(err->msg, sizeof err->msg, buf_str(&out));
}

void doc_fill(const struct doc_at *at, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfill(at, err ? doc_line(at) : 0, err, fmt, ap);
    va_end(ap);
}

void doc_fill_line(const struct doc_at *at, uint32_t line, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfill(at, line, err, fmt, ap);
    va_end(ap);
}

/* ---- single values ---- */

struct shown {
    char text[VALUE_SHOWN + 8];
};

static struct shown show(const json_t *v)
{
    struct shown s = {"nothing"};
    if (json_is_string(v))
        str_copyf(s.text, sizeof s.text, "'%.*s'", VALUE_SHOWN, json_string_value(v));
    else if (json_is_integer(v))
        str_copyf(s.text, sizeof s.text, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        str_copyf(s.text, sizeof s.text, "%.9g", json_real_value(v));
    else if (json_is_boolean(v))
        STR_COPY(s.text, json_is_true(v) ? "true" : "false");
    else if (json_is_array(v))
        STR_COPY(s.text, "a list");
    else if (json_is_object(v))
        STR_COPY(s.text, "a mapping");
    return s;
}

int doc_list(const struct doc_at *at, size_t max, size_t *n, struct err *err)
{
    if (at->v && !json_is_array(at->v))
        return doc_fault(at, err, "must be a list, found %s", show(at->v).text);
    if (json_array_size(at->v) > max)
        return doc_fault(at, err, "%zu items; at most %zu are allowed", json_array_size(at->v),
                         max);
    *n = json_array_size(at->v);
    return 0;
}

int doc_map(const struct doc_at *at, size_t max, struct err *err)
{
    if (at->v && !json_is_object(at->v))
        return doc_fault(at, err, "must be a mapping (key: value), found %s", show(at->v).text);
    if (json_object_size(at->v) > max)
        return doc_fault(at, err, "%zu keys; at most %zu are allowed", json_object_size(at->v),
                         max);
    return 0;
}

int doc_text(const struct doc_at *at, char *dst, size_t cap, struct err *err)
{
    const char *s = json_string_value(at->v);
    if (json_is_number(at->v) || json_is_boolean(at->v))
        return doc_fault(at, err, "must be text, found %s; put it in quotes", show(at->v).text);
    if (!s)
        return doc_fault(at, err, "must be text, found %s", show(at->v).text);
    size_t n = strlen(s);
    if (!n)
        return doc_fault(at, err, "is empty");
    if (n >= cap)
        return doc_fault(at, err, "'%.20s...' is %zu bytes long; at most %zu are allowed", s, n,
                         cap - 1);
    mem_auto char *clean = mem_calloc(n + 1, 1);
    str_clean(clean, n + 1, str_of(s));
    if (strcmp(clean, s) != 0)
        return doc_fault(at, err, "'%.60s' holds characters that cannot be shown", clean);
    str_copy(dst, cap, s);
    return 0;
}

int doc_choice(const struct doc_at *at, const char *const *names, size_t n, int *out,
               struct err *err)
{
    enum { SHORT = 60 };
    const char *s = json_string_value(at->v);
    char all[160] = "";
    for (size_t i = 0; i < n; i++) {
        if (s && strcmp(s, names[i]) == 0) {
            *out = (int)i;
            return 0;
        }
        size_t used = strlen(all);
        str_copyf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = s ? str_nearest(s, names, n) : NULL;
    if (near && strlen(all) > SHORT) /* the nearest alone tells more */
        return doc_fault(at, err, "%s is not known%s", show(at->v).text,
                         str_did_you_mean(near).text);
    return doc_fault(at, err, "%s is none of %s%s", show(at->v).text, all,
                     str_did_you_mean(near).text);
}

/* ---- tables ---- */

static enum num_kind num_kind_of(enum doc_kind kind)
{
    return kind == DOC_RATE      ? NUM_RATE
           : kind == DOC_SECONDS ? NUM_SECONDS
           : kind == DOC_WATTS   ? NUM_WATTS
                                 : NUM_BYTES;
}

/* The bound of a field as one would write it. */
static const char *bound(const struct doc_field *f, double v, char *dst, size_t cap)
{
    if (v != 0 && f->kind != DOC_U32 && f->kind != DOC_NUMBER)
        return num_fmt_unit(dst, cap, num_kind_of(f->kind), v);
    snprintf(dst, cap, "%.12g", v);
    return dst;
}

static int in_bounds(const struct doc_at *at, const struct doc_field *f, double v, struct err *err)
{
    char lo[48], hi[48];
    if (v >= f->lo && v <= f->hi)
        return 0;
    bool bare = f->kind == DOC_BYTES && json_is_integer(at->v) && v > 0;
    return doc_fault(at, err, "%s is outside %s to %s%s", show(at->v).text,
                     bound(f, f->lo, lo, sizeof lo), bound(f, f->hi, hi, sizeof hi),
                     bare ? "; a number without a unit counts bytes" : "");
}

/* What a number of a kind with units looks like, in bytes, bytes/s, seconds or watts. */
static int with_unit(const struct doc_at *at, const struct doc_field *f, double *out,
                     struct err *err)
{
    enum num_kind kind = num_kind_of(f->kind);
    bool bare = f->kind == DOC_BYTES ? json_is_integer(at->v) : json_is_number(at->v);
    if (bare && f->kind != DOC_SECONDS) {
        *out = json_number_value(at->v);
        return 0;
    }
    struct err e = {0};
    if (!json_is_string(at->v))
        return doc_fault(at, err, "found %s; write for example %s", show(at->v).text,
                         num_example(kind));
    if (num_unit(json_string_value(at->v), kind, out, &e))
        return doc_fault(at, err, "%s", e.msg);
    return 0;
}

/* A number of any kind, within its bounds; -0 counts as 0. */
static int number(const struct doc_at *at, const struct doc_field *f, double *out, struct err *err)
{
    double v = json_number_value(at->v);
    if (f->kind == DOC_U32 && !json_is_integer(at->v))
        return doc_fault(at, err, "must be a whole number, found %s", show(at->v).text);
    if (f->kind == DOC_NUMBER && !json_is_number(at->v))
        return doc_fault(at, err, "must be a number, found %s", show(at->v).text);
    if (f->kind != DOC_U32 && f->kind != DOC_NUMBER && with_unit(at, f, &v, err))
        return -1;
    if (in_bounds(at, f, v, err))
        return -1;
    *out = v + 0.0;
    return 0;
}

static int read_field(const struct doc_at *at, const struct doc_field *f, void *out,
                      struct err *err)
{
    void *to = (char *)out + f->offset;
    double v = 0;
    switch (f->kind) {
    case DOC_OTHER:
        return 0;
    case DOC_TEXT:
        return doc_text(at, to, f->size, err);
    case DOC_CHOICE:
        return doc_choice(at, f->choices, f->n_choices, to, err);
    case DOC_BOOL:
        if (!json_is_boolean(at->v))
            return doc_fault(at, err, "must be true or false, found %s", show(at->v).text);
        *(bool *)to = json_is_true(at->v);
        return 0;
    case DOC_BYTES:
    case DOC_U32:
    case DOC_NUMBER:
    case DOC_RATE:
    case DOC_SECONDS:
    case DOC_WATTS:
        break;
    }
    if (number(at, f, &v, err))
        return -1;
    if (f->kind == DOC_BYTES)
        *(uint64_t *)to =
            json_is_integer(at->v) ? (uint64_t)json_integer_value(at->v) : (uint64_t)v;
    else if (f->kind == DOC_U32)
        *(uint32_t *)to = (uint32_t)v;
    else
        *(double *)to = v;
    return 0;
}

static int unknown_key(const struct doc_at *at, const char *key, const char *const *names, size_t n,
                       struct err *err)
{
    const struct doc_at member = doc_member(at, key);
    const char *near = str_nearest(key, names, n);
    char all[120] = "";
    for (size_t i = 0; i < n && !near; i++) {
        size_t used = strlen(all);
        str_copyf(all + used, sizeof all - used, "%s%s", used ? ", " : "; known: ", names[i]);
    }
    doc_fill_line(at, doc_line(&member), err, "unknown key '%.60s'%s%s", key, all,
                  str_did_you_mean(near).text);
    return -1;
}

int doc_known_keys(const struct doc_at *at, const char *const *names, size_t n, struct err *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(at->v))
        return doc_fault(at, err, "must be a mapping (key: value), found %s", show(at->v).text);
    json_object_foreach(at->v, key, v)
    {
        size_t i = 0;
        while (i < n && strcmp(names[i], key) != 0)
            i++;
        if (i == n)
            return unknown_key(at, key, names, n, err);
        const struct doc_at member = doc_member(at, key);
        if (json_is_null(v) && !at->doc->nulls)
            return doc_fault(&member, err, "has no value");
    }
    return 0;
}

int doc_read_fields(const struct doc_at *at, const struct doc_field *fields, size_t n, void *out,
                    struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct doc_at member = doc_member(at, fields[i].key);
        if (!member.v && fields[i].required)
            return doc_fault(at, err, "'%s' is missing", fields[i].key);
        if (member.v && read_field(&member, &fields[i], out, err))
            return -1;
    }
    return 0;
}

int doc_fields(const struct doc_at *at, const struct doc_field *fields, size_t n, void *out,
               struct err *err)
{
    const char *names[FIELDS_MAX];
    assert(n <= FIELDS_MAX);
    for (size_t i = 0; i < n; i++)
        names[i] = fields[i].key;
    if (doc_known_keys(at, names, n, err))
        return -1;
    return doc_read_fields(at, fields, n, out, err);
}

int doc_u32(const struct doc_at *at, uint32_t lo, uint32_t hi, uint32_t *out, struct err *err)
{
    const struct doc_field f = {.kind = DOC_U32, .lo = lo, .hi = hi};
    return read_field(at, &f, out, err);
}

int doc_schema(const struct doc *d, const char *want, struct err *err)
{
    struct doc_at root = doc_root(d), schema = doc_member(&root, "schema");
    if (!json_is_object(d->root))
        return doc_fault(&root, err, "must be a mapping (key: value), found %s",
                         show(d->root).text);
    if (!schema.v)
        return doc_fault(&root, err, "'schema' is missing; write schema: %s", want);
    if (!json_is_string(schema.v) || strcmp(json_string_value(schema.v), want) != 0)
        return doc_fault(&schema, err, "%s is not read here; this program reads %s",
                         show(schema.v).text, want);
    return 0;
}
