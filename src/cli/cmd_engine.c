/* `stowage engine`: installs and lists inference engines.
 *
 * Three ways to llama.cpp, one result: a folder with bin/llama-server and bin/ggml-rpc-server that
 * the worker finds under DIR/current. From Debian's packages (a script of ours, embedded), from an
 * archive by URL and checksum, or from a build that is on this machine already. */
#include "cli/cli.h"

#include "base/mem.h"
#include "base/num.h"
#include "cli/common.h"
#include "cli/engine_run.h"
#include "cli/engine_store.h"
#include "net/download.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const char ENGINE_DEBIAN_SCRIPT[]; /* packaging/engine/llama.cpp-debian.sh */

enum { UNPACK_MS = 20 * 60 * 1000, VERSION_MS = 30 * 1000 };
#define OUTPUT_MAX (1 << 20)

/* What each way needs on disk while it works, with room to spare. */
#define NEED_CPU (320 * MIB)
#define NEED_VULKAN (900 * MIB)
#define NEED_ARCHIVE (1 * GIB)

struct engine_cmd {
    struct cli cli;
    const char *backend, *dir_option, *url, *sha256, *path;
    bool upgrade;
    char *dir;               /* absolute */
    struct engine_entry new; /* what is being installed */
};

static const char HINT[] =
    "another way: --path FOLDER for a llama.cpp that is here already, or --url "
    "ARCHIVE --sha256 HEX for a release";

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* "0.7.0-b11669" of "version: 0.7.0 (build 11669, commit Debian)"; also the older "version: 4567
 * (abcdef)". */
static int parse_version(struct str text, char *dst, size_t cap, struct err *err)
{
    static const char WORD[] = "version:", BUILD[] = "(build ";
    const char *p = memmem(text.p, text.n, WORD, strlen(WORD));
    if (!p)
        return err_set(err, ERR_CORRUPT, "llama-server --version says no version");
    mem_auto char *line = mem_strndup(p, (size_t)(text.p + text.n - p));
    line[strcspn(line, "\n")] = 0;
    const char *v = line + strlen(WORD);
    v += strspn(v, " ");
    const char *build = strstr(v, BUILD);
    str_copyf(dst, cap, "%.*s", (int)strcspn(v, " "), v);
    if (build) {
        build += strlen(BUILD);
        size_t n = strlen(dst);
        str_copyf(dst + n, cap - n, "-b%.*s", (int)strspn(build, "0123456789"), build);
    }
    for (char *c = dst; *c; c++) /* it becomes a part of a path */
        if (!strchr("0123456789.+~-_", *c) && !(*c >= 'a' && *c <= 'z') &&
            !(*c >= 'A' && *c <= 'Z'))
            *c = '_';
    return dst[0] ? 0 : err_set(err, ERR_CORRUPT, "llama-server --version says no version");
}

/* Runs it: the one proof that an engine is usable here. */
static int ask_version(const char *bin, char *dst, size_t cap, struct err *err)
{
    mem_auto char *server = mem_printf("%s/llama-server", bin);
    buf_auto struct buf out;
    buf_init(&out, OUTPUT_MAX);
    const char *const argv[] = {server, "--version", NULL};
    if (engine_run(&(struct engine_run_opts){argv, false, VERSION_MS}, &out, err)) {
        err_wrap(err, "llama-server does not run here");
        return -1;
    }
    return parse_version(buf_str(&out), dst, cap, err);
}

static int check_space(const struct engine_cmd *e, uint64_t need, struct err *err)
{
    uint64_t have;
    char a[24], b[24];
    if (file_disk_free(e->dir, &have, err))
        return -1;
    if (have >= need)
        return 0;
    return err_set(err, ERR_IO, "%.120s has %s free; installing needs %s: make room or say --dir",
                   e->dir, num_fmt_gib(a, sizeof a, have), num_fmt_gib(b, sizeof b, need));
}

/* ---- Debian's packages ---- */

static int from_debian(struct engine_cmd *e, const char *stage, struct err *err)
{
    if (check_space(e, strcmp(e->backend, "cpu") == 0 ? NEED_CPU : NEED_VULKAN, err))
        return -1;
    fprintf(stderr, "installing llama.cpp (%s) from Debian's packages into %s\n", e->backend,
            e->dir);
    buf_auto struct buf out;
    buf_init(&out, OUTPUT_MAX);
    const char *const argv[] = {
        "sh", "-c", ENGINE_DEBIAN_SCRIPT, "llama.cpp-debian.sh", stage, e->backend, NULL};
    return engine_run(&(struct engine_run_opts){argv, true, UNPACK_MS}, &out, err);
}

/* ---- a build that is here, or was unpacked ---- */

