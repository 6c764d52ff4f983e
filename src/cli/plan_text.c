/* Renders stowage.plan/1: head, table, bars, reasons. Everything comes from the document, so a plan
 * made here, by a server, or stored months ago prints the same way; sentences are made from codes
 * and parameters in the reader's language. */
#include "cli/plan_text.h"

#include "base/mem.h"
#include "base/num.h"
#include "cli/table.h"
#include "cli/wrap.h"

#include <string.h>

enum {
    WIDTH = 80,
    BAR = 20,
    MAX_LISTED = 24,
    MAX_BARS = 24,
    SENTENCE = 64 << 10,
    NAME = 36,
    HEAD = 512,
    MAX_TEXT = 4 << 20
};

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
    const json_t *way; /* how the main process reaches it */
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
                       .output = json_is_true(json_object_get(o, "output")),
                       .way = json_object_get(o, "way")};
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

struct glyphs {
    const char *weights, *kv, *rest, *free, *edge, *top, *mid, *end;
};
static const struct glyphs UTF8 = {"█", "▓", "░", "·", "│", "─┐", "─┤", "─┘"};
static const struct glyphs ASCII = {"#", "=", "-", ".", "|", "-+", " +", "-+"};

/* ---- texts ---- */

enum title {
    T_WHY,
    T_PROOF,
    T_NOTE,
    T_WARNING,
    T_REJECTED,
    T_REASON,
    T_CHANGES,
    T_SMALLEST,
    T_ASSUMED,
    T_DEPLOY,
    T_SAVE,
    T_COUNT
};
static const char *const TITLES[WORDS_LANG_COUNT][T_COUNT] = {
    {"WHY THIS ONE", "PROOF", "NOTE", "WARNING", "REJECTED", "reason",
     "ONE CHANGE AWAY (each planned again)",
     "Smallest changes that make it fit (each planned again):", "ASSUMED",
     "Deploy it:", "Save it:"},
    {"为什么是它", "证明", "说明", "警告", "未采用的方案", "原因", "只差一步（每项都重新规划过）",
     "使其放得下的最小改动（每项都重新规划过）：", "前提", "部署：", "保存："},
};

struct page {
    struct buf *out;
    enum words_lang lang;
    const struct glyphs *g;
};

static const char *title(const struct page *pg, enum title t)
{
    return TITLES[pg->lang][t];
}

/* The sentence of a note; the caller frees it. */
static char *sentence(const struct page *pg, const json_t *note)
{
    struct buf out;
    buf_init(&out, SENTENCE);
    words_render(note, pg->lang, &out);
    return out.p ? buf_take(&out) : mem_strdup("");
}

/* All sentences of a list, one after the other. */
static char *sentences(const struct page *pg, const json_t *list)
{
    const json_t *v;
    size_t i;
    struct buf out;
    buf_init(&out, SENTENCE);
    json_array_foreach(list, i, v)
    {
        if (i)
            buf_adds(&out, pg->lang == WORDS_ZH ? "；" : "; ");
        words_render(v, pg->lang, &out);
    }
    return out.p ? buf_take(&out) : mem_strdup("");
}

static void add_lines(const struct page *pg, enum title t, const json_t *list)
{
    const json_t *v;
    size_t i;
    if (!json_array_size(list))
        return;
    buf_addf(pg->out, "%s\n", title(pg, t));
    json_array_foreach(list, i, v)
    {
        mem_auto char *text = sentence(pg, v);
        buf_adds(pg->out, "  ");
        text_wrap(pg->out, text, WIDTH, 2, 2);
    }
}

/* "WARNING  ...", further lines under the text. */
static void add_paragraph(const struct page *pg, enum title t, const char *text)
{
    size_t indent = text_columns(title(pg, t)) + 2;
    if (!*text)
        return;
    buf_addf(pg->out, "%s  ", title(pg, t));
    text_wrap(pg->out, text, WIDTH, indent, indent);
}

static void add_paragraphs(const struct page *pg, enum title t, const json_t *list)
{
    const json_t *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        mem_auto char *text = sentence(pg, v);
        add_paragraph(pg, t, text);
    }
}

static void pad(struct buf *out, size_t n)
{
    buf_addf(out, "%*s", (int)n, "");
}

static void add_more(const struct page *pg, size_t n)
{
    if (pg->lang == WORDS_ZH)
        buf_addf(pg->out, "  另有 %zu 项，--json 可见全部\n", n);
    else
        buf_addf(pg->out, "  and %zu more, --json has all\n", n);
}

/* ---- bars ---- */

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

static void add_bar(const struct page *pg, const struct part *p, size_t width)
{
    uint32_t room = BAR;
    mem_auto char *label = is_ram(p) ? mem_printf("%s RAM", p->node)
                                     : mem_printf("%s %llu", p->node, (unsigned long long)p->gpu);
    buf_addf(pg->out, " %s", label);
    pad(pg->out, width - text_columns(label) + 1);
    buf_adds(pg->out, pg->g->edge);
    repeat(pg->out, pg->g->weights, cells(p->weights, p->free_bytes), &room);
    repeat(pg->out, pg->g->kv, cells(p->kv, p->free_bytes), &room);
    repeat(pg->out, pg->g->rest, cells(p->rest, p->free_bytes), &room);
    repeat(pg->out, pg->g->free, room, &room);
    buf_adds(pg->out, pg->g->edge);
}

