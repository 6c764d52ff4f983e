/* Notes and their sentences; see words.h. */
#include "place/words.h"

#include "base/mem.h"
#include "base/num.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SENTENCE = 4096, NAME = 48 };

#define WORD(code, params, en, zh) [NOTE_##code] = {#code, params, {en, zh}},
static const struct word WORDS[NOTE_CODE_COUNT] = {
#include "place/words.inc"
};
#undef WORD

static const struct {
    const char *name;
    enum word_unit unit;
} PARAMS[] = {
#define WORD_ROW(key, name, unit, meaning) [WORD_##key] = {name, UNIT_##unit},
    WORD_PARAMS(WORD_ROW)
#undef WORD_ROW
};
_Static_assert(WORD_PARAM_COUNT <= 64, "a set of parameters is one uint64_t");

const struct word *word_at(uint32_t code)
{
    return code < NOTE_CODE_COUNT ? &WORDS[code] : NULL;
}

const char *word_param_name(enum word_param p)
{
    return PARAMS[p].name;
}

enum word_unit word_param_unit(enum word_param p)
{
    return PARAMS[p].unit;
}

int words_lang_parse(const char *name, enum words_lang *out, struct err *err)
{
    if (strncasecmp(name, "zh", 2) == 0)
        *out = WORDS_ZH;
    else if (strncasecmp(name, "en", 2) == 0 || strcmp(name, "C") == 0)
        *out = WORDS_EN;
    else
        return err_set(err, ERR_INVALID, "language '%.40s' is not known; use en or zh-CN", name);
    return 0;
}

/* ---- notes ---- */

void note_done(struct note *n)
{
    for (uint32_t i = 0; i < n->n; i++)
        if (PARAMS[n->params[i].key].unit == UNIT_TEXT)
            free(n->params[i].text);
    *n = (struct note){0};
}

void note_set(struct note *n, enum note_code code)
{
    note_done(n);
    n->code = code;
}

static bool whole(enum word_param key)
{
    return PARAMS[key].unit == UNIT_COUNT || PARAMS[key].unit == UNIT_BYTES;
}

static const struct note_param *find(const struct note *n, enum word_param key)
{
    for (uint32_t i = 0; i < n->n; i++)
        if (n->params[i].key == key)
            return &n->params[i];
    return NULL;
}

static struct note_param *add(struct note *n, enum word_param key)
{
    assert(WORDS[n->code].params >> key & 1 && !find(n, key) && n->n < NOTE_PARAMS);
    struct note_param *p = &n->params[n->n++];
    *p = (struct note_param){.key = key};
    return p;
}

struct note *note_num(struct note *n, enum word_param key, uint64_t value)
{
    assert(whole(key));
    add(n, key)->n = value;
    return n;
}

struct note *note_real(struct note *n, enum word_param key, double value)
{
    assert(PARAMS[key].unit > UNIT_BYTES);
    add(n, key)->x = value;
    return n;
}

struct note *note_str(struct note *n, enum word_param key, const char *value)
{
    assert(PARAMS[key].unit == UNIT_TEXT);
    add(n, key)->text = mem_strdup(value ? value : "");
    return n;
}

uint64_t note_num_of(const struct note *n, enum word_param key)
{
    const struct note_param *p = find(n, key);
    return p && whole(key) ? p->n : 0;
}

double note_real_of(const struct note *n, enum word_param key)
{
    const struct note_param *p = find(n, key);
    return p && PARAMS[key].unit > UNIT_BYTES ? p->x : 0;
}

const char *note_str_of(const struct note *n, enum word_param key)
{
    const struct note_param *p = find(n, key);
    return p && PARAMS[key].unit == UNIT_TEXT ? p->text : "";
}

struct note *notes_add(struct notes *l, enum note_code code)
{
    assert(l->n < NOTES_MAX);
    if (l->n == l->cap) { /* lists of one are the most frequent */
        l->cap = l->cap ? 2 * l->cap : 1;
        l->items = mem_realloc(l->items, l->cap, sizeof *l->items);
    }
    struct note *n = &l->items[l->n++];
    *n = (struct note){.code = code};
    return n;
}

const struct note *notes_find(const struct notes *l, enum note_code code)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].code == code)
            return &l->items[i];
    return NULL;
}

void notes_done(struct notes *l)
{
    for (size_t i = 0; i < l->n; i++)
        note_done(&l->items[i]);
    free(l->items);
    *l = (struct notes){0};
}

/* ---- documents ---- */

static void put_param(json_t *params, const struct note_param *p)
{
    const char *name = PARAMS[p->key].name;
    if (PARAMS[p->key].unit == UNIT_TEXT)
        json_put_str(params, name, p->text);
    else if (whole(p->key))
        json_put_u64(params, name, p->n);
    else
        json_put_double(params, name, p->x);
}

