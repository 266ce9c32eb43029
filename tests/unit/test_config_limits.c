/* Limits, schedules and profiles: what a route gets, and what a reply means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <time.h>

#include "policy/plan.h"
#include "relay/base/clock.h"
#include "relay/config/draft.h"
#include "tests/unit/config_files.h"

#define LISTENER "listeners: {in: {address: \"127.0.0.1:2525\", tls: off}}\n"
#define CLIENT "clients: {app: {networks: [10.0.0.0/8], senders: [\"@x.test\"]}}\n"
#define MAILBOX "mailboxes: {m@x.test: {route: out, password_file: secret}}\n"
#define M365(more)                                                                                           \
    "routes: {out: {upstream: \"smtp.office365.com:587\", profile: m365-submission, domains: [x.test" more   \
    "}}\n"

static int
setup(void **state)
{
    (void)state;
    config_files_open();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    config_files_close();
    return 0;
}

static void
limit_is(const struct config *c, const char *name, enum limit_kind kind, enum limit_scope scope,
    enum limit_unit unit, uint64_t value, uint64_t period_ms)
{
    const struct limit_conf *l = config_limit(c, name);

    if (!l)
        fail_msg("there is no limit %s", name);
    assert_int_equal(l->kind, kind);
    assert_int_equal(l->scope, scope);
    assert_int_equal(l->unit, unit);
    assert_true(l->value == value);
    assert_int_equal(l->period_ms, period_ms);
}

/* Published figures of the tenant's external recipient limit, rounded down where they have decimals. */
static void
the_tenant_cap_is_exact(void **state)
{
    static const struct {
        uint64_t licences, cap;
    } published[] = {{1, 10000}, {5, 11042}, {10, 12005}, {25, 14259}, {50, 17231}, {100, 22059},
        {200, 29902}, {500, 48247}, {1000, 72446}, {10000, 324978}};
    struct tenant_limit t = {.factor = 500, .power_tenths = 7, .base = 9500, .percent = 100, .trial = 5000};
    uint64_t before = 0;

    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++)
        assert_int_equal(tenant_limit_cap(&t, published[i].licences), published[i].cap);
    assert_int_equal(tenant_limit_cap(&t, LICENCES_TRIAL), 5000);
    for (uint64_t n = 1; n < 3000; n += 7) {
        assert_true(tenant_limit_cap(&t, n) >= before);
        before = tenant_limit_cap(&t, n);
    }
    assert_true(tenant_limit_cap(&t, 10000000) > 39000000);
    t.percent = 80;
    assert_int_equal(tenant_limit_cap(&t, 25), 11408); /* rounded up */
    t = (struct tenant_limit){.factor = 100000, .power_tenths = 10, .base = 1, .percent = 100, .trial = 1};
    assert_int_equal(tenant_limit_cap(&t, 10000000), 1000000000001);
}

static void
a_profile_brings_limits(void **state)
{
    struct config *c = config_files_load(
        LISTENER CLIENT MAILBOX M365(", x.onmicrosoft.com], licences: 25, warmup: new-tenant"));
    const struct limit_conf *l;

    (void)state;
    limit_is(c, "out-mailbox-minute", LIMIT_WINDOW, SCOPE_MAILBOX, UNIT_MESSAGES, 25, 60000);
    limit_is(c, "out-mailbox-day", LIMIT_WINDOW, SCOPE_MAILBOX, UNIT_RECIPIENTS, 8000, 86400000);
    assert_string_equal(config_limit(c, "out-mailbox-day")->origin, "profile m365-submission");
    limit_is(c, "out-mailbox-spike", LIMIT_RATE, SCOPE_MAILBOX, UNIT_MESSAGES, 300, 60000);
    assert_int_equal(config_limit(c, "out-mailbox-spike")->burst, 5);
    limit_is(c, "out-onmicrosoft-day", LIMIT_WINDOW, SCOPE_SENDER_DOMAIN, UNIT_EXTERNAL, 90, 86400000);
    assert_string_equal(config_limit(c, "out-onmicrosoft-day")->only, "x.onmicrosoft.com");
    limit_is(c, "out-tenant-day", LIMIT_WINDOW, SCOPE_ROUTE, UNIT_EXTERNAL, 11408, 86400000);
    limit_is(c, "out-tenant-hour", LIMIT_WINDOW, SCOPE_ROUTE, UNIT_EXTERNAL, 1426, 3600000);
    limit_is(c, "out-mailbox-hour", LIMIT_WINDOW, SCOPE_MAILBOX, UNIT_RECIPIENTS, 1000, 3600000);
    l = config_limit(c, "out-warmup");
    assert_int_equal(l->kind, LIMIT_WARMUP);
    assert_int_equal(l->period_ms, 86400000);
    assert_false(l->hour_cap);
    assert_string_equal(l->schedule->name, "new-tenant");
    assert_ptr_equal(l->schedule, config_route(c, "out")->warmup);
    l = config_limit(c, "out-warmup-hour");
    assert_int_equal(l->period_ms, 3600000);
    assert_true(l->hour_cap);
    for (size_t i = 0; i < c->n_limits; i++) {
        assert_string_equal(c->limits[i].route, "out");
        assert_non_null(strchr(c->limits[i].source, ':'));
    }
    assert_int_equal(c->n_limits, 9);
    assert_int_equal(config_mailbox(c, "m@x.test")->connections, 2);
    config_unref(&c);
}

