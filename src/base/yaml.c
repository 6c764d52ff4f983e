/* YAML into the same tree as JSON, so that one validator serves both (libyaml events).
 *
 * Only the JSON part of YAML: no anchors, aliases or tags, one document, string keys without
 * duplicates. A plain scalar is null, true, false, an integer or a real by YAML 1.2's core rules
 * and otherwise a string: `no`, `on` and `yes` stay strings. */
#include "base/json.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct frame {
    json_t *node; /* owned by its parent; the root by the reader */
    char *key;    /* of a mapping, once read */
};

struct reader {
    yaml_parser_t yaml;
    struct frame stack[JSON_DEPTH_MAX];
    int depth;
    json_t *root;
};

static int fault(const yaml_event_t *e, struct err *err, enum err_code code, const char *text)
{
    return err_set(err, code, "%s (line %zu)", text, e->start_mark.line + 1);
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

/* Puts a new value where the reader stands; takes it. A scalar in key position becomes the key. */
static int place(struct reader *r, const yaml_event_t *e, json_t *v, struct err *err)
{
    if (!v)
        return fault(e, err, ERR_INVALID, "a YAML scalar is not UTF-8");
    if (!r->depth) {
        if (r->root) {
            json_decref(v);
            return fault(e, err, ERR_INVALID, "a second YAML document");
        }
        r->root = v;
        return 0;
    }
    struct frame *f = &r->stack[r->depth - 1];
    if (json_is_array(f->node))
        return json_array_append_new(f->node, v) ? fault(e, err, ERR_INTERNAL, "out of memory") : 0;
    if (!f->key) {
        json_decref(v);
        if (e->type != YAML_SCALAR_EVENT)
            return fault(e, err, ERR_INVALID, "a YAML key must be a plain word");
        f->key = mem_strndup((const char *)e->data.scalar.value, e->data.scalar.length);
        if (json_object_get(f->node, f->key))
            return err_set(err, ERR_INVALID, "key '%.60s' is there twice (line %zu)", f->key,
                           e->start_mark.line + 1);
        return 0;
    }
    int rc = json_object_set_new(f->node, f->key, v);
    free(f->key);
    f->key = NULL;
    return rc ? fault(e, err, ERR_INVALID, "a YAML key is not UTF-8") : 0;
}

static int push(struct reader *r, const yaml_event_t *e, json_t *v, struct err *err)
{
    if (r->depth == JSON_DEPTH_MAX) {
        json_decref(v);
        return fault(e, err, ERR_LIMIT, "YAML nests too deep");
    }
    if (place(r, e, v, err))
        return -1;
    r->stack[r->depth++] = (struct frame){.node = v};
    return 0;
}

static int on_event(struct reader *r, const yaml_event_t *e, struct err *err)
{
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return fault(e, err, ERR_INVALID, "YAML aliases are not read");
    case YAML_SCALAR_EVENT:
        if (e->data.scalar.anchor || e->data.scalar.tag)
            return fault(e, err, ERR_INVALID, "YAML anchors and tags are not read");
        return place(r, e, scalar(e), err);
    case YAML_SEQUENCE_START_EVENT:
        return push(r, e, json_array(), err);
    case YAML_MAPPING_START_EVENT:
        return push(r, e, json_object(), err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return 0;
    default:
        return 0;
    }
}

json_t *json_parse_yaml(const char *p, size_t n, struct err *err)
{
    if (n > JSON_BYTES_MAX)
        return err_null(err, ERR_LIMIT, "YAML of %zu bytes; at most %d are read", n,
                        JSON_BYTES_MAX);
    struct reader r = {0};
    if (!yaml_parser_initialize(&r.yaml))
        return err_null(err, ERR_INTERNAL, "libyaml does not start");
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)p, n);
    int rc = 0;
    for (bool end = false; !end && !rc;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r.yaml, &e)) {
            rc = err_set(err, ERR_INVALID, "not valid YAML: %.120s (line %zu)",
                         r.yaml.problem ? r.yaml.problem : "?", r.yaml.problem_mark.line + 1);
            break;
        }
        end = e.type == YAML_STREAM_END_EVENT;
        rc = on_event(&r, &e, err);
        yaml_event_delete(&e);
    }
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        free(r.stack[i].key);
    yaml_parser_delete(&r.yaml);
    if (!rc && !r.root)
        rc = err_set(err, ERR_INVALID, "the YAML document is empty");
    if (rc) {
        json_decref(r.root);
        return NULL;
    }
    return r.root;
}
