/* Finding and asking the engine. */
#include "worker/installed.h"

#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/proc.h"
#include "worker/lines.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ASK_TIMEOUT_MS = 20000, BUILD_CAP = 24, SHARES = 600 };

/* Asked one after the other. The limit has no question of its own: more shares than any build takes
 * are refused with the number it was compiled for. */
enum question { ASK_VERSION, ASK_DEVICES, ASK_LIMIT, ASK_COUNT };
static const char *const QUESTIONS[ASK_COUNT] = {"--version", "--list-devices", "-ts"};

struct installed {
    struct loop *loop;
    char *engine_dir;
    const char *const *env;
    struct installed_info info, next; /* next: being asked */
    struct proc *proc;
    struct lines *lines;
    struct loop_timer *timer;
    void (*on_change)(void *arg);
    void *arg;
    enum question question;
};

/* ---- on disk ---- */

static bool runnable(const char *dir, const char *program)
{
    char path[1200];
    struct stat st;
    return str_copyf(path, sizeof path, "%s/%s", dir, program) && stat(path, &st) == 0 &&
           S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool try_dir(const char *dir, struct installed_info *out)
{
    if (!runnable(dir, "llama-server"))
        return false;
    out->found = true;
    STR_COPY(out->bin_dir, dir);
    STR_COPY(out->rpc_program, !runnable(dir, "ggml-rpc-server") && runnable(dir, "rpc-server")
                                   ? "rpc-server"
                                   : "ggml-rpc-server");
    return true;
}

/* The newest of the engines side by side, when none is marked as the current one. */
static bool try_each(const char *engine_dir, struct installed_info *out)
{
    char path[1400];
    struct timespec newest = {0};
    DIR *d = opendir(engine_dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        struct installed_info one = {0};
        if (e->d_name[0] == '.' ||
            !str_copyf(path, sizeof path, "%s/%s/bin", engine_dir, e->d_name) ||
            strlen(path) >= sizeof one.bin_dir || stat(path, &st) != 0 || !try_dir(path, &one))
            continue;
        bool newer = st.st_mtim.tv_sec > newest.tv_sec ||
                     (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec > newest.tv_nsec);
        if (!out->found || newer) {
            newest = st.st_mtim;
            *out = one;
        }
    }
    if (d)
        closedir(d);
    return out->found;
}

bool installed_find(const char *engine_dir, struct installed_info *out)
{
    static const char *const PLACES[] = {"", "/bin", "/current/bin"};
    *out = (struct installed_info){0};
    for (size_t i = 0; i < ARRAY_LEN(PLACES); i++) {
        char dir[1024];
        if (str_copyf(dir, sizeof dir, "%s%s", engine_dir, PLACES[i]) && try_dir(dir, out))
            return true;
    }
    if (try_each(engine_dir, out))
        return true;
    str_copyf(out->reason, sizeof out->reason,
              "no llama-server below %.100s; run: stowage engine install llama.cpp", engine_dir);
    return false;
}

/* ---- what it says ---- */

/* "version: 0.7.0 (build 11669, commit Debian)" or "version: 4567 (3f4fc97f)". */
static void read_version(struct installed_info *out, const char *text)
{
    char build[BUILD_CAP] = "";
    const char *at = strstr(text, "build ");
    if (sscanf(at ? at + 6 : text, "%23[0-9]", build) != 1)
        str_copyf(build, sizeof build, "%.23s", text);
    str_copyf(out->label, sizeof out->label, "llama.cpp b%s", build);
}

void installed_line(struct installed_info *out, const char *line)
{
    char id[16], name[INSTALLED_NAME];
    const char *limit = strstr(line, "system only has ");
    unsigned back_ends = 0;
    if (strncmp(line, "version: ", 9) == 0) {
        read_version(out, line + 9);
    } else if (limit && sscanf(limit, "system only has %u devices", &back_ends) == 1) {
        out->max_devices = back_ends > 1 ? back_ends - 1 : 0; /* as many shares are refused too */
    } else if (sscanf(line, " %15[A-Za-z0-9]: %95[^\n]", id, name) == 2 && line[0] == ' ' &&
               strstr(name, " MiB") && out->n_devices < INSTALLED_MAX_DEVICES) {
        char *paren = strrchr(name, '('); /* "(24268 MiB, 23900 MiB free)" */
        unsigned mib = 0;
        if (paren && sscanf(paren, "(%u MiB", &mib) == 1)
            *paren = '\0';
        for (size_t n = strlen(name); n && name[n - 1] == ' ';)
            name[--n] = '\0';
        STR_COPY(out->devices[out->n_devices].id, id);
        STR_COPY(out->devices[out->n_devices].name, name);
        out->devices[out->n_devices].total_mib = mib;
        out->n_devices++;
    }
}

static const char *backend_of(const struct installed_info *info)
{
    static const char *const NAMES[][2] = {
        {"CUDA", "cuda"}, {"Vulkan", "vulkan"}, {"ROCm", "rocm"}};
    for (size_t k = 0; k < ARRAY_LEN(NAMES); k++)
        for (uint32_t i = 0; i < info->n_devices; i++)
            if (strncmp(info->devices[i].id, NAMES[k][0], strlen(NAMES[k][0])) == 0)
                return NAMES[k][1];
    return "cpu";
}

/* ---- asking ---- */

static void look(void *arg);
static void ask(struct installed *i);

static void again_later(struct installed *i)
{
    i->timer = loop_timer_add(i->loop, INSTALLED_RETRY_MS, look, i);
}

static void on_line(void *arg, const char *line)
{
    struct installed *i = arg;
    installed_line(&i->next, line);
}

static void on_output(void *arg, const char *p, size_t n)
{
    struct installed *i = arg;
    lines_feed(i->lines, p, n, on_line, i);
}

static void give_up(struct installed *i, const char *why)
{
    if (strcmp(i->info.reason, why) != 0)
        log_line(LOG_WARN, "engine.unusable reason=\"%s\" next=\"looked for every %d s\"", why,
                 INSTALLED_RETRY_MS / 1000);
    i->info = (struct installed_info){0};
    STR_COPY(i->info.reason, why);
    again_later(i);
    i->on_change(i->arg);
}

static void accept(struct installed *i)
{
    size_t n = strlen(i->next.label);
    str_copyf(i->next.label + n, sizeof i->next.label - n, " %s", backend_of(&i->next));
    i->info = i->next;
    log_line(LOG_INFO, "engine.found engine=\"%s\" dir=%s devices=%u", i->info.label,
             i->info.bin_dir, i->info.n_devices);
    i->on_change(i->arg);
}

static void on_exit_status(void *arg, int status)
{
    struct installed *i = arg;
    proc_free(STEAL(i->proc));
    loop_timer_del(STEAL(i->timer));
    lines_end(i->lines, on_line, i);
    bool refused = status != 0 && i->question != ASK_LIMIT; /* that one is meant to be refused */
    if (refused || !i->next.label[0]) {
        char how[64], why[200];
        proc_status_text(status, how, sizeof how);
        str_copyf(why, sizeof why, "%.120s/llama-server does not answer %s (%s)", i->next.bin_dir,
                  QUESTIONS[i->question], how);
        give_up(i, why);
    } else if (i->question + 1 < ASK_COUNT) {
        i->question++;
        ask(i);
    } else {
        accept(i);
    }
}

static void on_ask_timeout(void *arg)
{
    struct installed *i = arg;
    i->timer = NULL;
    proc_kill(i->proc, SIGKILL);
}

static void ask(struct installed *i)
{
    char path[1100];
    str_copyf(path, sizeof path, "%s/llama-server", i->next.bin_dir);
    char shares[2 * SHARES];
    for (size_t k = 0; k < sizeof shares; k++)
        shares[k] = k % 2 ? ',' : '1';
    shares[sizeof shares - 1] = '\0';
    const char *argv[] = {path, QUESTIONS[i->question], i->question == ASK_LIMIT ? shares : NULL,
                          NULL};
    struct proc_opts o = {
        .argv = argv, .env = i->env, .on_output = on_output, .on_exit = on_exit_status, .arg = i};
    struct err err = {0};
    i->proc = proc_spawn(i->loop, &o, &err);
    if (!i->proc)
        give_up(i, err.msg);
    else
        i->timer = loop_timer_add(i->loop, ASK_TIMEOUT_MS, on_ask_timeout, i);
}

static void look(void *arg)
{
    struct installed *i = arg;
    i->timer = NULL;
    i->question = ASK_VERSION;
    if (installed_find(i->engine_dir, &i->next))
        ask(i);
    else
        give_up(i, i->next.reason);
}

struct installed *installed_new(struct loop *l, const char *engine_dir, const char *const *env,
                                void (*on_change)(void *arg), void *arg)
{
    struct installed *i = mem_calloc(1, sizeof *i);
    i->loop = l;
    i->engine_dir = mem_strdup(engine_dir);
    i->env = env;
    i->on_change = on_change;
    i->arg = arg;
    i->lines = mem_calloc(1, sizeof *i->lines);
    i->info.looking = true;
    STR_COPY(i->info.reason, "the engine is being looked for");
    i->timer = loop_timer_add(l, 0, look, i);
    return i;
}

const struct installed_info *installed_get(const struct installed *i)
{
    return &i->info;
}

void installed_free(struct installed *i)
{
    if (!i)
        return;
    loop_timer_del(i->timer);
    proc_free(i->proc);
    free(i->lines);
    free(i->engine_dir);
    free(i);
}
