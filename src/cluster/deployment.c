/* Specs and assignments: validation and JSON form. */
#include "cluster/deployment.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"

#include <string.h>

static const char *const KV_TYPES[] = {"f16", "q8_0", "q4_0"};

struct spec_row {
    struct deployment_spec s;
    int kv; /* of KV_TYPES */
};

/* clang-format off */
#define D(member) DOC_FIELD(struct spec_row, member)
static const struct doc_field SPEC_FIELDS[] = {
    {"name", DOC_TEXT, false, D(s.name)},
    {"model", DOC_TEXT, true, D(s.model)},
    {"ctx", DOC_U32, false, D(s.ctx), .lo = 0, .hi = SPEC_MAX_CTX},
    {"n_slots", DOC_U32, false, D(s.n_slots), .lo = 0, .hi = SPEC_MAX_SLOTS},
    {"kv", DOC_CHOICE, false, D(kv), .choices = KV_TYPES, .n_choices = ARRAY_LEN(KV_TYPES)},
    {"replicas", DOC_U32, false, D(s.replicas), .lo = 0, .hi = SPEC_MAX_REPLICAS},
    {"policy", DOC_OTHER},
};
/* clang-format on */

static int read_spec(struct spec_row *r, const struct doc_at *at, struct err *err)
{
    const char *keys[ARRAY_LEN(SPEC_FIELDS)];
    const struct doc_at policy = doc_member(at, "policy");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        keys[i] = SPEC_FIELDS[i].key;
    if (constraints_read(&r->s.want, at, keys, ARRAY_LEN(keys), err) ||
        doc_read_fields(at, SPEC_FIELDS, ARRAY_LEN(SPEC_FIELDS), r, err) ||
        (policy.v && policy_read(&r->s.policy, &policy, err)))
        return -1;
    if (!r->s.name[0])
        return doc_fault(at, err, "'name' is missing");
    STR_COPY(r->s.kv, KV_TYPES[r->kv]);
    if (!r->s.n_slots)
        r->s.n_slots = 1;
    struct err e = {0};
    if (spec_validate(&r->s, &e))
        return doc_fault(at, err, "%s", e.msg);
    return 0;
}

int spec_read(struct deployment_spec *spec, const struct doc_at *at, const char *name,
              struct err *err)
{
    mem_auto struct spec_row *r = mem_calloc(1, sizeof *r);
    r->s.n_slots = r->s.replicas = 1;
    STR_COPY(r->s.name, name);
    policy_preset(&r->s.policy, "tiered", NULL);
    if (read_spec(r, at, err))
        return -1;
    *spec = r->s;
    return 0;
}

int spec_from_json(struct deployment_spec *spec, const json_t *tree, struct err *err)
{
    const struct doc d = doc_of(tree);
    const struct doc_at root = doc_root(&d);
    return spec_read(spec, &root, NULL, err);
}

static bool name_ok(const char *name)
{
    if (!name[0])
        return false;
    for (const char *p = name; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
            !strchr("._:-", *p))
            return false;
    return !strchr("._:-", name[0]);
}

static int one_of(const char *value, const char *what, const char *const *names, size_t n,
                  struct err *err)
{
    char all[96] = "";
    for (size_t i = 0; i < n; i++) {
        if (strcmp(value, names[i]) == 0)
            return 0;
        size_t used = strlen(all);
        str_copyf(all + used, sizeof all - used, "%s%s", used ? ", " : "", names[i]);
    }
    return err_set(err, ERR_INVALID, "%s '%.40s' is none of %s", what, value, all);
}

