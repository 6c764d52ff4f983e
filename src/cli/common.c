/* Options, connection, errors and results of every subcommand. */
#include "cli/common.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/client.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_URL "http://127.0.0.1:8080"

enum { MAX_KEY_FILE = 4096 };

static void find_url(struct cli *c);

/* ---- options ---- */

static size_t all_options(struct cli *c, struct opt *opts, const char **lang)
{
    size_t n = 0;
    for (; n < c->n_opts && n < CLI_MAX_OPTS - 5; n++)
        opts[n] = c->opts[n];
    opts[n++] = (struct opt){"json", 0, OPT_FLAG, &c->json, NULL, "one JSON document on stdout"};
    opts[n++] = (struct opt){
        "lang", 0, OPT_STR, lang, "LANG", "en or zh-CN, for what is said of plans ($STOWAGE_LANG)"};
    if (c->connects) {
        opts[n++] = (struct opt){"server", 's',
                                 OPT_STR,  &c->server,
                                 "URL",    "the server ($STOWAGE_URL, STATE/url, " DEFAULT_URL ")"};
        opts[n++] =
            (struct opt){"key-file",   0,      OPT_STR,
                         &c->key_file, "FILE", "file with the key ($STOWAGE_KEY, STATE/admin.key)"};
        opts[n++] = (struct opt){"state-dir",   0,     OPT_STR,
                                 &c->state_dir, "DIR", "where admin.key lies ($STOWAGE_STATE_DIR)"};
    }
    return n;
}

static void print_help(const struct cli *c, const struct opt *opts, size_t n_opts)
{
    buf_auto struct buf out;
    buf_init(&out, 64 << 10);
    buf_addf(&out, "usage: stowage %s%s%s\n", c->name, c->usage[0] ? " " : "", c->usage);
    if (c->about)
        buf_addf(&out, "\n%s\n", c->about);
    buf_adds(&out, "\noptions:\n");
    opt_help(opts, n_opts, &out);
    fwrite(out.p, 1, out.n, stdout);
}

