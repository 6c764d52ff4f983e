/* Log sink: whole lines to stderr. */
#include "os/file.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The sink is the process's one stderr: a flag about it cannot belong to any role. */
static atomic_bool quiet;

void log_quiet(bool on)
{
    atomic_store(&quiet, on);
}

/* Log lines carry foreign names: control bytes would let them forge lines or drive a terminal. */
static void make_printable(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            p[i] = '?';
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const char *const NAMES[] = {"debug", "info", "warn", "error"};
    if (level == LOG_DEBUG && !getenv("STOWAGE_DEBUG"))
        return;
    if (level <= LOG_INFO && atomic_load(&quiet))
        return;
    char line[2048];
    int head = snprintf(line, sizeof line, "%s ", NAMES[level]);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + head, sizeof line - (size_t)head, fmt, ap);
    va_end(ap);
    size_t len = (size_t)head + (n < 0 ? 0 : (size_t)n);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    make_printable(line, len);
    line[len++] = '\n';
    ssize_t sent = write(STDERR_FILENO, line, len); /* one call: lines of threads do not mix */
    (void)sent;
}