int spec_validate(const struct deployment_spec *s, struct err *err)
{
    if (!name_ok(s->name))
        return err_set(err, ERR_INVALID,
                       "name '%.63s' must be letters, digits, '.', '_', ':' or '-', and begin with "
                       "a letter or digit",
                       s->name);
    if (s->model[0] != '/')
        return err_set(err, ERR_INVALID, "model '%.160s' must be an absolute path", s->model);
    if (s->ctx && s->ctx < 16)
        return err_set(err, ERR_INVALID, "ctx is %u; it must be 16 or more, or 0 for the default",
                       s->ctx);
    if (s->n_slots < 1 || s->n_slots > SPEC_MAX_SLOTS)
        return err_set(err, ERR_INVALID, "n_slots is %u; it must be 1 to %d", s->n_slots,
                       SPEC_MAX_SLOTS);
    if ((uint64_t)s->ctx * s->n_slots > UINT32_MAX)
        return err_set(err, ERR_INVALID, "ctx %u times n_slots %u is too large", s->ctx,
                       s->n_slots);
    if (s->want.min_ctx > s->ctx && s->ctx)
        return err_set(err, ERR_INVALID, "min_ctx is %u, above ctx %u", s->want.min_ctx, s->ctx);
    return one_of(s->kv, "kv", KV_TYPES, ARRAY_LEN(KV_TYPES), err) ||
                   constraints_validate(&s->want, err)
               ? -1
               : 0;
}

json_t *spec_to_json(const struct deployment_spec *s)
{
    json_t *o = json_object();
    json_put_str(o, "name", s->name);
    json_put_str(o, "model", s->model);
    json_put_u64(o, "ctx", s->ctx);
    json_put_u64(o, "n_slots", s->n_slots);
    json_put_str(o, "kv", s->kv);
    json_put_u64(o, "replicas", s->replicas);
    json_object_set_new(o, "policy", policy_to_json(&s->policy));
    constraints_to_json(&s->want, o);
    return o;
}

void assignment_done(struct assignment *a)
{
    free(a->parts);
    a->parts = NULL;
    a->n_parts = 0;
}

uint64_t assignment_part_bytes(const struct assignment_part *p)
{
    return num_add_sat(num_add_sat(p->weights_bytes, p->kv_bytes),
                       num_add_sat(p->compute_bytes, p->runtime_bytes));
}

json_t *assignment_to_json(const struct assignment *a)
{
    json_t *o = json_object();
    json_put_str(o, "plan_id", a->plan_id);
    json_put_str(o, "engine", a->engine);
    json_put_str(o, "main_id", a->main_id);
    json_put_str(o, "main_node", a->main_node);
    json_put_u64(o, "n_layers", a->n_layers);
    json_put_u64(o, "n_blocks", a->n_blocks);
    json_put_u64(o, "n_cpu_layers", a->n_cpu_layers);
    json_put_u64(o, "n_cpu_moe", a->n_cpu_moe);
    json_put_u64(o, "ctx", a->ctx);
    json_put_u64(o, "n_slots", a->n_slots);
    json_put_u64(o, "ubatch", a->ubatch);
    json_put_str(o, "kv", a->kv);
    json_put_u64(o, "host_weights_bytes", a->host_weights_bytes);
    json_put_u64(o, "host_kv_bytes", a->host_kv_bytes);
    json_put_u64(o, "host_compute_bytes", a->host_compute_bytes);
    json_put_double(o, "tok_s", a->tok_s);
    json_t *parts = json_put_array(o, "parts");
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct assignment_part *p = &a->parts[i];
        json_t *j = json_add_object(parts);
        json_put_str(j, "node_id", p->node_id);
        json_put_str(j, "node", p->node);
        json_put_str(j, "uuid", p->uuid);
        json_put_u64(j, "index", p->index);
        json_put_str(j, "device_name", p->device_name);
        json_put_str(j, "backend", device_backend_name(p->backend));
        json_put_u64(j, "first_layer", p->first_layer);
        json_put_u64(j, "n_layers", p->n_layers);
        json_put_bool(j, "output", p->output);
        json_put_u64(j, "free_bytes", p->free_bytes);
        json_put_u64(j, "weights_bytes", p->weights_bytes);
        json_put_u64(j, "kv_bytes", p->kv_bytes);
        json_put_u64(j, "compute_bytes", p->compute_bytes);
        json_put_u64(j, "runtime_bytes", p->runtime_bytes);
    }
    return o;
}

