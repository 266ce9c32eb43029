/* Unit tests of dsn: what is written is judged by the standard library of Python (dsn_parse.py), and line by
 * line here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/base/xmalloc.h"
#include "relay/spool/dsn.h"
#include "relay/spool/dsn_text.h"

#define ARRIVED_MS INT64_C(1780000000000)
#define NOW_MS (ARRIVED_MS + 3600000)
#define UNTIL_MS (ARRIVED_MS + INT64_C(5) * 86400000)
#define HEADER "From: app@contoso.com\r\nSubject: hello\r\n"
#define ID "0dsn1a2b3c"

static char folder[] = "/tmp/sendgov-dsn.XXXXXX";

struct world {
    struct blob_pool *pool;
    struct envelope about;
    struct dsn_recipient recipients[500];
    struct reply replies[5];
    struct dsn dsn;
    struct blob *out;
    uint64_t content_bytes;
    enum smtp_body body_type;
};

static void
set_address(const char *text, struct address *out)
{
    assert_int_equal(address_parse_plain(span_str(text), out), ADDRESS_OK);
}

/* All recipients are named before one is looked at: the envelope moves them as it grows. */
static void
name_recipients(struct world *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct address a;
        char text[40];

        snprintf(text, sizeof text, "u%zu@x.example", i);
        set_address(text, &a);
        envelope_add(&w->about, &a, RECIPIENT_EXTERNAL);
    }
    for (size_t i = 0; i < n; i++)
        w->recipients[i] = (struct dsn_recipient){
            .recipient = &w->about.recipients[i], .words = "The mail system there refused it."};
    w->dsn.n_recipients = n;
}

static void
world_init(struct world *w, size_t n_recipients, struct span body)
{
    memset(w, 0, sizeof *w);
    w->pool = blob_pool_new(folder, 4096, 1 << 20);
    envelope_init(&w->about);
    set_address("app@contoso.com", &w->about.sender);
    w->dsn = (struct dsn){
        .id = ID,
        .hostname = "relay.example",
        .about_id = "0about",
        .about = &w->about,
        .body = blob_new(w->pool),
        .trace = "Received: from app ([192.0.2.1])\r\n\tby relay.example (sendgov) with ESMTP\r\n"
                 "\tid 0about; Thu, 28 May 2026 20:26:40 +0000\r\n",
        .arrived_utc_ms = ARRIVED_MS,
        .now_utc_ms = NOW_MS,
        .will_retry_until_utc_ms = UNTIL_MS,
        .recipients = w->recipients,
    };
    assert_int_equal(blob_append(w->dsn.body, body), BLOB_OK);
    w->out = blob_new(w->pool);
    name_recipients(w, n_recipients);
}

static void
world_fini(struct world *w)
{
    blob_free(&w->dsn.body);
    blob_free(&w->out);
    envelope_fini(&w->about);
    blob_pool_free(&w->pool);
}

static void
set_reply(struct world *w, size_t i, int code, const char *enhanced, const char *text)
{
    reply_set(&w->replies[i], code, enhanced, "%s", text);
    w->recipients[i].reply = &w->replies[i];
}

static char *
read_out(struct world *w, size_t *n_out)
{
    char *text = malloc(blob_size(w->out) + 1), scratch[5000];
    struct span s;

    assert_non_null(text);
    for (*n_out = 0;; *n_out += s.n) {
        assert_int_equal(blob_read(w->out, *n_out, scratch, sizeof scratch, &s), BLOB_OK);
        if (s.n == 0)
            break;
        memcpy(text + *n_out, s.p, s.n);
    }
    text[*n_out] = '\0';
    return text;
}

/* Every line ends in CRLF, no lone dot, 8-bit bytes only where it was said, and the count is that of the
 * un-stuffed content. */
static void
check_lines(struct world *w, const char *text, size_t n)
{
    struct span rest = span_of(text, n), line;
    uint64_t content = 0;

    assert_true(n > 0 && text[n - 1] == '\n');
    while (rest.n > 0) {
        rest = span_cut(rest, '\n', &line);
        assert_true(line.n > 0 && memchr(line.p, '\r', line.n) == line.p + line.n - 1);
        assert_false(span_eq(line, SPAN_LIT(".\r")));
        assert_true(line.p[0] != '.' || line.p[1] == '.');
        content += line.n + 1 - (line.p[0] == '.');
        for (size_t i = 0; i < line.n; i++)
            assert_true((unsigned char)line.p[i] < 0x80 || w->body_type == SMTP_BODY_8BITMIME);
    }
    assert_int_equal(content, w->content_bytes);
}

