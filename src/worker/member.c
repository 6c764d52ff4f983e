/* The life of a member.
 *
 * A step of the life is a row of STEPS: in a state, an event leads to another state by way of an
 * action that may fail. Whatever fails, a process that ends, a deadline that passes or a word to
 * stop all lead to ENDING, where llama-server goes before the rpc-server (a main whose rpc-server
 * vanishes aborts instead of ending), and from there to ENDED when no process and no port is left.
 */
#include "worker/member.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "engine/engine.h"
#include "os/file.h"
#include "os/proc.h"
#include "worker/child.h"
#include "worker/filecheck.h"
#include "worker/logfile.h"
#include "worker/measure.h"
#include "worker/ports.h"
#include "worker/probe.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum state { NEW, FETCH, RPC, UP, LOAD, PROVE, READY, ENDING, ENDED, STATE_COUNT };
enum event { EV_BEGIN, EV_FILE_OK, EV_LISTENS, EV_PEERS_UP, EV_LOADED, EV_TOKEN };

enum {
    FETCH_MS = 120000, /* reading a header, from a slow mount */
    LISTEN_MS = 30000, /* an rpc-server opens its devices and listens */
    TICK_MS = 500,
    SETTLE_MS =
        100, /* a second look at a fresh rpc-server: one whose port was taken is gone by then */
    GRACE_MS = 1000, /* the reason of a broken connection is the process's end, which comes a moment
                        later */
    PORT_FREE_MS = 2000,
    PORT_LO = 20000,
    PORT_HI = 30000,
    RSS_EVERY_TICKS = 10,
};

struct member {
    struct member_env env;
    struct api_task task;
    const struct engine_driver *driver;
    struct engine_site site;
    enum state state;
    struct child *main, *rpc;
    struct filecheck *check;
    struct probe *probe;
    struct tunnel_port **tunnels;
    uint16_t *peer_ports;
    uint32_t n_tunnels;
    struct loop_timer *deadline, *tick, *soon; /* soon: a short wait within a state */
    struct measure measure;
    struct err why;  /* of a failure */
    struct err said; /* by the engine: the first error line of the process at fault */
    bool stop, failed_early;
    uint32_t percent, ticks;
    uint64_t rss, rss_reported, load_ms, first_token_ms;
    double tok_s;
    int64_t main_started, ending_since;
};

static void fire(struct member *m, enum event ev);
static void fail(struct member *m, const struct err *why);
static void settle_end(struct member *m);

static bool is_main(const struct member *m)
{
    return m->task.role == API_MAIN;
}

static void changed(struct member *m, bool state)
{
    m->env.on_change(m->env.arg, m, state);
}

static void wait_soon(struct member *m, int64_t ms, loop_timer_fn fn)
{
    loop_timer_del(m->soon);
    m->soon = loop_timer_add(m->env.loop, ms, fn, m);
}

/* ---- facts and ends of processes ---- */

static const char *program_of(const struct child *c)
{
    return strcmp(child_role(c), "main") == 0 ? "llama-server" : "rpc-server";
}

/* The engine's sentence, with the device by its name for people. */
static void remember_error(struct member *m, const struct engine_fact *f)
{
    int part = f->device[0] ? m->driver->part_of(&m->task.assignment, &m->site, f->device)
                            : ENGINE_PART_UNKNOWN;
    if (m->said.code)
        return;
    if (part >= 0)
        err_fill(&m->said, f->code, "%s (%s of %s)", f->text,
                 m->task.assignment.parts[part].device_name, m->task.assignment.parts[part].node);
    else if (part == ENGINE_PART_HOST)
        err_fill(&m->said, f->code, "%s (RAM of %s)", f->text, m->env.node_name);
    else
        err_fill(&m->said, f->code, "%s", f->text);
}

static void rpc_settled(void *arg)
{
    struct member *m = arg;
    m->soon = NULL;
    if (port_accepts(m->site.rpc_port))
        fire(m, EV_LISTENS);
    else
        wait_soon(m, SETTLE_MS, rpc_settled);
}

