/* One GGUF file: head, key/value pairs, tensor table, layout. Every count is checked against the
 * bytes that are left before anything is allocated for it. */
#include "gguf/gguf_internal.h"

#include "base/mem.h"

#include <string.h>

typedef unsigned long long ull;

/* The least bytes that a pair, a tensor or a string can take in the file: what bounds a count.
 * Version 1 writes 32-bit lengths and dimensions. */
static uint64_t min_pair(const struct cursor *c)
{
    return c->short_counts ? 4 + 1 + 4 + 1 : 8 + 1 + 4 + 1;
}

static uint64_t min_tensor(const struct cursor *c)
{
    return c->short_counts ? 4 + 1 + 4 + 4 + 4 + 8 : 8 + 1 + 4 + 8 + 4 + 8;
}

/* Checks that a count can be true: within its limit, and its least size within the file. */
static bool count_fits(struct cursor *c, uint64_t at, uint64_t n, uint64_t least, const char *what)
{
    uint64_t bytes;
    if (c->failed)
        return false;
    if (__builtin_mul_overflow(n, least, &bytes) || bytes > cursor_left(c)) {
        cursor_fail(c, at, ERR_CORRUPT, "%llu %s claimed, %llu bytes left", (ull)n, what,
                    (ull)cursor_left(c));
        return false;
    }
    return true;
}

static const char *magic_hint(const unsigned char *m)
{
    if (memcmp(m, "vers", 4) == 0)
        return ": a Git LFS pointer, fetch the file itself";
    if (memcmp(m, "<!DO", 4) == 0 || memcmp(m, "<htm", 4) == 0)
        return ": a web page, the download failed";
    if (memcmp(m, "PK\3\4", 4) == 0)
        return ": a zip or PyTorch file, convert it to GGUF";
    if (memcmp(m, "lmgg", 4) == 0 || memcmp(m, "tjgg", 4) == 0 || memcmp(m, "fmgg", 4) == 0)
        return ": a model format from before GGUF, convert it again";
    return "";
}

static void read_head(struct cursor *c, struct gguf *g, uint64_t *n_tensors, uint64_t *n_pairs)
{
    unsigned char magic[4];
    cursor_bytes(c, magic, sizeof magic);
    if (!c->failed && memcmp(magic, "GGUF", 4) != 0) {
        cursor_fail(c, 0, ERR_UNSUPPORTED,
                    "no GGUF file: it starts with %02x %02x %02x %02x, not \"GGUF\"%s", magic[0],
                    magic[1], magic[2], magic[3], magic_hint(magic));
        return;
    }
    g->version = cursor_u32(c);
    if (c->failed)
        return;
    if (g->version && (g->version & 0xffff) == 0) {
        cursor_fail(c, 4, ERR_UNSUPPORTED, "a big-endian GGUF file; only little-endian is read");
        return;
    }
    if (g->version < 1 || g->version > 3) {
        cursor_fail(c, 4, ERR_UNSUPPORTED, "GGUF version %u; 1 to 3 are known", g->version);
        return;
    }
    c->short_counts = g->version == 1;
    uint64_t at = c->pos;
    *n_tensors = cursor_count(c);
    if (!c->failed && *n_tensors > GGUF_MAX_TENSORS)
        cursor_fail(c, at, ERR_LIMIT, "%llu tensors claimed; at most %d (GGUF_MAX_TENSORS)",
                    (ull)*n_tensors, GGUF_MAX_TENSORS);
    at = c->pos;
    *n_pairs = cursor_count(c);
    if (!c->failed && *n_pairs > GGUF_MAX_KV)
        cursor_fail(c, at, ERR_LIMIT, "%llu keys claimed; at most %d (GGUF_MAX_KV)", (ull)*n_pairs,
                    GGUF_MAX_KV);
}

