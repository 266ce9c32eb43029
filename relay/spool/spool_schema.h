/* spool_schema: the tables, their version, and the way from an older version to this one.
 *
 * message and recipient are small rows that a retry rewrites; the bytes of a body are in chunks of their
 * own, which are written once: chunk n of message seq has id seq * 65536 + n. No index but the primary keys:
 * everything that is frequent goes by seq. The n of a recipient is its place when the message came; those
 * that are gone leave gaps. */
#ifndef SENDGOV_SPOOL_SPOOL_SCHEMA_H
#define SENDGOV_SPOOL_SPOOL_SCHEMA_H

#include "relay/spool/spool_db.h"

#define SPOOL_CHUNK_BYTES ((size_t)65536)
#define SPOOL_CHUNKS_MAX 65536 /* of one message: 4 GiB */
#define SPOOL_SEQ_MAX (INT64_MAX >> 17)

/* In the order of put and get in spool_rows.c. */
#define SPOOL_MESSAGE_FIELDS \
    "id, client, route, mailbox, class, sender, declared_bytes, body_kind, ret, envid, trace, peer, " \
    "session, tls, content_bytes, body_bytes, received_utc_ms, held, held_by, held_why, is_dsn, " \
    "recipients, parked, sum"
#define SPOOL_RECIPIENT_FIELDS \
    "address, class, notify, orcpt, state, due_utc_ms, spent_ms, attempts, uncertain, warned, reply_code, " \
    "reply_enhanced, reply_text, sum"

/* Filters of the operator's view; NULL: any. */
#define SPOOL_LIST_SQL \
    "SELECT m.seq FROM message m WHERE m.seq > ?1 AND (?2 IS NULL OR m.id = ?2) " \
    "AND (?3 IS NULL OR m.client = ?3) AND (?4 IS NULL OR m.route = ?4) AND (?5 IS NULL OR m.mailbox = ?5) " \
    "AND (?6 IS NULL OR m.sender = ?6 COLLATE NOCASE) " \
    "AND (?7 IS NULL OR substr(m.sender, -length(?7) - 1) = '@' || ?7 COLLATE NOCASE) " \
    "AND (?8 IS NULL OR EXISTS (SELECT 1 FROM recipient r WHERE r.seq = m.seq " \
    "AND r.address = ?8 COLLATE NOCASE)) " \
    "AND (?9 IS NULL OR EXISTS (SELECT 1 FROM recipient r WHERE r.seq = m.seq " \
    "AND substr(r.address, -length(?9) - 1) = '@' || ?9 COLLATE NOCASE)) " \
    "AND (?10 IS NULL OR EXISTS (SELECT 1 FROM recipient r WHERE r.seq = m.seq AND r.state = ?10)) " \
    "AND (?11 = 0 OR m.held = 1) AND (?12 = 0 OR m.received_utc_ms < ?12) ORDER BY m.seq LIMIT ?13"

/* May this file be ours? A newer one, and a database of somebody else, are BROKEN, with words in db->why.
 * Changes nothing. */
enum spool_db_status spool_schema_check(struct spool_db *db);
/* Makes the tables of a new file, or brings an older one to this version, in one transaction. */
enum spool_db_status spool_schema_prepare(struct spool_db *db);

#endif
