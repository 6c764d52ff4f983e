/* Log upload. */
#include "worker/logstream.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

struct logstream {
    struct client *client;
    char id[CLUSTER_ID];
    char *path;
    struct api_log_line *queue;
    uint32_t n, in_flight; /* the first in_flight lines of the queue are under way */
    uint64_t dropped;
    bool ended, end_sent, over;
    struct client_call *call;
};

static void push(struct logstream *s);

static void drop_front(struct logstream *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free(s->queue[i].text);
    memmove(s->queue, s->queue + n, (s->n - n) * sizeof *s->queue);
    s->n -= n;
}

/* One failure ends it: the reader sees a cut stream and may ask again. */
static void on_answer(void *arg, const json_t *doc, const struct err *err)
{
    struct logstream *s = arg;
    s->call = NULL;
    drop_front(s, s->in_flight);
    s->in_flight = 0;
    if (err || !json_is_true(json_object_get(doc, "more")) || s->end_sent)
        s->over = true;
    else
        push(s);
}

static void push(struct logstream *s)
{
    if (s->call || s->over || (s->n == 0 && !s->ended))
        return;
    s->in_flight = s->n < LOGSTREAM_BATCH ? s->n : LOGSTREAM_BATCH;
    s->end_sent = s->ended && s->in_flight == s->n;
    struct api_log log = {.lines = s->queue, .n_lines = s->in_flight, .end = s->end_sent};
    json_auto_t *doc = api_log_to_json(&log);
    s->call = client_send(s->client, "POST", s->path, doc, LOGSTREAM_TIMEOUT_MS, on_answer, s);
}

struct logstream *logstream_new(struct client *c, const struct api_log_stream *want)
{
    struct logstream *s = mem_calloc(1, sizeof *s);
    s->client = c;
    STR_COPY(s->id, want->stream);
    s->path = mem_printf("/api/v1/logs/%s", s->id);
    s->queue = mem_calloc(LOGSTREAM_QUEUE, sizeof *s->queue);
    return s;
}

void logstream_free(struct logstream *s)
{
    if (!s)
        return;
    if (s->call)
        client_call_cancel(s->call);
    drop_front(s, s->n);
    free(s->queue);
    free(s->path);
    free(s);
}

const char *logstream_id(const struct logstream *s)
{
    return s->id;
}

static void add(struct logstream *s, const char *role, const char *line)
{
    struct api_log_line *l = &s->queue[s->n++];
    STR_COPY(l->role, role);
    l->text = mem_strdup(line);
}

void logstream_line(struct logstream *s, const char *role, const char *line)
{
    if (s->over || s->ended)
        return;
    if (s->n + 2 > LOGSTREAM_QUEUE) {
        s->dropped++;
        return;
    }
    if (s->dropped) {
        char text[64];
        str_copyf(text, sizeof text, "(%llu lines left out: the reader is slow)",
                  (unsigned long long)s->dropped);
        add(s, role, text);
        s->dropped = 0;
    }
    add(s, role, line);
    push(s);
}

void logstream_end(struct logstream *s)
{
    s->ended = true;
    push(s);
}
