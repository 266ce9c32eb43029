#include "policy/reply_class.h"

static bool
code_matches(uint16_t wanted, int code)
{
    if (wanted == 0)
        return true;
    if (wanted < 10)
        return code / 100 == wanted;
    return code == wanted;
}

static bool
enhanced_matches(const struct reply_rule *rule, struct enhanced e)
{
    uint16_t last = rule->to.class != 0 ? rule->to.detail : rule->from.detail;

    if (rule->from.class == 0)
        return true;
    if (e.class == 0 || e.subject != rule->from.subject)
        return false;
    if (!rule->any_class && e.class != rule->from.class)
        return false;
    return e.detail >= rule->from.detail && e.detail <= last;
}

static bool
rule_matches(const struct reply_rule *rule, int code, struct enhanced e, struct span text)
{
    return code_matches(rule->code, code) && enhanced_matches(rule, e)
        && (!rule->words || span_find_nocase(text, span_str(rule->words)) >= 0);
}

enum reply_class
reply_classify(const struct reply_rules *rules, int code, struct enhanced enhanced, struct span text,
    const struct reply_rule **rule_out)
{
    const struct reply_rule *none;

    if (!rule_out)
        rule_out = &none;
    *rule_out = NULL;
    if (code >= 200 && code < 300)
        return CLASS_OK;
    /* A final reply is 2xx, 4xx or 5xx, and "550 2.0.0" contradicts itself: a peer that is not speaking SMTP
     * now may do so later. ("451 5.7.3" is real, so 4 against 5 is no contradiction.) */
    if (code < 400 || code > 599 || enhanced.class == 2)
        return CLASS_TEMPORARY;
    for (size_t i = 0; i < rules->n; i++) {
        if (rule_matches(&rules->rules[i], code, enhanced, text)) {
            *rule_out = &rules->rules[i];
            return rules->rules[i].class;
        }
    }
    return code < 500 ? CLASS_TEMPORARY : CLASS_MESSAGE;
}

void
reply_advice(const struct reply_rule *rule, char out[REPLY_ADVICE_MAX])
{
    size_t n = 0;

    for (const char *p = rule && rule->advice ? rule->advice : ""; *p && n < REPLY_ADVICE_MAX - 1; p++)
        out[n++] = *p == '\n' || *p == '\t' ? ' ' : *p;
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}
