/* Fuzzes the body scanner against the plain reference. Byte 0 seeds the sizes of the pieces; an end is
 * put behind the input, so that there is always one. */
#include <stdint.h>
#include <stdlib.h>

#include "relay/base/buf.h"
#include "relay/base/err.h"
#include "relay/smtp/body.h"
#include "tests/lib/body_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
sink(void *arg, struct span wire)
{
    buf_add_span(arg, wire);
}

/* Small pieces for odd seeds, for even ones pieces in which the scanner finds lines to pass in one go. */
static void
scan(struct body *b, struct span in, unsigned seed, struct buf *wire, size_t *used_out)
{
    unsigned most = seed % 2 ? 17 : 300;

    *used_out = 0;
    while (b->state != BODY_END) {
        size_t n = seed == 0 ? in.n : 1 + (seed = seed * 1103515245u + 12345u) / 65536u % most;

        sg_assert(*used_out < in.n);
        *used_out += body_scan(b, span_head(span_from(in, *used_out), n), sink, wire);
    }
}

static void
compare(struct span in, unsigned seed)
{
    const struct body_limits normalize = {UINT64_MAX, UINT64_MAX, BODY_NORMALIZE},
                             reject = {UINT64_MAX, UINT64_MAX, BODY_REJECT};
    char *want = malloc(2 * in.n);
    struct body_reference r = body_reference_run(in.p, in.n, want);
    struct buf wire;
    struct body b;
    size_t used;

    buf_init(&wire);
    body_init(&b, &normalize);
    scan(&b, in, seed, &wire, &used);
    sg_assert(used == r.used && b.status == BODY_OK);
    sg_assert(span_eq(buf_span(&wire), span_of(want, r.wire_n)));
    sg_assert(b.lines == r.lines && b.longest_line == r.longest && b.eightbit == r.eightbit);
    buf_clear(&wire);
    body_init(&b, &reject);
    scan(&b, in, seed, &wire, &used);
    sg_assert(used == r.used && (b.status == BODY_STRAY_NEWLINE) == r.stray);
    sg_assert(r.stray || span_eq(buf_span(&wire), span_of(want, r.wire_n)));
    buf_fini(&wire);
    free(want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf in;

    if (size == 0)
        return 0;
    buf_init(&in);
    buf_add(&in, data + 1, size - 1);
    buf_add_str(&in, "\r\n.\r\n");
    compare(buf_span(&in), data[0]);
    compare(buf_span(&in), 0);
    buf_fini(&in);
    return 0;
}
