#include "relay/config/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/file.h"
#include "relay/front/users.h"
#include "tls/tls.h"

#define PATH_MAX_BYTES 4096
#define SETTING_PATH_MAX 256

struct preflight {
    const struct config *config;
    preflight_note_fn *note;
    void *arg;
    struct err *err;
};

/* ---- positions ---- */

int
config_locate(const struct config *c, const char *path, struct err *err)
{
    const char *at = config_position(c, path);
    struct err why = *err;

    if (at)
        return err_set(err, "%s: %.900s", at, why.text);
    return err_set(err, "%s: %s: %.900s", c->file, path, why.text);
}

static int __attribute__((format(printf, 3, 4)))
fail(struct preflight *p, const char *path, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->err->text, sizeof p->err->text, fmt, ap);
    va_end(ap);
    return config_locate(p->config, path, p->err);
}

static void __attribute__((format(printf, 3, 4)))
note(struct preflight *p, const char *path, const char *fmt, ...)
{
    const char *at = config_position(p->config, path);
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->note(p->arg, at ? at : p->config->file, text);
}

/* ---- certificates ---- */

/* One file of a TLS context, and what to say when it is the one that is wrong. */
struct tls_file {
    const char *file, *key, *advice;
};

/* The setting whose file the error names. The key comes first: where it does not fit the certificate, both
 * are named. */
static int
blame(struct preflight *p, const char *section, const char *otherwise, const struct tls_file *files, size_t n)
{
    struct err why = *p->err;
    char path[SETTING_PATH_MAX];

    for (size_t i = 0; i < n; i++) {
        if (!files[i].file || !strstr(why.text, files[i].file))
            continue;
        snprintf(path, sizeof path, "%s.%s", section, files[i].key);
        if (otherwise && !config_position(p->config, path))
            snprintf(path, sizeof path, "%s.%s", otherwise, files[i].key);
        return fail(p, path, "%.600s; %s", why.text, files[i].advice);
    }
    return fail(p, section, "%s", why.text);
}

#define KEY_ADVICE "it must hold the private key of that certificate in PEM, without a passphrase"
#define CERT_ADVICE "it must hold the certificate in PEM, leaf first, then its chain"
#define CA_ADVICE "it must hold certificates of authorities in PEM"

/* Pinned keys are asked for without an authority, which loads nothing: see front. */
static int
check_listener(struct preflight *p, const struct listener_conf *l)
{
    const struct tls_server_conf conf = {.cert_file = l->tls_cert_file, .key_file = l->tls_key_file,
        .client_ca_file = l->tls_client_ca_file, .least = l->tls_least};
    const struct tls_file files[] = {{l->tls_key_file, "key_file", KEY_ADVICE},
        {l->tls_client_ca_file, "client_ca_file", CA_ADVICE}, {l->tls_cert_file, "cert_file", CERT_ADVICE}};
    struct tls_ctx *ctx;
    char section[SETTING_PATH_MAX];

    if (l->tls == FRONT_TLS_OFF)
        return 0;
    snprintf(section, sizeof section, "listeners.%s", l->name);
    ctx = tls_server_ctx_new(&conf, p->err);
    if (!ctx)
        return blame(p, section, "tls", files, sizeof files / sizeof files[0]);
    tls_ctx_unref(&ctx);
    return 0;
}

static int
check_route(struct preflight *p, const struct route_conf *r)
{
    const struct tls_client_conf conf = {.ca_file = r->tls_ca_file, .cert_file = r->tls_cert_file,
        .key_file = r->tls_key_file, .verify = r->tls_verify};
    const struct tls_file files[] = {{r->tls_key_file, "tls_key_file", KEY_ADVICE},
        {r->tls_ca_file, "tls_ca_file", CA_ADVICE}, {r->tls_cert_file, "tls_cert_file", CERT_ADVICE}};
    struct tls_ctx *ctx;
    char section[SETTING_PATH_MAX];

    if (r->tls == UPSTREAM_TLS_OFF)
        return 0;
    snprintf(section, sizeof section, "routes.%s", r->name);
    ctx = tls_client_ctx_new(&conf, p->err);
    if (!ctx)
        return blame(p, section, NULL, files, sizeof files / sizeof files[0]);
    tls_ctx_unref(&ctx);
    return 0;
}

static int
check_redis(struct preflight *p)
{
    const struct store_conf *s = &p->config->store;
    const struct tls_client_conf conf = {.ca_file = s->tls_ca_file, .cert_file = s->tls_cert_file,
        .key_file = s->tls_key_file, .verify = true};
    const struct tls_file files[] = {{s->tls_key_file, "key_file", KEY_ADVICE},
        {s->tls_ca_file, "ca_file", CA_ADVICE}, {s->tls_cert_file, "cert_file", CERT_ADVICE}};
    struct tls_ctx *ctx;

    if (!s->tls)
        return 0;
    ctx = tls_client_ctx_new(&conf, p->err);
    if (!ctx)
        return blame(p, "redis", NULL, files, sizeof files / sizeof files[0]);
    tls_ctx_unref(&ctx);
    return 0;
}

