/* GGUF v3 headers, written. */
#include "gguf/gguf_build.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

struct out_tensor {
    uint64_t offset, bytes;
};

struct gguf_builder {
    struct buf keys, table;
    uint64_t n_kv;
    struct out_tensor *tensors;
    size_t n_tensors, cap;
    uint64_t data;
    struct err err; /* the first fault */
};

struct gguf_builder *gguf_builder_new(void)
{
    struct gguf_builder *w = mem_calloc(1, sizeof *w);
    buf_init(&w->keys, GGUF_MAX_HEADER);
    buf_init(&w->table, GGUF_MAX_HEADER);
    return w;
}

void gguf_builder_free(struct gguf_builder *w)
{
    if (!w)
        return;
    buf_done(&w->keys);
    buf_done(&w->table);
    free(w->tensors);
    free(w);
}

/* Little endian, whatever the machine. */
static void put_int(struct buf *b, uint64_t v, size_t n)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(v >> (8 * i));
    buf_add(b, bytes, n);
}

static void put_text(struct buf *b, const char *s)
{
    size_t n = strlen(s);
    put_int(b, n, 8);
    buf_add(b, s, n);
}

static uint32_t float_bits(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void put_key(struct gguf_builder *w, const char *key, enum gguf_value_type type)
{
    put_text(&w->keys, key);
    put_int(&w->keys, type, 4);
    w->n_kv++;
}

void gguf_put_u32(struct gguf_builder *w, const char *key, uint32_t v)
{
    put_key(w, key, GGUF_U32);
    put_int(&w->keys, v, 4);
}

void gguf_put_f32(struct gguf_builder *w, const char *key, float v)
{
    put_key(w, key, GGUF_F32);
    put_int(&w->keys, float_bits(v), 4);
}

void gguf_put_bool(struct gguf_builder *w, const char *key, bool v)
{
    put_key(w, key, GGUF_BOOL);
    put_int(&w->keys, v, 1);
}

void gguf_put_str(struct gguf_builder *w, const char *key, const char *v)
{
    put_key(w, key, GGUF_STR);
    put_text(&w->keys, v);
}

void gguf_put_array(struct gguf_builder *w, const char *key, enum gguf_value_type elem, uint64_t n)
{
    put_key(w, key, GGUF_ARR);
    put_int(&w->keys, elem, 4);
    put_int(&w->keys, n, 8);
}

void gguf_elem_str(struct gguf_builder *w, const char *v)
{
    put_text(&w->keys, v);
}

void gguf_elem_i32(struct gguf_builder *w, int32_t v)
{
    put_int(&w->keys, (uint32_t)v, 4);
}

void gguf_elem_f32(struct gguf_builder *w, float v)
{
    put_int(&w->keys, float_bits(v), 4);
}

void gguf_put_raw(struct gguf_builder *w, const void *p, size_t n, uint64_t n_kv)
{
    buf_add(&w->keys, p, n);
    w->n_kv += n_kv;
}

static void refuse(struct gguf_builder *w, const char *name, const char *why)
{
    if (w->err.code == ERR_NONE)
        err_fill(&w->err, ERR_INVALID, "tensor %.64s: %s", name, why);
}

void gguf_put_tensor(struct gguf_builder *w, const char *name, uint32_t type, uint32_t n_dims,
                     const uint64_t *ne)
{
    const struct gguf_type_info *info = gguf_type(type);
    if (!info || !info->name)
        return refuse(w, name, "unknown type");
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS || ne[0] % info->block_elems)
        return refuse(w, name, "the row length does not divide into blocks of its type");
    uint64_t bytes = num_mul_sat(ne[0] / info->block_elems, info->block_bytes);
    put_text(&w->table, name);
    put_int(&w->table, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) {
        put_int(&w->table, ne[i], 8);
        if (i)
            bytes = num_mul_sat(bytes, ne[i]);
    }
    if (bytes == 0 || bytes > INT64_MAX || w->data > INT64_MAX - bytes)
        return refuse(w, name, "its size is out of range");
    put_int(&w->table, type, 4);
    put_int(&w->table, w->data, 8);
    mem_grow(&w->tensors, &w->cap, w->n_tensors + 1, sizeof *w->tensors);
    w->tensors[w->n_tensors++] = (struct out_tensor){w->data, bytes};
    w->data += num_pad_sat(bytes, GGUF_BUILD_ALIGN);
}

