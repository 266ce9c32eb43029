/* metric: counters, gauges and histograms, all named in one table (metric_table.h).
 *
 * Modules count; admin renders. Labels are bounded: a family takes at most METRIC_SERIES_MAX label
 * sets, later ones are counted under "other". Never put an address into a label. Main thread only. */
#ifndef SENDGOV_BASE_METRIC_H
#define SENDGOV_BASE_METRIC_H

#include <stdint.h>

#include "relay/base/buf.h"

#define METRIC_SERIES_MAX 200

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum metric_id {
#define METRIC(id, kind, name, label1, label2, label3, help) M_##id,
#include "relay/base/metric_table.h"
#undef METRIC
    METRIC_COUNT
};

struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics **m);
/* Label values in the order of the table; NULL where the family has no such label. A histogram
 * observes `value` in seconds. */
void metric_add(struct metrics *m, enum metric_id id, double value, const char *l1, const char *l2,
    const char *l3);
void metric_set(struct metrics *m, enum metric_id id, double value, const char *l1, const char *l2,
    const char *l3);
/* Forgets all series of a gauge family (before it is set anew at a scrape). */
void metric_reset(struct metrics *m, enum metric_id id);
double metric_get(const struct metrics *m, enum metric_id id, const char *l1, const char *l2,
    const char *l3);
/* Prometheus text exposition format 0.0.4. */
void metrics_format(const struct metrics *m, struct buf *out);

#endif
