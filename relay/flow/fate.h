/* fate: what became of each recipient of a message, and when it is tried again. Pure.
 *
 * Only the upstream costs a recipient anything: its 4xx, or a connection that broke before the dot, is one
 * attempt, and the wait that follows (first, doubling to the longest, +-20 % jitter so that a storm of
 * refused messages does not come back as one) is taken off its lifetime. What we hold ourselves, for a
 * budget, a pause, a store or a connection that is not to be had, costs neither, however long it lasts.
 * Example with the defaults: refused at 0, tried again after 1, 3, 7, 15, 31, 63 min, then each hour, until
 * 48 h of such waiting are spent.
 *
 * Where the dot left and no answer came only the upstream knows. It is tried once more after ten minutes, in
 * which an administrator may look, and then never again by itself. */
#ifndef SENDGOV_FLOW_FATE_H
#define SENDGOV_FLOW_FATE_H

#include "policy/reply_class.h"
#include "relay/smtp/transaction.h"
#include "relay/spool/spool_conf.h"
#include "relay/spool/spool_message.h"

enum fate_kind {
    FATE_OPEN,      /* to be tried now */
    FATE_SENT,      /* the upstream has it */
    FATE_FAILED,    /* for good */
    FATE_HELD,      /* by us, before it was offered; or upstream, for what is not the message's fault */
    FATE_DEFERRED,  /* by the upstream, for now */
    FATE_UNCERTAIN, /* the dot left, no answer came */
    FATE_RESTS,     /* not due yet: as it was */
    FATE_ELSEWHERE, /* in a row of its own in the spool: not ours any more */
    FATE_KIND_COUNT,
};

struct fate {
    enum fate_kind kind;
    bool offered;                /* to the upstream, in a transaction of this job */
    int64_t wait_ms;             /* HELD: the limit of its domain has no room for so long; it alone waits */
    bool paused;                 /* HELD after it was offered: a pause is in force that stops it now */
    bool expired;                /* FAILED: because its time was over, not for the last reply */
    bool refused_here;           /* FAILED: the last reply is ours, not the upstream's */
    bool settled;                /* what is kept of it was worked out: not a second time */
    bool told;                   /* in a notification that is written, or about to be */
    struct spool_recipient kept; /* as the spool has it or will have it; reply: the upstream's last word */
};

/* One recipient of a transaction that ended. class: of its reply, in the route's table (code 0: none). */
enum fate_kind fate_of(const struct tx_recipient *r, enum reply_class class);
/* What is kept of it. DEFERRED may become FAILED (expired). random: any number, for the jitter. */
void fate_settle(struct fate *f, const struct spool_conf *conf, int64_t now_utc_ms, uint32_t random);
/* Is it to stay in the spool, or to come there? */
static inline bool
fate_waits(enum fate_kind k)
{
    return k == FATE_HELD || k == FATE_DEFERRED || k == FATE_UNCERTAIN || k == FATE_RESTS;
}

#endif
