/* "550 5.7.708", "5xx 5.7.606-649", "4xx *", "* *.7.64": reply code (one, a class, any) and enhanced code
 * (one, a range of its last part, any class of it, or any at all). */
#include "relay/config/type.h"

static const char *
parse_code(struct span in, struct reply_rule *rule)
{
    uint64_t number;

    if (span_eq(in, SPAN_LIT("*")) || span_eq(in, SPAN_LIT("4xx")) || span_eq(in, SPAN_LIT("5xx"))) {
        rule->code = in.p[0] == '*' ? 0 : (uint16_t)(in.p[0] - '0');
        return NULL;
    }
    if (in.n != 3 || !span_to_u64(in, &number) || number < 400 || number > 599)
        return "needs a reply code first: 400 to 599, 4xx, 5xx or *";
    rule->code = (uint16_t)number;
    return NULL;
}

static bool
parse_part(struct span in, uint16_t *out)
{
    uint64_t number;

    if (in.n == 0 || in.n > 3 || !span_to_u64(in, &number))
        return false;
    *out = (uint16_t)number;
    return true;
}

static const char *
parse_enhanced(struct span in, struct reply_rule *rule)
{
    static const char form[] = "needs an enhanced code second: 5.7.708, 5.7.606-649, *.7.64 or *";
    struct span class, subject, detail, last, rest;

    if (span_eq(in, SPAN_LIT("*")))
        return NULL;
    rest = span_cut(in, '.', &class);
    rest = span_cut(rest, '.', &subject);
    last = span_cut(rest, '-', &detail);
    if (last.n == 0)
        last = detail;
    rule->any_class = span_eq(class, SPAN_LIT("*"));
    if (!rule->any_class && (class.n != 1 || (class.p[0] != '4' && class.p[0] != '5')))
        return form;
    rule->from.class = rule->any_class ? 5 : (uint8_t)(class.p[0] - '0');
    if (!parse_part(subject, &rule->from.subject) || !parse_part(detail, &rule->from.detail))
        return form;
    rule->to = rule->from;
    if (!parse_part(last, &rule->to.detail) || rule->to.detail < rule->from.detail)
        return form;
    return NULL;
}

TYPE_PARSER(type_parse_reply_code)
{
    struct reply_rule *rule = field;
    struct span in, code, enhanced;
    const char *why;

    if (type_scalar(d, s, v, &in) < 0)
        return -1;
    enhanced = span_trim(span_cut(in, ' ', &code));
    why = parse_code(code, rule);
    if (!why)
        why = parse_enhanced(enhanced, rule);
    return why ? type_bad(d, s, v, why) : 0;
}

TYPE_FORMATTER(type_format_reply_code)
{
    const struct reply_rule *rule = field;

    (void)s;
    if (rule->code == 0)
        buf_add_str(out, "* ");
    else if (rule->code < 10)
        buf_printf(out, "%uxx ", rule->code);
    else
        buf_printf(out, "%u ", rule->code);
    if (rule->from.class == 0) {
        buf_add_str(out, "*");
        return;
    }
    if (rule->any_class)
        buf_printf(out, "*.%u.%u", rule->from.subject, rule->from.detail);
    else
        buf_printf(out, "%u.%u.%u", rule->from.class, rule->from.subject, rule->from.detail);
    if (rule->to.detail != rule->from.detail)
        buf_printf(out, "-%u", rule->to.detail);
}
