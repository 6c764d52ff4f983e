/* Answers in OpenAI's shapes: errors of our own, errors of the engine translated, lists of models.
 * The trees are pure; sending needs the request. The loop's thread. */
#ifndef GATEWAY_ANSWER_H
#define GATEWAY_ANSWER_H

#include "gateway/routes.h"
#include "net/http.h"

enum { ANSWER_RETRY_NEVER = -1, ANSWER_RETRY_DEFAULT = 0 };

/* An error as clients know it: {"error":{message,type,param,code}}. */
struct answer {
    int status;
    const char *type;  /* NULL: by status */
    const char *param; /* NULL: null */
    const char *code;  /* NULL: null */
    /* Seconds for Retry-After; ANSWER_RETRY_NEVER: `x-should-retry: false`, for what no retry
     * mends. */
    int retry_s;
    char message[640];
};
json_t *answer_tree(const struct answer *a); /* the caller owns it */
void answer_send(struct http_req *r, const struct answer *a);

/* No such model, or one that this key may not use: 404 that names those it may. */
void answer_no_model(const struct routes *t, const struct api_key *key, const char *name,
                     struct answer *out);
/* A model without an endpoint to try: 503, with a time to come back unless nothing will change. */
void answer_not_ready(const struct api_route *m, struct answer *out);

/* The engine's own error (status and body) in OpenAI's shape; a prompt that is too long becomes
 * context_length_exceeded with both numbers. */
void answer_of_engine(int status, struct str body, const char *model, struct answer *out);

json_t *answer_model(const struct api_route *m);
json_t *answer_models(const struct routes *t, const struct api_key *key);

#endif
