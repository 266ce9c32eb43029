#include "relay/front/users.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/file.h"
#include "relay/base/table.h"
#include "relay/base/xmalloc.h"
#include "relay/smtp/sasl.h"

/* For a file without logins: no password has this hash, for a real one is longer. */
#define NOBODY "$6$rounds=5000$nobody$xxxxxxxxxxxxxxxxxxxxxxxx"

struct users {
    struct table hashes; /* login -> hash, owned */
    char *decoy;         /* for logins that do not exist */
};

static bool
is_hash(struct span hash)
{
    static const struct span kinds[] = {SPAN_LIT("$y$"), SPAN_LIT("$2b$"), SPAN_LIT("$6$")};

    if (hash.n > USERS_HASH_MAX)
        return false;
    for (size_t i = 0; i < hash.n; i++)
        if (hash.p[i] <= ' ' || hash.p[i] > '~' || hash.p[i] == ':')
            return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (hash.n > kinds[i].n + 20 && memcmp(hash.p, kinds[i].p, kinds[i].n) == 0)
            return true;
    return false;
}

/* What crypt makes of any password with this setting will not end like this: the last letters are turned
 * round. The cost is the same, whoever guesses a login learns nothing from the time it takes. */
static char *
decoy_of(const char *hash)
{
    char *decoy = xstrdup(hash);
    size_t n = strlen(decoy);

    for (size_t i = 1; i <= 8; i++)
        decoy[n - i] = decoy[n - i] == 'x' ? 'z' : 'x';
    return decoy;
}

/* " of LOGIN" for a complaint. What stands where the login should be may be the password or the hash: only
 * what looks like a login is repeated. */
#define SHOWN_LOGIN_MAX 64
#define OF_LOGIN_MAX (SHOWN_LOGIN_MAX + sizeof " of ")
static const char *
of_login(struct span login, char out[OF_LOGIN_MAX])
{
    bool shown = login.n <= SHOWN_LOGIN_MAX && login.p[0] != '$';

    for (size_t i = 0; i < login.n; i++)
        shown = shown && login.p[i] > ' ' && login.p[i] <= '~';
    out[0] = '\0';
    if (shown)
        snprintf(out, OF_LOGIN_MAX, " of %.*s", SPAN_FMT(login));
    return out;
}

static int
add_line(struct users *u, struct span line, const char *file, unsigned number, struct err *err)
{
    struct span login, hash;
    char of[OF_LOGIN_MAX];

    line = span_trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    hash = span_cut(line, ':', &login);
    if (login.n == line.n || login.n == 0 || login.n > SASL_USER_MAX || span_find_byte(login, '\0') >= 0)
        return err_set(err, "%s:%u: a line is login:hash; `sendgovctl passwd LOGIN` makes one", file, number);
    if (!is_hash(hash))
        return err_set(err,
            "%s:%u: the hash%s must be one of crypt(3): $y$, $2b$ or $6$; `sendgovctl passwd LOGIN` makes "
            "the line",
            file, number, of_login(login, of));
    if (table_get(&u->hashes, login) != NULL)
        return err_set(err, "%s:%u: the login%s is there twice; remove one of the two lines", file, number,
            of_login(login, of));
    table_put(&u->hashes, login, xstrndup(hash.p, hash.n));
    if (u->decoy == NULL)
        u->decoy = decoy_of(table_get(&u->hashes, login));
    return 0;
}

static int
parse(struct users *u, struct span text, const char *file, struct err *err)
{
    unsigned number = 0;

    while (text.n > 0) {
        struct span line;

        text = span_cut(text, '\n', &line);
        if (add_line(u, line, file, ++number, err) != 0)
            return -1;
    }
    return 0;
}

struct users *
users_load(const char *file, struct err *err)
{
    struct users *u;
    struct buf text;

    buf_init(&text);
    if (file_read(file, USERS_FILE_MAX, FILE_SECRET, &text, err) != 0) {
        buf_fini(&text);
        return NULL;
    }
    u = xcalloc(1, sizeof *u);
    table_init(&u->hashes, siphash_key_random());
    if (parse(u, buf_span(&text), file, err) != 0)
        users_free(&u);
    else if (u->decoy == NULL)
        u->decoy = xstrdup(NOBODY);
    buf_wipe(&text);
    return u;
}

static bool
drop_hash(void *arg, struct span key, void *value)
{
    (void)arg;
    (void)key;
    free(value);
    return true;
}

void
users_free(struct users **u)
{
    if (*u == NULL)
        return;
    table_sweep(&(*u)->hashes, drop_hash, NULL);
    table_fini(&(*u)->hashes);
    free((*u)->decoy);
    free(*u);
    *u = NULL;
}

const char *
users_hash(const struct users *u, const char *login, bool *known_out)
{
    const char *hash = table_get(&u->hashes, span_str(login));

    *known_out = hash != NULL;
    return hash != NULL ? hash : u->decoy;
}
