/* The commands of the queue: which messages they mean, what they answer, and what they say when the spool
 * does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/admin/command.h"
#include "relay/admin/control.h"
#include "relay/base/clock.h"
#include "relay/net/stream.h"
#include "tests/unit/admin_fakes.h"

static const struct peer root = {.uid = 0, .privilege = PRIVILEGE_ALL, .actor = "uid=0(root)"};
static const struct peer reader = {.uid = 1000, .privilege = PRIVILEGE_READ, .actor = "uid=1000"};

static const char *const looking[] = {"queue", "queue-show", "queue-why"};
static const char *const changing[] = {"queue-hold", "queue-release", "queue-retry", "queue-delete"};
#define EACH(i, array) size_t i = 0; i < sizeof(array) / sizeof((array)[0]); i++

static void
open_with_spool(struct fixture *f)
{
    fixture_open(f, NULL);
    fake.spool_on = true;
    fake.spool.state = SPOOL_READY;
    fake.why = (struct queue_why){.known = true, .lane = 1};
    fake.place = 1;
}

static void
keep(void *arg, json_t *answer)
{
    json_t **out = arg;

    *out = json_incref(answer);
}

static json_t *
ask_as(struct fixture *f, const struct peer *peer, const char *line)
{
    json_t *answer = NULL;

    command_start(f->admin, peer, span_str(line), keep, &answer);
    assert_null(answer); /* never during the call */
    for (int i = 0; i < 20 && !answer; i++)
        loop_turn(f->loop, 0);
    if (!answer)
        fail_msg("no answer to %s", line);
    return answer;
}

static const char *
text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "(none)";
}

static json_int_t
number_of(const json_t *o, const char *key)
{
    if (!json_is_integer(json_object_get(o, key)))
        fail_msg("%s is no number", key);
    return json_integer_value(json_object_get(o, key));
}

static void
expect_error(
    struct fixture *f, const struct peer *peer, const char *line, const char *code, const char *words)
{
    json_t *a = ask_as(f, peer, line);

    if (json_is_true(json_object_get(a, "ok")))
        fail_msg("%s is answered", line);
    assert_string_equal(text_of(a, "code"), code);
    if (!strstr(text_of(a, "error"), words))
        fail_msg("\"%s\" is not in \"%s\"", words, text_of(a, "error"));
    json_decref(a);
}

static json_t *
expect_ok(struct fixture *f, const struct peer *peer, const char *line)
{
    json_t *a = ask_as(f, peer, line);

    if (!json_is_true(json_object_get(a, "ok")))
        fail_msg("%s: %s", line, text_of(a, "error"));
    return a;
}

static const char *
line_of(const char *command, const char *rest)
{
    static char line[1024];

    snprintf(line, sizeof(line), "{\"command\":\"%s\"%s}", command, rest);
    return line;
}

#define ONE ",\"id\":\"a1\",\"reason\":\"x\""

static void
test_without_a_spool(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, NULL);
    expect_error(&f, &root, line_of("queue", ""), "refused", "set spool.enabled: true");
    expect_error(&f, &root, line_of("queue-show", ",\"id\":\"a1\""), "refused", "no spool");
    expect_error(&f, &root, line_of("queue-why", ",\"id\":\"a1\""), "refused", "no spool");
    for (EACH(i, changing))
        expect_error(&f, &root, line_of(changing[i], ONE), "refused", "no spool");
    assert_int_equal(fake.lists + fake.orders, 0);
    fixture_close(&f);
}

static void
test_privileges(void **state)
{
    struct fixture f;

    (void)state;
    open_with_spool(&f);
    fake_hold("a1", "a@contoso.com", 1);
    for (EACH(i, looking))
        json_decref(expect_ok(&f, &reader, line_of(looking[i], ",\"id\":\"a1\"")));
    assert_int_equal(fake.lists, 3);
    for (EACH(i, changing))
        expect_error(&f, &reader, line_of(changing[i], ONE), "refused", "uid=1000 may not use");
    assert_int_equal(fake.orders, 0);
    fixture_close(&f);
}

