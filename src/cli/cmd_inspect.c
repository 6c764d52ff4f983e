/* `stowage inspect`: what a model file holds and what memory it takes. Only the header is read. */
#include "cli/cli.h"
#include "cli/common.h"

#include "arch/arch.h"
#include "base/mem.h"
#include "base/num.h"
#include "cluster/cluster.h"
#include "estimate/estimate.h"
#include "model/model.h"

#include <stdio.h>
#include <string.h>

enum { MAX_ROWS = 8, N_KV = 3, UBATCH = 512, WIDTH = 80 };

static const enum kv_type KV_SHOWN[N_KV] = {KV_F16, KV_Q8_0, KV_Q4_0};

struct inspect {
    const char *path;
    struct arch_facts *f;
    struct model_info info;
    uint64_t head, layers, experts; /* bytes on devices; experts are a part of layers */
    uint64_t layer_min, layer_max;
    uint32_t ctx[MAX_ROWS];
    uint32_t n_ctx;
};

/* Memory with everything on one device, one slot. False when the engine refuses the options. */
static bool one_device(const struct inspect *in, uint32_t ctx, enum kv_type kv,
                       struct estimate_bytes *dev, struct estimate_bytes *host)
{
    struct estimate_opts o = {.ctx = ctx, .n_slots = 1, .ubatch = UBATCH, .kv_k = kv, .kv_v = kv};
    struct estimate_model *m = estimate_new(in->f, &o, NULL);
    if (!m)
        return false;
    struct estimate_split s = {.n_devices = 1, .counts = &m->n_layers};
    estimate_split_bytes(m, &s, dev, host);
    estimate_free(m);
    return true;
}

static uint64_t total(const struct estimate_bytes *b)
{
    return num_add_sat(b->weights, num_add_sat(b->kv, b->compute));
}

static void choose_contexts(struct inspect *in)
{
    static const uint32_t STEPS[] = {4096, 8192, 32768, 131072};
    uint32_t most = in->f->ctx_train ? in->f->ctx_train : 8192;
    for (size_t i = 0; i < ARRAY_LEN(STEPS) && STEPS[i] <= most; i++)
        in->ctx[in->n_ctx++] = STEPS[i];
    if (in->n_ctx == 0 || (in->ctx[in->n_ctx - 1] != most && most < 1 << 24))
        in->ctx[in->n_ctx++] = most;
}

static void sum_layers(struct inspect *in)
{
    in->head = in->f->output_bytes;
    in->layer_min = UINT64_MAX;
    for (uint32_t i = 0; i < in->f->n_layers; i++) {
        const struct arch_layer *l = &in->f->layers[i];
        in->layers = num_add_sat(in->layers, l->weight_bytes);
        in->experts = num_add_sat(in->experts, l->expert_bytes);
        in->layer_min = l->weight_bytes < in->layer_min ? l->weight_bytes : in->layer_min;
        in->layer_max = l->weight_bytes > in->layer_max ? l->weight_bytes : in->layer_max;
    }
}

static double gib(uint64_t bytes)
{
    return (double)bytes / (double)GIB;
}

/* "671.0B", "8.0B", "494M" */
static void count_text(char *dst, size_t cap, uint64_t n)
{
    if (n >= 1000000000)
        str_copyf(dst, cap, "%.1fB", (double)n / 1e9);
    else
        str_copyf(dst, cap, "%.0fM", (double)n / 1e6);
}

static void print_head(const struct inspect *in)
{
    const struct arch_facts *f = in->f;
    char params[24];
    count_text(params, sizeof params, f->n_params);
    const char *name = f->name;
    if (!name[0]) {
        const char *slash = strrchr(in->path, '/');
        name = slash ? slash + 1 : in->path;
    }
    printf("%s\n", name);
    printf("Model        %s, %s parameters, %s, %u layers", f->arch, params, f->quant, f->n_layers);
    if (f->ctx_train)
        printf(", context %u", f->ctx_train);
    if (f->file_bytes >= 1000000000)
        printf("\nFile         %.1f GB (%.1f GiB)", (double)f->file_bytes / 1e9,
               gib(f->file_bytes));
    else
        printf("\nFile         %.1f MB", (double)f->file_bytes / 1e6);
    printf(", %u file%s, %u tensors", f->n_files, f->n_files > 1 ? "s" : "", f->n_tensors);
    printf("%s\n", in->info.header_only ? ", header only" : "");
}

