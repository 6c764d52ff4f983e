/* RAM and CPUs of this machine, as far as this process may use them: a container's limit counts. */
#include "gpu/internal.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 64 << 10 };

/* The number after `key` at the start of a line of `text`. */
static bool field(const char *text, const char *key, uint64_t *out)
{
    size_t n = strlen(key);
    for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
        unsigned long long v;
        if (strncmp(p, key, n) == 0 && sscanf(p + n, " %llu", &v) == 1) {
            *out = v;
            return true;
        }
    }
    return false;
}

static int read_meminfo(const char *root, struct cluster_node *node, struct err *err)
{
    char path[512];
    uint64_t total, avail;
    size_t n;
    str_copyf(path, sizeof path, "%s/proc/meminfo", root);
    mem_auto char *text = gpu_read_text(path, TEXT_MAX, &n);
    if (!text)
        return err_set(err, ERR_IO, "%s cannot be read", path);
    if (!field(text, "MemTotal:", &total) || !field(text, "MemAvailable:", &avail))
        return err_set(err, ERR_IO, "%s has no MemTotal or no MemAvailable", path);
    node->ram_bytes = num_mul_sat(total, 1024);
    node->ram_free_bytes = num_mul_sat(avail, 1024);
    return 0;
}

struct limit_files {
    const char *base, *limit, *usage, *inactive;
};

/* One level of a control group: what is left of its limit; file cache that the kernel would give
 * back is not in use. */
static void apply_limit(const char *dir, const struct limit_files *f, struct cluster_node *node)
{
    char path[1024];
    size_t n;
    uint64_t limit, usage, cache = 0;
    str_copyf(path, sizeof path, "%s/%s", dir, f->limit);
    if (!gpu_read_u64(path, &limit) || limit >= node->ram_bytes)
        return;
    str_copyf(path, sizeof path, "%s/%s", dir, f->usage);
    if (!gpu_read_u64(path, &usage))
        return;
    str_copyf(path, sizeof path, "%s/memory.stat", dir);
    mem_auto char *stat = gpu_read_text(path, TEXT_MAX, &n);
    if (stat)
        field(stat, f->inactive, &cache);
    usage = usage > cache ? usage - cache : 0;
    uint64_t left = limit > usage ? limit - usage : 0;
    node->ram_bytes = limit;
    if (left < node->ram_free_bytes)
        node->ram_free_bytes = left;
}

/* Our control group and all above it, up to the mount point. */
static void apply_limits(const char *root, const char *group, const struct limit_files *f,
                         struct cluster_node *node)
{
    char dir[900];
    if (!str_copyf(dir, sizeof dir, "%s%s%s", root, f->base, group))
        return;
    size_t stop = strlen(root) + strlen(f->base);
    for (;;) {
        apply_limit(dir, f, node);
        char *slash = strlen(dir) > stop ? strrchr(dir, '/') : NULL;
        if (!slash || (size_t)(slash - dir) < stop)
            return;
        *slash = '\0';
    }
}

static void read_cgroup(const char *root, struct cluster_node *node)
{
    static const struct limit_files V2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                          "inactive_file"};
    static const struct limit_files V1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                          "memory.usage_in_bytes", "total_inactive_file"};
    char path[512];
    size_t n;
    str_copyf(path, sizeof path, "%s/proc/self/cgroup", root);
    mem_auto char *text = gpu_read_text(path, TEXT_MAX, &n);
    if (!text)
        return;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        if (controllers[1] == '\0')
            apply_limits(root, strcmp(group, "/") == 0 ? "" : group, &V2, node);
        else if (strcmp(controllers + 1, "memory") == 0)
            apply_limits(root, strcmp(group, "/") == 0 ? "" : group, &V1, node);
    }
}

int host_read_at(const char *root, struct cluster_node *node, struct err *err)
{
    if (read_meminfo(root, node, err))
        return -1;
    read_cgroup(root, node);
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                         : sysconf(_SC_NPROCESSORS_ONLN);
    node->n_cpus = n > 0 ? (uint32_t)n : 1;
    return 0;
}

int host_read(struct cluster_node *node, struct err *err)
{
    return host_read_at("", node, err);
}
