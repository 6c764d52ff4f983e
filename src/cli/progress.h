/* Waiting for a deployment, with its phases on stderr. I/O; main thread. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/common.h"

enum progress_goal { PROGRESS_READY, PROGRESS_GONE };

struct progress {
    const struct cli *cli;
    const char *name;
    enum progress_goal goal;
    double timeout_s;
    bool quiet;       /* no phases */
    bool keep_trying; /* a failed replica is waited for (the server starts it again) */
    json_t *last;     /* out: the deployment as seen last, NULL when gone; the caller's */
};
/* 0 when the goal is reached. -1: the error is printed and *status set: a failed replica, a refused
 * placement (reasons printed, status 3), time is up (8), the server is away for longer than 10 s.
 */
int progress_wait(struct progress *p, int *status);

/* A refusal in full: reasons as `plan` prints them, or the JSON error document with the plan. The
 * exit status. */
int progress_refused(const struct cli *c, const char *name, const json_t *plan, const char *hint);

#endif
