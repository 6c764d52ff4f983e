/* GGUF container: bytes to keys and tensor table, through a read-at callback. Pure; any thread.
 *
 * Bytes are hostile. Every size is checked before it is multiplied or allocated; the first fault is
 * sticky and names its byte offset. Memory is O(header), capped by the limits below; arrays of the
 * vocabulary are measured and skipped, not kept. Versions 1 to 3, little endian (a big-endian file
 * is named as such). */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Named limits; a file beyond one is refused with ERR_LIMIT and the limit's name. */
enum {
    GGUF_MAX_KV = 65536,
    GGUF_MAX_TENSORS = 1 << 20,
    GGUF_MAX_KEY = 64 << 10,
    GGUF_MAX_TENSOR_NAME = 64,
    GGUF_MAX_STRING = 16 << 20,
    GGUF_MAX_HEADER = 256 << 20, /* bytes up to the data section; an array's bytes too */
    GGUF_MAX_DIMS = 4,
    GGUF_MIN_ALIGN = 8,
    GGUF_MAX_ALIGN = 65536,
    GGUF_MAX_SHARDS = 1024,
    GGUF_KEEP_ARRAY =
        4096, /* number arrays up to this many elements are kept, longer ones only counted */
};

#define GGUF_MAX_DIM ((uint64_t)1 << 40)
#define GGUF_MAX_DATA                                                                              \
    ((uint64_t)1 << 56) /* tensor bytes in all: far above any disk, so sums stay small */

enum gguf_value_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARR,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_VALUE_COUNT,
};

struct gguf_type_info {
    const char *name; /* "q4_K"; NULL: not a type in use */
    uint32_t block_elems, block_bytes;
};
const struct gguf_type_info *gguf_type(uint32_t id); /* NULL when unknown */

struct gguf_tensor {
    const char *name; /* NUL-terminated, owned by the gguf */
    uint32_t n_dims, type;
    uint64_t ne[4];         /* unused dims are 1 */
    uint64_t offset, bytes; /* within the data section; unpadded bytes */
    uint32_t shard;
};

/* Reads n bytes at off into dst; returns bytes read (short only at end of file) or -1 with err. */
typedef int64_t (*gguf_read_at)(void *ctx, uint64_t off, void *dst, size_t n, struct err *err);
struct gguf_source {
    gguf_read_at read_at;
    void *ctx;
    uint64_t size;    /* bytes of the file */
    bool header_only; /* a .ggufh: ends at the data section; tensor extents are not checked against
                         size */
};

struct gguf;
/* Parses one file. NULL with ERR_CORRUPT, ERR_LIMIT, ERR_UNSUPPORTED (bad magic names what was
 * found), ERR_IO. */
struct gguf *gguf_open(const struct gguf_source *src, struct err *err);
/* Adds the tensors of the next shard (split.no must be 1, 2, ... in order; counts and totals
 * checked). */
int gguf_add_shard(struct gguf *g, const struct gguf_source *src, struct err *err);
/* After the last shard: that none is missing. */
int gguf_complete(const struct gguf *g, struct err *err);
void gguf_free(struct gguf *g);
/* Length of the header of any one file of a set, the first or another (its data section's start).
 */
int gguf_header_length(const struct gguf_source *src, uint64_t *out, struct err *err);

/* Shard number and count of a file name "X-00002-of-00005.gguf"; false when it is no such name.
 * gguf_shard_name writes the name of shard `no` (0-based) of the same set. */
bool gguf_split_name(const char *path, uint32_t *no, uint32_t *count);
void gguf_shard_name(const char *path, uint32_t no, char *dst, size_t cap);

uint32_t gguf_version(const struct gguf *g);
uint32_t gguf_n_kv(const struct gguf *g);
uint32_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor(const struct gguf *g, uint32_t i);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g,
                                           const char *name); /* NULL when absent */
uint32_t gguf_n_shards(const struct gguf *g);     /* as split.count says; 1 for a whole file */
uint64_t gguf_data_offset(const struct gguf *g);  /* of the first file: the length of its header */
uint64_t gguf_tensor_bytes(const struct gguf *g); /* padded sum over all tensors */
uint64_t gguf_file_bytes(const struct gguf *g);   /* headers + data, all shards seen */

/* Values by key. False when the key is absent or of another kind (any integer type is accepted for
 * u64 when not negative). Strings are borrowed. */
bool gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out);
bool gguf_get_f64(const struct gguf *g, const char *key, double *out);
bool gguf_get_bool(const struct gguf *g, const char *key, bool *out);
bool gguf_get_str(const struct gguf *g, const char *key, struct str *out);
/* Element count of an array of any element type; and element i of a kept number array (bools are
 * 0 and 1). */
bool gguf_get_array(const struct gguf *g, const char *key, enum gguf_value_type *elem, uint64_t *n);
bool gguf_get_array_u64(const struct gguf *g, const char *key, uint64_t i, uint64_t *out);

#endif
