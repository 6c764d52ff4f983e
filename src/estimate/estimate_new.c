/* From facts and options to bytes per layer. Sizes come from a foreign file, so sums saturate. */
#include "estimate/estimate.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

enum {
    CELL_PAD = 256,            /* the cache's cells per sequence are rounded up to this */
    INPUT_BYTES = 28,          /* per token: positions, token ids, cache rows, output ids */
    ROTATION_BYTES = 80 << 10, /* matrices that go with a quantised K cache */
    ESTIMATE_MAX_SLOTS = 4096,
    ESTIMATE_MAX_UBATCH = 1 << 20,
};

static const struct kv_row {
    const char *name;
    uint32_t block_elems, block_bytes;
} KV_ROWS[] = {
    [KV_F16] = {"f16", 1, 2}, [KV_Q8_0] = {"q8_0", 32, 34}, [KV_Q4_0] = {"q4_0", 32, 18},
    [KV_F32] = {"f32", 1, 4}, [KV_BF16] = {"bf16", 1, 2},
};
_Static_assert(ARRAY_LEN(KV_ROWS) == KV_TYPE_COUNT, "one row per cache type");

/* Where the attention of an architecture differs in its transient tensors. `q_copies` is how often
 * Q exists at once; `big` says that an expert output finds no freed hole when pipelined. */
static const struct family {
    const char *name;
    uint32_t q_copies;
    bool big;
} FAMILIES[] = {
    {"llama", 1, false},     {"qwen2", 1, false}, {"qwen3moe", 2, true}, {"glm4moe", 2, true},
    {"qwen3next", 3, false}, {"qwen3", 2, false}, {"gemma3", 2, false},  {"gpt-oss", 2, false},
    {"deepseek2", 2, false}, {"mamba", 2, false},
};
static const struct family UNKNOWN = {"", 3, true};

struct ctx {
    const struct arch_facts *f;
    const struct estimate_opts *o;
    const struct family *family;
    uint64_t u; /* tokens of a micro-batch */
    uint64_t cells, swa_cells, streams;
    bool attention;   /* some layer keeps K and V */
    uint32_t v_elems; /* widest V row */
    bool any_mla;
};

const char *kv_type_name(enum kv_type t)
{
    return (unsigned)t < KV_TYPE_COUNT ? KV_ROWS[t].name : "?";
}

int kv_type_parse(const char *name, enum kv_type *out, struct err *err)
{
    for (int i = 0; i < KV_TYPE_COUNT; i++)
        if (strcmp(name, KV_ROWS[i].name) == 0) {
            *out = (enum kv_type)i;
            return 0;
        }
    return err_set(err, ERR_INVALID,
                   "KV type \"%.40s\" is not known; there are f16, q8_0, q4_0, "
                   "f32 and bf16",
                   name);
}

static bool quantised(enum kv_type t)
{
    return KV_ROWS[t].block_elems > 1;
}

static uint64_t row_bytes(enum kv_type t, uint64_t elems)
{
    return elems / KV_ROWS[t].block_elems * KV_ROWS[t].block_bytes;
}

