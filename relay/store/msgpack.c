#include "relay/store/msgpack.h"

/* A type byte and a big-endian number of `bytes` bytes. */
static void
add_number(struct buf *out, unsigned char type, uint64_t value, size_t bytes)
{
    unsigned char packed[9] = {type};

    for (size_t i = 0; i < bytes; i++)
        packed[bytes - i] = (unsigned char)(value >> 8 * i);
    buf_add(out, packed, bytes + 1);
}

void
msgpack_array(struct buf *out, size_t n)
{
    if (n < 16)
        add_number(out, (unsigned char)(0x90 | n), 0, 0);
    else
        add_number(out, 0xdd, n, 4);
}

void
msgpack_uint(struct buf *out, uint64_t value)
{
    if (value < 128)
        add_number(out, (unsigned char)value, 0, 0);
    else if (value <= UINT16_MAX)
        add_number(out, 0xcd, value, 2);
    else if (value <= UINT32_MAX)
        add_number(out, 0xce, value, 4);
    else
        add_number(out, 0xcf, value, 8);
}

void
msgpack_str(struct buf *out, struct span s)
{
    if (s.n < 32)
        add_number(out, (unsigned char)(0xa0 | s.n), 0, 0);
    else
        add_number(out, 0xdb, s.n, 4);
    buf_add_span(out, s);
}
