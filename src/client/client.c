/* Stub: every call fails until net/http is there. */
#include "client/client.h"

#include "base/mem.h"

struct client {
    int unused;
};
struct client *client_new(struct loop *l, const char *url, const char *key, struct err *err)
{
    return mem_calloc(1, sizeof(struct client));
}
void client_free(struct client *c)
{
    free(c);
}
int client_do(struct client *c, const char *method, const char *path, const json_t *body,
              json_t **out, char hint[240], struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "client_do");
}
int client_stream(struct client *c, const char *method, const char *path, const json_t *body,
                  bool (*fn)(void *arg, const char *p, size_t n), void *arg, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "client_stream");
}
struct client_call *client_send(struct client *c, const char *method, const char *path,
                                const json_t *body, int64_t timeout_ms,
                                void (*fn)(void *arg, const json_t *doc, const struct err *err),
                                void *arg)
{
    return NULL;
}
void client_call_cancel(struct client_call *call)
{
}
struct client_watch *client_watch_new(struct client *c, const char *path,
                                      void (*fn)(void *arg, const char *event, const json_t *data),
                                      void (*on_state)(void *arg, bool up, const struct err *err),
                                      void *arg)
{
    return NULL;
}
void client_watch_free(struct client_watch *w)
{
}
