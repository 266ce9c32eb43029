/* http_conns: how many HTTP connections there are and how long each may last.
 *
 * evhttp bounds neither: it accepts without end, and its timeout starts anew with every byte, so a peer that
 * sends one byte at a time keeps a descriptor for hours. Here every connection's bufferevent is made by us
 * and held with a reference of our own, so we see when evhttp has let go of it (bufferevent_free clears its
 * callbacks), and can shut its socket when its time is over. At the limit the listening socket rests. */
#ifndef SENDGOV_ADMIN_HTTP_CONNS_H
#define SENDGOV_ADMIN_HTTP_CONNS_H

#include <event2/http.h>

#include "relay/net/loop.h"

#define HTTP_CONNECTIONS_MAX 32
#define HTTP_LIFE_MS 10000 /* of one connection: every reply ends it */

struct http_conns;

/* server and listener are the caller's; free this after evhttp_free(server). life_ms: what a connection may
 * last. */
struct http_conns *http_conns_new(
    struct loop *loop, struct evhttp *server, struct evconnlistener *listener, int64_t life_ms);
/* evhttp (and the listener with it) is gone or about to go: never touch them again. */
void http_conns_free(struct http_conns **c);
unsigned http_conns_open(const struct http_conns *c);

#endif