static void
test_parameters(void **state)
{
    struct fixture f;

    (void)state;
    open_with_spool(&f);
    expect_error(&f, &root, line_of("queue-show", ""), "usage", "\"id\" is missing");
    expect_error(&f, &root, line_of("queue-why", ""), "usage", "\"id\" is missing");
    expect_error(&f, &root, line_of("queue-hold", ",\"id\":\"a1\""), "usage", "\"reason\" is missing");
    expect_error(&f, &root, line_of("queue-delete", ",\"all\":\"yes\""), "usage", "\"reason\" is missing");
    expect_error(&f, &root, line_of("queue", ",\"state\":\"parkd\""), "usage", "did you mean \"parked\"");
    expect_error(&f, &root, line_of("queue", ",\"older_than\":\"long\""), "usage", "for example 90s");
    expect_error(&f, &root, line_of("queue", ",\"older_than\":\"0s\""), "usage", "more than 0");
    expect_error(&f, &root, line_of("queue", ",\"max\":\"many\""), "usage", "must be a number");
    expect_error(&f, &root, line_of("queue", ",\"max\":0"), "usage", "from 1 to 1000");
    expect_error(&f, &root, line_of("queue", ",\"max\":\"1001\""), "usage", "from 1 to 1000");
    expect_error(&f, &root, line_of("queue", ",\"after\":-1"), "usage", "must be a number");
    expect_error(&f, &root, line_of("queue", ",\"after\":1.5"), "usage", "must be a number");
    expect_error(&f, &root, line_of("queue", ",\"after\":\"\""), "usage", "must be a number");
    expect_error(&f, &root, line_of("queue", ",\"after\":\"9223372036854775808\""), "usage", "a number");
    expect_error(&f, &root, line_of("queue", ",\"sender\":\"nobody\""), "usage", "no mail address");
    expect_error(&f, &root, line_of("queue", ",\"recipient\":\"<>\""), "usage", "no mail address");
    expect_error(&f, &root, line_of("queue", ",\"recipient\":\"a\\u0000@b.c\""), "usage", "");
    expect_error(&f, &root, line_of("queue", ",\"sender_domain\":\"a b\""), "usage", "no mail domain");
    expect_error(&f, &root, line_of("queue", ",\"recipient_domain\":\"a@b.c\""), "usage", "no mail domain");
    expect_error(&f, &root, line_of("queue", ",\"client\":\"rep\""), "usage", "there is no client \"rep\"");
    expect_error(&f, &root, line_of("queue", ",\"route\":\"contosso\""), "usage", "mean \"contoso\"");
    expect_error(&f, &root, line_of("queue", ",\"mailbox\":\"x\""), "usage", "there is no mailbox");
    expect_error(&f, &root, line_of("queue", ",\"reason\":\"x\""), "usage", "no parameter \"reason\"");
    expect_error(&f, &root, line_of("queue-retry", ",\"after\":5"), "usage", "no parameter \"after\"");
    expect_error(&f, &root, line_of("queue-retry", ",\"all\":\"yes\",\"max\":0"), "usage", "from 1 to");
    expect_error(&f, &root, line_of("queue-retry", ",\"all\":\"yes\",\"max\":4294967296"), "usage", "to");
    expect_error(&f, &root, line_of("queue-hold", ",\"id\":\"a1\",\"reason\":\"a\\nb\""), "usage",
        "printable ASCII");
    expect_error(&f, &root, line_of("queue-retry", ",\"id\":\"a1\",\"reason\":\"\\u001b[2J\""), "usage",
        "printable ASCII");
    assert_int_equal(fake.lists + fake.orders, 0);
    fixture_close(&f);
}

static void
test_reason_fits_the_message(void **state)
{
    struct fixture f;
    char rest[512];

    (void)state;
    open_with_spool(&f);
    fake.changed = 1;
    snprintf(rest, sizeof(rest), ",\"id\":\"a1\",\"reason\":\"%0256d\"", 7);
    expect_error(&f, &root, line_of("queue-hold", rest), "usage", "longer than 255 bytes");
    snprintf(rest, sizeof(rest), ",\"id\":\"a1\",\"reason\":\"%0255d\"", 7);
    json_decref(expect_ok(&f, &root, line_of("queue-hold", rest)));
    assert_int_equal(strlen(fake.order_why), 255);
    fixture_close(&f);
}