/* Microsoft counts all onmicrosoft.com senders of a tenant together. */
static void
domains_share_a_limit(void **state)
{
    struct config *c = config_files_load(LISTENER CLIENT MAILBOX M365(
        ", a.onmicrosoft.com, a.mail.onmicrosoft.com], licences: trial, warmup: established"));

    (void)state;
    limit_is(c, "out-onmicrosoft-day", LIMIT_WINDOW, SCOPE_SENDER_DOMAIN, UNIT_EXTERNAL, 45, 86400000);
    limit_is(c, "out-onmicrosoft-day-2", LIMIT_WINDOW, SCOPE_SENDER_DOMAIN, UNIT_EXTERNAL, 45, 86400000);
    assert_string_equal(config_limit(c, "out-onmicrosoft-day-2")->only, "a.mail.onmicrosoft.com");
    limit_is(c, "out-tenant-day", LIMIT_WINDOW, SCOPE_ROUTE, UNIT_EXTERNAL, 4000, 86400000);
    assert_null(config_limit(c, "out-warmup"));
    config_unref(&c);
}

static void
own_limits_replace_those_of_the_profile(void **state)
{
    struct config *c = config_files_load(LISTENER CLIENT MAILBOX M365("], licences: 5, warmup: established")
        "limits:\n"
        "  out-mailbox-day: {scope: mailbox, unit: recipients, window: 9_000/d}\n"
        "  out-mailbox-spike: {scope: mailbox, unit: messages, window: unlimited}\n"
        "  nothing: {scope: sender, unit: messages, window: deny, only: Bad@X.test}\n"
        "  burst: {scope: client, unit: external, rate: 100/min, burst: 20, only: app}\n"
        "  slow: {scope: client, unit: messages, rate: 100/min, mode: shadow}\n"
        "  loop: {scope: client, unit: messages, spike: {}}\n"
        "  big: {scope: route, unit: bytes, spike: {factor: 2.5, floor: 1_000_000}}\n");

    (void)state;
    limit_is(c, "out-mailbox-day", LIMIT_WINDOW, SCOPE_MAILBOX, UNIT_RECIPIENTS, 9000, 86400000);
    assert_string_equal(config_limit(c, "out-mailbox-day")->route, "out");
    assert_non_null(strstr(config_limit(c, "out-mailbox-day")->origin, "replaces "));
    assert_non_null(strstr(c->dump, "limits.out-mailbox-day.window: 9000/d  # c.yaml:6, replaces "));
    assert_null(config_limit(c, "out-mailbox-spike")); /* unlimited: never asked */
    assert_non_null(strstr(c->dump, "limits.out-mailbox-spike.window: unlimited  # c.yaml:7"));
    limit_is(c, "out-mailbox-minute", LIMIT_WINDOW, SCOPE_MAILBOX, UNIT_MESSAGES, 25, 60000);
    limit_is(c, "nothing", LIMIT_WINDOW, SCOPE_SENDER, UNIT_MESSAGES, 0, 86400000);
    assert_string_equal(config_limit(c, "nothing")->only, "Bad@x.test");
    limit_is(c, "burst", LIMIT_RATE, SCOPE_CLIENT, UNIT_EXTERNAL, 100, 60000);
    assert_int_equal(config_limit(c, "burst")->burst, 20);
    assert_string_equal(config_limit(c, "burst")->only, "app");
    assert_null(config_limit(c, "burst")->route);
    assert_int_equal(config_limit(c, "burst")->mode, MODE_ENFORCE);
    assert_int_equal(config_limit(c, "slow")->burst, 1);
    assert_int_equal(config_limit(c, "slow")->mode, MODE_SHADOW);
    assert_non_null(strstr(c->dump, "limits.slow.mode: shadow"));
    limit_is(c, "loop", LIMIT_SPIKE, SCOPE_CLIENT, UNIT_MESSAGES, 20, 3600000);
    assert_int_equal(config_limit(c, "loop")->factor_milli, 3000);
    assert_non_null(strstr(c->dump, "limits.loop.spike.floor: 20  # default"));
    limit_is(c, "big", LIMIT_SPIKE, SCOPE_ROUTE, UNIT_BYTES, 1000000, 3600000);
    assert_int_equal(config_limit(c, "big")->factor_milli, 2500);
    assert_non_null(strstr(c->dump, "limits.big.spike.factor: 2.5"));
    assert_non_null(strstr(c->dump, "limits.slow.spike.factor: (not set)"));
    config_unref(&c);
}

