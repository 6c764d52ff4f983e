/* What a member does on its way up: checks, processes, tunnels, the probe; and what comes back from
 * them. */
#include "worker/member_int.h"

#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/proc.h"
#include "worker/logfile.h"
#include "worker/ports.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum {
    SETTLE_MS =
        100, /* a second look at a fresh rpc-server: one whose port was taken is gone then */
    GRACE_MS =
        1000, /* a broken connection's reason is the process's end, which comes a bit later */
    PORT_LO = 20000,
    PORT_HI = 30000,
};

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
        member_fire(m, EV_LISTENS);
    else
        member_wait(m, SETTLE_MS, rpc_settled);
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
        member_wait(m, SETTLE_MS, rpc_settled);
    else if (c == m->main &&
             measure_fact(&m->measure, m->driver, &m->task.assignment, &m->site, &f))
        member_changed(m, false);
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
        member_settle_end(m);
    else
        member_fail(m, &why);
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
        member_fail(m, err);
    else
        member_fire(m, EV_FILE_OK);
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
int member_act_begin(struct member *m, struct err *err)
{
    const char *role = member_is_main(m) ? "main" : "rpc";
    if (logfile_exists(m->env.log_root, m->task.replica, m->task.generation, role))
        return err_set(err, ERR_UNAVAILABLE, "the worker on %s was restarted; its engines ended",
                       m->env.node_name);
    if (check_known(m, err) < 0)
        return -1;
    if (!member_is_main(m)) {
        member_fire(m, EV_FILE_OK); /* only the main reads the file */
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

int member_act_rpc(struct member *m, struct err *err)
{
    if (!plays_remote_part(m)) {
        if (!member_is_main(m))
            return err_set(err, ERR_INVALID, "node %s has no part in this assignment",
                           m->env.node_name);
        member_fire(m, EV_LISTENS); /* a main with local devices only */
        return 0;
    }
    if (net_free_port(PORT_LO, PORT_HI, &m->site.rpc_port, err) < 0)
        return -1;
    return spawn(m, "rpc", &m->rpc, err);
}

int member_act_up(struct member *m, struct err *err)
{
    (void)err;
    if (member_is_main(m) && m->task.peers_up)
        member_fire(m, EV_PEERS_UP);
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
    member_fire(arg, EV_LOADED);
}

static void on_token(void *arg, uint64_t first_token_ms)
{
    struct member *m = arg;
    m->first_token_ms = first_token_ms;
    m->load_ms = (uint64_t)(loop_now_ms(m->env.loop) - m->main_started);
    member_fire(m, EV_TOKEN);
}

static void on_speed(void *arg, double tok_s)
{
    struct member *m = arg;
    m->tok_s = tok_s;
    member_changed(m, false);
}

static void fail_late(void *arg)
{
    struct member *m = arg;
    struct err why = m->why;
    m->soon = NULL;
    m->why = (struct err){0};
    member_fail(m, &why);
}

static void on_probe_failed(void *arg, const struct err *err)
{
    struct member *m = arg;
    m->why = *err;
    member_wait(m, GRACE_MS, fail_late);
}

int member_act_load(struct member *m, struct err *err)
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
