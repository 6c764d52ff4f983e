/* `stowage nodes`, `gpus`, `drain`, `undrain`, `label`. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/table.h"

#include "base/mem.h"
#include "base/num.h"
#include "client/client.h"
#include "cluster/cluster.h"

#include <stdio.h>
#include <string.h>

static const struct table_column NODE_COLUMNS[] = {
    {"NODE", false, 0},     {"STATE", false, 0},   {"GPUS", true, 0},
    {"VRAM FREE", true, 1}, {"RAM FREE", true, 2}, {"CPUS", true, 5},
    {"ENGINE", false, 3},   {"VERSION", false, 6}, {"SEEN", true, 4},
};

static double gib(uint64_t bytes)
{
    return (double)bytes / (double)GIB;
}

/* The reading, or what our claims leave where that is less: an engine that loads has not taken its
 * memory yet, and cards that are played by others never show it. */
static uint64_t free_of(const json_t *device)
{
    uint64_t total = cli_u64(device, "total_bytes"), ours = cli_u64(device, "claimed_bytes");
    uint64_t reading = cli_u64(device, "free_bytes"), left = ours < total ? total - ours : 0;
    return reading < left ? reading : left;
}

static void node_row(struct table *t, const json_t *n)
{
    const json_t *devices = json_object_get(n, "devices"), *d;
    uint64_t total = 0, free_bytes = 0;
    size_t i;
    char age[24];
    json_array_foreach(devices, i, d)
    {
        total += cli_u64(d, "total_bytes");
        free_bytes += free_of(d);
    }
    table_row(t);
    table_cell(t, "%s", cli_str(n, "name"));
    table_cell(t, "%s", cli_str(n, "state"));
    table_cell(t, "%zu", json_array_size(devices));
    if (total)
        table_cell(t, "%.1f/%.1f GiB", gib(free_bytes), gib(total));
    else
        table_cell(t, "-");
    table_cell(t, "%.1f/%.1f GiB", gib(cli_u64(n, "ram_free_bytes")), gib(cli_u64(n, "ram_bytes")));
    table_cell(t, "%llu", (unsigned long long)cli_u64(n, "n_cpus"));
    table_cell(t, "%s", cli_str(n, "engine")[0] ? cli_str(n, "engine") : "-");
    table_cell(t, "%s", cli_str(n, "version"));
    if (json_object_get(n, "seen_ms"))
        table_cell(t, "%s", num_fmt_duration(age, sizeof age, cli_num(n, "seen_ms") / 1000));
    else
        table_cell(t, "-");
    table_note(t, cli_str(n, "reason"));
}

int cmd_nodes(int argc, char **argv)
{
    struct cli c = {.usage = "", .about = "Lists the nodes.", .connects = true};
    int status;
    json_auto_t *doc = NULL;
    if (!cli_start(&c, argc, argv, &status) ||
        cli_call(&c, "GET", "/api/v1/nodes", NULL, &doc, &status))
        return status;
    if (c.json)
        return cli_json(STEAL(doc));
    const json_t *items = json_object_get(doc, "items"), *n;
    struct table *t = table_new(NODE_COLUMNS, ARRAY_LEN(NODE_COLUMNS));
    size_t i;
    json_array_foreach(items, i, n) node_row(t, n);
    if (json_array_size(items))
        table_print(t);
    else
        fputs("no nodes yet: stowage token create\n", stderr);
    table_free(t);
    return 0;
}

/* ---- gpus ---- */

static const struct table_column GPU_COLUMNS[] = {
    {"GPU", false, 0}, {"NAME", false, 1},  {"UUID", false, 8},   {"TOTAL", true, 0},
    {"OURS", true, 0}, {"OTHERS", true, 2}, {"FREE", true, 0},    {"UTIL", true, 4},
    {"TEMP", true, 6}, {"W", true, 7},      {"MODELS", false, 3},
};

static void layers_of(const json_t *part, char *dst, size_t cap)
{
    uint64_t first = cli_u64(part, "first_layer"), n = cli_u64(part, "n_layers");
    if (n)
        str_copyf(dst, cap, " L%llu-%llu", (unsigned long long)first,
                  (unsigned long long)(first + n - 1));
    else
        dst[0] = 0;
}

