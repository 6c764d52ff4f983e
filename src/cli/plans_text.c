/* Several plans, and plans side by side; see plans_text.h. */
#include "cli/plans_text.h"

#include "base/mem.h"
#include "base/num.h"
#include "cli/common.h"
#include "cli/table.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>

enum { MAX_TEXT = 4 << 20, WIDTH = 80, MAX_REFUSALS = 8 };

struct plan_text_opts plan_text_here(const struct cli *c)
{
    setlocale(LC_CTYPE, "");
    return (struct plan_text_opts){.ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0,
                                   .lang = c->lang};
}

static bool fits(const json_t *plan)
{
    return json_is_true(json_object_get(plan, "feasible"));
}

static double tok_s(const json_t *plan)
{
    return cli_num(json_object_get(plan, "estimate"), "tok_s");
}

/* Neighbours on one node share its name. */
char *plan_where(const json_t *plan)
{
    struct buf out;
    const json_t *p;
    const char *last = "";
    size_t i;
    buf_init(&out, MAX_TEXT);
    json_array_foreach(json_object_get(plan, "parts"), i, p)
    {
        const char *node = cli_str(p, "node");
        if (strcmp(cli_str(p, "backend"), "cpu") == 0)
            buf_addf(&out, "%s%s RAM", out.n ? " " : "", node);
        else if (strcmp(node, last) == 0)
            buf_addf(&out, ",%llu", (unsigned long long)cli_u64(p, "gpu"));
        else
            buf_addf(&out, "%s%s:%llu", out.n ? " " : "", node,
                     (unsigned long long)cli_u64(p, "gpu"));
        last = strcmp(cli_str(p, "backend"), "cpu") == 0 ? "" : node;
    }
    bool ram = cli_u64(plan, "n_cpu_layers") || cli_u64(plan, "n_cpu_moe");
    if (ram || !out.n)
        buf_addf(&out, "%s%s RAM", out.n ? " + " : "", cli_str(plan, "main_node"));
    return buf_take(&out);
}

char *plan_summary(const json_t *plan, const struct plan_text_opts *o)
{
    struct buf out;
    buf_init(&out, MAX_TEXT);
    words_render(json_object_get(plan, "summary"), o->lang, &out);
    return out.p ? buf_take(&out) : mem_strdup("");
}

/* ---- several plans ---- */

static const struct table_column PLANS[] = {
    {"MODEL", false, 0}, {"TIER", false, 2}, {"NODES", true, 3},
    {"GPUS", true, 1},   {"TOK/S", true, 0}, {"WHERE", false, 0},
};

static void count(const json_t *plan, size_t *nodes, size_t *gpus)
{
    const json_t *parts = json_object_get(plan, "parts"), *p, *q;
    size_t i, k;
    *nodes = 1;
    *gpus = 0;
    json_array_foreach(parts, i, p)
    {
        bool seen = strcmp(cli_str(p, "node"), cli_str(plan, "main_node")) == 0;
        for (k = 0; k < i && !seen; k++) {
            q = json_array_get(parts, k);
            seen = strcmp(cli_str(p, "node"), cli_str(q, "node")) == 0;
        }
        *nodes += !seen;
        *gpus += strcmp(cli_str(p, "backend"), "cpu") != 0;
    }
}

static void add_plan_row(struct table *t, const json_t *item, const struct plan_text_opts *o)
{
    const json_t *plan = json_object_get(item, "plan");
    size_t nodes, gpus;
    table_row(t);
    table_cell(t, "%s/%llu", cli_str(item, "name"), (unsigned long long)cli_u64(item, "replica"));
    if (!fits(plan)) {
        mem_auto char *why = plan_summary(plan, o);
        table_cell(t, "-");
        table_note(t, why);
        return;
    }
    count(plan, &nodes, &gpus);
    mem_auto char *where = plan_where(plan);
    table_cell(t, "%s", cli_str(plan, "tier"));
    table_cell(t, "%zu", nodes);
    table_cell(t, "%zu", gpus);
    table_cell(t, "%.1f", tok_s(plan));
    table_cell(t, "%s", where);
}

static void add_refusal(const json_t *item, const struct plan_text_opts *o, struct buf *out)
{
    struct plan_text_opts opts = *o;
    buf_addc(out, '\n');
    size_t from = out->n;
    buf_addf(out, "%s/%llu  ", cli_str(item, "name"), (unsigned long long)cli_u64(item, "replica"));
    opts.at = out->n - from;
    plan_text(json_object_get(item, "plan"), &opts, out);
}

static void add_set(const json_t *doc, const struct plan_text_opts *o, struct buf *out)
{
    const json_t *list = json_object_get(doc, "plans"), *item;
    unsigned long long placed = cli_u64(doc, "placed"), wanted = cli_u64(doc, "wanted"),
                       most = cli_u64(doc, "most");
    size_t i, refused = 0;
    buf_addf(out, "%llu of %llu placed", placed, wanted);
    if (json_is_true(json_object_get(doc, "optimal")))
        buf_adds(out, ", optimal\n\n");
    else if (most > placed)
        buf_addf(out, ", best found; more than %llu are not possible\n\n", most);
    else
        buf_addf(out, ", best found, gap %.1f %%\n\n", cli_num(doc, "gap_percent"));
    struct table *t = table_new(PLANS, ARRAY_LEN(PLANS));
    json_array_foreach(list, i, item) add_plan_row(t, item, o);
    table_render(t, WIDTH, out);
    table_free(t);
    const char *last = "";
    json_array_foreach(list, i, item)
    {
        /* Replicas of one model are refused for one reason. */
        const char *name = cli_str(item, "name");
        if (fits(json_object_get(item, "plan")) || strcmp(name, last) == 0)
            continue;
        last = name;
        if (++refused <= MAX_REFUSALS)
            add_refusal(item, o, out);
    }
    if (refused > MAX_REFUSALS)
        buf_addf(out, "\nand %zu more models that do not fit (--json has all)\n",
                 refused - MAX_REFUSALS);
}

