/* `stowage logs`: the merged engine logs of one replica. */
#include "cli/cli.h"
#include "cli/common.h"

#include "base/mem.h"
#include "base/num.h"
#include "client/client.h"

#include <stdio.h>
#include <string.h>

/* "MODEL/INDEX" or "MODEL" (its first replica) to the replica's id. */
static int find_replica(const struct cli *c, const char *what, char id[128], int *status)
{
    char name[256], segment[256];
    struct err err = {0};
    const char *slash = strrchr(what, '/');
    uint64_t index = 0;
    str_copy(name, sizeof name, what);
    if (slash && num_u64(slash + 1, "INDEX", 0, 100000, &index, &err))
        return err.code = ERR_USAGE, *status = cli_fail(c, &err, "stowage logs MODEL/0"), -1;
    if (slash)
        name[slash - what] = 0;
    if (!cli_segment(segment, sizeof segment, name))
        return err_fill(&err, ERR_USAGE, "'%.80s' names no model", what),
               *status = cli_fail(c, &err, NULL), -1;
    mem_auto char *path = mem_printf("/api/v1/deployments/%s", segment);
    json_auto_t *d = NULL;
    if (cli_call(c, "GET", path, NULL, &d, status))
        return -1;
    const json_t *r;
    size_t i;
    json_array_foreach(json_object_get(d, "replicas"), i,
                       r) if (!slash || cli_u64(r, "index") ==
                                            index) return cli_segment(id, 128, cli_str(r, "id"))
        ? 0
        : -1;
    err_fill(&err, ERR_NOT_FOUND, slash ? "%.80s has no replica %llu" : "%.80s has no replica",
             name, (unsigned long long)index);
    *status = cli_fail(c, &err, "stowage ps");
    return -1;
}

struct lines {
    bool json;
    json_t *all; /* --json: every line of the answer */
    struct buf rest;
};

static bool on_text(void *arg, const char *p, size_t n)
{
    struct lines *l = arg;
    if (!l->json)
        return fwrite(p, 1, n, stdout) == n && fflush(stdout) == 0;
    buf_add(&l->rest, p, n);
    char *nl;
    while (l->rest.n && (nl = memchr(l->rest.p, '\n', l->rest.n))) {
        size_t k = (size_t)(nl - l->rest.p);
        json_t *line = json_stringn(l->rest.p, k);
        if (line)
            json_array_append_new(l->all, line);
        buf_drop(&l->rest, k + 1);
    }
    return !l->rest.full;
}

int cmd_logs(int argc, char **argv)
{
    bool follow = false;
    uint64_t tail = 200;
    const char *node = NULL;
    const struct opt opts[] = {
        {"follow", 'f', OPT_FLAG, &follow, NULL, "go on with what comes"},
        {"tail", 0, OPT_U64, &tail, "N", "the last N lines of each member (200)", 0, 100000},
        {"node", 0, OPT_STR, &node, "NAME", "only what runs on this node"},
    };
    struct cli c = {.usage = "MODEL[/INDEX] [-f] [--tail N] [--node NAME]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "Prints what the engines of a replica say.",
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    char id[128], segment[256] = "";
    struct err err = {0};
    if (!cli_start(&c, argc, argv, &status))
        return status;
    if (c.json && follow)
        return err_fill(&err, ERR_USAGE, "--json gives one document, so it cannot follow"),
               cli_fail(&c, &err, NULL);
    if (find_replica(&c, c.operands[0], id, &status))
        return status;
    if (node && !cli_segment(segment, sizeof segment, node))
        return err_fill(&err, ERR_USAGE, "--node '%.80s' is no name", node),
               cli_fail(&c, &err, NULL);
    mem_auto char *path = mem_printf("/api/v1/replicas/%s/log?follow=%d&tail=%llu%s%s", id, follow,
                                     (unsigned long long)tail, node ? "&node=" : "", segment);
    struct lines l = {.json = c.json, .all = json_array()};
    buf_init(&l.rest, 1 << 20);
    struct client *client = cli_connect(&c, &err);
    int rc = client ? client_stream(client, "GET", path, NULL, on_text, &l, &err) : -1;
    client_free(client);
    buf_done(&l.rest);
    json_auto_t *doc = json_object();
    json_object_set_new(doc, "lines", l.all);
    if (rc)
        return cli_fail(&c, &err, NULL);
    return c.json ? cli_json(STEAL(doc)) : 0;
}
