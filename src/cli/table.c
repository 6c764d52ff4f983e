/* The table printer. */
#include "cli/table.h"

#include "base/mem.h"
#include "cli/wrap.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { GAP = 2, NOTE_INDENT = 4, MAX_OUTPUT = 64 << 20, DEFAULT_WIDTH = 80 };

struct row {
    char *cells[TABLE_MAX_COLUMNS];
    size_t n;
    char *note;
};
struct table {
    const struct table_column *columns;
    size_t n_columns;
    struct row *rows;
    size_t n_rows, cap;
};

struct table *table_new(const struct table_column *columns, size_t n)
{
    struct table *t = mem_calloc(1, sizeof *t);
    t->columns = columns;
    t->n_columns = n < TABLE_MAX_COLUMNS ? n : TABLE_MAX_COLUMNS;
    return t;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_rows; i++) {
        for (size_t k = 0; k < t->rows[i].n; k++)
            free(t->rows[i].cells[k]);
        free(t->rows[i].note);
    }
    free(t->rows);
    free(t);
}

void table_row(struct table *t)
{
    mem_grow(&t->rows, &t->cap, t->n_rows + 1, sizeof *t->rows);
    t->n_rows++;
}

void table_cell(struct table *t, const char *fmt, ...)
{
    struct row *r = &t->rows[t->n_rows - 1];
    if (r->n == t->n_columns)
        return;
    buf_auto struct buf b;
    buf_init(&b, 4096);
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&b, fmt, ap);
    va_end(ap);
    r->cells[r->n++] = mem_strdup(b.p ? b.p : "");
}

void table_note(struct table *t, const char *text)
{
    struct row *r = &t->rows[t->n_rows - 1];
    free(r->note);
    r->note = mem_strdup(text);
}

static const char *cell(const struct row *r, size_t k)
{
    return k < r->n ? r->cells[k] : "";
}

/* Widths of the shown columns (0: left out), so that the whole is at most `width` wide. */
static void measure(const struct table *t, size_t width, size_t *w)
{
    size_t total = 0;
    for (size_t k = 0; k < t->n_columns; k++) {
        w[k] = text_columns(t->columns[k].title);
        for (size_t i = 0; i < t->n_rows; i++)
            if (text_columns(cell(&t->rows[i], k)) > w[k])
                w[k] = text_columns(cell(&t->rows[i], k));
        total += w[k] + GAP;
    }
    while (width && total > width + GAP) {
        size_t worst = t->n_columns;
        for (size_t k = 0; k < t->n_columns; k++)
            if (w[k] && t->columns[k].rank > 0 &&
                (worst == t->n_columns || t->columns[k].rank > t->columns[worst].rank))
                worst = k;
        if (worst == t->n_columns)
            return; /* what is left is never dropped */
        total -= w[worst] + GAP;
        w[worst] = 0;
    }
}

static void pad(struct buf *out, size_t n)
{
    while (n--)
        buf_addc(out, ' ');
}

/* The note at the end of the line where it fits whole, else on a line of its own, cut at the width.
 */
static void add_note(const char *note, size_t at, size_t gap, size_t width, struct buf *out)
{
    size_t n = text_columns(note);
    if (!width || at + n <= width) {
        pad(out, gap);
        buf_adds(out, note);
        return;
    }
    buf_addc(out, '\n');
    pad(out, NOTE_INDENT);
    if (NOTE_INDENT + n <= width) {
        buf_adds(out, note);
    } else {
        buf_add(out, note, text_bytes(note, width > NOTE_INDENT ? width - NOTE_INDENT - 1 : 0));
        buf_adds(out, "…");
    }
}

/* One line: the cells of `row`, or the titles when it is NULL. */
static void line(const struct table *t, const struct row *row, const size_t *w, size_t width,
                 struct buf *out)
{
    size_t owed = 0, used = 0;
    for (size_t k = 0; k < t->n_columns; k++) {
        if (!w[k])
            continue;
        const char *text = row ? cell(row, k) : t->columns[k].title;
        size_t n = text_columns(text), left = t->columns[k].right ? w[k] - n : 0;
        if (n) {
            pad(out, owed + left);
            buf_adds(out, text);
            used += owed + left + n;
            owed = w[k] - n - left + GAP;
        } else {
            owed += w[k] + GAP;
        }
    }
    const char *note = row ? row->note : NULL;
    if (note && *note)
        add_note(note, used + owed, owed, width, out);
    buf_addc(out, '\n');
}

void table_render(const struct table *t, size_t width, struct buf *out)
{
    size_t w[TABLE_MAX_COLUMNS];
    measure(t, width, w);
    line(t, NULL, w, width, out);
    for (size_t i = 0; i < t->n_rows; i++)
        line(t, &t->rows[i], w, width, out);
}

void table_print(const struct table *t)
{
    struct winsize ws = {0};
    size_t width = DEFAULT_WIDTH;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col >= 40)
        width = ws.ws_col;
    buf_auto struct buf out;
    buf_init(&out, MAX_OUTPUT);
    table_render(t, width, &out);
    fwrite(out.p, 1, out.n, stdout);
}