static void
new_recipients(void **state)
{
    struct config *c = config_files_load(LISTENER CLIENT MAILBOX M365("], licences: 5, warmup: established")
        "limits:\n"
        "  strangers: {scope: sender, unit: new_recipients, window: 50/d}\n"
        "  route-strangers: {scope: route, unit: new_recipients, window: 500/d, known_for: 90d}\n");

    (void)state;
    limit_is(c, "strangers", LIMIT_WINDOW, SCOPE_SENDER, UNIT_NEW, 50, 86400000);
    assert_int_equal(config_limit(c, "strangers")->known_ms, 30 * INT64_C(86400000));
    assert_int_equal(config_limit(c, "route-strangers")->known_ms, 90 * INT64_C(86400000));
    assert_int_equal(config_limit(c, "out-mailbox-day")->known_ms, 0);
    config_unref(&c);
}

static void
schedules(void **state)
{
    struct config *c = config_files_load(LISTENER CLIENT MAILBOX M365(
        "], licences: 5, warmup: steps") "schedules:\n  steps: {curve: table, table: [50, 1_00, 100], "
                                         "ceiling: 80, use: 70}\n  cautious: {first: 10, growth: 1.25, "
                                         "decay_days: unlimited}\n  even: {curve: linear, first: 20, "
                                         "increment: 30, restart_days: 60, restart_percent: 50}\n");
    const struct schedule_conf *s = config_route(c, "out")->warmup;

    (void)state;
    assert_int_equal(s->curve, CURVE_TABLE);
    assert_int_equal(s->n_table, 3);
    assert_int_equal(s->table[1], 100);
    assert_int_equal(s->ceiling, 80);
    assert_int_equal(s->use_percent, 70);
    assert_int_equal(s->decay_days, 7);
    assert_int_equal(s->restart_days, 30);
    assert_int_equal(s->restart_percent, 0);
    assert_int_equal(c->n_schedules, 4); /* new-tenant is built in, cautious is replaced */
    assert_int_equal(c->schedules[1].growth_milli, 1250);
    assert_true(c->schedules[1].decay_days == LIMIT_UNLIMITED);
    assert_int_equal(c->schedules[2].curve, CURVE_LINEAR);
    assert_int_equal(c->schedules[2].increment, 30);
    assert_int_equal(c->schedules[2].restart_days, 60);
    assert_int_equal(c->schedules[2].restart_percent, 50);
    assert_string_equal(c->schedules[3].name, "new-tenant");
    config_unref(&c);
}

/* conf/schedules shows the built-in schedules in YAML: both say the same. */
static void
shipped_schedules_are_the_built_in_ones(void **state)
{
    static const char *const names[] = {"new-tenant", "cautious", "domain-ramp"};
    char yaml[1024];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct schedule_conf *shipped, *own;
        struct config *with, *without;

        snprintf(yaml, sizeof yaml, "%s%s%sinclude: %s/conf/schedules/%s.yaml\n", LISTENER, CLIENT,
            "routes: {out: {upstream: \"h.test:25\", domains: [x.test], warmup: established}}\n", TOP_SRCDIR,
            names[i]);
        with = config_files_load(yaml);
        assert_string_equal(with->schedules[0].name, names[i]);
        shipped = &with->schedules[0];
        *strstr(yaml, "include:") = '\0';
        without = config_files_load(yaml);
        for (size_t j = 0; i < 2 && j < without->n_schedules; j++) {
            own = &without->schedules[j];
            if (strcmp(own->name, names[i]) != 0)
                continue;
            assert_int_equal(own->first, shipped->first);
            assert_int_equal(own->growth_milli, shipped->growth_milli);
            assert_int_equal(own->use_percent, shipped->use_percent);
            assert_true(own->ceiling == shipped->ceiling);
            assert_int_equal(own->decay_days, shipped->decay_days);
            assert_int_equal(own->restart_days, shipped->restart_days);
            assert_int_equal(own->restart_percent, shipped->restart_percent);
        }
        config_unref(&with);
        config_unref(&without);
    }
}

