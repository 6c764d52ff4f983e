/* Bytes of an engine's output become lines that are safe to show: pure; any thread.
 *
 * Foreign bytes: a line longer than LINE_MAX_BYTES is cut (and ends in "..."), bytes that are no
 * UTF-8 and control characters become '?', so a log can neither upset a terminal nor a JSON writer.
 */
#ifndef WORKER_LINES_H
#define WORKER_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum { LINE_MAX_BYTES = 4096 };

struct lines {
    char text[LINE_MAX_BYTES + 4];
    size_t n;
    bool cut;
};

typedef void (*lines_fn)(void *arg, const char *line);
/* Calls fn for each line that is complete (LF, CR LF or CR). `l` starts zeroed. */
void lines_feed(struct lines *l, const char *p, size_t n, lines_fn fn, void *arg);
/* The rest, when nothing more will come. */
void lines_end(struct lines *l, lines_fn fn, void *arg);

#endif
