/* spool_overlay: a damaged database seen with another first page. The header of that page and the schema
 * in it are the same in every spool, and without them nothing can be found that is whole behind them. The
 * file keeps its bytes and is not copied: it gets a second name, and beside that a log in which the page
 * is. */
#ifndef SENDGOV_SPOOL_SPOOL_OVERLAY_H
#define SENDGOV_SPOOL_SPOOL_OVERLAY_H

#include <stdbool.h>

#include "relay/base/span.h"

/* fresh: the pages of a spool that nothing was put into. Is the file a spool like it, apart from the first
 * page? */
bool spool_overlay_fits(const char *path, struct span fresh);
/* Makes the name `view` for the file; neither it nor its log may be there. False: errno, and what was made
 * is left. To be opened without a checkpoint at the end. */
bool spool_overlay_make(const char *path, const char *view, struct span fresh);

#endif
