/* `stowage serve` and `stowage worker`: composition of the roles on their loops.
 *
 * serve: one loop carries the HTTP edge, the server and the gateway; the embedded worker has its
 * own thread and loop. Gateway and worker reach the server through its address like any remote one.
 * On a signal the worker stops its engines first, while the server still takes its reports. */
#include "main.h"

#include "base/mem.h"
#include "base/num.h"
#include "cli/common.h"
#include "gateway/gateway.h"
#include "net/http.h"
#include "net/tunnel.h"
#include "os/file.h"
#include "os/loop.h"
#include "server/server.h"
#include "webui/webui.h"
#include "worker/worker.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
/* TUNNEL_DEFAULT_PORT as text. */
#define TUNNEL_PORT "10151"
_Static_assert(TUNNEL_DEFAULT_PORT == 10151, "keep TUNNEL_PORT equal");

/* ---- options of both subcommands ---- */

struct worker_flags {
    const char *name, *devices, *engine_dir, *tunnel_listen, *advertise;
    uint64_t ram_limit, threads;
    struct opt_list engine_env, labels;
};

#define WORKER_OPTIONS(f)                                                                          \
    {"name", 0, OPT_STR, &(f)->name, "NAME", "name of this node (host name)"},                     \
        {"devices",                                                                                \
         0,                                                                                        \
         OPT_STR,                                                                                  \
         &(f)->devices,                                                                            \
         "auto|none|fake:FILE",                                                                    \
         "where the GPUs come from (auto)"},                                                       \
        {"engine-dir", 0, OPT_STR, &(f)->engine_dir, "DIR", "installed engines (STATE/engines)"},  \
        {"ram-limit",     0,      OPT_BYTES,                                                       \
         &(f)->ram_limit, "SIZE", "RAM that models may use (all but 512 MiB)"},                    \
        {"tunnel-listen",     0,      OPT_STR,                                                     \
         &(f)->tunnel_listen, "ADDR", "where other nodes and the gateway reach our engines"},      \
        {"advertise", 0, OPT_STR, &(f)->advertise, "HOST", "how others reach this host"},          \
        {"label", 0, OPT_LIST, &(f)->labels, "K=V", "label of this node, for --labels of plans"},  \
        {"engine-env", 0, OPT_LIST, &(f)->engine_env, "K=V", "environment of the engines"},        \
    {                                                                                              \
        "threads", 0, OPT_U64, &(f)->threads, "N", "CPU threads of an engine", 1, 1024             \
    }

/* A worker's own folder, engine folder and environment, from flags; freed with worker_opts_done. */
static int make_worker_opts(const struct worker_flags *f, const char *state, const char *tunnel,
                            struct worker_opts *o, struct err *err)
{
    for (size_t i = 0; i < f->engine_env.n; i++)
        if (!strchr(f->engine_env.items[i], '=') || f->engine_env.items[i][0] == '=')
            return err_set(err, ERR_USAGE, "--engine-env '%.80s' is not NAME=VALUE",
                           f->engine_env.items[i]);
    const char **env = mem_calloc(f->engine_env.n + 1, sizeof *env);
    for (size_t i = 0; i < f->engine_env.n; i++)
        env[i] = f->engine_env.items[i];
    const char **labels = mem_calloc(f->labels.n + 1, sizeof *labels);
    for (size_t i = 0; i < f->labels.n; i++)
        labels[i] = f->labels.items[i];
    o->labels = labels;
    o->state_dir = mem_printf("%s/worker", state);
    o->name = f->name;
    o->tunnel_listen = f->tunnel_listen ? f->tunnel_listen : tunnel;
    o->advertise = f->advertise;
    o->devices = f->devices ? f->devices : "auto";
    o->engine_dir = f->engine_dir ? mem_strdup(f->engine_dir) : mem_printf("%s/engines", state);
    o->ram_limit = f->ram_limit;
    o->engine_env = env;
    o->threads = (uint32_t)f->threads;
    return 0;
}

static void worker_opts_done(struct worker_opts *o)
{
    free((char *)o->state_dir);
    free((char *)o->engine_dir);
    free((const char **)o->engine_env);
    free((const char **)o->labels);
}

/* ---- a worker with its loop ---- */

struct worker_run {
    struct worker_opts opts;
    struct loop *loop, *owner; /* owner: the main loop, or NULL when it is ours */
    struct worker *worker;
    pthread_t thread;
    bool threaded;
};

static void worker_stopped(void *arg)
{
    struct worker_run *w = arg;
    loop_stop(w->loop);
}

