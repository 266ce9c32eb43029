/* http: /metrics, /live, /ready and a status page, for Prometheus, load balancers and browsers on this host.
 *
 * evhttp does HTTP; here is who may ask what. GET and HEAD only, no bodies, 16 KiB of headers, one reply per
 * connection, 32 connections of at most 10 s, Host must be ours (http_host.h). Pages are escaped, static and
 * run no script. */
#ifndef SENDGOV_ADMIN_HTTP_H
#define SENDGOV_ADMIN_HTTP_H

#include "relay/admin/admin_state.h"

#define HTTP_HEADERS_MAX (16 * 1024)
#define HTTP_IDLE_SEC 5

struct http;

/* address: "127.0.0.1:9825" or "[::1]:9825"; numeric. Port 0 lets the kernel choose (tests). */
struct http *http_open(struct admin *a, const char *address, struct err *err);
void http_close(struct http **h);
const char *http_address(const struct http *h);
unsigned http_port(const struct http *h);
/* The listening socket. */
int http_fd(const struct http *h);
/* Open now. */
unsigned http_connections(const struct http *h);

#endif
