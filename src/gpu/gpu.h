/* Device detection: a seam of drivers nvml, sysfs (AMD/Intel), fake. I/O; the worker's thread.
 *
 * Static facts (uuid, name, total) apart from readings (free, utilisation); every reading can be
 * unknown. Drivers load vendor libraries with dlopen and need no vendor header. */
#ifndef GPU_GPU_H
#define GPU_GPU_H

#include "base/err.h"
#include "cluster/cluster.h"

struct gpu_driver {
    const char *name;
    /* NULL with ERR_NOT_FOUND when the driver's library or hardware is absent (not a fault).
     * `config` is the fake's YAML path. */
    void *(*open)(const char *config, struct err *err);
    void (*close)(void *state);
    /* Fills node->devices (replacing them) with facts and present readings. */
    int (*read)(void *state, struct cluster_node *node, struct err *err);
};
extern const struct gpu_driver
    *const GPU_DRIVERS[]; /* probe order, NULL-terminated: nvml, sysfs, fake */
/* RAM total and available, CPU count, by /proc. */
int host_read(struct cluster_node *node, struct err *err);
/* Bandwidth of a card by its name, bytes per second, from a table (docs/data sources); 0 unknown.
 */
double gpu_bandwidth_by_name(const char *name, bool *hbm);

#endif