static void
test_filter(void **state)
{
    struct fixture f;
    int64_t from_ms;

    (void)state;
    open_with_spool(&f);
    from_ms = clock_utc_ms() - 3600000;
    json_decref(expect_ok(&f, &reader,
        line_of("queue", ",\"id\":\"a1\",\"client\":\"erp\",\"route\":\"contoso\","
                         "\"mailbox\":\"relay@contoso.com\",\"sender\":\"A@CONTOSO.com\","
                         "\"recipient\":\"\\\"b\\\"@Example.COM\",\"sender_domain\":\"Contoso.com.\","
                         "\"recipient_domain\":\"EXAMPLE.com\",\"state\":\"in_flight\","
                         "\"older_than\":\"1h\",\"max\":\"7\",\"after\":41")));
    assert_string_equal(fake.filter, "id=a1 client=erp route=contoso mailbox=relay@contoso.com "
                                     "sender=A@contoso.com recipient=b@example.com sender_domain=contoso.com "
                                     "recipient_domain=example.com state=in_flight");
    assert_true(fake.before_utc_ms >= from_ms && fake.before_utc_ms <= clock_utc_ms() - 3600000);
    assert_int_equal(fake.max, 7);
    assert_int_equal(fake.after_seq, 41);
    json_decref(expect_ok(&f, &reader, line_of("queue", ",\"sender\":\"<>\"")));
    assert_string_equal(fake.filter, "sender=<>");
    json_decref(expect_ok(&f, &reader, line_of("queue", "")));
    assert_string_equal(fake.filter, "");
    assert_int_equal(fake.before_utc_ms, 0);
    assert_int_equal(fake.max, 100);
    assert_int_equal(fake.after_seq, 0);
    fixture_close(&f);
}

static void
test_row(void **state)
{
    struct fixture f;
    struct spool_message *m;
    json_t *a, *row;

    (void)state;
    open_with_spool(&f);
    m = fake_hold("a1", "a@contoso.com", 3);
    m->states[1].attempts = 4;
    m->states[1].due_utc_ms = 1700000300000;
    m->states[0].due_utc_ms = m->states[2].due_utc_ms = 1700000600000;
    a = expect_ok(&f, &reader, line_of("queue", ""));
    assert_true(json_is_false(json_object_get(a, "more")));
    assert_true(json_is_null(json_object_get(a, "next")));
    row = json_array_get(json_object_get(a, "messages"), 0);
    assert_string_equal(text_of(row, "id"), "a1");
    assert_int_equal(number_of(row, "seq"), 11);
    assert_string_equal(text_of(row, "state"), "waiting");
    assert_string_equal(text_of(row, "client"), "erp");
    assert_string_equal(text_of(row, "route"), "contoso");
    assert_true(json_is_null(json_object_get(row, "mailbox")));
    assert_string_equal(text_of(row, "class"), "default");
    assert_string_equal(text_of(row, "sender"), "a@contoso.com");
    assert_int_equal(number_of(row, "recipients"), 3);
    assert_string_equal(text_of(row, "first_recipient"), "r000@example.com");
    assert_int_equal(number_of(row, "bytes"), 2048);
    assert_int_equal(number_of(row, "attempts"), 4);
    assert_string_equal(text_of(row, "received"), "2023-11-14T22:13:20.000Z");
    assert_string_equal(text_of(row, "due"), "2023-11-14T22:18:20.000Z");
    assert_true(number_of(row, "age_ms") > 0);
    assert_true(json_is_null(json_object_get(row, "held_by")));
    assert_true(json_is_false(json_object_get(row, "is_dsn")));
    assert_string_equal(text_of(row, "waits_for"), "nothing");
    assert_true(json_is_null(json_object_get(row, "release_at")));
    json_decref(a);
    fixture_close(&f);
}

