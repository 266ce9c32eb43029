/* queue_table: a message by its seq. Open addressing over pointers, 11 to 22 bytes for each; a table of
 * byte strings (relay/base/table.h) would take more than the message itself. */
#ifndef SENDGOV_SPOOL_QUEUE_TABLE_H
#define SENDGOV_SPOOL_QUEUE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct queue_entry; /* queue_part.h */

struct queue_table { /* zeroed: empty */
    struct queue_entry **entries; /* a power of two of them */
    size_t size, count;
};

void queue_table_fini(struct queue_table *t);
/* NULL when absent. */
struct queue_entry *queue_table_get(const struct queue_table *t, uint64_t seq);
/* Its seq must not be there yet. */
void queue_table_add(struct queue_table *t, struct queue_entry *e);
/* It must be there. */
void queue_table_del(struct queue_table *t, const struct queue_entry *e);

#endif
