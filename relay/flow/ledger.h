/* ledger: the books of flow: metrics and the one log line of a settled message, and how a settlement reaches
 * the store. */
#ifndef SENDGOV_FLOW_LEDGER_H
#define SENDGOV_FLOW_LEDGER_H

#include "policy/charge.h"
#include "relay/flow/fate.h"
#include "relay/flow/settle.h"
#include "relay/spool/queue.h"

struct metrics;
struct store;

struct ledger_entry {
    const struct message *message;
    const struct settlement *settlement;
    const struct verdict *verdict;       /* kind GRANTED with time_us 0: never asked */
    const struct upstream_caps *caps;    /* NULL: no connection */
    const struct reply *upstream_reply;  /* NULL: it said nothing */
    const char *shadow; /* the limit in shadow that would have kept it; "" or NULL: none */
    int64_t waited_ms;
    bool client_left;
    const struct fate *fates; /* NULL: all recipients alike, as the settlement's outcome says */
    bool is_release;          /* it came from the spool: it was counted when it went there */
    const struct queue_gate *gate; /* of a release: where what is left of it was refused; NULL: at none */
};

/* Recipients of a class, the unnamed ones included. */
size_t ledger_recipients(const struct message *m, enum recipient_class class);

void ledger_count(struct metrics *metrics, const struct ledger_entry *entry);
void ledger_log(const struct ledger_entry *entry);
/* What the upstream said to one transaction, or to our connection. */
void ledger_reply(struct metrics *metrics, enum reply_class class, const struct reply *reply);
/* The spool took it over while the upstream has it: counted and logged as spooled. */
void ledger_take_over(struct metrics *metrics, const struct message *m, const struct reply *answer);
/* A message of the spool goes on waiting. */
void ledger_held(struct metrics *metrics, const struct queue_gate *gate);
/* The same for recipients that a message lost at RCPT; the message is counted with its own line. */
void ledger_count_recipients(struct metrics *metrics, const struct ledger_entry *entry);
void ledger_log_recipients(const struct ledger_entry *entry);
/* One budget decision: granted, over, paused ... and the limit that bound. */
void ledger_decision(struct metrics *metrics, const struct verdict *verdict);
/* The granted ones of a request were offered: those that are new. */
void ledger_new_recipients(struct metrics *metrics, const struct charge_request *request, uint32_t granted);
/* What limits in shadow would have done to what was granted: counted. -> the name of the first of them that
 * would have held it, else of the first that would have shortened it; NULL: none. */
const char *ledger_shadow(struct metrics *metrics, const struct charge_request *request,
    const struct verdict *verdict);
struct end_code ledger_end_of_verdict(const struct verdict *verdict);

/* Hands the settlement's pause to the store, with an alarm in the log if it is news. Where there is no place
 * for it the message's client is paused, or its route; the answer names what is in force then. */
void ledger_pause(const struct message *m, struct settlement *s, struct store *store);
/* The upstream says that the tenant's or the mailbox's own cap is reached: for what it counts over 24 h, the
 * cap in force becomes 0.9 of our own count. */
void ledger_lower_cap(const struct charge_request *request, struct store *store);

#endif