/* Beside each bar the way of its part to the main process, as far as the line goes. */
static void add_bars(const struct page *pg, const struct part *p, size_t n)
{
    const struct glyphs *g = pg->g;
    size_t width = 0;
    for (size_t i = 0; i < n; i++) {
        size_t w = text_columns(p[i].node) + (is_ram(&p[i]) || p[i].gpu > 9 ? 5 : 2);
        width = w > width ? w : width;
    }
    buf_addc(pg->out, '\n');
    for (size_t i = 0; i < n && i < MAX_BARS; i++) {
        mem_auto char *way = p[i].way ? sentence(pg, p[i].way) : mem_strdup("");
        add_bar(pg, &p[i], width);
        if (n > 1)
            buf_addf(pg->out, " %s", i == 0 ? g->top : i + 1 == n ? g->end : g->mid);
        if (*way && width + BAR + 8 + text_columns(way) <= WIDTH)
            buf_addf(pg->out, " %s", way);
        buf_addc(pg->out, '\n');
    }
    if (n > MAX_BARS)
        add_more(pg, n - MAX_BARS);
    pad(pg->out, width + 3);
    buf_addf(pg->out,
             pg->lang == WORDS_ZH ? "权重 %s  KV %s  运行时 %s  空闲 %s\n"
                                  : "weights %s  kv %s  runtime %s  free %s\n",
             g->weights, g->kv, g->rest, g->free);
}

/* ---- two columns: what, and what is said of it ---- */

struct line {
    char *what, *mark, *says; /* owned; mark: the speed, or "" */
};

/* A text wider than the first column has its line alone. */
static void add_columns(const struct page *pg, const struct line *l, size_t n, size_t wide)
{
    for (size_t i = 0; i < n; i++) {
        size_t columns = text_columns(l[i].what), at = wide + 4 + text_columns(l[i].mark);
        buf_addf(pg->out, "  %s", l[i].what);
        if (columns > wide) {
            buf_addc(pg->out, '\n');
            pad(pg->out, wide + 4);
        } else {
            pad(pg->out, wide + 2 - columns);
        }
        buf_adds(pg->out, l[i].mark);
        text_wrap(pg->out, l[i].says, WIDTH, at, at);
    }
}

/* The first column is as wide as its texts, but for those wider than NAME. */
static size_t column(const struct line *l, size_t n)
{
    size_t wide = 0;
    for (size_t i = 0; i < n; i++) {
        size_t w = text_columns(l[i].what);
        wide = w > wide && w <= NAME ? w : wide;
    }
    return wide;
}

static void lines_free(struct line *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(l[i].what);
        free(l[i].mark);
        free(l[i].says);
    }
    free(l);
}

static struct line *read_findings(const struct page *pg, const json_t *list, size_t n, bool speed)
{
    struct line *l = mem_calloc(n + 1, sizeof *l);
    for (size_t i = 0; i < n; i++) {
        const json_t *r = json_array_get(list, i), *tok = json_object_get(r, "tok_s");
        l[i].what = sentence(pg, json_object_get(r, "what"));
        l[i].says = sentences(pg, json_object_get(r, "says"));
        l[i].mark = !speed ? mem_strdup("")
                    : tok  ? mem_printf("%5.1f  ", json_number_value(tok))
                           : mem_strdup("    -  ");
    }
    return l;
}

static void add_rejected(const struct page *pg, const json_t *list)
{
    size_t n = json_array_size(list), own = text_columns(title(pg, T_REJECTED));
    if (!n)
        return;
    struct line *l = read_findings(pg, list, n, true);
    size_t wide = column(l, n);
    wide = wide + 2 > own ? wide : own - 2;
    buf_adds(pg->out, title(pg, T_REJECTED));
    pad(pg->out, wide + 4 - own);
    buf_addf(pg->out, "tok/s  %s\n", title(pg, T_REASON));
    add_columns(pg, l, n, wide);
    lines_free(l, n);
}

static void add_refused(const struct page *pg, const json_t *list)
{
    size_t all = json_array_size(list), n = all < MAX_LISTED ? all : MAX_LISTED;
    struct line *l = read_findings(pg, list, n, false);
    add_columns(pg, l, n, column(l, n));
    lines_free(l, n);
    if (all > n)
        add_more(pg, all - n);
}

/* Those that do are numbered, the smallest first; a dash marks what is not enough. */
static void add_changes(const struct page *pg, const json_t *list, enum title t)
{
    size_t n = json_array_size(list), number = 0;
    struct line *l = mem_calloc(n + 1, sizeof *l);
    for (size_t i = 0; i < n; i++) {
        const json_t *c = json_array_get(list, i);
        mem_auto char *what = sentence(pg, json_object_get(c, "what"));
        bool fits = json_is_true(json_object_get(c, "fits"));
        l[i].what = fits ? mem_printf("%zu  %s", ++number, what) : mem_printf("-  %s", what);
        l[i].says = sentence(pg, json_object_get(c, "gives"));
        l[i].mark = mem_strdup("");
    }
    if (n)
        buf_addf(pg->out, "%s\n", title(pg, t));
    add_columns(pg, l, n, column(l, n));
    lines_free(l, n);
}

