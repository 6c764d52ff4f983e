/* Placement options to a spec document. */
#include "cli/spec_opts.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "cli/common.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The file's policy, and its constraints as keys of the spec; options come on top of them. */
static int read_policy_file(const char *path, struct policy *p, json_t *spec, struct err *err)
{
    struct doc d;
    mem_auto struct constraints *want = mem_calloc(1, sizeof *want);
    int rc = cli_read_doc(path, &d, err) ? -1 : policy_file_read(p, want, &d, err);
    if (!rc)
        constraints_to_json(want, spec);
    doc_done(&d);
    return rc;
}

static int put_policy(const struct spec_opts *o, json_t *spec, struct err *err)
{
    struct policy p;
    if (o->policy && o->policy_file)
        return err_set(err, ERR_USAGE, "--policy and --policy-file exclude each other");
    if (o->policy_file ? read_policy_file(o->policy_file, &p, spec, err)
                       : policy_preset(&p, o->policy ? o->policy : "tiered", err))
        return -1;
    if (o->streams)
        p.streams = (uint32_t)o->streams;
    json_object_set_new(spec, "policy", policy_to_json(&p));
    return 0;
}

static json_t *split_doc(const char *text, struct err *err)
{
    json_auto_t *list = json_array();
    for (const char *p = text; *p || p == text;) {
        size_t n = strcspn(p, ",");
        mem_auto char *one = mem_strndup(p, n);
        uint64_t layers;
        if (num_u64(one, "--tensor-split", 1, 100000, &layers, err))
            return NULL;
        json_array_append_new(list, json_integer((json_int_t)layers));
        p += n;
        if (*p == ',' && !*++p)
            return err_null(err, ERR_USAGE, "--tensor-split '%.60s' ends with a comma", text);
    }
    return STEAL(list);
}

static void put_list(json_t *d, const char *key, const struct opt_list *list)
{
    if (list->n)
        json_object_set_new(d, key, cli_list(list));
}

static void put_number(json_t *d, const char *key, uint64_t n)
{
    if (n)
        json_put_u64(d, key, n);
}

static void put_wants(json_t *d, const struct spec_opts *o)
{
    put_list(d, "nodes", &o->nodes);
    put_list(d, "exclude_nodes", &o->exclude_nodes);
    put_list(d, "labels", &o->labels);
    put_list(d, "gpus", &o->gpus);
    put_list(d, "gpu_types", &o->gpu_types);
    put_list(d, "anti_affinity", &o->anti_affinity);
    put_list(d, "keep_whole", &o->keep_whole);
    put_number(d, "gpus_per_replica", o->gpus_per_replica);
    put_number(d, "max_nodes", o->max_nodes);
    put_number(d, "max_gpus", o->max_gpus);
    put_number(d, "min_ctx", o->min_ctx);
    if (o->min_tok_s > 0)
        json_put_double(d, "min_tok_s", o->min_tok_s);
    if (o->no_ram)
        json_put_bool(d, "no_ram", true);
    if (o->no_network)
        json_put_bool(d, "no_network", true);
}

json_t *spec_opts_doc(const struct spec_opts *o, const char *name, const char *model,
                      uint64_t replicas, struct err *err)
{
    json_auto_t *d = json_object();
    json_put_str(d, "name", name);
    json_put_str(d, "model", model);
    json_put_u64(d, "ctx", o->ctx);
    json_put_u64(d, "n_slots", o->parallel);
    json_put_str(d, "kv", o->kv);
    json_put_u64(d, "replicas", replicas);
    if (put_policy(o, d, err))
        return NULL;
    put_wants(d, o);
    json_t *split = NULL;
    if (o->tensor_split && !(split = split_doc(o->tensor_split, err)))
        return NULL;
    if (split)
        json_object_set_new(d, "tensor_split", split);
    /* The server's own check, before anything is sent. */
    mem_auto struct deployment_spec *checked = mem_calloc(1, sizeof *checked);
    return spec_from_json(checked, d, err) ? NULL : STEAL(d);
}

void spec_name_of_file(const char *path, char *dst, size_t cap)
{
    const char *base = strrchr(path, '/');
    str_copy(dst, cap, base ? base + 1 : path);
    size_t n = strlen(dst);
    if (n > 6 && strcasecmp(dst + n - 6, ".ggufh") == 0)
        dst[n -= 6] = 0;
    else if (n > 5 && strcasecmp(dst + n - 5, ".gguf") == 0)
        dst[n -= 5] = 0;
    unsigned a, b;
    int used = 0;
    if (n > 15 && sscanf(dst + n - 15, "-%5u-of-%5u%n", &a, &b, &used) == 2 && used == 15)
        dst[n -= 15] = 0;
    for (char *p = dst; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._:-", *p))
            *p = '-';
    size_t lead = strspn(dst, "._:-");
    memmove(dst, dst + lead, n - lead + 1);
}
