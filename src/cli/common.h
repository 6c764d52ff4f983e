/* What every subcommand shares: options, connection, results and errors. I/O; main thread.
 *
 * Results go to stdout, everything else to stderr. With --json stdout carries exactly one document,
 * also on error. Exit statuses are those of base/err.h. */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include "base/err.h"
#include "base/json.h"
#include "base/opt.h"
#include "place/words.h"

#include <stdbool.h>

enum { CLI_MAX_OPERANDS = 16, CLI_MAX_OPTS = 40 };

struct cli {
    /* Set by the command. */
    const char *usage;      /* operands and options in one line: "FILE [options]" */
    const char *about;      /* a sentence or two for --help, may be NULL */
    const struct opt *opts; /* own options; --json, --lang and the connection ones are added */
    size_t n_opts;
    size_t min_operands, max_operands;
    bool connects; /* talks to a server: adds --server, --key-file, --state-dir */
    /* Filled by cli_start. */
    const char *name;
    const char *operands[CLI_MAX_OPERANDS];
    size_t n_operands;
    bool json;
    enum words_lang lang; /* of sentences about plans: --lang, else $STOWAGE_LANG, else English */
    const char *server, *key_file, *state_dir;
    char url[256]; /* of the server, when it connects */
};

/* Parses the command line. True: go on. False: *status is the exit status (help shown, or usage
 * error printed). */
bool cli_start(struct cli *c, int argc, char **argv, int *status);

/* Prints the error ("stowage: message", then the hint; or the JSON error document on stdout) and
 * returns its exit status. hint may be NULL or "". */
int cli_fail(const struct cli *c, const struct err *err, const char *hint);
/* The --json result: one document and a newline on stdout; the tree is taken. Returns 0. */
int cli_json(json_t *doc);

/* A client for --server / STOWAGE_URL / what the state folder's `url` says (serve writes it there)
 * / http://127.0.0.1:8080, with the key of --key-file / STOWAGE_KEY / the state folder's admin.key.
 * NULL with err (exit by cli_fail). */
struct client;
struct client *cli_connect(const struct cli *c, struct err *err);
const char *cli_server_url(const struct cli *c);

/* One call with its own client. 0; or -1 with the error printed and *status set. body is taken. */
int cli_call(const struct cli *c, const char *method, const char *path, json_t *body, json_t **out,
             int *status);

/* Fields for display: "" or 0 when absent or of another type. Borrowed. */
const char *cli_str(const json_t *o, const char *key);
uint64_t cli_u64(const json_t *o, const char *key);
double cli_num(const json_t *o, const char *key);

/* The folder for state: `given`, else $STOWAGE_STATE_DIR, else /var/lib/stowage for root, else
 * $XDG_STATE_HOME/stowage or ~/.local/state/stowage. The caller frees it. */
char *cli_state_dir(const char *given);
/* A file that a person wrote, into *d, which keeps `path` by reference; doc_done() in any case. An
 * ERR_INVALID for whatever is wrong with it, its size too. */
struct doc;
int cli_read_doc(const char *path, struct doc *d, struct err *err);
/* Absolute form of a path relative to the working directory; the caller frees it. NULL with err. */
char *cli_absolute(const char *path, struct err *err);
/* "--kv q8_0,q4_0"-like list options and repeated ones become a JSON array of strings. */
json_t *cli_list(const struct opt_list *list);
/* Percent-encodes one path segment into dst; false when it does not fit. */
bool cli_segment(char *dst, size_t cap, const char *name);
/* Asks on the terminal; without one, an error that says to pass --yes. 1 yes, 0 no, -1 err. */
int cli_confirm(const char *question, struct err *err);

#endif
