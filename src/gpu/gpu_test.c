/* One contract over every device driver, then what is particular to each. */
#include "gpu/internal.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "gpu/nvml_fake_path.h"
#include "os/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct dir {
    char path[64];
};

static void put(const struct dir *d, const char *file, const char *text)
{
    char path[256];
    str_copyf(path, sizeof path, "%s/%s", d->path, file);
    for (char *p = path + strlen(d->path) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0700);
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_files(const struct dir *d)
{
    put(d, "fake.yaml",
        "devices:\n"
        "  - {name: RTX 3090, memory: 24GiB, free: 24166MiB, bandwidth: 936GB/s, count: 2}\n"
        "  - {name: V100, memory: 34359738368}\n");
    put(d, "sys/class/drm/card0/device/vendor", "0x1002\n");
    put(d, "sys/class/drm/card0/device/device", "0x744c\n");
    put(d, "sys/class/drm/card0/device/mem_info_vram_total", "25753026560\n");
    put(d, "sys/class/drm/card0/device/mem_info_vram_used", "753026560\n");
    put(d, "sys/class/drm/card0/device/product_name", "AMD Radeon RX 7900 XTX\n");
    put(d, "sys/class/drm/card0/device/gpu_busy_percent", "42\n");
    put(d, "sys/class/drm/card0/device/uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0\nX=1\n");
    put(d, "sys/class/drm/card2/device/vendor", "0x8086\n");
    put(d, "sys/class/drm/card2/device/device", "0x56a0\n");
    put(d, "sys/class/drm/card2/lmem_total_bytes", "16225243136\n");
    put(d, "sys/class/drm/card2/lmem_avail_bytes", "16000000000\n");
}

static int setup(void **state)
{
    struct dir *d = mem_calloc(1, sizeof *d);
    STR_COPY(d->path, "/tmp/stowage-gpu-XXXXXX");
    if (!mkdtemp(d->path))
        return -1;
    make_files(d);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct dir *d = *state;
    file_remove_tree(d->path, NULL);
    free(d);
    return 0;
}

/* ---- the contract ---- */

static void check_device(const struct cluster_node *n, uint32_t i)
{
    const struct cluster_device *d = &n->devices[i];
    assert_int_equal(d->index, i);
    assert_int_equal(d->kind, DEVICE_GPU);
    assert_true(d->uuid[0] && d->name[0]);
    assert_true(d->total_bytes > 0 && d->free_bytes <= d->total_bytes);
    assert_int_equal(d->claimed_bytes, 0);
    assert_true(d->util_percent <= 100);
    for (uint32_t k = 0; k < i; k++)
        assert_string_not_equal(d->uuid, n->devices[k].uuid);
}

static void check_driver(const struct gpu_driver *g, const char *config, uint32_t expect)
{
    struct err err = {0};
    void *s = g->open(config, &err);
    assert_string_equal(err.msg, "");
    assert_non_null(s);
    struct cluster_node n = {.name = "node-1"};
    assert_int_equal(g->read(s, &n, &err), 0);
    assert_int_equal(n.n_devices, expect);
    char *first = mem_strdup(n.devices[0].uuid);
    for (uint32_t i = 0; i < n.n_devices; i++)
        check_device(&n, i);
    assert_int_equal(g->read(s, &n, &err), 0); /* replaces */
    assert_int_equal(n.n_devices, expect);
    assert_string_equal(n.devices[0].uuid, first);
    free(first);
    gpu_clear(&n);
    g->close(s);
    g->close(NULL);
}

static void test_contract(void **state)
{
    const struct dir *d = *state;
    char yaml[128], sys[128];
    str_copyf(yaml, sizeof yaml, "%s/fake.yaml", d->path);
    str_copyf(sys, sizeof sys, "%s/sys", d->path);
    const struct {
        const char *name, *config;
        uint32_t devices;
    } cases[] = {{"nvml", NVML_FAKE_PATH, 3}, {"sysfs", sys, 2}, {"fake", yaml, 3}};
    for (size_t i = 0; GPU_DRIVERS[i]; i++) {
        print_message("# %s\n", GPU_DRIVERS[i]->name);
        assert_true(i < ARRAY_LEN(cases));
        assert_string_equal(GPU_DRIVERS[i]->name, cases[i].name);
        check_driver(GPU_DRIVERS[i], cases[i].config, cases[i].devices);
    }
}

static void test_absent(void **state)
{
    const struct dir *d = *state;
    for (size_t i = 0; GPU_DRIVERS[i]; i++) {
        struct err err = {0};
        char path[128];
        str_copyf(path, sizeof path, "%s/nothing-here", d->path);
        assert_null(GPU_DRIVERS[i]->open(path, &err));
        assert_int_equal(err.code, ERR_NOT_FOUND);
    }
}

/* ---- each ---- */

static void test_nvml(void **state)
{
    setenv("STOWAGE_NVML_LIB", NVML_FAKE_PATH, 1);
    void *s = gpu_nvml.open(NULL, NULL);
    assert_non_null(s);
    struct cluster_node n = {0};
    assert_int_equal(gpu_nvml.read(s, &n, NULL), 0);
    const struct cluster_device *d = n.devices;
    assert_string_equal(d[0].uuid, "GPU-aaaa");
    assert_string_equal(d[0].name, "RTX 3090");
    assert_int_equal(d[0].backend, BACKEND_CUDA);
    assert_int_equal(d[0].free_bytes, 25769803776 - 500000000);
    assert_true(fabs(d[0].bandwidth_bytes_per_s - 936.1e9) < 1e8); /* 2 * 9751 MHz * 384 bit */
    assert_true(d[0].has_readings && d[0].util_percent == 37 && d[0].temp_c == 61);
    assert_string_equal(d[1].uuid, "MIG-bbbb-1"); /* the split card itself is not listed */
    assert_int_equal(d[1].total_bytes, 42949672960);
    assert_false(d[1].has_readings);
    assert_true(d[1].hbm && d[1].bandwidth_bytes_per_s > 0); /* no bus width: by name */
    gpu_clear(&n);
    gpu_nvml.close(s);
    setenv("STOWAGE_NVML_FAKE", "broken", 1);
    struct err err = {0};
    assert_null(gpu_nvml.open(NULL, &err));
    assert_non_null(strstr(err.msg, "Driver Not Loaded"));
    unsetenv("STOWAGE_NVML_FAKE");
    unsetenv("STOWAGE_NVML_LIB");
}

static void test_sysfs(void **state)
{
    const struct dir *dir = *state;
    char sys[128];
    str_copyf(sys, sizeof sys, "%s/sys", dir->path);
    void *s = gpu_sysfs.open(sys, NULL);
    struct cluster_node n = {0};
    assert_int_equal(gpu_sysfs.read(s, &n, NULL), 0);
    assert_string_equal(n.devices[0].uuid, "PCI-0000:03:00.0");
    assert_string_equal(n.devices[0].name, "Radeon RX 7900 XTX");
    assert_int_equal(n.devices[0].free_bytes, 25000000000);
    assert_true(n.devices[0].bandwidth_bytes_per_s == 960e9);
    assert_int_equal(n.devices[0].util_percent, 42);
    assert_string_equal(n.devices[1].name, "Intel GPU 0x56a0");
    assert_int_equal(n.devices[1].free_bytes, 16000000000);
    assert_false(n.devices[1].has_readings);
    gpu_clear(&n);
    gpu_sysfs.close(s);
}

static void test_fake(void **state)
{
    const struct dir *dir = *state;
    char yaml[128];
    str_copyf(yaml, sizeof yaml, "%s/fake.yaml", dir->path);
    void *s = gpu_fake.open(yaml, NULL);
    struct cluster_node n = {.name = "a"}, m = {.name = "b"};
    assert_int_equal(gpu_fake.read(s, &n, NULL), 0);
    assert_int_equal(gpu_fake.read(s, &m, NULL), 0);
    assert_string_not_equal(n.devices[0].uuid, m.devices[0].uuid);
    assert_int_equal(n.devices[1].backend, BACKEND_FAKE);
    assert_int_equal(n.devices[1].total_bytes, 24 * GIB);
    assert_int_equal(n.devices[1].free_bytes, 24166 * MIB);
    assert_true(n.devices[1].bandwidth_bytes_per_s == 936e9);
    assert_int_equal(n.devices[2].free_bytes, 32 * GIB);
    assert_true(n.devices[2].bandwidth_bytes_per_s == 900e9 && n.devices[2].hbm);
    gpu_clear(&n);
    gpu_clear(&m);
    gpu_fake.close(s);
}

static void test_fake_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } CASES[] = {
        {"devices:\n - {name: X, memory: 24GiB, fre: 1}\n",
         "fake.yaml:2: devices[0]: unknown key 'fre'; did you mean 'free'?"},
        {"devices:\n - {name: X}\n", "fake.yaml:2: devices[0]: 'memory' is missing"},
        {"devices:\n - {memory: 1GiB}\n", "fake.yaml:2: devices[0]: 'name' is missing"},
        {"devices:\n - {name: X, memory: 1GiB, free: 2GiB}\n",
         "fake.yaml:2: devices[0]: free 2147483648 of 1073741824 bytes"},
        {"devices:\n - {name: X, memory: 24 apples}\n",
         "fake.yaml:2: devices[0].memory: '24 apples' is not a size"},
        {"devices:\n - {name: X, memory: 1GiB, count: 5000}\n",
         "fake.yaml:2: devices[0].count: 5000 is outside 1 to 1024"},
        {"devices:\n - {name: X, memory: 1GiB, count: 1000}\n - {name: X, memory: 1GiB, count: "
         "1000}\n",
         "fake.yaml:3: devices[1]: more than 1024 devices"},
        {"device: []\n", "fake.yaml:1: unknown key 'device'; did you mean 'devices'?"},
        {"devices: 7\n", "fake.yaml:1: devices: must be a list, found 7"},
        {"[1, 2", "fake.yaml"},
    };
    const struct dir *dir = *state;
    char yaml[128];
    str_copyf(yaml, sizeof yaml, "%s/bad/fake.yaml", dir->path);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        put(dir, "bad/fake.yaml", CASES[i].text);
        struct err err = {0};
        assert_null(gpu_fake.open(yaml, &err));
        print_message("# %s\n", err.msg);
        assert_non_null(strstr(err.msg, CASES[i].says));
    }
}

