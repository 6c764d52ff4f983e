/* Runs a program for a command and waits: output shown or kept, Ctrl-C ends its whole group. I/O;
 * main thread. */
#ifndef CLI_ENGINE_RUN_H
#define CLI_ENGINE_RUN_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct engine_run_opts {
    const char *const *argv; /* NULL-terminated */
    bool show;               /* lines of output also go to stderr, indented, as they come */
    int64_t timeout_ms;
};
/* 0 when the program exits with 0; its output is in *out either way (initialised by the caller).
 * ERR_NOT_FOUND, ERR_TIMEOUT, ERR_IO (its status, and its last line that starts with "error:"). */
int engine_run(const struct engine_run_opts *o, struct buf *out, struct err *err);

#endif
