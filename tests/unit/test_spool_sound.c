/* Unit tests of rows whose checksums are right and which no accepted message can be like: each is put aside
 * and said, shows nowhere, and keeps nobody else from leaving. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"
#include "relay/spool/spool_rows.h"
#include "relay/spool/spool_sound.h"
#include "tests/lib/spool_rig.h"

/* ---- what a message may say ---- */

struct variant {
    const char *name;
    void (*change)(struct spool_message *m);
};

static void
set(char **text, const char *to)
{
    free(*text);
    *text = to != NULL ? xstrdup(to) : NULL;
}

static void
set_recipient(struct spool_message *m, size_t i, const char *to)
{
    set(&m->envelope.recipients[i].address.text, to);
    m->envelope.recipients[i].address.domain_at = (uint16_t)(strrchr(to, '@') != NULL ?
        strrchr(to, '@') - to + 1 : 0);
}

#define TEXT(name, field, to) \
    static void name(struct spool_message *m) { set(&m->field, to); }
#define NAME(name, field, to) \
    static void name(struct spool_message *m) { snprintf(m->field, sizeof(m->field), "%s", to); }
#define NUMBER(name, field, to) \
    static void name(struct spool_message *m) { m->field = to; }
#define RECIPIENT(name, to) \
    static void name(struct spool_message *m) { set_recipient(m, 1, to); }
#define ALL(X) \
    X(TEXT, client_null, client, NULL) X(TEXT, route_null, route, NULL) X(TEXT, class_null, class, NULL) \
    X(TEXT, client_empty, client, "") X(TEXT, route_line, route, "m365\r\nx") \
    X(TEXT, mailbox_empty, mailbox, "") X(TEXT, class_blank, class, "a b") \
    X(TEXT, sender_line, envelope.sender.text, "a@b.de>\r\nRCPT TO:<x@y.de") \
    X(TEXT, sender_bare, envelope.sender.text, "root") \
    X(TEXT, sender_upper, envelope.sender.text, "From1@CONTOSO.com") \
    X(TEXT, envid_line, envelope.envid, "a\r\nRSET") X(TEXT, envid_hidden, envelope.envid, "a+0D+0ARSET") \
    X(TEXT, envid_empty, envelope.envid, "") \
    X(TEXT, orcpt_line, envelope.recipients[0].orcpt, "rfc822;a\r\nRSET") \
    X(TEXT, orcpt_hidden, envelope.recipients[0].orcpt, "rfc822;a+0Ab") \
    X(TEXT, orcpt_bare, envelope.recipients[0].orcpt, "a@b.de") \
    X(TEXT, trace_cut, trace, "Received: from x") X(TEXT, trace_lf, trace, "Received: from x\n") \
    X(TEXT, trace_end, trace, "Received: x\r\n.\r\nMAIL FROM:<a@b.de>\r\n") \
    X(TEXT, trace_empty_line, trace, "Received: x\r\n\r\n") X(TEXT, trace_cr, trace, "Received: \rx\r\n") \
    X(TEXT, trace_8bit, trace, "Received: \xc3\xa4\r\n") X(TEXT, trace_folded, trace, " folded\r\n") \
    X(TEXT, trace_no_name, trace, "Received x\r\n") X(TEXT, trace_lone_lf, trace, "\r\n") \
    X(NAME, id_empty, id, "") X(NAME, id_line, id, "x\r\ny") X(NAME, id_blank, id, "x y") \
    X(NAME, peer_line, peer, "1\n2") X(NAME, tls_line, tls, "TLSv1.3\r") \
    X(NAME, session_8bit, session, "\xff") X(NAME, reply_line, states[0].reply.text, "no\r\nX-Header: 1") \
    X(NUMBER, received_least, received_utc_ms, INT64_MIN) \
    X(NUMBER, received_most, received_utc_ms, INT64_MAX) \
    X(NUMBER, due_least, states[1].due_utc_ms, INT64_MIN) X(NUMBER, due_minus, states[1].due_utc_ms, -1) \
    X(NUMBER, due_most, states[0].due_utc_ms, INT64_MAX) \
    X(NUMBER, due_bound, states[0].due_utc_ms, SPOOL_NUMBER_MAX) \
    X(NUMBER, spent_least, states[0].spent_ms, INT64_MIN) \
    X(NUMBER, spent_most, states[0].spent_ms, INT64_MAX) \
    X(NUMBER, attempts_most, states[0].attempts, UINT32_MAX) \
    X(NUMBER, uncertain_most, states[1].uncertain, UINT32_MAX) \
    X(NUMBER, content_most, content_bytes, UINT64_MAX) \
    X(NUMBER, declared_most, envelope.declared_bytes, INT64_MAX) \
    X(NUMBER, reply_code_low, states[0].reply.code, 99) \
    X(NUMBER, reply_code_minus, states[0].reply.code, -1) \
    X(NUMBER, reply_code_high, states[0].reply.code, 600) \
    X(NUMBER, enhanced_class, states[0].reply.enhanced.class, 3) \
    X(NUMBER, enhanced_subject, states[0].reply.enhanced.subject, 1000) \
    X(NUMBER, notify_more, envelope.recipients[0].notify, 16) \
    X(NUMBER, notify_never, envelope.recipients[0].notify, NOTIFY_NEVER | NOTIFY_DELAY) \
    X(NUMBER, classes_differ, envelope.recipients[1].class, RECIPIENT_INTERNAL) \
    X(NUMBER, no_recipient, envelope.n_recipients, 0)
