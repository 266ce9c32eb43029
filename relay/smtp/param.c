#include "relay/smtp/param.h"

#include <assert.h>

#include "relay/base/ascii.h"
#include "relay/base/xmalloc.h"
#include "relay/smtp/xtext.h"

/* esmtp-param = esmtp-keyword ["=" esmtp-value]; keyword: letters, digits, "-"; value: %d33-60 / %d62-126 */

enum param_id {
    PARAM_SIZE,
    PARAM_BODY,
    PARAM_AUTH,
    PARAM_RET,
    PARAM_ENVID,
    PARAM_NOTIFY,
    PARAM_ORCPT,
    PARAM_COUNT, /* and: none of them */
};

static const struct {
    struct span name;
    bool of_rcpt;
    bool of_dsn;
} params[] = {
    [PARAM_SIZE] = {SPAN_LIT("SIZE"), false, false},
    [PARAM_BODY] = {SPAN_LIT("BODY"), false, false},
    [PARAM_AUTH] = {SPAN_LIT("AUTH"), false, false},
    [PARAM_RET] = {SPAN_LIT("RET"), false, true},
    [PARAM_ENVID] = {SPAN_LIT("ENVID"), false, true},
    [PARAM_NOTIFY] = {SPAN_LIT("NOTIFY"), true, true},
    [PARAM_ORCPT] = {SPAN_LIT("ORCPT"), true, true},
};
static_assert(sizeof params / sizeof params[0] == PARAM_COUNT, "a row for each");

static const struct complaint bad_param = {501, "5.5.4", "Bad parameter syntax"};
static const struct complaint twice = {501, "5.5.4", "Parameter given twice"};
static const struct complaint unknown = {555, "5.5.4", "Parameter not recognised"};
static const struct complaint unknown_rcpt = {555, "5.5.4", "RCPT takes no parameters here"};
static const struct complaint utf8 = {553, "5.6.7", "SMTPUTF8 is not supported"};
static const struct complaint bad_size = {501, "5.5.4", "SIZE needs a number"};
static const struct complaint huge_size = {552, "5.3.4", "Message is larger than any limit"};
static const struct complaint bad_body = {504, "5.5.4", "BODY is 7BIT or 8BITMIME here"};
static const struct complaint bad_auth = {501, "5.5.4", "AUTH needs an xtext or <>"};
static const struct complaint bad_ret = {501, "5.5.4", "RET is FULL or HDRS"};
static const struct complaint bad_envid = {
    501, "5.5.4", "ENVID needs an xtext of printable ASCII, 100 characters at most"};
static const struct complaint bad_notify = {
    501, "5.5.4", "NOTIFY is NEVER or a list of SUCCESS,FAILURE,DELAY"};
static const struct complaint bad_orcpt = {
    501, "5.5.4", "ORCPT is TYPE;XTEXT of printable ASCII, 500 characters at most"};

struct param {
    struct span key, value;
    bool has_value;
};

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
take_ret(struct span value, struct mail_command *out)
{
    if (span_eq_nocase(value, SPAN_LIT("FULL")))
        out->ret = RET_FULL;
    else if (span_eq_nocase(value, SPAN_LIT("HDRS")))
        out->ret = RET_HDRS;
    else
        return &bad_ret;
    return NULL;
}

bool
param_is_envid(struct span value)
{
    return value.n <= PARAM_ENVID_MAX && xtext_is_printable(value);
}

static const struct complaint *
take_envid(struct span value, struct mail_command *out)
{
    if (!param_is_envid(value))
        return &bad_envid;
    out->envid = xstrndup(value.p, value.n);
    return NULL;
}

/* 0 for a word that is none. */
static unsigned
notify_bit(struct span word)
{
    static const struct {
        struct span name;
        enum dsn_notify bit;
    } words[] = {
        {SPAN_LIT("NEVER"), NOTIFY_NEVER},
        {SPAN_LIT("SUCCESS"), NOTIFY_SUCCESS},
        {SPAN_LIT("FAILURE"), NOTIFY_FAILURE},
        {SPAN_LIT("DELAY"), NOTIFY_DELAY},
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_eq_nocase(word, words[i].name))
            return words[i].bit;
    return 0;
}

