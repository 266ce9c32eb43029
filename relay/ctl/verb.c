/* The table of verbs, and the command line: global options anywhere, then the verb, then its options and
 * operands in any order; "--" ends options. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "relay/base/nearest.h"
#include "relay/ctl/ctl.h"

#define PAUSED_SCOPES "route|mailbox|client|sender|sender_domain"
#define OPT_SCOPE {"scope", PAUSED_SCOPES, "what to stop or resume", true}
#define OPT_INSTANCE {"instance", "NAME", "which one of that scope", true}
#define OPT_REASON {"reason", "TEXT", "why; lands in the log with who", true}

#define OPT_CLIENT {"client", "NAME", "only messages of this client", false}
#define OPT_ROUTE {"route", "NAME", "only messages of this route", false}
#define OPT_MAILBOX {"mailbox", "NAME", "only messages of this mailbox", false}
#define OPT_SENDER {"sender", "ADDRESS", "only messages from this address; <> is the null sender", false}
#define OPT_RECIPIENT {"recipient", "ADDRESS", "only messages to this address", false}
#define OPT_SENDER_DOMAIN {"sender-domain", "DOMAIN", "only messages from this domain", false}
#define OPT_RECIPIENT_DOMAIN {"recipient-domain", "DOMAIN", "only messages to this domain", false}
#define OPT_STATE {"state", STATES, "only messages with something in this state", false}
#define OPT_OLDER_THAN {"older-than", "TIME", "only messages received longer ago", false}
#define OPT_MAX {"max", "N", "at most so many, the oldest first", false}
#define OPT_WHY {"reason", "TEXT", "why; lands in the log with who", false}
#define OPT_ALL {"all", NULL, "every message, instead of an ID or a filter", false}
#define OPT_SCHEDULE {"schedule", "NAME", "a schedule of the configuration", false}
#define OPT_FIRST {"first", "N", "cap of day 1", false}
#define OPT_GROWTH {"growth", "G", "factor per day, e.g. 1.4", false}
#define OPT_INCREMENT {"increment", "N", "what each day adds, instead of a factor", false}
#define OPT_TABLE {"table", "A,B,C", "caps day by day", false}
#define OPT_CEILING {"ceiling", "N", "no day above", false}
#define OPT_LICENCES {"licences", "N|trial", "ceiling from the tenant's licences", false}
#define OPT_SVG {"svg", "FILE", "also a chart, into this file", false}
#define CURVE OPT_SCHEDULE, OPT_FIRST, OPT_GROWTH, OPT_INCREMENT, OPT_TABLE, OPT_CEILING, OPT_LICENCES
#define STATES "waiting|in_flight|uncertain|parked|held"
#define WHICH \
    OPT_CLIENT, OPT_ROUTE, OPT_MAILBOX, OPT_SENDER, OPT_RECIPIENT, OPT_SENDER_DOMAIN, OPT_RECIPIENT_DOMAIN, \
        OPT_STATE, OPT_OLDER_THAN, OPT_MAX

static const struct verb verbs[] = {
    {"status", NULL, false, "status", NULL, 0, 0, {{0}}, ctl_ask, render_status, "the node at a glance"},
    {"limits", "show", true, "limits", NULL, 0, 0,
        {{"scope", PAUSED_SCOPES "|recipient_domain", "only limits of this scope", false},
            {"instance", "NAME", "only this instance", false}},
        ctl_ask, render_limits, "each limit: used, cap in force, when it frees"},
    {"limits", "explain", false, "limits-explain", "SENDER RECIPIENT...", 2, CTL_OPERANDS_MAX,
        {{"client", "NAME", "a client, one of its logins, or an address of its network", false},
            {"bytes", "N", "size of the message", false}},
        ctl_ask, render_explain, "what would become of such a message, and why"},
    {"limits", "import", false, NULL, "FILE|-", 1, 1,
        {{"route", "NAME", "the route to that tenant; needed when there are several", false},
            {"percent", "N", "how much of Microsoft's limit to use; 80 without it", false},
            {"compare", NULL, "with the daemon's limits, instead of writing one", false}},
        import_run, NULL, "what Get-LimitsEnforcementStatus says, as a limit (offline)"},
    {"warmup", "show", true, "warmup", NULL, 0, 0, {{"route", "NAME", "only this route", false}}, ctl_ask,
        render_warmup, "each route's step, cap and peak of today"},
    {"warmup", "plan", false, NULL, NULL, 0, 0,
        {CURVE, {"days", "N", "how many days to print", false}, OPT_SVG},
        plan_run, NULL, "the curve day by day (offline)"},
    {"warmup", "simulate", false, NULL, "[FILE|-]", 0, 1,
        {CURVE, {"per-day", "N", "instead of a log: so many external recipients a day", false},
            {"shape", "business-hours|flat", "when in the day", false},
            {"demand-growth", "PERCENT", "more each day", false},
            {"days", "N", "how many days of it", false},
            {"internal", "A,B", "domains whose recipients do not count", false},
            {"year", "N", "of a log whose times have none", false}, OPT_SVG},
        simulate_run, NULL, "what a warm-up would hold of a mail log (offline)"},
    {"warmup", "hold", false, "warmup-hold", "ROUTE", 1, 1,
        {OPT_REASON, {"for", "TIME", "how long, e.g. 12h; else until resumed", false}}, ctl_ask,
        render_warmup_held, "keep a warm-up on its step"},
    {"warmup", "resume", false, "warmup-resume", "ROUTE", 1, 1, {OPT_REASON}, ctl_ask, render_warmup_resumed,
        "let a held warm-up advance again"},
    {"warmup", "step", false, "warmup-step", "ROUTE", 1, 1,
        {OPT_REASON, {"back", NULL, "one step back", false}}, ctl_ask, render_warmup_moved,
        "put a warm-up one step on"},
    {"warmup", "set", false, "warmup-set", "ROUTE STEP", 2, 2, {OPT_REASON}, ctl_ask, render_warmup_moved,
        "put a warm-up on a step"},
    {"pauses", NULL, false, "pauses", NULL, 0, 0, {{0}}, ctl_ask, render_pauses, "the pauses in force"},
    {"pause", NULL, false, "pause", NULL, 0, 0,
        {OPT_SCOPE, OPT_INSTANCE, OPT_REASON,
            {"for", "TIME", "how long, e.g. 30min; else until resumed", false},
            {"external", NULL, "only external mail (default)", false},
            {"all", NULL, "internal mail too", false}},
        ctl_ask, render_paused, "stop mail on all nodes"},
    {"resume", NULL, false, "resume", NULL, 0, 0, {OPT_SCOPE, OPT_INSTANCE, OPT_REASON}, ctl_ask,
        render_resumed, "end a pause on all nodes"},
    {"open", NULL, false, "open", NULL, 0, 0, {OPT_REASON}, ctl_ask, render_opened,
        "trust the counters although Redis lost memory"},
    {"queue", "list", true, "queue", NULL, 0, 0,
        {WHICH, {"after", "N", "the next page: the number the one before ended with", false}}, ctl_ask,
        render_queue, "the messages in the spool"},
    {"queue", "show", false, "queue-show", "ID", 1, 1, {{"after", "N", "skip so many recipients", false}},
        ctl_ask, render_queue_show, "one message, recipient by recipient"},
    {"queue", "why", false, "queue-why", "ID", 1, 1, {{0}}, ctl_ask, render_queue_why,
        "what a message waits for, and until when"},
    {"queue", "hold", false, "queue-hold", "[ID]", 0, 1, {WHICH, OPT_REASON, OPT_ALL}, ctl_ask,
        render_queue_held, "keep messages until they are released"},
    {"queue", "release", false, "queue-release", "[ID]", 0, 1, {WHICH, OPT_WHY, OPT_ALL}, ctl_ask,
        render_queue_released, "let held and parked messages go"},
    {"queue", "retry", false, "queue-retry", "[ID]", 0, 1, {WHICH, OPT_WHY, OPT_ALL}, ctl_ask,
        render_queue_retried, "make messages due at once"},
    {"queue", "delete", false, "queue-delete", "[ID]", 0, 1, {WHICH, OPT_REASON, OPT_ALL}, ctl_ask,
        render_queue_deleted, "delete messages; nobody gets a report"},
    {"upstreams", NULL, false, "upstreams", NULL, 0, 0, {{0}}, ctl_ask, render_upstreams,
        "connections towards the upstreams"},
    {"classify", NULL, false, NULL, "TEXT|-", 1, 1,
        {{"route", "NAME", "whose reply table; needed when there are several", false}}, classify_run, NULL,
        "what a reply of the upstream means (offline)"},
    {"check-config", NULL, false, NULL, "[FILE]", 0, 1, {{0}}, check_config_run, NULL,
        "check a configuration file (offline)"},
    {"config", NULL, false, "config", NULL, 0, 0, {{0}}, ctl_ask, render_config,
        "the configuration in force"},
    {"reload", NULL, false, "reload", NULL, 0, 0, {{0}}, ctl_ask, render_reloaded,
        "apply the configuration file"},
    {"drain", NULL, false, "drain", NULL, 0, 0, {{0}}, ctl_ask, render_draining,
        "finish what is under way, then exit"},
    {"passwd", NULL, false, NULL, "LOGIN", 1, 1, {{0}}, passwd_run, NULL,
        "a line for the users file (offline)"},
};

#define FAIL_TEXT_MAX 8192
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

/* ---- words for people ---- */

