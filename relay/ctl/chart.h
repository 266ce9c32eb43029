/* chart: figures day by day as a picture, in SVG: one file without scripts, fonts or anything else from
 * elsewhere, that goes with a light page and a dark one. */
#ifndef SENDGOV_CTL_CHART_H
#define SENDGOV_CTL_CHART_H

#include <stdint.h>

#include "relay/base/buf.h"
#include "relay/ctl/ctl.h"

enum chart_kind { CHART_BARS, CHART_LINE };

struct chart_series {
    const char *name;
    enum chart_kind kind;
    const uint64_t *values; /* of x = 1, 2, ... */
};

#define CHART_SERIES_MAX 4

struct chart {
    const char *title, *x_label, *y_label;
    size_t n; /* points, at least one */
    const struct chart_series *series;
    size_t n_series; /* at most CHART_SERIES_MAX; bars first, lines lie over them */
};

/* The y axis is logarithmic when what is shown spans more than two powers of ten; it says so. */
void chart_format(const struct chart *chart, struct buf *out);

/* Into the file of option --svg; without the option nothing. */
enum ctl_exit chart_save(struct ctl *c, const struct chart *chart);

#endif
