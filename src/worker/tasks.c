/* The list of tasks against the members of this node. */
#include "worker/tasks.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"
#include "worker/logfile.h"
#include "worker/logstream.h"
#include "worker/reporter.h"

#include <string.h>

enum { SWEEP_MS = 1000, STOP_REPORT_MS = 1500 };

struct slot {
    struct member *member;
    struct reporter *reporter;
    struct logstream *streams[API_MAX_LOG_STREAMS];
    uint32_t n_streams;
    bool listed; /* in the newest list */
    bool told;   /* its end was passed on */
};

struct tasks {
    struct member_env env;
    struct client *client;
    struct slot **slots;
    size_t n_slots, cap;
    struct loop_timer *sweep, *stop_limit;
    bool soon; /* the sweep is due at once */
    bool stopping;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
    void (*on_gone)(void *arg, const char *replica);
    void *gone_arg;
};

static void sweep(void *arg);

static struct slot *slot_of(const struct tasks *t, const struct member *m)
{
    for (size_t i = 0; i < t->n_slots; i++)
        if (t->slots[i]->member == m)
            return t->slots[i];
    return NULL;
}

static struct slot *find(const struct tasks *t, const char *replica, uint32_t generation)
{
    for (size_t i = 0; i < t->n_slots; i++) {
        const struct api_task *task = member_task(t->slots[i]->member);
        if (task->generation == generation && strcmp(task->replica, replica) == 0)
            return t->slots[i];
    }
    return NULL;
}

/* Callbacks of members come from the middle of their work: what may free one happens in the sweep.
 */
static void sweep_soon(struct tasks *t)
{
    if (t->soon)
        return;
    t->soon = true;
    loop_timer_del(t->sweep);
    t->sweep = loop_timer_add(t->env.loop, 0, sweep, t);
}

static void on_change(void *arg, struct member *m, bool state)
{
    struct tasks *t = arg;
    struct slot *s = slot_of(t, m);
    if (!s)
        return; /* not yet in the list: it reports when it is */
    if (s->listed)
        reporter_poke(s->reporter, state);
    if (state)
        sweep_soon(t);
}

static void on_line(void *arg, struct member *m, const char *role, const char *line)
{
    struct slot *s = slot_of(arg, m);
    for (uint32_t i = 0; s && i < s->n_streams; i++)
        logstream_line(s->streams[i], role, line);
}

/* ---- log readers ---- */

struct tail_to {
    struct logstream *stream;
    const char *role;
};

static void tail_line(void *arg, const char *line)
{
    struct tail_to *to = arg;
    logstream_line(to->stream, to->role, line);
}

static bool wanted(const struct api_task *task, const char *stream)
{
    for (uint32_t i = 0; i < task->n_log_streams; i++)
        if (strcmp(task->log_streams[i].stream, stream) == 0)
            return true;
    return false;
}

static void open_stream(struct tasks *t, struct slot *s, const struct api_log_stream *want)
{
    static const char *const ROLES[] = {"rpc", "main"};
    const struct api_task *task = member_task(s->member);
    struct logstream *stream = logstream_new(t->client, want);
    for (size_t i = 0; i < ARRAY_LEN(ROLES); i++) {
        struct tail_to to = {.stream = stream, .role = ROLES[i]};
        logfile_tail(t->env.log_root, task->replica, task->generation, ROLES[i], want->tail,
                     tail_line, &to);
    }
    if (!want->follow || member_gone(s->member))
        logstream_end(stream);
    s->streams[s->n_streams++] = stream;
}

static void sync_streams(struct tasks *t, struct slot *s)
{
    const struct api_task *task = member_task(s->member);
    for (uint32_t i = 0; i < s->n_streams;) {
        if (wanted(task, logstream_id(s->streams[i]))) {
            i++; /* also when it is over: the server's list will drop it */
            continue;
        }
        logstream_free(s->streams[i]);
        s->streams[i] = s->streams[--s->n_streams];
    }
    for (uint32_t i = 0; i < task->n_log_streams; i++) {
        bool have = false;
        for (uint32_t k = 0; k < s->n_streams && !have; k++)
            have = strcmp(logstream_id(s->streams[k]), task->log_streams[i].stream) == 0;
        if (!have && s->n_streams < API_MAX_LOG_STREAMS)
            open_stream(t, s, &task->log_streams[i]);
    }
}

/* ---- slots ---- */

static void slot_free(struct slot *s)
{
    for (uint32_t i = 0; i < s->n_streams; i++)
        logstream_free(s->streams[i]);
    reporter_free(s->reporter);
    member_free(s->member);
    free(s);
}

static struct slot *slot_add(struct tasks *t, struct api_task *task)
{
    struct slot *s = mem_calloc(1, sizeof *s);
    s->member = member_new(&t->env, task);
    s->reporter = reporter_new(t->env.loop, t->client, t->env.node_id, s->member);
    mem_grow(&t->slots, &t->cap, t->n_slots + 1, sizeof *t->slots);
    t->slots[t->n_slots++] = s;
    return s;
}

static bool older_left(const struct tasks *t, const struct slot *s)
{
    const char *replica = member_task(s->member)->replica;
    for (size_t i = 0; i < t->n_slots; i++) {
        const struct slot *o = t->slots[i];
        if (o != s && member_begun(o->member) && !member_gone(o->member) &&
            strcmp(member_task(o->member)->replica, replica) == 0)
            return true;
    }
    return false;
}

