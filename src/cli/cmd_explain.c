/* `stowage explain`: the stored decision about a deployment, and what the engines then took. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/plan_text.h"
#include "cli/table.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

static const struct table_column COLUMNS[] = {
    {"MEASURED", false, 0}, {"WEIGHTS", true, 0},          {"KV", true, 0},
    {"COMPUTE", true, 0},   {"AGAINST THE PLAN", true, 0},
};

static uint64_t measured_sum(const json_t *m)
{
    return cli_u64(m, "weights_bytes") + cli_u64(m, "kv_bytes") + cli_u64(m, "compute_bytes");
}

/* Of a part of the plan; what a driver takes for itself is not in the engine's log. */
static uint64_t planned_sum(const json_t *part)
{
    const json_t *b = json_object_get(part, "bytes");
    return cli_u64(b, "weights") + cli_u64(b, "kv") + cli_u64(b, "compute");
}

static void print_measured(const json_t *replica)
{
    const json_t *measured = json_object_get(replica, "measured"), *m;
    size_t i;
    char size[24];
    if (!json_array_size(measured))
        return;
    struct table *t = table_new(COLUMNS, ARRAY_LEN(COLUMNS));
    json_array_foreach(measured, i, m)
    {
        const json_t *parts = json_object_get(json_object_get(replica, "plan"), "parts");
        const json_t *part = json_array_get(parts, cli_u64(m, "part"));
        uint64_t took = measured_sum(m), planned = planned_sum(part);
        table_row(t);
        if (cli_str(part, "uuid")[0])
            table_cell(t, "%s:%llu", cli_str(part, "node"),
                       (unsigned long long)cli_u64(part, "gpu"));
        else
            table_cell(t, "%s:ram", cli_str(part, "node"));
        table_cell(t, "%s", num_fmt_gib(size, sizeof size, cli_u64(m, "weights_bytes")));
        table_cell(t, "%s", num_fmt_gib(size, sizeof size, cli_u64(m, "kv_bytes")));
        table_cell(t, "%s", num_fmt_gib(size, sizeof size, cli_u64(m, "compute_bytes")));
        if (planned)
            table_cell(t, "%+.2f %%", 100.0 * ((double)took - (double)planned) / (double)planned);
        else
            table_cell(t, "-");
    }
    table_print(t);
    table_free(t);
    putchar('\n');
}

int cmd_explain(int argc, char **argv)
{
    struct cli c = {.usage = "NAME",
                    .about = "Says why the replicas of NAME are where they are.",
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    char segment[256];
    struct err err = {0};
    if (!cli_start(&c, argc, argv, &status))
        return status;
    if (!cli_segment(segment, sizeof segment, c.operands[0]))
        return err_fill(&err, ERR_USAGE, "'%.80s' names no model", c.operands[0]),
               cli_fail(&c, &err, NULL);
    mem_auto char *path = mem_printf("/api/v1/explain/%s", segment);
    json_auto_t *doc = NULL;
    if (cli_call(&c, "GET", path, NULL, &doc, &status))
        return status;
    if (c.json)
        return cli_json(STEAL(doc));
    const json_t *r;
    size_t i;
    json_array_foreach(json_object_get(doc, "replicas"), i, r)
    {
        const char *why = cli_str(json_object_get(r, "reason"), "message");
        printf("%s/%llu  %s%s%s\n", c.operands[0], (unsigned long long)cli_u64(r, "index"),
               cli_str(r, "state"), why[0] ? "  " : "", why);
        buf_auto struct buf text;
        buf_init(&text, 1 << 20);
        if (json_is_object(json_object_get(r, "plan")))
            plan_text(json_object_get(r, "plan"), &(struct plan_text_opts){.lang = c.lang}, &text);
        if (text.n)
            fwrite(text.p, 1, text.n, stdout);
        putchar('\n');
        print_measured(r);
    }
    return 0;
}
