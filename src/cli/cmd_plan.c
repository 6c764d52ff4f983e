/* `stowage plan`: where models would go, and why. Nothing is changed. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/diff.h"
#include "cli/plans_text.h"
#include "cli/question.h"

#include "base/mem.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 4 << 20, EXIT_CHANGE = 10 };

struct plan_args {
    struct question_opts q;
    const char *out;
    bool exit_code;
};

/* The models of the command line, or those of the file. */
static json_t *question(const struct cli *c, const struct plan_args *a, struct err *err)
{
    if (c->n_operands)
        return question_new("plan", &a->q, c->operands, c->n_operands, err);
    json_auto_t *specs = a->q.cluster ? question_read_models(a->q.cluster, err) : NULL;
    if (a->q.cluster && !specs)
        return NULL;
    if (!json_array_size(specs))
        return err_null(err, ERR_USAGE, "plan needs MODEL...%s",
                        specs ? ": the file has no `models`" : "");
    return question_of_specs("plan", &a->q, STEAL(specs));
}

static int status_of(const struct cli *c, const struct plan_args *a, const json_t *plan)
{
    struct err err = {0};
    if (!json_is_true(json_object_get(plan, "feasible")))
        return err_info(ERR_NO_PLACEMENT)->exit;
    if (!a->exit_code)
        return 0;
    int change = diff_plan(c, a->q.cluster, plan, &err);
    return change < 0 ? cli_fail(NULL, &err, NULL) : change ? EXIT_CHANGE : 0;
}

static int show(const struct cli *c, const struct plan_args *a, json_t *plan)
{
    struct err err = {0};
    struct plan_text_opts o = plan_text_here(c);
    if (a->out) {
        mem_auto char *text = json_text(plan);
        if (file_write(a->out, text, strlen(text), 0644, &err)) {
            json_decref(plan);
            return cli_fail(c, &err, NULL);
        }
    }
    int status = status_of(c, a, plan);
    if (c->json) {
        cli_json(plan);
        return status;
    }
    bool fits = json_is_true(json_object_get(plan, "feasible"));
    bool one = !json_object_get(plan, "plans");
    buf_auto struct buf out;
    buf_init(&out, MAX_TEXT);
    /* Without a file it was made of the live cluster, and can be deployed there. */
    mem_auto char *deploy =
        a->out && one && !a->q.cluster ? mem_printf("stowage apply %s", a->out) : NULL;
    o.deploy = deploy;
    o.save = a->out ? NULL : "--out plan.json      as one JSON document: --json";
    if (!fits && one) {
        buf_adds(&out, "stowage: ");
        o.at = out.n;
    }
    plans_text(plan, &o, &out);
    fwrite(out.p, 1, out.n, fits || !one ? stdout : stderr);
    json_decref(plan);
    return status;
}

int cmd_plan(int argc, char **argv)
{
    struct plan_args a = {.q = QUESTION_OPTS_DEFAULT};
    const struct opt opts[] = {
        QUESTION_OPTS_ROWS(a.q),
        {"out", 'o', OPT_STR, &a.out, "FILE", "write the plan as JSON to FILE"},
        {"exit-code", 0, OPT_FLAG, &a.exit_code, NULL,
         "10 when it differs from what runs under that name"},
    };
    struct cli c = {.usage = "MODEL... [-f CLUSTER] [options]",
                    .about = "Shows where models would go, and why. MODEL is a GGUF file or a "
                             "header-only .ggufh;\nwithout one, the models that CLUSTER lists. "
                             "Exit status 3 when not all fit.",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .max_operands = CLI_MAX_OPERANDS,
                    .connects = true};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct err err = {0};
    char hint[240] = "";
    json_auto_t *ask = question(&c, &a, &err);
    json_t *plan = ask ? question_answer(&c, &a.q, ask, hint, &err) : NULL;
    return plan ? show(&c, &a, plan) : cli_fail(&c, &err, hint);
}