/* The meaning of replies, as an operator reads it: tests/tables/replies.txt, "class | code | enhanced |
 * text". */
static void
replies_mean_what_the_table_says(void **state)
{
    struct config *c = config_files_load(LISTENER CLIENT MAILBOX M365("], licences: 5, warmup: established"));
    const struct reply_rules *rules = &config_route(c, "out")->replies;
    FILE *in = fopen(TOP_SRCDIR "/tests/tables/replies.txt", "r");
    char line[1024];
    unsigned n = 0;

    (void)state;
    assert_non_null(in);
    while (fgets(line, sizeof line, in)) {
        const struct reply_rule *rule;
        struct span class, rest, code, text, part;
        struct enhanced e = {0};
        uint64_t number, digits[3] = {0};
        enum reply_class got;

        if (line[0] == '#' || line[0] == '\n')
            continue;
        rest = span_cut(span_trim(span_str(line)), '|', &class);
        rest = span_cut(rest, '|', &code);
        text = span_trim(span_cut(rest, '|', &part));
        assert_true(span_to_u64(span_trim(code), &number));
        part = span_trim(part);
        for (size_t i = 0; part.n > 0 && part.p[0] != '-' && i < 3; i++) {
            struct span digit;

            part = span_cut(part, '.', &digit);
            assert_true(span_to_u64(digit, &digits[i]));
        }
        e = (struct enhanced){(uint8_t)digits[0], (uint16_t)digits[1], (uint16_t)digits[2]};
        got = reply_classify(rules, (int)number, e, text, &rule);
        if (!span_eq(span_trim(class), span_str(reply_class_to_str(got))))
            fail_msg("%s: is %s%s%s", line, reply_class_to_str(got), rule ? " by: " : "",
                rule && rule->advice ? rule->advice : "");
        n++;
    }
    fclose(in);
    assert_true(n > 60);
    config_unref(&c);
}

/* Every shipped rule tells the operator what to do and where that is from. */
static void
every_shipped_rule_has_advice_and_source(void **state)
{
    static const char *const profiles[] = {
        "m365-submission, licences: 5", "m365-connector, licences: 5", "m365-trial"};
    char yaml[1024];

    (void)state;
    for (size_t p = 0; p < 3; p++) {
        struct config *c;

        snprintf(yaml, sizeof yaml,
            "%s%sroutes: {out: {upstream: \"h.test:25\", domains: [x.test], profile: %s, "
            "warmup: established}}\n",
            LISTENER, CLIENT, profiles[p]);
        c = config_files_load(yaml);
        assert_true(c->routes[0].replies.n > 50);
        for (size_t i = 0; i < c->routes[0].replies.n; i++) {
            const struct reply_rule *rule = &c->routes[0].replies.rules[i];

            assert_non_null(rule->advice);
            assert_true(strlen(rule->advice) < 400);
            assert_non_null(rule->source);
            assert_memory_equal(rule->source, "https://", 8);
        }
        config_unref(&c);
    }
}

