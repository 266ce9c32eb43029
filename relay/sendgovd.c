/* sendgovd: the relay. Reads its arguments and its configuration, then hands over to daemon.c. */
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "config.h"
#include "relay/config/config.h"
#include "relay/config/preflight.h"
#include "relay/daemon.h"
#include "relay/net/inherited.h"
#include "relay/predecessor.h"
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
        "SIGTERM ends at once,\nSIGUSR2 replaces the process by one of the program as it is now.\n");
    return status;
}

static void
print_note(void *arg, const char *position, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s: warning: %s\n", position, text);
}

/* Whoever this process was to replace hears it too, and goes on. */
static int
fail(struct predecessor *p, const char *why)
{
    fprintf(stderr, "sendgovd: %s\n", why);
    if (p != NULL)
        predecessor_tell_failed(p, why);
    return 1;
}

/* What a start would do, up to the first thing that others could notice. */
static int
check(const char *file)
{
    bool is_root = geteuid() == 0;
    struct err err;
    struct config *config = config_load(file, &err);

    if (config == NULL || config_preflight(config, print_note, NULL, &err) != 0) {
        config_unref(&config);
        return fail(NULL, err.text);
    }
    for (size_t i = 0; i < config->n_warnings; i++)
        print_note(NULL, config->warnings[i].position, config->warnings[i].text);
    if (is_root && process_drop_root(config->user, &err) == 0)
        config_note_denied(config, print_note, NULL);
    printf("%s: the configuration is good (%s)\n", file, config->hash);
    config_unref(&config);
    return 0;
}

static int
run_daemon(struct daemon_start *start, const char *file)
{
    struct daemon *d = NULL;
    struct err err;
    int status;

    start->config = config_load(file, &err);
    if (start->config != NULL)
        d = daemon_new(start, &err);
    if (d == NULL)
        return fail(start->predecessor, err.text);
    status = daemon_run(d);
    daemon_free(&d);
    return status;
}

static int
run(char **argv, const char *file)
{
    struct daemon_start start = {.argv = argv};
    struct err err;
    int status;

    process_hold_signals();
    if (predecessor_from_environment(&start.predecessor, &err) != 0)
        return fail(NULL, err.text);
    start.inherited = inherited_from_environment(&err);
    status = start.inherited != NULL ? run_daemon(&start, file) : fail(start.predecessor, err.text);
    config_unref(&start.config);
    inherited_free(&start.inherited);
    predecessor_free(&start.predecessor);
    return status;
}

int
main(int argc, char **argv)
{
    const char *file = SENDGOV_SYSCONFDIR "/sendgov.yaml";
    int option;
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
    return only_check ? check(file) : run(argv, file);
}
