/* Files, folders, clock, random bytes. */
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { TREE_DEPTH_MAX = 64, READ_STEP = 64 << 10 };

void fd_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

static enum err_code code_of(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
}

static int fail(struct err *err, const char *what, const char *path)
{
    int errnum = errno;
    return err_set(err, code_of(errnum), "%s %s: %s", what, path, strerror(errnum));
}

static ssize_t read_again(int fd, void *p, size_t n)
{
    ssize_t got;
    do
        got = read(fd, p, n);
    while (got < 0 && errno == EINTR);
    return got;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

int file_read(const char *path, size_t max, char **out, size_t *n, struct err *err)
{
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail(err, "reading", path);
    /* The size of the file is not asked: files of /proc say 0. */
    mem_auto char *p = NULL;
    size_t have = 0, cap = 0;
    for (;;) {
        mem_grow(&p, &cap, have + READ_STEP + 1, 1);
        ssize_t got = read_again(fd, p + have, cap - have - 1);
        if (got < 0)
            return fail(err, "reading", path);
        if (got == 0)
            break;
        have += (size_t)got;
        if (have > max)
            return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, max);
    }
    p[have] = 0;
    *out = STEAL(p);
    if (n)
        *n = have;
    return 0;
}

static int sync_folder_of(const char *path, struct err *err)
{
    mem_auto char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    const char *name = slash ? folder : ".";
    fd_auto int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return fail(err, "syncing folder", name);
    return 0;
}

static int write_new(const char *path, const void *p, size_t n, unsigned mode, struct err *err)
{
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
    if (fd < 0)
        return fail(err, "creating", path);
    /* fchmod, as the umask has cut the mode of open. */
    if (fchmod(fd, mode & 07777) != 0 || write_all(fd, p, n) != 0 || fsync(fd) != 0)
        return fail(err, "writing", path);
    return 0;
}

int file_write(const char *path, const void *p, size_t n, unsigned mode, struct err *err)
{
    char tag[17];
    os_random_hex(tag, 8);
    mem_auto char *temp = mem_printf("%s.tmp-%s", path, tag);
    int rc = write_new(temp, p, n, mode, err);
    if (rc == 0 && rename(temp, path) != 0)
        rc = fail(err, "replacing", path);
    if (rc != 0) {
        unlink(temp);
        return -1;
    }
    return sync_folder_of(path, err);
}

int file_publish(const char *temp, const char *path, struct err *err)
{
    fd_auto int fd = open(temp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fsync(fd) != 0)
        return fail(err, "syncing", temp);
    if (rename(temp, path) != 0)
        return fail(err, "replacing", path);
    return sync_folder_of(path, err);
}

static int make_folder(const char *path, unsigned mode, struct err *err)
{
    struct stat st;
    if (mkdir(path, mode) == 0)
        return 0;
    int errnum = errno;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        errnum = ENOTDIR;
    }
    errno = errnum;
    return fail(err, "creating folder", path);
}

int file_mkdirs(const char *path, unsigned mode, struct err *err)
{
    mem_auto char *part = mem_strdup(path);
    for (char *p = part + 1; *part && *p; p++)
        if (*p == '/') {
            *p = 0;
            if (make_folder(part, mode, err) != 0)
                return -1;
            *p = '/';
        }
    return make_folder(path, mode, err);
}

int file_open_regular(const char *path, uint64_t *size, struct err *err)
{
    struct stat st;
    /* Looked at before it is opened: opening a device can already do something. */
    if (stat(path, &st) != 0)
        return fail(err, "opening", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0)
        return fail(err, "opening", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    if (size)
        *size = (uint64_t)st.st_size;
    int keep = fd;
    fd = -1;
    return keep;
}

int file_disk_free(const char *path, uint64_t *bytes, struct err *err)
{
    struct statvfs v;
    if (statvfs(path, &v) != 0)
        return fail(err, "asking for free space of", path);
    *bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return 0;
}

/* Removes what is in the folder `fd` (closed here), never following a link out of it. */
static int empty_folder(int fd, const char *path, int depth, struct err *err);

static int remove_entry(int fd, const char *name, const char *path, int depth, struct err *err)
{
    if (unlinkat(fd, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return fail(err, "removing in", path);
    int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0)
        return fail(err, "removing in", path);
    if (empty_folder(sub, path, depth + 1, err) != 0)
        return -1;
    return unlinkat(fd, name, AT_REMOVEDIR) == 0 ? 0 : fail(err, "removing in", path);
}

static int empty_folder(int fd, const char *path, int depth, struct err *err)
{
    DIR *dir = depth < TREE_DEPTH_MAX ? fdopendir(fd) : NULL;
    if (!dir) {
        fd_close(fd);
        return err_set(err, ERR_LIMIT, "%s is nested deeper than %d folders", path, TREE_DEPTH_MAX);
    }
    int rc = 0;
    for (const struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = remove_entry(dirfd(dir), e->d_name, path, depth, err);
    closedir(dir);
    return rc;
}

int file_remove_tree(const char *path, struct err *err)
{
    /* A wrong variable must not empty a system: one level below the root is refused as well. */
    if (path[0] != '/' || !strchr(path + 1, '/') || strstr(path, "/../") || strstr(path, "//"))
        return err_set(err, ERR_INVALID, "not a folder to remove: \"%s\"", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : fail(err, "removing", path);
    if (empty_folder(fd, path, 0, err) != 0)
        return -1;
    return rmdir(path) == 0 ? 0 : fail(err, "removing", path);
}

void os_raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_line(LOG_WARN, "fd_limit_not_raised errno=%d next=fewer_connections", errno);
}

static int64_t clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t os_now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

int64_t os_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

void os_random(void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = getrandom((char *)p + done, n - done, 0);
        if (got < 0 && errno != EINTR)
            abort(); /* no kernel of this decade refuses; secrets without randomness must not be */
        done += got > 0 ? (size_t)got : 0;
    }
}

void os_random_hex(char *dst, size_t n_bytes)
{
    static const char DIGITS[] = "0123456789abcdef";
    os_random(dst, n_bytes);
    dst[2 * n_bytes] = 0;
    for (size_t i = n_bytes; i-- > 0;) {
        unsigned char b = (unsigned char)dst[i];
        dst[2 * i + 1] = DIGITS[b & 15];
        dst[2 * i] = DIGITS[b >> 4];
    }
}
