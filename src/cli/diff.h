/* What is wanted against what runs. I/O; main thread. */
#ifndef CLI_DIFF_H
#define CLI_DIFF_H

#include "cli/common.h"

enum diff_kind { DIFF_NEW, DIFF_SCALED, DIFF_CHANGED, DIFF_SAME };

/* What runs: live, or the instances of a cluster file (NULL: live). By name: {spec, placed}, placed
 * when any replica has a place. The caller owns it; NULL with err. */
json_t *diff_running(const struct cli *c, const char *cluster, struct err *err);
/* How a wanted spec, its context settled, differs. SCALED: in the number of replicas alone. `keys`
 * (may be NULL) gets the names of what differs, with commas. */
enum diff_kind diff_spec(const json_t *running, const json_t *wanted, struct buf *keys);
/* Whether any spec of a plan (stowage.plan/1 or stowage.plans/1) differs: 1, 0, or -1 with err. */
int diff_plan(const struct cli *c, const char *cluster, const json_t *plan, struct err *err);

#endif