static void test_host(void **state)
{
    static const struct {
        const char *name, *cgroup, *file[4], *text[4];
        uint64_t total, avail;
    } CASES[] = {
        {"no group", NULL, {0}, {0}, 16000 * KIB, 9000 * KIB},
        {"unlimited", "0::/a/b\n", {"a/b/memory.max"}, {"max\n"}, 16000 * KIB, 9000 * KIB},
        {"limit of our group, cache not counted",
         "0::/a/b\n",
         {"a/b/memory.max", "a/b/memory.current", "a/b/memory.stat"},
         {"4096000\n", "3072000\n", "anon 5\ninactive_file 1024000\n"},
         4096000,
         2048000},
        {"limit of the group above",
         "0::/a/b\n",
         {"a/b/memory.max", "a/memory.max", "a/memory.current"},
         {"max\n", "4096000\n", "4096000\n"},
         4096000,
         0},
        {"version 1",
         "5:cpu:/x\n4:memory:/a\n",
         {"memory/a/memory.limit_in_bytes", "memory/a/memory.usage_in_bytes"},
         {"8192000\n", "1024000\n"},
         8192000,
         7168000},
        {"limit beyond the machine",
         "0::/a\n",
         {"a/memory.max"},
         {"99999999999999\n"},
         16000 * KIB,
         9000 * KIB},
    };
    const struct dir *dir = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("# %s\n", CASES[i].name);
        char name[32], path[128];
        struct dir root;
        str_copyf(name, sizeof name, "host%zu", i);
        str_copyf(root.path, sizeof root.path, "%.40s/%.16s", dir->path, name);
        mkdir(root.path, 0700);
        put(&root, "proc/meminfo",
            "MemTotal:  16000 kB\nMemFree: 1 kB\nMemAvailable:    9000 kB\n");
        if (CASES[i].cgroup)
            put(&root, "proc/self/cgroup", CASES[i].cgroup);
        for (size_t k = 0; k < 4 && CASES[i].file[k]; k++) {
            str_copyf(path, sizeof path, "sys/fs/cgroup/%s", CASES[i].file[k]);
            put(&root, path, CASES[i].text[k]);
        }
        struct cluster_node n = {0};
        assert_int_equal(host_read_at(root.path, &n, NULL), 0);
        assert_int_equal(n.ram_bytes, CASES[i].total);
        assert_int_equal(n.ram_free_bytes, CASES[i].avail);
        assert_true(n.n_cpus > 0);
    }
    struct cluster_node n = {0};
    assert_int_equal(host_read(&n, NULL), 0); /* this machine */
    assert_true(n.ram_bytes > 0 && n.ram_free_bytes <= n.ram_bytes);
}

