/* NVIDIA GPUs by NVML, loaded at run time; the declarations are our own, so no vendor header is
 * needed.
 *
 * A GPU in MIG mode is not usable itself: its instances are listed in its place, each with its own
 * UUID. A reading that NVML refuses is left unknown. */
#include "gpu/internal.h"

#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { NVML_OK = 0, NVML_CLOCK_MEM = 2, NVML_TEMPERATURE_GPU = 0, MAX_GPUS = 64, MAX_MIG = 16 };

typedef void *nvml_device;
struct nvml_memory {
    unsigned long long total, free, used;
};
struct nvml_utilisation {
    unsigned gpu, memory;
};

struct nvml {
    void *lib;
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error)(int);
    int (*count)(unsigned *);
    int (*by_index)(unsigned, nvml_device *);
    int (*uuid)(nvml_device, char *, unsigned);
    int (*name)(nvml_device, char *, unsigned);
    int (*memory)(nvml_device, struct nvml_memory *);
    /* optional from here */
    int (*utilisation)(nvml_device, struct nvml_utilisation *);
    int (*temperature)(nvml_device, int, unsigned *);
    int (*power)(nvml_device, unsigned *);
    int (*bus_width)(nvml_device, unsigned *);
    int (*max_clock)(nvml_device, int, unsigned *);
    int (*mig_mode)(nvml_device, unsigned *, unsigned *);
    int (*mig_device)(nvml_device, unsigned, nvml_device *);
    bool warned;
};

static const struct {
    const char *symbol, *older; /* older: what drivers before the versioned name call it */
    size_t slot;
    bool required;
} SYMBOLS[] = {
    {"nvmlInit_v2", "nvmlInit", offsetof(struct nvml, init), true},
    {"nvmlShutdown", NULL, offsetof(struct nvml, shutdown), true},
    {"nvmlErrorString", NULL, offsetof(struct nvml, error), true},
    {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount", offsetof(struct nvml, count), true},
    {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex", offsetof(struct nvml, by_index),
     true},
    {"nvmlDeviceGetUUID", NULL, offsetof(struct nvml, uuid), true},
    {"nvmlDeviceGetName", NULL, offsetof(struct nvml, name), true},
    {"nvmlDeviceGetMemoryInfo", NULL, offsetof(struct nvml, memory), true},
    {"nvmlDeviceGetUtilizationRates", NULL, offsetof(struct nvml, utilisation), false},
    {"nvmlDeviceGetTemperature", NULL, offsetof(struct nvml, temperature), false},
    {"nvmlDeviceGetPowerUsage", NULL, offsetof(struct nvml, power), false},
    {"nvmlDeviceGetMemoryBusWidth", NULL, offsetof(struct nvml, bus_width), false},
    {"nvmlDeviceGetMaxClockInfo", NULL, offsetof(struct nvml, max_clock), false},
    {"nvmlDeviceGetMigMode", NULL, offsetof(struct nvml, mig_mode), false},
    {"nvmlDeviceGetMigDeviceHandleByIndex", NULL, offsetof(struct nvml, mig_device), false},
};

static int load(struct nvml *n, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(SYMBOLS); i++) {
        void *p = dlsym(n->lib, SYMBOLS[i].symbol);
        if (!p && SYMBOLS[i].older)
            p = dlsym(n->lib, SYMBOLS[i].older);
        if (!p && SYMBOLS[i].required)
            return err_set(err, ERR_UNSUPPORTED, "NVML has no %s", SYMBOLS[i].symbol);
        memcpy((char *)n + SYMBOLS[i].slot, &p, sizeof p);
    }
    return 0;
}

static void *nvml_open(const char *config, struct err *err)
{
    const char *path = config && *config ? config : getenv("STOWAGE_NVML_LIB");
    if (!path || !*path)
        path = "libnvidia-ml.so.1";
    struct nvml *n = mem_calloc(1, sizeof *n);
    n->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!n->lib) {
        free(n);
        return err_null(err, ERR_NOT_FOUND, "no NVIDIA driver here (%s cannot be loaded)", path);
    }
    int rc = load(n, err) == 0 ? n->init() : -1;
    if (rc == NVML_OK)
        return n;
    if (rc > 0)
        err_fill(err, ERR_NOT_FOUND, "NVML does not start: %s", n->error(rc));
    dlclose(n->lib);
    free(n);
    return NULL;
}

static void nvml_close(void *state)
{
    struct nvml *n = state;
    if (!n)
        return;
    n->shutdown();
    dlclose(n->lib);
    free(n);
}

