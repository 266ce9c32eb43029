/* Fuzzes command and param: a complaint is a whole reply, and what is accepted holds no byte that could end a
 * line, in clear or decoded. */
#include <stdint.h>

#include "relay/base/err.h"
#include "relay/smtp/param.h"
#include "relay/smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_complaint(const struct complaint *c)
{
    sg_assert(c->code >= 500 && c->code <= 559 && c->enhanced[0] == '5' && c->text[0] != '\0');
}

static void
check_printable(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        sg_assert(*p >= 0x20 && *p < 0x7f);
}

/* A string of DSN goes on a command line as it is, and decoded into a header. */
static void
check_dsn(const char *text, size_t max)
{
    struct buf decoded;

    if (text == NULL)
        return;
    check_printable(text);
    sg_assert(text[0] != '\0' && strlen(text) <= max && strpbrk(text, " =") == NULL);
    buf_init(&decoded);
    xtext_decode(span_str(text), &decoded);
    sg_assert(buf_len(&decoded) > 0 && strlen(decoded.p) == buf_len(&decoded));
    check_printable(decoded.p);
    buf_fini(&decoded);
}

static void
check_mail(struct mail_command *m, bool dsn)
{
    check_printable(m->sender.text);
    check_dsn(m->envid, PARAM_ENVID_MAX);
    sg_assert(dsn || (m->envid == NULL && m->ret == RET_NONE));
    mail_command_fini(m);
}

static void
check_rcpt(struct rcpt_command *r, bool dsn)
{
    check_printable(r->recipient.text);
    check_dsn(r->orcpt, PARAM_ORCPT_MAX);
    sg_assert(r->notify == NOTIFY_NEVER || (r->notify & NOTIFY_NEVER) == 0);
    sg_assert(dsn || (r->orcpt == NULL && r->notify == 0));
    rcpt_command_fini(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span line = span_of((const char *)data, size);
    const struct complaint *c;
    struct mail_command mail;
    struct command command;
    struct rcpt_command rcpt;

    command_parse(line, &command);
    sg_assert(command.verb < COMMAND_VERB_COUNT && command.args.n <= line.n);
    (void)command_is_stranger(line);
    (void)command_is_helo_name(command.args);
    for (unsigned kind = 0; kind < 4; kind++) {
        struct command_dialect dialect = {.lenient = kind & 1, .dsn = kind & 2};

        c = command_parse_mail(command.args, dialect, &mail);
        if (c != NULL)
            check_complaint(c);
        else
            check_mail(&mail, dialect.dsn);
        c = command_parse_rcpt(command.args, dialect, &rcpt);
        if (c != NULL)
            check_complaint(c);
        else
            check_rcpt(&rcpt, dialect.dsn);
    }
    return 0;
}
