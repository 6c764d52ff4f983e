/* Shapes of answers. */
#include "gateway/answer.h"

#include "base/mem.h"

#include <string.h>

enum { MAX_NAMES_LISTED = 10, RETRY_LOADING_S = 2, RETRY_PENDING_S = 15 };

static const char *type_of_status(int status)
{
    if (status >= 500)
        return status == 503 ? "service_unavailable_error" : "server_error";
    return "invalid_request_error";
}

json_t *answer_tree(const struct answer *a)
{
    json_t *doc = json_object();
    json_t *e = json_put_object(doc, "error");
    json_put_str(e, "message", a->message);
    json_put_str(e, "type", a->type ? a->type : type_of_status(a->status));
    json_object_set_new(e, "param", a->param ? json_string(a->param) : json_null());
    json_object_set_new(e, "code", a->code ? json_string(a->code) : json_null());
    return doc;
}

void answer_send(struct http_req *r, const struct answer *a)
{
    char seconds[16];
    if (a->retry_s > 0) {
        str_copyf(seconds, sizeof seconds, "%d", a->retry_s);
        http_add_header(r, "retry-after", seconds);
    } else if (a->retry_s == ANSWER_RETRY_NEVER) {
        http_add_header(r, "x-should-retry", "false");
    }
    http_reply_json(r, a->status, answer_tree(a));
}

void answer_no_model(const struct routes *t, const struct api_key *key, const char *name,
                     struct answer *out)
{
    buf_auto struct buf list;
    buf_init(&list, 400);
    uint32_t n = routes_n_models(t), shown = 0, left = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct api_route *m = routes_model_at(t, i);
        if (!routes_key_allows(key, m->name))
            continue;
        if (shown < MAX_NAMES_LISTED && list.n + strlen(m->name) + 2 < list.max) {
            buf_addf(&list, "%s%s", shown ? ", " : "", m->name);
            shown++;
        } else {
            left++;
        }
    }
    char more[40] = "";
    if (left)
        str_copyf(more, sizeof more, " and %u more", left);
    *out = (struct answer){.status = 404, .param = "model", .code = "model_not_found"};
    str_copyf(out->message, sizeof out->message,
              "The model '%s' does not exist or this key may not use it; %s%s%s.", name,
              shown ? "there is: " : "there is none yet", shown ? list.p : "", more);
}

void answer_not_ready(const struct api_route *m, struct answer *out)
{
    *out = (struct answer){.status = 503, .param = "model", .code = "model_not_ready"};
    if (strcmp(m->state, "stopped") == 0) {
        out->retry_s = ANSWER_RETRY_NEVER;
        str_copyf(out->message, sizeof out->message,
                  "The model '%s' is scaled to zero; an administrator can start it: stowage scale "
                  "%s 1",
                  m->name, m->name);
        return;
    }
    bool pending = strcmp(m->state, "pending") == 0;
    out->retry_s = pending ? RETRY_PENDING_S : RETRY_LOADING_S;
    str_copyf(out->message, sizeof out->message, "The model '%s' is not ready: %s%s", m->name,
              m->state, pending ? " (nothing can hold it at the moment)" : "");
}

static void too_long(const json_t *e, const char *model, struct answer *out)
{
    json_int_t have = json_integer_value(json_object_get(e, "n_prompt_tokens"));
    json_int_t room = json_integer_value(json_object_get(e, "n_ctx"));
    out->status = 400;
    out->type = "invalid_request_error";
    out->param = "messages";
    out->code = "context_length_exceeded";
    str_copyf(out->message, sizeof out->message,
              "This model's maximum context length is %lld tokens, but the request has %lld tokens "
              "(%s). Shorten it, or deploy the model with a larger --ctx.",
              (long long)room, (long long)have, model);
}

void answer_of_engine(int status, struct str body, const char *model, struct answer *out)
{
    json_auto_t *doc = body.n ? json_parse(body.p, body.n, NULL) : NULL;
    const json_t *e = json_is_object(doc) ? json_object_get(doc, "error") : NULL;
    const char *message = json_string_value(json_object_get(e, "message"));
    const char *type = json_string_value(json_object_get(e, "type"));
    *out = (struct answer){.status = status};
    if (type && strcmp(type, "exceed_context_size_error") == 0) {
        too_long(e, model, out);
        return;
    }
    if (status == 501) {
        /* SDKs retry every 5xx; what this deployment cannot do stays so. */
        out->status = 400;
        out->code = "unsupported_operation";
        out->retry_s = ANSWER_RETRY_NEVER;
    } else if (status < 400 || status > 599) {
        out->status = 502;
        out->code = "upstream_error";
    }
    if (message)
        str_copyf(out->message, sizeof out->message, "%s", message);
    else
        str_copyf(out->message, sizeof out->message,
                  "The engine of '%s' answered with status %d and no reason", model, status);
}

json_t *answer_model(const struct api_route *m)
{
    json_t *o = json_object();
    json_put_str(o, "id", m->name);
    json_put_str(o, "object", "model");
    json_object_set_new(o, "created", json_integer(m->created_at / 1000));
    json_put_str(o, "owned_by", "stowage");
    json_put_u64(o, "max_model_len", m->ctx);
    json_put_u64(o, "context_length", m->ctx);
    json_put_str(o, "state", m->state);
    return o;
}

json_t *answer_models(const struct routes *t, const struct api_key *key)
{
    json_t *doc = json_object();
    json_put_str(doc, "object", "list");
    json_t *data = json_put_array(doc, "data");
    for (uint32_t i = 0; i < routes_n_models(t); i++)
        if (routes_key_allows(key, routes_model_at(t, i)->name))
            json_array_append_new(data, answer_model(routes_model_at(t, i)));
    return doc;
}
