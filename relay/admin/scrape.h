/* scrape: gauges that are looked up rather than counted, brought up to date when somebody asks. */
#ifndef SENDGOV_ADMIN_SCRAPE_H
#define SENDGOV_ADMIN_SCRAPE_H

#include "relay/admin/admin_state.h"
#include "relay/base/buf.h"

void scrape_refresh(struct admin *a);
/* process_* of this process, from /proc, in exposition format. */
void scrape_process(struct buf *out);

#endif