static void
write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Writes the notification and has it judged as a case of dsn_parse.py. */
static void
judge(struct world *w, const char *name)
{
    char path[100], command[1000];
    char *text;
    size_t n;
    int status;

    assert_int_equal(dsn_write(&w->dsn, w->out, &w->content_bytes, &w->body_type), BLOB_OK);
    text = read_out(w, &n);
    check_lines(w, text, n);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_file(path, text, n);
    free(text);
    snprintf(command, sizeof command, "/usr/bin/python3 '%s/tests/unit/dsn_parse.py' %s '%s'", TOP_SRCDIR,
        name, path);
    status = system(command);
    if (status != 0)
        fail_msg("%s: not what it should be (status %d)", name, status);
    assert_int_equal(unlink(path), 0);
}

/* ---- who wants to know ---- */

static void
test_wanted(void **state)
{
    static const struct {
        unsigned notify;
        bool failed, delayed, relayed;
    } cases[] = {
        {0, true, true, false},
        {NOTIFY_NEVER, false, false, false},
        {NOTIFY_SUCCESS, false, false, true},
        {NOTIFY_FAILURE, true, false, false},
        {NOTIFY_DELAY, false, true, false},
        {NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, true, true, true},
    };
    struct envelope about;
    struct recipient r = {.notify = 0};

    (void)state;
    envelope_init(&about);
    for (int null = 0; null < 2; null++) {
        if (null)
            address_init(&about.sender);
        else
            set_address("a@b.example", &about.sender);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            r.notify = cases[i].notify;
            assert_int_equal(dsn_is_wanted(&about, &r, DSN_FAILED), !null && cases[i].failed);
            assert_int_equal(dsn_is_wanted(&about, &r, DSN_DELAYED), !null && cases[i].delayed);
            assert_int_equal(dsn_is_wanted(&about, &r, DSN_RELAYED), !null && cases[i].relayed);
        }
        address_fini(&about.sender);
    }
    envelope_fini(&about);
}

/* ---- what is said ---- */

static void
test_failed(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, SPAN_LIT(HEADER "\r\nsecret\r\n"));
    w.about.envid = xstrdup("QQ+2B1+20x+3Dy");
    address_fini(&w.about.recipients[0].address);
    set_address("a+b@fabrikam.example", &w.about.recipients[0].address);
    w.about.recipients[0].orcpt = xstrdup("rfc822;A+2BB@fabrikam.example");
    w.dsn.upstream = "mx.example";
    w.recipients[0].last_attempt_utc_ms = NOW_MS - 5000;
    set_reply(&w, 0, 550, "5.1.10", "Recipient not found / see the list");
    judge(&w, "failed");
    assert_int_equal(w.body_type, SMTP_BODY_7BIT);
    world_fini(&w);
}

static void
test_delayed(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, SPAN_LIT(HEADER "\r\nbody\r\n"));
    w.about.ret = RET_FULL;
    w.recipients[0].action = DSN_DELAYED;
    judge(&w, "delayed");
    world_fini(&w);
}

static void
test_relayed(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, SPAN_LIT(HEADER "\r\nbody\r\n"));
    w.recipients[0].action = DSN_RELAYED;
    set_reply(&w, 0, 250, "2.1.5", "Recipient OK");
    judge(&w, "relayed");
    world_fini(&w);
}

/* The status: the upstream's where it fits; ours where one is given; else the general one. */
static void
test_mixed(void **state)
{
    static const enum dsn_action actions[] = {DSN_DELAYED, DSN_FAILED, DSN_RELAYED, DSN_FAILED, DSN_FAILED};
    struct world w;

    (void)state;
    world_init(&w, 5, SPAN_LIT(HEADER "\r\nbody\r\n"));
    for (size_t i = 0; i < 5; i++)
        w.recipients[i].action = actions[i];
    set_reply(&w, 0, 451, "4.7.1", "later");
    set_reply(&w, 1, 451, "4.7.1", "later");
    w.recipients[1].status = (struct enhanced){5, 4, 7};
    set_reply(&w, 2, 250, NULL, "ok");
    set_reply(&w, 3, 250, "2.0.0", "accepted, and then lost");
    set_reply(&w, 4, 450, "4.2.1", "mailbox is busy");
    judge(&w, "mixed");
    world_fini(&w);
}

