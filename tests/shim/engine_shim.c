/* Lets an unmodified llama.cpp play hardware that is not there. Tests only; preloaded into the
 * engine.
 *
 * The engine's buffers, the transfer of weights and the running of graphs all pass a handful of
 * calls between its shared libraries. Those calls are replaced here, so everything else is the real
 * program: command line, placement, logs, protocol, failures, HTTP.
 *
 * One environment serves a whole cluster, because the program's name decides what applies:
 *   ggml-rpc-server   its CPU device is as big as STOWAGE_DEVICE_BYTES says (set by the worker from
 * the assignment); buffers are address space without memory behind them; together they may take
 *                     SHIM_CAP bytes, by default STOWAGE_DEVICE_BYTES; with SHIM_NOCOMPUTE graphs
 * succeed without being run llama-server      with SHIM_HOLLOW the weights of the mapped file are
 * neither read nor sent, big buffers are lazy too, and with SHIM_NOCOMPUTE its own CPU runs no
 * graphs anything else     untouched Numbers are decimal bytes. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_REGIONS = 16384 };
#define LAZY_MIN ((size_t)1 << 20) /* smaller buffers are the engine's own business */

/* An address range: a lazy buffer, or a mapped model file. */
struct region {
    char *p;
    size_t n;
};
struct regions {
    struct region items[MAX_REGIONS];
    size_t n;
};

/* A preloaded library has nobody to hand it a context, hence this one static. */
static struct shim {
    bool rpc, server, hollow, nocompute;
    size_t device_bytes, cap, used;
    struct regions lazy, files;
    pthread_mutex_t lock;
} shim = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t env_bytes(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? (size_t)strtoull(text, NULL, 10) : otherwise;
}

static bool flag(const char *name)
{
    const char *text = getenv(name);
    return text && *text && strcmp(text, "0") != 0;
}

__attribute__((constructor)) static void shim_start(void)
{
    /* The loader is the process's program, so its name is found in the arguments. */
    char line[4096];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line);
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < n; i++) {
        size_t left = (size_t)(n - i);
        shim.rpc |= left > 15 && memcmp(line + i, "ggml-rpc-server", 15) == 0;
        shim.server |= left > 12 && memcmp(line + i, "llama-server", 12) == 0;
    }
    shim.server &= !shim.rpc;
    shim.hollow = shim.server && flag("SHIM_HOLLOW");
    shim.nocompute = (shim.rpc || shim.hollow) && flag("SHIM_NOCOMPUTE");
    shim.device_bytes = shim.rpc ? env_bytes("STOWAGE_DEVICE_BYTES", 0) : 0;
    shim.cap = SIZE_MAX;
    if (shim.rpc)
        shim.cap = env_bytes("SHIM_CAP", shim.device_bytes ? shim.device_bytes : SIZE_MAX);
}

/* The engine's own definition of a call. */
static void *next(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f)
        abort(); /* another build of the engine: better loud than half replaced */
    return f;
}

static bool add(struct regions *r, void *p, size_t n)
{
    if (r->n == MAX_REGIONS)
        return false;
    r->items[r->n++] = (struct region){p, n};
    return true;
}

static bool holds(const struct regions *r, const void *p, size_t n)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct region *x = &r->items[i];
        if ((const char *)p >= x->p && n <= x->n && (size_t)((const char *)p - x->p) <= x->n - n)
            return true;
    }
    return false;
}

long sysconf(int name)
{
    long (*real)(int) = (long (*)(int))next("sysconf");
    if (name == _SC_PHYS_PAGES && shim.device_bytes)
        return (long)(shim.device_bytes / (size_t)real(_SC_PAGESIZE));
    return real(name);
}

static void *map(size_t n)
{
    pthread_mutex_lock(&shim.lock);
    void *p = MAP_FAILED;
    if (n <= shim.cap && shim.used <= shim.cap - n)
        p = (void *)syscall(SYS_mmap, NULL, n, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, (off_t)0);
    if (p != MAP_FAILED && !add(&shim.lazy, p, n)) {
        syscall(SYS_munmap, p, n);
        p = MAP_FAILED;
    }
    if (p != MAP_FAILED)
        shim.used += n;
    pthread_mutex_unlock(&shim.lock);
    return p == MAP_FAILED ? NULL : p;
}

void *ggml_aligned_malloc(size_t n);
void *ggml_aligned_malloc(size_t n)
{
    if ((shim.rpc || shim.hollow) && n >= LAZY_MIN)
        return map(n);
    return ((void *(*)(size_t))next("ggml_aligned_malloc"))(n);
}

