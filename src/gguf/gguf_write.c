/* The writing side of the format. */
#include "gguf/gguf_write.h"

#include "gguf/gguf.h"

#include "base/num.h"

#include <string.h>

enum { WRITE_ALIGN = 32 };

void gguf_write_le(struct gguf_writer *w, uint64_t value, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        buf_addc(w->out, (char)(value >> (8 * i)));
}

void gguf_write_count(struct gguf_writer *w, uint64_t n)
{
    gguf_write_le(w, n, w->version == 1 ? 4 : 8);
}

static void text(struct gguf_writer *w, const char *s)
{
    size_t n = strlen(s);
    gguf_write_count(w, n);
    buf_add(w->out, s, n);
}

void gguf_write_head(struct gguf_writer *w, struct buf *out, uint32_t version, uint64_t n_tensors,
                     uint64_t n_kv)
{
    *w = (struct gguf_writer){.out = out, .version = version};
    buf_adds(out, "GGUF");
    gguf_write_le(w, version, 4);
    gguf_write_count(w, n_tensors);
    gguf_write_count(w, n_kv);
}

void gguf_write_key(struct gguf_writer *w, const char *key, uint32_t type)
{
    text(w, key);
    gguf_write_le(w, type, 4);
}

void gguf_write_str(struct gguf_writer *w, const char *key, const char *value)
{
    gguf_write_key(w, key, GGUF_STR);
    text(w, value);
}

void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
    gguf_write_key(w, key, GGUF_U32);
    gguf_write_le(w, value, 4);
}

void gguf_write_f32(struct gguf_writer *w, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    gguf_write_key(w, key, GGUF_F32);
    gguf_write_le(w, bits, 4);
}

void gguf_write_bool(struct gguf_writer *w, const char *key, bool value)
{
    gguf_write_key(w, key, GGUF_BOOL);
    gguf_write_le(w, value, 1);
}

void gguf_write_u32s(struct gguf_writer *w, const char *key, const uint32_t *values, uint64_t n)
{
    gguf_write_key(w, key, GGUF_ARR);
    gguf_write_le(w, GGUF_U32, 4);
    gguf_write_count(w, n);
    for (uint64_t i = 0; i < n; i++)
        gguf_write_le(w, values[i], 4);
}

void gguf_write_strs(struct gguf_writer *w, const char *key, const char *const *values, uint64_t n)
{
    gguf_write_key(w, key, GGUF_ARR);
    gguf_write_le(w, GGUF_STR, 4);
    gguf_write_count(w, n);
    for (uint64_t i = 0; i < n; i++)
        text(w, values[i]);
}

void gguf_write_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *ne)
{
    const struct gguf_type_info *ty = gguf_type(type);
    text(w, name);
    gguf_write_le(w, n_dims, 4);
    uint64_t bytes = ty ? ne[0] / ty->block_elems * ty->block_bytes : 0;
    for (uint32_t d = 0; d < n_dims; d++) {
        gguf_write_count(w, ne[d]);
        if (d)
            bytes = num_mul_sat(bytes, ne[d]);
    }
    gguf_write_le(w, type, 4);
    gguf_write_le(w, w->offset, 8);
    w->offset = num_add_sat(w->offset, num_pad_sat(bytes, WRITE_ALIGN));
}

void gguf_write_end(struct gguf_writer *w)
{
    while (w->out->n % WRITE_ALIGN && !w->out->full)
        buf_addc(w->out, 0);
}