/* Reads a length and that many bytes; NULL on a fault. `limit` names itself as `limit_name`. */
static const char *read_text(struct cursor *c, struct gguf *g, uint64_t limit,
                             const char *limit_name, uint64_t *n_out)
{
    uint64_t at = c->pos;
    uint64_t n = cursor_count(c);
    if (c->failed)
        return NULL;
    if (n > limit) {
        cursor_fail(c, at, ERR_LIMIT, "a text of %llu bytes; at most %llu (%s)", (ull)n, (ull)limit,
                    limit_name);
        return NULL;
    }
    if (!cursor_need(c, n))
        return NULL;
    char *p = arena_alloc(&g->arena, (size_t)n + 1);
    cursor_bytes(c, p, (size_t)n);
    p[n] = '\0';
    *n_out = n;
    return c->failed ? NULL : p;
}

/* A name is a text that is not empty and holds no NUL, so that it equals itself as a C string. */
static const char *read_name(struct cursor *c, struct gguf *g, uint64_t limit,
                             const char *limit_name)
{
    uint64_t at = c->pos, n;
    const char *p = read_text(c, g, limit, limit_name, &n);
    if (!p)
        return NULL;
    if (n == 0 || memchr(p, 0, (size_t)n)) {
        cursor_fail(c, at, ERR_CORRUPT, n ? "a name with a NUL byte in it" : "an empty name");
        return NULL;
    }
    return p;
}

static void skip_texts(struct cursor *c, uint64_t n)
{
    for (uint64_t i = 0; i < n && !c->failed; i++) {
        uint64_t at = c->pos;
        uint64_t len = cursor_count(c);
        if (!c->failed && len > GGUF_MAX_STRING)
            cursor_fail(c, at, ERR_LIMIT,
                        "text %llu of %llu has %llu bytes; at most %d (GGUF_MAX_STRING)",
                        (ull)i + 1, (ull)n, (ull)len, GGUF_MAX_STRING);
        cursor_skip(c, len);
    }
}

static void read_array(struct cursor *c, struct gguf *g, struct gguf_pair *p)
{
    uint64_t at = c->pos;
    p->elem_type = cursor_u32(c);
    if (c->failed)
        return;
    if (p->elem_type == GGUF_ARR || p->elem_type >= GGUF_VALUE_COUNT) {
        cursor_fail(c, at, ERR_UNSUPPORTED,
                    p->elem_type == GGUF_ARR ? "an array of arrays" : "an array of value type %u",
                    p->elem_type);
        return;
    }
    at = c->pos;
    p->n = cursor_count(c);
    unsigned size = gguf_value_bytes(p->elem_type);
    if (p->elem_type == GGUF_STR) {
        if (count_fits(c, at, p->n, c->short_counts ? 4 : 8, "texts"))
            skip_texts(c, p->n);
        return;
    }
    if (!count_fits(c, at, p->n, size, "array elements"))
        return;
    if (p->n > GGUF_KEEP_ARRAY) {
        cursor_skip(c, p->n * size); /* checked by count_fits */
        return;
    }
    unsigned char *elems = arena_alloc(&g->arena, (size_t)p->n * size + 1);
    cursor_bytes(c, elems, (size_t)p->n * size);
    p->v.elems = elems;
}

static void read_value(struct cursor *c, struct gguf *g, struct gguf_pair *p)
{
    unsigned char b[8] = {0};
    unsigned size = gguf_value_bytes(p->type);
    switch ((enum gguf_value_type)p->type) {
    case GGUF_STR:
        p->v.s = read_text(c, g, GGUF_MAX_STRING, "GGUF_MAX_STRING", &p->n);
        return;
    case GGUF_ARR:
        read_array(c, g, p);
        return;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32: {
        cursor_bytes(c, b, size);
        uint64_t sign = (uint64_t)1 << (size * 8 - 1);
        p->v.u = (gguf_le(b, size) ^ sign) - sign;
        return;
    }
    case GGUF_F32: {
        uint32_t bits = cursor_u32(c);
        float f;
        memcpy(&f, &bits, sizeof f);
        p->v.f = (double)f;
        return;
    }
    case GGUF_F64: {
        uint64_t bits = cursor_u64(c);
        memcpy(&p->v.f, &bits, sizeof bits);
        return;
    }
    default:
        cursor_bytes(c, b, size);
        p->v.u = gguf_le(b, size);
    }
}

