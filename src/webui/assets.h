/* The embedded files and the rules of serving one, apart from the request: the table is generated
 * by tools/embed_ui.py, the rest is in webui.c. Pure; any thread. */
#ifndef WEBUI_ASSETS_H
#define WEBUI_ASSETS_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct webui_asset {
    const char *path; /* "/index.html", "/assets/app-1A2B3C4D.js" */
    const char *type;
    const char *etag;     /* of the plain bytes, without quotes; the gzip variant's ends in "-gz" */
    bool immutable;       /* the name holds a hash of the bytes */
    uint32_t at, n;       /* in webui_blob */
    uint32_t gz_at, gz_n; /* gz_n 0: no variant */
};
extern const unsigned char webui_blob[];
extern const struct webui_asset webui_assets[];
extern const size_t webui_n_assets;

/* The asset of a request path ("/" is the page), or NULL. */
const struct webui_asset *webui_find(struct str path);
/* Whether an Accept-Encoding value (p NULL: absent) takes gzip: named or `*`, and not with q=0. */
bool webui_takes_gzip(struct str accept_encoding);
/* Whether an If-None-Match value (p NULL: absent) holds `etag` (without quotes) or `*`; weak marks
 * are ignored, as RFC 9110, 13.1.2 has it. */
bool webui_etag_known(struct str if_none_match, const char *etag);

#endif