static void worker_stop_now(void *arg)
{
    struct worker_run *w = arg;
    worker_stop(w->worker, worker_stopped, w);
}

static void owner_stop(void *arg)
{
    loop_stop(arg);
}

static void *worker_main(void *arg)
{
    struct worker_run *w = arg;
    struct err err = {0};
    if (loop_run(w->loop, &err))
        log_line(LOG_ERROR, "worker loop ended error=\"%s\"", err.msg);
    worker_free(w->worker);
    w->worker = NULL;
    loop_post(w->owner, owner_stop, w->owner);
    return NULL;
}

/* ---- serve ---- */

struct serve {
    struct loop *loop;
    struct http_server *http;
    struct server *server;
    struct gateway *gateway;
    struct worker_run embedded;
    bool stopping;
    /* options */
    const char *listen, *state_dir, *store, *ready_file;
    bool insecure, no_worker, print_link;
    char *state, *url, *public_url;
};

static bool path_under(struct http_req *r, struct str prefix)
{
    return str_starts(http_req_path(r), prefix);
}

static void dispatch(void *ctx, struct http_req *r)
{
    struct serve *s = ctx;
    if (path_under(r, STR("/api/v1/"))) {
        server_handle(s->server, r);
    } else if (path_under(r, STR("/v1/"))) {
        gateway_handle(s->gateway, r);
    } else if (!webui_handle(r)) {
        struct err err = {0};
        struct str path = http_req_path(r);
        err_fill(&err, ERR_NOT_FOUND, "nothing is at %.*s", (int)(path.n > 120 ? 120 : path.n),
                 path.p);
        http_reply_err(r, &err, "the control API is at /api/v1/, the models at /v1/");
    }
}

static void on_signal(void *arg, int signo)
{
    struct serve *s = arg;
    if (s->stopping) {
        log_line(LOG_WARN, "second signal=%d: exit at once", signo);
        _exit(130);
    }
    s->stopping = true;
    log_line(LOG_INFO, "stopping signal=%d", signo);
    if (s->embedded.threaded)
        loop_post(s->embedded.loop, worker_stop_now, &s->embedded);
    else
        loop_stop(s->loop);
}

static bool is_loopback(const char *addr)
{
    return strncmp(addr, "127.", 4) == 0 || strncmp(addr, "[::1]:", 6) == 0 ||
           strncmp(addr, "localhost:", 10) == 0;
}

static int check_listen(const struct serve *s, struct err *err)
{
    if (!strrchr(s->listen, ':'))
        return err_set(err, ERR_USAGE, "--listen '%.60s' is not HOST:PORT", s->listen);
    if (is_loopback(s->listen) || s->insecure)
        return 0;
    return err_set(
        err, ERR_USAGE,
        "--listen %.60s would carry keys unencrypted: TLS is not built yet. On a network "
        "you trust add --insecure-http, else listen on 127.0.0.1 behind a TLS proxy",
        s->listen);
}

/* The address by which roles in this process reach the server. */
static char *local_url(const char *addr)
{
    const char *colon = strrchr(addr, ':');
    if (strncmp(addr, "0.0.0.0:", 8) == 0)
        return mem_printf("http://127.0.0.1%s", colon);
    if (strncmp(addr, "[::]:", 5) == 0)
        return mem_printf("http://[::1]%s", colon);
    return mem_printf("http://%s", addr);
}

/* An address of this machine that others may know; false when there is only loopback. */
static bool own_address(char *dst, size_t cap)
{
    struct ifaddrs *all, *i;
    bool found = false;
    if (getifaddrs(&all))
        return false;
    for (i = all; i && !found; i = i->ifa_next)
        found = i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
                !(i->ifa_flags & IFF_LOOPBACK) && (i->ifa_flags & IFF_UP) &&
                getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), dst, (socklen_t)cap, NULL, 0,
                            NI_NUMERICHOST) == 0;
    freeifaddrs(all);
    return found;
}

/* The address that other machines type: in join lines and in the state folder. */
static char *public_url(const char *addr, const char *advertise)
{
    char host[64];
    const char *colon = strrchr(addr, ':');
    bool any = strncmp(addr, "0.0.0.0:", 8) == 0 || strncmp(addr, "[::]:", 5) == 0;
    if (any && advertise)
        return mem_printf("http://%s%s", advertise, colon);
    if (any && own_address(host, sizeof host))
        return mem_printf("http://%s%s", host, colon);
    return local_url(addr);
}

