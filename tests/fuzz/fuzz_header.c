/* Fuzzes header: the verdict does not depend on the pieces, and authors are real addresses. Byte 0 is the
 * piece. */
#include <stdint.h>

#include "relay/base/err.h"
#include "relay/smtp/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum header_status
run(struct span in, size_t step, struct header_authors *out)
{
    const struct header_limits limits = {4096, 50, 5, "relay.test"};
    enum header_status status;
    struct header h;

    header_init(&h, &limits);
    for (size_t at = 0; at < in.n; at += step)
        header_feed(&h, span_head(span_from(in, at), step));
    out->n = 0;
    status = header_end(&h, out);
    header_fini(&h);
    return status;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data + 1, size - 1);
    struct header_authors whole, pieces;

    if (size == 0)
        return 0;
    sg_assert(run(in, in.n + 1, &whole) == run(in, 1 + data[0] % 64u, &pieces));
    sg_assert(whole.n == pieces.n);
    for (size_t i = 0; i < whole.n; i++) {
        sg_assert(span_eq(span_str(whole.addresses[i].text), span_str(pieces.addresses[i].text)));
        sg_assert(whole.addresses[i].domain_at > 0);
    }
    header_authors_fini(&whole);
    header_authors_fini(&pieces);
    return 0;
}
