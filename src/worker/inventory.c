/* Inventory: a device driver, the host, and what the engine can use of both. */
#include "worker/inventory.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/version.h"
#include "gpu/gpu.h"
#include "os/file.h"

#include <string.h>

enum { MAX_DRIVERS = 4 };

struct inventory {
    struct {
        const struct gpu_driver *driver;
        void *state;
    } open[MAX_DRIVERS];
    uint32_t n_open;
    uint64_t ram_limit;
    uint32_t last_dropped; /* logged when it changes */
};

static int open_one(struct inventory *i, const struct gpu_driver *d, const char *config,
                    struct err *err)
{
    void *state = d->open(config, err);
    if (!state)
        return -1;
    i->open[i->n_open].driver = d;
    i->open[i->n_open++].state = state;
    return 0;
}

/* Every driver that finds something, but never a fake: that one is chosen by name only. */
static void open_auto(struct inventory *i)
{
    for (size_t k = 0; GPU_DRIVERS[k] && i->n_open < MAX_DRIVERS; k++) {
        struct err why = {0};
        if (strcmp(GPU_DRIVERS[k]->name, "fake") == 0)
            continue;
        if (open_one(i, GPU_DRIVERS[k], NULL, &why) < 0 && why.code != ERR_NOT_FOUND)
            log_line(LOG_WARN,
                     "gpu.driver_failed driver=%s reason=\"%s\" next=\"its GPUs are not used\"",
                     GPU_DRIVERS[k]->name, why.msg);
        else if (why.code)
            log_line(LOG_DEBUG, "gpu.none driver=%s reason=\"%s\"", GPU_DRIVERS[k]->name, why.msg);
    }
}

static int open_named(struct inventory *i, const char *name, const char *config, struct err *err)
{
    for (size_t k = 0; GPU_DRIVERS[k]; k++)
        if (strcmp(GPU_DRIVERS[k]->name, name) == 0)
            return open_one(i, GPU_DRIVERS[k], config, err);
    return err_set(err, ERR_INTERNAL, "device driver '%s' is not built in", name);
}

struct inventory *inventory_new(const char *devices, uint64_t ram_limit, struct err *err)
{
    struct inventory *i = mem_calloc(1, sizeof *i);
    int rc = 0;
    i->ram_limit = ram_limit;
    if (strcmp(devices, "auto") == 0)
        open_auto(i);
    else if (strncmp(devices, "fake:", 5) == 0)
        rc = open_named(i, "fake", devices + 5, err);
    else if (strcmp(devices, "none") != 0)
        rc =
            err_set(err, ERR_INVALID, "devices '%.60s': expected auto, none or fake:FILE", devices);
    if (rc == 0)
        return i;
    inventory_free(i);
    return NULL;
}

void inventory_free(struct inventory *i)
{
    if (!i)
        return;
    for (uint32_t k = 0; k < i->n_open; k++)
        i->open[k].driver->close(i->open[k].state);
    free(i);
}

/* ---- devices ---- */

/* Each driver fills a node of its own; indexes run on over all of them. */
static int read_devices(struct inventory *i, struct cluster_node *node, struct err *err)
{
    for (uint32_t k = 0; k < i->n_open; k++) {
        struct cluster_node one = {0};
        STR_COPY(one.name, node->name);
        if (i->open[k].driver->read(i->open[k].state, &one, err) < 0) {
            node_done(&one);
            return -1;
        }
        for (uint32_t d = 0; d < one.n_devices; d++) {
            struct cluster_device *to = node_add_device(node);
            *to = one.devices[d];
            to->index = node->n_devices - 1;
        }
        node_done(&one);
    }
    return 0;
}

static bool engine_has(const struct installed_info *e, const char *prefix)
{
    for (uint32_t i = 0; i < e->n_devices; i++)
        if (strncmp(e->devices[i].id, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

/* The Vulkan device that is this card: by name, else (sysfs often knows only a number) by size
 * within 5 %. The order among equal cards does not matter, only that each is taken once. -1: none.
 */
static int find_vulkan(const struct installed_info *e, const struct cluster_device *d,
                       const bool taken[INSTALLED_MAX_DEVICES])
{
    int by_size = -1;
    for (uint32_t i = 0; i < e->n_devices; i++) {
        if (taken[i] || strncmp(e->devices[i].id, "Vulkan", 6) != 0)
            continue;
        if (strstr(e->devices[i].name, d->name))
            return (int)i;
        uint64_t mib = d->total_bytes >> 20, his = e->devices[i].total_mib;
        uint64_t off = mib > his ? mib - his : his - mib;
        if (by_size < 0 && off * 20 <= mib)
            by_size = (int)i;
    }
    return by_size;
}

/* Decides for one device; false: the engine has no way to it. */
static bool match_one(struct cluster_device *d, const struct installed_info *e,
                      bool taken[INSTALLED_MAX_DEVICES])
{
    if (d->backend == BACKEND_FAKE || !e->found)
        return true; /* played by the CPU; or nothing is known yet, and nothing can start either */
    if (engine_has(e, "CUDA"))
        return d->backend ==
               BACKEND_CUDA; /* by UUID; a second back end beside it would number anew */
    int at = find_vulkan(e, d, taken);
    unsigned index;
    if (at < 0 || sscanf(e->devices[at].id, "Vulkan%u", &index) != 1)
        return false;
    taken[at] = true;
    if (!strstr(e->devices[at].name, d->name)) {
        str_copyf(d->name, sizeof d->name, "%.60s", e->devices[at].name);
        d->bandwidth_bytes_per_s = gpu_bandwidth_by_name(d->name, &d->hbm);
    }
    d->backend = BACKEND_VULKAN;
    d->index = index;
    return true;
}

uint32_t inventory_match(struct cluster_node *node, const struct installed_info *engine)
{
    bool taken[INSTALLED_MAX_DEVICES] = {0};
    uint32_t kept = 0, n = node->n_devices;
    for (uint32_t i = 0; i < n; i++)
        if (match_one(&node->devices[i], engine, taken))
            node->devices[kept++] = node->devices[i];
    node->n_devices = kept;
    return n - kept;
}

/* A limit is taken at its word. Without one the system keeps a reserve: a plan may use what is said
 * to be free to the last byte. */
static void apply_ram_limit(uint64_t limit, uint64_t engine_rss, struct cluster_node *node)
{
    if (limit == 0 || limit >= node->ram_bytes) {
        bool ample = node->ram_free_bytes > INVENTORY_RAM_RESERVE;
        node->ram_free_bytes = ample ? node->ram_free_bytes - INVENTORY_RAM_RESERVE : 0;
        return;
    }
    uint64_t left = limit > engine_rss ? limit - engine_rss : 0;
    node->ram_bytes = limit;
    if (node->ram_free_bytes > left)
        node->ram_free_bytes = left;
}

int inventory_read(struct inventory *i, const struct installed_info *engine, uint64_t engine_rss,
                   struct cluster_node *node, struct err *err)
{
    if (host_read(node, err) < 0 || read_devices(i, node, err) < 0)
        return -1;
    apply_ram_limit(i->ram_limit, engine_rss, node);
    uint32_t dropped = inventory_match(node, engine);
    if (dropped != i->last_dropped && dropped)
        log_line(LOG_WARN,
                 "gpu.unusable count=%u engine=\"%s\" next=\"install an engine with a back end for "
                 "them\"",
                 dropped, engine->label);
    i->last_dropped = dropped;
    STR_COPY(node->version, STOWAGE_VERSION);
    STR_COPY(node->engine, engine->found ? engine->label : "");
    node->engine_devices = engine->max_devices;
    return 0;
}
