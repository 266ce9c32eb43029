/* hint: what this node was told a moment ago, so that it need not ask again.
 *
 * After a refusal "limit L of instance I is full for another T", every request that wants at least as
 * much of L would be refused until then. The hint answers those for at most HINT_MS, so a refused loop
 * costs Redis one question a second and a change on another node is felt within that second. A
 * hint only refuses; it never grants. Of limits of new recipients there is none: who is new, only the store
 * knows.
 */
#ifndef SENDGOV_FLOW_HINT_H
#define SENDGOV_FLOW_HINT_H

#include "policy/charge.h"

#define HINT_MS 1000
#define HINT_SLOTS 256

struct hint {
    char limit[64]; /* empty: the slot is free */
    enum limit_scope scope;
    char instance[INSTANCE_MAX];
    uint64_t wanted;        /* of the limit's unit, by the request that was refused */
    int64_t told_mono_ms;
    int64_t retry_after_ms;
    uint64_t used, cap;
};

struct hints {
    struct hint slots[HINT_SLOTS]; /* direct-mapped by limit and instance; a newer one takes the place */
};

void hints_clear(struct hints *h);
/* Remembers a VERDICT_OVER. */
void hints_learn(struct hints *h, const struct charge_request *request, const struct verdict *verdict,
    int64_t now_mono_ms);
/* True and *verdict_out (retry_after_ms counted from now) when a hint refuses the request. */
bool hints_refuse(const struct hints *h, const struct charge_request *request, int64_t now_mono_ms,
    struct verdict *verdict_out);

#endif