void plans_text(const json_t *doc, const struct plan_text_opts *o, struct buf *out)
{
    if (json_object_get(doc, "plans"))
        add_set(doc, o, out);
    else
        plan_text(doc, o, out);
}

/* ---- before and after ---- */

static const struct table_column SIDES[] = {
    {"", false, 0}, {"BEFORE", false, 0}, {"AFTER", false, 0}};

static void cell_text(struct table *t, const json_t *plan, const char *text)
{
    table_cell(t, "%s", fits(plan) ? text : "-");
}

static void row_text(struct table *t, const char *title, const json_t *a, const json_t *b,
                     char *(*of)(const json_t *plan))
{
    mem_auto char *x = of(a), *y = of(b);
    table_row(t);
    table_cell(t, "%s", title);
    cell_text(t, a, x);
    cell_text(t, b, y);
}

static char *of_tier(const json_t *plan)
{
    return mem_strdup(cli_str(plan, "tier"));
}

static char *of_speed(const json_t *plan)
{
    return mem_printf("%.1f", tok_s(plan));
}

static char *of_counts(const json_t *plan)
{
    size_t nodes, gpus;
    count(plan, &nodes, &gpus);
    return mem_printf("%zu on %zu", gpus, nodes);
}

static char *of_use(const json_t *plan)
{
    const json_t *p;
    size_t i;
    uint64_t use = 0;
    json_array_foreach(json_object_get(plan, "parts"), i, p)
    {
        const json_t *b = json_object_get(p, "bytes");
        use += cli_u64(b, "weights") + cli_u64(b, "kv") + cli_u64(b, "compute") +
               cli_u64(b, "runtime");
    }
    char text[24];
    return mem_strdup(num_fmt_gib(text, sizeof text, use));
}

static char *of_candidates(const json_t *plan)
{
    return mem_printf("%llu",
                      (unsigned long long)cli_u64(json_object_get(plan, "candidates"), "gpus"));
}

/* A refusal's sentence stands under the table, where there is room. */
static void add_sides(const char *name, const json_t *a, const json_t *b,
                      const struct plan_text_opts *o, struct buf *out)
{
    struct table *t = table_new(SIDES, ARRAY_LEN(SIDES));
    buf_addf(out, "%s\n", name);
    table_row(t);
    table_cell(t, "fits");
    table_cell(t, fits(a) ? "yes" : "no");
    table_cell(t, fits(b) ? "yes" : "no");
    row_text(t, "tier", a, b, of_tier);
    row_text(t, "GPUs on nodes", a, b, of_counts);
    row_text(t, "where", a, b, plan_where);
    row_text(t, "tok/s", a, b, of_speed);
    row_text(t, "memory used", a, b, of_use);
    table_row(t);
    table_cell(t, "GPUs to choose from");
    mem_auto char *x = of_candidates(a), *y = of_candidates(b);
    table_cell(t, "%s", x);
    table_cell(t, "%s", y);
    table_render(t, WIDTH, out);
    table_free(t);
    const json_t *sides[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        if (fits(sides[i]))
            continue;
        mem_auto char *why = plan_summary(sides[i], o);
        buf_addf(out, "%s  %s\n", i ? "after " : "before", why);
    }
}

void whatif_text(const json_t *doc, const struct plan_text_opts *o, struct buf *out)
{
    const json_t *e, *item, *before = json_object_get(doc, "before"),
                            *after = json_object_get(doc, "after");
    size_t i;
    buf_adds(out, "WHAT IF  ");
    json_array_foreach(json_object_get(doc, "edits"), i, e)
        buf_addf(out, "%s%s %s", i ? "; " : "", cli_str(e, "op"), cli_str(e, "what"));
    buf_adds(out, "\n\n");
    if (!json_object_get(before, "plans")) {
        add_sides(cli_str(json_object_get(before, "spec"), "name"), before, after, o, out);
        return;
    }
    buf_addf(out, "%llu of %llu placed before, %llu after\n\n",
             (unsigned long long)cli_u64(before, "placed"),
             (unsigned long long)cli_u64(before, "wanted"),
             (unsigned long long)cli_u64(after, "placed"));
    json_array_foreach(json_object_get(before, "plans"), i, item)
    {
        mem_auto char *name = mem_printf("%s/%llu", cli_str(item, "name"),
                                         (unsigned long long)cli_u64(item, "replica"));
        const json_t *other = json_array_get(json_object_get(after, "plans"), i);
        if (i)
            buf_addc(out, '\n');
        add_sides(name, json_object_get(item, "plan"), json_object_get(other, "plan"), o, out);
    }
}