/* ---- what is returned ---- */

/* Lines that look like a boundary, and dots: the copy is exact. */
static void
test_full(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, SPAN_LIT(HEADER "\r\n...\r\n..x\r\n--" ID ".0\r\nend\r\n"));
    w.about.ret = RET_FULL;
    judge(&w, "full");
    world_fini(&w);
}

static void
test_eightbit(void **state)
{
    static const char full[] = HEADER "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9f" "e\r\n";
    static const char header[] = "Subject: Gr\xc3\xbc\xc3\x9f" "e\r\n\r\nbody\r\n";
    struct world w;

    (void)state;
    world_init(&w, 1, span_str(full));
    w.about.ret = RET_FULL;
    judge(&w, "full_8bit");
    assert_int_equal(w.body_type, SMTP_BODY_8BITMIME);
    world_fini(&w);
    world_init(&w, 1, span_str(header));
    w.about.ret = RET_HDRS;
    judge(&w, "hdrs_8bit");
    assert_int_equal(w.body_type, SMTP_BODY_8BITMIME);
    world_fini(&w);
    world_init(&w, 1, span_str(full));
    judge(&w, "body_8bit");
    assert_int_equal(w.body_type, SMTP_BODY_7BIT);
    world_fini(&w);
}

/* Whole up to DSN_RETURN_MAX, of a longer one the header. */
static void
test_full_bound(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        char *body = malloc(DSN_RETURN_MAX + 1);
        struct world w;
        char *text;
        size_t n;

        assert_non_null(body);
        for (size_t i = 0; i < DSN_RETURN_MAX + 1; i++)
            body[i] = i % 70 == 68 ? '\r' : i % 70 == 69 ? '\n' : 'b';
        memcpy(body, "S: h\r\n\r\n", 8);
        memcpy(body + DSN_RETURN_MAX + over - 4, "xy\r\n", 4);
        world_init(&w, 1, span_of(body, DSN_RETURN_MAX + over));
        w.about.ret = RET_FULL;
        assert_int_equal(dsn_write(&w.dsn, w.out, &w.content_bytes, &w.body_type), BLOB_OK);
        text = read_out(&w, &n);
        check_lines(&w, text, n);
        assert_int_equal(strstr(text, "message/rfc822") != NULL, !over);
        assert_int_equal(strstr(text, "xy\r\n\r\n--" ID) != NULL, !over);
        assert_int_equal(strstr(text, "S: h\r\n\r\n--" ID) != NULL, over);
        free(text);
        free(body);
        world_fini(&w);
    }
}

/* 1 MiB without an empty line; and one whose second line does not end within what is read. */
static void
test_header_without_end(void **state)
{
    size_t size = 1 << 20;
    char *body = malloc(size);
    struct world w;

    (void)state;
    assert_non_null(body);
    for (size_t i = 0; i < size; i++)
        body[i] = i % 68 == 66 ? '\r' : i % 68 == 67 ? '\n' : i % 68 == 1 ? ':' : 'h';
    world_init(&w, 1, span_of(body, size));
    judge(&w, "huge_header");
    world_fini(&w);
    memset(body, 'x', size);
    memcpy(body, HEADER, strlen(HEADER));
    memcpy(body + size - 2, "\r\n", 2);
    world_init(&w, 1, span_of(body, size));
    judge(&w, "huge_line");
    world_fini(&w);
    free(body);
}

static void
test_no_body(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1, SPAN_LIT(""));
    judge(&w, "no_body");
    blob_free(&w.dsn.body);
    blob_free(&w.out);
    w.out = blob_new(w.pool);
    w.about.ret = RET_FULL;
    judge(&w, "no_body");
    world_fini(&w);
}

/* ---- what is hostile or large ---- */

static void
test_long_reply(void **state)
{
    char text[REPLY_TEXT_MAX + 1];
    struct world w;

    (void)state;
    world_init(&w, 2, SPAN_LIT(HEADER "\r\nbody\r\n"));
    for (size_t i = 0; i < REPLY_TEXT_MAX; i++)
        text[i] = "word "[i % 5];
    text[REPLY_TEXT_MAX] = '\0';
    set_reply(&w, 0, 550, "5.0.0", text);
    memset(text, 'w', REPLY_TEXT_MAX);
    set_reply(&w, 1, 550, "5.0.0", text);
    judge(&w, "long_reply");
    world_fini(&w);
}

