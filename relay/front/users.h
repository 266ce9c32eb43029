/* users: the file of logins: a line `login:hash` each, hashes by crypt(3) ("$y$", "$2b$" or "$6$"), "#"
 * begins a comment. It must not be readable by others. Loaded whole or not at all; immutable then. */
#ifndef SENDGOV_FRONT_USERS_H
#define SENDGOV_FRONT_USERS_H

#include <stdbool.h>

#include "relay/base/err.h"

#define USERS_FILE_MAX (1024 * 1024)
#define USERS_HASH_MAX 256

struct users;

/* NULL and "file:line: ..." in err. */
struct users *users_load(const char *file, struct err *err);
void users_free(struct users **u);
/* The hash of a login; for an unknown one the hash of no password, of the same cost as the others. *known_out
 * tells. */
const char *users_hash(const struct users *u, const char *login, bool *known_out);

#endif
