/* A parsed model: one file or a set of shards, and look-ups in it. */
#include "gguf/gguf.h"
#include "gguf/gguf_internal.h"

#include "base/mem.h"

#include <string.h>

struct gguf *gguf_open(const struct gguf_source *src, struct err *err)
{
    struct gguf *g = mem_calloc(1, sizeof *g);
    if (gguf_parse(g, src, err) < 0) {
        gguf_free(g);
        return NULL;
    }
    if (g->shards_seen != 0) {
        err_fill(err, ERR_CORRUPT, "this is shard %u of %u, the first one is wanted",
                 g->shards_seen + 1, g->n_shards);
        gguf_free(g);
        return NULL;
    }
    g->shards_seen = 1;
    return g;
}

/* Moves the tensors of `part` behind those of g; on a name that is there already g is as before. */
static int take_tensors(struct gguf *g, struct gguf *part, struct err *err)
{
    uint32_t old = g->n_tensors, n = old + part->n_tensors; /* both at most GGUF_MAX_TENSORS */
    struct gguf_tensor *all = mem_calloc((size_t)n + 1, sizeof *all);
    memcpy(all, g->tensors, old * sizeof *all);
    memcpy(all + old, part->tensors, part->n_tensors * sizeof *all);
    struct name_index ix = {0};
    name_index_reset(&ix, n);
    for (uint32_t i = 0; i < n; i++) {
        if (!name_index_add(&ix, all, sizeof *all, i)) {
            char shown[72];
            err_fill(err, ERR_CORRUPT, "tensor %s is in an earlier shard too",
                     gguf_printable(shown, all[i].name));
            name_index_free(&ix);
            free(all);
            return -1;
        }
        if (i >= old)
            all[i].shard = g->shards_seen;
    }
    free(g->tensors);
    name_index_free(&g->tensor_index);
    g->tensors = all;
    g->n_tensors = n;
    g->tensor_index = ix;
    arena_join(&g->arena, &part->arena);
    return 0;
}

static int check_part(const struct gguf *g, const struct gguf *part, struct err *err)
{
    if (g->shards_seen >= g->n_shards)
        return err_set(err, ERR_CORRUPT, "all %u shards are there already", g->n_shards);
    if (part->n_shards != g->n_shards)
        return err_set(err, ERR_CORRUPT, "split.count is %u here and %u in the first shard",
                       part->n_shards, g->n_shards);
    if (part->shards_seen != g->shards_seen)
        return err_set(err, ERR_CORRUPT, "split.no is %u, wanted %u: shards mixed up",
                       part->shards_seen, g->shards_seen);
    if (g->has_total && part->has_total && part->total != g->total)
        return err_set(err, ERR_CORRUPT,
                       "split.tensors.count is %llu here and %llu in the first shard",
                       (unsigned long long)part->total, (unsigned long long)g->total);
    if (part->n_tensors > GGUF_MAX_TENSORS - g->n_tensors)
        return err_set(err, ERR_LIMIT, "more than %d tensors in all shards (GGUF_MAX_TENSORS)",
                       GGUF_MAX_TENSORS);
    if (part->tensor_bytes > GGUF_MAX_DATA - g->tensor_bytes)
        return err_set(err, ERR_LIMIT,
                       "the shards add up to more than any model holds "
                       "(GGUF_MAX_DATA)");
    return 0;
}

int gguf_add_shard(struct gguf *g, const struct gguf_source *src, struct err *err)
{
    struct gguf *part = mem_calloc(1, sizeof *part);
    int rc = -1;
    if (gguf_parse(part, src, err) == 0 && check_part(g, part, err) == 0 &&
        take_tensors(g, part, err) == 0) {
        uint64_t bytes;
        g->tensor_bytes += part->tensor_bytes; /* check_part */
        if (__builtin_add_overflow(g->file_bytes, part->file_bytes, &bytes))
            bytes = UINT64_MAX;
        g->file_bytes = bytes;
        g->shards_seen++;
        rc = 0;
    }
    gguf_free(part);
    return rc;
}

