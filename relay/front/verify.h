/* verify: is this password right? On a helper thread, since one check costs some 10 ms of CPU, and remembered
 * for a while, since a client that opens a connection per message asks with each.
 *
 * What is remembered is a keyed hash of login, password and stored hash under a secret of this process: it
 * says that exactly these three were right together. A changed users file therefore forgets by itself. */
#ifndef SENDGOV_FRONT_VERIFY_H
#define SENDGOV_FRONT_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/front/users.h"

#define VERIFY_REMEMBER_MS (5 * 60 * 1000)
#define VERIFY_SLOTS 1024

struct verify;
struct worker;

/* right is false for an unknown login, whatever the password. */
typedef void verify_done_fn(void *arg, bool right);

struct verify *verify_new(struct worker *worker);
void verify_free(struct verify **v);

enum verify_status {
    VERIFY_RIGHT,   /* remembered: done will not be called */
    VERIFY_ASKED,   /* done exactly once, never during the call, unless forgotten or verify is freed before */
    VERIFY_NO_ROOM, /* the worker's queue is full: done will not be called */
};
enum verify_status verify_start(struct verify *v, const struct users *users, const char *login,
    const char *password, int64_t now_mono_ms, verify_done_fn *done, void *arg);
/* arg goes: no done for it any more. */
void verify_forget(struct verify *v, const void *arg);

#endif
