/* The one table printer: columns as wide as their cells, two spaces between, within 80 columns by
 * leaving out the columns of the highest rank. Pure but for the final write. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "base/str.h"

#include <stdbool.h>

enum { TABLE_MAX_COLUMNS = 16 };

struct table_column {
    const char *title;
    bool right; /* numbers */
    int rank;   /* 0: always shown; higher ranks go first when the width is short */
};
struct table;
struct table *table_new(const struct table_column *columns, size_t n);
void table_free(struct table *t);
/* Starts a row; then one table_cell per column (missing cells are empty). */
void table_row(struct table *t);
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A text (a reason) after the last column of the current row, or under it where it does not fit. */
void table_note(struct table *t, const char *text);
/* Renders at most `width` columns wide (0: no bound). Lines end without trailing spaces. */
void table_render(const struct table *t, size_t width, struct buf *out);
/* Renders to stdout at the terminal's width (80 when it is not one). */
void table_print(const struct table *t);

#endif
