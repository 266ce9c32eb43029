/* blob: the bytes of one message between the client and the upstream.
 *
 * Up to the pool's spill size (256 KiB by default) it lives in memory, above that in an unlinked temporary
 * file in the pool's folder. The pool bounds what all blobs together hold in memory; a blob that would
 * exceed the bound spills early. Written once front to back, then read by offset any number of times.
 * Owner: the message; blob_free gives memory and file back. Disk full or I/O error is a value the caller
 * turns into 452/451. */
#ifndef SENDGOV_BASE_BLOB_H
#define SENDGOV_BASE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "relay/base/err.h"
#include "relay/base/span.h"

enum blob_status { BLOB_OK, BLOB_NO_SPACE, BLOB_IO_ERROR };

struct blob_pool;
struct blob;

/* spill_bytes per blob, memory_bytes for all blobs. folder must exist. */
struct blob_pool *blob_pool_new(const char *folder, size_t spill_bytes, size_t memory_bytes);
/* Blobs may outlive their pool's owner: what they need of it stays until the last one goes. */
void blob_pool_free(struct blob_pool **pool);
size_t blob_pool_memory(const struct blob_pool *pool);

struct blob *blob_new(struct blob_pool *pool);
void blob_free(struct blob **b);
enum blob_status blob_append(struct blob *b, struct span bytes);
/* Nothing more comes: memory kept for more is given back. */
void blob_seal(struct blob *b);
uint64_t blob_size(const struct blob *b);
/* Bytes from offset on: a span of up to max bytes that is valid until the next call on this blob
 * (contiguous in memory, or read into scratch, which has max bytes). Empty at the end. */
enum blob_status blob_read(struct blob *b, uint64_t offset, char *scratch, size_t max,
    struct span *bytes_out);

/* What a helper thread may read of a sealed blob, while its owner neither changes nor frees it. */
struct blob_view {
    const char *mem; /* all content; NULL: it is in the file */
    int fd;
    uint64_t bytes;
};
/* On the loop's thread: what waits to be written goes to the file first. */
enum blob_status blob_view(struct blob *b, struct blob_view *view_out);
/* On any thread. As blob_read; the span is valid as long as the view and scratch are. */
enum blob_status blob_view_read(const struct blob_view *v, uint64_t offset, char *scratch, size_t max,
    struct span *bytes_out);

#endif
