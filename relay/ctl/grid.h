/* grid: aligned columns of text. Cells are shown on one line, control bytes as '?': what comes from a daemon,
 * a configuration or a peer must not drive a terminal. */
#ifndef SENDGOV_CTL_GRID_H
#define SENDGOV_CTL_GRID_H

#include <stddef.h>
#include <stdio.h>

#define GRID_COLUMNS_MAX 12

struct grid {
    size_t n_columns, n_cells, n_allocated;
    char **cells; /* row by row, the first row is the heading */
};

/* headings: NULL-terminated; one that begins with '>' is right-aligned. */
void grid_init(struct grid *g, const char *const *headings);
void grid_fini(struct grid *g);
void grid_add(struct grid *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The heading and at least one row; nothing (and 0) when there is none. Returns how many rows. */
size_t grid_print(const struct grid *g, FILE *out);
/* Text on one line as a cell is shown. */
void grid_print_plain(const char *text, FILE *out);
/* Prints it, or the line `none` when there is no row, and ends it. Returns how many rows. */
size_t grid_finish(struct grid *g, FILE *out, const char *none);

#endif
