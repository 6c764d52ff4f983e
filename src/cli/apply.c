/* Changes: found, planned together, made; see apply.h. */
#include "cli/apply.h"

#include "base/mem.h"
#include "base/num.h"
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

void apply_done(struct apply *a)
{
    json_decref(a->running);
    json_decref(a->changes);
    json_decref(a->plans);
}

const char *diff_name(enum diff_kind k)
{
    static const char *const NAMES[] = {[DIFF_NEW] = "new",
                                        [DIFF_SCALED] = "scaled",
                                        [DIFF_CHANGED] = "changed",
                                        [DIFF_SAME] = "unchanged"};
    return NAMES[k];
}

static bool is(const json_t *change, enum diff_kind k)
{
    return strcmp(cli_str(change, "change"), diff_name(k)) == 0;
}

static bool wanted(const json_t *specs, const char *name)
{
    const json_t *s;
    size_t i;
    json_array_foreach(specs, i, s) if (strcmp(cli_str(s, "name"), name) == 0) return true;
    return false;
}

int apply_compare(struct apply *a, const json_t *specs, struct err *err)
{
    const json_t *s;
    const char *name;
    json_t *was;
    size_t i;
    a->running = diff_running(a->cli, NULL, err);
    if (!a->running)
        return -1;
    a->changes = json_array();
    json_array_foreach(specs, i, s)
    {
        buf_auto struct buf keys;
        buf_init(&keys, 1024);
        enum diff_kind k = diff_spec(a->running, s, &keys);
        json_t *o = json_add_object(a->changes);
        json_put_str(o, "name", cli_str(s, "name"));
        json_put_str(o, "change", diff_name(k));
        json_put_str(o, "keys", keys.n ? keys.p : NULL);
        json_object_set(o, "spec", (json_t *)s);
    }
    json_object_foreach(a->running, name, was)
    {
        if (wanted(specs, name))
            continue;
        json_t *o = json_add_object(a->changes);
        json_put_str(o, "name", name);
        json_put_str(o, "change", "not in file");
    }
    return 0;
}

/* ---- planning ---- */

static uint64_t running_replicas(const struct apply *a, const char *name)
{
    return cli_u64(json_object_get(json_object_get(a->running, name), "spec"), "replicas");
}

/* How many more instances a change asks for; what is replaced begins at none. */
static uint64_t to_place(const struct apply *a, const json_t *change)
{
    uint64_t n = cli_u64(json_object_get(change, "spec"), "replicas"),
             has = running_replicas(a, cli_str(change, "name"));
    if (is(change, DIFF_NEW) || is(change, DIFF_CHANGED))
        return n;
    return is(change, DIFF_SCALED) && n > has ? n - has : 0;
}

int apply_plan(struct apply *a, char hint[240], struct err *err)
{
    json_auto_t *specs = json_array(), *ask = json_object();
    const json_t *change;
    size_t i;
    json_array_foreach(a->changes, i, change)
    {
        const char *name = cli_str(change, "name");
        uint64_t n = to_place(a, change);
        bool placed = json_is_true(json_object_get(json_object_get(a->running, name), "placed"));
        if (is(change, DIFF_CHANGED) && placed)
            question_edit(ask, "release", name);
        if (!n)
            continue;
        json_t *spec = json_copy(json_object_get(change, "spec"));
        json_put_u64(spec, "replicas", n);
        json_array_append_new(specs, spec);
    }
    if (!json_array_size(specs))
        return 0;
    json_put_str(ask, "kind", "plan");
    json_object_set(ask, "specs", specs);
    if (a->q.budget)
        json_put_u64(ask, "budget", a->q.budget);
    a->plans = question_answer(a->cli, &a->q, ask, hint, err);
    return a->plans ? 0 : -1;
}

static bool any_placed(const struct apply *a, const char *name)
{
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(a->plans, "plans"), i,
                       item) if (strcmp(cli_str(item, "name"), name) == 0 &&
                                 json_is_true(json_object_get(json_object_get(item, "plan"),
                                                              "feasible"))) return true;
    return false;
}

void apply_leave_out(struct apply *a)
{
    for (size_t i = json_array_size(a->changes); i-- > 0;) {
        json_t *change = json_array_get(a->changes, i);
        if (!to_place(a, change) || any_placed(a, cli_str(change, "name")))
            continue;
        json_put_str(change, "change", "left out");
        a->left_out = true;
    }
}

/* ---- making the changes ---- */