#define RECIPIENTS(X) \
    X(recipient_empty, "") X(recipient_line, "a@b.de>\r\nDATA") X(recipient_upper, "a@B.de") \
    X(recipient_quoted, "\"a\"@b.de") X(recipient_literal, "a@[192.0.2.1]")

#define DEFINE(kind, name, field, to) kind(name, field, to)
#define ROW(kind, name, field, to) {#name, name},
#define DEFINE_RECIPIENT(name, to) RECIPIENT(name, to)
#define ROW_RECIPIENT(name, to) {#name, name},
ALL(DEFINE)
RECIPIENTS(DEFINE_RECIPIENT)
static const struct variant variants[] = {ALL(ROW) RECIPIENTS(ROW_RECIPIENT)};
#define VARIANTS (sizeof(variants) / sizeof(variants[0]))

/* The envelope forgets its recipients in one of them; their memory is still its own. */
static void
free_changed(struct spool_message *m, size_t recipients)
{
    m->envelope.n_recipients = recipients;
    rig_message_free(&m);
}

static void
test_sound(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 1, 2, 10);

    assert_true(spool_message_is_sound(m));
    m->states[0].due_utc_ms = SPOOL_NUMBER_MAX - 1;
    set(&m->trace, "");
    set(&m->envelope.sender.text, "");
    m->envelope.sender.domain_at = 0;
    assert_true(spool_message_is_sound(m));
    rig_message_free(&m);
    for (size_t i = 0; i < VARIANTS; i++) {
        m = rig_message(r, 1, 2, 10);
        variants[i].change(m);
        if (spool_message_is_sound(m))
            fail_msg("%s is taken for sound", variants[i].name);
        free_changed(m, 2);
    }
}

static void
test_too_many_recipients(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 0, SPOOL_RECIPIENTS_MAX + 1, 0);

    assert_false(spool_message_is_sound(m));
    m->envelope.n_recipients--;
    assert_true(spool_message_is_sound(m));
    m->envelope.n_recipients++;
    rig_message_free(&m);
}

/* What could not be read again is not accepted. */
static void
test_not_accepted(void **state)
{
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 1, 2, 10);

    rig_open(r);
    client_empty(m);
    assert_int_equal(rig_add(r, m), SPOOL_FAILED);
    assert_int_equal(rig_status(r).messages, 0);
    rig_message_free(&m);
}

/* ---- rows ---- */

static struct spool_db *
open_file(struct spool_rig *r)
{
    struct spool_db *db = xcalloc(1, sizeof(*db));
    char path[128];

    snprintf(path, sizeof(path), "%s/spool.db", r->folder);
    assert_int_equal(spool_db_open(db, path), SPOOL_DB_OK);
    assert_int_equal(spool_db_begin(db), SPOOL_DB_OK);
    return db;
}

static void
close_file(struct spool_db *db)
{
    assert_int_equal(spool_db_commit(db), SPOOL_DB_OK);
    spool_db_close(db);
    free(db);
}

/* Rows and body as the spool would write them. */
static void
put(struct spool_db *db, const struct spool_message *m, const char *body, int64_t body_bytes)
{
    size_t n = strlen(body);

    assert_int_equal(spool_rows_put(db, m, NULL, body_bytes), SPOOL_DB_OK);
    if (n > 0)
        assert_int_equal(spool_chunk_put(db, m->seq, 0, span_of(body, n)), SPOOL_DB_OK);
}

static void
make_file(struct spool_rig *r)
{
    rig_open(r);
    rig_close(r);
}