static void on_line(void *arg, struct child *c, const char *line)
{
    struct member *m = arg;
    struct engine_fact f;
    m->env.on_line(m->env.arg, m, child_role(c), line);
    if (!m->driver->read_line(line, &f))
        return;
    if (f.kind == ENGINE_ERROR)
        remember_error(m, &f);
    else if (f.kind == ENGINE_LISTENING && m->state == RPC && c == m->rpc)
        wait_soon(m, SETTLE_MS, rpc_settled);
    else if (c == m->main &&
             measure_fact(&m->measure, m->driver, &m->task.assignment, &m->site, &f))
        changed(m, false);
}

static void describe_exit(const struct member *m, const struct child *c, int status,
                          struct err *why)
{
    char how[96];
    proc_status_text(status, how, sizeof how);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        size_t n = strlen(how);
        str_copyf(how + n, sizeof how - n, ", by hand or for want of RAM");
    }
    if (m->said.code)
        err_fill(why, m->said.code, "%s on %s: %.120s; %s", program_of(c), m->env.node_name,
                 m->said.msg, how);
    else if (child_last_line(c)[0])
        err_fill(why, ERR_UNAVAILABLE, "%s on %s ended: %s; its last line: %.90s", program_of(c),
                 m->env.node_name, how, child_last_line(c));
    else
        err_fill(why, ERR_UNAVAILABLE, "%s on %s ended: %s", program_of(c), m->env.node_name, how);
}

static void on_exit_status(void *arg, struct child *c, int status)
{
    struct member *m = arg;
    struct err why = {0};
    describe_exit(m, c, status, &why);
    log_line(LOG_INFO, "engine.ended replica=%s generation=%u program=%s status=%d",
             m->task.replica, m->task.generation, program_of(c), status);
    if (c == m->main)
        m->main = NULL;
    else
        m->rpc = NULL;
    child_free(c);
    if (m->state == ENDING)
        settle_end(m);
    else
        fail(m, &why);
}

/* ---- actions ---- */

static int spawn(struct member *m, const char *role, struct child **out, struct err *err)
{
    struct engine_launch l;
    m->said = (struct err){0};
    if (m->driver->launch(&m->task.assignment, &m->site, role, &l, err) < 0)
        return -1;
    struct child_opts o = {.launch = &l,
                           .log_root = m->env.log_root,
                           .replica = m->task.replica,
                           .generation = m->task.generation,
                           .on_line = on_line,
                           .on_exit = on_exit_status,
                           .arg = m};
    *out = child_new(m->env.loop, &o, err);
    if (*out)
        log_line(LOG_INFO, "engine.started replica=%s generation=%u program=%s pid=%d port=%u",
                 m->task.replica, m->task.generation, program_of(*out), (int)child_pid(*out),
                 l.port);
    engine_launch_done(&l);
    return *out ? 0 : -1;
}

static void checked(void *arg, const struct err *err)
{
    struct member *m = arg;
    m->check = NULL;
    if (err)
        fail(m, err);
    else
        fire(m, EV_FILE_OK);
}

static int check_known(struct member *m, struct err *err)
{
    const struct installed_info *e = installed_get(m->env.engine);
    m->driver = engine_find(m->task.assignment.engine);
    if (!m->driver)
        return err_set(err, ERR_UNSUPPORTED, "engine '%.15s' is not known to this worker",
                       m->task.assignment.engine);
    if (!e->found)
        return err_set(err, ERR_NOT_FOUND, "node %s has no engine: %.150s", m->env.node_name,
                       e->reason);
    m->site = (struct engine_site){.node_id = m->env.node_id,
                                   .bin_dir = e->bin_dir,
                                   .rpc_program = e->rpc_program,
                                   .n_threads = m->env.n_threads,
                                   .extra_env = m->env.engine_env,
                                   .alias = m->task.alias,
                                   .model = m->task.model.path};
    return 0;
}