/* GPUs and split of a plan that is all on GPUs; null for another. */
static json_t *wish_of(const json_t *plan)
{
    const json_t *parts = json_object_get(plan, "parts"), *p;
    size_t i;
    if (!json_array_size(parts) || json_array_size(parts) > CONSTRAINT_MAX_NAMES ||
        cli_u64(plan, "n_cpu_layers") || cli_u64(plan, "n_cpu_moe"))
        return json_null();
    json_t *o = json_object();
    json_t *gpus = json_put_array(o, "gpus"), *split = json_put_array(o, "tensor_split");
    json_array_foreach(parts, i, p)
    {
        if (!cli_str(p, "uuid")[0])
            return json_decref(o), json_null();
        json_array_append(gpus, json_object_get(p, "uuid"));
        json_array_append(split, json_object_get(p, "n_layers"));
    }
    return o;
}

/* Where the plan for all of them put each replica: the scheduler tries that first, as one replica
 * after the other it might not leave room for the last. */
static void put_wishes(const struct apply *a, const char *name, json_t *body)
{
    const json_t *item, *plans = json_object_get(a->plans, "plans");
    size_t i;
    json_t *list = json_put_array(body, "place");
    if (!plans)
        json_array_append_new(list, wish_of(a->plans));
    json_array_foreach(plans, i, item) if (strcmp(cli_str(item, "name"), name) == 0)
        json_array_append_new(list, wish_of(json_object_get(item, "plan")));
}

static json_t *body_of(const struct apply *a, const json_t *spec)
{
    json_t *body = json_copy((json_t *)spec);
    put_wishes(a, cli_str(spec, "name"), body);
    return body;
}

static char *path_of(const char *name)
{
    char segment[256];
    return cli_segment(segment, sizeof segment, name)
               ? mem_printf("/api/v1/deployments/%s", segment)
               : mem_strdup("/api/v1/deployments/-");
}

static int scale(const struct apply *a, const json_t *spec, int *status)
{
    json_auto_t *out = NULL;
    json_t *body = json_object();
    mem_auto char *path = path_of(cli_str(spec, "name"));
    json_put_u64(body, "replicas", cli_u64(spec, "replicas"));
    put_wishes(a, cli_str(spec, "name"), body);
    return cli_call(a->cli, "PATCH", path, body, &out, status);
}

static int wait_for(const struct apply *a, const char *name, enum progress_goal goal, int *status)
{
    struct progress p = {.cli = a->cli, .name = name, .goal = goal, .timeout_s = a->timeout_s};
    int rc = progress_wait(&p, status);
    json_decref(p.last);
    return rc;
}

/* A deployment's spec cannot be changed under its engines: it is stopped and made anew. */
static int replace(const struct apply *a, const json_t *spec, int *status)
{
    json_auto_t *gone = NULL, *out = NULL;
    const char *name = cli_str(spec, "name");
    mem_auto char *path = path_of(name);
    if (cli_call(a->cli, "DELETE", path, NULL, &gone, status) ||
        wait_for(a, name, PROGRESS_GONE, status))
        return -1;
    return cli_call(a->cli, "POST", "/api/v1/deployments", body_of(a, spec), &out, status);
}

static int make(const struct apply *a, const json_t *change, int *status)
{
    json_auto_t *out = NULL;
    const json_t *spec = json_object_get(change, "spec");
    if (is(change, DIFF_SCALED))
        return scale(a, spec, status);
    if (is(change, DIFF_CHANGED))
        return replace(a, spec, status);
    if (is(change, DIFF_NEW))
        return cli_call(a->cli, "POST", "/api/v1/deployments", body_of(a, spec), &out, status);
    return 0;
}

static int wait_all(const struct apply *a, int *status)
{
    const json_t *change;
    size_t i;
    json_array_foreach(a->changes, i, change)
    {
        const json_t *spec = json_object_get(change, "spec");
        bool made = is(change, DIFF_NEW) || is(change, DIFF_CHANGED) || is(change, DIFF_SCALED);
        if (made && cli_u64(spec, "replicas") &&
            wait_for(a, cli_str(change, "name"), PROGRESS_READY, status))
            return -1;
    }
    return 0;
}

int apply_run(struct apply *a)
{
    int status = 0;
    const json_t *change;
    size_t i;
    json_array_foreach(a->changes, i, change) if (make(a, change, &status)) return status;
    if (!a->no_wait && !a->left_out)
        wait_all(a, &status);
    return status;
}
