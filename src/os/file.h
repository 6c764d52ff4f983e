/* Files, folders, descriptors, clock, log sink, random bytes. I/O; any thread. */
#ifndef OS_FILE_H
#define OS_FILE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

static inline void fd_close_auto_(int *fd);
void fd_close(int fd); /* -1 allowed */
#define fd_auto __attribute__((cleanup(fd_close_auto_)))
static inline void fd_close_auto_(int *fd)
{
    fd_close(*fd);
}

/* Whole file of at most `max` bytes into *out (caller frees, NUL added). ERR_NOT_FOUND names the
 * path. */
int file_read(const char *path, size_t max, char **out, size_t *n, struct err *err);
/* Durable replace: temporary file, fsync, rename, fsync of the folder; mode as given. */
int file_write(const char *path, const void *p, size_t n, unsigned mode, struct err *err);
/* Gives a complete file its final name, durably: fsync, rename, fsync of the folder. */
int file_publish(const char *temp, const char *path, struct err *err);
int file_mkdirs(const char *path, unsigned mode, struct err *err);
/* Opens a regular file for reading (no FIFO, device or folder); size in *size. Returns fd or -1.
 * Links are followed: model caches are made of them. */
int file_open_regular(const char *path, uint64_t *size, struct err *err);
/* Free bytes for us on the file system of path. */
int file_disk_free(const char *path, uint64_t *bytes, struct err *err);
/* Removes a folder with all in it, following no link. The path is absolute, without "..", and not
 * directly below the root; a folder that is not there is fine. */
int file_remove_tree(const char *path, struct err *err);

/* Descriptors up to the hard limit: a connection needs one, and the usual soft limit is 1024. */
void os_raise_fd_limit(void);
int64_t os_now_ms(void);                       /* monotonic */
int64_t os_wall_ms(void);                      /* for people only */
void os_random(void *p, size_t n);             /* for secrets */
void os_random_hex(char *dst, size_t n_bytes); /* dst[2*n_bytes+1] */

/* One line `level event key=value ...` to stderr, whole lines from any thread. Values with spaces
 * are quoted by the caller's format. Levels: debug lines only when STOWAGE_DEBUG is set. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_quiet(bool quiet); /* info lines off (CLI, tests) */

#endif
