#include "relay/base/metric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/err.h"
#include "relay/base/text.h"
#include "relay/base/xmalloc.h"

#define LABELS_MAX 3
#define INDEX_SIZE 512u /* a power of two, over twice METRIC_SERIES_MAX */

/* Upper bounds in seconds; one more bucket, +Inf, follows. 20 ms is among them since a turn of the loop is to
 * stay below it. */
static const double bounds[] = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.025,
    0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
#define N_BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

static const struct family_def {
    enum metric_kind kind;
    const char *name;
    const char *labels[LABELS_MAX];
    const char *help;
} defs[METRIC_COUNT] = {
#define METRIC(id, kind, name, label1, label2, label3, help) {kind, name, {label1, label2, label3}, help},
#include "relay/base/metric_table.h"
#undef METRIC
};

struct series {
    uint32_t hash;
    char *labels[LABELS_MAX]; /* NULL where the family has none */
    double value;             /* of a histogram: the sum */
    uint64_t *buckets;        /* histogram only: N_BOUNDS + 1 counts, not cumulative */
};

struct family {
    struct series *series; /* in order of appearance */
    size_t n, size;
    uint16_t *index; /* hash -> position in series + 1; 0: empty */
};

struct metrics {
    struct family families[METRIC_COUNT];
};

_Static_assert(INDEX_SIZE > 2 * (METRIC_SERIES_MAX + 1), "the index must stay sparse");

static uint32_t
hash_labels(const struct family_def *def, const char *const labels[LABELS_MAX])
{
    uint32_t h = 2166136261u; /* FNV-1a; labels are words of ours or of the configuration */

    for (size_t i = 0; i < LABELS_MAX && def->labels[i]; i++) {
        for (const char *p = labels[i]; *p; p++)
            h = (h ^ (unsigned char)*p) * 16777619u;
        h = (h ^ 0xff) * 16777619u;
    }
    return h;
}

static bool
series_is(const struct family_def *def, const struct series *s, uint32_t hash,
    const char *const labels[LABELS_MAX])
{
    if (s->hash != hash)
        return false;
    for (size_t i = 0; i < LABELS_MAX && def->labels[i]; i++)
        if (strcmp(s->labels[i], labels[i]) != 0)
            return false;
    return true;
}

/* Where the label set is or would be in the index. */
static uint16_t *
index_find(const struct family *f, const struct family_def *def, uint32_t hash,
    const char *const labels[LABELS_MAX])
{
    uint32_t at = hash & (INDEX_SIZE - 1);

    while (f->index[at] != 0 && !series_is(def, &f->series[f->index[at] - 1], hash, labels))
        at = (at + 1) & (INDEX_SIZE - 1);
    return &f->index[at];
}

static struct series *
family_add(struct family *f, const struct family_def *def, uint32_t hash,
    const char *const labels[LABELS_MAX])
{
    struct series *s;

    if (f->n == f->size) {
        f->size = f->size > 0 ? f->size * 2 : 1;
        f->series = xrealloc(f->series, f->size * sizeof(*f->series));
    }
    s = &f->series[f->n++];
    *s = (struct series){.hash = hash};
    for (size_t i = 0; i < LABELS_MAX && def->labels[i]; i++)
        s->labels[i] = xstrdup(labels[i]);
    if (def->kind == METRIC_HISTOGRAM)
        s->buckets = xcalloc(N_BOUNDS + 1, sizeof(*s->buckets));
    return s;
}

static struct series *
find_or_add(struct metrics *m, enum metric_id id, const char *const labels[LABELS_MAX])
{
    static const char *const other[LABELS_MAX] = {"other", "other", "other"};
    const struct family_def *def = &defs[id];
    struct family *f = &m->families[id];
    uint32_t hash;
    uint16_t *at;

    if (!def->labels[0])
        return f->n > 0 ? &f->series[0] : family_add(f, def, 0, labels);
    if (!f->index)
        f->index = xcalloc(INDEX_SIZE, sizeof(*f->index));
    hash = hash_labels(def, labels);
    at = index_find(f, def, hash, labels);
    if (*at != 0)
        return &f->series[*at - 1];
    if (f->n >= METRIC_SERIES_MAX) {
        labels = other;
        hash = hash_labels(def, labels);
        at = index_find(f, def, hash, labels);
        if (*at != 0)
            return &f->series[*at - 1];
    }
    *at = (uint16_t)(f->n + 1);
    return family_add(f, def, hash, labels);
}

static const char *
or_empty(const char *label)
{
    return label ? label : "";
}

#define LABELS(l1, l2, l3) (const char *const[LABELS_MAX]){or_empty(l1), or_empty(l2), or_empty(l3)}

static void
observe(struct series *s, double seconds)
{
    size_t i = 0;

    while (i < N_BOUNDS && seconds > bounds[i])
        i++;
    s->buckets[i]++;
    s->value += seconds;
}

void
metric_add(struct metrics *m, enum metric_id id, double value, const char *l1, const char *l2, const char *l3)
{
    struct series *s = find_or_add(m, id, LABELS(l1, l2, l3));

    if (defs[id].kind == METRIC_HISTOGRAM)
        observe(s, value);
    else
        s->value += value;
}

