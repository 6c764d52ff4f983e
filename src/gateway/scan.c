/* The scanner: a value parser that remembers nothing but where it is. */
#include "gateway/scan.h"

#include "base/json.h"
#include "base/str.h"

#include <string.h>

struct scan {
    const char *p, *end, *start;
    struct err *err;
};

static int bad(struct scan *s, const char *what)
{
    return err_set(s->err, ERR_INVALID, "the body is not valid JSON: %s at byte %zu", what,
                   (size_t)(s->p - s->start));
}

static void space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool hex4(const char *p, const char *end)
{
    for (int i = 0; i < 4; i++)
        if (p + i >= end || !strchr("0123456789abcdefABCDEF", p[i]) || !p[i])
            return false;
    return true;
}

/* At the opening quote; *raw is what stands between the quotes. */
static int string(struct scan *s, struct str *raw)
{
    const char *first = ++s->p;
    for (; s->p < s->end; s->p++) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '"') {
            *raw = (struct str){first, (size_t)(s->p - first)};
            s->p++;
            return 0;
        }
        if (c < 0x20)
            return bad(s, "a control character in a string");
        if (c != '\\')
            continue;
        if (++s->p == s->end)
            break;
        if (*s->p == 'u' ? !hex4(s->p + 1, s->end) : !*s->p || !strchr("\"\\/bfnrt", *s->p))
            return bad(s, "an unknown escape");
    }
    return bad(s, "a string without its end");
}

static size_t digits(struct scan *s)
{
    const char *first = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - first);
}

static int number(struct scan *s)
{
    if (*s->p == '-')
        s->p++;
    bool zero = s->p < s->end && *s->p == '0';
    size_t n = digits(s);
    if (n == 0 || (zero && n > 1))
        return bad(s, "a malformed number");
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (digits(s) == 0)
            return bad(s, "a malformed number");
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        if (digits(s) == 0)
            return bad(s, "a malformed number");
    }
    return 0;
}

static int word(struct scan *s, const char *w)
{
    size_t n = strlen(w);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, w, n) != 0)
        return bad(s, "an unknown word");
    s->p += n;
    return 0;
}

/* A value that is neither array nor object. */
static int scalar(struct scan *s)
{
    struct str ignored;
    switch (*s->p) {
    case '"':
        return string(s, &ignored);
    case 't':
        return word(s, "true");
    case 'f':
        return word(s, "false");
    case 'n':
        return word(s, "null");
    default:
        if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))
            return number(s);
        return bad(s, "an unexpected character");
    }
}

static int key(struct scan *s, struct str *raw)
{
    space(s);
    if (s->p == s->end || *s->p != '"')
        return bad(s, "a key is missing");
    if (string(s, raw))
        return -1;
    space(s);
    if (s->p == s->end || *s->p != ':')
        return bad(s, "a colon is missing");
    s->p++;
    return 0;
}

/* Skips one value of any kind; containers by an explicit stack of their closing brackets. */
static int skip_value(struct scan *s)
{
    char stack[SCAN_MAX_DEPTH];
    size_t depth = 0;
    struct str raw;
    for (;;) {
        space(s);
        if (s->p == s->end)
            return bad(s, "a value is missing");
        if (*s->p == '{' || *s->p == '[') {
            if (depth + 1 == sizeof stack) /* the body's own object is one level */
                return err_set(s->err, ERR_LIMIT, "the body is nested more than %d deep",
                               SCAN_MAX_DEPTH);
            bool object = *s->p++ == '{';
            stack[depth++] = object ? '}' : ']';
            space(s);
            if (s->p == s->end || *s->p != stack[depth - 1]) {
                if (object && key(s, &raw))
                    return -1;
                continue;
            }
            s->p++;
            depth--;
        } else if (scalar(s)) {
            return -1;
        }
        /* A value has ended: close what ends here, or go on to the next member. */
        for (; depth; depth--, s->p++) {
            space(s);
            if (s->p == s->end)
                return bad(s, "an array or object without its end");
            if (*s->p != stack[depth - 1])
                break;
        }
        if (!depth)
            return 0;
        if (*s->p != ',')
            return bad(s, "a comma is missing");
        s->p++;
        if (stack[depth - 1] == '}' && key(s, &raw))
            return -1;
    }
}

/* The text of a string without its escapes; false when it does not fit or is no UTF-8. */
static bool decode(struct str raw, char *dst, size_t cap)
{
    if (!memchr(raw.p, '\\', raw.n) && raw.n < cap) {
        memcpy(dst, raw.p, raw.n);
        dst[raw.n] = 0;
        return true;
    }
    if (raw.n > 6 * cap)
        return false;
    /* With its quotes around it, which raw.p[-1] and raw.p[raw.n] are. */
    json_auto_t *v = json_loadb(raw.p - 1, raw.n + 2, JSON_DECODE_ANY, NULL);
    return v && str_copy(dst, cap, json_string_value(v));
}

static int member(struct scan *s, struct scan_body *out, bool *has_stream)
{
    struct str raw;
    char name[16];
    if (key(s, &raw))
        return -1;
    space(s);
    if (!decode(raw, name, sizeof name))
        return skip_value(s);
    if (strcmp(name, "model") == 0) {
        if (out->has_model)
            return err_set(s->err, ERR_INVALID, "the body has \"model\" twice");
        if (s->p == s->end)
            return bad(s, "a value is missing");
        if (*s->p != '"')
            return err_set(s->err, ERR_INVALID, "\"model\" must be a string");
        if (string(s, &raw))
            return -1;
        if (!decode(raw, out->model, sizeof out->model))
            return err_set(s->err, ERR_LIMIT, "\"model\" must be UTF-8 of less than %d bytes",
                           SCAN_MAX_MODEL);
        out->has_model = true;
        return 0;
    }
    if (strcmp(name, "stream") == 0) {
        if (*has_stream)
            return err_set(s->err, ERR_INVALID, "the body has \"stream\" twice");
        *has_stream = true;
        out->stream = s->p < s->end && *s->p == 't';
    }
    return skip_value(s);
}

int scan_body(const char *p, size_t n, struct scan_body *out, struct err *err)
{
    struct scan s = {.p = p, .end = p + n, .start = p, .err = err};
    struct scan_body found = {0};
    bool has_stream = false;
    space(&s);
    if (s.p == s.end || *s.p != '{')
        return err_set(err, ERR_INVALID, "the body must be a JSON object");
    s.p++;
    space(&s);
    if (s.p < s.end && *s.p == '}') {
        s.p++;
    } else {
        for (;;) {
            if (member(&s, &found, &has_stream))
                return -1;
            space(&s);
            if (s.p == s.end || (*s.p != ',' && *s.p != '}'))
                return bad(&s, "a comma or the closing brace is missing");
            if (*s.p++ == '}')
                break;
        }
    }
    space(&s);
    if (s.p != s.end)
        return bad(&s, "bytes after the end");
    *out = found;
    return 0;
}