static const char *
exit_to_word(enum ctl_exit code)
{
    switch (code) {
    case CTL_OK:
        return "ok";
    case CTL_REFUSED:
        return "refused";
    case CTL_USAGE:
        return "usage";
    case CTL_NO_DAEMON:
        return "no-daemon";
    }
    return "";
}

/* A script that asked for JSON gets it whatever happens. Arguments may be no UTF-8, JSON must be. */
static void
print_json_error(const struct ctl *c, enum ctl_exit code, char *text)
{
    json_t *o = json_object(), *error = json_string(text);

    for (char *p = text; !error && *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    json_object_set_new(o, "ok", json_false());
    json_object_set_new(o, "error", error ? error : json_string(text));
    json_object_set_new(o, "code", json_string(exit_to_word(code)));
    ctl_print_json(c, o);
    json_decref(o);
}

enum ctl_exit
ctl_fail(const struct ctl *c, enum ctl_exit code, const char *fmt, ...)
{
    char text[FAIL_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (c->json)
        print_json_error(c, code, text);
    else
        fprintf(c->err, "sendgovctl: %s\n", text);
    return code;
}

static bool
has_option(const struct verb *v, const struct verb_option *o)
{
    for (size_t i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++) {
        if (strcmp(v->options[i].name, o->name) == 0 && strcmp(v->options[i].help, o->help) == 0)
            return true;
    }
    return false;
}

/* Verbs of one word share options: these are explained with the first of them. */
static bool
is_explained(const struct verb *v, const struct verb_option *o)
{
    for (const struct verb *u = verbs; u < v; u++) {
        if (strcmp(u->word, v->word) == 0 && has_option(u, o))
            return true;
    }
    return false;
}

static void
print_explained(const struct verb *v, FILE *out)
{
    bool is_any = false;

    for (size_t i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++) {
        if (!is_explained(v, &v->options[i]))
            continue;
        fprintf(out, "%s--%s", is_any ? " " : "      ", v->options[i].name);
        is_any = true;
    }
    if (is_any)
        fputs("  as above\n", out);
}

static void
print_verb(const struct verb *v, FILE *out)
{
    char name[32];

    snprintf(name, sizeof(name), v->word2_implied ? "%s [%s]" : v->word2 ? "%s %s" : "%s", v->word, v->word2);
    fprintf(out, "  %-14s %s%s%s\n", name, v->operands ? v->operands : "", v->operands ? "  " : "", v->help);
    for (size_t i = 0; i < VERB_OPTIONS_MAX && v->options[i].name; i++) {
        if (!is_explained(v, &v->options[i]))
            fprintf(out, "      --%s %s  %s\n", v->options[i].name,
                v->options[i].value ? v->options[i].value : "", v->options[i].help);
    }
    print_explained(v, out);
}

static enum ctl_exit
print_help(FILE *out)
{
    fprintf(out,
        "usage: sendgovctl [-s SOCKET] [-c CONFIG] [--json] VERB [OPTION ...]\n"
        "  -s, --socket SOCKET  control socket of the daemon; default " SENDGOV_RUNDIR "/control\n"
        "  -c, --config CONFIG  configuration file; default " SENDGOV_SYSCONFDIR "/sendgov.yaml\n"
        "      --json           machine-readable output\n"
        "  -V, --version        -h, --help\n"
        "exit: 0 ok, 1 refused, 2 usage, 3 no daemon\n\nverbs:\n");
    for (size_t i = 0; i < N_VERBS; i++)
        print_verb(&verbs[i], out);
    return CTL_OK;
}

/* ---- parsing ---- */

struct parser {
    struct ctl *c;
    int argc, at;
    char **argv;
    bool options_ended;
    bool json;              /* --json was seen; until the end c->json says whether it will be */
    enum ctl_exit code;
    bool done;              /* --help, --version, or an error: code says which */
};

static void
stop(struct parser *p, enum ctl_exit code)
{
    p->done = true;
    p->code = code;
}

/* What follows '=' or the next argument. */
static const char *
take_value(struct parser *p, const char *name, const char *inline_value)
{
    if (inline_value)
        return inline_value;
    if (p->at < p->argc)
        return p->argv[p->at++];
    stop(p, ctl_fail(p->c, CTL_USAGE, "--%s needs a value", name));
    return NULL;
}

static bool
is_name(const char *given, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(given, name, n) == 0;
}

static bool
parse_global(struct parser *p, const char *name, size_t n, const char *value)
{
    if (is_name(name, n, "socket"))
        p->c->socket = take_value(p, "socket", value);
    else if (is_name(name, n, "config"))
        p->c->config_file = take_value(p, "config", value);
    else if (is_name(name, n, "json"))
        p->json = true;
    else if (is_name(name, n, "help"))
        stop(p, print_help(p->c->out));
    else if (is_name(name, n, "version"))
        stop(p, fprintf(p->c->out, "sendgovctl %s\n", PACKAGE_VERSION) > 0 ? CTL_OK : CTL_REFUSED);
    else
        return false;
    return true;
}

static void
refuse_option(struct parser *p, const char *name, size_t n)
{
    const struct verb *v = p->c->verb;
    const char *known[VERB_OPTIONS_MAX], *near;
    size_t n_known = 0;

    for (; v && n_known < VERB_OPTIONS_MAX && v->options[n_known].name; n_known++)
        known[n_known] = v->options[n_known].name;
    near = nearest_word(span_of(name, n), known, n_known);
    if (!v)
        stop(p,
            ctl_fail(p->c, CTL_USAGE, "there is no option --%.*s before a verb; sendgovctl --help lists them",
                (int)n, name));
    else if (near)
        stop(p,
            ctl_fail(
                p->c, CTL_USAGE, "%s has no option --%.*s; did you mean --%s?", v->word, (int)n, name, near));
    else
        stop(p,
            ctl_fail(p->c, CTL_USAGE, "%s has no option --%.*s; sendgovctl --help lists them", v->word,
                (int)n, name));
}

static void
parse_verb_option(struct parser *p, const char *name, size_t n, const char *value)
{
    const struct verb *v = p->c->verb;

    for (size_t i = 0; v && i < VERB_OPTIONS_MAX && v->options[i].name; i++) {
        const struct verb_option *o = &v->options[i];

        if (!is_name(name, n, o->name))
            continue;
        if (p->c->options[i])
            stop(p, ctl_fail(p->c, CTL_USAGE, "--%s is given twice", o->name));
        else if (o->value)
            p->c->options[i] = take_value(p, o->name, value);
        else if (value)
            stop(p, ctl_fail(p->c, CTL_USAGE, "--%s takes no value", o->name));
        else
            p->c->options[i] = "";
        return;
    }
    refuse_option(p, name, n);
}

static const struct verb *
find_verb(const char *word, const char *word2)
{
    for (size_t i = 0; i < N_VERBS; i++) {
        if (strcmp(verbs[i].word, word) != 0)
            continue;
        if (!verbs[i].word2 || (word2 ? strcmp(verbs[i].word2, word2) == 0 : verbs[i].word2_implied))
            return &verbs[i];
    }
    return NULL;
}

static void
refuse_verb(struct parser *p, const char *word)
{
    const char *known[N_VERBS], *near;

    for (size_t i = 0; i < N_VERBS; i++)
        known[i] = verbs[i].word;
    near = nearest_word(span_str(word), known, N_VERBS);
    if (near)
        stop(p, ctl_fail(p->c, CTL_USAGE, "there is no verb \"%s\"; did you mean \"%s\"?", word, near));
    else
        stop(p, ctl_fail(p->c, CTL_USAGE, "there is no verb \"%s\"; sendgovctl --help lists them", word));
}

/* The second word of a verb stands right after the first. */
static void
parse_verb(struct parser *p, const char *word)
{
    const char *next = p->at < p->argc && p->argv[p->at][0] != '-' ? p->argv[p->at] : NULL;
    const struct verb *v = find_verb(word, next);

    if (v && v->word2 && next)
        p->at++;
    else if (!v && next && find_verb(word, NULL)) {
        stop(p,
            ctl_fail(p->c, CTL_USAGE, "%s has no \"%s\"; sendgovctl --help lists what there is", word, next));
        return;
    }
    p->c->verb = v;
    if (!v)
        refuse_verb(p, word);
}

static void
parse_word(struct parser *p, const char *word)
{
    if (!p->c->verb)
        parse_verb(p, word);
    else if (p->c->n_operands < p->c->verb->operands_most)
        p->c->operands[p->c->n_operands++] = word;
    else
        stop(p, ctl_fail(p->c, CTL_USAGE, "%s: \"%s\" is one argument too many", p->c->verb->word, word));
}

static void
parse_short(struct parser *p, const char *arg)
{
    const char *const longs[][2] = {{"s", "socket"}, {"c", "config"}, {"h", "help"}, {"V", "version"}};

    for (size_t i = 0; i < sizeof(longs) / sizeof(longs[0]); i++) {
        if (arg[1] == longs[i][0][0]) {
            parse_global(p, longs[i][1], strlen(longs[i][1]), arg[2] ? arg + 2 : NULL);
            return;
        }
    }
    stop(p, ctl_fail(p->c, CTL_USAGE, "there is no option %s; sendgovctl --help lists them", arg));
}

static void
parse_one(struct parser *p)
{
    const char *arg = p->argv[p->at++], *equals;
    size_t n;

    if (p->options_ended || arg[0] != '-' || arg[1] == '\0') {
        parse_word(p, arg);
        return;
    }
    if (strcmp(arg, "--") == 0) {
        p->options_ended = true;
        return;
    }
    if (arg[1] != '-') {
        parse_short(p, arg);
        return;
    }
    equals = strchr(arg, '=');
    n = equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2);
    if (!parse_global(p, arg + 2, n, equals ? equals + 1 : NULL))
        parse_verb_option(p, arg + 2, n, equals ? equals + 1 : NULL);
}

/* Also what goes wrong before --json is reached has to be told in its form. */
static bool
wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

enum ctl_exit
ctl_main(int argc, char **argv, FILE *out, FILE *err)
{
    struct ctl c = {.out = out, .err = err, .json = wants_json(argc, argv)};
    struct parser p = {.c = &c, .argc = argc, .at = 1, .argv = argv};

    while (!p.done && p.at < p.argc)
        parse_one(&p);
    if (p.done)
        return p.code;
    c.json = p.json;
    if (!c.verb) {
        ctl_fail(&c, CTL_USAGE, "what shall be done? name a verb");
        if (!c.json)
            print_help(err);
        return CTL_USAGE;
    }
    if (c.n_operands < c.verb->operands_least)
        return ctl_fail(&c, CTL_USAGE, "%s needs %s", c.verb->word, c.verb->operands);
    for (size_t i = 0; i < VERB_OPTIONS_MAX && c.verb->options[i].name; i++) {
        const struct verb_option *o = &c.verb->options[i];

        if (o->required && !c.options[i])
            return ctl_fail(&c, CTL_USAGE, "%s needs --%s %s (%s)", c.verb->word, o->name, o->value, o->help);
    }
    return c.verb->run(&c);
}

/* ---- for the verbs ---- */

const char *
ctl_option(const struct ctl *c, const char *name)
{
    for (size_t i = 0; i < VERB_OPTIONS_MAX && c->verb->options[i].name; i++) {
        if (strcmp(c->verb->options[i].name, name) == 0)
            return c->options[i];
    }
    return NULL;
}

bool
ctl_print_json(const struct ctl *c, const json_t *o)
{
    if (!c->json)
        return false;
    json_dumpf(o, c->out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    fputc('\n', c->out);
    return true;
}

const char *
ctl_config_file(const struct ctl *c)
{
    return c->config_file ? c->config_file : SENDGOV_SYSCONFDIR "/sendgov.yaml";
}
