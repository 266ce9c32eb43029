/* successor: the process that takes the place of this one, as this one sees it: started, prepared, let go
 * ahead, serving. predecessor.h is the other side, handover.h what they say.
 *
 *     STARTED -ready-> PREPARED -successor_go-> TAKING -running-> SERVING
 *
 * Whatever goes wrong before SERVING (it ends, it is silent for too long, it says so) is told once by
 * `failed`; it is killed then, and what was given up for it has to be taken back. */
#ifndef SENDGOV_SUCCESSOR_H
#define SENDGOV_SUCCESSOR_H

#include <stddef.h>
#include <sys/types.h>

#include "relay/base/err.h"
#include "relay/base/span.h"
#include "relay/net/loop.h"

struct successor;

struct successor_ops {
    /* Its configuration is good and it would be this; answer by successor_go or successor_refuse. */
    void (*prepared)(void *arg, const char *identity);
    void (*serving)(void *arg);
    void (*failed)(void *arg, const char *why);
};

struct successor_setup {
    struct loop *loop;
    char *const *argv;  /* as this process was started, program first */
    const int *sockets; /* that listen; stay open here too */
    size_t n_sockets;
    int lock; /* of the state folder */
    const struct successor_ops *ops;
    void *arg;
};

/* Starts the program argv names now, whichever that is by now. NULL and err: it could not be. */
struct successor *successor_start(const struct successor_setup *setup, struct err *err);
pid_t successor_pid(const struct successor *s);
/* After `prepared`: it may take the place. identity: by what this process is known now. */
void successor_go(struct successor *s, const char *identity);
/* After `prepared`: it may not; `failed` follows. */
void successor_refuse(struct successor *s, const char *why);
/* From TAKING on (before, it is not sent): a pause it should know. */
void successor_tell_pause(struct successor *s, const char *line);
/* Kills what is not SERVING yet; `failed` does not follow. */
void successor_free(struct successor **s);

#endif
