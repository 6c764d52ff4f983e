/* The log of one engine process on disk: a pair of files, each capped, the older one dropped. I/O;
 * the worker's thread.
 *
 * ROOT/<replica>/<generation>.<role>.log is being written; at LOGFILE_HALF bytes it becomes
 * `.log.1`. So a log takes at most 2 * LOGFILE_HALF. A replica keeps its last LOGFILE_STARTS
 * generations, a node the folders of its last LOGFILE_REPLICAS replicas. A write that fails (disk
 * full) loses lines, never the engine. */
#ifndef WORKER_LOGFILE_H
#define WORKER_LOGFILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LOGFILE_HALF = 8 << 20,
    LOGFILE_STARTS = 5,
    LOGFILE_REPLICAS = 64,
    LOGFILE_TAIL_MAX = 2000, /* lines that a reader may ask back for */
};

struct logfile;
/* Starts a log. `root` is absolute; `replica` is checked to be a plain name (ERR_INVALID). Drops
 * old logs. */
struct logfile *logfile_open(const char *root, const char *replica, uint32_t generation,
                             const char *role, struct err *err);
void logfile_line(struct logfile *f, const char *line);
void logfile_close(struct logfile *f); /* NULL allowed */
/* Whether an earlier life of this worker started this generation. */
bool logfile_exists(const char *root, const char *replica, uint32_t generation, const char *role);
/* Calls fn for up to n last lines, oldest first. Nothing when there is no log. */
void logfile_tail(const char *root, const char *replica, uint32_t generation, const char *role,
                  uint32_t n, void (*fn)(void *arg, const char *line), void *arg);

#endif
