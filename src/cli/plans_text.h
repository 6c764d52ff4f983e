/* Answers about placement as text for people: several plans, before and after. A single plan is
 * plan_text.h's. */
#ifndef CLI_PLANS_TEXT_H
#define CLI_PLANS_TEXT_H

#include "base/json.h"
#include "base/str.h"
#include "cli/plan_text.h"

/* The language of the command, and the characters of the terminal's locale. */
struct cli;
struct plan_text_opts plan_text_here(const struct cli *c);
/* "hill:0,1 dale:0" of a plan's GPUs, "fern RAM" of RAM; the caller frees it. */
char *plan_where(const json_t *plan);
/* A stowage.plan/1 or stowage.plans/1: one by one, or a table and every refusal. */
void plans_text(const json_t *doc, const struct plan_text_opts *o, struct buf *out);
/* A stowage.whatif/1, side by side. */
void whatif_text(const json_t *doc, const struct plan_text_opts *o, struct buf *out);
/* The summary of a refusal as one line; the caller frees it. */
char *plan_summary(const json_t *plan, const struct plan_text_opts *o);

#endif
