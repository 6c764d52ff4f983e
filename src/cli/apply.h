/* Making what runs equal to what is wanted: the changes, and their execution. I/O; main thread. */
#ifndef CLI_APPLY_H
#define CLI_APPLY_H

#include "cli/diff.h"
#include "cli/question.h"

struct apply {
    const struct cli *cli;
    struct question_opts q;
    double timeout_s;
    bool yes, dry_run, partial, no_wait;
    json_t *running; /* diff_running(); owned */
    json_t *changes; /* [{name, change, keys, spec, was}]; owned */
    json_t *plans;   /* of all that is to be placed, or NULL: nothing is; owned */
    bool left_out;   /* --partial: some were */
};
void apply_done(struct apply *a);
const char *diff_name(enum diff_kind k); /* "new" */

/* Fills running and changes; `specs` have their contexts settled. */
int apply_compare(struct apply *a, const json_t *specs, struct err *err);
/* Plans all that is to be placed together, on the live cluster without what is replaced. */
int apply_plan(struct apply *a, char hint[240], struct err *err);
/* Drops the changes of models that no replica of would be placed. */
void apply_leave_out(struct apply *a);
/* Makes the changes and waits for them. The exit status; errors are printed. */
int apply_run(struct apply *a);

#endif
