/* Member reports. */
#include "worker/reporter.h"

#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"

struct reporter {
    struct loop *loop;
    struct client *client;
    const struct member *member;
    char *path;
    struct client_call *call;
    struct loop_timer *timer;
    bool dirty, urgent;
};

static void send(struct reporter *r);

static void on_timer(void *arg)
{
    struct reporter *r = arg;
    r->timer = NULL;
    send(r);
}

static void later(struct reporter *r)
{
    if (!r->timer)
        r->timer = loop_timer_add(r->loop, REPORT_EVERY_MS, on_timer, r);
}

/* What will pass by itself; anything else is the server's considered answer. */
static bool passing(const struct err *err)
{
    switch (err->code) {
    case ERR_UNREACHABLE:
    case ERR_TIMEOUT:
    case ERR_UNAVAILABLE:
    case ERR_INTERNAL:
    case ERR_IO:
    case ERR_CORRUPT: /* a cut answer */
        return true;
    default:
        return false;
    }
}

static void on_answer(void *arg, const json_t *doc, const struct err *err)
{
    struct reporter *r = arg;
    r->call = NULL;
    if (err && passing(err)) {
        r->dirty = true;
        later(r);
        return;
    }
    if (err)
        log_line(LOG_DEBUG, "report.refused path=%s code=%s reason=\"%s\"", r->path,
                 err_info(err->code)->name, err->msg);
    if (r->dirty && r->urgent)
        send(r);
    else
        later(r); /* spaces the next one */
}

static void send(struct reporter *r)
{
    struct api_report report;
    if (r->call || !r->dirty)
        return;
    member_report(r->member, &report);
    r->dirty = r->urgent = false;
    if (report.state != MEMBER_WAITING) {
        json_auto_t *doc = api_report_to_json(&report);
        r->call = client_send(r->client, "PUT", r->path, doc, REPORT_TIMEOUT_MS, on_answer, r);
    }
    api_report_done(&report);
}

struct reporter *reporter_new(struct loop *l, struct client *c, const char *node_id,
                              const struct member *m)
{
    struct reporter *r = mem_calloc(1, sizeof *r);
    r->loop = l;
    r->client = c;
    r->member = m;
    r->path = mem_printf("/api/v1/replicas/%s/members/%s", member_task(m)->replica, node_id);
    return r;
}

void reporter_free(struct reporter *r)
{
    if (!r)
        return;
    loop_timer_del(r->timer);
    if (r->call)
        client_call_cancel(r->call);
    free(r->path);
    free(r);
}

void reporter_poke(struct reporter *r, bool now)
{
    r->dirty = true;
    r->urgent |= now;
    if (r->call)
        return;
    if (now) {
        loop_timer_del(STEAL(r->timer));
        send(r);
    } else {
        later(r);
    }
}

bool reporter_idle(const struct reporter *r)
{
    return !r->call && !r->dirty;
}
