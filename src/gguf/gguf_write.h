/* Writes GGUF headers into a buffer, right or wrong: for tests only (gguf_build.h makes right
 * ones).
 *
 * Call order is the file's: head, keys, tensors, end. The caller gives the counts of the head; a
 * test may lie about them. */
#ifndef GGUF_WRITE_H
#define GGUF_WRITE_H

#include "base/str.h"

#include <stdint.h>

struct gguf_writer {
    struct buf *out;
    uint32_t version; /* 1: 32-bit counts and dimensions */
    uint64_t offset;  /* of the next tensor in the data section */
};

void gguf_write_head(struct gguf_writer *w, struct buf *out, uint32_t version, uint64_t n_tensors,
                     uint64_t n_kv);
void gguf_write_str(struct gguf_writer *w, const char *key, const char *value);
void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_write_f32(struct gguf_writer *w, const char *key, float value);
void gguf_write_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_write_u32s(struct gguf_writer *w, const char *key, const uint32_t *values, uint64_t n);
void gguf_write_strs(struct gguf_writer *w, const char *key, const char *const *values, uint64_t n);
/* Appends a tensor right behind the one before it, alignment 32. Unknown types take no room. */
void gguf_write_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *ne);
/* Pads the header to the alignment of 32. */
void gguf_write_end(struct gguf_writer *w);

/* Parts of the above, for tests that write what no sane program does. */
void gguf_write_key(struct gguf_writer *w, const char *key, uint32_t type);
void gguf_write_count(struct gguf_writer *w, uint64_t n);
void gguf_write_le(struct gguf_writer *w, uint64_t value, unsigned n_bytes);

#endif