/* Held above all, then parked, uncertain, in flight, waiting; of several recipients the gravest. */
static void
test_states(void **state)
{
    struct fixture f;
    struct spool_message *m;
    const char *const names[] = {"waiting", "in_flight", "uncertain", "parked"};

    (void)state;
    open_with_spool(&f);
    m = fake_hold("a1", "", 3);
    for (int s = 0; s <= SPOOL_RECIPIENT_STATE_COUNT; s++) {
        json_t *a;

        if (s < SPOOL_RECIPIENT_STATE_COUNT)
            m->states[1].state = (enum spool_recipient_state)s;
        m->held = s == SPOOL_RECIPIENT_STATE_COUNT;
        a = expect_ok(&f, &reader, line_of("queue-show", ",\"id\":\"a1\""));
        assert_string_equal(text_of(a, "state"), s < SPOOL_RECIPIENT_STATE_COUNT ? names[s] : "held");
        json_decref(a);
    }
    fixture_close(&f);
}

static void
test_show(void **state)
{
    struct fixture f;
    struct spool_message *m;
    json_t *a, *r;

    (void)state;
    open_with_spool(&f);
    m = fake_hold("a1", "", 2);
    m->is_dsn = m->held = true;
    snprintf(m->held_by, sizeof(m->held_by), "uid=0(root)");
    snprintf(m->held_why, sizeof(m->held_why), "looks odd \xff\x1b[2J");
    m->envelope.recipients[1].class = RECIPIENT_INTERNAL;
    m->states[1].state = SPOOL_PARKED;
    m->states[1].attempts = 2;
    m->states[1].uncertain = 1;
    reply_set(&m->states[1].reply, 451, "4.7.500", "%s", "busy \x1b]0;x\x07 \xc2\x9b");
    a = expect_ok(&f, &reader, line_of("queue-show", ",\"id\":\"a1\""));
    assert_string_equal(fake.filter, "id=a1");
    assert_string_equal(text_of(a, "sender"), "");
    assert_true(json_is_true(json_object_get(a, "is_dsn")));
    assert_string_equal(text_of(a, "held_by"), "uid=0(root)");
    assert_non_null(strstr(text_of(a, "held_why"), "looks odd ?"));
    assert_int_equal(number_of(a, "recipient_count"), 2);
    assert_true(json_is_null(json_object_get(a, "next")));
    assert_int_equal(json_array_size(json_object_get(a, "also")), 0);
    r = json_array_get(json_object_get(a, "recipients"), 0);
    assert_string_equal(text_of(r, "address"), "r000@example.com");
    assert_string_equal(text_of(r, "class"), "external");
    assert_string_equal(text_of(r, "due"), "2023-11-14T22:13:20.000Z"); /* at once */
    assert_true(json_is_null(json_object_get(r, "last_reply")));
    r = json_array_get(json_object_get(a, "recipients"), 1);
    assert_string_equal(text_of(r, "class"), "internal");
    assert_string_equal(text_of(r, "state"), "parked");
    assert_true(json_is_null(json_object_get(r, "due")));
    assert_int_equal(number_of(r, "attempts"), 2);
    assert_int_equal(number_of(r, "uncertain"), 1);
    assert_ptr_equal(strstr(text_of(r, "last_reply"), "451 4.7.500 busy ?"), text_of(r, "last_reply"));
    json_decref(a);
    fake_hold("a1", "a@contoso.com", 1); /* the internal half of the same mail */
    a = expect_ok(&f, &reader, line_of("queue-show", ",\"id\":\"a1\""));
    assert_int_equal(number_of(json_array_get(json_object_get(a, "also"), 0), "seq"), 12);
    json_decref(a);
    fixture_close(&f);
}