void ggml_aligned_free(void *p, size_t n);
void ggml_aligned_free(void *p, size_t n)
{
    pthread_mutex_lock(&shim.lock);
    for (size_t i = 0; i < shim.lazy.n; i++) {
        struct region *x = &shim.lazy.items[i];
        if (x->p != p)
            continue;
        syscall(SYS_munmap, x->p, x->n);
        shim.used -= x->n;
        *x = shim.lazy.items[--shim.lazy.n];
        pthread_mutex_unlock(&shim.lock);
        return;
    }
    pthread_mutex_unlock(&shim.lock);
    ((void (*)(void *, size_t))next("ggml_aligned_free"))(p, n);
}

/* Clearing a lazy buffer gives its pages back, which also makes it zero. */
void ggml_backend_buffer_clear(void *buffer, uint8_t value);
void ggml_backend_buffer_clear(void *buffer, uint8_t value)
{
    if (value == 0 && (shim.rpc || shim.hollow)) {
        char *base = ((void *(*)(void *))next("ggml_backend_buffer_get_base"))(buffer);
        size_t n = ((size_t(*)(void *))next("ggml_backend_buffer_get_size"))(buffer);
        pthread_mutex_lock(&shim.lock);
        bool lazy = holds(&shim.lazy, base, n);
        pthread_mutex_unlock(&shim.lock);
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        uintptr_t from = ((uintptr_t)base + page - 1) & ~(page - 1);
        uintptr_t to = ((uintptr_t)base + n) & ~(page - 1);
        if (lazy && from < to && madvise((void *)from, to - from, MADV_DONTNEED) == 0) {
            memset(base, 0, from - (uintptr_t)base);
            memset((void *)to, 0, (uintptr_t)base + n - to);
            return;
        }
    }
    ((void (*)(void *, uint8_t))next("ggml_backend_buffer_clear"))(buffer, value);
}

static bool is_weight(const void *data, size_t n)
{
    if (!shim.hollow)
        return false;
    pthread_mutex_lock(&shim.lock);
    bool yes = holds(&shim.files, data, n);
    pthread_mutex_unlock(&shim.lock);
    return yes;
}

void ggml_backend_tensor_set(void *tensor, const void *data, size_t off, size_t n);
void ggml_backend_tensor_set(void *tensor, const void *data, size_t off, size_t n)
{
    if (!is_weight(data, n))
        ((void (*)(void *, const void *, size_t, size_t))next("ggml_backend_tensor_set"))(
            tensor, data, off, n);
}

/* The model file: mapped as asked, but never read ahead. The names are given to the linker by hand,
 * because a build with 64-bit offsets renames mmap. */
void *map_file(void *addr, size_t n, int prot, int flags, int fd, off_t off) __asm__("mmap");
void *map_file(void *addr, size_t n, int prot, int flags, int fd, off_t off)
{
    bool model = shim.hollow && fd >= 0 && n >= LAZY_MIN && !(prot & (PROT_WRITE | PROT_EXEC));
    if (model)
        flags &= ~MAP_POPULATE;
    void *p = (void *)syscall(SYS_mmap, addr, n, prot, flags, fd, off);
    if (model && p != MAP_FAILED) {
        pthread_mutex_lock(&shim.lock);
        bool kept = add(&shim.files, p, n);
        pthread_mutex_unlock(&shim.lock);
        if (!kept)
            abort();
    }
    return p;
}

/* The engine unmaps the parts of the file it has sent; other memory may come to lie there. */
static void forget(char *from, size_t n)
{
    char *to = from + n;
    for (size_t i = 0; i < shim.files.n; i++) {
        struct region *x = &shim.files.items[i];
        char *end = x->p + x->n;
        if (to <= x->p || from >= end)
            continue;
        x->n = from > x->p ? (size_t)(from - x->p) : 0;
        if (to < end && x->n && !add(&shim.files, to, (size_t)(end - to)))
            abort();
        if (to < end && !x->n)
            *x = (struct region){to, (size_t)(end - to)};
        else if (!x->n)
            *x = shim.files.items[--shim.files.n], i--;
    }
}

int munmap(void *p, size_t n)
{
    if (shim.hollow) {
        pthread_mutex_lock(&shim.lock);
        forget(p, n);
        pthread_mutex_unlock(&shim.lock);
    }
    return (int)syscall(SYS_munmap, p, n);
}

int posix_madvise(void *p, size_t n, int advice)
{
    if (shim.hollow)
        return 0;
    return ((int (*)(void *, size_t, int))next("posix_madvise"))(p, n, advice);
}

int ggml_backend_graph_compute_async(void *backend, void *graph);
int ggml_backend_graph_compute_async(void *backend, void *graph)
{
    if (shim.nocompute) {
        const char *name = ((const char *(*)(void *))next("ggml_backend_name"))(backend);
        if (name && strcmp(name, "CPU") == 0)
            return 0; /* success, says the engine */
    }
    return ((int (*)(void *, void *))next("ggml_backend_graph_compute_async"))(backend, graph);
}