static int part_from_json(struct assignment_part *p, const json_t *j, struct err *err)
{
    const char *backend = NULL;
    return JSON_COPY(j, "node_id", true, p->node_id, err) ||
                   JSON_COPY(j, "node", true, p->node, err) ||
                   JSON_COPY(j, "uuid", true, p->uuid, err) ||
                   json_get_u32(j, "index", true, UINT32_MAX, &p->index, err) ||
                   JSON_COPY(j, "device_name", true, p->device_name, err) ||
                   json_get_str(j, "backend", true, &backend, err) ||
                   device_backend_parse(backend, &p->backend, err) ||
                   json_get_u32(j, "first_layer", true, 1 << 20, &p->first_layer, err) ||
                   json_get_u32(j, "n_layers", true, 1 << 20, &p->n_layers, err) ||
                   json_get_bool(j, "output", true, &p->output, err) ||
                   json_get_u64(j, "free_bytes", true, INT64_MAX, &p->free_bytes, err) ||
                   json_get_u64(j, "weights_bytes", true, INT64_MAX, &p->weights_bytes, err) ||
                   json_get_u64(j, "kv_bytes", true, INT64_MAX, &p->kv_bytes, err) ||
                   json_get_u64(j, "compute_bytes", true, INT64_MAX, &p->compute_bytes, err) ||
                   json_get_u64(j, "runtime_bytes", true, INT64_MAX, &p->runtime_bytes, err)
               ? -1
               : 0;
}

int assignment_from_json(struct assignment *out, const json_t *o, struct err *err)
{
    struct assignment a = {0};
    if (JSON_COPY(o, "plan_id", true, a.plan_id, err) ||
        JSON_COPY(o, "engine", true, a.engine, err) ||
        JSON_COPY(o, "main_id", true, a.main_id, err) ||
        JSON_COPY(o, "main_node", true, a.main_node, err) ||
        json_get_u32(o, "n_layers", true, 1 << 20, &a.n_layers, err) ||
        json_get_u32(o, "n_blocks", true, 1 << 20, &a.n_blocks, err) ||
        json_get_u32(o, "n_cpu_layers", true, 1 << 20, &a.n_cpu_layers, err) ||
        json_get_u32(o, "n_cpu_moe", true, 1 << 20, &a.n_cpu_moe, err) ||
        json_get_u32(o, "ctx", true, UINT32_MAX, &a.ctx, err) ||
        json_get_u32(o, "n_slots", true, SPEC_MAX_SLOTS, &a.n_slots, err) ||
        json_get_u32(o, "ubatch", true, 1 << 20, &a.ubatch, err) ||
        JSON_COPY(o, "kv", true, a.kv, err) ||
        json_get_u64(o, "host_weights_bytes", true, INT64_MAX, &a.host_weights_bytes, err) ||
        json_get_u64(o, "host_kv_bytes", true, INT64_MAX, &a.host_kv_bytes, err) ||
        json_get_u64(o, "host_compute_bytes", true, INT64_MAX, &a.host_compute_bytes, err) ||
        json_get_double(o, "tok_s", true, &a.tok_s, err))
        return -1;
    json_t *parts = json_get_array(o, "parts", true, err);
    if (!parts)
        return -1;
    size_t n = json_array_size(parts);
    if (n > CLUSTER_MAX_NODE_DEVICES)
        return err_set(err, ERR_LIMIT, "an assignment of %zu parts; at most %d are allowed", n,
                       CLUSTER_MAX_NODE_DEVICES);
    a.parts = mem_calloc(n, sizeof *a.parts);
    a.n_parts = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        if (part_from_json(&a.parts[i], json_array_get(parts, i), err)) {
            err_wrap(err, "parts[%zu]", i);
            assignment_done(&a);
            return -1;
        }
    }
    *out = a;
    return 0;
}