/* Whatever peers wrote, an answer leaves through the control socket in one piece. */
static void
test_show_pages(void **state)
{
    struct fixture f;
    struct spool_message *m;
    char line[128], *answer = malloc(1024 * 1024);
    size_t seen = 0, pages = 0;

    (void)state;
    open_with_spool(&f);
    m = fake_hold("a1", "a@contoso.com", 500);
    for (size_t i = 0; i < 500; i++) {
        m->states[i].reply.code = 450;
        memset(m->states[i].reply.text, '\\', REPLY_TEXT_MAX); /* two bytes of JSON each */
    }
    for (bool more = true; more; pages++) {
        json_t *a, *list;

        snprintf(line, sizeof(line), "{\"command\":\"queue-show\",\"id\":\"a1\",\"after\":\"%zu\"}", seen);
        fixture_ask(&f, line, answer, 1024 * 1024);
        assert_true(strlen(answer) > 0 && strlen(answer) < 4 * STREAM_OUT_HIGH);
        a = json_loads(answer, 0, NULL);
        assert_non_null(a);
        list = json_object_get(a, "recipients");
        assert_true(json_array_size(list) > 0);
        snprintf(line, sizeof(line), "r%03zu@example.com", seen);
        assert_string_equal(text_of(json_array_get(list, 0), "address"), line);
        seen += json_array_size(list);
        assert_int_equal(number_of(a, "recipient_count"), 500);
        more = !json_is_null(json_object_get(a, "next"));
        if (more)
            assert_int_equal(number_of(a, "next"), seen);
        json_decref(a);
    }
    assert_int_equal(seen, 500);
    assert_true(pages > 3);
    free(answer);
    fixture_close(&f);
}

static void
test_list_pages(void **state)
{
    struct fixture f;
    char *answer = malloc(1024 * 1024);
    json_t *a, *list;
    size_t n;

    (void)state;
    open_with_spool(&f);
    fake_hold("a1", "a@contoso.com", 500);
    fake.more = true;
    a = expect_ok(&f, &reader, line_of("queue", ",\"max\":1"));
    assert_true(json_is_true(json_object_get(a, "more")));
    assert_int_equal(number_of(a, "next"), 11);
    json_decref(a);
    fake.more = false;
    for (int i = 0; i < 999; i++) {
        struct spool_message *m = fake_hold("a2", "a@contoso.com", 1);

        m->held = true;
        memset(m->held_why, '\x01', sizeof(m->held_why) - 1); /* six bytes of JSON each */
    }
    fixture_ask(&f, "{\"command\":\"queue\",\"max\":1000}", answer, 1024 * 1024);
    assert_true(strlen(answer) < 4 * STREAM_OUT_HIGH);
    a = json_loads(answer, 0, NULL);
    list = json_object_get(a, "messages");
    n = json_array_size(list);
    assert_true(n > 50 && n < 1000); /* what does not fit is the next page's */
    assert_true(json_is_true(json_object_get(a, "more")));
    assert_int_equal(number_of(a, "next"), number_of(json_array_get(list, n - 1), "seq"));
    json_decref(a);
    free(answer);
    fixture_close(&f);
}

/* ---- why ---- */

static json_t *
why(struct fixture *f, const char *waits_for, const char *words)
{
    json_t *a = expect_ok(f, &reader, line_of("queue-why", ",\"id\":\"a1\""));

    assert_string_equal(text_of(a, "id"), "a1");
    assert_string_equal(text_of(a, "waits_for"), waits_for);
    if (!strstr(text_of(a, "why"), words))
        fail_msg("\"%s\" is not in \"%s\"", words, text_of(a, "why"));
    return a;
}