/* ---- who ---- */

static int
check_logins(struct preflight *p)
{
    const char *file = p->config->front.users_file;
    struct users *users;

    if (!file)
        return 0;
    users = users_load(file, p->err);
    if (!users)
        return config_locate(p->config, "users_file", p->err);
    users_free(&users);
    return 0;
}

/* It has a meaning only when root starts the daemon, so a user that is not there stops root alone. */
static int
check_user(struct preflight *p)
{
    const char *user = p->config->user;
    const struct passwd *pw = getpwnam(user);

    if (pw && pw->pw_uid == 0)
        return fail(p, "user", "%s is root; running on as root is refused, name another user", user);
    if (pw)
        return 0;
    if (geteuid() == 0)
        return fail(p, "user",
            "there is no user %s on this host; create it (useradd --system %s) or name another", user, user);
    if (config_position(p->config, "user"))
        note(p, "user", "there is no user %s on this host: started as root, sendgovd would refuse", user);
    return 0;
}

static int
check_groups(struct preflight *p)
{
    const struct admin_conf *a = &p->config->admin;

    for (size_t i = 0; i < a->n_groups; i++)
        if (!getgrnam(a->groups[i]))
            return fail(p, "admin.groups",
                "there is no group %s on this host; create it (groupadd %s) or take it out", a->groups[i],
                a->groups[i]);
    return 0;
}

/* ---- where ---- */

static void
folder_of(const char *path, char out[PATH_MAX_BYTES])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    snprintf(out, PATH_MAX_BYTES, "%.*s", n > 0 ? (int)n : 1, n > 0 ? path : "/");
}

/* made_by_others: its absence is only noted, for a service manager makes it. */
static int
check_folder(struct preflight *p, const char *path, const char *folder, bool made_by_others)
{
    struct stat st;

    if (stat(folder, &st) == 0)
        return S_ISDIR(st.st_mode) ? 0 : fail(p, path, "%s is no folder", folder);
    if (errno == EACCES) {
        note(p, path, "%s cannot be looked at by uid %u; check it as the user sendgovd runs as", folder,
            (unsigned)geteuid());
        return 0;
    }
    if (made_by_others && errno == ENOENT) {
        note(p, path, "%s is not there: systemd makes it for the service; without it, create it", folder);
        return 0;
    }
    return fail(p, path, "folder %s: %s; create it and give it to the user sendgovd runs as", folder,
        strerror(errno));
}

/* The last folder of `state` is made by sendgovd itself, before anything that is put there. */
static int
check_state(struct preflight *p)
{
    const char *state = p->config->state;
    char parent[PATH_MAX_BYTES];
    struct stat st;

    if (stat(state, &st) == 0 || errno != ENOENT)
        return check_folder(p, "state", state, false);
    folder_of(state, parent);
    return check_folder(p, "state", parent, false);
}

static int
check_folders(struct preflight *p)
{
    const struct config *c = p->config;
    const char *temp = c->front.temp_folder;
    bool is_default = !config_position(c, "admin.socket");
    char folder[PATH_MAX_BYTES];

    if (check_state(p) != 0)
        return -1;
    folder_of(c->admin.socket, folder);
    if (strcmp(folder, c->state) != 0 && check_folder(p, "admin.socket", folder, is_default) != 0)
        return -1;
    return strcmp(temp, c->state) == 0 ? 0 : check_folder(p, "smtp.temp_folder", temp, false);
}

/* ---- the spool ---- */

#define SPOOL_FOLDER "spool.folder"
#define SANDBOX_ADVICE \
    "; for the service, name the folder in ReadWritePaths= (systemctl edit sendgov) when it is not in the " \
    "state folder"

static uid_t
uid_of(const char *user, uid_t otherwise)
{
    const struct passwd *pw = getpwnam(user);

    return pw ? pw->pw_uid : otherwise;
}