static int start_edge(struct serve *s, const char *advertise, struct err *err)
{
    s->http = http_server_new(
        s->loop, &(struct http_server_opts){.addr = s->listen, .handler = dispatch, .ctx = s}, err);
    if (!s->http)
        return -1;
    s->url = local_url(http_server_addr(s->http));
    s->public_url = public_url(http_server_addr(s->http), advertise);
    s->server = server_new(
        &(struct server_opts){
            .loop = s->loop, .state_dir = s->state, .store_driver = s->store, .url = s->public_url},
        err);
    if (!s->server)
        return -1;
    char key[96];
    server_gateway_key(s->server, key);
    s->gateway =
        gateway_new(&(struct gateway_opts){.loop = s->loop, .server_url = s->url, .key = key}, err);
    return s->gateway ? 0 : -1;
}

static int embedded_opts(struct serve *s, const struct worker_flags *f, struct err *err)
{
    const char *tunnel = is_loopback(s->listen) ? "127.0.0.1:" TUNNEL_PORT : "0.0.0.0:" TUNNEL_PORT;
    return make_worker_opts(f, s->state, tunnel, &s->embedded.opts, err);
}

static int start_embedded(struct serve *s, struct err *err)
{
    struct worker_run *w = &s->embedded;
    char token[96];
    server_local_token(s->server, token);
    w->owner = s->loop;
    w->loop = loop_new(err);
    if (!w->loop)
        return -1;
    w->opts.loop = w->loop;
    w->opts.server_url = s->url;
    w->opts.token = token;
    w->worker = worker_new(&w->opts, err);
    if (!w->worker)
        return -1;
    if (pthread_create(&w->thread, NULL, worker_main, w))
        return err_set(err, ERR_IO, "cannot start the worker's thread");
    w->threaded = true;
    return 0;
}

static void announce(const struct serve *s)
{
    printf("stowage serves at   %s\n", s->public_url);
    printf("  UI and API        %s  (OpenAI API: %s/v1)\n", s->public_url, s->public_url);
    if (s->print_link)
        printf("  UI, signed in     %s/#key=%s\n", s->public_url, server_admin_key(s->server));
    printf("  admin key         %s/admin.key\n", s->state);
    printf("  next              stowage deploy FILE.gguf    stowage ps    stowage nodes\n");
    fflush(stdout);
}

/* For commands on this machine: where the server is, beside the key. */
static int write_url(const struct serve *s, struct err *err)
{
    mem_auto char *path = mem_printf("%s/url", s->state), *line = mem_printf("%s\n", s->url);
    return file_write(path, line, strlen(line), 0644, err);
}

static int write_ready(const struct serve *s, struct err *err)
{
    if (!s->ready_file)
        return 0;
    json_auto_t *doc = json_object();
    mem_auto char *key = mem_printf("%s/admin.key", s->state);
    json_put_str(doc, "url", s->url);
    json_put_str(doc, "admin_key_file", key);
    json_put_u64(doc, "pid", (uint64_t)getpid());
    mem_auto char *text = json_text(doc);
    return file_write(s->ready_file, text, strlen(text), 0600, err);
}

static void serve_done(struct serve *s)
{
    struct worker_run *w = &s->embedded;
    if (w->threaded)
        pthread_join(w->thread, NULL);
    worker_free(w->worker);
    loop_free(w->loop);
    worker_opts_done(&w->opts);
    http_server_free(s->http); /* first: requests in flight belong to the roles below */
    gateway_free(s->gateway);
    server_free(s->server);
    loop_free(s->loop);
    free(s->state);
    free(s->url);
    free(s->public_url);
}

static int serve_run(struct serve *s, const struct worker_flags *f, struct err *err)
{
    if (check_listen(s, err) || embedded_opts(s, f, err))
        return -1;
    os_raise_fd_limit();
    s->loop = loop_new(err);
    if (!s->loop || loop_signals(s->loop, on_signal, s, err) || start_edge(s, f->advertise, err))
        return -1;
    if (!s->no_worker && start_embedded(s, err)) {
        err_wrap(err, "worker of this machine");
        return -1;
    }
    announce(s);
    int rc = write_url(s, err);
    if (rc == 0)
        rc = write_ready(s, err);
    if (rc == 0)
        return loop_run(s->loop, err);
    on_signal(s, 0);
    loop_run(s->loop, NULL);
    return rc;
}

