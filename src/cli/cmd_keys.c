/* `stowage key`, `stowage token` and `stowage snapshot`: hand-outs of the server. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/table.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

static int usage_error(const struct cli *c, const char *message)
{
    struct err err = {0};
    err_fill(&err, ERR_USAGE, "%s", message);
    mem_auto char *hint = mem_printf("stowage %s --help", c->name);
    return cli_fail(c, &err, hint);
}

/* ---- keys ---- */

static int key_create(const struct cli *c, const char *name, const char *scope)
{
    int status;
    json_t *body = json_object();
    json_auto_t *out = NULL;
    json_put_str(body, "name", name);
    json_put_str(body, "scope", scope);
    if (cli_call(c, "POST", "/api/v1/keys", body, &out, &status))
        return status;
    if (c->json)
        return cli_json(STEAL(out));
    puts(cli_str(out, "key"));
    fprintf(stderr, "This key is shown once. Its id is %s.\n", cli_str(out, "id"));
    return 0;
}

static int key_list(const struct cli *c)
{
    static const struct table_column columns[] = {
        {"ID", false, 0}, {"NAME", false, 0}, {"SCOPE", false, 0}};
    int status;
    json_auto_t *out = NULL;
    if (cli_call(c, "GET", "/api/v1/keys", NULL, &out, &status))
        return status;
    if (c->json)
        return cli_json(STEAL(out));
    struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *k;
    size_t i;
    json_array_foreach(json_object_get(out, "items"), i, k)
    {
        table_row(t);
        table_cell(t, "%s", cli_str(k, "id"));
        table_cell(t, "%s", cli_str(k, "name"));
        table_cell(t, "%s", cli_str(k, "scope"));
    }
    table_print(t);
    table_free(t);
    return 0;
}

static int key_rm(const struct cli *c, const char *id)
{
    int status;
    char segment[256];
    if (!cli_segment(segment, sizeof segment, id))
        return usage_error(c, "key rm needs the ID that `stowage key list` shows");
    mem_auto char *path = mem_printf("/api/v1/keys/%s", segment);
    json_auto_t *out = NULL;
    if (cli_call(c, "DELETE", path, NULL, &out, &status))
        return status;
    if (c->json)
        return cli_json(out ? STEAL(out) : json_object());
    printf("%s is revoked\n", id);
    return 0;
}

int cmd_key(int argc, char **argv)
{
    const char *scope = "api";
    const struct opt opts[] = {{"scope", 0, OPT_STR, &scope, "api|admin", "of a new key (api)"}};
    struct cli c = {.usage = "create NAME | list | rm ID",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "Keys for the API: create shows one once; rm revokes it at once.",
                    .min_operands = 1,
                    .max_operands = 2,
                    .connects = true};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    const char *verb = c.operands[0], *what = c.n_operands > 1 ? c.operands[1] : NULL;
    if (strcmp(verb, "create") == 0 && what)
        return key_create(&c, what, scope);
    if (strcmp(verb, "list") == 0 && !what)
        return key_list(&c);
    if (strcmp(verb, "rm") == 0 && what)
        return key_rm(&c, what);
    return usage_error(&c, "key takes: create NAME, list, or rm ID");
}

/* ---- join tokens ---- */

int cmd_token(int argc, char **argv)
{
    uint64_t uses = 1;
    double ttl_s = 3600;
    const struct opt opts[] = {
        {"uses", 0, OPT_U64, &uses, "N", "how many nodes may join with it (1)", 1, 10000},
        {"ttl", 0, OPT_SECONDS, &ttl_s, "TIME", "how long it is valid (1h)"},
    };
    struct cli c = {.usage = "create [--uses N] [--ttl TIME]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "A token with which a new node joins.",
                    .min_operands = 1,
                    .max_operands = 1,
                    .connects = true};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    if (strcmp(c.operands[0], "create") != 0)
        return usage_error(&c, "token takes: create");
    json_t *body = json_object();
    json_put_u64(body, "uses", uses);
    json_put_u64(body, "ttl_s", (uint64_t)ttl_s);
    json_auto_t *out = NULL;
    if (cli_call(&c, "POST", "/api/v1/tokens", body, &out, &status))
        return status;
    if (c.json)
        return cli_json(STEAL(out));
    char valid[24];
    num_fmt_duration(valid, sizeof valid, ttl_s);
    fprintf(stderr, "Run on the new machine (valid %s, %llu use%s):\n", valid,
            (unsigned long long)uses, uses == 1 ? "" : "s");
    const char *command = cli_str(out, "command");
    puts(command[0] ? command : cli_str(out, "token"));
    return 0;
}

/* ---- snapshot ---- */

int cmd_snapshot(int argc, char **argv)
{
    struct cli c = {.usage = "",
                    .about = "Prints the cluster as a file that `stowage plan -f` reads.",
                    .connects = true};
    int status;
    json_auto_t *doc = NULL;
    if (!cli_start(&c, argc, argv, &status) ||
        cli_call(&c, "GET", "/api/v1/snapshot", NULL, &doc, &status))
        return status;
    if (c.json)
        return cli_json(STEAL(doc));
    mem_auto char *text = json_dumps(doc, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    puts(text);
    return 0;
}
