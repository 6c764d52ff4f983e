/* YAML into the same tree as JSON, so that one validator serves both (libyaml events), with the
 * line of every value.
 *
 * Only the JSON part of YAML: no anchors, aliases or tags, one document, string keys without
 * duplicates. A plain scalar is null, true, false, an integer or a real by YAML 1.2's core rules
 * and otherwise a string: `no`, `on` and `yes` stay strings. */
#include "base/doc.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct frame {
    json_t *node;      /* owned by its parent; the root by the document */
    size_t first;      /* place in `lines` of its first child */
    char *key;         /* of a mapping, once read */
    uint32_t key_line; /* of key */
};

struct reader {
    yaml_parser_t yaml;
    struct frame stack[JSON_DEPTH_MAX];
    int depth;
    struct doc *d;
};

static uint32_t line_of(const yaml_mark_t *mark)
{
    return mark->line < UINT32_MAX ? (uint32_t)mark->line + 1 : 0;
}

static int fault_at(const struct reader *r, uint32_t line, struct err *err, const char *text)
{
    const struct doc_at root = {.doc = r->d};
    doc_fill_line(&root, line, err, "%s", text);
    return -1;
}

static int fault(const struct reader *r, const yaml_event_t *e, struct err *err, const char *text)
{
    return fault_at(r, line_of(&e->start_mark), err, text);
}

static json_t *scalar(const yaml_event_t *e)
{
    const char *s = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return json_stringn(s, n);
    if (!n || !strcmp(s, "null") || !strcmp(s, "~"))
        return json_null();
    if (!strcmp(s, "true"))
        return json_true();
    if (!strcmp(s, "false"))
        return json_false();
    if (strspn(s, "0123456789+-.eE") == n && strpbrk(s, "0123456789")) {
        json_t *v = json_loadb(s, n, JSON_DECODE_ANY, NULL);
        if (v && json_is_number(v))
            return v;
        json_decref(v);
    }
    return json_stringn(s, n);
}

/* The line of a key that the mapping has already. */
static uint32_t first_line(const struct reader *r, const struct frame *f, const char *wanted)
{
    size_t i = f->first;
    const char *key;
    json_t *v;
    json_object_foreach(f->node, key, v)
    {
        if (strcmp(key, wanted) == 0)
            break;
        i += doc_values(v);
    }
    return i < r->d->n_lines ? r->d->lines[i] : 0;
}

static int take_key(struct reader *r, struct frame *f, const yaml_event_t *e, struct err *err)
{
    if (e->type != YAML_SCALAR_EVENT)
        return fault(r, e, err, "a key must be a plain word");
    f->key = mem_strndup((const char *)e->data.scalar.value, e->data.scalar.length);
    f->key_line = line_of(&e->start_mark);
    if (!json_object_get(f->node, f->key))
        return 0;
    char text[120];
    str_copyf(text, sizeof text, "key '%.60s' is there twice, first in line %u", f->key,
              first_line(r, f, f->key));
    return fault(r, e, err, text);
}

static int add_line(struct reader *r, uint32_t line, struct err *err)
{
    struct doc *d = r->d;
    if (d->n_lines == DOC_VALUES_MAX) {
        char text[60];
        str_copyf(text, sizeof text, "more than %d values in one document", DOC_VALUES_MAX);
        return fault_at(r, line, err, text);
    }
    mem_grow(&d->lines, &d->cap_lines, d->n_lines + 1, sizeof *d->lines);
    d->lines[d->n_lines++] = line;
    return 0;
}

/* Puts a new value where the reader stands; takes it. A scalar in key position becomes the key. */
static int place(struct reader *r, const yaml_event_t *e, json_t *v, struct err *err)
{
    struct frame *f = r->depth ? &r->stack[r->depth - 1] : NULL;
    bool member = f && json_is_object(f->node);
    if (v && member && !f->key) {
        json_decref(v);
        return take_key(r, f, e, err);
    }
    if (!v)
        return fault(r, e, err, "a text is not UTF-8");
    if (!f && r->d->root) {
        json_decref(v);
        return fault(r, e, err, "a second document; one is read");
    }
    if (add_line(r, member ? f->key_line : line_of(&e->start_mark), err)) {
        json_decref(v);
        return -1;
    }
    int rc = 0;
    if (!f)
        r->d->root = v;
    else if (!member)
        rc = json_array_append_new(f->node, v);
    else
        rc = json_object_set_new(f->node, f->key, v);
    if (member) {
        free(f->key);
        f->key = NULL;
    }
    return rc ? fault(r, e, err, "a key is not UTF-8") : 0;
}