/* ---- a plan, a refusal ---- */

static void add_head(const struct page *pg, const json_t *plan, const struct part *p, size_t n)
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
    struct note head = {0};
    char text[HEAD];
    note_set(&head, gpus ? NOTE_HEAD : NOTE_HEAD_CPU);
    note_num(note_str(&head, WORD_PLAN, text_of(plan, "id")), WORD_N_NODES, nodes);
    if (gpus)
        note_num(note_num(note_num(&head, WORD_N_GPUS, gpus), WORD_USED, use), WORD_FREE, have);
    buf_addf(pg->out, "%s\n", note_text(&head, pg->lang, text, sizeof text));
    note_done(&head);
    mem_auto char *verdict = sentence(pg, json_object_get(plan, "verdict"));
    text_wrap(pg->out, verdict, WIDTH, 2, 0);
    buf_addc(pg->out, '\n');
}

static void add_assumed(const struct page *pg, const json_t *plan)
{
    mem_auto char *text = sentences(pg, json_object_get(plan, "assumed"));
    add_paragraph(pg, T_ASSUMED, text);
}

static void add_plan(const struct page *pg, const json_t *plan)
{
    const json_t *parts = json_object_get(plan, "parts");
    size_t n = json_array_size(parts);
    mem_auto struct part *p = mem_calloc(n + 1, sizeof *p);
    for (size_t i = 0; i < n; i++)
        read_part(json_array_get(parts, i), &p[i]);
    add_head(pg, plan, p, n);
    struct table *t = table_new(COLUMNS, ARRAY_LEN(COLUMNS));
    for (size_t i = 0; i < n; i++)
        add_row(t, &p[i]);
    add_host(t, plan);
    table_render(t, WIDTH, pg->out);
    table_free(t);
    if (n)
        add_bars(pg, p, n);
    buf_addc(pg->out, '\n');
    add_paragraphs(pg, T_WARNING, json_object_get(plan, "warnings"));
    add_paragraphs(pg, T_NOTE, json_object_get(plan, "notes"));
    add_lines(pg, T_WHY, json_object_get(plan, "why"));
    add_lines(pg, T_PROOF, json_object_get(plan, "proof"));
    add_rejected(pg, json_object_get(plan, "rejected"));
    add_changes(pg, json_object_get(plan, "changes"), T_CHANGES);
    add_paragraphs(pg, T_NOTE, json_object_get(plan, "remarks"));
    add_assumed(pg, plan);
}

/* Line by line without what would steer a terminal: documents come from files and peers. */
static void add_clean(struct buf *out, const struct buf *text)
{
    mem_auto char *clean = mem_calloc(text->n + 1, 1);
    for (size_t at = 0; at < text->n;) {
        const char *end = memchr(text->p + at, '\n', text->n - at);
        size_t n = end ? (size_t)(end - text->p) - at : text->n - at;
        str_clean(clean, text->n + 1, (struct str){text->p + at, n});
        buf_addf(out, "%s%s", clean, end ? "\n" : "");
        at += n + 1;
    }
}

static void add_refusal(const struct page *pg, const json_t *plan, size_t at)
{
    mem_auto char *summary = sentence(pg, json_object_get(plan, "summary"));
    text_wrap(pg->out, summary, WIDTH, 2, at);
    add_paragraphs(pg, T_WARNING, json_object_get(plan, "warnings"));
    add_paragraphs(pg, T_NOTE, json_object_get(plan, "notes"));
    add_refused(pg, json_object_get(plan, "refused"));
    add_changes(pg, json_object_get(plan, "changes"), T_SMALLEST);
    add_paragraphs(pg, T_NOTE, json_object_get(plan, "remarks"));
    add_assumed(pg, plan);
}

void plan_text(const json_t *plan, const struct plan_text_opts *opts, struct buf *out)
{
    buf_auto struct buf text;
    buf_init(&text, MAX_TEXT);
    struct page pg = {.out = &text, .lang = opts ? opts->lang : WORDS_EN};
    pg.g = opts && opts->ascii ? &ASCII : &UTF8;
    if (json_is_true(json_object_get(plan, "feasible")))
        add_plan(&pg, plan);
    else
        add_refusal(&pg, plan, opts ? opts->at : 0);
    if (opts && opts->deploy && json_is_true(json_object_get(plan, "feasible")))
        buf_addf(&text, "%s  %s\n", title(&pg, T_DEPLOY), opts->deploy);
    if (opts && opts->save && json_is_true(json_object_get(plan, "feasible")))
        buf_addf(&text, "%s  %s\n", title(&pg, T_SAVE), opts->save);
    add_clean(out, &text);
    if (text.full)
        buf_adds(out, pg.lang == WORDS_ZH ? "（文本过长，已截断；--json 可见全部）\n"
                                          : "(cut here: too long; --json has all)\n");
}
