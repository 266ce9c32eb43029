/* err: one error text on its way to the caller who can act on it, and the assertion.
 *
 * For errors of the OS and of the configuration. What a peer says is a value of its own type;
 * what a programmer did wrong is sg_assert, active in release builds too.
 */
#ifndef SENDGOV_BASE_ERR_H
#define SENDGOV_BASE_ERR_H

#include <stdarg.h>

#define ERR_TEXT_MAX 1024

struct err {
    char text[ERR_TEXT_MAX];
};

/* Both return -1, so that a function can `return err_set(err, ...)`. err may be NULL. */
int err_set(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends ": " and strerror(errno). */
int err_set_errno(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

_Noreturn void sg_assert_fail(const char *what, const char *file, int line);

#define sg_assert(cond) ((cond) ? (void)0 : sg_assert_fail(#cond, __FILE__, __LINE__))

#endif
