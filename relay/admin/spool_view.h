/* spool_view: what the spool holds as JSON, for commands and pages. Pure but for the clock. Field names are
 * an interface: sendgovctl(8) documents them. */
#ifndef SENDGOV_ADMIN_SPOOL_VIEW_H
#define SENDGOV_ADMIN_SPOOL_VIEW_H

#include <jansson.h>

#include "relay/spool/queue.h"
#include "relay/spool/spool.h"

/* The gravest state of a message: held, or that of one of its recipients. */
const char *spool_view_state(const struct spool_message *m);

enum waits_for {
    WAITS_LIMIT, /* the gates, in the order of enum queue_gate_kind */
    WAITS_PAUSE,
    WAITS_STORE,
    WAITS_UPSTREAM,
    WAITS_NODE,
    WAITS_OWN_TIME, /* the upstream said 4xx, or it is uncertain */
    WAITS_OPERATOR, /* held or parked */
    WAITS_IN_FLIGHT,
    WAITS_NOTHING, /* its turn comes */
    WAITS_COUNT,
};
const char *waits_for_to_str(enum waits_for w);

struct spool_wait {
    enum waits_for what;
    char why[QUEUE_WHY_MAX];
    int64_t release_mono_ms; /* INT64_MAX: nobody knows */
    bool is_estimate;
    uint64_t lane; /* how many are due in its lane */
};
/* w: what held_why said of m. */
void spool_view_wait(
    const struct spool_message *m, const struct queue_why *w, int64_t now_mono_ms, struct spool_wait *out);

/* What comes in both views: id, state, who, when. */
json_t *spool_view_message(const struct spool_message *m);
/* A line of a list: its recipients as a number and the first of them, why it waits in a word. */
json_t *spool_view_row(const struct spool_message *m, const struct spool_wait *w);
/* The recipients from number `from` on, as many as fit into bytes_max of JSON, but one at least; *next_out:
 * the number of the next, 0: there are no more. */
json_t *spool_view_recipients(
    const struct spool_message *m, size_t from, size_t bytes_max, size_t *next_out);
/* place: in its lane, from 1; 0: none. */
json_t *spool_view_why(const struct spool_message *m, const struct spool_wait *w, uint64_t place);
json_t *spool_view_status(const struct spool_status *s, const struct queue_counts *q);
/* How many messages wait for that. */
uint64_t spool_view_count(const struct queue_counts *q, enum waits_for w);

#define SPOOL_VIEW_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII) /* as the control socket writes it */

#endif