/* Two scalars of one type and one value. Floats are compared as bits: -0 and NaN are no matter. */
static bool same_value(const struct gguf_pair *a, const struct gguf_pair *b)
{
    if (a->type != b->type || a->type == GGUF_ARR)
        return false;
    if (a->type == GGUF_STR)
        return a->n == b->n && memcmp(a->v.s, b->v.s, (size_t)a->n) == 0;
    return a->v.u == b->v.u;
}

/* Indexes the pair behind the last one. A key that is repeated with the same value is dropped, as
 * writers in use do that; with another value the file contradicts itself. */
static bool take_pair(struct cursor *c, struct gguf *g, uint64_t at)
{
    const struct gguf_pair *p = &g->pairs[g->n_pairs];
    if (name_index_add(&g->pair_index, g->pairs, sizeof *g->pairs, g->n_pairs)) {
        g->n_pairs++;
        return true;
    }
    uint32_t old = name_index_find(&g->pair_index, g->pairs, sizeof *g->pairs, p->name);
    if (same_value(&g->pairs[old], p))
        return true;
    char shown[72];
    cursor_fail(c, at, ERR_CORRUPT, "key %s occurs twice with different values",
                gguf_printable(shown, p->name));
    return false;
}

static void read_pairs(struct cursor *c, struct gguf *g, uint64_t n)
{
    if (!count_fits(c, c->pos, n, min_pair(c), "keys"))
        return;
    g->pairs = mem_calloc(n + 1, sizeof *g->pairs);
    name_index_reset(&g->pair_index, (uint32_t)n);
    char shown[72];
    for (uint32_t i = 0; i < n; i++) {
        struct gguf_pair *p = &g->pairs[g->n_pairs];
        uint64_t at = c->pos;
        *p = (struct gguf_pair){0};
        p->name = read_name(c, g, GGUF_MAX_KEY, "GGUF_MAX_KEY");
        if (!p->name)
            return;
        uint64_t type_at = c->pos;
        p->type = cursor_u32(c);
        if (!c->failed && p->type >= GGUF_VALUE_COUNT)
            cursor_fail(c, type_at, ERR_UNSUPPORTED, "a value of type %u, which is not known",
                        p->type);
        if (!c->failed)
            read_value(c, g, p);
        if (c->failed) {
            err_wrap(&c->err, "key %s", gguf_printable(shown, p->name));
            return;
        }
        if (!take_pair(c, g, at))
            return;
    }
}

/* Bytes of a tensor from its type and dimensions, all of them checked. */
static int tensor_size(struct cursor *c, uint64_t at, struct gguf_tensor *t)
{
    const struct gguf_type_info *ty = gguf_type(t->type);
    if (!ty)
        return cursor_fail(c, at, ERR_UNSUPPORTED, "tensor type %u is not known", t->type);
    if (t->ne[0] % ty->block_elems)
        return cursor_fail(c, at, ERR_CORRUPT, "rows of %llu elements are no multiple of %u (%s)",
                           (ull)t->ne[0], ty->block_elems, ty->name);
    uint64_t bytes = t->ne[0] / ty->block_elems, elems = t->ne[0];
    bool bad = __builtin_mul_overflow(bytes, ty->block_bytes, &bytes);
    for (int d = 1; d < GGUF_MAX_DIMS; d++) {
        bad |= __builtin_mul_overflow(bytes, t->ne[d], &bytes);
        bad |= __builtin_mul_overflow(elems, t->ne[d], &elems);
    }
    if (bad || bytes > GGUF_MAX_DATA || elems > GGUF_MAX_DATA)
        return cursor_fail(c, at, ERR_LIMIT,
                           "%llu x %llu x %llu x %llu elements of %s are more than any file holds "
                           "(GGUF_MAX_DATA)",
                           (ull)t->ne[0], (ull)t->ne[1], (ull)t->ne[2], (ull)t->ne[3], ty->name);
    t->bytes = bytes;
    return 0;
}

