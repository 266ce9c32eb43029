/* sender: what an identified client may send: from whom, by which route, to whom. Pure.
 *
 * Refused is what marks a compromised relay at Microsoft: senders nobody registered for this client, domains
 * that belong to no route, a header From that the envelope's rules would not allow. Each refusal names what
 * to change. */
#ifndef SENDGOV_FRONT_SENDER_H
#define SENDGOV_FRONT_SENDER_H

#include "relay/config/config.h"
#include "relay/smtp/envelope.h"
#include "relay/smtp/reply.h"

struct header_authors;

struct sender_path {
    const struct route_conf *route;
    const struct mailbox_conf *mailbox; /* NULL: the route has none */
};

/* May the client use this sender at all, by whatever route? */
bool sender_is_of(const struct client_conf *client, const struct address *sender);
/* Each: false and *refusal_out when it may not be. */
bool sender_admit(const struct config *config, const struct client_conf *client, const struct address *sender,
    struct sender_path *out, struct reply *refusal_out);
/* most_bytes: what the route's upstream and this relay take. */
bool sender_admit_size(const struct route_conf *route, uint64_t bytes, uint64_t most_bytes,
    struct reply *refusal_out);
bool sender_admit_recipient(const struct route_conf *route, const struct address *recipient,
    enum recipient_class *class_out, struct reply *refusal_out);
bool sender_admit_authors(const struct client_conf *client, const struct route_conf *route,
    const struct header_authors *authors, struct reply *refusal_out);

#endif