static bool
is_link(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/* Root gives away what is root's before it becomes the user. An operator who checks as somebody else is told
 * what he sees. */
static int
check_spool_owner(struct preflight *p, const char *folder, uid_t owner)
{
    bool root = geteuid() == 0;
    uid_t user = uid_of(p->config->user, geteuid()), uid = root ? user : geteuid();

    if (owner == uid || (root && owner == 0))
        return 0;
    if (!root && owner == user) {
        note(p, SPOOL_FOLDER, "%s belongs to user %s, not to uid %u; check it as the user sendgovd runs as",
            folder, p->config->user, (unsigned)uid);
        return 0;
    }
    return fail(p, SPOOL_FOLDER,
        "%s belongs to uid %u, but sendgovd runs as uid %u; give it to that user (chown -R)", folder,
        (unsigned)owner, (unsigned)uid);
}

static int
check_spool_there(struct preflight *p, const char *folder, const struct stat *st)
{
    if (!S_ISDIR(st->st_mode))
        return fail(p, SPOOL_FOLDER, "%s is no folder", folder);
    if (check_spool_owner(p, folder, st->st_uid) != 0)
        return -1;
    if ((st->st_mode & SPOOL_FOLDER_DENIED) != 0 || (st->st_mode & 0700) != 0700)
        return fail(p, SPOOL_FOLDER,
            "%s has mode %04o; its owner must be able to write to it, and others must not read it: chmod 700",
            folder, (unsigned)(st->st_mode & 07777));
    if (faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) != 0 && errno == EROFS)
        return fail(
            p, SPOOL_FOLDER, "%s cannot be written to: %s%s", folder, strerror(EROFS), SANDBOX_ADVICE);
    return 0;
}

/* The last folder is made at the start. */
static int
check_spool_parent(struct preflight *p, const char *folder, const char *parent)
{
    struct stat st;
    int why;

    if (check_folder(p, SPOOL_FOLDER, parent, false) != 0)
        return -1;
    if (stat(parent, &st) != 0 || faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    why = errno;
    if (why == EACCES && st.st_uid == uid_of(p->config->user, geteuid()) && st.st_uid != geteuid()) {
        note(p, SPOOL_FOLDER, "%s cannot be written to by uid %u; check it as the user sendgovd runs as",
            parent, (unsigned)geteuid());
        return 0;
    }
    return fail(p, SPOOL_FOLDER, "%s cannot be made: %s%s", folder, strerror(why),
        why == EROFS ? SANDBOX_ADVICE : "; create it and give it to the user sendgovd runs as");
}

/* near: of what is there already, the closest to the folder. */
static int
check_spool_disk(struct preflight *p, const char *folder, const char *near)
{
    const char *kind;

    if (!file_is_on_network(near, &kind))
        return 0;
    return fail(p, SPOOL_FOLDER,
        "%s is on %s: locks and syncs of a network file system cannot be trusted, and a 250 rests on them; "
        "name a folder on a disk of this host",
        folder, kind);
}

static int
check_spool(struct preflight *p)
{
    const struct config *c = p->config;
    const char *folder = c->spool.folder;
    char parent[PATH_MAX_BYTES];
    struct stat st;

    if (!c->spool.enabled)
        return 0;
    if (is_link(folder))
        return fail(p, SPOOL_FOLDER, "%s is a symbolic link, which is not followed; name the folder itself",
            folder);
    if (stat(folder, &st) == 0)
        return check_spool_there(p, folder, &st) != 0 ? -1 : check_spool_disk(p, folder, folder);
    if (errno != ENOENT)
        return check_folder(p, SPOOL_FOLDER, folder, false);
    folder_of(folder, parent);
    if (strcmp(parent, c->state) == 0 && access(parent, F_OK) != 0 && errno == ENOENT)
        folder_of(c->state, parent); /* both are made, and check_state was content */
    else if (check_spool_parent(p, folder, parent) != 0)
        return -1;
    return check_spool_disk(p, folder, parent);
}

int
config_preflight(const struct config *c, preflight_note_fn *note_fn, void *arg, struct err *err)
{
    struct preflight p = {c, note_fn, arg, err};

    if (check_user(&p) != 0 || check_logins(&p) != 0 || check_redis(&p) != 0)
        return -1;
    for (size_t i = 0; i < c->n_listeners; i++)
        if (check_listener(&p, &c->listeners[i]) != 0)
            return -1;
    for (size_t i = 0; i < c->n_routes; i++)
        if (check_route(&p, &c->routes[i]) != 0)
            return -1;
    return check_groups(&p) != 0 || check_folders(&p) != 0 ? -1 : check_spool(&p);
}

void
config_note_denied(const struct config *c, preflight_note_fn *note_fn, void *arg)
{
    struct preflight p = {c, note_fn, arg, NULL};

    if (access(c->state, F_OK) == 0 && access(c->state, R_OK | W_OK | X_OK) != 0)
        note(&p, "state",
            "%s cannot be written by user %s: %s; pauses will not outlast a restart, so give it to that user "
            "(chown %s)",
            c->state, c->user, strerror(errno), c->user);
    for (const struct config_file *f = c->files; f; f = f->next) {
        char text[ERR_TEXT_MAX];

        if (access(f->path, R_OK) == 0)
            continue;
        snprintf(text, sizeof text,
            "%.500s cannot be read by user %s: %s; every reload will be refused, so let its group read it "
            "(chgrp %s, chmod 640)",
            f->path, c->user, strerror(errno), c->user);
        note_fn(arg, f->position ? f->position : c->file, text);
    }
}
