/* `stowage scale` and `stowage rm`. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/progress.h"
#include "cli/replica_text.h"

#include "base/mem.h"
#include "base/num.h"
#include "client/client.h"

#include <stdio.h>
#include <string.h>

static char *deployment_path(const char *name)
{
    char segment[256];
    return cli_segment(segment, sizeof segment, name)
               ? mem_printf("/api/v1/deployments/%s", segment)
               : mem_strdup("/api/v1/deployments/-");
}

int cmd_scale(int argc, char **argv)
{
    struct cli c = {.usage = "NAME N",
                    .about = "Sets the number of replicas of NAME.",
                    .min_operands = 2,
                    .max_operands = 2,
                    .connects = true};
    int status;
    struct err err = {0};
    uint64_t n;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    if (num_u64(c.operands[1], "N", 0, 1000, &n, &err)) {
        err.code = ERR_USAGE;
        return cli_fail(&c, &err, "stowage scale NAME N");
    }
    json_t *body = json_object();
    json_put_u64(body, "replicas", n);
    mem_auto char *path = deployment_path(c.operands[0]);
    json_auto_t *out = NULL;
    if (cli_call(&c, "PATCH", path, body, &out, &status))
        return status;
    if (c.json)
        return cli_json(out ? STEAL(out) : json_object());
    printf("%s: %llu replica%s wanted\n", c.operands[0], (unsigned long long)n, n == 1 ? "" : "s");
    fprintf(stderr, "hint: stowage wait %s --for ready\n", c.operands[0]);
    return 0;
}

/* "Stops 1 instance, frees 47.8 GiB on dale:0 hill:0,1. The file stays." */
static void show_effect(const json_t *d)
{
    uint64_t bytes = 0;
    size_t n = 0, i;
    const json_t *r;
    buf_auto struct buf where;
    buf_init(&where, 1024);
    json_array_foreach(json_object_get(d, "replicas"), i, r)
    {
        char text[256], size[24];
        uint64_t own = replica_vram_bytes(r) + replica_ram_bytes(r);
        n++;
        if (!own)
            continue;
        replica_devices(r, text, sizeof text);
        buf_addf(&where, "%s%s on %s", where.n ? "; " : "", num_fmt_gib(size, sizeof size, own),
                 text);
        bytes += own;
    }
    fprintf(stderr, "Stops %zu instance%s", n, n == 1 ? "" : "s");
    if (bytes)
        fprintf(stderr, ", frees %s", where.p);
    fputs(". The file stays.\n", stderr);
}

int cmd_rm(int argc, char **argv)
{
    bool yes = false, wait = false;
    double timeout_s = 120;
    const struct opt opts[] = {
        {"yes", 'y', OPT_FLAG, &yes, NULL, "do not ask"},
        {"wait", 0, OPT_FLAG, &wait, NULL, "until everything is stopped and freed"},
        {"timeout", 0, OPT_SECONDS, &timeout_s, "TIME", "longest wait (2m)"},
    };
    struct cli c = {.usage = "NAME [--yes] [--wait]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "Stops NAME and forgets it. The model file stays.",
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    struct err err = {0};
    if (!cli_start(&c, argc, argv, &status))
        return status;
    mem_auto char *path = deployment_path(c.operands[0]);
    json_auto_t *before = NULL, *out = NULL;
    if (cli_call(&c, "GET", path, NULL, &before, &status))
        return status;
    if (!yes) {
        show_effect(before);
        int answer = cli_confirm("Continue?", &err);
        if (answer < 0)
            return cli_fail(&c, &err, NULL);
        if (answer == 0)
            return fputs("nothing was changed\n", stderr), 1;
    }
    if (cli_call(&c, "DELETE", path, NULL, &out, &status))
        return status;
    if (wait) {
        struct progress p = {
            .cli = &c, .name = c.operands[0], .goal = PROGRESS_GONE, .timeout_s = timeout_s};
        int rc = progress_wait(&p, &status);
        json_decref(p.last);
        if (rc)
            return status;
    }
    if (c.json)
        return cli_json(out ? STEAL(out) : json_object());
    printf("%s %s\n", c.operands[0], wait ? "removed" : "is being removed");
    return 0;
}
