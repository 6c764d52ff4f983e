/* The life of a member.
 *
 * A step of the life is a row of STEPS: in a state, an event leads to another state by way of an
 * action that may fail. Whatever fails, a process that ends, a deadline that passes or a word to
 * stop all lead to ENDING, where llama-server goes before the rpc-server (a main whose rpc-server
 * vanishes aborts instead of ending), and from there to ENDED when no process and no port is left.
 */
#include "worker/member_int.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"
#include "os/proc.h"
#include "worker/ports.h"

#include <string.h>

enum {
    FETCH_MS = 120000, /* reading a header, from a slow mount */
    LISTEN_MS = 30000, /* an rpc-server opens its devices and listens */
    TICK_MS = 500,
    LOOK_MS = 100, /* at a port that should be free by now */
    PORT_FREE_MS = 2000,
    RSS_EVERY_TICKS = 10,
};

bool member_is_main(const struct member *m)
{
    return m->task.role == API_MAIN;
}

void member_changed(struct member *m, bool state)
{
    m->env.on_change(m->env.arg, m, state);
}

void member_wait(struct member *m, int64_t ms, loop_timer_fn fn)
{
    loop_timer_del(m->soon);
    m->soon = loop_timer_add(m->env.loop, ms, fn, m);
}

/* ---- the table ---- */

static const struct step {
    enum state from;
    enum event event;
    enum state to;
    int (*act)(struct member *m, struct err *err);
} STEPS[] = {
    {NEW, EV_BEGIN, FETCH, member_act_begin}, {FETCH, EV_FILE_OK, RPC, member_act_rpc},
    {RPC, EV_LISTENS, UP, member_act_up},     {UP, EV_PEERS_UP, LOAD, member_act_load},
    {LOAD, EV_LOADED, PROVE, NULL},           {PROVE, EV_TOKEN, READY, NULL},
};

/* The word on the wire, and how long the state may last (0: no bound; LOAD and PROVE share the
 * engine's). */
static const struct {
    enum member_state rpc_word, main_word;
    int64_t longest_ms;
} STATES[] = {
    [NEW] = {MEMBER_FETCHING, MEMBER_FETCHING, 0},
    [FETCH] = {MEMBER_STARTING, MEMBER_FETCHING, FETCH_MS},
    [RPC] = {MEMBER_STARTING, MEMBER_STARTING, LISTEN_MS},
    [UP] = {MEMBER_UP, MEMBER_STARTING, 0},
    [LOAD] = {MEMBER_UP, MEMBER_LOADING, -1},
    [PROVE] = {MEMBER_UP, MEMBER_LOADING, -1},
    [READY] = {MEMBER_UP, MEMBER_READY, 0},
    [ENDING] = {MEMBER_FAILED, MEMBER_FAILED, 0}, /* reported only after a failure */
    [ENDED] = {MEMBER_STOPPED, MEMBER_STOPPED, 0},
};
_Static_assert(sizeof STATES / sizeof *STATES == STATE_COUNT, "a row per state");

static void too_long(void *arg)
{
    struct member *m = arg;
    struct err why = {0};
    m->deadline = NULL;
    const char *what = m->state == FETCH ? "reading the model's header"
                       : m->state == RPC ? "the rpc-server's start"
                                         : "loading the model";
    err_fill(&why, ERR_TIMEOUT, "%s on %s took too long%s%.100s", what, m->env.node_name,
             m->main ? "; the last line: " : "", m->main ? child_last_line(m->main) : "");
    member_fail(m, &why);
}

static void set_deadline(struct member *m, enum state to)
{
    int64_t ms = STATES[to].longest_ms;
    if (to == PROVE)
        return; /* goes on from LOAD */
    loop_timer_del(STEAL(m->deadline));
    if (to == LOAD)
        ms = m->driver->startup_ms(&m->task.assignment);
    if (ms > 0)
        m->deadline = loop_timer_add(m->env.loop, ms, too_long, m);
}

