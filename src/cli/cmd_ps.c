/* `stowage ps`: every replica of every deployment. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/replica_text.h"
#include "cli/table.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

static const struct table_column COLUMNS[] = {
    {"MODEL", false, 0}, {"INST", true, 0},  {"STATE", false, 0}, {"CTX", true, 1},
    {"SLOTS", true, 4},  {"GPUS", false, 2}, {"VRAM", true, 3},   {"TOK/S", true, 5},
    {"REQ", true, 7},    {"UP", true, 6},
};

enum { NOTE_WIDTH = 76 }; /* of a line of 80, indented */

static void number_or_dash(struct table *t, double v, const char *fmt)
{
    if (v > 0)
        table_cell(t, fmt, v);
    else
        table_cell(t, "-");
}

/* The reason; of what waits for room also the command that says more, which is never what is cut.
 */
static void note_of(const json_t *d, const json_t *r, char *dst, size_t cap)
{
    char reason[256];
    const char *name = cli_str(d, "name");
    replica_detail(r, reason, sizeof reason);
    if (strcmp(cli_str(r, "state"), "pending") != 0) {
        str_copy(dst, cap, reason);
        return;
    }
    int room = NOTE_WIDTH - (int)strlen(name) - (int)sizeof ": stowage explain ";
    room = room > 20 ? room : 20;
    bool cut = (int)strlen(reason) > room;
    str_copyf(dst, cap, "%.*s%s%sstowage explain %s", room, reason, cut ? "…" : "",
              reason[0] ? ": " : "", name);
}

static void replica_row(struct table *t, const json_t *d, const json_t *r)
{
    char text[256], size[24], age[24];
    const json_t *spec = json_object_get(d, "spec");
    uint64_t vram = replica_vram_bytes(r);
    bool ready = strcmp(cli_str(r, "state"), "ready") == 0;
    table_row(t);
    table_cell(t, "%s", cli_str(d, "name"));
    table_cell(t, "%llu", (unsigned long long)cli_u64(r, "index"));
    table_cell(t, "%s", cli_str(r, "state"));
    table_cell(t, "%llu", (unsigned long long)cli_u64(spec, "ctx"));
    table_cell(t, "%llu", (unsigned long long)cli_u64(spec, "n_slots"));
    replica_devices(r, text, sizeof text);
    table_cell(t, "%s", text);
    table_cell(t, "%s", vram ? num_fmt_gib(size, sizeof size, vram) : "-");
    number_or_dash(t, ready ? cli_num(r, "tok_s") : 0, "%.1f");
    number_or_dash(t, cli_num(r, "requests"), "%.0f");
    table_cell(t, "%s", num_fmt_duration(age, sizeof age, (double)cli_u64(r, "since_ms") / 1000));
    note_of(d, r, text, sizeof text);
    table_note(t, text);
}

int cmd_ps(int argc, char **argv)
{
    struct cli c = {
        .usage = "", .about = "Lists the models that run, or shall run.", .connects = true};
    int status;
    json_auto_t *doc = NULL;
    if (!cli_start(&c, argc, argv, &status) ||
        cli_call(&c, "GET", "/api/v1/deployments", NULL, &doc, &status))
        return status;
    if (c.json)
        return cli_json(STEAL(doc));
    const json_t *items = json_object_get(doc, "items"), *d, *r;
    struct table *t = table_new(COLUMNS, ARRAY_LEN(COLUMNS));
    size_t i, k;
    json_array_foreach(items, i, d)
    {
        const json_t *replicas = json_object_get(d, "replicas");
        json_array_foreach(replicas, k, r) replica_row(t, d, r);
        if (json_array_size(replicas) == 0) {
            table_row(t);
            table_cell(t, "%s", cli_str(d, "name"));
            table_cell(t, "-");
            table_cell(t, "stopped");
        }
    }
    if (json_array_size(items))
        table_print(t);
    else
        fputs("no models yet: stowage deploy FILE.gguf\n", stderr);
    table_free(t);
    return 0;
}
