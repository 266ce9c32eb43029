/* sendgovd: the relay. Reads its arguments and its configuration, then hands over to daemon.c. */
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "config.h"
#include "relay/config/config.h"
#include "relay/config/preflight.h"
#include "relay/daemon.h"
#include "relay/process.h"

static int
usage(FILE *to, int status)
{
    fprintf(to,
        "usage: sendgovd [-c FILE] [-t] [-V]\n"
        "  -c FILE  configuration, default " SENDGOV_SYSCONFDIR "/sendgov.yaml\n"
        "  -t       check the configuration and exit: 0 good, 1 not\n"
        "  -V       print the version and exit\n"
        "Runs in the foreground and logs to stderr. SIGHUP reloads, SIGTERM drains and ends, a second "
        "SIGTERM ends at once.\n");
    return status;
}

static void
print_note(void *arg, const char *position, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s: warning: %s\n", position, text);
}

/* What a start would do, up to the first thing that others could notice. */
static int
check(struct config *config, const char *file)
{
    bool is_root = geteuid() == 0;
    struct err err;

    if (config_preflight(config, print_note, NULL, &err) != 0) {
        fprintf(stderr, "sendgovd: %s\n", err.text);
        return 1;
    }
    for (size_t i = 0; i < config->n_warnings; i++)
        print_note(NULL, config->warnings[i].position, config->warnings[i].text);
    if (is_root && process_drop_root(config->user, &err) == 0)
        config_note_denied(config, print_note, NULL);
    printf("%s: the configuration is good (%s)\n", file, config->hash);
    return 0;
}

static int
run(struct config *config)
{
    struct err err;
    struct daemon *d = daemon_new(config, &err);
    int status;

    if (d == NULL) {
        fprintf(stderr, "sendgovd: %s\n", err.text);
        return 1;
    }
    status = daemon_run(d);
    daemon_free(&d);
    return status;
}

int
main(int argc, char **argv)
{
    const char *file = SENDGOV_SYSCONFDIR "/sendgov.yaml";
    struct config *config;
    struct err err;
    int option, status;
    bool only_check = false;

    while ((option = getopt(argc, argv, "c:thV")) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case 't':
            only_check = true;
            break;
        case 'h':
            return usage(stdout, 0);
        case 'V':
            puts("sendgovd " PACKAGE_VERSION);
            return 0;
        default:
            return usage(stderr, 2);
        }
    }
    if (optind != argc)
        return usage(stderr, 2);
    config = config_load(file, &err);
    if (config == NULL) {
        fprintf(stderr, "sendgovd: %s\n", err.text);
        return 1;
    }
    status = only_check ? check(config, file) : run(config);
    config_unref(&config);
    return status;
}
