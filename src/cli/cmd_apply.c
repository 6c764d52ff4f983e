/* `stowage apply`: what a file lists is what runs; or a saved plan is deployed. */
#include "cli/apply.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/plans_text.h"
#include "cli/table.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 4 << 20, EXIT_PART = 9 };

struct apply_args {
    struct apply apply;
    const char *file;
};

/* ---- what would be changed ---- */

static const struct table_column CHANGES[] = {
    {"MODEL", false, 0}, {"CHANGE", false, 0}, {"REPLICAS", true, 1}, {"WHAT", false, 0}};

static void print_changes(const struct apply *a)
{
    const json_t *c;
    size_t i;
    struct table *t = table_new(CHANGES, ARRAY_LEN(CHANGES));
    json_array_foreach(a->changes, i, c)
    {
        const json_t *spec = json_object_get(c, "spec");
        const char *keys = cli_str(c, "keys"), *change = cli_str(c, "change");
        table_row(t);
        table_cell(t, "%s", cli_str(c, "name"));
        table_cell(t, "%s", change);
        if (spec)
            table_cell(t, "%llu", (unsigned long long)cli_u64(spec, "replicas"));
        else
            table_cell(t, "-");
        if (strcmp(change, diff_name(DIFF_CHANGED)) == 0)
            table_cell(t, "%s: stopped and started anew", keys);
        else
            table_cell(t, "%s", spec ? keys : "keeps running; stowage rm stops it");
    }
    table_print(t);
    table_free(t);
}

static void print_plans(const struct apply *a)
{
    struct plan_text_opts o = plan_text_here(a->cli);
    buf_auto struct buf out;
    buf_init(&out, MAX_TEXT);
    buf_addc(&out, '\n');
    plans_text(a->plans, &o, &out);
    fwrite(out.p, 1, out.n, stdout);
}

static int document(const struct apply *a, bool applied, int status)
{
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.apply/1");
    json_put_bool(doc, "applied", applied);
    json_object_set(doc, "changes", a->changes);
    json_object_set(doc, "plans", a->plans ? a->plans : json_null());
    cli_json(doc);
    return status;
}

static bool anything(const struct apply *a)
{
    const json_t *c;
    size_t i;
    json_array_foreach(a->changes, i, c)
    {
        const char *change = cli_str(c, "change");
        if (json_object_get(c, "spec") && strcmp(change, diff_name(DIFF_SAME)) != 0 &&
            strcmp(change, "left out") != 0)
            return true;
    }
    return false;
}

/* ---- both ways ---- */

/* After the plan: refused, shown only, asked about, or made. */
static int go(struct apply *a)
{
    const struct cli *c = a->cli;
    struct err err = {0};
    bool fits = !a->plans || json_is_true(json_object_get(a->plans, "feasible"));
    if (!fits && a->partial)
        apply_leave_out(a);
    if (!c->json) {
        print_changes(a);
        if (a->plans)
            print_plans(a);
    }
    if (!fits && !a->partial) {
        err_fill(&err, ERR_NO_PLACEMENT, "not all of it fits, so nothing was changed");
        return c->json ? document(a, false, err_info(ERR_NO_PLACEMENT)->exit)
                       : cli_fail(c, &err, "--partial deploys what fits");
    }
    int status = a->left_out ? EXIT_PART : 0;
    if (a->dry_run || !anything(a)) {
        if (!c->json)
            puts(a->dry_run ? "\nDry run: nothing was changed." : "\nNothing to change.");
        return c->json ? document(a, false, status) : status;
    }
    if (!a->yes) {
        int answer = cli_confirm("\nApply?", &err);
        if (answer < 0)
            return cli_fail(c, &err, NULL);
        if (!answer)
            return fputs("nothing was changed\n", stderr), 1;
    }
    int rc = apply_run(a);
    if (rc)
        return rc;
    if (c->json)
        return document(a, true, status);
    puts("Applied.");
    return status;
}

/* Contexts that the file leaves open are settled where the models are. */
static json_t *settle(struct apply *a, json_t *specs, char hint[240], struct err *err)
{
    json_auto_t *ask = json_object();
    json_put_str(ask, "kind", "plan");
    json_object_set_new(ask, "specs", specs);
    json_put_u64(ask, "budget", 1);
    json_auto_t *doc = question_answer(a->cli, &a->q, ask, hint, err);
    return doc ? json_incref(json_object_get(doc, "specs")) : NULL;
}

static int apply_file(struct apply_args *x)
{
    struct apply *a = &x->apply;
    struct err err = {0};
    char hint[240] = "";
    json_t *listed = question_read_models(x->file, &err);
    if (listed && !json_array_size(listed)) {
        json_decref(listed);
        return err_fill(&err, ERR_USAGE, "%.160s lists no models", x->file),
               cli_fail(a->cli, &err, "models: [{name: x, model: /models/x.gguf}]");
    }
    json_auto_t *specs = listed ? settle(a, listed, hint, &err) : NULL;
    if (!specs || apply_compare(a, specs, &err) || apply_plan(a, hint, &err))
        return cli_fail(a->cli, &err, hint);
    return go(a);
}

/* ---- a saved plan ---- */

