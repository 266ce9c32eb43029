#include "relay/smtp/sasl.h"

#include <assert.h>

static const char *const names[] = {"PLAIN", "LOGIN"};
static_assert(sizeof names / sizeof names[0] == SASL_MECHANISM_COUNT, "a name for each mechanism");

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool
sasl_mechanism_parse(struct span name, enum sasl_mechanism *out)
{
    for (size_t i = 0; i < SASL_MECHANISM_COUNT; i++)
        if (span_eq_nocase(name, span_str(names[i]))) {
            *out = (enum sasl_mechanism)i;
            return true;
        }
    return false;
}

const char *
sasl_mechanism_to_str(enum sasl_mechanism m)
{
    return names[m];
}

/* 0-63, or -1. Without a table lookup: secrets pass here. */
static int
sextet(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four; how many bytes it gave, 0 when it is none. Padding is known to stand at the end only. */
static size_t
decode_group(const char *in, size_t padding, char *out)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4 - padding; i++) {
        int v = sextet((unsigned char)in[i]);

        if (v < 0)
            return 0;
        bits |= (uint32_t)v << (18 - 6 * i);
    }
    if ((padding == 1 && (bits & 0xff) != 0) || (padding == 2 && (bits & 0xffff) != 0))
        return 0;
    for (size_t i = 0; i < 3 - padding; i++)
        out[i] = (char)(bits >> (16 - 8 * i));
    return 3 - padding;
}

bool
sasl_base64_decode(struct span in, char *out, size_t *n_out)
{
    size_t n = 0;

    if (in.n % 4 != 0)
        return false;
    for (size_t at = 0; at < in.n; at += 4) {
        size_t padding = 0, got;

        if (at + 4 == in.n && in.p[at + 3] == '=')
            padding = in.p[at + 2] == '=' ? 2 : 1;
        got = decode_group(in.p + at, padding, out + n);
        if (got == 0)
            return false;
        n += got;
    }
    *n_out = n;
    return true;
}

void
sasl_base64_encode(struct span in, struct buf *out)
{
    for (size_t at = 0; at < in.n; at += 3) {
        size_t left = in.n - at;
        uint32_t bits = (uint32_t)(unsigned char)in.p[at] << 16;
        char group[4] = {'=', '=', '=', '='};

        if (left > 1)
            bits |= (uint32_t)(unsigned char)in.p[at + 1] << 8;
        if (left > 2)
            bits |= (unsigned char)in.p[at + 2];
        for (size_t i = 0; i < 4 && i <= left; i++)
            group[i] = alphabet[bits >> (18 - 6 * i) & 63];
        buf_add(out, group, 4);
    }
}

bool
sasl_plain_parse(
    struct span message, struct span *authzid_out, struct span *user_out, struct span *password_out)
{
    ptrdiff_t first = span_find_byte(message, '\0');
    struct span rest;
    ptrdiff_t second;

    if (first < 0)
        return false;
    rest = span_from(message, (size_t)first + 1);
    second = span_find_byte(rest, '\0');
    if (second < 0)
        return false;
    *authzid_out = span_head(message, (size_t)first);
    *user_out = span_head(rest, (size_t)second);
    *password_out = span_from(rest, (size_t)second + 1);
    return span_find_byte(*password_out, '\0') < 0 && authzid_out->n <= SASL_USER_MAX && user_out->n > 0 &&
        user_out->n <= SASL_USER_MAX && password_out->n <= SASL_PASSWORD_MAX;
}

void
sasl_plain_format(struct span user, struct span password, struct buf *out)
{
    struct buf message;

    buf_init(&message);
    buf_reserve(&message, user.n + password.n + 2);
    buf_add(&message, "", 1);
    buf_add_span(&message, user);
    buf_add(&message, "", 1);
    buf_add_span(&message, password);
    sasl_base64_encode(buf_span(&message), out);
    buf_wipe(&message);
}
