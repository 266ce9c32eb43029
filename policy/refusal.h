/* refusal: from "no" to the words of the SMTP reply. Pure.
 *
 * Every refusal names the rule, how much of it is used, when it ends or what to do; it is 4xx when the same
 * mail may pass later and 5xx only when it never can:
 *
 *   over budget    451 4.4.5  limit NAME (SCOPE INSTANCE) used U of C UNIT per PERIOD; retry after N s
 *   paused         451 4.7.0  mail of SCOPE INSTANCE is paused since T by CLASS: REASON; until ...
 *   no decision    451 4.3.2  the store's error
 *   closed         451 4.3.2  counters were lost; when it opens
 *   impossible     452 4.5.3  when fewer recipients at a time would pass: a mail server then brings the rest
 *                             in a transaction of its own (RFC 5321 section 4.5.3.1.10)
 *                  552 5.3.4  when the message has more bytes than the limit admits at once
 *                  550 5.7.1  when not even one recipient can pass (a limit that says `deny`)
 *
 * The text has no codes in it and contains only what the operator configured, what the client sent itself and
 * the (sanitised) reason of the pause. */
#ifndef SENDGOV_POLICY_REFUSAL_H
#define SENDGOV_POLICY_REFUSAL_H

#include "policy/charge.h"

/* For every verdict but GRANTED. request is the one that was asked. */
void refusal_format(const struct verdict *verdict, const struct charge_request *request, int *code_out,
    struct enhanced *enhanced_out, char *text_out, size_t size);
/* For a pause known without asking. now_utc_ms: to say how long a timed pause still lasts. */
void refusal_pause(const struct pause *pause, int64_t now_utc_ms, int *code_out,
    struct enhanced *enhanced_out, char *text_out, size_t size);
/* "min", "24 h", "90 s" into out: a period as people write it after "per". */
#define PERIOD_TEXT_MAX 32
void period_format(uint64_t period_ms, char out[PERIOD_TEXT_MAX]);

#endif