static void
test_why_a_gate(void **state)
{
    const char *const names[] = {"limit", "pause", "store", "upstream", "node"};
    struct queue_gate gate = {.why = "mailbox-day: 9000/9000", .is_estimate = true};
    struct fixture f;
    char least[CLOCK_RFC3339_MAX], most[CLOCK_RFC3339_MAX];
    json_t *a;

    (void)state;
    open_with_spool(&f);
    fake_hold("a1", "a@contoso.com", 1);
    fake.why = (struct queue_why){.known = true, .gate = &gate, .lane = 9};
    fake.place = 3;
    for (int k = 0; k < QUEUE_GATE_KIND_COUNT; k++) {
        gate.kind = (enum queue_gate_kind)k;
        clock_format_rfc3339(clock_utc_ms() + 89900, least);
        gate.opens_mono_ms = clock_mono_ms() + 90000;
        a = why(&f, names[k], "mailbox-day: 9000/9000");
        clock_format_rfc3339(clock_utc_ms() + 90100, most);
        assert_true(strcmp(text_of(a, "release_at"), least) >= 0);
        assert_true(strcmp(text_of(a, "release_at"), most) <= 0);
        assert_true(number_of(a, "in_seconds") >= 85 && number_of(a, "in_seconds") <= 90);
        assert_true(json_is_true(json_object_get(a, "estimate")));
        assert_int_equal(number_of(a, "position"), 3);
        assert_int_equal(number_of(a, "lane"), 9);
        json_decref(a);
    }
    gate.kind = QUEUE_GATE_PAUSE;
    gate.is_estimate = false;
    gate.opens_mono_ms = INT64_MAX; /* until somebody resumes */
    a = why(&f, "pause", "");
    assert_true(json_is_null(json_object_get(a, "release_at")));
    assert_true(json_is_null(json_object_get(a, "in_seconds")));
    assert_true(json_is_false(json_object_get(a, "estimate")));
    json_decref(a);
    gate.opens_mono_ms = clock_mono_ms() - 5000; /* asked again in this turn */
    a = why(&f, "pause", "");
    assert_int_equal(number_of(a, "in_seconds"), 0);
    json_decref(a);
    fixture_close(&f);
}

static void
test_why_other(void **state)
{
    struct fixture f;
    struct spool_message *m;
    json_t *a;

    (void)state;
    open_with_spool(&f);
    m = fake_hold("a1", "a@contoso.com", 2);
    json_decref(why(&f, "nothing", "its turn comes"));
    fake.why.known = false;
    json_decref(why(&f, "nothing", "being read"));
    fake.why = (struct queue_why){.known = true, .in_flight = true};
    json_decref(why(&f, "in-flight", "on its way"));
    fake.why = (struct queue_why){.known = true, .due_mono_ms = clock_mono_ms() + 60000};
    m->states[0].due_utc_ms = clock_utc_ms() + 90000;
    m->states[1].due_utc_ms = clock_utc_ms() + 60000;
    m->states[1].attempts = 2;
    reply_set(&m->states[1].reply, 452, "4.2.2", "mailbox full");
    a = why(&f, "own-time", "try 2 was answered: 452 4.2.2 mailbox full");
    assert_true(number_of(a, "in_seconds") > 50);
    json_decref(a);
    m->states[1].state = SPOOL_UNCERTAIN;
    json_decref(why(&f, "own-time", "may have arrived"));
    m->states[0].state = m->states[1].state = SPOOL_PARKED;
    fake.why = (struct queue_why){.known = true, .waits_for_operator = true, .due_mono_ms = INT64_MAX};
    a = why(&f, "operator", "parked");
    assert_true(json_is_null(json_object_get(a, "release_at")));
    json_decref(a);
    fake.why = (struct queue_why){.known = false}; /* the order of release need not know such ones */
    json_decref(why(&f, "operator", "parked"));
    m->held = true;
    snprintf(m->held_by, sizeof(m->held_by), "uid=0(root)");
    snprintf(m->held_why, sizeof(m->held_why), "odd");
    json_decref(why(&f, "operator", "held by uid=0(root): odd"));
    fixture_close(&f);
}

/* ---- the whole ---- */

