/* What the gateway reads of a request body: one strict pass over the JSON text, no tree. Pure.
 *
 * The whole body is checked against RFC 8259, nested at most SCAN_MAX_DEPTH deep, so that nothing
 * else than JSON reaches an engine; only top-level "model" and "stream" are kept. Either one given
 * twice is refused: two readers could disagree on which counts. */
#ifndef GATEWAY_SCAN_H
#define GATEWAY_SCAN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { SCAN_MAX_DEPTH = 64, SCAN_MAX_MODEL = 128 };

struct scan_body {
    bool has_model, stream;
    char model[SCAN_MAX_MODEL];
};
/* ERR_INVALID (with the byte offset), ERR_LIMIT (depth, length of the model's name). *out is
 * untouched on failure. */
int scan_body(const char *p, size_t n, struct scan_body *out, struct err *err);

#endif