/* A program that starts `target` from its own folder, where its libraries are. */
static int write_wrapper(const char *stage, const char *name, const char *target, struct err *err)
{
    if (strpbrk(target, "'\n"))
        return err_set(err, ERR_INVALID, "the path %.150s has a quote or a line break in it",
                       target);
    mem_auto char *path = mem_printf("%s/bin/%s", stage, name);
    mem_auto char *text = mem_printf(
        "#!/bin/sh\n"
        "home=$(readlink -f \"$0\") || exit 127\n"
        "home=${home%%/bin/*}\n"
        "program='%s'\n"
        "case $program in /*) ;; *) program=$home/$program ;; esac\n"
        "folder=${program%%/*}\n"
        "export LD_LIBRARY_PATH=\"$folder:$folder/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n"
        "[ -z \"${LLAMA_PRELOAD:-}\" ] || export LD_PRELOAD=\"$LLAMA_PRELOAD\"\n"
        "exec \"$program\" \"$@\"\n",
        target);
    return file_write(path, text, strlen(text), 0755, err);
}

/* Upstream calls the helper rpc-server, Debian ggml-rpc-server. */
static int wrap_folder(const char *stage, const char *folder, const char *as, struct err *err)
{
    static const char *const RPC[] = {"ggml-rpc-server", "rpc-server"};
    mem_auto char *bin = mem_printf("%s/bin", stage), *server = mem_printf("%s/llama-server", as);
    if (file_mkdirs(bin, 0755, err) || write_wrapper(stage, "llama-server", server, err))
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(RPC); i++) {
        mem_auto char *here = mem_printf("%s/%s", folder, RPC[i]);
        mem_auto char *target = mem_printf("%s/%s", as, RPC[i]);
        if (is_program(here))
            return write_wrapper(stage, "ggml-rpc-server", target, err);
    }
    fprintf(stderr,
            "note: there is no ggml-rpc-server in %s: this engine cannot take part in a model "
            "that spans machines\n",
            folder);
    return 0;
}

static int from_path(struct engine_cmd *e, const char *stage, struct err *err)
{
    char real[4096];
    struct stat st;
    if (!realpath(e->path, real))
        return err_set(err, ERR_NOT_FOUND, "--path %.120s: %s", e->path, strerror(errno));
    if (stat(real, &st) == 0 && !S_ISDIR(st.st_mode)) { /* the program itself */
        if (strcmp(strrchr(real, '/'), "/llama-server") != 0)
            return err_set(err, ERR_INVALID, "--path %.120s is neither a folder nor a llama-server",
                           real);
        *strrchr(real, '/') = 0;
    }
    static const char *const PLACES[] = {"", "/bin", "/build/bin"};
    for (size_t i = 0; i < ARRAY_LEN(PLACES); i++) {
        mem_auto char *folder = mem_printf("%s%s", real, PLACES[i]);
        mem_auto char *server = mem_printf("%s/llama-server", folder);
        if (is_program(server)) {
            STR_COPY(e->new.source, folder);
            return wrap_folder(stage, folder, folder, err);
        }
    }
    return err_set(err, ERR_NOT_FOUND, "no program llama-server in %.120s, its bin or build/bin",
                   real);
}

/* ---- an archive ---- */

static bool show_progress(void *arg, uint64_t have, uint64_t total)
{
    char a[24], b[24];
    (void)arg;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r  downloaded %s of %s ", num_fmt_gib(a, sizeof a, have),
                total ? num_fmt_gib(b, sizeof b, total) : "?");
    return true;
}

/* The shortest line: the program nearest to the archive's root. */
static struct str shortest(struct str text)
{
    struct str best = {0};
    for (size_t i = 0; i < text.n;) {
        const char *end = memchr(text.p + i, '\n', text.n - i);
        struct str line = {text.p + i, end ? (size_t)(end - text.p) - i : text.n - i};
        if (line.n && (!best.n || line.n < best.n))
            best = line;
        i += line.n + 1;
    }
    return best;
}

/* The folder that holds llama-server, by the system's find: archives nest as they like. The caller
 * frees it. */
static char *find_server(const char *root, struct err *err)
{
    buf_auto struct buf out;
    buf_init(&out, OUTPUT_MAX);
    const char *const argv[] = {"find",  root,           "-maxdepth", "6",    "-type", "f",
                                "-name", "llama-server", "-perm",     "-u+x", NULL};
    if (engine_run(&(struct engine_run_opts){argv, false, VERSION_MS}, &out, err))
        return NULL;
    struct str best = shortest(buf_str(&out));
    if (!best.n)
        return err_null(err, ERR_NOT_FOUND, "the archive holds no program llama-server");
    char *path = mem_strndup(best.p, best.n);
    *strrchr(path, '/') = 0;
    return path;
}

