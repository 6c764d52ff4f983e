/* Reading a model's header for a spec. */
#include "server/probe.h"

#include "base/mem.h"
#include "estimate/estimate.h"
#include "model/model.h"
#include "place/place.h"

#include <string.h>

static int check(struct probe *p, const struct model_info *info)
{
    struct err *err = &p->err;
    if (p->to_run && info->header_only) {
        STR_COPY(p->hint, "deploy the model's own .gguf file; a header can only be planned");
        return err_set(err, ERR_UNSUPPORTED, "%.150s has only the header of a model, no weights",
                       p->spec->model);
    }
    if (p->to_run && !p->facts->known) {
        STR_COPY(p->hint, "stowage plan shows a conservative estimate");
        return err_set(err, ERR_UNSUPPORTED, "architecture '%s' is not known, so its memory is not",
                       p->facts->arch);
    }
    /* Never silently: the resolved number is in the deployment that is answered and explained. */
    place_default_ctx(p->spec, p->facts);
    struct place_demand d;
    if (place_demand_init(&d, p->facts, p->spec, err))
        return -1;
    struct estimate_model *m = estimate_new(p->facts, &d.opts, err);
    estimate_free(m);
    return m ? 0 : -1;
}

void probe_run(struct probe *p)
{
    struct model_info info = {0};
    p->facts = model_facts(p->spec->model, &info, &p->err);
    if (!p->facts) {
        if (p->err.code == ERR_NOT_FOUND)
            STR_COPY(p->hint, "the server reads the file under this path: put it there, or mount "
                              "the folder that holds it");
        return;
    }
    STR_COPY(p->model.path, p->spec->model);
    STR_COPY(p->model.header_sha256, info.header_sha256);
    p->model.bytes = info.bytes_on_disk;
    check(p, &info);
}

void probe_done(struct probe *p)
{
    arch_free(p->facts);
    p->facts = NULL;
    free(p->spec);
    p->spec = NULL;
}
