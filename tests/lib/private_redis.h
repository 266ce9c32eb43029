/* private_redis: a redis-server of the test's own, on a unix socket in a temporary folder, gone
 * with the test. */
#ifndef SENDGOV_TESTS_PRIVATE_REDIS_H
#define SENDGOV_TESTS_PRIVATE_REDIS_H

#include <stdbool.h>
#include <sys/types.h>

struct private_redis {
    char folder[64];
    char socket[96];
    pid_t pid;
};

/* more: NULL-terminated further arguments, or NULL. Fails the test when the server does not
 * answer within 10 s; that it is loading its data is an answer. */
void private_redis_start(struct private_redis *r, const char *const *more);
/* Ends the process with this signal and waits for it; the folder stays. */
void private_redis_kill(struct private_redis *r, int signal);
/* Starts it again in its folder. */
void private_redis_restart(struct private_redis *r, const char *const *more);
void private_redis_stop(struct private_redis *r);

#endif
