/* A stand-in for libnvidia-ml.so.1, for tests only: two GPUs, one of them split into MIG instances,
 * and readings that the second refuses. STOWAGE_NVML_FAKE=broken makes nvmlInit fail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct card {
    const char *uuid, *name;
    unsigned long long total, used;
    int mig;
};
static struct card CARDS[] = {
    {"GPU-aaaa", "NVIDIA GeForce RTX 3090", 25769803776ull, 500000000ull, 0},
    {"GPU-bbbb", "NVIDIA H100 80GB HBM3", 85899345920ull, 0, 1},
};
static struct card INSTANCES[] = {
    {"MIG-bbbb-1", "NVIDIA H100 80GB HBM3 MIG 3g.40gb", 42949672960ull, 1, 0},
    {"MIG-bbbb-2", "NVIDIA H100 80GB HBM3 MIG 3g.40gb", 42949672960ull, 2, 0},
};

int nvmlInit(void); /* only the older name: the fallback is exercised */
int nvmlInit(void)
{
    const char *how = getenv("STOWAGE_NVML_FAKE");
    return how && strcmp(how, "broken") == 0 ? 9 : 0;
}
int nvmlShutdown(void);
int nvmlShutdown(void)
{
    return 0;
}
const char *nvmlErrorString(int rc);
const char *nvmlErrorString(int rc)
{
    return rc == 9 ? "Driver Not Loaded" : "Not Supported";
}
int nvmlDeviceGetCount_v2(unsigned *n);
int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = 2;
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h);
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h)
{
    *h = &CARDS[i];
    return 0;
}
int nvmlDeviceGetUUID(struct card *c, char *dst, unsigned n);
int nvmlDeviceGetUUID(struct card *c, char *dst, unsigned n)
{
    snprintf(dst, n, "%s", c->uuid);
    return 0;
}
int nvmlDeviceGetName(struct card *c, char *dst, unsigned n);
int nvmlDeviceGetName(struct card *c, char *dst, unsigned n)
{
    snprintf(dst, n, "%s", c->name);
    return 0;
}
int nvmlDeviceGetMemoryInfo(struct card *c, unsigned long long m[3]);
int nvmlDeviceGetMemoryInfo(struct card *c, unsigned long long m[3])
{
    m[0] = c->total;
    m[1] = c->total - c->used;
    m[2] = c->used;
    return 0;
}
int nvmlDeviceGetUtilizationRates(struct card *c, unsigned u[2]);
int nvmlDeviceGetUtilizationRates(struct card *c, unsigned u[2])
{
    u[0] = 37;
    u[1] = 12;
    return c->mig ? 3 : 0;
}
int nvmlDeviceGetTemperature(struct card *c, int sensor, unsigned *t);
int nvmlDeviceGetTemperature(struct card *c, int sensor, unsigned *t)
{
    *t = 61;
    return 0;
}
int nvmlDeviceGetMemoryBusWidth(struct card *c, unsigned *bits);
int nvmlDeviceGetMemoryBusWidth(struct card *c, unsigned *bits)
{
    *bits = 384;
    return c->mig ? 3 : 0;
}
int nvmlDeviceGetMaxClockInfo(struct card *c, int clock, unsigned *mhz);
int nvmlDeviceGetMaxClockInfo(struct card *c, int clock, unsigned *mhz)
{
    *mhz = 9751;
    return 0;
}
int nvmlDeviceGetMigMode(struct card *c, unsigned *current, unsigned *pending);
int nvmlDeviceGetMigMode(struct card *c, unsigned *current, unsigned *pending)
{
    *current = *pending = (unsigned)c->mig;
    return 0;
}
int nvmlDeviceGetMigDeviceHandleByIndex(struct card *c, unsigned i, void **h);
int nvmlDeviceGetMigDeviceHandleByIndex(struct card *c, unsigned i, void **h)
{
    if (i >= 2)
        return 6;
    *h = &INSTANCES[i];
    return 0;
}
