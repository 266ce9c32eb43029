/* nearest: "did you mean ...?" for a word that a table does not know: a command, a setting, a name. */
#ifndef SENDGOV_BASE_NEAREST_H
#define SENDGOV_BASE_NEAREST_H

#include <stddef.h>

#include "relay/base/span.h"

#define NEAREST_WORD_MAX 64 /* longer words have no nearest one */

/* Edits (insert, delete, replace, swap of neighbours; ASCII case folded) that make b of a;
 * SIZE_MAX when one of them is longer than NEAREST_WORD_MAX. */
size_t nearest_distance(struct span a, struct span b);
/* The known word closest to word, the first of equals; NULL when none is close enough to be meant (more than
 * a third of its letters differ). */
const char *nearest_word(struct span word, const char *const *known, size_t n);

#endif