static void
test_status(void **state)
{
    struct fixture f;
    const json_t *spool, *waiting;
    json_t *a;

    (void)state;
    fixture_open(&f, NULL);
    a = expect_ok(&f, &reader, line_of("status", ""));
    assert_true(json_is_null(json_object_get(a, "spool")));
    json_decref(a);
    fake.spool_on = true;
    fake.spool = (struct spool_status){.state = SPOOL_SICK, .why = "\xff disk", .messages = 9, .bytes = 70,
        .held = 1, .parked = 2, .damaged = 3, .free_bytes = 4, .needed_bytes = 5};
    fake.queue = (struct queue_counts){.in_flight = 6, .ready = 18, .waiting_own_time = 8,
        .for_operator = 10};
    fake.queue.at_gate[QUEUE_GATE_STORE] = 11;
    a = expect_ok(&f, &reader, line_of("status", ""));
    spool = json_object_get(a, "spool");
    assert_false(json_is_true(json_object_get(a, "ready")));
    assert_string_equal(text_of(spool, "state"), "sick");
    assert_string_equal(text_of(spool, "why"), "? disk");
    assert_int_equal(number_of(spool, "messages"), 9);
    assert_int_equal(number_of(spool, "bytes"), 70);
    assert_true(json_is_null(json_object_get(spool, "oldest")));
    assert_int_equal(number_of(spool, "held"), 1);
    assert_int_equal(number_of(spool, "parked"), 2);
    assert_int_equal(number_of(spool, "damaged"), 3);
    assert_int_equal(number_of(spool, "free_bytes"), 4);
    assert_int_equal(number_of(spool, "needed_bytes"), 5);
    waiting = json_object_get(spool, "waiting");
    assert_int_equal(json_object_size(waiting), QUEUE_GATE_KIND_COUNT + 4);
    assert_int_equal(number_of(waiting, "limit"), 0);
    assert_int_equal(number_of(waiting, "store"), 11);
    assert_int_equal(number_of(waiting, "own-time"), 8);
    assert_int_equal(number_of(waiting, "operator"), 10);
    assert_int_equal(number_of(waiting, "in-flight"), 6);
    assert_int_equal(number_of(waiting, "nothing"), 7);
    json_decref(a);
    fixture_close(&f);
}

/* ---- orders ---- */

static void
test_orders(void **state)
{
    const enum spool_order orders[] = {SPOOL_HOLD, SPOOL_RELEASE, SPOOL_RETRY, SPOOL_DELETE};
    struct fixture f;
    json_t *a;

    (void)state;
    open_with_spool(&f);
    fake.changed = 5;
    fake.busy = 2;
    for (EACH(i, changing)) {
        a = expect_ok(&f, &root,
            line_of(changing[i], ",\"client\":\"gone\",\"state\":\"held\",\"reason\":\"clean up\""));
        assert_int_equal(number_of(a, "changed"), 5);
        assert_int_equal(number_of(a, "busy"), 2);
        json_decref(a);
        assert_int_equal(fake.order, orders[i]);
        assert_string_equal(fake.filter, "client=gone state=held"); /* configured or not */
        assert_string_equal(fake.order_actor, "uid=0(root)");
        assert_string_equal(fake.order_why, "clean up");
    }
    assert_int_equal(fake.max, 0); /* all of them */
    json_decref(expect_ok(&f, &root, line_of("queue-retry", ",\"all\":\"yes\",\"max\":\"10\"")));
    assert_int_equal(fake.max, 10);
    assert_string_equal(fake.filter, "");
    assert_string_equal(fake.order_why, "");
    fixture_close(&f);
}

static void
test_order_about_what(void **state)
{
    struct fixture f;

    (void)state;
    open_with_spool(&f);
    for (EACH(i, changing)) {
        expect_error(&f, &root, line_of(changing[i], ",\"reason\":\"x\""), "usage", "or all=yes");
        expect_error(&f, &root, line_of(changing[i], ",\"reason\":\"x\",\"all\":\"no\""), "usage", "all");
        expect_error(&f, &root, line_of(changing[i], ",\"reason\":\"x\",\"max\":\"9\""), "usage", "all");
        expect_error(&f, &root, line_of(changing[i], ONE ",\"all\":\"yes\""), "usage", "not both");
    }
    assert_int_equal(fake.orders, 0);
    for (EACH(i, changing)) {
        expect_error(&f, &root, line_of(changing[i], ONE), "refused", "there is no message \"a1\"");
        fake.busy = 1;
        expect_error(&f, &root, line_of(changing[i], ONE), "refused", "\"a1\" is on its way");
        fake.busy = 0;
    }
    /* none is an answer */
    json_decref(expect_ok(&f, &root, line_of("queue-retry", ",\"state\":\"parked\"")));
    fixture_close(&f);
}

