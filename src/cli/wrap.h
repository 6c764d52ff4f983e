/* Columns of a UTF-8 text on a terminal, and text broken into lines. Pure; any thread. */
#ifndef CLI_WRAP_H
#define CLI_WRAP_H

#include "base/str.h"

/* Columns that a text takes: East Asian wide characters count as two. */
size_t text_columns(const char *s);
/* Bytes of the longest beginning of at most so many columns. */
size_t text_bytes(const char *s, size_t columns);
/* Appends `text` and a newline, broken so that no line is wider than `width`; further lines are
 * indented. `at` columns of the first line are taken already. Lines break at spaces and between
 * wide characters, never before closing punctuation; what has no such place is not broken. */
void text_wrap(struct buf *out, const char *text, size_t width, size_t indent, size_t at);

#endif
