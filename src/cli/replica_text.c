/* Replica documents in words. */
#include "cli/replica_text.h"

#include "cli/common.h"

#include <string.h>

static void devices_of_part(struct buf *out, const json_t *part, const char **last_node)
{
    const char *node = cli_str(part, "node");
    bool ram = !cli_str(part, "uuid")[0];
    bool same = *last_node && strcmp(*last_node, node) == 0;
    if (same)
        buf_addc(out, ',');
    else
        buf_addf(out, "%s%s:", out->n ? " " : "", node);
    if (ram)
        buf_adds(out, "ram");
    else
        buf_addf(out, "%llu", (unsigned long long)cli_u64(part, "index"));
    *last_node = node;
}

void replica_devices(const json_t *replica, char *dst, size_t cap)
{
    const json_t *a = json_object_get(replica, "assignment"), *part;
    buf_auto struct buf out;
    buf_init(&out, cap - 1);
    const char *last = NULL;
    size_t i;
    json_array_foreach(json_object_get(a, "parts"), i, part) devices_of_part(&out, part, &last);
    if (cli_u64(a, "n_cpu_layers") || cli_u64(a, "n_cpu_moe") ||
        (json_is_object(a) && json_array_size(json_object_get(a, "parts")) == 0)) {
        const char *node = cli_str(a, "main_node");
        if (last && strcmp(last, node) == 0)
            buf_adds(&out, ",ram");
        else
            buf_addf(&out, "%s%s:ram", out.n ? " " : "", node);
    }
    str_copy(dst, cap, out.n ? out.p : "-");
}

static uint64_t part_bytes(const json_t *p)
{
    return cli_u64(p, "weights_bytes") + cli_u64(p, "kv_bytes") + cli_u64(p, "compute_bytes") +
           cli_u64(p, "runtime_bytes");
}

static uint64_t parts_bytes(const json_t *replica, bool ram)
{
    const json_t *a = json_object_get(replica, "assignment"), *part;
    uint64_t sum = 0;
    size_t i;
    json_array_foreach(json_object_get(a, "parts"), i, part) if (!cli_str(part, "uuid")[0] == ram)
        sum += part_bytes(part);
    return sum;
}

uint64_t replica_vram_bytes(const json_t *replica)
{
    return parts_bytes(replica, false);
}

uint64_t replica_ram_bytes(const json_t *replica)
{
    const json_t *a = json_object_get(replica, "assignment");
    return parts_bytes(replica, true) + cli_u64(a, "host_weights_bytes") +
           cli_u64(a, "host_kv_bytes") + cli_u64(a, "host_compute_bytes");
}

/* The member that says most about the whole: the last one still busy. */
static void member_detail(const json_t *members, char *dst, size_t cap)
{
    size_t n = json_array_size(members), up = 0, i;
    const json_t *m, *busy = NULL;
    json_array_foreach(members, i, m)
    {
        const char *s = cli_str(m, "state");
        if (strcmp(s, "up") == 0 || strcmp(s, "ready") == 0)
            up++;
        else if (strcmp(s, "fetching") == 0 || strcmp(s, "loading") == 0 || !busy)
            busy = m;
    }
    if (!busy)
        return;
    const char *s = cli_str(busy, "state");
    if (strcmp(s, "loading") == 0 || strcmp(s, "fetching") == 0)
        str_copyf(dst, cap, "%s %llu %%", s, (unsigned long long)cli_u64(busy, "percent"));
    else
        str_copyf(dst, cap, "%zu of %zu members up", up, n);
}

void replica_detail(const json_t *replica, char *dst, size_t cap)
{
    const char *state = cli_str(replica, "state");
    const json_t *reason = json_object_get(replica, "reason");
    dst[0] = 0;
    if (strcmp(state, "ready") == 0)
        return;
    if (strcmp(state, "fetching") == 0 || strcmp(state, "starting") == 0)
        member_detail(json_object_get(replica, "members"), dst, cap);
    if (!dst[0])
        str_copy(dst, cap, cli_str(reason, "message"));
}