bool cli_start(struct cli *c, int argc, char **argv, int *status)
{
    struct opt opts[CLI_MAX_OPTS];
    struct err err = {0};
    bool help = false;
    c->name = argv[0];
    const char *lang = getenv("STOWAGE_LANG");
    size_t n = all_options(c, opts, &lang);
    /* A usage error must be a document too, so --json is looked for before anything can fail. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            c->json = true;
    int rc =
        opt_parse(opts, n, argc, argv, c->operands, c->max_operands, &c->n_operands, &help, &err);
    if (rc == 0 && help) {
        print_help(c, opts, n);
        *status = 0;
        return false;
    }
    if (rc == 0 && lang && *lang)
        rc = words_lang_parse(lang, &c->lang, &err);
    if (rc == 0 && c->n_operands < c->min_operands)
        rc = err_set(&err, ERR_USAGE, "%s needs %s", c->name, c->usage);
    if (rc == 0) {
        if (c->connects)
            find_url(c);
        return true;
    }
    mem_auto char *hint = mem_printf("stowage %s --help", c->name);
    if (err.code == ERR_INVALID)
        err.code = ERR_USAGE;
    *status = cli_fail(c, &err, hint);
    return false;
}

/* ---- results ---- */

int cli_json(json_t *doc)
{
    mem_auto char *text = json_text(doc);
    json_decref(doc);
    puts(text);
    return 0;
}

int cli_fail(const struct cli *c, const struct err *err, const char *hint)
{
    const struct err_info *info = err_info(err->code);
    bool has_hint = hint && *hint;
    if (c && c->json) {
        json_t *doc = json_object();
        json_t *e = json_put_object(doc, "error");
        json_put_str(e, "code", info->name);
        json_put_str(e, "message", err->msg);
        json_put_str(e, "hint", has_hint ? hint : NULL);
        json_put_object(e, "params");
        cli_json(doc);
    } else {
        fprintf(stderr, "stowage: %s\n", err->msg);
        if (has_hint)
            fprintf(stderr, "hint: %s\n", hint);
    }
    return info->exit;
}

/* ---- connection ---- */

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

const char *cli_server_url(const struct cli *c)
{
    return c->url;
}

char *cli_state_dir(const char *given)
{
    if (given)
        return mem_strdup(given);
    const char *dir = env("STOWAGE_STATE_DIR");
    if (dir)
        return mem_strdup(dir);
    if (geteuid() == 0)
        return mem_strdup("/var/lib/stowage");
    const char *xdg = env("XDG_STATE_HOME");
    if (xdg)
        return mem_printf("%s/stowage", xdg);
    const char *home = env("HOME");
    return mem_printf("%s/.local/state/stowage", home ? home : "");
}

/* A server of this machine may listen elsewhere than by default; it says where in its state folder.
 */
static void find_url(struct cli *c)
{
    const char *url = c->server ? c->server : env("STOWAGE_URL");
    mem_auto char *text = NULL;
    size_t n;
    if (!url) {
        mem_auto char *dir = cli_state_dir(c->state_dir), *path = mem_printf("%s/url", dir);
        if (file_read(path, MAX_KEY_FILE, &text, &n, NULL) == 0) {
            text[strcspn(text, "\r\n")] = 0;
            url = text;
        }
    }
    STR_COPY(c->url, url && *url ? url : DEFAULT_URL);
}

/* The first line of a key file. */
static char *read_key(const char *path, struct err *err)
{
    mem_auto char *text = NULL;
    size_t n;
    if (file_read(path, MAX_KEY_FILE, &text, &n, err))
        return NULL;
    n = strcspn(text, "\r\n");
    if (n == 0)
        return err_null(err, ERR_INVALID, "%.160s holds no key in its first line", path);
    return mem_strndup(text, n);
}

static char *find_key(const struct cli *c, struct err *err)
{
    if (c->key_file)
        return read_key(c->key_file, err);
    const char *key = env("STOWAGE_KEY");
    if (key)
        return mem_strdup(key);
    mem_auto char *dir = cli_state_dir(c->state_dir);
    mem_auto char *path = mem_printf("%s/admin.key", dir);
    if (access(path, F_OK) != 0)
        return err_null(err, ERR_AUTH,
                        "no key: %.120s is not there; pass --key-file FILE or --state-dir DIR, or "
                        "set STOWAGE_KEY",
                        path);
    return read_key(path, err);
}

struct client *cli_connect(const struct cli *c, struct err *err)
{
    mem_auto char *key = find_key(c, err);
    return key ? client_new(NULL, cli_server_url(c), key, err) : NULL;
}

int cli_call(const struct cli *c, const char *method, const char *path, json_t *body, json_t **out,
             int *status)
{
    struct err err = {0};
    char hint[240] = "";
    struct client *client = cli_connect(c, &err);
    int rc = client ? client_do(client, method, path, body, out, hint, &err) : -1;
    client_free(client);
    json_decref(body);
    if (rc)
        *status = cli_fail(c, &err, hint);
    return rc;
}

/* ---- small helpers ---- */

const char *cli_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

uint64_t cli_u64(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

double cli_num(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

int cli_read_doc(const char *path, struct doc *d, struct err *err)
{
    mem_auto char *text = NULL;
    size_t n;
    *d = (struct doc){0};
    struct err e = {0};
    if (file_read(path, JSON_BYTES_MAX, &text, &n, &e)) {
        err_fill(err, e.code == ERR_LIMIT ? ERR_INVALID : e.code, "%s", e.msg);
        return -1;
    }
    return doc_parse(d, path, text, n, err);
}

char *cli_absolute(const char *path, struct err *err)
{
    if (path[0] == '/')
        return mem_strdup(path);
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd))
        return err_null(err, ERR_IO, "working directory: %s", strerror(errno));
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    return mem_printf("%s/%s", strcmp(cwd, "/") ? cwd : "", path);
}

json_t *cli_list(const struct opt_list *list)
{
    json_t *out = json_array();
    for (size_t i = 0; i < list->n; i++)
        for (const char *p = list->items[i]; *p;) {
            size_t n = strcspn(p, ",");
            if (n)
                json_array_append_new(out, json_stringn(p, n));
            p += n + (p[n] == ',');
        }
    return out;
}

bool cli_segment(char *dst, size_t cap, const char *name)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-._~:", *p);
        if (n + (plain ? 1 : 3) >= cap)
            return false;
        if (plain) {
            dst[n++] = (char)*p;
        } else {
            dst[n++] = '%';
            dst[n++] = hex[*p >> 4];
            dst[n++] = hex[*p & 15];
        }
    }
    dst[n] = 0;
    return n > 0;
}

int cli_confirm(const char *question, struct err *err)
{
    if (!isatty(STDIN_FILENO))
        return err_set(err, ERR_USAGE,
                       "this needs a yes and there is no terminal to ask on: pass --yes");
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    char line[16] = "";
    if (!fgets(line, sizeof line, stdin))
        return 0;
    return line[0] == 'y' || line[0] == 'Y';
}
