/* String views and a capped byte buffer. Pure; a buffer has one owner. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view: borrowed bytes, not NUL-terminated. */
struct str {
    const char *p;
    size_t n;
};
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
struct str str_of(const char *s); /* NULL gives the empty view */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
bool str_starts(struct str s, struct str prefix);
struct str str_trim(struct str s); /* spaces and tabs at both ends */

/* Copies src into dst[cap], truncating; always NUL-terminated. True when it fitted. */
bool str_copy(char *dst, size_t cap, const char *src);
#define STR_COPY(array, src) str_copy((array), sizeof(array), (src))
bool str_copyf(char *dst, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Copies foreign text for a terminal or a document, truncating: whole UTF-8 characters; control
 * characters and broken bytes as '?'. */
void str_clean(char *dst, size_t cap, struct str src);

/* The name in names[n] nearest to `s` (edit distance at most 2), or NULL: for "did you mean". */
const char *str_nearest(const char *s, const char *const *names, size_t n);
/* The same for names inside n structs of `stride` bytes, `first` being that of the first one:
 * str_nearest_in(s, nodes[0].name, n, sizeof *nodes). */
const char *str_nearest_in(const char *s, const char *first, size_t n, size_t stride);
/* "; did you mean 'near'?" to end a message with, or "" for NULL. */
struct str_hint {
    char text[96];
};
struct str_hint str_did_you_mean(const char *near);

/* A growing buffer that never holds more than `max` bytes: a write past it sets `full`, is dropped
 * and stays visible to the caller. `p` is NUL-terminated after every call (the NUL not counted). */
struct buf {
    char *p;
    size_t n, cap, max;
    bool full;
};
void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
#define buf_auto __attribute__((cleanup(buf_done)))
void buf_add(struct buf *b, const void *p, size_t n);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_addv(struct buf *b, const char *fmt, va_list ap);
void buf_drop(struct buf *b, size_t n); /* removes n bytes at the front */
void buf_clear(struct buf *b);
char *buf_take(struct buf *b); /* moves the bytes out (caller frees); the buffer is empty again */
struct str buf_str(const struct buf *b);

#endif