/* "qwen L3-41, other L0-3" of what is placed on the device. */
static void models_on(const json_t *deployments, const char *uuid, struct buf *out)
{
    const json_t *d, *r, *part;
    size_t i, k, j;
    json_array_foreach(deployments, i, d) json_array_foreach(json_object_get(d, "replicas"), k, r)
        json_array_foreach(json_object_get(json_object_get(r, "assignment"), "parts"), j, part)
    {
        char layers[48];
        if (strcmp(cli_str(part, "uuid"), uuid) != 0)
            continue;
        layers_of(part, layers, sizeof layers);
        buf_addf(out, "%s%s%s", out->n ? ", " : "", cli_str(d, "name"), layers);
    }
}

static void show_reading(struct table *t, const json_t *d, const char *key, const char *unit)
{
    if (json_is_integer(json_object_get(d, key)))
        table_cell(t, "%llu%s", (unsigned long long)cli_u64(d, key), unit);
    else
        table_cell(t, "-");
}

static void gpu_row(struct table *t, const json_t *node, const json_t *d, const json_t *deployments)
{
    uint64_t total = cli_u64(d, "total_bytes"), ours = cli_u64(d, "claimed_bytes");
    uint64_t reading = cli_u64(d, "free_bytes"), used = reading < total ? total - reading : 0;
    buf_auto struct buf models;
    buf_init(&models, 1024);
    models_on(deployments, cli_str(d, "uuid"), &models);
    table_row(t);
    table_cell(t, "%s:%llu", cli_str(node, "name"), (unsigned long long)cli_u64(d, "index"));
    table_cell(t, "%s", cli_str(d, "name"));
    table_cell(t, "%s", cli_str(d, "uuid"));
    table_cell(t, "%.1f", gib(total));
    table_cell(t, "%.1f", gib(ours));
    table_cell(t, "%.1f", gib(used > ours ? used - ours : 0));
    table_cell(t, "%.1f", gib(free_of(d)));
    show_reading(t, d, "util_percent", "%");
    show_reading(t, d, "temp_c", "");
    show_reading(t, d, "power_w", "");
    table_cell(t, "%s", models.n ? models.p : "-");
}

int cmd_gpus(int argc, char **argv)
{
    const char *only = NULL;
    const struct opt opts[] = {{"node", 'n', OPT_STR, &only, "NAME", "only this node's"}};
    struct cli c = {.usage = "[--node NAME]",
                    .about = "Lists the GPUs; sizes are in GiB.",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .connects = true};
    int status;
    json_auto_t *doc = NULL, *deployed = NULL;
    if (!cli_start(&c, argc, argv, &status) ||
        cli_call(&c, "GET", "/api/v1/nodes", NULL, &doc, &status) ||
        cli_call(&c, "GET", "/api/v1/deployments", NULL, &deployed, &status))
        return status;
    const json_t *node, *d;
    json_auto_t *found = json_object();
    json_t *list = json_put_array(found, "items");
    struct table *t = table_new(GPU_COLUMNS, ARRAY_LEN(GPU_COLUMNS));
    size_t i, k;
    json_array_foreach(json_object_get(doc, "items"), i, node)
    {
        if (only && strcmp(cli_str(node, "name"), only) != 0)
            continue;
        json_array_foreach(json_object_get(node, "devices"), k, d)
        {
            gpu_row(t, node, d, json_object_get(deployed, "items"));
            json_t *copy = json_copy((json_t *)d);
            json_put_str(copy, "node", cli_str(node, "name"));
            json_array_append_new(list, copy);
        }
    }
    if (c.json)
        cli_json(STEAL(found));
    else if (json_array_size(list))
        table_print(t);
    else
        fputs("no GPUs: models run in RAM on the CPU\n", stderr);
    table_free(t);
    return 0;
}

/* ---- drain ---- */

