/* usage_view: which counters are worth showing, and how they stood a moment ago.
 *
 * A limit has a counter for each instance of its scope. Routes, mailboxes and clients are known from the
 * configuration; of senders and sender domains only those the configuration names, because what came by is
 * not enumerable (and addresses must not become metric labels). */
#ifndef SENDGOV_ADMIN_USAGE_VIEW_H
#define SENDGOV_ADMIN_USAGE_VIEW_H

#include "relay/admin/admin_state.h"
#include "relay/store/store.h"

#define USAGE_MAX 1000 /* rows of one answer */

struct usage_filter {
    enum limit_scope scope;  /* SCOPE_COUNT: any */
    const char *instance;    /* NULL: any. For a sender scope this is taken as it is */
    bool senders;            /* sender scopes too */
    bool warmup_only;
};

/* Fills in limit, its owner, instance and configured cap; *rows_out is malloc'ed. Returns how many; *cut_out:
 * there were more. */
size_t usage_list(struct config *c, const struct store *s, const struct usage_filter *filter,
    struct usage **rows_out, bool *cut_out);

/* The answer of the last question, for metrics and the status page. While there is an HTTP server it is asked
 * again every 1.5 s, or every 15 s when nobody looked for a minute. */
struct usage_cache;
struct usage_cache *usage_cache_new(struct admin *a);
void usage_cache_free(struct usage_cache **c);
/* A new configuration: forget, ask anew. */
void usage_cache_reset(struct usage_cache *c);
/* Rows not older than 30 s, valid until the next turn; 0 when there are none. */
size_t usage_cache_rows(struct usage_cache *c, const struct usage **rows_out);

#endif