static int push(struct reader *r, const yaml_event_t *e, json_t *v, struct err *err)
{
    if (r->depth == JSON_DEPTH_MAX) {
        json_decref(v);
        char text[60];
        str_copyf(text, sizeof text, "nests deeper than %d levels", JSON_DEPTH_MAX);
        return fault(r, e, err, text);
    }
    if (place(r, e, v, err))
        return -1;
    r->stack[r->depth++] = (struct frame){.node = v, .first = r->d->n_lines};
    return 0;
}

static const char NO_TAGS[] = "anchors (&), aliases (*) and tags (!) are not read";

static int on_event(struct reader *r, const yaml_event_t *e, struct err *err)
{
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return fault(r, e, err, NO_TAGS);
    case YAML_SCALAR_EVENT:
        if (e->data.scalar.anchor || e->data.scalar.tag)
            return fault(r, e, err, NO_TAGS);
        if (memchr(e->data.scalar.value, 0, e->data.scalar.length))
            return fault(r, e, err, "a text holds a NUL character");
        return place(r, e, scalar(e), err);
    case YAML_SEQUENCE_START_EVENT:
        if (e->data.sequence_start.anchor || e->data.sequence_start.tag)
            return fault(r, e, err, NO_TAGS);
        return push(r, e, json_array(), err);
    case YAML_MAPPING_START_EVENT:
        if (e->data.mapping_start.anchor || e->data.mapping_start.tag)
            return fault(r, e, err, NO_TAGS);
        return push(r, e, json_object(), err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return 0;
    default:
        return 0;
    }
}

/* libyaml counts the lines of an unreadable byte only up to what it has buffered: no line then. */
static int not_yaml(const struct reader *r, struct err *err)
{
    char text[160];
    const char *problem = r->yaml.problem ? r->yaml.problem : "?";
    if (r->yaml.error == YAML_READER_ERROR)
        str_copyf(text, sizeof text, "not valid YAML: %.100s at byte %zu", problem,
                  r->yaml.problem_offset);
    else
        str_copyf(text, sizeof text, "not valid YAML: %.100s", problem);
    uint32_t line = r->yaml.error == YAML_READER_ERROR ? 0 : line_of(&r->yaml.problem_mark);
    return fault_at(r, line, err, text);
}

static int read_events(struct reader *r, struct err *err)
{
    int rc = 0;
    for (bool end = false; !end && !rc;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r->yaml, &e))
            return not_yaml(r, err);
        end = e.type == YAML_STREAM_END_EVENT;
        rc = on_event(r, &e, err);
        yaml_event_delete(&e);
    }
    if (!rc && (!r->d->root || json_is_null(r->d->root)))
        rc = fault_at(r, 1, err, "the document is empty");
    return rc;
}

int doc_parse(struct doc *d, const char *name, const char *p, size_t n, struct err *err)
{
    *d = (struct doc){.name = name};
    struct reader r = {.d = d};
    if (n > JSON_BYTES_MAX) {
        char text[80];
        str_copyf(text, sizeof text, "%zu bytes; at most %d are read", n, JSON_BYTES_MAX);
        return fault_at(&r, 0, err, text);
    }
    if (!yaml_parser_initialize(&r.yaml))
        abort(); /* out of memory */
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)p, n);
    int rc = read_events(&r, err);
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        free(r.stack[i].key);
    yaml_parser_delete(&r.yaml);
    return rc;
}

void doc_done(struct doc *d)
{
    json_decref(d->root);
    free(d->lines);
    *d = (struct doc){0};
}
