/* What is wanted against what runs; see diff.h. */
#include "cli/diff.h"

#include "base/mem.h"
#include "client/client.h"
#include "cli/question.h"
#include "cluster/cluster.h"

#include <string.h>

static void put(json_t *out, const char *name, json_t *spec, bool placed)
{
    json_t *o = json_put_object(out, name);
    json_object_set(o, "spec", spec);
    json_put_bool(o, "placed", placed);
}

static json_t *running_here(const char *cluster, struct err *err)
{
    struct cluster_snapshot s;
    json_t *out = NULL;
    snapshot_init(&s);
    if (question_read_cluster(cluster, &s, err) == 0) {
        json_auto_t *unknown = json_object();
        out = json_object();
        for (uint32_t i = 0; i < s.n_instances; i++)
            put(out, s.instances[i].deployment, s.instances[i].spec ? s.instances[i].spec : unknown,
                true);
    }
    snapshot_done(&s);
    return out;
}

/* Any replica that has a place. */
static bool placed(const json_t *deployment)
{
    const json_t *r;
    size_t i;
    json_array_foreach(json_object_get(deployment, "replicas"), i,
                       r) if (json_object_get(r, "assignment")) return true;
    return false;
}

static json_t *running_there(const struct cli *c, struct err *err)
{
    json_auto_t *list = NULL;
    const json_t *d;
    size_t i;
    struct client *client = cli_connect(c, err);
    int rc = client ? client_do(client, "GET", "/api/v1/deployments", NULL, &list, NULL, err) : -1;
    client_free(client);
    if (rc)
        return NULL;
    json_t *out = json_object();
    json_array_foreach(json_object_get(list, "items"), i,
                       d) if (!json_is_true(json_object_get(d, "deleting")))
        put(out, cli_str(d, "name"), json_object_get(d, "spec"), placed(d));
    return out;
}

json_t *diff_running(const struct cli *c, const char *cluster, struct err *err)
{
    return cluster ? running_here(cluster, err) : running_there(c, err);
}

/* With all defaults said, so that equal specs are equal documents. */
static json_t *plain(const json_t *doc)
{
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    return spec_from_json(spec, doc, NULL) ? json_deep_copy(doc) : spec_to_json(spec);
}

static void note_key(struct buf *keys, const char *key)
{
    if (keys)
        buf_addf(keys, "%s%s", keys->n ? ", " : "", key);
}

enum diff_kind diff_spec(const json_t *running, const json_t *wanted, struct buf *keys)
{
    const json_t *was = json_object_get(json_object_get(running, cli_str(wanted, "name")), "spec");
    const char *key;
    json_t *v;
    bool scaled = false, changed = false;
    if (!was)
        return DIFF_NEW;
    json_auto_t *a = plain(was), *b = plain(wanted);
    json_object_foreach(b, key, v)
    {
        if (json_equal(v, json_object_get(a, key)))
            continue;
        note_key(keys, key);
        scaled = scaled || strcmp(key, "replicas") == 0;
        changed = changed || strcmp(key, "replicas") != 0;
    }
    json_object_foreach(a, key, v)
    {
        if (json_object_get(b, key))
            continue;
        note_key(keys, key);
        changed = true;
    }
    return changed ? DIFF_CHANGED : scaled ? DIFF_SCALED : DIFF_SAME;
}

int diff_plan(const struct cli *c, const char *cluster, const json_t *plan, struct err *err)
{
    json_auto_t *running = diff_running(c, cluster, err);
    const json_t *list = json_object_get(plan, "specs"), *spec = json_object_get(plan, "spec");
    size_t i;
    if (!running)
        return -1;
    bool differs = spec && diff_spec(running, spec, NULL) != DIFF_SAME;
    json_array_foreach(list, i, spec) differs =
        differs || diff_spec(running, spec, NULL) != DIFF_SAME;
    return differs;
}