static void tell_gone(struct tasks *t, struct slot *s)
{
    if (s->told || !member_gone(s->member))
        return;
    s->told = true;
    for (uint32_t i = 0; i < s->n_streams; i++)
        logstream_end(s->streams[i]);
    if (t->on_gone)
        t->on_gone(t->gone_arg, member_task(s->member)->replica);
}

/* ---- the sweep ---- */

static bool all_gone(const struct tasks *t)
{
    for (size_t i = 0; i < t->n_slots; i++)
        if (!member_gone(t->slots[i]->member))
            return false;
    return true;
}

static bool all_reported(const struct tasks *t)
{
    for (size_t i = 0; i < t->n_slots; i++)
        if (t->slots[i]->listed && !reporter_idle(t->slots[i]->reporter))
            return false;
    return true;
}

static void finish_stop(void *arg)
{
    struct tasks *t = arg;
    void (*fn)(void *) = t->on_stopped;
    t->stop_limit = NULL;
    t->on_stopped = NULL;
    if (fn)
        fn(t->stopped_arg); /* may free t */
}

static void check_stopped(struct tasks *t)
{
    if (!t->on_stopped || !all_gone(t))
        return;
    if (all_reported(t)) {
        loop_timer_del(STEAL(t->stop_limit));
        finish_stop(t);
    } else if (!t->stop_limit) {
        t->stop_limit = loop_timer_add(t->env.loop, STOP_REPORT_MS, finish_stop, t);
    }
}

static void sweep(void *arg)
{
    struct tasks *t = arg;
    t->soon = false;
    t->sweep = loop_timer_add(t->env.loop, t->stopping ? SWEEP_MS / 10 : SWEEP_MS, sweep, t);
    for (size_t i = 0; i < t->n_slots; i++) {
        struct slot *s = t->slots[i];
        tell_gone(t, s);
        if (!s->listed && member_gone(s->member)) {
            slot_free(s);
            memmove(t->slots + i, t->slots + i + 1, (t->n_slots - i - 1) * sizeof *t->slots);
            t->n_slots--;
            i--;
        }
    }
    bool known = !installed_get(t->env.engine)->looking;
    for (size_t i = 0; i < t->n_slots && !t->stopping; i++) {
        struct slot *s = t->slots[i];
        bool stop = !member_task(s->member)->run;
        if (!member_begun(s->member) && (known || stop) && !older_left(t, s))
            member_begin(s->member);
    }
    check_stopped(t); /* last: it may free t */
}

/* ---- public ---- */

struct tasks *tasks_new(const struct member_env *env, struct client *c)
{
    struct tasks *t = mem_calloc(1, sizeof *t);
    t->env = *env;
    t->env.on_change = on_change;
    t->env.on_line = on_line;
    t->env.arg = t;
    t->client = c;
    t->sweep = loop_timer_add(t->env.loop, SWEEP_MS, sweep, t);
    return t;
}

void tasks_free(struct tasks *t)
{
    if (!t)
        return;
    loop_timer_del(t->sweep);
    loop_timer_del(t->stop_limit);
    while (t->n_slots > 0)
        slot_free(t->slots[--t->n_slots]);
    free(t->slots);
    free(t);
}

void tasks_apply(struct tasks *t, struct api_tasks *list)
{
    for (size_t i = 0; i < t->n_slots; i++)
        t->slots[i]->listed = false;
    for (uint32_t i = 0; i < list->n && !t->stopping; i++) {
        struct api_task *task = &list->items[i];
        struct slot *s = find(t, task->replica, task->generation);
        if (!s)
            s = slot_add(t, task);
        s->listed = true;
        if (task->replica[0]) /* not taken by slot_add */
            member_update(s->member, task);
        sync_streams(t, s);
    }
    for (size_t i = 0; i < t->n_slots; i++)
        if (!t->slots[i]->listed && !t->stopping)
            member_stop(t->slots[i]->member, NULL);
    sweep_soon(t);
}

void tasks_kick(struct tasks *t)
{
    sweep_soon(t);
}

void tasks_report_all(struct tasks *t)
{
    for (size_t i = 0; i < t->n_slots; i++)
        if (t->slots[i]->listed && member_begun(t->slots[i]->member))
            reporter_poke(t->slots[i]->reporter, true);
}

void tasks_stop(struct tasks *t, const struct err *why, void (*fn)(void *arg), void *arg)
{
    t->stopping = true;
    t->on_stopped = fn;
    t->stopped_arg = arg;
    for (size_t i = 0; i < t->n_slots; i++)
        member_stop(t->slots[i]->member, why);
    sweep_soon(t);
}

bool tasks_lookup(const struct tasks *t, const char *replica, uint32_t generation,
                  enum tunnel_service service, char secret[TUNNEL_SECRET_HEX + 1], uint16_t *port)
{
    const struct slot *s = find(t, replica, generation);
    if (!s || !s->listed || !member_port(s->member, service, port))
        return false;
    return member_task(s->member)->secret[0] &&
           str_copy(secret, TUNNEL_SECRET_HEX + 1, member_task(s->member)->secret);
}

uint64_t tasks_rss(const struct tasks *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->n_slots; i++)
        sum = num_add_sat(sum, member_rss(t->slots[i]->member));
    return sum;
}

void tasks_on_gone(struct tasks *t, void (*fn)(void *arg, const char *replica), void *arg)
{
    t->on_gone = fn;
    t->gone_arg = arg;
}
