/* explain_view: what becomes of one transaction, as JSON. It goes by the lines of the charge and what the
 * store says of each, whatever scopes and kinds of limits there are.
 *
 * When all of it passes is the latest of what its limits say and of the pauses; the verdict is believed
 * more: one that grants all makes limits no matter, and one that knows of a longer wait (counters that are
 * missing count as full) is taken instead. Where one of them cannot be told the whole cannot, nor where
 * something else holds it, such as older mail. */
#ifndef SENDGOV_ADMIN_EXPLAIN_VIEW_H
#define SENDGOV_ADMIN_EXPLAIN_VIEW_H

#include <jansson.h>

#include "relay/admin/admin_state.h"
#include "relay/flow/explain.h"
#include "relay/store/store.h"

/* One upstream transaction, as far as it is known. */
struct explain_part {
    struct envelope envelope; /* its recipients */
    bool is_planned;         /* else more limits apply than one charge can carry */
    struct charge_request request;
    struct usage *usage;     /* one for each line of the request; owned */
    struct verdict verdict;
    struct explained result;
};

/* How much the line is to take. */
uint64_t explain_wanted(const struct charge_request *request, const struct charge_line *line);
/* The scope instance the line belongs to. */
const struct charge_scope *explain_scope_of(const struct charge_request *request, size_t line);
/* From now until all of it passes: 0 now, -1 not known. */
int64_t explain_passes_after_ms(const struct store *s, const struct explain_part *part);
json_t *explain_part_to_json(const struct admin *a, const struct explain_part *part);
/* "451 4.4.5 text"; null where there is none. */
json_t *explain_reply_to_json(const struct reply *reply);

#endif
