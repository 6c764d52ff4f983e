/* From a spec to a demand, the same for the server and for a plan without one. */
#include "place/place.h"

enum { DEFAULT_CTX = 8192, UBATCH = 512 /* the engine's own default */ };

void place_default_ctx(struct deployment_spec *spec, const struct arch_facts *facts)
{
    if (spec->ctx)
        return;
    bool short_model = facts->ctx_train && facts->ctx_train < DEFAULT_CTX;
    spec->ctx = short_model ? facts->ctx_train : DEFAULT_CTX;
}

int place_demand_init(struct place_demand *d, const struct arch_facts *facts,
                      const struct deployment_spec *spec, struct err *err)
{
    enum kv_type kv;
    if (kv_type_parse(spec->kv, &kv, err))
        return -1;
    *d = (struct place_demand){.facts = facts, .spec = spec};
    d->opts = (struct estimate_opts){.ctx = spec->ctx * spec->n_slots, /* -c is for all slots */
                                     .n_slots = spec->n_slots,
                                     .ubatch = UBATCH,
                                     .kv_k = kv,
                                     .kv_v = kv};
    return 0;
}
