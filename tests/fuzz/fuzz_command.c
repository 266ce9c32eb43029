/* Fuzzes command and param: a complaint is a whole reply, and what is accepted holds no byte that could end a
 * line. */
#include <stdint.h>

#include "relay/base/err.h"
#include "relay/smtp/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_complaint(const struct complaint *c)
{
    sg_assert(c->code >= 500 && c->code <= 559 && c->enhanced[0] == '5' && c->text[0] != '\0');
}

static void
check_address(struct address *a)
{
    for (const char *p = a->text; *p != '\0'; p++)
        sg_assert(*p >= 0x20 && *p < 0x7f);
    address_fini(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span line = span_of((const char *)data, size);
    const struct complaint *c;
    struct mail_command mail;
    struct command command;
    struct address to;

    command_parse(line, &command);
    sg_assert(command.verb < COMMAND_VERB_COUNT && command.args.n <= line.n);
    (void)command_is_stranger(line);
    (void)command_is_helo_name(command.args);
    for (int lenient = 0; lenient < 2; lenient++) {
        c = command_parse_mail(command.args, lenient, &mail);
        if (c != NULL)
            check_complaint(c);
        else
            check_address(&mail.sender);
        c = command_parse_rcpt(command.args, lenient, &to);
        if (c != NULL)
            check_complaint(c);
        else
            check_address(&to);
    }
    return 0;
}