/* In the order of the table, whoever set them in which order; all of them. */
static void fill(json_t *o, const struct note *n)
{
    json_put_str(o, "code", WORDS[n->code].code);
    json_t *params = json_put_object(o, "params");
    for (uint32_t k = 0; k < WORD_PARAM_COUNT; k++) {
        if (!(WORDS[n->code].params >> k & 1))
            continue;
        const struct note_param *p = find(n, k);
        assert(p);
        put_param(params, p);
    }
}

json_t *note_to_json(const struct note *n)
{
    json_t *o = json_object();
    fill(o, n);
    return o;
}

void note_put(json_t *doc, const char *key, const struct note *n)
{
    fill(json_put_object(doc, key), n);
}

void notes_put(json_t *doc, const char *key, const struct notes *l)
{
    json_t *list = json_put_array(doc, key);
    for (size_t i = 0; i < l->n; i++)
        fill(json_add_object(list), &l->items[i]);
}

/* ---- sentences ---- */

static const struct word *word_named(const char *code)
{
    for (uint32_t i = 1; code && i < NOTE_CODE_COUNT; i++)
        if (strcmp(WORDS[i].code, code) == 0)
            return &WORDS[i];
    return NULL;
}

static enum word_unit unit_named(const char *name)
{
    for (uint32_t i = 0; i < WORD_PARAM_COUNT; i++)
        if (strcmp(PARAMS[i].name, name) == 0)
            return PARAMS[i].unit;
    return UNIT_COUNT;
}

/* Texts come from documents, which come from anywhere. */
static void print_text(const char *s, struct buf *out)
{
    size_t n = strlen(s);
    mem_auto char *clean = mem_calloc(n + 1, 1);
    str_clean(clean, n + 1, str_of(s));
    buf_adds(out, clean);
}

static void print_value(const json_t *v, enum word_unit unit, struct buf *out)
{
    char text[32];
    double x = json_number_value(v);
    if (json_is_string(v))
        print_text(json_string_value(v), out);
    else if (!json_is_number(v))
        buf_addc(out, '?');
    else if (unit == UNIT_BYTES)
        buf_adds(out, num_fmt_gib(text, sizeof text, x > 0 ? (uint64_t)json_integer_value(v) : 0));
    else if (unit == UNIT_BYTES_PER_S)
        buf_addf(out, "%.0f", x / 1e9);
    else if (unit == UNIT_LINK)
        buf_addf(out, "%.3g Gbit/s", x * 8 / 1e9);
    else if (unit == UNIT_TOK_S || unit == UNIT_PERCENT)
        buf_addf(out, "%.1f", x);
    else if (unit == UNIT_NUMBER)
        buf_addf(out, "%.6g", x);
    else if (unit == UNIT_MS)
        buf_addf(out, "%.2f", x);
    else
        buf_addf(out, "%lld", (long long)json_integer_value(v));
}

/* What stands between braces: "name" or "name|one|many". */
static void print_field(const char *p, size_t n, const json_t *params, struct buf *out)
{
    char name[NAME];
    size_t len = 0;
    while (len < n && p[len] != '|')
        len++;
    str_copyf(name, sizeof name, "%.*s", (int)len, p);
    const json_t *v = json_object_get(params, name);
    if (len == n) {
        print_value(v, unit_named(name), out);
        return;
    }
    const char *one = p + len + 1, *many = memchr(one, '|', n - len - 1);
    size_t one_n = many ? (size_t)(many - one) : n - len - 1;
    if (json_integer_value(v) == 1 || !many)
        buf_add(out, one, one_n);
    else
        buf_add(out, many + 1, n - len - 1 - one_n - 1);
}

/* A code of a later version, or of none: all there is, as it is. */
static void print_unknown(const char *code, const json_t *params, struct buf *out)
{
    const char *key;
    json_t *v;
    print_text(code ? code : "?", out);
    json_object_foreach((json_t *)params, key, v)
    {
        buf_addc(out, ' ');
        print_text(key, out);
        buf_addc(out, '=');
        if (json_is_real(v))
            buf_addf(out, "%g", json_real_value(v));
        else
            print_value(v, UNIT_COUNT, out);
    }
}

void words_render(const json_t *note, enum words_lang lang, struct buf *out)
{
    const char *code = json_string_value(json_object_get(note, "code"));
    const json_t *params = json_object_get(note, "params");
    const struct word *w = word_named(code);
    if (!w) {
        print_unknown(code, params, out);
        return;
    }
    for (const char *s = w->text[lang]; *s;) {
        size_t n = strcspn(s, "{");
        buf_add(out, s, n);
        s += n;
        const char *end = *s ? strchr(s, '}') : NULL;
        if (!end)
            break; /* the table's own tests see to it that braces are closed */
        print_field(s + 1, (size_t)(end - s) - 1, params, out);
        s = end + 1;
    }
}

char *note_text(const struct note *n, enum words_lang lang, char *dst, size_t cap)
{
    buf_auto struct buf out;
    buf_init(&out, SENTENCE);
    json_auto_t *doc = note_to_json(n);
    words_render(doc, lang, &out);
    str_copy(dst, cap, out.p ? out.p : "");
    return dst;
}
