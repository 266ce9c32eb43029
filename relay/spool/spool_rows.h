/* spool_rows: messages, recipients and chunks as rows. On the spool's thread, inside a transaction.
 *
 * Every row carries a checksum of its fields and its place. A message is whole when its own row is, when it
 * has as many whole recipients as that row says, and, of its body, as many whole chunks. And what it says
 * must be sound (spool_sound.h). */
#ifndef SENDGOV_SPOOL_SPOOL_ROWS_H
#define SENDGOV_SPOOL_SPOOL_ROWS_H

#include "relay/base/buf.h"
#include "relay/spool/spool_message.h"
#include "relay/spool/spool_schema.h"

/* What must be known of a stored message before it is changed. */
struct spool_head {
    uint64_t content_bytes;
    int64_t body_bytes;
    bool held, parked;
};

enum spool_db_status spool_rows_head(struct spool_db *db, uint64_t seq, struct spool_head *head_out);
/* Writes message and recipients; head: as it is stored now, NULL when it is new. body_bytes: of its
 * chunks. */
enum spool_db_status spool_rows_put(struct spool_db *db, const struct spool_message *m,
    const struct spool_head *head, int64_t body_bytes);
/* Writes the recipients alone, and of them what is not so already: where few of many are due, few rows are
 * written. */
enum spool_db_status spool_rows_put_recipients(struct spool_db *db, const struct spool_message *m);
/* Without its body. *m_out NULL unless OK; DAMAGED also when the rows are whole but cannot be ours. */
enum spool_db_status spool_rows_get(struct spool_db *db, uint64_t seq, struct spool_message **m_out,
    int64_t *body_bytes_out);
/* The id of a message that cannot be read otherwise; "" when that cannot either. */
void spool_rows_id(struct spool_db *db, uint64_t seq, char out[SPOOL_ID_MAX]);
enum spool_db_status spool_rows_delete(struct spool_db *db, uint64_t seq, const struct spool_head *head);
/* All rows that carry this seq, counted or not: what was answered no must not come back. */
enum spool_db_status spool_rows_erase(struct spool_db *db, uint64_t seq);
/* Out of the way of the others: the message row moves to the table `damaged`, the rest stays for the
 * operator. */
enum spool_db_status spool_rows_put_aside(struct spool_db *db, uint64_t seq, int64_t now_utc_ms,
    const char *why);

enum spool_db_status spool_chunk_put(struct spool_db *db, uint64_t seq, uint32_t n, struct span bytes);
/* Appends the chunk to out; DAMAGED when it is not whole, or not there. */
enum spool_db_status spool_chunk_get(struct spool_db *db, uint64_t seq, uint32_t n, struct buf *out);

/* The earliest free seq, as far as the file knows. */
enum spool_db_status spool_rows_highest(struct spool_db *db, uint64_t *seq_out);
/* Remembers that seqs up to this one were given away. */
enum spool_db_status spool_rows_reserve(struct spool_db *db, uint64_t seq);
enum spool_db_status spool_rows_count(struct spool_db *db);

#endif
