/* Questions asked and answered; see question.h. */
#include "cli/question.h"

#include "base/doc.h"
#include "base/mem.h"
#include "client/client.h"
#include "model/shelf.h"
#include "place/ask.h"

#include <string.h>

/* ---- making ---- */

static bool has_name(const json_t *specs, const char *name)
{
    const json_t *s;
    size_t i;
    json_array_foreach(specs, i, s) if (strcmp(cli_str(s, "name"), name) == 0) return true;
    return false;
}

static json_t *spec_of(const struct question_opts *q, const json_t *others, const char *path,
                       struct err *err)
{
    char base[CLUSTER_NAME], name[CLUSTER_NAME];
    mem_auto char *model = cli_absolute(path, err);
    if (!model)
        return NULL;
    if (q->name && strlen(q->name) >= sizeof base)
        return err_null(err, ERR_INVALID, "--name '%.80s' is longer than %zu characters", q->name,
                        sizeof base - 1);
    if (q->name)
        STR_COPY(base, q->name);
    else
        spec_name_of_file(path, base, sizeof base);
    STR_COPY(name, base);
    for (unsigned i = 2; has_name(others, name); i++)
        str_copyf(name, sizeof name, "%.50s-%u", base, i);
    return spec_opts_doc(&q->spec, name, model, q->replicas, err);
}

json_t *question_of_specs(const char *kind, const struct question_opts *q, json_t *specs)
{
    json_t *o = json_object();
    const json_t *first = json_array_get(specs, 0);
    bool one =
        json_array_size(specs) == 1 && json_integer_value(json_object_get(first, "replicas")) == 1;
    json_put_str(o, "kind", kind);
    if (one)
        json_object_set(o, "spec", json_array_get(specs, 0));
    else
        json_object_set(o, "specs", specs);
    json_decref(specs);
    if (q->budget)
        json_put_u64(o, "budget", q->budget);
    return o;
}

json_t *question_new(const char *kind, const struct question_opts *q, const char *const *models,
                     size_t n, struct err *err)
{
    json_auto_t *specs = json_array();
    if (q->name && n > 1)
        return err_null(err, ERR_USAGE, "--name is for one model, %zu are given", n);
    for (size_t i = 0; i < n; i++) {
        json_t *spec = spec_of(q, specs, models[i], err);
        if (!spec)
            return NULL;
        json_array_append_new(specs, spec);
    }
    return question_of_specs(kind, q, STEAL(specs));
}

void question_edit(json_t *question, const char *op, const char *what)
{
    json_t *list = json_object_get(question, "edits");
    json_t *o = json_add_object(list ? list : json_put_array(question, "edits"));
    json_put_str(o, "op", op);
    json_put_str(o, "what", what);
}

/* ---- answering ---- */

int question_read_cluster(const char *path, struct cluster_snapshot *s, struct err *err)
{
    struct doc d;
    int rc = cli_read_doc(path, &d, err) ? -1 : snapshot_from_doc(s, &d, err);
    doc_done(&d);
    return rc;
}

static json_t *answer_here(const struct question_opts *q, const json_t *question, struct err *err)
{
    struct ask a = {0};
    struct cluster_snapshot s;
    struct shelf shelf = {0};
    json_t *doc = NULL;
    snapshot_init(&s);
    if (ask_from_json(&a, question, err) == 0 && question_read_cluster(q->cluster, &s, err) == 0)
        doc = ask_answer(&a, &s, &(struct ask_models){shelf_get, &shelf}, err);
    shelf_done(&shelf);
    snapshot_done(&s);
    ask_done(&a);
    return doc;
}

json_t *question_answer(const struct cli *c, const struct question_opts *q, const json_t *question,
                        char hint[240], struct err *err)
{
    if (q->cluster)
        return answer_here(q, question, err);
    json_t *doc = NULL;
    struct client *client = cli_connect(c, err);
    if (!client)
        return NULL;
    client_do(client, "POST", "/api/v1/plan", question, &doc, hint, err);
    client_free(client);
    return doc;
}

/* ---- models of a file ---- */

static json_t *model_of(const struct doc_at *at, const char *folder, struct err *err)
{
    struct doc_at path = doc_member(at, "model");
    const char *given = json_string_value(path.v);
    char name[CLUSTER_NAME];
    if (!given)
        return doc_fill(at, err, "a model needs its path: {model: /models/x.gguf}"), NULL;
    if (given[0] != '/') {
        mem_auto char *full = mem_printf("%s/%s", folder, given);
        json_object_set_new(at->v, "model", json_string(full));
    }
    spec_name_of_file(cli_str(at->v, "model"), name, sizeof name);
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    return spec_read(spec, at, name, err) ? NULL : spec_to_json(spec);
}

static json_t *models_of(const struct doc *d, const char *folder, struct err *err)
{
    /* Those of a cluster file, which it may be at the same time. */
    static const char *const KEYS[] = {"models",  "schema", "nodes",    "links",
                                       "reserve", "engine", "instances"};
    size_t n;
    struct doc_at root = doc_root(d), list = doc_member(&root, "models");
    if (doc_known_keys(&root, KEYS, ARRAY_LEN(KEYS), err) ||
        (doc_has(&root, "schema") && doc_schema(d, "stowage.cluster/1", err)))
        return NULL;
    if (list.v && doc_list(&list, ASK_MAX_SPECS, &n, err))
        return NULL;
    json_auto_t *specs = json_array();
    for (size_t i = 0; i < json_array_size(list.v); i++) {
        struct doc_at at = doc_item(&list, i);
        json_auto_t *spec = model_of(&at, folder, err);
        if (!spec)
            return NULL;
        if (has_name(specs, cli_str(spec, "name")))
            return doc_fill(&at, err, "two models are named '%s'", cli_str(spec, "name")), NULL;
        json_array_append(specs, spec);
    }
    return STEAL(specs);
}

json_t *question_read_models(const char *path, struct err *err)
{
    struct doc d;
    json_t *specs = NULL;
    mem_auto char *folder = cli_absolute(path, err);
    if (!folder)
        return NULL;
    *strrchr(folder, '/') = 0;
    if (cli_read_doc(path, &d, err) == 0)
        specs = models_of(&d, folder, err);
    doc_done(&d);
    return specs;
}

json_t *question_read_plan(const char *path, struct err *err)
{
    struct doc d;
    json_t *out = cli_read_doc(path, &d, err) ? NULL : json_incref(d.root);
    doc_done(&d);
    return out;
}
