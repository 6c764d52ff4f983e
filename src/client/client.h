/* Typed client of the control API: calls, watches with resume. I/O.
 *
 * Two faces over net/http: blocking calls for the command line (own private loop), and loop-bound
 * ones for worker and gateway. A client belongs to one thread. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "base/err.h"
#include "base/json.h"
#include "os/loop.h"

#include <stdbool.h>

struct client;
/* url "http://127.0.0.1:8080"; key is the bearer key (copied). loop NULL: blocking calls only. */
struct client *client_new(struct loop *l, const char *url, const char *key, struct err *err);
void client_free(struct client *c); /* cancels what is in flight */

/* Blocking. A non-2xx answer becomes err with its code and message (hint, when sent, in *hint,
 * 240 bytes, may be NULL). *out is owned by the caller (NULL for an empty body). */
int client_do(struct client *c, const char *method, const char *path, const json_t *body,
              json_t **out, char hint[240], struct err *err);
/* Blocking stream (logs, chat): fn per span of the body, false stops. Raw bytes. */
int client_stream(struct client *c, const char *method, const char *path, const json_t *body,
                  bool (*fn)(void *arg, const char *p, size_t n), void *arg, struct err *err);

/* On the loop: fn is called once, unless cancelled. doc is borrowed, NULL on error or empty body.
 */
struct client_call;
struct client_call *client_send(struct client *c, const char *method, const char *path,
                                const json_t *body, int64_t timeout_ms,
                                void (*fn)(void *arg, const json_t *doc, const struct err *err),
                                void *arg);
void client_call_cancel(struct client_call *call);
/* On the loop: a server-sent-event stream that reconnects with full jitter (0.2 to 5 s) and resumes
 * by Last-Event-ID. fn gets each event; on_state tells up/down. */
struct client_watch;
struct client_watch *client_watch_new(struct client *c, const char *path,
                                      void (*fn)(void *arg, const char *event, const json_t *data),
                                      void (*on_state)(void *arg, bool up, const struct err *err),
                                      void *arg);
void client_watch_free(struct client_watch *w);

#endif