/* What Microsoft says, and less; where a figure is changed, its source is to be read again. */
static void
shipped_profiles_stay_below_microsofts_figures(void **state)
{
    static const struct {
        const char *profile, *limit;
        uint64_t most, period_ms;
    } cases[] = {
        {"m365-submission, licences: 1", "out-mailbox-minute", 30, 60000},
        {"m365-submission, licences: 1", "out-mailbox-day", 10000, 86400000},
        {"m365-submission, licences: 1", "out-tenant-day", 10000, 86400000},
        {"m365-submission, licences: 100", "out-tenant-day", 22059, 86400000},
        {"m365-submission, licences: trial", "out-tenant-day", 5000, 86400000},
        {"m365-submission, licences: 1", "out-onmicrosoft-day", 100, 86400000},
        {"m365-connector, licences: 1", "out-tenant-day", 10000, 86400000},
        {"m365-connector, licences: trial", "out-tenant-day", 5000, 86400000},
        {"m365-connector, licences: 1", "out-onmicrosoft-day", 100, 86400000},
        {"m365-trial", "out-mailbox-minute", 30, 60000},
        {"m365-trial", "out-mailbox-day", 10000, 86400000},
        {"m365-trial", "out-tenant-day", 5000, 86400000},
        {"m365-trial", "out-tenant-hour", 625, 3600000},
        {"m365-trial", "out-onmicrosoft-day", 100, 86400000},
    };
    char yaml[1024];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct limit_conf *l;
        struct config *c;

        snprintf(yaml, sizeof yaml,
            "%s%s" MAILBOX "routes: {out: {upstream: \"h.test:25\", domains: [x.test, x.onmicrosoft.com], "
            "profile: %s, warmup: established}}\n",
            LISTENER, CLIENT, cases[i].profile);
        c = config_files_load(yaml);
        l = config_limit(c, cases[i].limit);
        assert_non_null(l);
        assert_int_equal(l->period_ms, cases[i].period_ms);
        assert_in_range(l->value, cases[i].most * 7 / 10, cases[i].most * 9 / 10);
        assert_in_range(config_mailbox(c, "m@x.test")->connections, 1, 3);
        config_unref(&c);
    }
}

static void
own_rules_come_before_the_profile(void **state)
{
    struct config *c = config_files_load(LISTENER CLIENT MAILBOX
        M365("], licences: 5, warmup: established, replies: [{reply: \"550 5.7.708\", class: message}]"));
    enum reply_class class = reply_classify(&config_route(c, "out")->replies, 550,
        (struct enhanced){5, 7, 708}, SPAN_LIT("Service unavailable."), NULL);

    (void)state;
    assert_int_equal(class, CLASS_MESSAGE);
    config_unref(&c);
}

/* Mail goes to domains that no route knows. */
static void
recipient_domains(void **state)
{
    static const char mine[] = "profile: mine\nextends: m365-replies\ndated: 2026-01-01\nlimits:\n"
                               "  gmail: {scope: recipient_domain, unit: external, window: 50/h,"
                               " domains: Gmail.com}\n"
                               "  each: {scope: recipient_domain, unit: external, window: 500/d}\n";
    struct plan_subject subject = {.route = SPAN_LIT("out"), .external = true};
    struct config *c;

    (void)state;
    mkdir("profiles", 0700); /* perhaps it is there */
    config_files_write("profiles/mine.yaml", mine, strlen(mine), 0600);
    c = config_files_load(LISTENER CLIENT MAILBOX
        "routes: {out: {upstream: \"h.test:25\", domains: [x.test], profile: mine, warmup: established}}\n"
        "limits: {below: {scope: recipient_domain, unit: messages, window: 5/min, only: \"*.Y.org\"}}\n");
    limit_is(c, "out-gmail", LIMIT_WINDOW, SCOPE_RECIPIENT_DOMAIN, UNIT_EXTERNAL, 50, 3600000);
    assert_string_equal(config_limit(c, "out-gmail")->only, "gmail.com");
    limit_is(c, "out-each", LIMIT_WINDOW, SCOPE_RECIPIENT_DOMAIN, UNIT_EXTERNAL, 500, 86400000);
    assert_null(config_limit(c, "out-each")->only);
    assert_string_equal(config_limit(c, "below")->only, "*.y.org");
    subject.recipient_domain = SPAN_LIT("a.y.org");
    assert_true(plan_counts_domain(config_limit(c, "below"), 1, &subject));
    subject.recipient_domain = SPAN_LIT("y.org");
    assert_false(plan_counts_domain(config_limit(c, "below"), 1, &subject));
    assert_true(plan_counts_domain(config_limit(c, "out-each"), 1, &subject));
    subject.external = false;
    assert_false(plan_counts_domain(config_limit(c, "out-each"), 1, &subject));
    config_unref(&c);
}

