/* Fuzzes reply_parse: what is taken as a reply is within its bounds, printable, and the same however it
 * arrives. */
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_sound(const struct reply *r)
{
    sg_assert(r->code >= 200 && r->code <= 599);
    sg_assert(strlen(r->text) <= REPLY_TEXT_MAX);
    for (const char *p = r->text; *p != '\0'; p++)
        sg_assert(*p >= 0x20 && *p <= 0x7e);
    sg_assert(r->enhanced.class <= 5 && r->enhanced.class != 1 && r->enhanced.class != 3);
    sg_assert(r->enhanced.subject <= 999 && r->enhanced.detail <= 999);
}

/* What we would say of it parses to the same code again, in lines of legal length. */
static void
check_format(const struct reply *r)
{
    struct buf out;
    struct reply back;
    const char *why;
    size_t used, line = 0;

    buf_init(&out);
    reply_format(r, &out);
    sg_assert(reply_parse(buf_span(&out), &back, &used, &why) == REPLY_OK);
    sg_assert(used == buf_len(&out) && back.code == r->code);
    for (size_t i = 0; i < buf_len(&out); i++) {
        line = buf_span(&out).p[i] == '\n' ? 0 : line + 1;
        sg_assert(line < 512);
    }
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1); /* exact size: a byte too far is seen */
    struct span in = span_of(copy, size);
    struct reply r, again;
    const char *why = NULL;
    size_t used;

    if (copy == NULL)
        return 0;
    if (size > 0)
        memcpy(copy, data, size);
    while (in.n > 0 && reply_parse(in, &r, &used, &why) == REPLY_OK) {
        sg_assert(used > 0 && used <= in.n);
        check_sound(&r);
        check_format(&r);
        sg_assert(reply_parse(span_head(in, used - 1), &again, &used, &why) == REPLY_MORE);
        sg_assert(reply_parse(in, &again, &used, &why) == REPLY_OK);
        sg_assert(again.code == r.code && strcmp(again.text, r.text) == 0);
        in = span_from(in, used);
    }
    free(copy);
    return 0;
}