#define BODY "Subject: x\r\n\r\n..y\r\n"

/* Sound ones before, between and behind all the others. */
static void
test_put_aside(void **state)
{
    struct spool_rig *r = *state;
    struct spool_db *db;

    make_file(r);
    db = open_file(r);
    for (size_t i = 0; i < 2 * VARIANTS; i++) {
        struct spool_message *m = rig_message(r, 1, 2, 10);

        m->seq = i + 1;
        if (i % 2 == 1)
            variants[i / 2].change(m);
        put(db, m, BODY, sizeof(BODY) - 1);
        free_changed(m, 2);
    }
    close_file(db);
    rig_open(r);
    assert_int_equal(r->n_found, VARIANTS);
    for (size_t i = 0; i < VARIANTS; i++)
        assert_int_equal(r->found[i].seq, 2 * i + 1);
    assert_int_equal(rig_status(r).damaged, VARIANTS);
    assert_int_equal(rig_status(r).messages, VARIANTS);
    assert_int_equal(rig_list(r, &(struct spool_filter){.max = 0}), SPOOL_DONE);
    assert_int_equal(r->n_seqs, VARIANTS);
    for (size_t i = 0; i < 2 * VARIANTS; i++)
        assert_int_equal(rig_take(r, i + 1, 1, true), i % 2 == 0 ? SPOOL_DONE : SPOOL_GONE);
    rig_close(r);
    rig_open(r);
    assert_int_equal(rig_status(r).damaged, 0);
}

/* A body there is, and nothing in it ends DATA. */
static void
test_bodies(void **state)
{
    static const struct {
        const char *body;
        int64_t bytes; /* -1: as many */
        bool sound;
    } bodies[] = {
        {"x\r\n", -1, true}, {"", 0, true}, {"..\r\n", -1, true}, {"x", -1, false}, {"x\n", -1, false},
        {"x\r", -1, false}, {"x\r\n.\r\nMAIL FROM:<a@b.de>\r\n", -1, false}, {".\r\n", -1, false},
        {"x\n.\nRSET\r\n", -1, false}, {"x\r\n", INT64_C(4), false}, {"x\r\n", INT64_C(2), false},
        {"", INT64_C(1) << 62, false}, {"", INT64_C(-1), false}, {"", INT64_MIN, false},
    };
    size_t n = sizeof(bodies) / sizeof(bodies[0]), sound = 0;
    struct spool_rig *r = *state;
    struct spool_db *db;

    make_file(r);
    db = open_file(r);
    for (size_t i = 0; i < n; i++) {
        struct spool_message *m = rig_message(r, 1, 1, 10);

        m->seq = i + 1;
        put(db, m, bodies[i].body, bodies[i].bytes == -1 && bodies[i].body[0] != '\0' ?
            (int64_t)strlen(bodies[i].body) : bodies[i].bytes);
        rig_message_free(&m);
    }
    close_file(db);
    rig_open(r);
    for (size_t i = 0; i < n; i++) {
        enum spool_result result = rig_take(r, i + 1, 1, true);

        sound += bodies[i].sound;
        if ((result == SPOOL_DONE) != bodies[i].sound)
            fail_msg("body %zu: %s", i, spool_result_to_str(result));
        assert_true(result != SPOOL_DONE || r->taken->body != NULL);
    }
    assert_int_equal(rig_status(r).messages, sound);
    assert_int_equal(rig_status(r).damaged, n - sound);
}

/* ---- what no message can hold in memory ---- */

/* A row whose fields are what SQL says, with the checksum they have. */
static void
change_row(struct spool_db *db, const char *sql, enum spool_stmt get, int at, int fields, uint64_t n)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, get), *put;
    char table[96];
    struct spool_row row;
    int64_t sum;

    assert_int_equal(spool_db_exec(db, sql), SPOOL_DB_OK);
    sqlite3_bind_int64(stmt, 1, 1);
    assert_int_equal(spool_db_step(db, stmt), SPOOL_DB_OK);
    spool_row_begin(&row, stmt, at, 1, n);
    for (int i = 0; i < fields; i++) {
        if (sqlite3_column_type(stmt, row.at) == SQLITE_INTEGER)
            (void)spool_row_get_number(&row);
        else
            (void)spool_row_get_bytes(&row);
    }
    sum = (int64_t)row.sum;
    sqlite3_reset(stmt);
    snprintf(table, sizeof(table), "UPDATE %s SET sum = ?1 WHERE seq = 1",
        get == STMT_MESSAGE_GET ? "message" : "recipient");
    assert_int_equal(sqlite3_prepare_v2(db->handle, table, -1, &put, NULL), SQLITE_OK);
    sqlite3_bind_int64(put, 1, sum);
    assert_int_equal(sqlite3_step(put), SQLITE_DONE);
    sqlite3_finalize(put);
}

