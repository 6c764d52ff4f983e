/* Uploads a member's log to a reader behind the server: the tail, then new lines while it is
 * followed. I/O; the worker's loop.
 *
 * Lines wait in a bounded queue while a request is under way; what does not fit is dropped and said
 * so in its place, because a slow reader must never slow the engine. */
#ifndef WORKER_LOGSTREAM_H
#define WORKER_LOGSTREAM_H

#include "api/messages.h"
#include "client/client.h"

enum { LOGSTREAM_QUEUE = 2000, LOGSTREAM_BATCH = 500, LOGSTREAM_TIMEOUT_MS = 10000 };

struct logstream;
struct logstream *logstream_new(struct client *c, const struct api_log_stream *want);
void logstream_free(struct logstream *s);
const char *logstream_id(const struct logstream *s);
void logstream_line(struct logstream *s, const char *role, const char *line);
void logstream_end(struct logstream *s); /* nothing follows; the queue is still sent */

#endif
