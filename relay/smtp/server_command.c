/* The commands as a table: when each may be given, and what it does. */
#include "relay/smtp/server_part.h"

#include <assert.h>
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

/* rest_n: bytes of input that follow the command. Not 0 where the client had to wait for the reply (RFC 2920
 * section 3.1) means that somebody put commands into the stream, or that the peer is no mail client. */
typedef enum server_action run_fn(struct server *s, struct span args, size_t rest_n, struct buf *out);

static const struct complaint sync_error = {554, "5.5.0", "Synchronisation error: wait for the reply"};
static const struct complaint ok = {250, "2.0.0", "Ok"};
static const struct complaint no_args = {501, "5.5.4", "This command takes no argument"};

/* ---- the session ---- */

static void
offer(const struct server *s, struct buf *out)
{
    const struct server_conf *c = s->conf;

    buf_printf(
        out, "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n", c->hostname, (unsigned long long)c->size_max);
    if (c->eightbitmime)
        buf_add_str(out, "250-8BITMIME\r\n");
    if (c->dsn)
        buf_add_str(out, "250-DSN\r\n");
    if (c->starttls && !s->secure)
        buf_add_str(out, "250-STARTTLS\r\n");
    if (c->auth && (s->secure || (c->auth_without_tls && !c->tls_required)))
        buf_add_str(out, "250-AUTH PLAIN LOGIN\r\n");
    buf_add_str(out, "250 ENHANCEDSTATUSCODES\r\n");
}

static enum server_action
greet(struct server *s, struct span args, size_t rest_n, bool esmtp, struct buf *out)
{
    static const struct complaint bad_name = {501, "5.5.4", "EHLO needs the name of your host"};

    if (rest_n > 0)
        return server_end_with(s, &sync_error, "early-talk", out);
    if (!command_is_helo_name(args))
        return server_error(s, &bad_name, out);
    if (!server_junk(s, out))
        return SERVER_DO_CLOSE;
    free(s->helo);
    s->helo = xstrndup(args.p, args.n);
    s->esmtp = esmtp;
    server_drop_tx(s);
    server_set_state(s, SERVER_READY);
    if (esmtp)
        offer(s, out);
    else
        buf_printf(out, "250 %s\r\n", s->conf->hostname);
    return SERVER_READ;
}

static enum server_action
run_ehlo(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    return greet(s, args, rest_n, true, out);
}

static enum server_action
run_helo(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    return greet(s, args, rest_n, false, out);
}

/* Commands that came with STARTTLS in clear would be answered inside TLS (CVE-2011-0411): nobody honest sends
 * any. */
static enum server_action
run_starttls(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint twice = {503, "5.5.1", "TLS is on already"};
    static const struct complaint absent = {502, "5.5.1", "TLS is not available here"};

    if (s->secure)
        return server_error(s, &twice, out);
    if (!s->conf->starttls)
        return server_error(s, &absent, out);
    if (args.n > 0)
        return server_error(s, &no_args, out);
    if (rest_n > 0)
        return server_end_with(s, &sync_error, "starttls-injection", out);
    buf_add_str(out, "220 2.0.0 Go ahead\r\n");
    server_set_state(s, SERVER_WAIT_TLS);
    return SERVER_DO_TLS;
}

static enum server_action
run_auth(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    (void)rest_n;
    return server_run_auth(s, args, out);
}

static enum server_action
run_quit(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint bye = {221, "2.0.0", "Bye"};

    (void)rest_n;
    if (args.n > 0)
        return server_error(s, &no_args, out);
    return server_end_with(s, &bye, "quit", out);
}

/* ---- the transaction ---- */

/* To HELO nothing was offered. */
static struct command_dialect
dialect(const struct server *s)
{
    return (struct command_dialect){.lenient = s->conf->lenient, .dsn = s->conf->dsn && s->esmtp};
}

