/* AUTH (RFC 4954): PLAIN with or without initial response, LOGIN with its two questions. Whether user and
 * password are right is the owner's to find out. */
#include "relay/smtp/server_part.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

static const struct complaint cancelled = {501, "5.7.0", "Authentication cancelled"};
static const struct complaint malformed = {501, "5.5.2", "Cannot decode the response"};

void
server_drop_sasl(struct server *s)
{
    if (s->sasl == NULL)
        return;
    free(s->sasl->user);
    if (s->sasl->password != NULL) {
        explicit_bzero(s->sasl->password, strlen(s->sasl->password));
        free(s->sasl->password);
    }
    free(s->sasl);
    s->sasl = NULL;
}

static enum server_action
give_up(struct server *s, const struct complaint *c, struct buf *out)
{
    server_drop_sasl(s);
    server_set_state(s, SERVER_READY);
    return server_error(s, c, out);
}

static enum server_action
ask(struct server *s, const char *challenge, struct buf *out)
{
    server_set_state(s, SERVER_SASL);
    buf_add_str(out, challenge);
    return SERVER_READ;
}

static enum server_action
verify(struct server *s)
{
    server_set_state(s, SERVER_WAIT_AUTH);
    return SERVER_DO_AUTH;
}

/* A wrong password by construction: acting for somebody else is not offered. */
static enum server_action
wrong(struct server *s, struct buf *out)
{
    server_set_state(s, SERVER_WAIT_AUTH);
    return server_auth_done(s, SERVER_AUTH_WRONG, out);
}

static enum server_action
take_plain(struct server *s, struct span message, struct buf *out)
{
    struct span authzid, user, password;

    if (!sasl_plain_parse(message, &authzid, &user, &password))
        return give_up(s, &malformed, out);
    if (authzid.n > 0 && !span_eq(authzid, user))
        return wrong(s, out);
    s->sasl->user = xstrndup(user.p, user.n);
    s->sasl->password = xstrndup(password.p, password.n);
    return verify(s);
}

static enum server_action
take_login(struct server *s, struct span message, struct buf *out)
{
    bool is_user = s->sasl->user == NULL;

    if (span_find_byte(message, '\0') >= 0 || message.n > (is_user ? SASL_USER_MAX : SASL_PASSWORD_MAX) ||
        (is_user && message.n == 0))
        return give_up(s, &malformed, out);
    if (!is_user) {
        s->sasl->password = xstrndup(message.p, message.n);
        return verify(s);
    }
    s->sasl->user = xstrndup(message.p, message.n);
    return ask(s, "334 UGFzc3dvcmQ6\r\n", out); /* "Password:" */
}

/* One base64 response. "=" stands for the empty one in an initial response. */
static enum server_action
take_response(struct server *s, struct span encoded, struct buf *out)
{
    size_t size = encoded.n / 4 * 3 + 1, n;
    char *message = xmalloc(size);
    enum server_action action;

    if (!sasl_base64_decode(encoded, message, &n))
        action = give_up(s, &malformed, out);
    else if (s->sasl->mechanism == SASL_PLAIN)
        action = take_plain(s, span_of(message, n), out);
    else
        action = take_login(s, span_of(message, n), out);
    explicit_bzero(message, size);
    free(message);
    return action;
}

enum server_action
server_run_sasl(struct server *s, struct span line, struct buf *out)
{
    if (span_eq(line, SPAN_LIT("*")))
        return give_up(s, &cancelled, out);
    return take_response(s, line, out);
}

static const struct complaint *
auth_forbidden(const struct server *s)
{
    static const struct complaint absent = {502, "5.5.1", "Authentication is not available here"};
    static const struct complaint in_clear = {
        538, "5.7.11", "Encryption required for authentication: STARTTLS first"};
    static const struct complaint twice = {503, "5.5.1", "Already authenticated"};
    static const struct complaint esmtp = {503, "5.5.1", "EHLO first"};

    if (!s->conf->auth)
        return &absent;
    if (!s->secure && !s->conf->auth_without_tls)
        return &in_clear;
    if (s->authenticated)
        return &twice;
    return s->esmtp ? NULL : &esmtp;
}

enum server_action
server_run_auth(struct server *s, struct span args, struct buf *out)
{
    static const struct complaint unknown = {504, "5.5.4", "Mechanism not supported; use PLAIN or LOGIN"};
    static const struct complaint bad_args = {501, "5.5.4", "The form is AUTH mechanism [initial-response]"};
    const struct complaint *c = auth_forbidden(s);
    enum sasl_mechanism mechanism;
    struct span name, initial;

    if (c != NULL)
        return server_error(s, c, out);
    initial = span_trim(span_cut(args, ' ', &name));
    if (!sasl_mechanism_parse(name, &mechanism))
        return server_error(s, name.n > 0 ? &unknown : &bad_args, out);
    if (span_find_byte(initial, ' ') >= 0)
        return server_error(s, &bad_args, out);
    s->sasl = xcalloc(1, sizeof *s->sasl);
    s->sasl->mechanism = mechanism;
    if (initial.n > 0) {
        server_set_state(s, SERVER_SASL);
        return take_response(s, span_eq(initial, SPAN_LIT("=")) ? span_of(initial.p, 0) : initial, out);
    }
    return ask(s, mechanism == SASL_PLAIN ? "334 \r\n" : "334 VXNlcm5hbWU6\r\n", out); /* "Username:" */
}

static enum server_action
auth_wrong(struct server *s, struct buf *out)
{
    static const struct complaint no = {535, "5.7.8", "Authentication failed"};
    static const struct complaint enough = {421, "4.7.0", "Too many authentication failures"};

    s->delay_ms = SERVER_AUTH_DELAY_MS;
    if (++s->auth_failures >= s->conf->auth_failures_max)
        return server_end_with(s, &enough, "auth", out);
    server_say(s, &no, out);
    return SERVER_DO_DELAY;
}

enum server_action
server_auth_done(struct server *s, enum server_auth_result result, struct buf *out)
{
    static const struct complaint unavailable = {
        454, "4.7.0", "Authentication cannot be checked now; try again later"};
    static const struct complaint limited = {
        421, "4.7.0", "Too many authentication failures from your address; try again later"};

    server_set_state(s, SERVER_READY);
    switch (result) {
    case SERVER_AUTH_OK:
        s->authenticated = true;
        free(s->login);
        s->login = s->sasl->user;
        s->sasl->user = NULL;
        server_drop_sasl(s);
        buf_add_str(out, "235 2.7.0 Authentication successful\r\n");
        return SERVER_READ;
    case SERVER_AUTH_WRONG:
        server_drop_sasl(s);
        return auth_wrong(s, out);
    case SERVER_AUTH_UNAVAILABLE:
        server_drop_sasl(s);
        server_say(s, &unavailable, out);
        return SERVER_READ;
    case SERVER_AUTH_LIMITED:
        server_drop_sasl(s);
        return server_end_with(s, &limited, "auth", out);
    }
    return SERVER_READ;
}