static void print_weights(const struct inspect *in)
{
    const struct arch_facts *f = in->f;
    char a[32], b[32];
    printf("Weights      %u layers %s", f->n_layers, num_fmt_gib(a, sizeof a, in->layers));
    printf(", output %s", num_fmt_gib(a, sizeof a, in->head));
    printf(", embedding %s (host)\n", num_fmt_gib(a, sizeof a, f->embedding_bytes));
    printf("Splits into  %u layers of %s", f->n_layers, num_fmt_gib(a, sizeof a, in->layer_min));
    if (in->layer_max != in->layer_min)
        printf(" to %s", num_fmt_gib(b, sizeof b, in->layer_max));
    if (f->n_blocks > f->n_layers)
        printf(" (%u prediction block%s not loaded)", f->n_blocks - f->n_layers,
               f->n_blocks - f->n_layers > 1 ? "s" : "");
    printf("\n");
    if (in->experts)
        printf("Experts      %u per layer, %u used per token; %s, may stay in RAM\n", f->n_expert,
               f->n_expert_used, num_fmt_gib(a, sizeof a, in->experts));
}

static void print_table(const struct inspect *in)
{
    printf("\nMemory on one GPU (GiB)");
    for (int k = 0; k < N_KV; k++) {
        char title[16];
        str_copyf(title, sizeof title, "KV %s", kv_type_name(KV_SHOWN[k]));
        printf("%17s", title);
    }
    printf("\n");
    for (uint32_t i = 0; i < in->n_ctx; i++) {
        printf("  %s %9u   ", i ? "       " : "context", in->ctx[i]);
        for (int k = 0; k < N_KV; k++) {
            struct estimate_bytes dev, host;
            char cell[40] = "-";
            if (one_device(in, in->ctx[i], KV_SHOWN[k], &dev, &host))
                str_copyf(cell, sizeof cell, "%.1f (%5.1f)", gib(total(&dev)), gib(dev.kv));
            printf("%17s", cell);
        }
        printf("\n");
    }
    struct cluster_snapshot defaults;
    snapshot_init(&defaults);
    printf("  in brackets: KV cache of one slot. Add %.1f GiB for the driver on each GPU.\n",
           gib(defaults.runtime_bytes));
    snapshot_done(&defaults);
}

/* A label and a sentence of any length, broken between words at 80 columns. */
static void print_wrapped(const char *label, const char *text)
{
    size_t col = strlen(label);
    printf("%s", label);
    while (*text) {
        size_t n = strcspn(text, " ");
        if (col + 1 + n > WIDTH) {
            printf("\n ");
            col = 1;
        }
        printf(" %.*s", (int)n, text);
        col += 1 + n;
        text += n + strspn(text + n, " ");
    }
    printf("\n");
}

static void print_text(const struct inspect *in)
{
    print_head(in);
    print_weights(in);
    print_table(in);
    if (in->f->warning[0])
        print_wrapped("Warning:", in->f->warning);
    printf("Where it would go:  stowage plan %s -f CLUSTER.yaml\n", in->path);
}

static void put_bytes(json_t *obj, const char *key, const struct estimate_bytes *b)
{
    json_t *o = json_put_object(obj, key);
    json_put_u64(o, "weights_bytes", b->weights);
    json_put_u64(o, "kv_bytes", b->kv);
    json_put_u64(o, "compute_bytes", b->compute);
}

static void put_memory(const struct inspect *in, json_t *list)
{
    for (uint32_t i = 0; i < in->n_ctx; i++)
        for (int k = 0; k < N_KV; k++) {
            struct estimate_bytes dev, host;
            if (!one_device(in, in->ctx[i], KV_SHOWN[k], &dev, &host))
                continue;
            json_t *row = json_add_object(list);
            json_put_u64(row, "ctx", in->ctx[i]);
            json_put_str(row, "kv", kv_type_name(KV_SHOWN[k]));
            put_bytes(row, "device", &dev);
            put_bytes(row, "host", &host);
        }
}

