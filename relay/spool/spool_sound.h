/* spool_sound: may what a row says be believed? Pure.
 *
 * A checksum tells that a row is as it was written, not who wrote it: whoever may write to the file can make
 * one. What a message says goes into the session with the upstream, into names and into sums of times, so it
 * must be what an accepted message can be. */
#ifndef SENDGOV_SPOOL_SPOOL_SOUND_H
#define SENDGOV_SPOOL_SPOOL_SOUND_H

#include "relay/smtp/body.h"
#include "relay/spool/spool_message.h"

#define SPOOL_NUMBER_MAX (INT64_C(1) << 53) /* times and sizes are below it; sums of a few of them are safe */
#define SPOOL_COUNT_MAX INT32_MAX           /* attempts */
#define SPOOL_RECIPIENTS_MAX 1000           /* of one message: the most the setting smtp.recipients allows */

/* All but the body. */
bool spool_message_is_sound(const struct spool_message *m);

/* The body, piece by piece: canonical lines, so that nothing in it ends DATA. */
void spool_body_begin(struct body *b);
void spool_body_add(struct body *b, struct span wire);
/* at_end: that was all of it. */
bool spool_body_is_sound(const struct body *b, bool at_end);

#endif
