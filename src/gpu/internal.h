/* Inside of gpu/: the drivers, and reads with a movable root for tests. I/O; the worker's thread.
 */
#ifndef GPU_INTERNAL_H
#define GPU_INTERNAL_H

#include "gpu/gpu.h"

extern const struct gpu_driver
    gpu_nvml; /* config: path of the library; NULL: $STOWAGE_NVML_LIB, else libnvidia-ml.so.1 */
extern const struct gpu_driver gpu_sysfs; /* config: what to read instead of /sys */
extern const struct gpu_driver gpu_fake;  /* config: the YAML file */

/* host_read below another root ("" is the real one). */
int host_read_at(const char *root, struct cluster_node *node, struct err *err);

/* Frees and empties node->devices. */
void gpu_clear(struct cluster_node *node);
/* The device's name without the maker's name in front, which says nothing in a list: "RTX 3090". */
void gpu_short_name(char *dst, size_t cap, const char *name);
/* Up to max bytes of a small file without a size (sysfs, proc, cgroup), NUL added; the caller
 * frees. NULL when it cannot be read or is empty. */
char *gpu_read_text(const char *path, size_t max, size_t *n);
/* The first line of such a file without its newline; false when absent. */
bool gpu_read_line(const char *path, char *dst, size_t cap);
bool gpu_read_u64(const char *path, uint64_t *out); /* "max" gives UINT64_MAX */

#endif
