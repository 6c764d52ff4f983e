/* Command-line options as a table: parsing, defaults, --help. Pure.
 *
 * `--name VALUE`, `--name=VALUE`, `-n VALUE`; flags take no value; `--` ends options; options and
 * operands may mix. An unknown option is ERR_USAGE with the nearest name. */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum opt_kind { OPT_FLAG, OPT_STR, OPT_U64, OPT_BYTES, OPT_SECONDS, OPT_NUMBER, OPT_LIST };

struct opt_list {
    const char *items[64];
    size_t n;
};

struct opt {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    enum opt_kind kind;
    void *out;         /* bool*, const char**, uint64_t*, uint64_t*, double*, double*, struct
                          opt_list* */
    const char *value; /* what --help calls the value */
    const char *help;
    uint64_t lo, hi; /* OPT_U64 only; hi 0 means no bound */
};

/* Parses argv[1..argc); operands are moved to operands[0..*n_operands) (room for max). Outputs keep
 * their value (the default) when the option is absent. `*help` is set when --help or -h is seen. */
int opt_parse(const struct opt *opts, size_t n_opts, int argc, char **argv, const char **operands,
              size_t max_operands, size_t *n_operands, bool *help, struct err *err);
/* One line per option, for --help. */
void opt_help(const struct opt *opts, size_t n_opts, struct buf *out);

#endif
