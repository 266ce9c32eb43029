/* node: a YAML file as a small tree of texts with positions. The only place that includes libyaml.
 *
 * Every scalar stays text: what it means is decided by the table of settings (setting.h), never by YAML.
 * Refused here: files that are no plain file or over 1 MiB, more than one document, explicit tags, duplicate
 * keys, keys that are no plain text, control characters, aliases that expand to too much. Nodes live in the
 * arena they were loaded into. */
#ifndef SENDGOV_CONFIG_NODE_H
#define SENDGOV_CONFIG_NODE_H

#include "relay/base/arena.h"
#include "relay/base/err.h"
#include "relay/base/span.h"

#define NODE_FILE_MAX (1024 * 1024)
#define NODE_COUNT_MAX 20000 /* in one file, aliases expanded */
#define NODE_DEPTH_MAX 16
#define NODE_TEXT_MAX 4096

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };
const char *node_kind_to_str(enum node_kind k);

struct node {
    enum node_kind kind;
    const char *file;
    unsigned line, column; /* from 1 */
    const char *text;      /* scalar */
    struct node **keys;    /* map: n scalars */
    struct node **items;   /* list or map: n values */
    size_t n;
};

/* The root is always a map; of a file without a value, such as one that holds comments only, one without keys
 * (NULL). */
int node_load(struct arena *arena, const char *file, struct node **root_out, struct err *err);
/* The value of a key; NULL when the map has none. A NULL map has nothing. */
const struct node *node_get(const struct node *map, const char *key);
/* Sets "file:line:column: ..." and returns -1. */
int node_fail(const struct node *at, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static inline struct span
node_span(const struct node *scalar)
{
    return span_str(scalar->text);
}

#endif