void member_fire(struct member *m, enum event ev)
{
    for (size_t i = 0; i < ARRAY_LEN(STEPS); i++) {
        const struct step *s = &STEPS[i];
        struct err why = {0};
        if (s->from != m->state || s->event != ev)
            continue;
        m->state = s->to;
        m->percent = s->to == PROVE ? 100 : 0;
        loop_timer_del(STEAL(m->soon));
        set_deadline(m, s->to);
        member_changed(m, true);
        if (s->act && s->act(m, &why) < 0)
            member_fail(m, &why);
        return;
    }
}

/* ---- progress ---- */

/* A mapped file is resident as far as it has been read, but no further than there is RAM; what goes
 * to other nodes is counted in the tunnels. Whichever has come further. */
static void watch_loading(struct member *m)
{
    uint64_t all = m->task.model.bytes, sent = 0;
    uint64_t done = m->main ? proc_rss_bytes(child_pid(m->main)) : 0;
    for (uint32_t i = 0; i < m->n_tunnels; i++)
        sent += m->tunnels[i] ? tunnel_port_sent(m->tunnels[i]) : 0;
    done = sent > done ? sent : done;
    uint32_t percent = all ? (uint32_t)((double)done * 100 / (double)all) : 0;
    if (percent > 99)
        percent = 99;
    if (percent <= m->percent)
        return;
    m->percent = percent;
    member_changed(m, false);
}

static void on_tick(void *arg)
{
    struct member *m = arg;
    m->tick = loop_timer_add(m->env.loop, TICK_MS, on_tick, m);
    if (m->state == LOAD)
        watch_loading(m);
    if (++m->ticks % RSS_EVERY_TICKS != 0)
        return;
    m->rss = (m->main ? proc_rss_bytes(child_pid(m->main)) : 0) +
             (m->rpc ? proc_rss_bytes(child_pid(m->rpc)) : 0);
    uint64_t off = m->rss > m->rss_reported ? m->rss - m->rss_reported : m->rss_reported - m->rss;
    if (off > m->rss_reported / 20) {
        m->rss_reported = m->rss;
        member_changed(m, false);
    }
}

/* ---- the end ---- */

static void close_all(struct member *m)
{
    loop_timer_del(STEAL(m->deadline));
    loop_timer_del(STEAL(m->soon));
    filecheck_free(STEAL(m->check));
    probe_free(STEAL(m->probe));
}

static void close_tunnels(struct member *m)
{
    for (uint32_t i = 0; i < m->n_tunnels; i++)
        tunnel_port_free(m->tunnels[i]);
    free(STEAL(m->tunnels));
    m->n_tunnels = 0;
}

static void look_again(void *arg)
{
    struct member *m = arg;
    m->soon = NULL;
    member_settle_end(m);
}

/* The next thing of the way down, or ENDED. */
void member_settle_end(struct member *m)
{
    if (m->main) {
        child_stop(m->main);
        return;
    }
    close_tunnels(m);
    if (m->rpc) {
        child_stop(m->rpc);
        return;
    }
    bool busy = port_busy(m->site.main_port) || port_busy(m->site.rpc_port);
    if (busy && loop_now_ms(m->env.loop) - m->ending_since < PORT_FREE_MS) {
        member_wait(m, LOOK_MS, look_again);
        return;
    }
    if (busy)
        log_line(LOG_WARN, "port.still_busy replica=%s next=\"another one is used next time\"",
                 m->task.replica);
    m->state = ENDED;
    m->rss = 0;
    loop_timer_del(STEAL(m->tick));
    member_changed(m, true);
}

static void end(struct member *m)
{
    if (m->state == ENDING || m->state == ENDED)
        return;
    close_all(m);
    m->state = ENDING;
    m->ending_since = loop_now_ms(m->env.loop);
    member_settle_end(m);
}