/* The id of the node with this name or id. */
static int node_id(const struct cli *c, const char *name, char id[64], int *status)
{
    json_auto_t *doc = NULL;
    const json_t *n;
    size_t i;
    if (cli_call(c, "GET", "/api/v1/nodes", NULL, &doc, status))
        return -1;
    buf_auto struct buf names;
    buf_init(&names, 120);
    json_array_foreach(json_object_get(doc, "items"), i, n)
    {
        if (strcmp(cli_str(n, "name"), name) == 0 || strcmp(cli_str(n, "id"), name) == 0)
            return cli_segment(id, 64, cli_str(n, "id")) ? 0 : -1;
        buf_addf(&names, "%s%s", names.n ? ", " : "", cli_str(n, "name"));
    }
    struct err err = {0};
    err_fill(&err, ERR_NOT_FOUND, "no node '%.60s'; there is %s", name, names.n ? names.p : "none");
    *status = cli_fail(c, &err, "stowage nodes");
    return -1;
}

static int drain(int argc, char **argv, const char *verb, const char *about)
{
    const char *reason = NULL;
    const struct opt opts[] = {{"reason", 0, OPT_STR, &reason, "TEXT", "shown in `stowage nodes`"}};
    bool with_reason = strcmp(verb, "drain") == 0;
    struct cli c = {.usage = with_reason ? "NODE [--reason TEXT]" : "NODE",
                    .about = about,
                    .opts = opts,
                    .n_opts = with_reason ? 1 : 0,
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    char id[64];
    if (!cli_start(&c, argc, argv, &status) || node_id(&c, c.operands[0], id, &status))
        return status;
    json_t *body = json_object();
    json_put_str(body, "reason", reason);
    mem_auto char *path = mem_printf("/api/v1/nodes/%s/%s", id, verb);
    json_auto_t *out = NULL;
    if (cli_call(&c, "POST", path, body, &out, &status))
        return status;
    if (c.json)
        return cli_json(out ? STEAL(out) : json_object());
    printf("%s %sed\n", c.operands[0], verb);
    return 0;
}

int cmd_drain(int argc, char **argv)
{
    return drain(argc, argv, "drain", "Places nothing new on NODE; what runs there keeps running.");
}

int cmd_undrain(int argc, char **argv)
{
    return drain(argc, argv, "undrain", "Lets NODE take new work again.");
}

/* ---- labels ---- */

/* "zone=a" sets, "zone-" removes. */
static int add_change(json_t *labels, const char *text, struct err *err)
{
    size_t n = strlen(text);
    const char *equals = strchr(text, '=');
    if (equals) {
        mem_auto char *key = mem_strndup(text, (size_t)(equals - text));
        json_put_str(labels, key, equals + 1);
        return label_check(text, err);
    }
    if (n < 2 || text[n - 1] != '-')
        return err_set(err, ERR_USAGE, "'%.60s' is neither KEY=VALUE nor KEY-", text);
    mem_auto char *key = mem_strndup(text, n - 1);
    json_object_set_new(labels, key, json_null());
    return 0;
}

int cmd_label(int argc, char **argv)
{
    struct cli c = {.usage = "NODE KEY=VALUE... KEY-...",
                    .about = "Sets labels of a node, or removes them (KEY-); plans ask for them "
                             "with --labels.",
                    .min_operands = 2,
                    .max_operands = CLI_MAX_OPERANDS,
                    .connects = true};
    int status;
    char id[64];
    struct err err = {0};
    if (!cli_start(&c, argc, argv, &status))
        return status;
    json_auto_t *body = json_object(), *out = NULL;
    json_t *labels = json_put_object(body, "labels");
    for (size_t i = 1; i < c.n_operands; i++)
        if (add_change(labels, c.operands[i], &err))
            return cli_fail(&c, &err, "stowage label NODE zone=a");
    if (node_id(&c, c.operands[0], id, &status))
        return status;
    mem_auto char *path = mem_printf("/api/v1/nodes/%s/labels", id);
    if (cli_call(&c, "PATCH", path, json_incref(body), &out, &status))
        return status;
    if (c.json)
        return cli_json(out ? STEAL(out) : json_object());
    const json_t *l;
    size_t i;
    printf("%s", c.operands[0]);
    json_array_foreach(json_object_get(out, "labels"), i, l) printf(" %s", json_string_value(l));
    puts("");
    return 0;
}
