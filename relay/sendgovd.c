/* sendgovd: the relay. Reads its arguments and its configuration, then hands over to daemon.c. */
#include <stdio.h>
#include <unistd.h>

#include "config.h"
#include "relay/config/config.h"
#include "relay/daemon.h"

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
    int option, status = 0;
    int only_check = 0;

    while ((option = getopt(argc, argv, "c:thV")) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case 't':
            only_check = 1;
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
    if (only_check)
        printf("%s: the configuration is good (%s)\n", file, config->hash);
    else
        status = run(config);
    config_unref(&config);
    return status;
}
