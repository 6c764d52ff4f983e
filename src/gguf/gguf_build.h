/* Builds GGUF v3 headers: keys and tensor table to bytes. Pure; a builder has one owner.
 *
 * For models of our own (demonstration, tests): keys in the order of the calls, tensors one after
 * another in the data section, alignment 32. The data itself is the caller's to write, at
 * header + gguf_builder_offset(i). Calls never fail; what is wrong is told once, by
 * gguf_build_header. */
#ifndef GGUF_GGUF_BUILD_H
#define GGUF_GGUF_BUILD_H

#include "base/err.h"
#include "base/str.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GGUF_BUILD_ALIGN = 32, GGUF_BUILD_VERSION = 3 };

struct gguf_builder;
struct gguf_builder *gguf_builder_new(void);
void gguf_builder_free(struct gguf_builder *w); /* NULL allowed */

void gguf_put_u32(struct gguf_builder *w, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_builder *w, const char *key, float v);
void gguf_put_bool(struct gguf_builder *w, const char *key, bool v);
void gguf_put_str(struct gguf_builder *w, const char *key, const char *v);
/* Arrays, element by element: begin once, then exactly n elements of that type. */
void gguf_put_array(struct gguf_builder *w, const char *key, enum gguf_value_type elem, uint64_t n);
void gguf_elem_str(struct gguf_builder *w, const char *v);
void gguf_elem_i32(struct gguf_builder *w, int32_t v);
void gguf_elem_f32(struct gguf_builder *w, float v);
/* Entries that are encoded already (n_kv of them), as found in another file's header. */
void gguf_put_raw(struct gguf_builder *w, const void *p, size_t n, uint64_t n_kv);

/* Adds a tensor of a known type; ne[0] must be a multiple of the type's block. */
void gguf_put_tensor(struct gguf_builder *w, const char *name, uint32_t type, uint32_t n_dims,
                     const uint64_t *ne);
uint64_t gguf_builder_offset(const struct gguf_builder *w, uint32_t i); /* in the data section */
uint64_t gguf_builder_data(const struct gguf_builder *w);               /* whole data section */

/* Appends the header, padded to the alignment. ERR_LIMIT beyond GGUF_MAX_HEADER, ERR_INVALID when a
 * tensor was wrong (named). */
int gguf_build_header(const struct gguf_builder *w, struct buf *out, struct err *err);

/* The end of the key section of a header that gguf_open has accepted: bytes [24, end) are n_kv
 * entries, the tensor table follows. `keep` says per key whether to copy the entry to w. */
int gguf_copy_keys(struct gguf_builder *w, const void *header, size_t n,
                   bool (*keep)(const char *key, size_t n), size_t *end, struct err *err);

#endif