static int unpack(const char *archive, const char *root, struct err *err)
{
    buf_auto struct buf out;
    buf_init(&out, OUTPUT_MAX);
    const char *const argv[] = {"tar", "-xf", archive, "-C", root, "--no-same-owner", NULL};
    if (engine_run(&(struct engine_run_opts){argv, false, UNPACK_MS}, &out, err)) {
        err_wrap(err, "unpacking the archive");
        return -1;
    }
    return 0;
}

/* What a failed download left is for the next try, unless it is nothing. Returns -1. */
static int drop_empty(const char *archive)
{
    struct stat st;
    mem_auto char *part = mem_printf("%s.part", archive);
    if (stat(part, &st) == 0 && st.st_size == 0)
        unlink(part);
    return -1;
}

static int from_url(struct engine_cmd *e, const char *stage, struct err *err)
{
    if (!e->sha256)
        return err_set(err, ERR_USAGE, "--url needs --sha256: the checksum its publisher states");
    if (strlen(e->sha256) != 64 || strspn(e->sha256, "0123456789abcdefABCDEF") != 64)
        return err_set(err, ERR_USAGE, "--sha256 %.80s: expected 64 hex digits", e->sha256);
    if (check_space(e, NEED_ARCHIVE, err))
        return -1;
    fprintf(stderr, "downloading %s\n", e->url);
    /* Named by its checksum: what came before a cut is there for the next try. */
    mem_auto char *archive = mem_printf("%s/.download-%.16s", e->dir, e->sha256);
    mem_auto char *root = mem_printf("%s/root", stage);
    if (net_download(
            &(struct download_opts){
                .url = e->url, .dest = archive, .sha256 = e->sha256, .progress = show_progress},
            err))
        return drop_empty(archive);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    mem_auto char *found = NULL;
    int rc = file_mkdirs(root, 0755, err);
    if (rc == 0)
        rc = unpack(archive, root, err);
    unlink(archive);
    if (rc == 0)
        found = find_server(root, err);
    /* Relative to the engine's folder, which will be renamed. */
    rc = found ? wrap_folder(stage, found, found + strlen(stage) + 1, err) : -1;
    STR_COPY(e->new.source, e->url);
    STR_COPY(e->new.sha256, e->sha256);
    return rc;
}

/* ---- install ---- */

static bool same_origin(const struct engine_cmd *e, const struct engine_entry *x)
{
    if (e->url)
        return e->sha256 && strcasecmp(x->sha256, e->sha256) == 0;
    return !e->path && strcmp(x->source, "debian") == 0 && strcmp(x->backend, e->backend) == 0;
}

/* An engine of this origin that is there and runs: made the current one. 1 found, 0 not, -1 err. */
static int reuse(struct engine_cmd *e, struct err *err)
{
    struct engine_entry *items;
    size_t n;
    int found = 0;
    if (engine_store_list(e->dir, &items, &n, err))
        return -1;
    for (size_t i = n; i > 0 && !found && !e->upgrade; i--) {
        const struct engine_entry *x = &items[i - 1];
        mem_auto char *bin = mem_printf("%s/%s/bin", e->dir, x->name);
        char version[64];
        if (!same_origin(e, x) || ask_version(bin, version, sizeof version, NULL))
            continue;
        found = 1;
        e->new = *x;
        if (!x->current && engine_store_use(e->dir, x->name, err))
            found = -1;
    }
    free(items);
    return found;
}

static int fill_stage(struct engine_cmd *e, const char *stage, struct err *err)
{
    if (e->url)
        return from_url(e, stage, err);
    if (e->path)
        return from_path(e, stage, err);
    STR_COPY(e->new.source, "debian");
    return from_debian(e, stage, err);
}

static int install_new(struct engine_cmd *e, struct err *err)
{
    mem_auto char *stage = engine_store_stage(e->dir, err);
    if (!stage)
        return -1;
    mem_auto char *bin = mem_printf("%s/bin", stage);
    bool own = e->url || e->path;
    STR_COPY(e->new.backend, own ? "own" : e->backend);
    int rc = fill_stage(e, stage, err);
    if (rc == 0)
        rc = ask_version(bin, e->new.version, sizeof e->new.version, err);
    if (rc == 0) {
        str_copyf(e->new.name, sizeof e->new.name, "llama.cpp-%s%s%s", e->new.version,
                  own || strcmp(e->backend, "cpu") != 0 ? "-" : "",
                  own                              ? "own"
                  : strcmp(e->backend, "cpu") != 0 ? e->backend
                                                   : "");
        rc = engine_store_commit(e->dir, stage, &e->new, err);
    }
    if (rc)
        file_remove_tree(stage, NULL);
    return rc;
}

