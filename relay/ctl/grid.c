#include "relay/ctl/grid.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

#define CELL_MAX 2048
#define GAP 2

/* Control bytes, and U+0080 to U+009F, which some terminals obey too. */
static bool
is_control(const char *p)
{
    unsigned char first = (unsigned char)p[0], second = first ? (unsigned char)p[1] : 0;

    return first < 0x20 || first == 0x7f || (first == 0xc2 && second >= 0x80 && second < 0xa0);
}

static char *
plain_copy(const char *text)
{
    char *copy = xstrdup(text);

    for (char *p = copy; *p; p++) {
        if (!is_control(p))
            continue;
        if ((unsigned char)*p == 0xc2)
            *p++ = '?';
        *p = '?';
    }
    return copy;
}

static void
push(struct grid *g, const char *text)
{
    char *cell = plain_copy(text);

    if (g->n_cells == g->n_allocated) {
        g->n_allocated = g->n_allocated ? 2 * g->n_allocated : 64;
        g->cells = xrealloc(g->cells, g->n_allocated * sizeof(*g->cells));
    }
    g->cells[g->n_cells++] = cell;
}

void
grid_init(struct grid *g, const char *const *headings)
{
    memset(g, 0, sizeof(*g));
    while (headings[g->n_columns])
        push(g, headings[g->n_columns++]);
    sg_assert(g->n_columns <= GRID_COLUMNS_MAX);
}

void
grid_fini(struct grid *g)
{
    for (size_t i = 0; i < g->n_cells; i++)
        free(g->cells[i]);
    free(g->cells);
    memset(g, 0, sizeof(*g));
}

void
grid_add(struct grid *g, const char *fmt, ...)
{
    char text[CELL_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    push(g, text[0] ? text : "-");
}

/* Characters, not bytes, so that UTF-8 names stay aligned. */
static size_t
width(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void
print_cell(const char *text, size_t column_width, bool right, bool last, FILE *out)
{
    size_t pad = column_width - width(text);

    if (right)
        fprintf(out, "%*s%s", (int)pad, "", text);
    else
        fprintf(out, "%s%*s", text, last ? 0 : (int)pad, "");
    if (last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", GAP, "");
}

size_t
grid_print(const struct grid *g, FILE *out)
{
    size_t widths[GRID_COLUMNS_MAX] = {0};
    bool right[GRID_COLUMNS_MAX] = {false};

    if (g->n_cells <= g->n_columns)
        return 0;
    for (size_t i = 0; i < g->n_cells; i++) {
        size_t col = i % g->n_columns;
        const char *text = g->cells[i];

        right[col] = g->cells[col][0] == '>';
        if (i < g->n_columns && right[col])
            text++;
        if (width(text) > widths[col])
            widths[col] = width(text);
    }
    for (size_t i = 0; i < g->n_cells; i++) {
        size_t col = i % g->n_columns;
        const char *text = g->cells[i] + (i < g->n_columns && right[col]);

        print_cell(text, widths[col], right[col], col + 1 == g->n_columns, out);
    }
    return g->n_cells / g->n_columns - 1;
}

void
grid_print_plain(const char *text, FILE *out)
{
    char *plain = plain_copy(text);

    fputs(plain, out);
    free(plain);
}

size_t
grid_finish(struct grid *g, FILE *out, const char *none)
{
    size_t n = grid_print(g, out);

    if (n == 0)
        fprintf(out, "%s\n", none);
    grid_fini(g);
    return n;
}