static int read_tensor(struct cursor *c, struct gguf *g, struct gguf_tensor *t)
{
    uint64_t at = c->pos;
    t->n_dims = cursor_u32(c);
    if (c->failed)
        return -1;
    if (t->n_dims < 1 || t->n_dims > GGUF_MAX_DIMS)
        return cursor_fail(c, at, ERR_CORRUPT, "%u dimensions; 1 to %d are allowed", t->n_dims,
                           GGUF_MAX_DIMS);
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
        uint64_t dim_at = c->pos;
        t->ne[d] = d < t->n_dims ? cursor_count(c) : 1;
        if (!c->failed && (t->ne[d] < 1 || t->ne[d] > GGUF_MAX_DIM))
            return cursor_fail(c, dim_at, ERR_CORRUPT,
                               "dimension %u is %llu; 1 to 2^40 are allowed (GGUF_MAX_DIM)", d,
                               (ull)t->ne[d]);
    }
    at = c->pos;
    t->type = cursor_u32(c);
    if (c->failed || tensor_size(c, at, t) < 0)
        return -1;
    at = c->pos;
    t->offset = cursor_u64(c);
    if (!c->failed && (t->offset & (g->align - 1))) /* a power of two */
        return cursor_fail(c, at, ERR_CORRUPT, "offset %llu is no multiple of the alignment %llu",
                           (ull)t->offset, (ull)g->align);
    uint64_t end;
    if (!c->failed && (__builtin_add_overflow(t->offset, t->bytes, &end) || end > GGUF_MAX_DATA))
        return cursor_fail(c, at, ERR_CORRUPT, "offset %llu + %llu bytes lie beyond any file",
                           (ull)t->offset, (ull)t->bytes);
    return c->failed ? -1 : 0;
}

static void read_tensors(struct cursor *c, struct gguf *g, uint64_t n)
{
    if (!count_fits(c, c->pos, n, min_tensor(c), "tensors"))
        return;
    g->tensors = mem_calloc(n + 1, sizeof *g->tensors);
    name_index_reset(&g->tensor_index, (uint32_t)n);
    char shown[72];
    for (uint32_t i = 0; i < n; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        uint64_t at = c->pos;
        t->name = read_name(c, g, GGUF_MAX_TENSOR_NAME - 1, "GGUF_MAX_TENSOR_NAME");
        if (!t->name)
            return;
        if (!name_index_add(&g->tensor_index, g->tensors, sizeof *g->tensors, i)) {
            cursor_fail(c, at, ERR_CORRUPT, "tensor %s occurs twice",
                        gguf_printable(shown, t->name));
            return;
        }
        g->n_tensors = i + 1;
        if (read_tensor(c, g, t) < 0) {
            err_wrap(&c->err, "tensor %s", gguf_printable(shown, t->name));
            return;
        }
    }
}

static void read_alignment(struct cursor *c, struct gguf *g)
{
    static const char KEY[] = "general.alignment";
    g->align = 32;
    bool there = name_index_find(&g->pair_index, g->pairs, sizeof *g->pairs, KEY) != UINT32_MAX;
    if (there && !gguf_get_u64(g, KEY, &g->align)) {
        cursor_fail(c, c->pos, ERR_CORRUPT, "%s is not a number from %d to %d", KEY, GGUF_MIN_ALIGN,
                    GGUF_MAX_ALIGN);
        return;
    }
    if (g->align < GGUF_MIN_ALIGN || g->align > GGUF_MAX_ALIGN || (g->align & (g->align - 1)))
        cursor_fail(c, c->pos, ERR_CORRUPT, "%s must be a power of two from %d to %d, found %llu",
                    KEY, GGUF_MIN_ALIGN, GGUF_MAX_ALIGN, (ull)g->align);
}