static const char *const message_changes[] = {"held = 2", "held = -1", "is_dsn = 7", "body_kind = 2",
    "ret = 3", "ret = -1", "recipients = 0", "recipients = 2", "recipients = -1", "parked = 4294967296",
    "client = CAST(x'61007a' AS TEXT)", "tls = 'x' || hex(zeroblob(60))",
    "trace = 'A: ' || hex(zeroblob(90000)) || x'0d0a'"};
static const char *const recipient_changes[] = {"state = 4", "state = -1", "state = 4294967296", "class = 2",
    "class = -1", "notify = 4294967296", "attempts = 4294967296", "attempts = -1", "uncertain = 4294967297",
    "warned = 2", "reply_code = 4294967747", "reply_enhanced = -1", "reply_enhanced = 4611686018427387904",
    "address = CAST(x'6140622e636f000d0a' AS TEXT)", "reply_text = hex(zeroblob(600))"};

/* SQL of one change and what is expected. */
static void
try_change(struct spool_rig *r, const char *change, bool of_message, bool sound)
{
    struct spool_message *m = rig_message(r, 1, 1, 10), *got;
    struct spool_db *db = open_file(r);
    enum spool_db_status status;
    char sql[256];
    int64_t body_bytes;

    m->seq = 1;
    assert_int_equal(spool_rows_put(db, m, NULL, 0), SPOOL_DB_OK);
    snprintf(sql, sizeof(sql), "UPDATE %s SET %s WHERE seq = 1", of_message ? "message" : "recipient",
        change);
    change_row(db, sql, of_message ? STMT_MESSAGE_GET : STMT_RECIPIENT_GET, of_message ? 0 : 1,
        of_message ? 23 : 13, 0);
    status = spool_rows_get(db, 1, &got, &body_bytes);
    if (status != (sound ? SPOOL_DB_OK : SPOOL_DB_DAMAGED))
        fail_msg("%s: %d", change, (int)status);
    spool_message_free(&got, false);
    rig_message_free(&m);
    close_file(db);
}

static void
test_narrow_fields(void **state)
{
    struct spool_rig *r = *state;

    make_file(r);
    try_change(r, "held = 1", true, true); /* so that it is the value that is judged */
    try_change(r, "state = 3", false, true);
    for (size_t i = 0; i < sizeof(message_changes) / sizeof(message_changes[0]); i++)
        try_change(r, message_changes[i], true, false);
    for (size_t i = 0; i < sizeof(recipient_changes) / sizeof(recipient_changes[0]); i++)
        try_change(r, recipient_changes[i], false, false);
}

/* Keys that were never given away neither stop the spool nor hide in it. */
static void
test_stray_seqs(void **state)
{
    static const uint64_t strays[] = {0, (uint64_t)-1, SPOOL_SEQ_MAX + 1, INT64_MAX};
    struct spool_rig *r = *state;
    struct spool_message *m = rig_message(r, 1, 1, 10);
    struct spool_db *db;

    make_file(r);
    db = open_file(r);
    for (size_t i = 0; i < sizeof(strays) / sizeof(strays[0]); i++) {
        m->seq = strays[i];
        assert_int_equal(spool_rows_put(db, m, NULL, 0), SPOOL_DB_OK);
    }
    m->seq = 7;
    put(db, m, BODY, sizeof(BODY) - 1);
    assert_int_equal(spool_rows_reserve(db, INT64_MAX), SPOOL_DB_OK);
    close_file(db);
    rig_open(r);
    assert_int_equal(rig_status(r).state, SPOOL_READY);
    assert_int_equal(rig_status(r).damaged, 4);
    assert_int_equal(rig_status(r).messages, 1);
    assert_int_equal(rig_take(r, 7, 1, true), SPOOL_DONE);
    assert_int_equal(rig_add_new(r, 2, 1, 10), 8);
    rig_close(r);
    rig_open(r);
    assert_int_equal(r->n_found, 2);
    assert_int_equal(rig_status(r).damaged, 0);
    rig_message_free(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sound, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_recipients, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_not_accepted, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_put_aside, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_bodies, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_narrow_fields, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(test_stray_seqs, rig_set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
