/* Readiness of a llama-server: /health until it says 200, then one real generation, whose first
 * token is the proof; a few more tokens are read to see how fast they come. I/O; the worker's loop.
 *
 * /health alone proves nothing about remote members: it stays 200 after one has died. */
#ifndef WORKER_PROBE_H
#define WORKER_PROBE_H

#include "base/err.h"
#include "os/loop.h"

#include <stdint.h>

struct probe;
struct probe_events {
    void (*on_loaded)(void *arg);                         /* /health is 200 */
    void (*on_token)(void *arg, uint64_t first_token_ms); /* it generates */
    void (*on_speed)(void *arg, double tok_s); /* once, last; not when it could not be told */
    void (*on_failed)(void *arg,
                      const struct err *err); /* it answered, but wrongly; ends the probe */
    void *arg;
};
/* Callbacks may free the probe. It never gives up by itself on a server that does not answer: the
 * caller has the start-up deadline. */
struct probe *probe_new(struct loop *l, uint16_t port, const struct probe_events *ev);
void probe_free(struct probe *p); /* NULL allowed */

#endif
