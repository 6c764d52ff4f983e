/* Renders stowage.plan/1. */
#include "cli/plan_text.h"
#include "base/mem.h"

void plan_text(const json_t *plan, const struct plan_text_opts *opts, struct buf *out)
{
    mem_auto char *text = json_text(plan);
    buf_adds(out, text);
}