/* profiles/ beside the main file is asked first. */
static void
profiles_are_looked_for_beside_the_file(void **state)
{
    static const char mine[] = "profile: mine\nextends: m365-replies\ndated: 2026-01-01\nconnections: 5\n"
                               "limits: {total: {scope: route, unit: bytes, window: 1_000_000/h}}\n";
    static const char loop[] = "profile: loop\nextends: loop\ndated: 2026-01-01\n";
    struct err err = {""};
    struct config *c;

    (void)state;
    mkdir("profiles", 0700); /* perhaps it is there */
    config_files_write("profiles/mine.yaml", mine, strlen(mine), 0600);
    config_files_write("profiles/loop.yaml", loop, strlen(loop), 0600);
    c = config_files_load(LISTENER CLIENT MAILBOX
        "routes: {out: {upstream: \"h.test:25\", domains: [x.test], profile: mine, warmup: established}}\n");
    limit_is(c, "out-total", LIMIT_WINDOW, SCOPE_ROUTE, UNIT_BYTES, 1000000, 3600000);
    assert_int_equal(config_mailbox(c, "m@x.test")->connections, 5);
    assert_true(c->routes[0].replies.n > 50);
    config_unref(&c);
    config_files_write("c.yaml",
        LISTENER CLIENT "routes: {out: {upstream: \"h.test:25\", domains: [x.test], profile: loop}}\n",
        sizeof(LISTENER CLIENT "routes: {out: {upstream: \"h.test:25\", domains: [x.test], profile: loop}}\n")
            - 1,
        0600);
    assert_null(config_load("c.yaml", &err));
    assert_non_null(strstr(err.text, "profiles extend one another more than 4 deep"));
}

static void
write_profile_dated(const char *day)
{
    char text[128];

    snprintf(text, sizeof text, "profile: aged\ndated: %s\n", day);
    config_files_write("profiles/aged.yaml", text, strlen(text), 0600);
}

#define AGED_FILE \
    LISTENER CLIENT \
    "routes: {out: {upstream: \"h.test:25\", domains: [x.test], profile: aged, warmup: established}}\n"

/* As many warnings as name the profile; days: how long ago its facts are of. */
static size_t
warnings_of_age(int days)
{
    time_t then = (time_t)(clock_utc_ms() / 1000) - (time_t)days * 86400;
    struct config *c;
    struct tm tm;
    char day[16];
    size_t n = 0;

    strftime(day, sizeof day, "%Y-%m-%d", gmtime_r(&then, &tm));
    write_profile_dated(day);
    c = config_files_load(AGED_FILE);
    for (size_t i = 0; i < c->n_warnings; i++)
        n += strstr(c->warnings[i].text, "profile aged is dated") != NULL &&
            strstr(c->warnings[i].text, day) != NULL &&
            strstr(c->warnings[i].position, "profiles/aged.yaml:2") != NULL;
    assert_int_equal(c->n_profiles, 1);
    assert_string_equal(c->profiles[0].dated, day);
    assert_int_equal(profile_is_old(&c->profiles[0], clock_utc_ms()), n);
    config_unref(&c);
    return n;
}

static void
old_profiles_are_warned_of(void **state)
{
    const struct profile_conf p = {.dated_utc_ms = INT64_C(86400000) * 20000};
    struct err err = {""};

    (void)state;
    mkdir("profiles", 0700);
    assert_int_equal(warnings_of_age(0), 0);
    assert_int_equal(warnings_of_age(179), 0);
    assert_int_equal(warnings_of_age(182), 1);
    assert_int_equal(warnings_of_age(3000), 1);
    assert_int_equal(warnings_of_age(-30), 0);
    assert_int_equal(profile_age_days(&p, p.dated_utc_ms + INT64_C(86400000) * 181 - 1), 180);
    assert_false(profile_is_old(&p, p.dated_utc_ms + INT64_C(86400000) * 181 - 1));
    assert_true(profile_is_old(&p, p.dated_utc_ms + INT64_C(86400000) * 181));
    assert_int_equal(profile_age_days(&p, 0), 0);
    write_profile_dated("2026-02-30");
    config_files_write("c.yaml", AGED_FILE, sizeof(AGED_FILE) - 1, 0600);
    assert_null(config_load("c.yaml", &err));
    assert_non_null(strstr(err.text, "dated: '2026-02-30' is a day that no calendar has"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tenant_cap_is_exact),
        cmocka_unit_test(a_profile_brings_limits),
        cmocka_unit_test(domains_share_a_limit),
        cmocka_unit_test(own_limits_replace_those_of_the_profile),
        cmocka_unit_test(new_recipients),
        cmocka_unit_test(schedules),
        cmocka_unit_test(shipped_schedules_are_the_built_in_ones),
        cmocka_unit_test(replies_mean_what_the_table_says),
        cmocka_unit_test(every_shipped_rule_has_advice_and_source),
        cmocka_unit_test(shipped_profiles_stay_below_microsofts_figures),
        cmocka_unit_test(own_rules_come_before_the_profile),
        cmocka_unit_test(recipient_domains),
        cmocka_unit_test(profiles_are_looked_for_beside_the_file),
        cmocka_unit_test(old_profiles_are_warned_of),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
