#include "relay/ctl/offline.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum ctl_exit
offline_load(const struct ctl *c, struct config **config_out)
{
    struct err err;

    *config_out = NULL;
    if (!c->config_file && access(ctl_config_file(c), F_OK) != 0)
        return CTL_OK;
    *config_out = config_load(ctl_config_file(c), &err);
    return *config_out ? CTL_OK : ctl_fail(c, CTL_REFUSED, "%s", err.text);
}

/* The text without the position, which is one in a file the operator never saw. */
static const char *
without_position(const char *text, const char *path)
{
    size_t n = strlen(path);

    if (strncmp(text, path, n) != 0)
        return text;
    text += n;
    return text + strspn(text, ":0123456789 ");
}

/* config_load wants a file; this one never touches a disk. */
enum ctl_exit
offline_parse(const struct ctl *c, const char *what, struct span yaml, struct config **config_out)
{
    char path[64];
    struct err err;
    int fd = memfd_create("sendgov", MFD_CLOEXEC);

    *config_out = NULL;
    if (fd < 0 || write(fd, yaml.p, yaml.n) != (ssize_t)yaml.n) {
        if (fd >= 0)
            close(fd);
        return ctl_fail(c, CTL_REFUSED, "%s: %s", what, strerror(errno));
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *config_out = config_load(path, &err);
    close(fd);
    return *config_out ? CTL_OK : ctl_fail(c, CTL_USAGE, "%s: %s", what, without_position(err.text, path));
}

enum ctl_exit
offline_builtin(const struct ctl *c, const char *what, const char *extra, const char *schedules,
    struct config **config_out)
{
    struct buf yaml;
    enum ctl_exit code;

    buf_init(&yaml);
    buf_printf(&yaml,
        "redis: {}\nlisteners:\n  plan: {address: [\"127.0.0.1:25\"], tls: off}\n"
        "clients:\n  plan: {networks: [127.0.0.1/32], senders: [\"@example.com\"]}\n"
        "routes:\n  " OFFLINE_ROUTE ":\n    upstream: smtp.office365.com:587\n    profile: m365-submission\n"
        "    domains: [example.com]\n%s%s", extra, schedules);
    code = offline_parse(c, what, buf_span(&yaml), config_out);
    buf_fini(&yaml);
    return code;
}