void member_fail(struct member *m, const struct err *why)
{
    if (m->state == ENDING || m->state == ENDED)
        return;
    m->why = *why;
    log_line(LOG_WARN, "member.failed replica=%s generation=%u code=%s reason=\"%s\"",
             m->task.replica, m->task.generation, err_info(why->code)->name, why->msg);
    end(m);
    member_changed(m, true);
}

void member_stop(struct member *m, const struct err *why)
{
    m->stop = true;
    if (why && m->state != ENDING && m->state != ENDED)
        m->why = *why;
    end(m);
    member_changed(m, true);
}

bool member_gone(const struct member *m)
{
    return m->state == ENDED;
}

/* ---- from outside ---- */

struct member *member_new(const struct member_env *env, struct api_task *task)
{
    struct member *m = mem_calloc(1, sizeof *m);
    m->env = *env;
    m->task = *task;
    *task = (struct api_task){0};
    m->state = NEW;
    return m;
}

bool member_begun(const struct member *m)
{
    return m->state != NEW;
}

void member_begin(struct member *m)
{
    if (m->state != NEW)
        return;
    if (!m->task.run) {
        member_stop(m, NULL);
        return;
    }
    m->tick = loop_timer_add(m->env.loop, TICK_MS, on_tick, m);
    member_fire(m, EV_BEGIN);
}

/* Only what may change within a generation is taken over: the site points into the rest. */
void member_update(struct member *m, struct api_task *task)
{
    m->task.peers_up = task->peers_up;
    free(m->task.log_streams);
    m->task.log_streams = STEAL(task->log_streams);
    m->task.n_log_streams = task->n_log_streams;
    bool run = task->run;
    api_task_done(task);
    if (!run && !m->stop) {
        m->task.run = false;
        member_stop(m, NULL);
    } else if (m->task.peers_up && member_is_main(m)) {
        member_fire(m, EV_PEERS_UP);
    }
}

void member_free(struct member *m)
{
    if (!m)
        return;
    close_all(m);
    loop_timer_del(m->tick);
    child_free(m->main);
    child_free(m->rpc);
    close_tunnels(m);
    free(m->peer_ports);
    measure_done(&m->measure);
    api_task_done(&m->task);
    free(m);
}

const struct api_task *member_task(const struct member *m)
{
    return &m->task;
}

/* A failure stays `failed` until the server has said stop and everything is gone. */
static enum member_state word_of(const struct member *m)
{
    if (m->why.code && (m->state == ENDING || (m->state == ENDED && m->task.run)))
        return MEMBER_FAILED;
    if (m->state == ENDING) /* a stop under way: nothing new to say yet */
        return MEMBER_WAITING;
    return member_is_main(m) ? STATES[m->state].main_word : STATES[m->state].rpc_word;
}

void member_report(const struct member *m, struct api_report *out)
{
    *out = (struct api_report){.generation = m->task.generation,
                               .state = word_of(m),
                               .percent = m->percent,
                               .rss_bytes = m->rss,
                               .load_ms = m->load_ms,
                               .first_token_ms = m->first_token_ms,
                               .tok_s = m->tok_s};
    const struct child *c = m->main ? m->main : m->rpc;
    if (c)
        out->pid = (uint64_t)child_pid(c);
    if (out->state == MEMBER_FAILED) {
        STR_COPY(out->code, err_info(m->why.code)->name);
        STR_COPY(out->message, m->why.msg);
    }
    measure_report(&m->measure, out);
}

bool member_port(const struct member *m, enum tunnel_service service, uint16_t *port)
{
    const struct child *c = service == TUNNEL_RPC    ? m->rpc
                            : service == TUNNEL_HTTP ? m->main
                                                     : NULL;
    if (!c || m->state == ENDING)
        return false;
    *port = child_port(c);
    return true;
}

uint64_t member_rss(const struct member *m)
{
    return m->rss;
}
