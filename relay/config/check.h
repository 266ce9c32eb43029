/* check: what one setting alone cannot tell. Each function looks at one kind of entry; draft_check runs them
 * in order. */
#ifndef SENDGOV_CONFIG_CHECK_H
#define SENDGOV_CONFIG_CHECK_H

#include "relay/config/draft.h"

int check_listeners(struct draft *d); /* check_listeners.c */
int check_clients(struct draft *d);   /* check_clients.c */
int check_spool(struct draft *d);     /* check_spool.c */
int check_routes(struct draft *d);    /* check_routes.c */
int check_mailboxes(struct draft *d); /* check_routes.c */
int check_limits(struct draft *d);    /* check_limits.c */

/* The entry of that name; NULL: none. */
void *find_entry(const struct entries *e, enum section section, const char *name);
/* "key 'name' is no route; did you mean ...", at the key of the entry. */
int dangling(struct draft *d, const struct entry_head *e, const char *key, const char *name,
    const struct entries *among, enum section section);
/* Do two domain patterns ("contoso.com", "*.contoso.com") have a domain in common? */
bool domains_meet(const char *a, const char *b);
/* Can two addresses with ports not be bound at the same time? [::] is IPv6 only. */
bool addresses_meet(const char *a, const char *b);
/* Is the host part of a literal or name this machine itself ("localhost", 127/8, ::1)? */
bool is_loopback(struct span host);

#endif