static void
test_many(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 500, SPAN_LIT(HEADER "\r\nbody\r\n"));
    judge(&w, "many");
    world_fini(&w);
}

/* Bytes that no parser let in, in everything that is text: no line is begun by them. */
static void
test_bytes_out_of_place(void **state)
{
    char *text, *at;
    struct world w;
    size_t n;

    (void)state;
    world_init(&w, 1, SPAN_LIT(HEADER "\r\nbody\r\n"));
    w.about.envid = xstrdup("a+0D+0AX-Bad:+20b");
    w.about.recipients[0].orcpt = xstrdup("rfc822;\r\nX-Bad: c+0D+0AX-Bad:d");
    w.recipients[0].words = "first\r\nX-Bad: \xff\r\n.\r\n";
    w.dsn.upstream = "mx\nX-Bad: e";
    set_reply(&w, 0, 550, "5.0.0", "no");
    memcpy(w.replies[0].text, "\r\n.\r\nX-Bad: f", 14);
    assert_int_equal(dsn_write(&w.dsn, w.out, &w.content_bytes, &w.body_type), BLOB_OK);
    text = read_out(&w, &n);
    check_lines(&w, text, n);
    assert_int_equal(w.body_type, SMTP_BODY_7BIT);
    for (at = strstr(text, "X-Bad"); at != NULL; at = strstr(at + 1, "X-Bad"))
        assert_false(at[-1] == '\n');
    free(text);
    world_fini(&w);
}

/* Folding gives the words back, in lines of at most 78 where there are blanks. */
static void
test_folding(void **state)
{
    char long_text[400], *text;
    struct span rest, line;
    struct world w;
    size_t n;

    (void)state;
    world_init(&w, 1, SPAN_LIT(HEADER "\r\nbody\r\n"));
    for (size_t i = 0; i < sizeof long_text - 1; i++)
        long_text[i] = ". . ab  . "[i % 10];
    long_text[sizeof long_text - 1] = '\0';
    w.recipients[0].words = long_text;
    set_reply(&w, 0, 550, "5.0.0", long_text);
    assert_int_equal(dsn_write(&w.dsn, w.out, &w.content_bytes, &w.body_type), BLOB_OK);
    text = read_out(&w, &n);
    check_lines(&w, text, n);
    rest = span_of(text, n);
    while (rest.n > 0) {
        rest = span_cut(rest, '\n', &line);
        assert_true(line.n - 1 <= 78);
        assert_true(line.n == 1 || span_trim(line).n > 0);
    }
    free(text);
    world_fini(&w);
}

/* Our own lines are stuffed too, wherever folding lets one begin. */
static void
test_own_dots(void **state)
{
    char word[80], *text;
    struct dsn_text t;
    struct world w;
    size_t n;

    (void)state;
    world_init(&w, 1, SPAN_LIT(""));
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    dsn_text_init(&t, w.out);
    dsn_text_fold(&t, "", ". %s .b", word);
    dsn_text_flush(&t);
    dsn_text_copy(&t, SPAN_LIT("..c\r\n"));
    assert_int_equal(t.content_bytes, 3 + 81 + 4 + 4);
    dsn_text_fini(&t);
    text = read_out(&w, &n);
    assert_int_equal(strncmp(text, "..\r\nx", 5), 0);
    assert_string_equal(text + 4 + 81, "..b\r\n..c\r\n");
    free(text);
    world_fini(&w);
}

/* A file that cannot grow: the failure is said, not hidden. */
static void
test_failure_is_said(void **state)
{
    struct blob_pool *nowhere = blob_pool_new("/nonexistent", 100, 1000);
    struct world w;

    (void)state;
    world_init(&w, 1, SPAN_LIT(HEADER "\r\nbody\r\n"));
    blob_free(&w.out);
    w.out = blob_new(nowhere);
    assert_int_not_equal(dsn_write(&w.dsn, w.out, &w.content_bytes, &w.body_type), BLOB_OK);
    world_fini(&w);
    blob_pool_free(&nowhere);
}

static int
make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int
remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_failed),
        cmocka_unit_test(test_delayed),
        cmocka_unit_test(test_relayed),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_eightbit),
        cmocka_unit_test(test_full_bound),
        cmocka_unit_test(test_header_without_end),
        cmocka_unit_test(test_no_body),
        cmocka_unit_test(test_long_reply),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_bytes_out_of_place),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_own_dots),
        cmocka_unit_test(test_failure_is_said),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
