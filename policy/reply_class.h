/* reply_class: what a reply of the upstream means for the mail that follows.
 *
 * A rule matches on the reply class (4xx or 5xx), the enhanced code or a range of its detail, and optionally
 * words; the first rule that matches wins; a 2xx never matches anything, whatever its text says. The rules
 * are data: conf/profiles ships them with date and source, an operator adds to them. */
#ifndef SENDGOV_POLICY_REPLY_CLASS_H
#define SENDGOV_POLICY_REPLY_CLASS_H

#include "policy/types.h"
#include "relay/base/span.h"

struct reply_rule {
    uint16_t code;           /* 550: exactly; 5 or 4: the class; 0: any 4xx or 5xx */
    struct enhanced from, to; /* same class and subject; detail from..to. class 0 in `from`: any enhanced
                               * code, also none */
    bool any_class;          /* the enhanced class digit does not matter ("*.7.64") */
    const char *words;       /* NULL, or text that must occur, ASCII case folded */
    enum reply_class class;
    const char *advice;      /* what the operator should do; shown by classify, pause and incident */
    const char *source;      /* Microsoft page or report */
};

struct reply_rules {
    const struct reply_rule *rules;
    size_t n;
};

/* rule_out (may be NULL): the rule that decided, NULL for the defaults (2xx OK, 4xx TEMPORARY,
 * 5xx MESSAGE). */
enum reply_class reply_classify(const struct reply_rules *rules, int code, struct enhanced enhanced,
    struct span text, const struct reply_rule **rule_out);
/* The advice of a rule as one line, cut to what a page and a log line take; empty: it has none, or
 * there is no rule. */
#define REPLY_ADVICE_MAX 512
void reply_advice(const struct reply_rule *rule, char out[REPLY_ADVICE_MAX]);

#endif
