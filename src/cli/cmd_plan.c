/* `stowage plan`: where a model would go, and why. Nothing is changed. With -f it plans on a
 * cluster file by itself; without, the server plans on the live cluster. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/plan_text.h"
#include "cli/spec_opts.h"

#include "arch/arch.h"
#include "base/doc.h"
#include "base/mem.h"
#include "client/client.h"
#include "cluster/deployment.h"
#include "model/model.h"
#include "os/file.h"
#include "place/place.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 4 << 20 };

struct plan_args {
    struct spec_opts spec;
    const char *cluster, *out;
    uint64_t budget;
};

static int read_cluster(const char *path, struct cluster_snapshot *s, struct err *err)
{
    struct doc d;
    int rc = cli_read_doc(path, &d, err) ? -1 : snapshot_from_doc(s, &d, err);
    doc_done(&d);
    return rc;
}

static json_t *plan_here(const struct plan_args *a, const char *model, json_t *doc, struct err *err)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    struct cluster_snapshot s;
    json_t *out = NULL;
    snapshot_init(&s);
    struct arch_facts *f = NULL;
    if (spec_from_json(spec, doc, err) == 0 && read_cluster(a->cluster, &s, err) == 0)
        f = model_facts(model, NULL, err);
    if (f) {
        struct place_demand d;
        struct place_budget budget = {.steps = a->budget};
        place_default_ctx(spec, f);
        struct place_plan *p =
            place_demand_init(&d, f, spec, err) ? NULL : place_plan(&s, &d, &budget, err);
        if (p) {
            out = place_to_json(p);
            place_free(p);
        }
    }
    arch_free(f);
    snapshot_done(&s);
    return out;
}

static json_t *plan_there(const struct cli *c, const struct plan_args *a, json_t *spec, char *hint,
                          struct err *err)
{
    struct client *client = cli_connect(c, err);
    json_t *out = NULL;
    if (!client)
        return NULL;
    json_auto_t *body = json_object();
    json_object_set(body, "spec", spec);
    if (a->budget)
        json_put_u64(body, "budget", a->budget);
    client_do(client, "POST", "/api/v1/plan", body, &out, hint, err);
    client_free(client);
    return out;
}

static bool ascii_only(void)
{
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
}

static int show(const struct cli *c, const struct plan_args *a, json_t *plan)
{
    bool fits = json_is_true(json_object_get(plan, "feasible"));
    int status = fits ? 0 : err_info(ERR_NO_PLACEMENT)->exit;
    struct err err = {0};
    if (a->out) {
        mem_auto char *text = json_text(plan);
        if (file_write(a->out, text, strlen(text), 0644, &err)) {
            json_decref(plan);
            return cli_fail(c, &err, NULL);
        }
    }
    if (c->json) {
        cli_json(plan);
        return status;
    }
    buf_auto struct buf out;
    buf_init(&out, MAX_TEXT);
    if (!fits)
        buf_adds(&out, "stowage: ");
    plan_text(plan,
              &(struct plan_text_opts){.ascii = ascii_only(), .lang = c->lang, .at = fits ? 0 : 9},
              &out);
    fwrite(out.p, 1, out.n, fits ? stdout : stderr);
    json_decref(plan);
    return status;
}

int cmd_plan(int argc, char **argv)
{
    struct plan_args a = {.spec = SPEC_OPTS_DEFAULT};
    const struct opt opts[] = {
        {"file", 'f', OPT_STR, &a.cluster, "CLUSTER",
         "plan on this cluster file, not the live one"},
        SPEC_OPTS_ROWS(a.spec),
        {"budget", 0, OPT_U64, &a.budget, "STEPS",
         "search steps (default: a fraction of a second)"},
        {"out", 'o', OPT_STR, &a.out, "FILE", "write the plan as JSON to FILE"},
    };
    struct cli c = {.usage = "FILE [-f CLUSTER] [options]",
                    .about = "Shows where a model would go, and why. FILE is a GGUF file or a "
                             "header-only .ggufh.\nExit status 3 when nothing fits.",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct err err = {0};
    char hint[240] = "";
    mem_auto char *model = cli_absolute(c.operands[0], &err);
    json_auto_t *doc = model ? spec_opts_doc(&a.spec, "plan", model) : NULL;
    json_t *plan = NULL;
    if (doc)
        plan = a.cluster ? plan_here(&a, model, doc, &err) : plan_there(&c, &a, doc, hint, &err);
    return plan ? show(&c, &a, plan) : cli_fail(&c, &err, hint);
}