static json_t *document(const struct inspect *in)
{
    const struct arch_facts *f = in->f;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"n_params", f->n_params},
        {"n_layers", f->n_layers},
        {"n_blocks", f->n_blocks},
        {"n_embd", f->n_embd},
        {"n_vocab", f->n_vocab},
        {"ctx_train", f->ctx_train},
        {"n_head", f->n_head},
        {"n_head_kv", f->n_head_kv},
        {"n_expert", f->n_expert},
        {"n_expert_used", f->n_expert_used},
        {"n_swa", f->n_swa},
        {"n_tensors", f->n_tensors},
        {"tensor_bytes", f->tensor_bytes},
    };
    json_t *doc = json_object();
    json_put_str(doc, "schema", "stowage.inspect/1");
    json_put_str(doc, "path", in->path);
    json_put_str(doc, "name", f->name);
    json_put_str(doc, "arch", f->arch);
    json_put_bool(doc, "arch_known", f->known);
    json_put_str(doc, "quant", f->quant);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        json_put_u64(doc, numbers[i].key, numbers[i].value);
    json_put_bool(doc, "has_chat_template", f->has_chat_template);
    json_t *file = json_put_object(doc, "file");
    json_put_u64(file, "count", f->n_files);
    json_put_u64(file, "bytes", f->file_bytes);
    json_put_u64(file, "bytes_on_disk", in->info.bytes_on_disk);
    json_put_bool(file, "header_only", in->info.header_only);
    json_put_str(file, "header_sha256", in->info.header_sha256);
    json_t *w = json_put_object(doc, "weights");
    json_put_u64(w, "layers_bytes", in->layers);
    json_put_u64(w, "experts_bytes", in->experts);
    json_put_u64(w, "output_bytes", in->head);
    json_put_u64(w, "embedding_bytes", f->embedding_bytes);
    json_t *layers = json_put_array(doc, "layers");
    for (uint32_t i = 0; i < f->n_layers; i++) {
        static const char *const MIXER[] = {"attention", "mla", "recurrent"};
        const struct arch_layer *l = &f->layers[i];
        json_t *o = json_add_object(layers);
        json_put_str(o, "mixer", MIXER[l->mixer]);
        json_put_bool(o, "sliding", l->sliding);
        json_put_u64(o, "weights_bytes", l->weight_bytes);
        json_put_u64(o, "experts_bytes", l->expert_bytes);
    }
    put_memory(in, json_put_array(doc, "memory"));
    json_put_str(doc, "warning", f->warning[0] ? f->warning : NULL);
    return doc;
}

static const char *hint_for(const struct err *err)
{
    switch (err->code) {
    case ERR_CORRUPT:
        return "compare the file's size with the one at its source, and fetch it again";
    case ERR_UNSUPPORTED:
        return "stowage reads GGUF language models, versions 1 to 3";
    case ERR_CONFLICT:
        return "give another name, or remove that file first";
    default:
        return NULL;
    }
}

int cmd_inspect(int argc, char **argv)
{
    const char *save = NULL;
    const struct opt opts[] = {
        {"save-header", 0, OPT_STR, &save, "OUT",
         "write the file's header (a few KB) to OUT.ggufh: plan reads it like the model"},
    };
    struct cli c = {
        .usage = "FILE",
        .about =
            "Shows what a GGUF model holds and the memory it takes. Any shard of a set will do;"
            "\nonly headers are read.",
        .opts = opts,
        .n_opts = ARRAY_LEN(opts),
        .min_operands = 1,
        .max_operands = 1,
    };
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct inspect in = {.path = c.operands[0]};
    struct err err = {0};
    in.f = model_facts(in.path, &in.info, &err);
    if (!in.f)
        return cli_fail(&c, &err, hint_for(&err));
    if (save && model_save_header(in.path, save, &err) < 0) {
        arch_free(in.f);
        return cli_fail(&c, &err, hint_for(&err));
    }
    choose_contexts(&in);
    sum_layers(&in);
    if (c.json)
        cli_json(document(&in));
    else
        print_text(&in);
    arch_free(in.f);
    return 0;
}
