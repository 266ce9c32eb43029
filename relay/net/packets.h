/* packets: short texts between two processes of this host, over a pair of connected unix sockets
 * (SOCK_SEQPACKET: whole or not at all, in order). */
#ifndef SENDGOV_NET_PACKETS_H
#define SENDGOV_NET_PACKETS_H

#include <stdbool.h>

#include "relay/base/err.h"
#include "relay/base/span.h"
#include "relay/net/loop.h"

#define PACKET_MAX 4096

struct packets;

/* Both ends are close-on-exec. */
int packets_pair(int fds_out[2], struct err *err);
bool packets_is_end(int fd);
/* word, then rest; what is over PACKET_MAX is cut off. False: the other is gone or does not read. */
bool packets_send(int fd, const char *word, const char *rest);
/* Waits for one, outside of any loop, at most wait_ms; zero-terminated. False: none came, err says why. */
bool packets_wait(int fd, int wait_ms, char packet_out[PACKET_MAX], struct err *err);

/* packet: valid during the call; NULL: the other end is closed, nothing follows. */
typedef void packets_fn(void *arg, const char *packet);
/* Reads fd, which stays the caller's and must stay open until packets_free. */
struct packets *packets_new(struct loop *loop, int fd, packets_fn *on_packet, void *arg);
/* Also from on_packet. */
void packets_free(struct packets **p);

#endif
