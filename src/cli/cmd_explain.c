/* `stowage explain`: the stored decision about a deployment and what the engines then took, a saved
 * plan, or a plan made now; and why a GPU is not used. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/plans_text.h"
#include "cli/question.h"
#include "cli/table.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 4 << 20 };

struct explain_args {
    struct question_opts q;
    const char *why_not;
};

static const struct table_column COLUMNS[] = {
    {"MEASURED", false, 0}, {"WEIGHTS", true, 0},          {"KV", true, 0},
    {"COMPUTE", true, 0},   {"AGAINST THE PLAN", true, 0},
};

/* ---- a deployment ---- */

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

static void measured_row(struct table *t, const json_t *replica, const json_t *m)
{
    const json_t *parts = json_object_get(json_object_get(replica, "plan"), "parts");
    const json_t *part = json_array_get(parts, cli_u64(m, "part"));
    uint64_t took = measured_sum(m), planned = planned_sum(part);
    char size[24];
    table_row(t);
    if (cli_str(part, "uuid")[0])
        table_cell(t, "%s:%llu", cli_str(part, "node"), (unsigned long long)cli_u64(part, "gpu"));
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

static void print_measured(const json_t *replica)
{
    const json_t *measured = json_object_get(replica, "measured"), *m;
    size_t i;
    if (!json_array_size(measured))
        return;
    struct table *t = table_new(COLUMNS, ARRAY_LEN(COLUMNS));
    json_array_foreach(measured, i, m) measured_row(t, replica, m);
    table_print(t);
    table_free(t);
    putchar('\n');
}

static void print_plan(const struct cli *c, const json_t *plan)
{
    struct plan_text_opts o = plan_text_here(c);
    buf_auto struct buf text;
    buf_init(&text, MAX_TEXT);
    plans_text(plan, &o, &text);
    fwrite(text.p, 1, text.n, stdout);
}

static void print_deployment(const struct cli *c, const json_t *doc)
{
    const json_t *r;
    size_t i;
    json_array_foreach(json_object_get(doc, "replicas"), i, r)
    {
        const char *why = cli_str(json_object_get(r, "reason"), "message");
        printf("%s/%llu  %s%s%s\n", c->operands[0], (unsigned long long)cli_u64(r, "index"),
               cli_str(r, "state"), why[0] ? "  " : "", why);
        if (json_is_object(json_object_get(r, "plan")))
            print_plan(c, json_object_get(r, "plan"));
        putchar('\n');
        print_measured(r);
    }
}

/* ---- why not ---- */

static void side(const char *title, const json_t *plan)
{
    mem_auto char *where = plan_where(plan);
    printf("%-9s %-13s %5.1f tok/s  %s\n", title, cli_str(plan, "tier"),
           cli_num(json_object_get(plan, "estimate"), "tok_s"), where);
}

static void print_says(const json_t *says, enum words_lang lang)
{
    const json_t *note;
    size_t i;
    json_array_foreach(says, i, note)
    {
        buf_auto struct buf text;
        buf_init(&text, MAX_TEXT);
        words_render(note, lang, &text);
        printf("  %s\n", text.n ? text.p : "");
    }
}

static void print_compared(const json_t *doc)
{
    printf("%llu plans were made that use it: alone, in the place of a chosen GPU, or beside them "
           "all.\n",
           (unsigned long long)cli_u64(doc, "compared"));
    if (json_is_true(json_object_get(doc, "cut")))
        printf("More could be: a list names %d GPUs, the chosen plan has as many.\n",
               CONSTRAINT_MAX_NAMES);
}

static void print_why_not(const struct cli *c, const json_t *doc)
{
    const json_t *chosen = json_object_get(doc, "chosen"), *with = json_object_get(doc, "with");
    struct plan_text_opts o = plan_text_here(c);
    const char *gpu = cli_str(doc, "gpu");
    if (!json_is_true(json_object_get(chosen, "feasible"))) {
        mem_auto char *why = plan_summary(chosen, &o);
        printf("%s\n", why);
    }
    if (json_is_true(json_object_get(doc, "used"))) {
        printf("%s is used:\n", gpu);
        side("chosen", chosen);
        return;
    }
    if (json_is_object(with)) {
        printf("%s is not used, as another plan is better:\n", gpu);
        side("chosen", chosen);
        side("with it", with);
        print_compared(doc);
        return;
    }
    printf("%s is not used:\n", gpu);
    print_says(json_object_get(doc, "says"), o.lang);
    if (!json_array_size(json_object_get(doc, "says")))
        printf("  none of the %llu plans that would use it fits\n",
               (unsigned long long)cli_u64(doc, "compared"));
    if (json_is_true(json_object_get(chosen, "feasible")))
        side("chosen", chosen);
}

/* What the deployment itself holds is free for this question. */
static int why_not(const struct cli *c, const struct explain_args *a, const json_t *spec,
                   const char *release)
{
    struct err err = {0};
    char hint[240] = "";
    json_t *one = json_deep_copy(spec), *specs = json_array();
    json_put_u64(one, "replicas", 1);
    json_array_append_new(specs, one);
    json_auto_t *ask = question_of_specs("why_not", &a->q, specs);
    json_put_str(ask, "gpu", a->why_not);
    if (release)
        question_edit(ask, "release", release);
    json_auto_t *doc = question_answer(c, &a->q, ask, hint, &err);
    if (!doc)
        return cli_fail(c, &err, hint);
    if (c->json)
        return cli_json(json_incref(doc));
    print_why_not(c, doc);
    return 0;
}

/* ---- what is explained ---- */

static bool placed(const json_t *doc)
{
    const json_t *r;
    size_t i;
    json_array_foreach(json_object_get(doc, "replicas"), i, r)
    {
        const char *state = cli_str(r, "state");
        if (strcmp(state, "pending") != 0 && strcmp(state, "gone") != 0)
            return true;
    }
    return false;
}

static int explain_deployment(const struct cli *c, const struct explain_args *a)
{
    char segment[256];
    int status;
    struct err err = {0};
    if (!cli_segment(segment, sizeof segment, c->operands[0]))
        return err_fill(&err, ERR_USAGE, "'%.80s' names no model", c->operands[0]),
               cli_fail(c, &err, NULL);
    mem_auto char *path = mem_printf("/api/v1/explain/%s", segment);
    json_auto_t *doc = NULL;
    if (cli_call(c, "GET", path, NULL, &doc, &status))
        return status;
    if (a->why_not)
        return why_not(c, a, json_object_get(doc, "spec"), placed(doc) ? c->operands[0] : NULL);
    if (c->json)
        return cli_json(STEAL(doc));
    print_deployment(c, doc);
    return 0;
}

/* A plan as `plan` made it: from a file, or now. */
static int explain_plan(const struct cli *c, const struct explain_args *a, json_t *plan)
{
    json_auto_t *doc = plan;
    const json_t *spec = json_object_get(doc, "spec");
    struct err err = {0};
    if (a->why_not && !spec)
        return err_fill(&err, ERR_USAGE, "--why-not is asked of one model with one replica"),
               cli_fail(c, &err, NULL);
    if (a->why_not)
        return why_not(c, a, spec, NULL);
    if (c->json)
        return cli_json(STEAL(doc));
    print_plan(c, doc);
    return 0;
}

static json_t *read_plan(const char *path, struct err *err)
{
    json_auto_t *doc = question_read_plan(path, err);
    if (!doc)
        return NULL;
    if (strncmp(cli_str(doc, "schema"), "stowage.plan", 12) != 0)
        return err_null(err, ERR_INVALID, "%.120s is no plan: its schema is '%.40s'", path,
                        cli_str(doc, "schema"));
    return STEAL(doc);
}

static bool is_plan_file(const char *operand)
{
    size_t n = strlen(operand);
    return n > 5 && strcmp(operand + n - 5, ".json") == 0;
}

static int explain(const struct cli *c, const struct explain_args *a)
{
    struct err err = {0};
    char hint[240] = "";
    json_t *plan = NULL;
    if (is_plan_file(c->operands[0])) {
        plan = read_plan(c->operands[0], &err);
    } else if (a->q.cluster) {
        json_auto_t *ask = question_new("plan", &a->q, c->operands, 1, &err);
        plan = ask ? question_answer(c, &a->q, ask, hint, &err) : NULL;
    } else {
        return explain_deployment(c, a);
    }
    return plan ? explain_plan(c, a, plan) : cli_fail(c, &err, hint);
}

int cmd_explain(int argc, char **argv)
{
    struct explain_args a = {.q = QUESTION_OPTS_DEFAULT};
    const struct opt opts[] = {
        {"why-not", 0, OPT_STR, &a.why_not, "GPU", "why this GPU (node:index or UUID) is not used"},
        QUESTION_OPTS_ROWS(a.q),
    };
    struct cli c = {.usage = "NAME|PLAN.json|MODEL -f CLUSTER [--why-not GPU]",
                    .about = "Says why the replicas of NAME are where they are; or explains a "
                             "saved plan, or the plan\nof MODEL on CLUSTER.",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    return cli_start(&c, argc, argv, &status) ? explain(&c, &a) : status;
}