static void
test_results(void **state)
{
    static const struct {
        enum spool_result result;
        const char *words;
    } rows[] = {{SPOOL_NO_SPACE, "no space is left"}, {SPOOL_FAILED, "(sick: disk I/O error)"},
        {SPOOL_GONE, "there is no message \"a1\""}, {SPOOL_BUSY, "try again"}, {SPOOL_DAMAGED, "put aside"}};
    struct fixture f;

    (void)state;
    open_with_spool(&f);
    fake.spool.state = SPOOL_SICK;
    snprintf(fake.spool.why, sizeof(fake.spool.why), "disk I/O error");
    for (EACH(i, rows)) {
        fake.result = rows[i].result;
        for (EACH(k, looking))
            expect_error(&f, &reader, line_of(looking[k], ",\"id\":\"a1\""), "refused", rows[i].words);
        for (EACH(k, changing))
            expect_error(&f, &root, line_of(changing[k], ONE), "refused", rows[i].words);
    }
    fake.result = SPOOL_DONE; /* and nothing found */
    expect_error(&f, &reader, line_of("queue-show", ",\"id\":\"a1\""), "refused", "no message \"a1\"");
    expect_error(&f, &reader, line_of("queue-why", ",\"id\":\"a1\""), "refused", "no message \"a1\"");
    fixture_close(&f);
}

/* ---- the one who asked is gone ---- */

static void
test_look_is_forgotten(void **state)
{
    struct fixture f;
    json_t *answer = NULL;
    struct call *call;

    (void)state;
    open_with_spool(&f);
    fake_hold("a1", "a@contoso.com", 1);
    call = command_start(f.admin, &root, span_str(line_of("queue", "")), keep, &answer);
    call_forget(&call);
    assert_int_equal(fake.held_forgotten, 1);
    assert_int_equal(fake.forgotten, 0); /* the store was not asked */
    loop_turn(f.loop, 0);
    assert_null(answer);
    command_start(f.admin, &root, span_str(line_of("queue-why", ",\"id\":\"a1\"")), keep, &answer);
    admin_free(&f.admin);
    assert_int_equal(fake.held_forgotten, 2);
    loop_turn(f.loop, 0);
    assert_null(answer);
    fixture_close(&f);
}

static void
test_answered_look_is_not_forgotten(void **state)
{
    struct fixture f;
    json_t *answer = NULL;
    struct call *call;

    (void)state;
    open_with_spool(&f);
    fake.spool_on = false; /* answered at once, told in the next turn */
    call = command_start(f.admin, &root, span_str(line_of("queue", "")), keep, &answer);
    call_forget(&call);
    loop_turn(f.loop, 0);
    assert_int_equal(fake.held_forgotten, 0);
    assert_null(answer);
    fixture_close(&f);
}

static void
test_order_runs_on(void **state)
{
    struct fixture f;
    json_t *answer = NULL;
    struct call *call;

    (void)state;
    open_with_spool(&f);
    call = command_start(f.admin, &root, span_str(line_of("queue-delete", ONE)), keep, &answer);
    call_forget(&call);
    loop_turn(f.loop, 0);
    fake.result = SPOOL_FAILED;
    command_start(f.admin, &root, span_str(line_of("queue-hold", ONE)), keep, &answer);
    admin_free(&f.admin);
    loop_turn(f.loop, 0); /* flow answers into the void; nothing leaks, nothing is touched */
    assert_int_equal(fake.orders, 2);
    assert_int_equal(fake.held_forgotten, 0);
    assert_null(answer);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_spool),
        cmocka_unit_test(test_privileges),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_reason_fits_the_message),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_row),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_show_pages),
        cmocka_unit_test(test_list_pages),
        cmocka_unit_test(test_why_a_gate),
        cmocka_unit_test(test_why_other),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_order_about_what),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_look_is_forgotten),
        cmocka_unit_test(test_answered_look_is_not_forgotten),
        cmocka_unit_test(test_order_runs_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