void
metric_set(struct metrics *m, enum metric_id id, double value, const char *l1, const char *l2, const char *l3)
{
    sg_assert(defs[id].kind == METRIC_GAUGE);
    find_or_add(m, id, LABELS(l1, l2, l3))->value = value;
}

void
metric_reset(struct metrics *m, enum metric_id id)
{
    struct family *f = &m->families[id];

    for (size_t i = 0; i < f->n; i++) {
        for (size_t j = 0; j < LABELS_MAX; j++)
            free(f->series[i].labels[j]);
        free(f->series[i].buckets);
    }
    free(f->series);
    free(f->index);
    *f = (struct family){0};
}

double
metric_get(const struct metrics *m, enum metric_id id, const char *l1, const char *l2, const char *l3)
{
    const struct family_def *def = &defs[id];
    const struct family *f = &m->families[id];
    const char *const *labels = LABELS(l1, l2, l3);
    uint16_t at;

    if (!def->labels[0])
        return f->n > 0 ? f->series[0].value : 0;
    if (!f->index)
        return 0;
    at = *index_find(f, def, hash_labels(def, labels), labels);
    return at != 0 ? f->series[at - 1].value : 0;
}

struct metrics *
metrics_new(void)
{
    return xcalloc(1, sizeof(struct metrics));
}

void
metrics_free(struct metrics **m)
{
    if (!*m)
        return;
    for (size_t i = 0; i < METRIC_COUNT; i++)
        metric_reset(*m, (enum metric_id)i);
    free(*m);
    *m = NULL;
}

static void
add_number(struct buf *out, double v)
{
    if (v > -9e15 && v < 9e15 && v == (double)(long long)v)
        buf_printf(out, "%lld\n", (long long)v);
    else
        buf_printf(out, "%.9g\n", v);
}

/* Label values are UTF-8 with \\, \" and \n escaped; what is no UTF-8 becomes '?'. */
static void
add_label_value(struct buf *out, struct span s)
{
    while (s.n > 0) {
        uint32_t cp;
        size_t len = text_decode_utf8(s, &cp);

        if (len == 0) {
            buf_add(out, "?", 1);
            len = 1;
        } else if (cp == '\n') {
            buf_add(out, "\\n", 2);
        } else {
            if (cp == '"' || cp == '\\')
                buf_add(out, "\\", 1);
            buf_add(out, s.p, len);
        }
        s = span_from(s, len);
    }
}

/* {a="x",b="y"} with le last when given; nothing when there is none. */
static void
add_labels(struct buf *out, const struct family_def *def, const struct series *s, const char *le)
{
    const char *before = "{";

    for (size_t i = 0; i < LABELS_MAX && def->labels[i]; i++) {
        buf_printf(out, "%s%s=\"", before, def->labels[i]);
        add_label_value(out, span_str(s->labels[i]));
        buf_add(out, "\"", 1);
        before = ",";
    }
    if (le)
        buf_printf(out, "%sle=\"%s\"", before, le);
    if (le || def->labels[0])
        buf_add(out, "}", 1);
}

static void
format_histogram(struct buf *out, const struct family_def *def, const struct series *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i <= N_BOUNDS; i++) {
        char le[32];

        if (i < N_BOUNDS)
            snprintf(le, sizeof(le), "%g", bounds[i]);
        else
            snprintf(le, sizeof(le), "+Inf");
        sum += s->buckets[i];
        buf_printf(out, "%s_bucket", def->name);
        add_labels(out, def, s, le);
        buf_printf(out, " %llu\n", (unsigned long long)sum);
    }
    buf_printf(out, "%s_sum", def->name);
    add_labels(out, def, s, NULL);
    buf_add(out, " ", 1);
    add_number(out, s->value);
    buf_printf(out, "%s_count", def->name);
    add_labels(out, def, s, NULL);
    buf_printf(out, " %llu\n", (unsigned long long)sum);
}

static void
format_family(struct buf *out, const struct family_def *def, const struct family *f)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", def->name, def->help, def->name, kinds[def->kind]);
    for (size_t i = 0; i < f->n; i++) {
        if (def->kind == METRIC_HISTOGRAM) {
            format_histogram(out, def, &f->series[i]);
            continue;
        }
        buf_add_str(out, def->name);
        add_labels(out, def, &f->series[i], NULL);
        buf_add(out, " ", 1);
        add_number(out, f->series[i].value);
    }
}

void
metrics_format(const struct metrics *m, struct buf *out)
{
    static uint64_t no_buckets[N_BOUNDS + 1];
    static struct series zero = {.buckets = no_buckets};

    for (size_t i = 0; i < METRIC_COUNT; i++) {
        struct family f = m->families[i];

        if (f.n == 0 && defs[i].labels[0])
            continue;
        if (f.n == 0) /* a counter that never counted is 0, not absent */
            f = (struct family){.series = &zero, .n = 1};
        format_family(out, &defs[i], &f);
    }
}