static void read_split(struct cursor *c, struct gguf *g, uint64_t *no)
{
    uint64_t count = 1;
    *no = 0;
    gguf_get_u64(g, "split.count", &count);
    if (count == 0)
        count = 1; /* some writers mark whole files so */
    if (count > GGUF_MAX_SHARDS) {
        cursor_fail(c, c->pos, ERR_LIMIT, "split.count is %llu; at most %d (GGUF_MAX_SHARDS)",
                    (ull)count, GGUF_MAX_SHARDS);
        return;
    }
    gguf_get_u64(g, "split.no", no);
    if (*no >= count)
        cursor_fail(c, c->pos, ERR_CORRUPT, "split.no is %llu in a set of %llu", (ull)*no,
                    (ull)count);
    g->has_total = count > 1 && gguf_get_u64(g, "split.tensors.count", &g->total);
    g->n_shards = (uint32_t)count;
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    if ((*x)->offset != (*y)->offset)
        return (*x)->offset < (*y)->offset ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

/* No two tensors share a byte. Files in use are in order, so the sort is for strange ones only. */
static int check_overlap(struct cursor *c, const struct gguf *g)
{
    uint32_t i = 1;
    while (i < g->n_tensors &&
           g->tensors[i].offset >= g->tensors[i - 1].offset + g->tensors[i - 1].bytes)
        i++;
    if (i >= g->n_tensors)
        return 0;
    mem_auto const struct gguf_tensor **order = mem_calloc(g->n_tensors, sizeof *order);
    for (i = 0; i < g->n_tensors; i++)
        order[i] = &g->tensors[i];
    qsort(order, g->n_tensors, sizeof *order, by_offset);
    for (i = 1; i < g->n_tensors; i++)
        if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes) {
            char a[72], b[72];
            return cursor_fail(c, order[i]->offset, ERR_CORRUPT,
                               "tensors %.70s and %.70s overlap in the data section",
                               gguf_printable(a, order[i - 1]->name),
                               gguf_printable(b, order[i]->name));
        }
    return 0;
}

/* Where the data section starts, how long it is, and that every tensor lies inside the file. */
static void check_layout(struct cursor *c, struct gguf *g)
{
    uint64_t pad = (g->align - c->pos % g->align) % g->align;
    g->data_offset = c->pos + pad; /* below GGUF_MAX_HEADER + GGUF_MAX_ALIGN */
    uint64_t data_end = 0;
    char shown[72];
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        uint64_t padded = t->bytes + (-t->bytes & (g->align - 1));
        uint64_t end = t->offset + t->bytes; /* both checked against GGUF_MAX_DATA */
        if (__builtin_add_overflow(g->tensor_bytes, padded, &g->tensor_bytes) ||
            g->tensor_bytes > GGUF_MAX_DATA) {
            cursor_fail(c, c->pos, ERR_LIMIT,
                        "the tensors add up to more than any file holds "
                        "(GGUF_MAX_DATA)");
            return;
        }
        if (!c->src->header_only &&
            (c->src->size < g->data_offset || end > c->src->size - g->data_offset)) {
            cursor_fail(c, g->data_offset + t->offset, ERR_CORRUPT,
                        "tensor %s ends at byte %llu, the file at %llu: cut short or damaged",
                        gguf_printable(shown, t->name), (ull)(g->data_offset + end),
                        (ull)c->src->size);
            return;
        }
        data_end = end > data_end ? end : data_end;
    }
    g->file_bytes = c->src->header_only ? g->data_offset + data_end : c->src->size;
    check_overlap(c, g);
}

int gguf_parse(struct gguf *g, const struct gguf_source *src, struct err *err)
{
    struct cursor c;
    uint64_t n_tensors = 0, n_pairs = 0, no = 0;
    cursor_init(&c, src);
    read_head(&c, g, &n_tensors, &n_pairs);
    if (!c.failed)
        read_pairs(&c, g, n_pairs);
    if (!c.failed)
        read_alignment(&c, g);
    if (!c.failed)
        read_split(&c, g, &no);
    if (!c.failed)
        read_tensors(&c, g, n_tensors);
    if (!c.failed)
        check_layout(&c, g);
    cursor_done(&c);
    if (c.failed) {
        if (err)
            *err = c.err;
        return -1;
    }
    g->shards_seen = (uint32_t)no; /* the caller checks that it is the one it wants */
    return 0;
}
