/* Placement options to a spec document. */
#include "cli/spec_opts.h"

#include "cli/common.h"

json_t *spec_opts_doc(const struct spec_opts *o, const char *name, const char *model)
{
    json_t *d = json_object();
    json_put_str(d, "name", name);
    json_put_str(d, "model", model);
    json_put_u64(d, "ctx", o->ctx);
    json_put_u64(d, "n_slots", o->parallel);
    json_put_str(d, "kv", o->kv);
    json_put_str(d, "policy", o->policy);
    json_put_u64(d, "max_nodes", o->max_nodes);
    json_put_u64(d, "max_gpus", o->max_gpus);
    json_put_bool(d, "no_ram", o->no_ram);
    json_object_set_new(d, "nodes", cli_list(&o->nodes));
    json_object_set_new(d, "exclude_nodes", cli_list(&o->exclude_nodes));
    json_object_set_new(d, "gpus", cli_list(&o->gpus));
    return d;
}