static int check_install(const struct engine_cmd *e, struct err *err)
{
    const struct cli *c = &e->cli;
    if (c->n_operands > 1 && strcmp(c->operands[1], "llama.cpp") != 0)
        return err_set(err, ERR_USAGE, "no engine '%.60s': llama.cpp is the one there is",
                       c->operands[1]);
    if (e->url && e->path)
        return err_set(err, ERR_USAGE, "--url and --path exclude each other");
    if (strcmp(e->backend, "cpu") != 0 && strcmp(e->backend, "vulkan") != 0)
        return err_set(err, ERR_USAGE,
                       "--backend %.40s: Debian has cpu and vulkan; for another, --url "
                       "or --path",
                       e->backend);
    return 0;
}

static int do_install(struct engine_cmd *e)
{
    struct err err = {0};
    if (check_install(e, &err))
        return cli_fail(&e->cli, &err, NULL);
    fd_auto int lock = engine_store_lock(e->dir, &err);
    int found = lock < 0 ? -1 : reuse(e, &err);
    if (found < 0 || (found == 0 && install_new(e, &err)))
        return cli_fail(&e->cli, &err, !e->url && !e->path ? HINT : NULL);
    if (e->cli.json) {
        json_t *doc = json_object();
        json_put_str(doc, "name", e->new.name);
        json_put_str(doc, "version", e->new.version);
        json_put_str(doc, "backend", e->new.backend);
        json_put_str(doc, "dir", e->dir);
        json_put_bool(doc, "installed_now", found == 0);
        return cli_json(doc);
    }
    printf("%s %s in %s\n", e->new.name, found ? "is there already" : "installed", e->dir);
    return 0;
}

/* ---- list ---- */

static int do_list(struct engine_cmd *e)
{
    struct err err = {0};
    struct engine_entry *items;
    size_t n;
    if (engine_store_list(e->dir, &items, &n, &err))
        return cli_fail(&e->cli, &err, NULL);
    json_t *doc = json_object(), *list = json_put_array(doc, "items");
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_add_object(list);
        json_put_str(o, "name", items[i].name);
        json_put_str(o, "version", items[i].version);
        json_put_str(o, "backend", items[i].backend);
        json_put_str(o, "source", items[i].source);
        json_put_bool(o, "current", items[i].current);
        if (!e->cli.json)
            printf("%s %-32s %-8s %s\n", items[i].current ? "*" : " ", items[i].name,
                   items[i].backend, items[i].source);
    }
    free(items);
    if (e->cli.json)
        return cli_json(doc);
    json_decref(doc);
    if (n == 0)
        printf("no engine in %s: stowage engine install llama.cpp\n", e->dir);
    return 0;
}

/* The folder, absolute and without a slash at its end. */
static int find_dir(struct engine_cmd *e, struct err *err)
{
    mem_auto char *state = cli_state_dir(e->cli.state_dir);
    mem_auto char *dir =
        e->dir_option ? mem_strdup(e->dir_option) : mem_printf("%s/engines", state);
    e->dir = cli_absolute(dir, err);
    if (!e->dir)
        return -1;
    size_t n = strlen(e->dir);
    while (n > 1 && e->dir[n - 1] == '/')
        e->dir[--n] = 0;
    return 0;
}

int cmd_engine(int argc, char **argv)
{
    struct engine_cmd e = {.backend = "cpu"};
    const struct opt opts[] = {
        {"backend", 0, OPT_STR, &e.backend, "cpu|vulkan", "of Debian's packages (cpu)"},
        {"dir", 0, OPT_STR, &e.dir_option, "DIR", "where engines live (STATE/engines)"},
        {"state-dir", 0, OPT_STR, &e.cli.state_dir, "DIR", "STATE ($STOWAGE_STATE_DIR)"},
        {"url", 0, OPT_STR, &e.url, "URL", "a release archive (tar)"},
        {"sha256", 0, OPT_STR, &e.sha256, "HEX", "its checksum"},
        {"path", 0, OPT_STR, &e.path, "FOLDER", "a llama.cpp that is on this machine already"},
        {"upgrade", 0, OPT_FLAG, &e.upgrade, NULL, "install anew even when it is there"},
    };
    e.cli = (struct cli){
        .usage = "install|list [llama.cpp] [options]",
        .about = "Installs the inference engine without root, or lists what is installed.",
        .opts = opts,
        .n_opts = ARRAY_LEN(opts),
        .min_operands = 1,
        .max_operands = 2};
    struct err err = {0};
    int status;
    if (!cli_start(&e.cli, argc, argv, &status))
        return status;
    if (find_dir(&e, &err))
        status = cli_fail(&e.cli, &err, NULL);
    else if (strcmp(e.cli.operands[0], "install") == 0)
        status = do_install(&e);
    else if (strcmp(e.cli.operands[0], "list") == 0)
        status = do_list(&e);
    else {
        err_fill(&err, ERR_USAGE, "no such thing as 'engine %.40s'", e.cli.operands[0]);
        status = cli_fail(&e.cli, &err, "stowage engine install llama.cpp, or stowage engine list");
    }
    free(e.dir);
    return status;
}
