/* Serves the embedded web UI: path lookup, validators, encodings, security headers. */
#include "webui/webui.h"

#include "webui/assets.h"

#include <string.h>

/* No inline script or style, nothing from elsewhere, no framing: names that users chose are shown
 * on this page, and this is the second wall behind their being text nodes only. */
static const char CSP[] = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
                          "form-action 'self'; object-src 'none'";

const struct webui_asset *webui_find(struct str path)
{
    if (str_eq(path, STR("/")))
        path = STR("/index.html");
    for (size_t i = 0; i < webui_n_assets; i++)
        if (str_eq(path, str_of(webui_assets[i].path)))
            return &webui_assets[i];
    return NULL;
}

/* Takes the next comma-separated element off *list; false at the end. */
static bool next_element(struct str *list, struct str *out)
{
    if (list->n == 0)
        return false;
    const char *comma = memchr(list->p, ',', list->n);
    size_t n = comma ? (size_t)(comma - list->p) : list->n;
    *out = str_trim((struct str){list->p, n});
    size_t used = comma ? n + 1 : n;
    *list = (struct str){list->p + used, list->n - used};
    return true;
}

/* "q=0", "q=0.0", "q=0.000": refused; anything else counts as wanted. */
static bool is_refused(struct str parameters)
{
    struct str q = str_trim(parameters);
    if (q.n < 3 || (q.p[0] != 'q' && q.p[0] != 'Q') || q.p[1] != '=')
        return false;
    for (size_t i = 2; i < q.n; i++)
        if (q.p[i] != '0' && q.p[i] != '.')
            return false;
    return true;
}

bool webui_takes_gzip(struct str accept_encoding)
{
    struct str element;
    bool any = false;
    while (next_element(&accept_encoding, &element)) {
        const char *semicolon = element.n ? memchr(element.p, ';', element.n) : NULL;
        struct str name = element, parameters = {element.p, 0};
        if (semicolon) {
            name.n = (size_t)(semicolon - element.p);
            parameters = (struct str){semicolon + 1, element.n - name.n - 1};
        }
        name = str_trim(name);
        /* An entry of its own outweighs the wildcard, whichever comes first. */
        if (str_eq_nocase(name, STR("gzip")))
            return !is_refused(parameters);
        if (str_eq(name, STR("*")))
            any = !is_refused(parameters);
    }
    return any;
}

bool webui_etag_known(struct str if_none_match, const char *etag)
{
    struct str element, want = str_of(etag);
    while (next_element(&if_none_match, &element)) {
        if (str_eq(element, STR("*")))
            return true;
        if (str_starts(element, STR("W/")))
            element = (struct str){element.p + 2, element.n - 2};
        if (element.n == want.n + 2 && element.p[0] == '"' && element.p[element.n - 1] == '"' &&
            str_eq((struct str){element.p + 1, want.n}, want))
            return true;
    }
    return false;
}

bool webui_handle(struct http_req *r)
{
    struct str method = http_req_method(r);
    if (!str_eq(method, STR("GET")) && !str_eq(method, STR("HEAD")))
        return false;
    const struct webui_asset *a = webui_find(http_req_path(r));
    if (!a)
        return false;
    bool gz = a->gz_n > 0 && webui_takes_gzip(http_req_header(r, "accept-encoding"));
    char etag[64], quoted[68];
    str_copyf(etag, sizeof etag, "%s%s", a->etag, gz ? "-gz" : "");
    str_copyf(quoted, sizeof quoted, "\"%s\"", etag);
    http_add_header(r, "etag", quoted);
    http_add_header(r, "cache-control",
                    a->immutable ? "public, max-age=31536000, immutable" : "no-cache");
    http_add_header(r, "content-security-policy", CSP);
    http_add_header(r, "referrer-policy", "no-referrer");
    if (a->gz_n > 0)
        http_add_header(r, "vary", "accept-encoding");
    if (webui_etag_known(http_req_header(r, "if-none-match"), etag)) {
        http_reply(r, 304, a->type, NULL, 0);
        return true;
    }
    if (gz)
        http_add_header(r, "content-encoding", "gzip");
    http_reply(r, 200, a->type, webui_blob + (gz ? a->gz_at : a->at), gz ? a->gz_n : a->n);
    return true;
}