/* span_cut cannot tell "a" from "a,": so the end of the list is looked for first. */
static const struct complaint *
take_notify(struct span value, struct rcpt_command *out)
{
    struct span word;

    if (value.n == 0 || value.p[value.n - 1] == ',')
        return &bad_notify;
    while (value.n > 0) {
        unsigned bit;

        value = span_cut(value, ',', &word);
        bit = notify_bit(word);
        if (bit == 0)
            return &bad_notify;
        out->notify |= bit;
    }
    return (out->notify & NOTIFY_NEVER) != 0 && out->notify != NOTIFY_NEVER ? &bad_notify : NULL;
}

/* addr-type = atom (RFC 822), less what no value may hold, and less "+": who decodes all of ORCPT, and not
 * only what is behind the semicolon, would make other bytes of it. */
static bool
is_address_type(struct span s)
{
    static const char others[] = "!#$%&'*-/?^_`{|}~";

    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && memchr(others, s.p[i], sizeof others - 1) == NULL)
            return false;
    return s.n > 0;
}

bool
param_is_orcpt(struct span value)
{
    struct span type, text = span_cut(value, ';', &type);

    return value.n <= PARAM_ORCPT_MAX && is_address_type(type) && xtext_is_printable(text);
}

static const struct complaint *
take_orcpt(struct span value, struct rcpt_command *out)
{
    if (!param_is_orcpt(value))
        return &bad_orcpt;
    out->orcpt = xstrndup(value.p, value.n);
    return NULL;
}

static const struct complaint *
take_of_mail(enum param_id id, struct span value, struct mail_command *out)
{
    switch (id) {
    case PARAM_SIZE:
        return take_size(value, out);
    case PARAM_BODY:
        return take_body(value, out);
    case PARAM_AUTH:
        return xtext_is(value) ? NULL : &bad_auth;
    case PARAM_RET:
        return take_ret(value, out);
    case PARAM_ENVID:
        return take_envid(value, out);
    case PARAM_NOTIFY:
    case PARAM_ORCPT:
    case PARAM_COUNT:
        break;
    }
    return &unknown;
}

/* PARAM_COUNT: none that this command knows here. */
static enum param_id
find(struct span key, bool of_rcpt, bool dsn)
{
    size_t id = 0;

    while (id < PARAM_COUNT && !span_eq_nocase(key, params[id].name))
        id++;
    if (id < PARAM_COUNT && (params[id].of_rcpt != of_rcpt || (params[id].of_dsn && !dsn)))
        id = PARAM_COUNT;
    return (enum param_id)id;
}

const struct complaint *
param_parse_mail(struct span rest, bool dsn, struct mail_command *out)
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
        id = find(param.key, false, dsn);
        if (id == PARAM_COUNT)
            return &unknown;
        if (seen[id])
            return &twice;
        seen[id] = true;
        complaint = take_of_mail(id, param.value, out);
        if (complaint != NULL)
            return complaint;
    }
    return NULL;
}

const struct complaint *
param_parse_rcpt(struct span rest, bool dsn, struct rcpt_command *out)
{
    bool seen[PARAM_COUNT] = {false}, bad;
    struct param param;

    while (next_param(&rest, &param, &bad)) {
        const struct complaint *complaint;
        enum param_id id;

        if (bad)
            return &bad_param;
        id = find(param.key, true, dsn);
        if (id == PARAM_COUNT)
            return dsn ? &unknown : &unknown_rcpt;
        if (seen[id])
            return &twice;
        seen[id] = true;
        complaint = id == PARAM_NOTIFY ? take_notify(param.value, out) : take_orcpt(param.value, out);
        if (complaint != NULL)
            return complaint;
    }
    return NULL;
}
