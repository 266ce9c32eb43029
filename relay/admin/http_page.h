/* http_page: what the paths answer. Each fills a buffer and returns the HTTP status. */
#ifndef SENDGOV_ADMIN_HTTP_PAGE_H
#define SENDGOV_ADMIN_HTTP_PAGE_H

#include "relay/admin/admin_state.h"
#include "relay/base/buf.h"

int page_metrics(struct admin *a, struct buf *out);
int page_live(struct admin *a, struct buf *out);
int page_ready(struct admin *a, struct buf *out);
int page_style(struct admin *a, struct buf *out);
int page_status(struct admin *a, struct buf *out);

/* Appends text with everything escaped that means something in HTML, in attributes too; control bytes become
 * '?'. */
void html_add(struct buf *out, const char *text);

#endif
