/* handover: what a process that is replaced and the one that replaces it say to each other, one packet each,
 * over a pair of connected sockets (unix, SOCK_SEQPACKET):
 *
 *     new: READY and who it would be   the configuration is good; it holds nothing yet
 *     old: GO and its identity,        it goes by a name and an identity of its own; the node's journal is
 *          or NO and why               free. When the link ends, so are its connection slots: it is dead
 *     new: RUNNING                     it serves; the old one takes no more connections and drains
 *     old: PAUSE and a line of it      a pause it met while it drained
 *     new: FAILED and why              instead of READY or RUNNING: the old one goes on as before
 *
 * The listening sockets come by the protocol of sd_listen_fds(3). */
#ifndef SENDGOV_HANDOVER_H
#define SENDGOV_HANDOVER_H

/* "LINK,LOCK": the descriptors of the link and of the state folder's lock. */
#define HANDOVER_ENVIRONMENT "SENDGOV_PREDECESSOR"
#define HANDOVER_WAIT_MS 20000 /* for the next word of the other */

#define HANDOVER_READY "ready "
#define HANDOVER_GO "go "
#define HANDOVER_NO "no "
#define HANDOVER_RUNNING "running"
#define HANDOVER_PAUSE "pause "
#define HANDOVER_FAILED "failed "

#endif
