/* Renders stowage.plan/1: head, table, bars, reasons. Everything comes from the document, so a plan
 * made here, by a server, or stored months ago prints the same way. */
#include "cli/plan_text.h"

#include "base/mem.h"
#include "base/num.h"
#include "cli/table.h"

#include <string.h>

enum { WIDTH = 80, BAR = 20, MAX_LISTED = 24, MAX_BARS = 24, SENTENCE = 64 << 10 };

static const struct table_column COLUMNS[] = {
    {"NODE", false, 0},   {"GPU", false, 0}, {"FREE", true, 0},    {"USE", true, 0},
    {"LAYERS", false, 0}, {"N", true, 0},    {"WEIGHTS", true, 1}, {"KV", true, 1},
    {"RUNTIME", true, 2}, {"LEFT", true, 0},
};

struct part {
    const char *node, *name, *backend;
    uint64_t gpu, free_bytes, weights, kv, rest; /* rest: compute and runtime */
    uint64_t first, n;
    bool output;
};

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static uint64_t num_of(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

static double gib(uint64_t bytes)
{
    return (double)bytes / (double)GIB;
}

static void read_part(const json_t *o, struct part *p)
{
    const json_t *b = json_object_get(o, "bytes"), *l = json_object_get(o, "layers");
    *p = (struct part){.node = text_of(o, "node"),
                       .name = text_of(o, "name"),
                       .backend = text_of(o, "backend"),
                       .gpu = num_of(o, "gpu"),
                       .free_bytes = num_of(o, "free_bytes"),
                       .weights = num_of(b, "weights"),
                       .kv = num_of(b, "kv"),
                       .rest = num_of(b, "compute") + num_of(b, "runtime"),
                       .first = (uint64_t)json_integer_value(json_array_get(l, 0)),
                       .n = num_of(o, "n_layers"),
                       .output = json_is_true(json_object_get(o, "output"))};
}

static uint64_t part_use(const struct part *p)
{
    return p->weights + p->kv + p->rest;
}

static bool is_ram(const struct part *p)
{
    return strcmp(p->backend, "cpu") == 0;
}

/* ---- table ---- */

static void add_row(struct table *t, const struct part *p)
{
    uint64_t use = part_use(p);
    table_row(t);
    table_cell(t, "%s", p->node);
    if (is_ram(p))
        table_cell(t, "RAM");
    else
        table_cell(t, "%llu %.20s", (unsigned long long)p->gpu, p->name);
    table_cell(t, "%.1f", gib(p->free_bytes));
    table_cell(t, "%.1f", gib(use));
    if (p->n == 0)
        table_cell(t, "-");
    else
        table_cell(t, "%llu-%llu%s", (unsigned long long)p->first,
                   (unsigned long long)(p->first + p->n - 1), p->output ? "+out" : "");
    table_cell(t, "%llu", (unsigned long long)p->n);
    table_cell(t, "%.1f", gib(p->weights));
    table_cell(t, "%.1f", gib(p->kv));
    table_cell(t, "%.1f", gib(p->rest));
    table_cell(t, "%.1f", gib(p->free_bytes > use ? p->free_bytes - use : 0));
}

/* The main node's RAM: it holds the embedding at least. */
static void add_host(struct table *t, const json_t *plan)
{
    const json_t *h = json_object_get(plan, "host");
    uint64_t w = num_of(h, "weights"), kv = num_of(h, "kv"), c = num_of(h, "compute");
    uint64_t n = num_of(plan, "n_cpu_layers"), moe = num_of(plan, "n_cpu_moe");
    table_row(t);
    table_cell(t, "%s", text_of(h, "node"));
    table_cell(t, "RAM");
    table_cell(t, "-");
    table_cell(t, "%.1f", gib(w + kv + c));
    if (n > 1)
        table_cell(t, "0-%llu", (unsigned long long)n - 1);
    else if (moe)
        table_cell(t, "experts");
    else
        table_cell(t, "%s", n ? "0" : "embedding");
    table_cell(t, "%llu", (unsigned long long)(n ? n : moe));
    table_cell(t, "%.1f", gib(w));
    table_cell(t, "%.1f", gib(kv));
    table_cell(t, "%.1f", gib(c));
    table_cell(t, "-");
}

/* ---- bars ---- */

struct glyphs {
    const char *weights, *kv, *rest, *free, *edge, *top, *mid, *end;
};
static const struct glyphs UTF8 = {"█", "▓", "░", "·", "│", "─┐", "─┤", "─┘"};
static const struct glyphs ASCII = {"#", "=", "-", ".", "|", "-+", " +", "-+"};

/* Cells of a share, at least one for anything that is there. */
static uint32_t cells(uint64_t bytes, uint64_t total)
{
    uint32_t n = total ? (uint32_t)((double)bytes / (double)total * BAR + 0.5) : 0;
    return bytes && !n ? 1 : n < BAR ? n : BAR;
}

static void repeat(struct buf *out, const char *s, uint32_t n, uint32_t *room)
{
    for (; n && *room; n--, (*room)--)
        buf_adds(out, s);
}

static void add_bar(struct buf *out, const struct part *p, size_t width, const struct glyphs *g,
                    const char *edge)
{
    uint32_t room = BAR;
    mem_auto char *label = is_ram(p) ? mem_printf("%s RAM", p->node)
                                     : mem_printf("%s %llu", p->node, (unsigned long long)p->gpu);
    buf_addf(out, " %-*s %s", (int)width, label, g->edge);
    repeat(out, g->weights, cells(p->weights, p->free_bytes), &room);
    repeat(out, g->kv, cells(p->kv, p->free_bytes), &room);
    repeat(out, g->rest, cells(p->rest, p->free_bytes), &room);
    repeat(out, g->free, room, &room);
    buf_addf(out, "%s %s", g->edge, edge);
}

static void add_bars(struct buf *out, const struct part *p, size_t n, const char *main,
                     const struct glyphs *g)
{
    size_t width = 0;
    for (size_t i = 0; i < n; i++) {
        size_t w = strlen(p[i].node) + 5;
        width = w > width ? w : width;
    }
    buf_addc(out, '\n');
    for (size_t i = 0; i < n && i < MAX_BARS; i++) {
        const char *edge = n == 1 ? "" : i == 0 ? g->top : i + 1 == n ? g->end : g->mid;
        add_bar(out, &p[i], width, g, edge);
        if (i + 1 < n && strcmp(p[i].node, p[i + 1].node) != 0)
            buf_addf(out, " network%s",
                     strcmp(p[i + 1].node, main) == 0 ? " to the main node" : "");
        if (i + 1 == n)
            buf_addf(out, "  weights %s kv %s runtime %s free %s", g->weights, g->kv, g->rest,
                     g->free);
        buf_addc(out, '\n');
    }
    if (n > MAX_BARS)
        buf_addf(out, " and %zu more (table above, --json)\n", n - MAX_BARS);
}

/* ---- texts ---- */

/* Words wrapped at the width, continuation lines indented; `at` columns are taken already. */
static void wrap(struct buf *out, const char *text, size_t indent, size_t at)
{
    for (bool first = true; *text; first = false) {
        size_t n = strcspn(text, " ");
        if (!first && at + 1 + n > WIDTH) {
            buf_addf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            buf_addc(out, ' ');
            at++;
        }
        buf_add(out, text, n);
        at += n;
        text += n + (text[n] == ' ');
    }
    buf_addc(out, '\n');
}

/* The sentence of a note; the caller frees it. */
static char *sentence(const json_t *note, enum words_lang lang)
{
    struct buf out;
    buf_init(&out, SENTENCE);
    words_render(note, lang, &out);
    return out.p ? buf_take(&out) : mem_strdup("");
}

/* All sentences of a list, one after the other. */
static char *sentences(const json_t *list, enum words_lang lang)
{
    const json_t *v;
    size_t i;
    struct buf out;
    buf_init(&out, SENTENCE);
    json_array_foreach(list, i, v)
    {
        if (i)
            buf_adds(&out, "; ");
        words_render(v, lang, &out);
    }
    return out.p ? buf_take(&out) : mem_strdup("");
}

static void add_lines(struct buf *out, const char *title, const json_t *list, enum words_lang lang)
{
    const json_t *v;
    size_t i;
    if (!json_array_size(list))
        return;
    buf_addf(out, "%s\n", title);
    json_array_foreach(list, i, v)
    {
        mem_auto char *text = sentence(v, lang);
        buf_adds(out, "  ");
        wrap(out, text, 2, 2);
    }
}

static void add_findings(struct buf *out, const json_t *list, bool refusal, enum words_lang lang)
{
    const json_t *r;
    size_t i, indent = refusal ? 35 : 38;
    if (!json_array_size(list))
        return;
    if (!refusal)
        buf_adds(out, "REJECTED                      tok/s   reason\n");
    json_array_foreach(list, i, r)
    {
        if (refusal && i == MAX_LISTED) {
            buf_addf(out, "  and %zu more (--json has all)\n", json_array_size(list) - i);
            break;
        }
        mem_auto char *what = sentence(json_object_get(r, "what"), lang);
        mem_auto char *says = sentences(json_object_get(r, "says"), lang);
        const json_t *tok = json_object_get(r, "tok_s");
        mem_auto char *fast = tok && !refusal ? mem_printf("%5.1f   ", json_number_value(tok))
                                              : mem_strdup(refusal ? "" : "    -   ");
        size_t name = refusal ? 32 : 27, at = strlen(what);
        buf_addf(out, "  %-*s %s", (int)name, what, fast);
        at = 3 + (at > name ? at : name) + strlen(fast);
        if (at > indent) {
            buf_addf(out, "\n%*s", (int)indent, "");
            at = indent;
        }
        wrap(out, says, indent, at);
    }
}

static void add_changes(struct buf *out, const json_t *list, bool refusal, enum words_lang lang)
{
    const json_t *c;
    size_t i;
    if (!json_array_size(list))
        return;
    buf_adds(out, refusal ? "Smallest changes that make it fit (each planned again):\n"
                          : "ONE CHANGE AWAY (each planned again)\n");
    json_array_foreach(list, i, c)
    {
        mem_auto char *what = sentence(json_object_get(c, "what"), lang);
        mem_auto char *gives = sentence(json_object_get(c, "gives"), lang);
        buf_addf(out, "  %-32s ", what);
        size_t at = strlen(what);
        wrap(out, gives, 35, 3 + (at > 32 ? at : 32));
    }
}

/* ---- a plan, a refusal ---- */

static void add_head(struct buf *out, const json_t *plan, const struct part *p, size_t n)
{
    uint64_t use = 0, gpus = 0, nodes = 1,
             have = num_of(json_object_get(plan, "candidates"), "free_bytes");
    const char *main = text_of(plan, "main_node");
    for (size_t i = 0; i < n; i++) {
        bool seen = strcmp(p[i].node, main) == 0;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcmp(p[k].node, p[i].node) == 0;
        nodes += !seen;
        gpus += !is_ram(&p[i]);
        use += is_ram(&p[i]) ? 0 : part_use(&p[i]);
    }
    double tok = json_number_value(json_object_get(json_object_get(plan, "estimate"), "tok_s"));
    buf_addf(out, "PLAN %s   ", text_of(plan, "id"));
    if (gpus)
        buf_addf(out, "%llu GPU%s on %llu node%s   uses %.1f of %.1f GiB free",
                 (unsigned long long)gpus, gpus == 1 ? "" : "s", (unsigned long long)nodes,
                 nodes == 1 ? "" : "s", gib(use), gib(have));
    else
        buf_addf(out, "CPU only, %llu node%s", (unsigned long long)nodes, nodes == 1 ? "" : "s");
    if (tok > 0)
        buf_addf(out, "\n%s, about %.1f tok/s, %s\n\n", text_of(plan, "tier"), tok,
                 json_is_true(json_object_get(plan, "optimal")) ? "optimal" : "best found");
    else
        buf_adds(out, "\n\n");
}

static void add_warnings(struct buf *out, const json_t *plan, enum words_lang lang)
{
    const json_t *v;
    size_t i;
    json_array_foreach(json_object_get(plan, "warnings"), i, v)
    {
        mem_auto char *text = sentence(v, lang);
        buf_adds(out, "WARNING  ");
        wrap(out, text, 9, 9);
    }
}

static void add_assumed(struct buf *out, const json_t *plan, enum words_lang lang)
{
    const json_t *a = json_object_get(plan, "assumed");
    if (!json_array_size(a))
        return;
    mem_auto char *text = sentences(a, lang);
    buf_adds(out, "ASSUMED  ");
    wrap(out, text, 9, 9);
}

static void add_plan(struct buf *out, const json_t *plan, const struct glyphs *g,
                     enum words_lang lang)
{
    const json_t *parts = json_object_get(plan, "parts");
    size_t n = json_array_size(parts);
    mem_auto struct part *p = mem_calloc(n + 1, sizeof *p);
    for (size_t i = 0; i < n; i++)
        read_part(json_array_get(parts, i), &p[i]);
    add_head(out, plan, p, n);
    struct table *t = table_new(COLUMNS, ARRAY_LEN(COLUMNS));
    for (size_t i = 0; i < n; i++)
        add_row(t, &p[i]);
    add_host(t, plan);
    table_render(t, WIDTH, out);
    table_free(t);
    if (n)
        add_bars(out, p, n, text_of(plan, "main_node"), g);
    buf_addc(out, '\n');
    add_warnings(out, plan, lang);
    add_lines(out, "WHY THIS ONE", json_object_get(plan, "why"), lang);
    add_lines(out, "PROOF", json_object_get(plan, "proof"), lang);
    add_findings(out, json_object_get(plan, "rejected"), false, lang);
    add_changes(out, json_object_get(plan, "changes"), false, lang);
    add_assumed(out, plan, lang);
}

void plan_text(const json_t *plan, const struct plan_text_opts *opts, struct buf *out)
{
    const struct glyphs *g = opts && opts->ascii ? &ASCII : &UTF8;
    enum words_lang lang = opts ? opts->lang : WORDS_EN;
    if (json_is_true(json_object_get(plan, "feasible"))) {
        add_plan(out, plan, g, lang);
        return;
    }
    mem_auto char *summary = sentence(json_object_get(plan, "summary"), lang);
    wrap(out, summary, 2, 9);
    add_warnings(out, plan, lang);
    add_findings(out, json_object_get(plan, "refused"), true, lang);
    add_changes(out, json_object_get(plan, "changes"), true, lang);
    add_assumed(out, plan, lang);
}