int main_serve(int argc, char **argv)
{
    struct serve s = {.listen = "127.0.0.1:8080", .store = "sqlite"};
    struct worker_flags f = {0};
    const struct opt opts[] = {
        {"listen", 0, OPT_STR, &s.listen, "ADDR", "address of UI and APIs (127.0.0.1:8080)"},
        {"insecure-http", 0, OPT_FLAG, &s.insecure, NULL, "allow plain HTTP beyond this machine"},
        {"state-dir", 0, OPT_STR, &s.state_dir, "DIR", "database, keys ($STOWAGE_STATE_DIR)"},
        {"store", 0, OPT_STR, &s.store, "sqlite|memory", "where state is kept (sqlite)"},
        {"no-worker", 0, OPT_FLAG, &s.no_worker, NULL, "do not run models on this machine"},
        {"ready-file", 0, OPT_STR, &s.ready_file, "FILE", "written when everything listens"},
        {"print-ui-link", 0, OPT_FLAG, &s.print_link, NULL, "print a UI link that holds the key"},
        WORKER_OPTIONS(&f),
    };
    struct cli c = {.usage = "[options]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "Runs the server, the gateway and a worker on this machine."};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct err err = {0};
    s.state = cli_state_dir(s.state_dir);
    int rc = serve_run(&s, &f, &err);
    serve_done(&s);
    return rc ? cli_fail(&c, &err, NULL) : 0;
}

/* ---- worker ---- */

struct lone_worker {
    struct worker_run run;
    bool stopping;
    struct err refused; /* the server will never take us */
    const char *join, *token, *token_file, *state_dir;
};

static void on_worker_signal(void *arg, int signo)
{
    struct lone_worker *w = arg;
    if (w->stopping) {
        log_line(LOG_WARN, "second signal=%d: exit at once", signo);
        _exit(130);
    }
    w->stopping = true;
    log_line(LOG_INFO, "stopping signal=%d", signo);
    worker_stop_now(&w->run);
}

static void on_refused(void *arg, const struct err *why)
{
    struct lone_worker *w = arg;
    w->refused = *why;
    loop_stop(w->run.loop);
}

/* --token, --token-file, STOWAGE_TOKEN, or none: a node that has joined before needs none. */
static int find_token(const struct lone_worker *w, char **out, struct err *err)
{
    const char *env = getenv("STOWAGE_TOKEN");
    *out = mem_strdup(w->token ? w->token : env && *env ? env : NULL);
    if (!w->token_file)
        return 0;
    size_t n;
    free(*out);
    *out = NULL;
    if (file_read(w->token_file, 4096, out, &n, err))
        return -1;
    (*out)[strcspn(*out, "\r\n")] = 0;
    return 0;
}

static int worker_run_alone(struct lone_worker *w, const struct worker_flags *f, struct err *err)
{
    mem_auto char *state = cli_state_dir(w->state_dir), *token = NULL;
    if (!w->join)
        return err_set(err, ERR_USAGE, "--join URL is needed: the address of the server");
    if (find_token(w, &token, err) ||
        make_worker_opts(f, state, "0.0.0.0:" TUNNEL_PORT, &w->run.opts, err))
        return -1;
    os_raise_fd_limit();
    w->run.loop = loop_new(err);
    if (!w->run.loop || loop_signals(w->run.loop, on_worker_signal, w, err))
        return -1;
    w->run.opts.loop = w->run.loop;
    w->run.opts.server_url = w->join;
    w->run.opts.token = token;
    w->run.opts.on_refused = on_refused;
    w->run.opts.arg = w;
    w->run.worker = worker_new(&w->run.opts, err);
    if (!w->run.worker || loop_run(w->run.loop, err))
        return -1;
    if (w->refused.code != ERR_NONE)
        return err_set(err, w->refused.code, "%s", w->refused.msg);
    return 0;
}

int main_worker(int argc, char **argv)
{
    struct lone_worker w = {0};
    struct worker_flags f = {0};
    const struct opt opts[] = {
        {"join", 0, OPT_STR, &w.join, "URL", "address of the server"},
        {"token", 0, OPT_STR, &w.token, "TOKEN", "join token ($STOWAGE_TOKEN)"},
        {"token-file", 0, OPT_STR, &w.token_file, "FILE", "file with the join token"},
        {"state-dir", 0, OPT_STR, &w.state_dir, "DIR", "identity and logs ($STOWAGE_STATE_DIR)"},
        WORKER_OPTIONS(&f),
    };
    struct cli c = {.usage = "--join URL [--token TOKEN] [options]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "Runs models on this machine for the server at URL."};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct err err = {0};
    int rc = worker_run_alone(&w, &f, &err);
    worker_free(w.run.worker);
    loop_free(w.run.loop);
    worker_opts_done(&w.run.opts);
    return rc ? cli_fail(&c, &err, NULL) : 0;
}
