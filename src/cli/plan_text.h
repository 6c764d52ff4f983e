/* A plan document (stowage.plan/1) as text for people: table, bars, reasons. Shared by `plan` and
 * `explain`. */
#ifndef CLI_PLAN_TEXT_H
#define CLI_PLAN_TEXT_H

#include "base/json.h"
#include "base/str.h"
#include "place/words.h"

#include <stdbool.h>

struct plan_text_opts {
    bool ascii; /* no box drawing or block characters */
    enum words_lang lang;
    const char *deploy; /* the command that deploys it, for the last line; NULL: none */
    const char *save;   /* the options that keep it, for the last line; NULL: none */
    size_t at;          /* columns of the first line that are taken already, in a refusal */
};
/* Appends the text of `plan` to *out; a refusal is printed with its reasons. 80 columns. A field
 * that is absent is left out, so documents of older versions print too. */
void plan_text(const json_t *plan, const struct plan_text_opts *opts, struct buf *out);

#endif