int gguf_complete(const struct gguf *g, struct err *err)
{
    if (g->shards_seen < g->n_shards)
        return err_set(err, ERR_NOT_FOUND, "%u of %u shards are missing",
                       g->n_shards - g->shards_seen, g->n_shards);
    if (g->has_total && g->total != g->n_tensors)
        return err_set(err, ERR_CORRUPT,
                       "the shards hold %u tensors, split.tensors.count says %llu", g->n_tensors,
                       (unsigned long long)g->total);
    return 0;
}

int gguf_header_length(const struct gguf_source *src, uint64_t *out, struct err *err)
{
    struct gguf *g = mem_calloc(1, sizeof *g);
    int rc = gguf_parse(g, src, err);
    if (rc == 0)
        *out = g->data_offset;
    gguf_free(g);
    return rc;
}

void gguf_free(struct gguf *g)
{
    if (!g)
        return;
    free(g->pairs);
    free(g->tensors);
    name_index_free(&g->pair_index);
    name_index_free(&g->tensor_index);
    arena_free(&g->arena);
    free(g);
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint32_t gguf_n_kv(const struct gguf *g)
{
    return g->n_pairs;
}

uint32_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, uint32_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    uint32_t i = name_index_find(&g->tensor_index, g->tensors, sizeof *g->tensors, name);
    return i == UINT32_MAX ? NULL : &g->tensors[i];
}

uint32_t gguf_n_shards(const struct gguf *g)
{
    return g->n_shards;
}

uint64_t gguf_data_offset(const struct gguf *g)
{
    return g->data_offset;
}

uint64_t gguf_tensor_bytes(const struct gguf *g)
{
    return g->tensor_bytes;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    return g->file_bytes;
}

static const struct gguf_pair *find_pair(const struct gguf *g, const char *key)
{
    uint32_t i = name_index_find(&g->pair_index, g->pairs, sizeof *g->pairs, key);
    return i == UINT32_MAX ? NULL : &g->pairs[i];
}

/* The integer of `raw` (sign-extended) when its type is one and it is not negative. */
static bool as_u64(uint32_t type, uint64_t raw, uint64_t *out)
{
    switch (type) {
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        if (raw >> 63)
            return false;
        break;
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        break;
    default:
        return false;
    }
    *out = raw;
    return true;
}

bool gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out)
{
    const struct gguf_pair *p = find_pair(g, key);
    return p && as_u64(p->type, p->v.u, out);
}

bool gguf_get_f64(const struct gguf *g, const char *key, double *out)
{
    const struct gguf_pair *p = find_pair(g, key);
    if (!p || (p->type != GGUF_F32 && p->type != GGUF_F64))
        return false;
    *out = p->v.f;
    return true;
}

bool gguf_get_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct gguf_pair *p = find_pair(g, key);
    if (!p || p->type != GGUF_BOOL)
        return false;
    *out = p->v.u != 0;
    return true;
}

bool gguf_get_str(const struct gguf *g, const char *key, struct str *out)
{
    const struct gguf_pair *p = find_pair(g, key);
    if (!p || p->type != GGUF_STR)
        return false;
    *out = (struct str){p->v.s, (size_t)p->n};
    return true;
}

bool gguf_get_array(const struct gguf *g, const char *key, enum gguf_value_type *elem, uint64_t *n)
{
    const struct gguf_pair *p = find_pair(g, key);
    if (!p || p->type != GGUF_ARR)
        return false;
    *elem = (enum gguf_value_type)p->elem_type;
    *n = p->n;
    return true;
}

bool gguf_get_array_u64(const struct gguf *g, const char *key, uint64_t i, uint64_t *out)
{
    const struct gguf_pair *p = find_pair(g, key);
    if (!p || p->type != GGUF_ARR || !p->v.elems || i >= p->n)
        return false;
    unsigned size = gguf_value_bytes(p->elem_type);
    uint64_t raw = gguf_le(p->v.elems + i * size, size);
    if (p->elem_type == GGUF_BOOL) {
        *out = raw != 0;
        return true;
    }
    if (p->elem_type == GGUF_I8 || p->elem_type == GGUF_I16 || p->elem_type == GGUF_I32) {
        uint64_t sign = (uint64_t)1 << (size * 8 - 1);
        raw = (raw ^ sign) - sign;
    }
    return as_u64(p->elem_type, raw, out);
}
