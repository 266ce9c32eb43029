/* passwd: a line for the users file, "login:$y$...". The password comes from the terminal (twice, not echoed)
 * or from standard input; never from the command line, where everybody can read it. */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "relay/ctl/ctl.h"

#define PASSWORD_MAX 512 /* what crypt(3) takes (CRYPT_MAX_PASSPHRASE_SIZE) */
#define PREFIX "$y$"     /* yescrypt, the default of Debian */

/* One line without its end; false at the end of input or when it is too long. */
static bool
read_line(char out[PASSWORD_MAX])
{
    size_t n;

    if (!fgets(out, PASSWORD_MAX, stdin))
        return false;
    n = strcspn(out, "\r\n");
    if (out[n] == '\0' && n == PASSWORD_MAX - 1)
        return false;
    out[n] = '\0';
    return true;
}

static bool
ask_silently(const struct ctl *c, const char *prompt, char out[PASSWORD_MAX])
{
    struct termios old, quiet;
    bool ok;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &old) != 0)
        return read_line(out);
    fprintf(c->err, "%s", prompt);
    fflush(c->err);
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    ok = read_line(out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    fputc('\n', c->err);
    return ok;
}

static enum ctl_exit
read_password(const struct ctl *c, char out[PASSWORD_MAX])
{
    char again[PASSWORD_MAX];
    bool same = true;

    if (!ask_silently(c, "password: ", out) || out[0] == '\0')
        return ctl_fail(c, CTL_USAGE,
            "passwd needs a password of 1 to %d bytes on the terminal or on standard input",
            PASSWORD_MAX - 2);
    if (isatty(STDIN_FILENO)) {
        same = ask_silently(c, "once more: ", again) && strcmp(out, again) == 0;
        explicit_bzero(again, sizeof(again));
    }
    return same ? CTL_OK : ctl_fail(c, CTL_USAGE, "the two passwords differ");
}

static enum ctl_exit
print_line(struct ctl *c, const char *login, const char *password)
{
    char *setting = crypt_gensalt_ra(PREFIX, 0, NULL, 0);
    struct crypt_data *data = calloc(1, sizeof(*data));
    char *hash = setting && data ? crypt_r(password, setting, data) : NULL;
    enum ctl_exit code = CTL_OK;
    json_t *o;

    if (!hash || hash[0] == '*') {
        code = ctl_fail(c, CTL_REFUSED, "crypt(3) cannot make a " PREFIX " hash here");
    } else {
        o = json_pack("{s:b, s:s, s:s}", "ok", 1, "login", login, "hash", hash);
        if (!ctl_print_json(c, o))
            fprintf(c->out, "%s:%s\n", login, hash);
        json_decref(o);
    }
    if (data)
        explicit_bzero(data, sizeof(*data));
    free(data);
    free(setting);
    return code;
}

enum ctl_exit
passwd_run(struct ctl *c)
{
    const char *login = c->operands[0];
    char password[PASSWORD_MAX];
    enum ctl_exit code;

    for (const char *p = login; *p; p++) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p > 0x7e || *p == ':')
            return ctl_fail(c, CTL_USAGE, "the login may hold printable ASCII without blanks and ':' only");
    }
    if (login[0] == '\0' || login[0] == '#')
        return ctl_fail(c, CTL_USAGE, "the login must not be empty or begin with '#'");
    code = read_password(c, password);
    if (code == CTL_OK)
        code = print_line(c, login, password);
    explicit_bzero(password, sizeof(password));
    return code;
}