/* An engine that this generation had here died with the worker that started it: the others of the
 * group hold connections to it, so the whole group must start anew. */
static int act_begin(struct member *m, struct err *err)
{
    const char *role = is_main(m) ? "main" : "rpc";
    if (logfile_exists(m->env.log_root, m->task.replica, m->task.generation, role))
        return err_set(err, ERR_UNAVAILABLE, "the worker on %s was restarted; its engines ended",
                       m->env.node_name);
    if (check_known(m, err) < 0)
        return -1;
    if (!is_main(m)) {
        fire(m, EV_FILE_OK); /* only the main reads the file */
        return 0;
    }
    m->check = filecheck_new(m->env.loop, &m->task.model, checked, m, err);
    return m->check ? 0 : -1;
}

static bool plays_remote_part(const struct member *m)
{
    const char *ids[API_MAX_PEERS];
    uint32_t n = m->driver->members(&m->task.assignment, ids, API_MAX_PEERS);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(ids[i], m->env.node_id) == 0)
            return true;
    return false;
}

static int act_rpc(struct member *m, struct err *err)
{
    if (!plays_remote_part(m)) {
        if (!is_main(m))
            return err_set(err, ERR_INVALID, "node %s has no part in this assignment",
                           m->env.node_name);
        fire(m, EV_LISTENS); /* a main with local devices only */
        return 0;
    }
    if (net_free_port(PORT_LO, PORT_HI, &m->site.rpc_port, err) < 0)
        return -1;
    return spawn(m, "rpc", &m->rpc, err);
}

static int act_up(struct member *m, struct err *err)
{
    (void)err;
    if (is_main(m) && m->task.peers_up)
        fire(m, EV_PEERS_UP);
    return 0;
}

static const struct api_peer *peer_of(const struct member *m, const char *node_id)
{
    for (uint32_t i = 0; i < m->task.n_peers; i++)
        if (strcmp(m->task.peers[i].node_id, node_id) == 0)
            return &m->task.peers[i];
    return NULL;
}

/* A loopback port per remote member, behind which its worker connects to its rpc-server. */
static int open_tunnels(struct member *m, struct err *err)
{
    const char *ids[API_MAX_PEERS];
    m->n_tunnels = m->driver->members(&m->task.assignment, ids, API_MAX_PEERS);
    m->tunnels = mem_calloc(m->n_tunnels + 1, sizeof *m->tunnels);
    m->peer_ports = mem_calloc(m->n_tunnels + 1, sizeof *m->peer_ports);
    m->site.peer_ports = m->peer_ports;
    for (uint32_t i = 0; i < m->n_tunnels; i++) {
        if (strcmp(ids[i], m->env.node_id) == 0)
            continue; /* our own rpc-server */
        const struct api_peer *peer = peer_of(m, ids[i]);
        if (!peer)
            return err_set(err, ERR_INVALID, "the task names no address for member %.39s", ids[i]);
        struct tunnel_target t = {.generation = m->task.generation, .service = TUNNEL_RPC};
        STR_COPY(t.replica, m->task.replica);
        STR_COPY(t.member, ids[i]);
        STR_COPY(t.secret, m->task.secret);
        m->tunnels[i] = tunnel_port_new(m->env.loop, peer->addr, &t, &m->peer_ports[i], err);
        if (!m->tunnels[i])
            return -1;
    }
    return 0;
}

static void on_loaded(void *arg)
{
    fire(arg, EV_LOADED);
}

static void on_token(void *arg, uint64_t first_token_ms)
{
    struct member *m = arg;
    m->first_token_ms = first_token_ms;
    m->load_ms = (uint64_t)(loop_now_ms(m->env.loop) - m->main_started);
    fire(m, EV_TOKEN);
}

static void on_speed(void *arg, double tok_s)
{
    struct member *m = arg;
    m->tok_s = tok_s;
    changed(m, false);
}

