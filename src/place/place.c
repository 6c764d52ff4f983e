/* place_plan: constraints, optimiser, reasons, put together. */
#include "place/place.h"
#include "base/mem.h"
#include "base/str.h"

struct place_plan *place_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              const struct place_budget *budget, struct err *err)
{
    return err_null(err, ERR_UNSUPPORTED, "placement is not built into this binary yet");
}

void place_free(struct place_plan *p)
{
    if (!p)
        return;
    assignment_done(&p->a);
    free(p->rejected);
    free(p->changes);
    free(p);
}

const char *place_tier_name(enum place_tier t)
{
    static const char *const names[] = {"one GPU",     "one node", "several nodes",
                                        "part in RAM", "CPU only", "none"};
    return (unsigned)t < ARRAY_LEN(names) ? names[t] : "none";
}
void place_reason_text(const struct place_reason *r, char *dst, size_t cap)
{
    str_copy(dst, cap, r->what);
}
json_t *place_to_json(const struct place_plan *p)
{
    return json_object();
}
int place_validate(const struct cluster_snapshot *s, const struct place_demand *d,
                   const struct assignment *a, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "placement is not built into this binary yet");
}
