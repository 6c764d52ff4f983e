/* `stowage whatif`: the plan before and after a change of the cluster. Nothing is changed. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/plans_text.h"
#include "cli/question.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 4 << 20 };

struct whatif_args {
    struct question_opts q;
    struct opt_list add, add_node, remove, drain, undrain, release;
};

static json_t *question(const struct cli *c, const struct whatif_args *a, struct err *err)
{
    const struct {
        const char *op;
        const struct opt_list *list;
    } edits[] = {{"remove", &a->remove},   {"release", &a->release},   {"drain", &a->drain},
                 {"undrain", &a->undrain}, {"add_node", &a->add_node}, {"add", &a->add}};
    json_t *o = question_new("whatif", &a->q, c->operands, c->n_operands, err);
    for (size_t i = 0; o && i < sizeof edits / sizeof *edits; i++)
        for (size_t k = 0; k < edits[i].list->n; k++)
            question_edit(o, edits[i].op, edits[i].list->items[k]);
    if (!o || json_object_get(o, "edits"))
        return o;
    json_decref(o);
    return err_null(err, ERR_USAGE,
                    "whatif needs a change: --add, --add-node, --remove, --drain, --undrain or "
                    "--release");
}

int cmd_whatif(int argc, char **argv)
{
    struct whatif_args a = {.q = QUESTION_OPTS_DEFAULT};
    const struct opt opts[] = {
        {"add", 0, OPT_LIST, &a.add, "\"NODE: GPUS\"", "2x RTX 3090 24GiB 936GB/s into a node"},
        {"add-node", 0, OPT_LIST, &a.add_node, "\"NAME: ram 64GiB, GPUS\"", "one more node"},
        {"remove", 0, OPT_LIST, &a.remove, "NODE|NODE:0", "without a node or a GPU"},
        {"drain", 0, OPT_LIST, &a.drain, "NODE", "with the node drained"},
        {"undrain", 0, OPT_LIST, &a.undrain, "NODE", "with the node taking work"},
        {"release", 0, OPT_LIST, &a.release, "MODEL", "without a model that runs"},
        QUESTION_OPTS_ROWS(a.q),
    };
    struct cli c = {.usage = "MODEL... CHANGE... [-f CLUSTER] [options]",
                    .about = "Plans MODEL before and after a change of the cluster, side by side. "
                             "A GPU's memory and\nbandwidth may be left out when the cluster has "
                             "one of that name. Exit status 3 when\nnot all fit after it.",
                    .opts = opts,
                    .n_opts = sizeof opts / sizeof *opts,
                    .min_operands = 1,
                    .max_operands = CLI_MAX_OPERANDS,
                    .connects = true};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct err err = {0};
    char hint[240] = "";
    json_auto_t *ask = question(&c, &a, &err);
    json_auto_t *doc = ask ? question_answer(&c, &a.q, ask, hint, &err) : NULL;
    if (!doc)
        return cli_fail(&c, &err, hint);
    bool fits = json_is_true(json_object_get(doc, "feasible"));
    status = fits ? 0 : err_info(ERR_NO_PLACEMENT)->exit;
    if (c.json)
        return cli_json(json_incref(doc)), status;
    struct plan_text_opts o = plan_text_here(&c);
    buf_auto struct buf out;
    buf_init(&out, MAX_TEXT);
    whatif_text(doc, &o, &out);
    fwrite(out.p, 1, out.n, stdout);
    return status;
}