static uint64_t mul3(uint64_t a, uint64_t b, uint64_t c)
{
    return num_mul_sat(num_mul_sat(a, b), c);
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int check_opts(const struct ctx *c, struct err *err)
{
    const struct estimate_opts *o = c->o;
    if (o->ctx == 0 || o->n_slots == 0 || o->ubatch == 0)
        return err_set(err, ERR_INVALID, "context %u, slots %u, micro-batch %u: none may be 0",
                       o->ctx, o->n_slots, o->ubatch);
    if (o->n_slots > ESTIMATE_MAX_SLOTS || o->ubatch > ESTIMATE_MAX_UBATCH)
        return err_set(err, ERR_LIMIT, "%u slots, micro-batch %u; at most %d and %d", o->n_slots,
                       o->ubatch, ESTIMATE_MAX_SLOTS, ESTIMATE_MAX_UBATCH);
    if ((unsigned)o->kv_k >= KV_TYPE_COUNT || (unsigned)o->kv_v >= KV_TYPE_COUNT)
        return err_set(err, ERR_INVALID, "KV types %d and %d are not known", o->kv_k, o->kv_v);
    if (quantised(o->kv_v) && o->no_flash_attn)
        return err_set(err, ERR_INVALID, "a V cache of type %s needs flash attention",
                       kv_type_name(o->kv_v));
    for (uint32_t i = 0; i < c->f->n_layers; i++) {
        const struct arch_layer *l = &c->f->layers[i];
        if (l->mixer == ARCH_MLA && o->kv_k != o->kv_v)
            return err_set(err, ERR_INVALID,
                           "%s caches K and V in one row: types %s and %s must "
                           "be equal",
                           c->f->arch, kv_type_name(o->kv_k), kv_type_name(o->kv_v));
        if (l->k_elems % KV_ROWS[o->kv_k].block_elems || l->v_elems % KV_ROWS[o->kv_v].block_elems)
            return err_set(err, ERR_INVALID,
                           "KV rows of %u and %u elements (layer %u) cannot be stored as %s and %s",
                           l->k_elems, l->v_elems, i, kv_type_name(o->kv_k), kv_type_name(o->kv_v));
    }
    return 0;
}

static void set_cells(struct ctx *c)
{
    const struct estimate_opts *o = c->o;
    uint64_t per_seq = o->kv_unified ? o->ctx : max_u64(o->ctx / o->n_slots, 1);
    c->cells = num_pad_sat(per_seq, CELL_PAD);
    c->streams = o->kv_unified ? 1 : o->n_slots;
    /* The engine never makes a micro-batch larger than the whole context. */
    uint64_t whole = num_pad_sat(o->ctx, CELL_PAD);
    c->u = o->ubatch < whole ? o->ubatch : whole;
    uint64_t window = num_mul_sat(c->f->n_swa, o->kv_unified ? o->n_slots : 1);
    c->swa_cells = num_pad_sat(num_add_sat(window, c->u), CELL_PAD);
    if (c->swa_cells > c->cells)
        c->swa_cells = c->cells;
    for (uint32_t i = 0; i < c->f->n_layers; i++) {
        const struct arch_layer *l = &c->f->layers[i];
        c->attention |= l->k_elems > 0;
        c->any_mla |= l->mixer == ARCH_MLA;
        c->v_elems = l->v_elems > c->v_elems ? l->v_elems : c->v_elems;
    }
}

static uint64_t kv_bytes(const struct ctx *c, const struct arch_layer *l)
{
    uint64_t cells = l->sliding ? c->swa_cells : c->cells;
    uint64_t row =
        num_add_sat(row_bytes(c->o->kv_k, l->k_elems), row_bytes(c->o->kv_v, l->v_elems));
    return num_add_sat(mul3(c->streams, cells, row), num_mul_sat(c->o->n_slots, l->state_bytes));
}

/* Transient tensors of the routed experts: three of the hidden width, and the outputs of all
 * experts in use where those do not fit into what the hidden ones leave. */
static uint64_t expert_peak(const struct ctx *c)
{
    uint64_t used = c->f->n_expert_used;
    uint64_t hidden = num_mul_sat(mul3(4, c->u, c->f->n_ff_exp), used);
    uint64_t out = num_mul_sat(mul3(4, c->u, c->f->n_embd), used);
    return num_add_sat(num_mul_sat(3, hidden), out > num_mul_sat(2, hidden) ? out : 0);
}

static uint64_t attention_peak(const struct ctx *c, const struct arch_layer *l)
{
    const struct arch_facts *f = c->f;
    bool flash = !c->o->no_flash_attn;
    uint64_t elems, heads = l->n_head;
    if (f->kv_lora) {
        uint64_t qk = (uint64_t)f->qk_nope + f->n_rot;
        if (l->mixer == ARCH_MLA)
            elems = heads * (qk + 2 * (uint64_t)f->n_rot + 2 * (uint64_t)f->kv_lora);
        else
            elems = heads * (2 * qk + (flash ? f->qk_nope + f->v_head_dim + qk : 0));
    } else {
        elems = num_mul_sat(heads * f->head_dim_k, c->family->q_copies);
        if (flash)
            elems += (uint64_t)l->k_elems + l->v_elems;
    }
    uint64_t cells = l->sliding ? c->swa_cells : c->cells;
    uint64_t scores = flash ? 0 : num_mul_sat(mul3(4, c->u, cells), heads);
    return num_add_sat(mul3(4, c->u, elems), scores);
}

/* Widest set of transient tensors alive at once in the layer, without the routed experts. */
static uint64_t bare_peak(const struct ctx *c, const struct arch_layer *l)
{
    uint64_t peak = l->moe ? 0 : mul3(3 * 4, c->u, l->n_ff);
    if (l->k_elems)
        peak = max_u64(peak, attention_peak(c, l));
    /* The gated delta net of qwen3next stays below its experts (measured). */
    if (l->state_bytes && strcmp(c->family->name, "qwen3next") != 0) {
        uint64_t width = max_u64(l->n_state_inner, l->n_state_inner ? 0 : c->f->n_embd);
        uint64_t state = num_mul_sat(l->state_bytes, 1 + (uint64_t)c->o->n_slots);
        peak = max_u64(peak, num_add_sat(mul3(4 * 4, c->u, width), state));
    }
    return peak;
}

/* Inputs of a batch: masks (one more for windows), positions and rows; without flash attention V is
 * stored transposed, one row number per element. */
static void set_inputs(const struct ctx *c, struct estimate_model *m)
{
    bool flash = !c->o->no_flash_attn;
    uint64_t elem = flash ? 2 : 4, mask = 0, rows = 0;
    if (c->attention)
        mask = mul3(elem, c->u, c->cells);
    if (c->f->n_swa)
        mask = num_add_sat(mask, mul3(elem, c->u, c->swa_cells));
    mask = num_add_sat(mask, num_mul_sat(INPUT_BYTES, c->u));
    if (!flash && c->attention && !c->any_mla)
        rows = mul3(8, c->u, c->v_elems);
    m->host_mask = num_add_sat(mask, num_mul_sat(rows, c->f->n_swa ? 2 : 1));
    m->mask = num_add_sat(mask, rows);
    if (quantised(c->o->kv_k) && c->attention)
        m->mask = num_add_sat(m->mask, ROTATION_BYTES);
}

static void set_layer(const struct ctx *c, const struct arch_layer *l, struct estimate_layer *out)
{
    const struct arch_facts *f = c->f;
    out->weights = l->weight_bytes;
    out->experts = l->expert_bytes;
    out->kv = kv_bytes(c, l);
    out->peak_bare = bare_peak(c, l);
    out->peak = l->moe ? max_u64(out->peak_bare, expert_peak(c)) : out->peak_bare;
    out->read = l->weight_bytes;
    if (l->moe && f->n_expert) {
        /* 128 bits: experts' bytes times a count; the quotient is at most the bytes. */
        unsigned __int128 used = (unsigned __int128)l->expert_bytes * f->n_expert_used;
        out->read = l->weight_bytes - l->expert_bytes + (uint64_t)(used / f->n_expert);
    }
}

static void set_warning(const struct ctx *c, struct estimate_model *m)
{
    STR_COPY(m->warning, c->f->warning);
    if (c->f->ctx_train && c->cells > num_pad_sat(c->f->ctx_train, CELL_PAD)) {
        size_t n = strlen(m->warning);
        str_copyf(m->warning + n, sizeof m->warning - n,
                  "%scontext %llu per slot is above the trained %u", n ? "; " : "",
                  (unsigned long long)c->cells, c->f->ctx_train);
    }
}

struct estimate_model *estimate_new(const struct arch_facts *facts,
                                    const struct estimate_opts *opts, struct err *err)
{
    struct ctx c = {.f = facts, .o = opts, .family = &UNKNOWN};
    for (size_t i = 0; i < ARRAY_LEN(FAMILIES); i++)
        if (strcmp(facts->arch, FAMILIES[i].name) == 0)
            c.family = &FAMILIES[i];
    if (check_opts(&c, err) < 0)
        return NULL;
    set_cells(&c);
    struct estimate_model *m = mem_calloc(1, sizeof *m);
    m->n_layers = facts->n_layers;
    m->n_blocks = facts->n_blocks;
    m->layers = mem_calloc(facts->n_layers, sizeof *m->layers);
    for (uint32_t i = 0; i < facts->n_layers; i++) {
        set_layer(&c, &facts->layers[i], &m->layers[i]);
        if (facts->layers[i].moe)
            m->expert_peak = expert_peak(&c);
    }
    m->head = m->head_read = facts->output_bytes;
    m->head_host = facts->output_bytes - facts->tied_bytes;
    m->host_embedding = facts->embedding_bytes;
    m->shared = facts->shared_bytes;
    set_inputs(&c, m);
    m->act = mul3(4, c.u, facts->n_embd);
    if (c.family->big && m->expert_peak)
        m->big = m->act;
    if (facts->kv_lora)
        m->first_extra = num_mul_sat(mul3(4, c.u, facts->n_head), facts->n_rot);
    m->recurrent_only = !c.attention;
    m->logits = mul3(4, facts->n_vocab, opts->n_slots);
    m->n_embd = facts->n_embd;
    m->n_vocab = facts->n_vocab;
    m->file_bytes = facts->file_bytes;
    m->opts = *opts;
    set_warning(&c, m);
    return m;
}

void estimate_free(struct estimate_model *m)
{
    if (!m)
        return;
    free(m->layers);
    free(m);
}