static void fail_late(void *arg)
{
    struct member *m = arg;
    struct err why = m->why;
    m->soon = NULL;
    m->why = (struct err){0};
    fail(m, &why);
}

static void on_probe_failed(void *arg, const struct err *err)
{
    struct member *m = arg;
    m->why = *err;
    wait_soon(m, GRACE_MS, fail_late);
}

static int act_load(struct member *m, struct err *err)
{
    const struct probe_events ev = {.on_loaded = on_loaded,
                                    .on_token = on_token,
                                    .on_speed = on_speed,
                                    .on_failed = on_probe_failed,
                                    .arg = m};
    measure_init(&m->measure, m->task.assignment.n_parts);
    if (open_tunnels(m, err) < 0 || net_free_port(PORT_LO, PORT_HI, &m->site.main_port, err) < 0 ||
        spawn(m, "main", &m->main, err) < 0)
        return -1;
    m->main_started = loop_now_ms(m->env.loop);
    m->probe = probe_new(m->env.loop, m->site.main_port, &ev);
    return 0;
}

/* ---- the table ---- */

static const struct step {
    enum state from;
    enum event event;
    enum state to;
    int (*act)(struct member *m, struct err *err);
} STEPS[] = {
    {NEW, EV_BEGIN, FETCH, act_begin}, {FETCH, EV_FILE_OK, RPC, act_rpc},
    {RPC, EV_LISTENS, UP, act_up},     {UP, EV_PEERS_UP, LOAD, act_load},
    {LOAD, EV_LOADED, PROVE, NULL},    {PROVE, EV_TOKEN, READY, NULL},
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
    fail(m, &why);
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

static void fire(struct member *m, enum event ev)
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
        changed(m, true);
        if (s->act && s->act(m, &why) < 0)
            fail(m, &why);
        return;
    }
}

/* ---- progress ---- */

/* A mapped file is resident as far as it has been read, also when it goes on to other devices. */
static void watch_loading(struct member *m)
{
    uint64_t all = m->task.model.bytes, rss = m->main ? proc_rss_bytes(child_pid(m->main)) : 0;
    uint32_t percent = all ? (uint32_t)((double)rss * 100 / (double)all) : 0;
    if (percent > 99)
        percent = 99;
    if (percent <= m->percent)
        return;
    m->percent = percent;
    changed(m, false);
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
        changed(m, false);
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
    settle_end(m);
}

/* The next thing of the way down, or ENDED. */
static void settle_end(struct member *m)
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
        wait_soon(m, SETTLE_MS, look_again);
        return;
    }
    if (busy)
        log_line(LOG_WARN, "port.still_busy replica=%s next=\"another one is used next time\"",
                 m->task.replica);
    m->state = ENDED;
    m->rss = 0;
    loop_timer_del(STEAL(m->tick));
    changed(m, true);
}

static void end(struct member *m)
{
    if (m->state == ENDING || m->state == ENDED)
        return;
    close_all(m);
    m->state = ENDING;
    m->ending_since = loop_now_ms(m->env.loop);
    settle_end(m);
}

static void fail(struct member *m, const struct err *why)
{
    if (m->state == ENDING || m->state == ENDED)
        return;
    m->why = *why;
    log_line(LOG_WARN, "member.failed replica=%s generation=%u code=%s reason=\"%s\"",
             m->task.replica, m->task.generation, err_info(why->code)->name, why->msg);
    end(m);
    changed(m, true);
}

void member_stop(struct member *m, const struct err *why)
{
    m->stop = true;
    if (why && m->state != ENDING && m->state != ENDED)
        m->why = *why;
    end(m);
    changed(m, true);
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
    fire(m, EV_BEGIN);
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
    } else if (m->task.peers_up && is_main(m)) {
        fire(m, EV_PEERS_UP);
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
    return is_main(m) ? STATES[m->state].main_word : STATES[m->state].rpc_word;
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
