/* Fuzzes sasl: what decodes is the one encoding of what came out; PLAIN's parts lie inside the message. */
#include <stdint.h>
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/smtp/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_plain(struct span message)
{
    struct span authzid, user, password;

    if (!sasl_plain_parse(message, &authzid, &user, &password))
        return;
    sg_assert(authzid.n + user.n + password.n + 2 == message.n);
    sg_assert(user.n > 0 && memchr(user.p, '\0', user.n) == NULL &&
        (password.n == 0 || memchr(password.p, '\0', password.n) == NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size);
    enum sasl_mechanism m;
    char *out = malloc(size / 4 * 3 + 1);
    struct buf again;
    size_t n;

    check_plain(in);
    (void)sasl_mechanism_parse(in, &m);
    if (sasl_base64_decode(in, out, &n)) {
        buf_init(&again);
        sasl_base64_encode(span_of(out, n), &again);
        sg_assert(span_eq(buf_span(&again), in));
        buf_fini(&again);
        check_plain(span_of(out, n));
    }
    free(out);
    return 0;
}
