#include "relay/smtp/param.h"

#include "relay/base/ascii.h"

/* esmtp-param = esmtp-keyword ["=" esmtp-value]; keyword: letters, digits, "-"; value: %d33-60 / %d62-126 */

enum param_id { PARAM_SIZE, PARAM_BODY, PARAM_AUTH, PARAM_COUNT };

static const struct complaint bad_param = {501, "5.5.4", "Bad parameter syntax"};
static const struct complaint twice = {501, "5.5.4", "Parameter given twice"};
static const struct complaint unknown = {555, "5.5.4", "Parameter not recognised"};
static const struct complaint unknown_rcpt = {555, "5.5.4", "RCPT takes no parameters here"};
static const struct complaint utf8 = {553, "5.6.7", "SMTPUTF8 is not supported"};
static const struct complaint bad_size = {501, "5.5.4", "SIZE needs a number"};
static const struct complaint huge_size = {552, "5.3.4", "Message is larger than any limit"};
static const struct complaint bad_body = {504, "5.5.4", "BODY is 7BIT or 8BITMIME here"};
static const struct complaint bad_auth = {501, "5.5.4", "AUTH needs an xtext or <>"};

struct param {
    struct span key, value;
    bool has_value;
};

static bool
is_hex(char c)
{
    return ascii_is_digit(c) || (c >= 'A' && c <= 'F');
}

/* RFC 3461 section 4, or "<>". */
static bool
is_xtext(struct span s)
{
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 33 || s.p[i] > 126 || s.p[i] == '=')
            return false;
        if (s.p[i] == '+' && (i + 2 >= s.n || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2])))
            return false;
    }
    return true;
}

static bool
is_keyword(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!ascii_is_alnum(c) && !(c == '-' && i > 0))
            return false;
    }
    return s.n > 0;
}

/* Takes one parameter off rest; false when there is none, *bad_out when it is none. */
static bool
next_param(struct span *rest, struct param *out, bool *bad_out)
{
    struct span word;
    ptrdiff_t equals;

    *bad_out = false;
    while (rest->n > 0 && rest->p[0] == ' ')
        *rest = span_from(*rest, 1);
    if (rest->n == 0)
        return false;
    *rest = span_cut(*rest, ' ', &word);
    equals = span_find_byte(word, '=');
    out->has_value = equals >= 0;
    out->key = equals >= 0 ? span_head(word, (size_t)equals) : word;
    out->value = equals >= 0 ? span_from(word, (size_t)equals + 1) : span_of(word.p + word.n, 0);
    *bad_out = !is_keyword(out->key) || (out->has_value && out->value.n == 0);
    for (size_t i = 0; i < out->value.n; i++)
        if (out->value.p[i] < 33 || out->value.p[i] > 126 || out->value.p[i] == '=')
            *bad_out = true;
    return true;
}

static const struct complaint *
take_size(struct span value, struct mail_command *out)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9')
            return &bad_size;
    if (value.n == 0)
        return &bad_size;
    return span_to_u64(value, &out->declared_bytes) ? NULL : &huge_size;
}

static const struct complaint *
take_body(struct span value, struct mail_command *out)
{
    if (span_eq_nocase(value, SPAN_LIT("8BITMIME")))
        out->body = SMTP_BODY_8BITMIME;
    else if (!span_eq_nocase(value, SPAN_LIT("7BIT")))
        return &bad_body;
    return NULL;
}

static const struct complaint *
take(enum param_id id, struct span value, struct mail_command *out)
{
    switch (id) {
    case PARAM_SIZE:
        return take_size(value, out);
    case PARAM_BODY:
        return take_body(value, out);
    case PARAM_AUTH:
        return is_xtext(value) ? NULL : &bad_auth;
    case PARAM_COUNT:
        break;
    }
    return &unknown;
}

static enum param_id
find(struct span key)
{
    static const struct span names[PARAM_COUNT] = {SPAN_LIT("SIZE"), SPAN_LIT("BODY"), SPAN_LIT("AUTH")};
    size_t id = 0;

    while (id < PARAM_COUNT && !span_eq_nocase(key, names[id]))
        id++;
    return (enum param_id)id;
}

const struct complaint *
param_parse_mail(struct span rest, struct mail_command *out)
{
    bool seen[PARAM_COUNT] = {false}, bad;
    struct param param;

    while (next_param(&rest, &param, &bad)) {
        const struct complaint *complaint;
        enum param_id id;

        if (bad)
            return &bad_param;
        if (span_eq_nocase(param.key, SPAN_LIT("SMTPUTF8")))
            return &utf8;
        id = find(param.key);
        if (id == PARAM_COUNT)
            return &unknown;
        if (seen[id])
            return &twice;
        seen[id] = true;
        complaint = take(id, param.value, out);
        if (complaint != NULL)
            return complaint;
    }
    return NULL;
}

const struct complaint *
param_parse_rcpt(struct span rest)
{
    struct param param;
    bool bad;

    if (!next_param(&rest, &param, &bad))
        return NULL;
    return bad ? &bad_param : &unknown_rcpt;
}