uint64_t gguf_builder_offset(const struct gguf_builder *w, uint32_t i)
{
    return w->tensors[i].offset;
}

uint64_t gguf_builder_data(const struct gguf_builder *w)
{
    return w->data;
}

int gguf_build_header(const struct gguf_builder *w, struct buf *out, struct err *err)
{
    if (w->err.code != ERR_NONE)
        return err_set(err, w->err.code, "%s", w->err.msg);
    size_t start = out->n;
    buf_add(out, "GGUF", 4);
    put_int(out, GGUF_BUILD_VERSION, 4);
    put_int(out, w->n_tensors, 8);
    put_int(out, w->n_kv, 8);
    buf_add(out, w->keys.p, w->keys.n);
    buf_add(out, w->table.p, w->table.n);
    while ((out->n - start) % GGUF_BUILD_ALIGN && !out->full)
        buf_addc(out, 0);
    if (out->full || w->keys.full || w->table.full)
        return err_set(err, ERR_LIMIT, "the header is longer than GGUF_MAX_HEADER, %d bytes",
                       GGUF_MAX_HEADER);
    return 0;
}

/* ---- keys of another header ---- */

struct walk {
    const unsigned char *p;
    size_t n, at;
    bool bad;
};

static uint64_t take_int(struct walk *k, size_t n)
{
    if (k->bad || k->n - k->at < n) {
        k->bad = true;
        return 0;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)k->p[k->at + i] << (8 * i);
    k->at += n;
    return v;
}

static void skip(struct walk *k, uint64_t n)
{
    if (k->bad || k->n - k->at < n)
        k->bad = true;
    else
        k->at += (size_t)n;
}

static size_t value_bytes(uint64_t type)
{
    switch (type) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL:
        return 1;
    case GGUF_U16:
    case GGUF_I16:
        return 2;
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_F32:
        return 4;
    case GGUF_U64:
    case GGUF_I64:
    case GGUF_F64:
        return 8;
    default:
        return 0;
    }
}

static void skip_value(struct walk *k, uint64_t type)
{
    uint64_t n = 1;
    if (type == GGUF_ARR) {
        type = take_int(k, 4);
        n = take_int(k, 8);
    }
    if (type == GGUF_STR) {
        for (; n > 0 && !k->bad; n--)
            skip(k, take_int(k, 8));
        return;
    }
    size_t size = value_bytes(type);
    if (!size || n > k->n / size)
        k->bad = true;
    else
        skip(k, n * size);
}

int gguf_copy_keys(struct gguf_builder *w, const void *header, size_t n,
                   bool (*keep)(const char *key, size_t n), size_t *end, struct err *err)
{
    struct walk k = {.p = header, .n = n};
    skip(&k, 4);
    uint64_t version = take_int(&k, 4);
    take_int(&k, 8);
    uint64_t n_kv = take_int(&k, 8);
    if (!k.bad && (version < 2 || version > 3))
        return err_set(err, ERR_UNSUPPORTED, "GGUF version %u: only 2 and 3 can be copied from",
                       (unsigned)version);
    for (uint64_t i = 0; i < n_kv && !k.bad; i++) {
        size_t start = k.at;
        uint64_t len = take_int(&k, 8);
        const char *key = (const char *)k.p + k.at;
        skip(&k, len);
        skip_value(&k, take_int(&k, 4));
        if (!k.bad && keep(key, (size_t)len))
            gguf_put_raw(w, k.p + start, k.at - start, 1);
    }
    if (k.bad)
        return err_set(err, ERR_CORRUPT, "the keys end at byte %zu, inside an entry", k.at);
    *end = k.at;
    return 0;
}