static void test_bandwidth(void **state)
{
    static const struct {
        const char *name;
        double gb;
        bool hbm;
    } CASES[] = {
        {"NVIDIA GeForce RTX 3090", 936, false},
        {"RTX 3090", 936, false},
        {"NVIDIA GeForce RTX 3090 Ti", 1008, false},
        {"NVIDIA A100-SXM4-80GB", 2039, true},
        {"A100 SXM4 40GB", 1555, true},
        {"NVIDIA A100-PCIE-40GB", 1555, true},
        {"Tesla V100-SXM2-32GB", 900, true},
        {"V100", 900, true},
        {"NVIDIA A40", 696, false},
        {"RTX 4080", 717, false},
        {"NVIDIA GeForce RTX 4080 SUPER", 736, false},
        {"NVIDIA L4", 300, false},
        {"NVIDIA RTX 6000 Ada Generation", 960, false},
        {"Quadro RTX 6000", 672, false},
        {"AMD Instinct MI300X", 5300, true},
        {"Radeon RX 7900 XTX", 960, false},
        {"NVIDIA GeForce RTX 4080 Laptop GPU", 0, false},
        {"GeForce RTX 9999", 0, false},
        {"RTX", 0, false},
        {"", 0, false},
        {"NVIDIA H100 PCIe", 2039, true},
        {"Intel(R) Arc A380", 186, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("# %s\n", CASES[i].name);
        bool hbm = true;
        assert_true(gpu_bandwidth_by_name(CASES[i].name, &hbm) == CASES[i].gb * 1e9);
        assert_int_equal(hbm, CASES[i].hbm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract), cmocka_unit_test(test_absent),
        cmocka_unit_test(test_nvml),     cmocka_unit_test(test_sysfs),
        cmocka_unit_test(test_fake),     cmocka_unit_test(test_fake_refused),
        cmocka_unit_test(test_host),     cmocka_unit_test(test_bandwidth),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
