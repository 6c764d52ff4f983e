/* AMD GPUs (amdgpu) and Intel cards with memory of their own (i915) by /sys/class/drm. They are
 * used by the engine's Vulkan back end. Readings that a driver does not offer stay unknown. */
#include "gpu/internal.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CARDS = 64 };

struct sysfs {
    char root[512];
};

static bool attr(const struct sysfs *s, uint32_t card, const char *file, char *dst, size_t cap)
{
    char path[640];
    return str_copyf(path, sizeof path, "%s/class/drm/card%u/%s", s->root, card, file) &&
           gpu_read_line(path, dst, cap);
}

static bool attr_u64(const struct sysfs *s, uint32_t card, const char *file, uint64_t *out)
{
    char path[640];
    return str_copyf(path, sizeof path, "%s/class/drm/card%u/%s", s->root, card, file) &&
           gpu_read_u64(path, out);
}

static bool memory(const struct sysfs *s, uint32_t card, uint64_t *total, uint64_t *free_bytes)
{
    uint64_t used;
    if (attr_u64(s, card, "device/mem_info_vram_total", total) &&
        attr_u64(s, card, "device/mem_info_vram_used", &used)) {
        *free_bytes = used < *total ? *total - used : 0;
        return true;
    }
    return attr_u64(s, card, "lmem_total_bytes", total) &&
           attr_u64(s, card, "lmem_avail_bytes", free_bytes);
}

static void *sysfs_open(const char *config, struct err *err)
{
    struct sysfs *s = mem_calloc(1, sizeof *s);
    STR_COPY(s->root, config && *config ? config : "/sys");
    uint64_t total, avail;
    for (uint32_t card = 0; card < MAX_CARDS; card++)
        if (memory(s, card, &total, &avail) && total)
            return s;
    err_fill(err, ERR_NOT_FOUND, "no AMD or Intel GPU with its own memory below %s", s->root);
    free(s);
    return NULL;
}

static void sysfs_close(void *state)
{
    free(state);
}

/* "0000:03:00.0" of the line PCI_SLOT_NAME=... */
static bool bus_address(const struct sysfs *s, uint32_t card, char *dst, size_t cap)
{
    static const char KEY[] = "PCI_SLOT_NAME=";
    char path[640], *text = NULL;
    size_t n;
    str_copyf(path, sizeof path, "%s/class/drm/card%u/device/uevent", s->root, card);
    text = gpu_read_text(path, 4096, &n);
    const char *at = text ? strstr(text, KEY) : NULL;
    if (at)
        str_copyf(dst, cap, "%.*s", (int)strcspn(at + sizeof KEY - 1, "\n"), at + sizeof KEY - 1);
    free(text);
    return at != NULL;
}

/* The maker's serial where there is one, else the bus address: stable as long as the card stays
 * put. */
static void identify(const struct sysfs *s, uint32_t card, struct cluster_device *d)
{
    char vendor[16] = "", device[16] = "", text[96];
    attr(s, card, "device/vendor", vendor, sizeof vendor);
    attr(s, card, "device/device", device, sizeof device);
    if (attr(s, card, "device/unique_id", text, sizeof text) && text[0])
        str_copyf(d->uuid, sizeof d->uuid, "GPU-%.50s", text);
    else if (bus_address(s, card, text, sizeof text))
        str_copyf(d->uuid, sizeof d->uuid, "PCI-%.50s", text);
    else
        str_copyf(d->uuid, sizeof d->uuid, "DRM-card%u-%s-%s", card, vendor, device);
    if (attr(s, card, "device/product_name", text, sizeof text) && text[0])
        gpu_short_name(d->name, sizeof d->name, text);
    else
        str_copyf(d->name, sizeof d->name, "%s %s",
                  strcmp(vendor, "0x1002") == 0   ? "AMD GPU"
                  : strcmp(vendor, "0x8086") == 0 ? "Intel GPU"
                                                  : "GPU",
                  device);
}

static int sysfs_read(void *state, struct cluster_node *node, struct err *err)
{
    const struct sysfs *s = state;
    gpu_clear(node);
    for (uint32_t card = 0; card < MAX_CARDS; card++) {
        uint64_t total, avail, v;
        if (!memory(s, card, &total, &avail) || total == 0)
            continue;
        struct cluster_device *d = node_add_device(node);
        d->kind = DEVICE_GPU;
        d->backend = BACKEND_VULKAN;
        d->index = node->n_devices - 1;
        d->total_bytes = total;
        d->free_bytes = avail < total ? avail : total;
        identify(s, card, d);
        d->bandwidth_bytes_per_s = gpu_bandwidth_by_name(d->name, &d->hbm);
        if (attr_u64(s, card, "device/gpu_busy_percent", &v)) {
            d->has_readings = true;
            d->util_percent = v < 100 ? (uint32_t)v : 100;
        }
    }
    return 0;
}

const struct gpu_driver gpu_sysfs = {"sysfs", sysfs_open, sysfs_close, sysfs_read};