static enum server_action
run_mail(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint too_big = {552, "5.3.4", "Message is too large"};
    static const struct complaint enough = {
        421, "4.7.0", "Enough messages for one connection; connect again"};
    struct mail_command mail;
    const struct complaint *c;

    (void)rest_n;
    if (s->messages >= s->conf->messages_max)
        return server_end_with(s, &enough, "messages", out);
    c = command_parse_mail(args, dialect(s), &mail);
    if (c != NULL)
        return server_error(s, c, out);
    if (mail.declared_bytes > s->conf->size_max) {
        mail_command_fini(&mail);
        return server_error(s, &too_big, out);
    }
    s->tx = xcalloc(1, sizeof *s->tx);
    s->tx->envelope.sender = mail.sender;
    s->tx->envelope.declared_bytes = mail.declared_bytes;
    s->tx->envelope.body = mail.body;
    s->tx->envelope.ret = mail.ret;
    s->tx->envelope.envid = mail.envid;
    s->tx->content_max = s->conf->size_max;
    server_set_state(s, SERVER_WAIT_MAIL);
    return SERVER_DO_MAIL;
}

/* One recipient more than a transaction may have. RFC 5321 section 4.5.3.1.10 has the client send the rest
 * later, so the 452 must not end the session with those accepted before, as junk would; but it is counted. */
static enum server_action
put_off_recipient(struct server *s, struct buf *out)
{
    static const struct complaint later = {
        452, "4.5.3", "Too many recipients; send the rest in another transaction"};
    static const struct complaint enough = {
        421, "4.7.0", "Far too many recipients for one transaction; send the rest in others"};

    s->tx->refused++;
    if (++s->tx->excess > SERVER_RCPT_EXCESS_MAX)
        return server_end_with(s, &enough, "recipients", out);
    server_say(s, &later, out);
    return SERVER_READ;
}

static enum server_action
run_rcpt(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    const struct complaint *c;
    struct rcpt_command rcpt;

    (void)rest_n;
    if (s->tx->envelope.n_recipients >= s->conf->recipients_max)
        return put_off_recipient(s, out);
    c = command_parse_rcpt(args, dialect(s), &rcpt);
    if (c != NULL) {
        s->tx->refused++;
        return server_error(s, c, out);
    }
    s->tx->recipient = rcpt.recipient;
    s->tx->notify = rcpt.notify;
    s->tx->orcpt = rcpt.orcpt;
    server_set_state(s, SERVER_WAIT_RCPT);
    return SERVER_DO_RCPT;
}

static enum server_action
run_data(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint nobody = {554, "5.5.1", "No valid recipients"};
    static const struct complaint no_rcpt = {503, "5.5.1", "RCPT first"};

    if (args.n > 0)
        return server_error(s, &no_args, out);
    if (s->tx->envelope.n_recipients == 0)
        return server_error(s, s->tx->refused > 0 ? &nobody : &no_rcpt, out);
    if (rest_n > 0)
        return server_end_with(s, &sync_error, "early-body", out);
    server_set_state(s, SERVER_WAIT_DATA);
    return SERVER_DO_DATA;
}

/* ---- small talk ---- */

static enum server_action
small_talk(struct server *s, const struct complaint *c, struct buf *out)
{
    if (!server_junk(s, out))
        return SERVER_DO_CLOSE;
    server_say(s, c, out);
    return SERVER_READ;
}

static enum server_action
run_rset(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    (void)rest_n;
    if (args.n > 0)
        return server_error(s, &no_args, out);
    server_drop_tx(s);
    if (s->state == SERVER_OPEN)
        server_set_state(s, SERVER_READY);
    return small_talk(s, &ok, out);
}

static enum server_action
run_noop(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    (void)args;
    (void)rest_n;
    return small_talk(s, &ok, out);
}

static enum server_action
run_help(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint help = {214, "2.0.0", "See RFC 5321"};

    (void)args;
    (void)rest_n;
    return small_talk(s, &help, out);
}

