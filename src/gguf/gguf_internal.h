/* Shared by the parts of the GGUF reader; nobody else includes it. */
#ifndef GGUF_INTERNAL_H
#define GGUF_INTERNAL_H

#include "base/err.h"
#include "gguf/gguf.h"

#include <endian.h>
#include <string.h>

/* ---- The checked cursor: the only place where foreign bytes are read. The first fault sticks;
 * later reads give zeros, so callers may check once per step. */
enum { CURSOR_WINDOW = 32 << 10 };

struct cursor {
    const struct gguf_source *src;
    uint64_t pos;  /* of the next byte */
    uint64_t end;  /* the file's size or GGUF_MAX_HEADER, whichever is less */
    uint64_t base; /* file offset of window[0] */
    size_t have;   /* valid bytes of the window */
    unsigned char *window;
    bool short_counts; /* version 1: counts and lengths have 32 bits */
    bool failed;
    struct err err;
};

void cursor_init(struct cursor *c, const struct gguf_source *src);
void cursor_done(struct cursor *c);
/* Records the first fault with the byte offset `at`. Returns -1. */
int cursor_fail(struct cursor *c, uint64_t at, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
uint64_t cursor_left(const struct cursor *c);
/* True when n more bytes exist; else the fault is recorded. */
void cursor_short(struct cursor *c, uint64_t n);
static inline bool cursor_need(struct cursor *c, uint64_t n)
{
    if (!c->failed && n <= c->end - c->pos)
        return true;
    cursor_short(c, n);
    return false;
}
void cursor_bytes(struct cursor *c, void *dst, size_t n);

/* The next n bytes when the window holds them all, else NULL. A window never passes `end`, and is
 * emptied by the first fault, so this is the bounds check for what is read from it. */
static inline const unsigned char *cursor_peek(const struct cursor *c, size_t n)
{
    uint64_t at = c->pos - c->base; /* pos is never before base */
    return at <= c->have && n <= c->have - at ? c->window + at : NULL;
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    uint32_t v;
    const unsigned char *p = cursor_peek(c, sizeof v);
    if (p) {
        memcpy(&v, p, sizeof v);
        c->pos += sizeof v;
    } else {
        cursor_bytes(c, &v, sizeof v);
    }
    return le32toh(v);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    uint64_t v;
    const unsigned char *p = cursor_peek(c, sizeof v);
    if (p) {
        memcpy(&v, p, sizeof v);
        c->pos += sizeof v;
    } else {
        cursor_bytes(c, &v, sizeof v);
    }
    return le64toh(v);
}

/* 32 or 64 bits, by version. */
static inline uint64_t cursor_count(struct cursor *c)
{
    return c->short_counts ? cursor_u32(c) : cursor_u64(c);
}

static inline void cursor_skip(struct cursor *c, uint64_t n)
{
    if (cursor_need(c, n))
        c->pos += n;
}

/* ---- Names by hash. Rows of a table whose first member is `const char *name`. The hash is keyed
 * with the address of its own slots, which a file cannot know, so that names cannot be chosen to
 * collide; results do not depend on it. */
struct name_index {
    uint32_t *slots; /* row + 1; 0 is free */
    uint32_t mask;
};
/* Room for n rows; what was indexed is forgotten. */
void name_index_reset(struct name_index *ix, uint32_t n);
void name_index_free(struct name_index *ix);
/* Adds row i; false when its name is there already. */
bool name_index_add(struct name_index *ix, const void *rows, size_t stride, uint32_t i);
/* Row number, or UINT32_MAX. */
uint32_t name_index_find(const struct name_index *ix, const void *rows, size_t stride,
                         const char *name);

/* ---- Bytes that live as long as the gguf. */
struct arena {
    struct arena_block *first;
};
void *arena_alloc(struct arena *a, size_t n);
void arena_free(struct arena *a);
/* Moves all blocks of b to a. */
void arena_join(struct arena *a, struct arena *b);

struct gguf_pair {
    const char *name;
    uint32_t type, elem_type; /* elem_type of an array */
    uint64_t n;               /* bytes of a string; elements of an array */
    union {
        uint64_t u; /* integers (sign-extended) and bool */
        double f;
        const char *s;              /* string, NUL added */
        const unsigned char *elems; /* kept array: raw little-endian elements; else NULL */
    } v;
};

struct gguf {
    uint32_t version;
    uint32_t n_shards, shards_seen;
    bool has_total; /* split.tensors.count given */
    uint64_t total;
    struct gguf_pair *pairs;
    uint32_t n_pairs;
    struct gguf_tensor *tensors;
    uint32_t n_tensors;
    struct name_index pair_index, tensor_index;
    struct arena arena;
    uint64_t align, data_offset, tensor_bytes, file_bytes;
};

unsigned gguf_value_bytes(uint32_t type); /* 0: string, array or no type */
uint64_t gguf_le(const unsigned char *p, unsigned n);
/* Parses one file into *g (zeroed). On failure the caller still frees g. */
int gguf_parse(struct gguf *g, const struct gguf_source *src, struct err *err);
/* A name of foreign bytes for a message: printable ASCII, cut. Returns dst. */
const char *gguf_printable(char dst[72], const char *name);

#endif
