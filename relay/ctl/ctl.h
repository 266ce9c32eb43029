/* ctl: sendgovctl, the operator's command. A verb is a row of one table (verb.c): its words, operands,
 * options, and who runs it. Online verbs ask the daemon over the control socket and render its answer;
 * offline ones use the same pure code the daemon does. Every verb has --json; exit codes are an interface. */
#ifndef SENDGOV_CTL_CTL_H
#define SENDGOV_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum ctl_exit {
    CTL_OK = 0,
    CTL_REFUSED = 1,   /* understood, not done */
    CTL_USAGE = 2,
    CTL_NO_DAEMON = 3,
};

#define VERB_OPTIONS_MAX 15
#define CTL_OPERANDS_MAX 101 /* a sender and PARAM_TEXTS_MAX recipients */

struct ctl;

struct verb_option {
    const char *name;  /* without the dashes */
    const char *value; /* what it takes, for the help; NULL: a flag */
    const char *help;
    bool required;
};

struct verb {
    const char *word, *word2;  /* "warmup", "plan"; word2 NULL: a verb of one word */
    bool word2_implied;        /* "limits" means "limits show" */
    const char *command;       /* of the control socket; NULL: offline */
    const char *operands;      /* for the help; NULL: none */
    int operands_least, operands_most;
    struct verb_option options[VERB_OPTIONS_MAX]; /* ends with name NULL */
    enum ctl_exit (*run)(struct ctl *c);
    /* Online: the answer as text. */
    void (*render)(struct ctl *c, const json_t *answer);
    const char *help;
};

struct ctl {
    FILE *out, *err;
    const char *socket;      /* NULL: the configuration's, else the default */
    const char *config_file; /* NULL: not given */
    bool json;
    const struct verb *verb;
    /* Value per option of the verb; NULL: not given; "" for a given flag. */
    const char *options[VERB_OPTIONS_MAX];
    const char *operands[CTL_OPERANDS_MAX];
    int n_operands;
};

/* Parses and runs; argv as main gets it. Prints to out and err. */
enum ctl_exit ctl_main(int argc, char **argv, FILE *out, FILE *err);

/* NULL: the option was not given. */
const char *ctl_option(const struct ctl *c, const char *name);
/* "sendgovctl: ..." on err, or with --json {"ok":false,...} on out; returns code. */
enum ctl_exit ctl_fail(const struct ctl *c, enum ctl_exit code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* With --json: prints o and returns true. Does not take it. */
bool ctl_print_json(const struct ctl *c, const json_t *o);
const char *ctl_config_file(const struct ctl *c);

/* Asks the daemon what the verb says, operand and options being parameters, and prints the answer (ask.c). */
enum ctl_exit ctl_ask(struct ctl *c);

/* Offline verbs. */
enum ctl_exit plan_run(struct ctl *c);
enum ctl_exit simulate_run(struct ctl *c);
enum ctl_exit classify_run(struct ctl *c);
enum ctl_exit check_config_run(struct ctl *c);
enum ctl_exit passwd_run(struct ctl *c);
/* Asks the daemon only with --compare. */
enum ctl_exit import_run(struct ctl *c);

/* Answers as text (render.c). */
void render_status(struct ctl *c, const json_t *answer);
void render_limits(struct ctl *c, const json_t *answer);
void render_explain(struct ctl *c, const json_t *answer);
void render_warmup(struct ctl *c, const json_t *answer);
void render_warmup_held(struct ctl *c, const json_t *answer);
void render_warmup_resumed(struct ctl *c, const json_t *answer);
void render_warmup_moved(struct ctl *c, const json_t *answer);
void render_pauses(struct ctl *c, const json_t *answer);
void render_upstreams(struct ctl *c, const json_t *answer);
void render_config(struct ctl *c, const json_t *answer);
void render_paused(struct ctl *c, const json_t *answer);
void render_resumed(struct ctl *c, const json_t *answer);
void render_opened(struct ctl *c, const json_t *answer);
void render_reloaded(struct ctl *c, const json_t *answer);
void render_draining(struct ctl *c, const json_t *answer);

/* And of what the spool holds (render_queue.c). */
void render_queue(struct ctl *c, const json_t *answer);
void render_queue_show(struct ctl *c, const json_t *answer);
void render_queue_why(struct ctl *c, const json_t *answer);
void render_queue_held(struct ctl *c, const json_t *answer);
void render_queue_released(struct ctl *c, const json_t *answer);
void render_queue_retried(struct ctl *c, const json_t *answer);
void render_queue_deleted(struct ctl *c, const json_t *answer);
/* The spool in the answer of status; NULL: it says nothing of one. */
void render_spool(struct ctl *c, const json_t *spool);

#endif
