/* The table of device drivers, and small reads that several of them share. */
#include "gpu/internal.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct gpu_driver *const GPU_DRIVERS[] = {&gpu_nvml, &gpu_sysfs, &gpu_fake, NULL};

void gpu_clear(struct cluster_node *node)
{
    free(node->devices);
    node->devices = NULL;
    node->n_devices = 0;
}

void gpu_short_name(char *dst, size_t cap, const char *name)
{
    static const char *const MAKERS[] = {"NVIDIA ", "GeForce ", "AMD ", "Intel(R) "};
    for (size_t i = 0; i < sizeof MAKERS / sizeof *MAKERS; i++)
        if (strncmp(name, MAKERS[i], strlen(MAKERS[i])) == 0)
            name += strlen(MAKERS[i]);
    str_copy(dst, cap, name);
}

/* file_read is for regular files: it goes by the size, and these have none. */
char *gpu_read_text(const char *path, size_t max, size_t *n)
{
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = mem_calloc(max + 1, 1);
    ssize_t got;
    *n = 0;
    while (*n < max && (got = read(fd, text + *n, max - *n)) > 0)
        *n += (size_t)got;
    if (*n > 0)
        return text;
    free(text);
    return NULL;
}

bool gpu_read_line(const char *path, char *dst, size_t cap)
{
    size_t n;
    mem_auto char *text = gpu_read_text(path, cap - 1, &n);
    if (!text)
        return false;
    text[strcspn(text, "\n")] = '\0';
    return str_copy(dst, cap, text);
}

bool gpu_read_u64(const char *path, uint64_t *out)
{
    char text[64];
    if (!gpu_read_line(path, text, sizeof text))
        return false;
    if (strcmp(text, "max") == 0) {
        *out = UINT64_MAX;
        return true;
    }
    return num_u64(text, path, 0, UINT64_MAX, out, NULL) == 0;
}
