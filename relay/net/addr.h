/* addr: socket addresses as the rest of the program uses them. */
#ifndef SENDGOV_NET_ADDR_H
#define SENDGOV_NET_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "relay/base/err.h"
#include "relay/base/span.h"

/* v4-mapped v6 is given as v4, a scope id is kept in the sockaddr and left out of the text. */
struct net_addr {
    struct sockaddr_storage ss;
    socklen_t len;
    char text[64]; /* "192.0.2.1" or "2001:db8::1", no port; "unix" */
    uint16_t port;
};

void net_addr_from_sockaddr(struct net_addr *out, const struct sockaddr *sa, socklen_t len);
/* "192.0.2.1:25", "[::1]:25" or "unix:/path": nothing is looked up. */
int net_addr_parse(const char *text, struct net_addr *out, struct err *err);
/* Splits "host:port" or "[v6]:port"; false when it has not that form. host is without brackets. */
bool net_addr_split(struct span text, struct span *host_out, uint16_t *port_out);
/* The port of a v4 or v6 address, in the sockaddr as well. */
void net_addr_set_port(struct net_addr *a, uint16_t port);

#endif
