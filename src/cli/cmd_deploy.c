/* `stowage deploy` and `stowage wait`. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/progress.h"
#include "cli/spec_opts.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

struct deploy {
    struct spec_opts spec;
    const char *name;
    double timeout_s;
    uint64_t replicas;
    bool wait, no_wait;
};

static json_t *make_spec(const struct deploy *o, const char *path, struct err *err)
{
    char name[CLUSTER_NAME];
    mem_auto char *model = cli_absolute(path, err);
    if (!model)
        return NULL;
    if (o->name)
        str_copy(name, sizeof name, o->name);
    else
        spec_name_of_file(path, name, sizeof name);
    if (o->name && strlen(o->name) >= sizeof name)
        return err_null(err, ERR_INVALID, "--name '%.80s' is longer than %zu characters", o->name,
                        sizeof name - 1);
    return spec_opts_doc(&o->spec, name, model, o->replicas, err);
}

/* A dry run first: what does not fit is refused with its reasons and leaves nothing behind. */
static int dry_run(const struct cli *c, const json_t *spec, int *status)
{
    json_auto_t *plan = NULL;
    json_t *ask = json_object();
    json_object_set(ask, "spec", (json_t *)spec);
    if (cli_call(c, "POST", "/api/v1/plan", ask, &plan, status))
        return -1;
    if (!json_is_false(json_object_get(plan, "feasible")))
        return 0;
    *status =
        progress_refused(c, cli_str(spec, "name"), plan,
                         "nothing was changed; with --no-wait it is kept until there is room");
    return -1;
}

static void how_to_use(const struct cli *c, const json_t *d)
{
    const char *name = cli_str(d, "name");
    printf("%s is ready, context %llu\n", name,
           (unsigned long long)cli_u64(json_object_get(d, "spec"), "ctx"));
    fprintf(stderr, "Use it:  stowage chat %s     OPENAI_BASE_URL=%s/v1  model=%s\n", name,
            cli_server_url(c), name);
}

static int deploy(const struct cli *c, const struct deploy *o)
{
    struct err err = {0};
    int status = 0;
    json_auto_t *spec = make_spec(o, c->operands[0], &err), *made = NULL;
    if (!spec)
        return cli_fail(c, &err, NULL);
    if ((!o->no_wait && dry_run(c, spec, &status)) ||
        cli_call(c, "POST", "/api/v1/deployments", json_incref(spec), &made, &status))
        return status;
    const json_t *settled = json_object_get(made, "spec");
    if (!o->spec.ctx)
        fprintf(stderr, "context %llu per request (the default; choose with --ctx)\n",
                (unsigned long long)cli_u64(settled, "ctx"));
    if (o->no_wait || cli_u64(settled, "replicas") == 0) {
        if (c->json)
            return cli_json(STEAL(made));
        printf("%s is deployed\n", cli_str(made, "name"));
        fprintf(stderr, "hint: stowage wait %s --for ready\n", cli_str(made, "name"));
        return 0;
    }
    struct progress p = {.cli = c, .name = cli_str(made, "name"), .timeout_s = o->timeout_s};
    int rc = progress_wait(&p, &status);
    json_auto_t *last = p.last;
    if (rc)
        return status;
    if (c->json)
        return cli_json(STEAL(last));
    how_to_use(c, last);
    return 0;
}

int cmd_deploy(int argc, char **argv)
{
    struct deploy o = {.spec = SPEC_OPTS_DEFAULT, .replicas = 1, .timeout_s = 600};
    const struct opt opts[] = {
        {"name", 'n', OPT_STR, &o.name, "NAME", "the model's name (from the file's)"},
        SPEC_OPTS_ROWS(o.spec),
        {"replicas", 'r', OPT_U64, &o.replicas, "N", "replicas (1)", 0, SPEC_MAX_REPLICAS},
        {"wait", 0, OPT_FLAG, &o.wait, NULL, "until it answers (the default)"},
        {"no-wait", 0, OPT_FLAG, &o.no_wait, NULL, "return at once, also when nothing fits yet"},
        {"timeout", 0, OPT_SECONDS, &o.timeout_s, "TIME", "longest wait (10m)"},
    };
    struct cli c = {.usage = "FILE [options]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about =
                        "Places and starts the GGUF model FILE (a path on the server and on the "
                        "nodes).",
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    struct err err = {0};
    if (!cli_start(&c, argc, argv, &status))
        return status;
    if (o.wait && o.no_wait)
        return err_fill(&err, ERR_USAGE, "--wait and --no-wait exclude each other"),
               cli_fail(&c, &err, NULL);
    return deploy(&c, &o);
}

int cmd_wait(int argc, char **argv)
{
    const char *goal = "ready";
    struct progress p = {.keep_trying = true, .timeout_s = 600};
    const struct opt opts[] = {
        {"for", 0, OPT_STR, &goal, "ready|gone", "what to wait for (ready)"},
        {"timeout", 0, OPT_SECONDS, &p.timeout_s, "TIME", "longest wait (10m)"},
    };
    struct cli c = {.usage = "NAME [--for ready|gone] [--timeout TIME]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "Waits until NAME answers, or is gone.",
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    struct err err = {0};
    p.cli = &c;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    bool gone = strcmp(goal, "gone") == 0;
    if (!gone && strcmp(goal, "ready") != 0)
        return err_fill(&err, ERR_USAGE, "--for '%.40s' is neither ready nor gone", goal),
               cli_fail(&c, &err, NULL);
    p.name = c.operands[0];
    p.goal = gone ? PROGRESS_GONE : PROGRESS_READY;
    int rc = progress_wait(&p, &status);
    json_auto_t *last = p.last;
    if (rc)
        return status;
    if (c.json)
        return cli_json(!gone && last ? STEAL(last) : json_object());
    printf("%s is %s\n", p.name, goal);
    return 0;
}
