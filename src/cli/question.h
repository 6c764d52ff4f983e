/* Questions about placement (place/ask.h) from the command line: about a cluster file they are
 * answered in this process, else by the server about the live cluster. I/O; main thread. */
#ifndef CLI_QUESTION_H
#define CLI_QUESTION_H

#include "cli/common.h"
#include "cli/spec_opts.h"

struct question_opts {
    struct spec_opts spec;
    const char *cluster, *name;
    uint64_t budget, replicas;
};
#define QUESTION_OPTS_DEFAULT ((struct question_opts){.spec = SPEC_OPTS_DEFAULT, .replicas = 1})

/* clang-format off */
#define QUESTION_OPTS_ROWS(q)                                                                      \
    {"file", 'f', OPT_STR, &(q).cluster, "CLUSTER", "about this cluster file, not the live one"},  \
    {"name", 'n', OPT_STR, &(q).name, "NAME", "the model's name (from the file's)"},               \
    {"replicas", 'r', OPT_U64, &(q).replicas, "N", "replicas of each model (1)", 1,                \
     SPEC_MAX_REPLICAS},                                                                           \
    SPEC_OPTS_ROWS((q).spec),                                                                      \
    {"budget", 0, OPT_U64, &(q).budget, "STEPS", "search steps (default: a fraction of a second)"}
/* clang-format on */

/* A question of this kind about the models named (paths): `spec` for one with one replica, else
 * `specs`. NULL with err. The caller owns it. */
json_t *question_new(const char *kind, const struct question_opts *q, const char *const *models,
                     size_t n, struct err *err);
/* The same about specs given as documents; `specs` is taken. */
json_t *question_of_specs(const char *kind, const struct question_opts *q, json_t *specs);
/* Adds an edit (place/edit.h). */
void question_edit(json_t *question, const char *op, const char *what);

/* The answer, which the caller owns. NULL with err and perhaps a hint. */
json_t *question_answer(const struct cli *c, const struct question_opts *q, const json_t *question,
                        char hint[240], struct err *err);

/* The cluster file; *s initialised by the caller. */
struct cluster_snapshot;
int question_read_cluster(const char *path, struct cluster_snapshot *s, struct err *err);
/* The models that a file lists under `models`, as specs with absolute paths (relative ones begin at
 * the file's folder), checked; an empty list when it has none. NULL with err (file and line). */
json_t *question_read_models(const char *path, struct err *err);
/* A document that `plan --out` wrote. NULL with err (file and line). The caller owns it. */
json_t *question_read_plan(const char *path, struct err *err);

#endif
