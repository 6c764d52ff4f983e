/* `stowage defrag`: the fewest moves of what runs that make room for a model. Nothing is moved. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/plans_text.h"
#include "cli/question.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TEXT = 1 << 20 };

/* The deployment that waits: by name, or the first of all. Its spec, with one replica. */
static json_t *pending_spec(const struct cli *c, const char *name, int *status)
{
    json_auto_t *list = NULL;
    const json_t *d, *r;
    size_t i, k;
    bool known = false;
    struct err err = {0};
    if (cli_call(c, "GET", "/api/v1/deployments", NULL, &list, status))
        return NULL;
    json_array_foreach(json_object_get(list, "items"), i, d)
    {
        if (name && strcmp(cli_str(d, "name"), name) != 0)
            continue;
        known = true;
        json_array_foreach(json_object_get(d, "replicas"), k, r)
        {
            if (strcmp(cli_str(r, "state"), "pending") != 0)
                continue;
            json_t *spec = json_deep_copy(json_object_get(d, "spec"));
            json_put_u64(spec, "replicas", 1);
            return spec;
        }
    }
    *status = 0;
    if (!name || known)
        return NULL;
    err_fill(&err, ERR_NOT_FOUND, "no deployment '%.80s', and no such file", name);
    *status = cli_fail(c, &err, "stowage ps");
    return NULL;
}

static bool is_file(const char *operand)
{
    size_t n = strlen(operand);
    return strchr(operand, '/') || access(operand, F_OK) == 0 ||
           (n > 5 && strcmp(operand + n - 5, ".gguf") == 0) ||
           (n > 6 && strcmp(operand + n - 6, ".ggufh") == 0);
}

static int nothing_waits(const struct cli *c, const char *name)
{
    if (c->json) {
        json_t *doc = json_object();
        json_put_str(doc, "schema", "stowage.defrag/1");
        json_put_bool(doc, "feasible", true);
        json_put_array(doc, "moves");
        json_object_set_new(doc, "pending", json_null());
        return cli_json(doc);
    }
    printf("%s%s waits for room; nothing needs to move\n", name ? "no replica of " : "nothing",
           name ? name : "");
    return 0;
}

static void print_moves(const json_t *doc)
{
    const json_t *m;
    size_t i;
    char size[24];
    json_array_foreach(json_object_get(doc, "moves"), i, m)
    {
        const json_t *plan = json_object_get(m, "plan");
        mem_auto char *where = plan_where(plan);
        printf("%zu  move %s/%llu to %s\n   loads %s, %s; then %.1f tok/s\n", i + 1,
               cli_str(m, "name"), (unsigned long long)cli_u64(m, "replica"), where,
               num_fmt_gib(size, sizeof size, cli_u64(m, "bytes")),
               json_is_true(json_object_get(m, "down_time"))
                   ? "stopped while it loads"
                   : "the old one serves until the new one does",
               cli_num(json_object_get(plan, "estimate"), "tok_s"));
    }
}

static void print_answer(const json_t *doc, const char *name)
{
    size_t n = json_array_size(json_object_get(doc, "moves"));
    bool proved = json_is_true(json_object_get(doc, "proved"));
    const json_t *pending = json_object_get(doc, "pending");
    mem_auto char *where = plan_where(pending);
    char size[24];
    if (!n) {
        printf("%s fits as it is: %s\n", name, where);
        return;
    }
    print_moves(doc);
    printf("\nThen %s fits: %s, %.1f tok/s. %s to load in all; %s.\n", name, where,
           cli_num(json_object_get(pending, "estimate"), "tok_s"),
           num_fmt_gib(size, sizeof size, cli_u64(doc, "bytes")),
           proved ? "fewer moves or bytes do not do" : "fewer may do: the search ended early");
    puts("Nothing was moved.");
}

static int refused(const struct cli *c, const json_t *doc, const char *name)
{
    struct err err = {0};
    unsigned long long most = cli_u64(doc, "most_moves"), below = cli_u64(doc, "excluded_below");
    if (json_is_true(json_object_get(doc, "proved")))
        err_fill(&err, ERR_NO_PLACEMENT, "no plan with at most %llu moves makes room for %.80s",
                 most, name);
    else
        err_fill(&err, ERR_NO_PLACEMENT,
                 "no plan with at most %llu moves was found for %.80s; fewer than %llu are "
                 "excluded, the rest was not searched to the end",
                 most, name, below);
    return cli_fail(c, &err, "stowage plan says what it lacks; stowage size what to buy");
}

static int show(const struct cli *c, const json_t *doc)
{
    const char *name = cli_str(json_object_get(doc, "spec"), "name");
    bool fits = json_is_true(json_object_get(doc, "feasible"));
    if (c->json)
        return cli_json(json_incref((json_t *)doc)), fits ? 0 : err_info(ERR_NO_PLACEMENT)->exit;
    if (!fits)
        return refused(c, doc, name);
    print_answer(doc, name);
    return 0;
}

int cmd_defrag(int argc, char **argv)
{
    struct question_opts q = QUESTION_OPTS_DEFAULT;
    const struct opt opts[] = {QUESTION_OPTS_ROWS(q)};
    struct cli c = {.usage = "[NAME|MODEL] [-f CLUSTER] [options]",
                    .about = "Plans at most 3 moves of what runs that make room for a model: for "
                             "the deployment NAME\nthat waits (without one: whichever waits), or "
                             "for the file MODEL. Moves nothing.\nExit status 3 when there is no "
                             "such plan.",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .max_operands = 1,
                    .connects = true};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct err err = {0};
    char hint[240] = "";
    const char *what = c.n_operands ? c.operands[0] : NULL;
    json_auto_t *ask = NULL;
    if (q.cluster && !what)
        return err_fill(&err, ERR_USAGE, "defrag -f needs MODEL: a cluster file has none waiting"),
               cli_fail(&c, &err, NULL);
    if (q.cluster || (what && is_file(what))) {
        ask = question_new("defrag", &q, &what, 1, &err);
    } else {
        json_t *spec = pending_spec(&c, what, &status), *specs = json_array();
        if (!spec) {
            json_decref(specs);
            return status ? status : nothing_waits(&c, what);
        }
        json_array_append_new(specs, spec);
        ask = question_of_specs("defrag", &q, specs);
    }
    json_auto_t *doc = ask ? question_answer(&c, &q, ask, hint, &err) : NULL;
    return doc ? show(&c, doc) : cli_fail(&c, &err, hint);
}
