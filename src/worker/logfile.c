/* Capped logs of engine processes. */
#include "worker/logfile.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"
#include "worker/lines.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_CAP = 1400 };

struct logfile {
    char path[PATH_CAP];
    int fd;
    uint64_t written;
    bool failing; /* reported once */
};

/* Names come from the server: nothing that could leave the folder. */
static bool plain_name(const char *s)
{
    return s[0] && s[0] != '.' && strlen(s) < 64 &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] ==
               '\0';
}

static bool path_of(char dst[PATH_CAP], const char *root, const char *replica, uint32_t generation,
                    const char *role)
{
    return plain_name(replica) &&
           str_copyf(dst, PATH_CAP, "%s/%s/%u.%s.log", root, replica, generation, role);
}

/* ---- old ones go ---- */

/* Folders: the oldest beyond `keep`, by time of change. */
static void prune_replicas(const char *root, size_t keep)
{
    for (;;) {
        DIR *d = opendir(root);
        char oldest[PATH_CAP] = "", path[PATH_CAP];
        struct timespec when = {0};
        size_t n = 0;
        for (struct dirent *e; d && (e = readdir(d));) {
            struct stat st;
            if (!plain_name(e->d_name) || !str_copyf(path, sizeof path, "%s/%s", root, e->d_name) ||
                lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
                continue;
            bool older = st.st_mtim.tv_sec < when.tv_sec ||
                         (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec < when.tv_nsec);
            if (n++ == 0 || older) {
                when = st.st_mtim;
                STR_COPY(oldest, path);
            }
        }
        if (d)
            closedir(d);
        if (n <= keep || file_remove_tree(oldest, NULL) != 0)
            return;
    }
}

/* Files of generations at or before `last`. */
static void prune_starts(const char *root, const char *replica, uint32_t last)
{
    char dir[PATH_CAP], path[PATH_CAP + 300];
    if (!str_copyf(dir, sizeof dir, "%s/%s", root, replica))
        return;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        unsigned generation;
        if (sscanf(e->d_name, "%u.", &generation) == 1 && generation <= last &&
            str_copyf(path, sizeof path, "%s/%s", dir, e->d_name))
            unlink(path);
    }
    if (d)
        closedir(d);
}

/* ---- writing ---- */

struct logfile *logfile_open(const char *root, const char *replica, uint32_t generation,
                             const char *role, struct err *err)
{
    struct logfile *f = mem_calloc(1, sizeof *f);
    char dir[PATH_CAP];
    f->fd = -1;
    if (!path_of(f->path, root, replica, generation, role) ||
        !str_copyf(dir, sizeof dir, "%s/%s", root, replica)) {
        free(f);
        return err_null(err, ERR_INVALID, "'%.60s' is no name for a replica's log folder", replica);
    }
    prune_replicas(root, LOGFILE_REPLICAS - 1);
    if (file_mkdirs(dir, 0700, err) < 0) {
        free(f);
        return NULL;
    }
    if (generation >= LOGFILE_STARTS)
        prune_starts(root, replica, generation - LOGFILE_STARTS);
    f->fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd < 0) {
        err_fill(err, ERR_IO, "cannot write the log %s: %s", f->path, strerror(errno));
        free(f);
        return NULL;
    }
    return f;
}

static void rotate(struct logfile *f)
{
    char old[PATH_CAP + 2];
    str_copyf(old, sizeof old, "%s.1", f->path);
    fd_close(f->fd);
    rename(f->path, old);
    f->fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    f->written = 0;
}

void logfile_line(struct logfile *f, const char *line)
{
    if (!f)
        return;
    char text[LINE_MAX_BYTES + 8];
    size_t n = strlen(line);
    if (n > LINE_MAX_BYTES + 4)
        n = LINE_MAX_BYTES + 4;
    memcpy(text, line, n);
    text[n++] = '\n';
    if (f->written + n > LOGFILE_HALF)
        rotate(f);
    ssize_t put = f->fd >= 0 ? write(f->fd, text, n) : -1;
    if (put > 0)
        f->written += (uint64_t)put;
    if (put < 0 && !f->failing) {
        f->failing = true;
        log_line(LOG_WARN, "log.write_failed file=%s reason=\"%s\" next=\"lines are lost\"",
                 f->path, strerror(errno));
    }
}

void logfile_close(struct logfile *f)
{
    if (!f)
        return;
    fd_close(f->fd);
    free(f);
}

/* ---- reading ---- */

bool logfile_exists(const char *root, const char *replica, uint32_t generation, const char *role)
{
    char path[PATH_CAP];
    return path_of(path, root, replica, generation, role) && access(path, F_OK) == 0;
}

struct tail {
    char **ring;
    uint32_t cap, n, next;
};

static void tail_add(void *arg, const char *line)
{
    struct tail *t = arg;
    free(t->ring[t->next]);
    t->ring[t->next] = mem_strdup(line);
    t->next = (t->next + 1) % t->cap;
    if (t->n < t->cap)
        t->n++;
}

static void tail_file(struct tail *t, const char *path)
{
    char *text;
    size_t n;
    if (file_read(path, LOGFILE_HALF + LINE_MAX_BYTES, &text, &n, NULL) < 0)
        return;
    struct lines *l = mem_calloc(1, sizeof *l);
    lines_feed(l, text, n, tail_add, t);
    lines_end(l, tail_add, t);
    free(l);
    free(text);
}

void logfile_tail(const char *root, const char *replica, uint32_t generation, const char *role,
                  uint32_t n, void (*fn)(void *arg, const char *line), void *arg)
{
    char path[PATH_CAP], old[PATH_CAP + 2];
    if (n == 0 || !path_of(path, root, replica, generation, role))
        return;
    struct tail t = {.cap = n < LOGFILE_TAIL_MAX ? n : LOGFILE_TAIL_MAX};
    t.ring = mem_calloc(t.cap, sizeof *t.ring);
    str_copyf(old, sizeof old, "%s.1", path);
    tail_file(&t, old);
    tail_file(&t, path);
    uint32_t first = (t.next + t.cap - t.n) % t.cap;
    for (uint32_t i = 0; i < t.n; i++)
        fn(arg, t.ring[(first + i) % t.cap]);
    for (uint32_t i = 0; i < t.cap; i++)
        free(t.ring[i]);
    free(t.ring);
}