static json_t *read_plan(const char *path, struct err *err)
{
    json_auto_t *doc = question_read_plan(path, err);
    if (!doc)
        return NULL;
    if (strcmp(cli_str(doc, "schema"), "stowage.plan/1") != 0 || !json_object_get(doc, "spec"))
        return err_null(err, ERR_INVALID, "%.120s is not what stowage plan MODEL --out wrote",
                        path);
    if (!json_is_true(json_object_get(doc, "feasible")))
        return err_null(err, ERR_NO_PLACEMENT, "the plan in %.120s is a refusal", path);
    return STEAL(doc);
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
    return json_equal(json_object_get(a, key), json_object_get(b, key));
}

/* The same devices hold the same layers and bytes. How much is free beside them may have moved. */
static const char *differs(const json_t *saved, const json_t *now)
{
    static const char *const WHOLE[] = {"main_node",    "ctx",       "n_slots", "kv",
                                        "n_cpu_layers", "n_cpu_moe", "n_layers"};
    static const char *const PART[] = {"node", "uuid", "layers", "output", "bytes"};
    const json_t *p = json_object_get(saved, "parts"), *q = json_object_get(now, "parts");
    for (size_t i = 0; i < ARRAY_LEN(WHOLE); i++)
        if (!same(saved, now, WHOLE[i]))
            return WHOLE[i];
    if (json_array_size(p) != json_array_size(q))
        return "parts";
    for (size_t i = 0; i < json_array_size(p); i++)
        for (size_t k = 0; k < ARRAY_LEN(PART); k++)
            if (!same(json_array_get(p, i), json_array_get(q, i), PART[k]))
                return PART[k];
    return NULL;
}

static int check_stale(struct apply *a, const json_t *saved, char hint[240], struct err *err)
{
    const json_t *now = a->plans;
    const char *id = cli_str(saved, "id");
    if (!json_is_true(json_object_get(now, "feasible"))) {
        str_copy(hint, 240, "plan again to see why: stowage plan");
        return err_set(err, ERR_CONFLICT, "the plan %s is stale: it does not fit any more", id);
    }
    const char *what = differs(saved, now);
    if (!what)
        return 0;
    mem_auto char *was = plan_where(saved), *is = plan_where(now);
    str_copy(hint, 240, "save it again: stowage plan MODEL --out PLAN.json");
    return err_set(err, ERR_CONFLICT,
                   "the plan %s is stale: planned again it differs (%s): %.60s, now %.60s", id,
                   what, was, is);
}

static int apply_saved(struct apply *a, const char *path)
{
    struct err err = {0};
    char hint[240] = "";
    json_auto_t *saved = read_plan(path, &err), *specs = json_array();
    if (!saved)
        return cli_fail(a->cli, &err, NULL);
    json_array_append(specs, json_object_get(saved, "spec"));
    if (apply_compare(a, specs, &err))
        return cli_fail(a->cli, &err, NULL);
    for (size_t i = json_array_size(a->changes); i-- > 1;)
        json_array_remove(a->changes, i); /* a plan says nothing of other models */
    if (strcmp(cli_str(json_array_get(a->changes, 0), "change"), diff_name(DIFF_NEW)) != 0) {
        err_fill(&err, ERR_CONFLICT, "a deployment named '%.80s' exists already",
                 cli_str(json_object_get(saved, "spec"), "name"));
        return cli_fail(a->cli, &err, "stowage rm NAME, or plan under another name (--name)");
    }
    json_auto_t *ask = question_of_specs("plan", &a->q, json_incref(specs));
    a->plans = question_answer(a->cli, &a->q, ask, hint, &err);
    if (!a->plans || check_stale(a, saved, hint, &err))
        return cli_fail(a->cli, &err, hint);
    return go(a);
}

int cmd_apply(int argc, char **argv)
{
    struct apply_args x = {.apply = {.q = QUESTION_OPTS_DEFAULT, .timeout_s = 600}};
    struct apply *a = &x.apply;
    const struct opt opts[] = {
        {"file", 'f', OPT_STR, &x.file, "FILE", "a document with `models:`"},
        {"yes", 'y', OPT_FLAG, &a->yes, NULL, "do not ask"},
        {"dry-run", 0, OPT_FLAG, &a->dry_run, NULL, "show what would be changed"},
        {"partial", 0, OPT_FLAG, &a->partial, NULL, "deploy what fits when not all does"},
        {"no-wait", 0, OPT_FLAG, &a->no_wait, NULL, "do not wait until all answer"},
        {"timeout", 0, OPT_SECONDS, &a->timeout_s, "TIME", "longest wait for each model (10m)"},
        {"budget", 0, OPT_U64, &a->q.budget, "STEPS", "search steps"},
    };
    struct cli c = {.usage = "-f FILE | PLAN.json [options]",
                    .about = "Makes the models that FILE lists run, planned all together; or "
                             "deploys a saved plan,\nwhich is refused (exit status 5) when "
                             "planning again gives another one. What runs\nand is not in FILE is "
                             "left alone. Exit status 3 when not all fit, 9 when a part was\n"
                             "deployed.",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .max_operands = 1,
                    .connects = true};
    int status;
    struct err err = {0};
    if (!cli_start(&c, argc, argv, &status))
        return status;
    a->cli = &c;
    if (!x.file == !c.n_operands)
        return err_fill(&err, ERR_USAGE, "apply needs -f FILE or a PLAN.json, one of them"),
               cli_fail(&c, &err, NULL);
    status = x.file ? apply_file(&x) : apply_saved(a, c.operands[0]);
    apply_done(a);
    return status;
}