/* Two transfers per clock over the whole bus: exact for the cards checked (3090: 9751 MHz, 384 bit,
 * 936 GB/s; A100 40GB: 1215 MHz, 5120 bit, 1555 GB/s; H100 SXM: 2619 MHz, 5120 bit, 3352 GB/s). */
static double bandwidth(const struct nvml *n, nvml_device h)
{
    unsigned bits = 0, mhz = 0;
    if (!n->bus_width || !n->max_clock || n->bus_width(h, &bits) != NVML_OK ||
        n->max_clock(h, NVML_CLOCK_MEM, &mhz) != NVML_OK)
        return 0;
    return 2e6 * mhz * bits / 8;
}

static void read_static(const struct nvml *n, nvml_device h, struct cluster_device *d)
{
    char name[96] = "";
    if (n->name(h, name, sizeof name) != NVML_OK)
        STR_COPY(name, "NVIDIA GPU");
    name[sizeof name - 1] = '\0';
    gpu_short_name(d->name, sizeof d->name, name);
    double table = gpu_bandwidth_by_name(name, &d->hbm), own = bandwidth(n, h);
    d->bandwidth_bytes_per_s = own > 0 ? own : table;
}

static void read_live(const struct nvml *n, nvml_device h, struct cluster_device *d)
{
    struct nvml_utilisation u = {0};
    unsigned temp = 0, milliwatt = 0;
    d->has_readings = n->utilisation && n->utilisation(h, &u) == NVML_OK && n->temperature &&
                      n->temperature(h, NVML_TEMPERATURE_GPU, &temp) == NVML_OK;
    d->util_percent = d->has_readings ? u.gpu : 0;
    d->temp_c = d->has_readings ? temp : 0;
    if (n->power && n->power(h, &milliwatt) == NVML_OK)
        d->power_w = milliwatt / 1000;
}

/* One usable device; `card` is the GPU that carries it (itself, or the parent of a MIG instance).
 */
static void add(struct nvml *n, struct cluster_node *node, nvml_device h, nvml_device card)
{
    struct nvml_memory m = {0};
    char uuid[96] = "";
    int rc = n->uuid(h, uuid, sizeof uuid);
    if (rc == NVML_OK)
        rc = n->memory(h, &m);
    if (rc != NVML_OK || m.total == 0) {
        if (!n->warned)
            log_line(LOG_WARN, "gpu.left_out reason=\"%s\" next=\"the others are used\"",
                     rc != NVML_OK ? n->error(rc) : "no memory of its own");
        n->warned = true;
        return;
    }
    uuid[sizeof uuid - 1] = '\0';
    struct cluster_device *d = node_add_device(node);
    d->kind = DEVICE_GPU;
    d->backend = BACKEND_CUDA;
    d->index = node->n_devices - 1;
    STR_COPY(d->uuid, uuid);
    read_static(n, card, d);
    read_live(n, card, d);
    if (h != card)
        n->name(h, d->name, sizeof d->name);
    d->total_bytes = m.total;
    d->free_bytes = m.free < m.total ? m.free : m.total;
}

static bool add_mig(struct nvml *n, struct cluster_node *node, nvml_device card)
{
    unsigned current = 0, pending = 0;
    if (!n->mig_mode || !n->mig_device || n->mig_mode(card, &current, &pending) != NVML_OK ||
        !current)
        return false;
    for (unsigned i = 0; i < MAX_MIG; i++) {
        nvml_device h;
        if (n->mig_device(card, i, &h) == NVML_OK)
            add(n, node, h, card);
    }
    return true;
}

static int nvml_read(void *state, struct cluster_node *node, struct err *err)
{
    struct nvml *n = state;
    unsigned count = 0;
    int rc = n->count(&count);
    if (rc != NVML_OK)
        return err_set(err, ERR_IO, "NVML cannot count GPUs: %s", n->error(rc));
    gpu_clear(node);
    for (unsigned i = 0; i < count && i < MAX_GPUS; i++) {
        nvml_device h;
        rc = n->by_index(i, &h);
        if (rc != NVML_OK)
            log_line(LOG_WARN, "gpu.left_out index=%u reason=\"%s\"", i, n->error(rc));
        else if (!add_mig(n, node, h))
            add(n, node, h, h);
    }
    return 0;
}

const struct gpu_driver gpu_nvml = {"nvml", nvml_open, nvml_close, nvml_read};
