/* Server-sent events: incremental parser and writer. Pure functions of bytes; any thread. */
#ifndef NET_SSE_H
#define NET_SSE_H

#include "base/str.h"

enum { SSE_MAX_EVENT = 16 << 20 };

struct sse_event {
    struct str event, id, data; /* data lines joined by \n; views valid during the callback */
};
struct sse_parser {
    struct buf line, data, event, id;
    bool cr;
};
void sse_init(struct sse_parser *s);
void sse_done(struct sse_parser *s);
/* Feeds bytes in any split; calls fn per dispatched event (comments are skipped). -1 when an event
 * passes SSE_MAX_EVENT. */
int sse_feed(struct sse_parser *s, const char *p, size_t n,
             void (*fn)(void *arg, const struct sse_event *e), void *arg);
/* Appends one event; event and id may be NULL; data is split at newlines. */
void sse_format(struct buf *out, const char *event, const char *id, struct str data);

#endif