static enum server_action
run_vrfy(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint no_word = {252, "2.5.0", "Send mail and see"};

    (void)args;
    (void)rest_n;
    return small_talk(s, &no_word, out);
}

/* ---- what is not spoken here ---- */

/* The chunk that follows BDAT must not be read as commands, and its announced size cannot be trusted. */
static enum server_action
run_bdat(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint no_bdat = {
        502, "5.5.1", "BDAT is not supported; closing, for its data would follow"};

    (void)args;
    (void)rest_n;
    return server_end_with(s, &no_bdat, "bdat", out);
}

static enum server_action
run_known(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint no = {502, "5.5.1", "Command not implemented"};

    (void)args;
    (void)rest_n;
    return server_error(s, &no, out);
}

static enum server_action
run_unknown(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    static const struct complaint no = {500, "5.5.2", "Command not recognised"};

    (void)args;
    (void)rest_n;
    return server_error(s, &no, out);
}

static enum server_action
run_stranger(struct server *s, struct span args, size_t rest_n, struct buf *out)
{
    (void)args;
    (void)rest_n;
    (void)out;
    return server_hang_up(s);
}

/* ---- the table ---- */

#define IN(state) (1u << (state))
#define ANY (IN(SERVER_START) | IN(SERVER_READY) | IN(SERVER_OPEN))

static const struct verb {
    unsigned states;  /* where it may be given */
    bool before_tls;  /* also where TLS is required and not yet on */
    run_fn *run;
} verbs[] = {
    [COMMAND_EHLO] = {ANY, true, run_ehlo},
    [COMMAND_HELO] = {ANY, true, run_helo},
    [COMMAND_STARTTLS] = {IN(SERVER_START) | IN(SERVER_READY), true, run_starttls},
    [COMMAND_AUTH] = {IN(SERVER_READY), false, run_auth},
    [COMMAND_MAIL] = {IN(SERVER_READY), false, run_mail},
    [COMMAND_RCPT] = {IN(SERVER_OPEN), false, run_rcpt},
    [COMMAND_DATA] = {IN(SERVER_OPEN), false, run_data},
    [COMMAND_RSET] = {ANY, false, run_rset},
    [COMMAND_NOOP] = {ANY, true, run_noop},
    [COMMAND_QUIT] = {ANY, true, run_quit},
    [COMMAND_HELP] = {ANY, false, run_help},
    [COMMAND_VRFY] = {ANY, false, run_vrfy},
    [COMMAND_BDAT] = {ANY, true, run_bdat},
    [COMMAND_KNOWN] = {ANY, true, run_known},
    [COMMAND_STRANGER] = {ANY, true, run_stranger},
    [COMMAND_UNKNOWN] = {ANY, true, run_unknown},
};
static_assert(sizeof verbs / sizeof verbs[0] == COMMAND_VERB_COUNT, "a row for each verb");

static const struct complaint *
bad_sequence(enum server_state state)
{
    static const struct complaint no_helo = {503, "5.5.1", "EHLO first"};
    static const struct complaint no_mail = {503, "5.5.1", "MAIL first"};
    static const struct complaint in_mail = {503, "5.5.1", "Not inside a mail transaction"};

    return state == SERVER_START ? &no_helo : state == SERVER_READY ? &no_mail : &in_mail;
}

enum server_action
server_run_command(struct server *s, struct span line, size_t rest_n, struct buf *out)
{
    static const struct complaint tls_first = {530, "5.7.0", "Must issue a STARTTLS command first"};
    struct command command;
    const struct verb *verb;

    command_parse(line, &command);
    verb = &verbs[command.verb];
    if (s->conf->tls_required && !s->secure && !verb->before_tls)
        return server_error(s, &tls_first, out);
    if ((verb->states & IN(s->state)) == 0)
        return server_error(s, bad_sequence(s->state), out);
    return verb->run(s, command.args, rest_n, out);
}
