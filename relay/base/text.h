/* text: bytes of unknown origin made safe to show, in a log line, in JSON, on a terminal. */
#ifndef SENDGOV_BASE_TEXT_H
#define SENDGOV_BASE_TEXT_H

#include <stdint.h>

#include "relay/base/buf.h"

/* Decodes the UTF-8 sequence at the front of s (RFC 3629: shortest form, no surrogates). Returns its
 * length, or 0 when the bytes are no such sequence or s is empty. */
size_t text_decode_utf8(struct span s, uint32_t *codepoint_out);
/* The first bytes of s, at most max, not cutting a UTF-8 sequence in two. */
struct span text_head_utf8(struct span s, size_t max);
/* Appends s as the inside of a JSON string: always valid UTF-8 and one line. Control characters, quotes and
 * marks that change the writing direction are escaped; bytes that are no UTF-8 appear as the four
 * characters \xNN. */
void text_add_json(struct buf *out, struct span s);

#endif
