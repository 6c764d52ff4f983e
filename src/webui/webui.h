/* Serves the embedded web UI (web/dist, linked in by .incbin). I/O; any loop's thread. */
#ifndef WEBUI_WEBUI_H
#define WEBUI_WEBUI_H

#include "net/http.h"

#include <stdbool.h>

/* Answers GET/HEAD of an asset or page of the UI; false when the path is none of ours (nothing
 * sent). Headers: strong ETag, immutable for hashed names, CSP default-src 'self', nosniff,
 * no-referrer. */
bool webui_handle(struct http_req *r);

#endif
