/* sendgovctl from its command line to its output: usage, exit codes, tables, JSON, offline verbs. A thread
 * plays the daemon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/config/config.h"
#include "relay/ctl/chart.h"
#include "relay/ctl/ctl.h"
#include "relay/ctl/grid.h"

static char *out, *err;

/* argv as a shell would split it at blanks; '_' inside a word is a blank of that word. */
static int
run(const char *line)
{
    char *copy = strdup(line), *save = NULL, *argv[32];
    size_t n_out, n_err;
    FILE *o, *e;
    int argc = 0, code;

    free(out);
    free(err);
    for (char *w = strtok_r(copy, " ", &save); w && argc < 31; w = strtok_r(NULL, " ", &save)) {
        for (char *p = w; *p; p++)
            *p = *p == '_' ? ' ' : *p;
        argv[argc++] = w;
    }
    argv[argc] = NULL;
    o = open_memstream(&out, &n_out);
    e = open_memstream(&err, &n_err);
    code = ctl_main(argc, argv, o, e);
    fclose(o);
    fclose(e);
    free(copy);
    return code;
}

static void
expect(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("\"%s\" is not in: %s", words, text);
}

static void
expect_usage(const char *line, const char *words)
{
    assert_int_equal(run(line), CTL_USAGE);
    expect(err, words);
}

static void
test_usage(void **state)
{
    (void)state;
    expect_usage("sendgovctl", "name a verb");
    expect_usage("sendgovctl stauts", "did you mean \"status\"");
    expect_usage("sendgovctl frobnicate", "--help lists them");
    expect_usage("sendgovctl limits shwo", "limits has no \"shwo\"");
    expect_usage("sendgovctl warmup paln", "warmup has no \"paln\"");
    expect_usage("sendgovctl status now", "one argument too many");
    expect_usage("sendgovctl pause --scop route", "did you mean --scope");
    expect_usage("sendgovctl pause --scope", "--scope needs a value");
    expect_usage("sendgovctl pause --scope route", "needs --instance");
    expect_usage("sendgovctl pause --scope route --scope route", "given twice");
    expect_usage("sendgovctl pause --all=yes", "takes no value");
    expect_usage("sendgovctl pause --scope route --instance x --reason y --all --external", "not both");
    expect_usage("sendgovctl open", "needs --reason");
    expect_usage("sendgovctl -x status", "no option -x");
    expect_usage("sendgovctl --frob status", "before a verb");
    expect_usage("sendgovctl classify", "needs TEXT");
    assert_int_equal(run("sendgovctl --help"), CTL_OK);
    expect(out, "warmup plan");
    assert_int_equal(run("sendgovctl -V"), CTL_OK);
}

static void
expect_json_error(const char *line, int code, const char *word, const char *part)
{
    json_t *o;

    assert_int_equal(run(line), code);
    o = json_loads(out, 0, NULL);
    if (!o)
        fail_msg("%s printed no JSON but: %s", line, out);
    assert_true(json_is_false(json_object_get(o, "ok")));
    assert_string_equal(json_string_value(json_object_get(o, "code")), word);
    expect(json_string_value(json_object_get(o, "error")), part);
    assert_string_equal(err, "");
    json_decref(o);
}

/* Whoever asked for JSON reads JSON, also of what never reached a daemon. */
static void
test_json_errors(void **state)
{
    (void)state;
    expect_json_error("sendgovctl -s /nonexistent/c --json status", CTL_NO_DAEMON, "no-daemon", "running?");
    expect_json_error("sendgovctl --json", CTL_USAGE, "usage", "name a verb");
    expect_json_error("sendgovctl --json stauts", CTL_USAGE, "usage", "did you mean");
    expect_json_error("sendgovctl stauts --json", CTL_USAGE, "usage", "did you mean");
    expect_json_error("sendgovctl --json pause --scope route", CTL_USAGE, "usage", "needs --instance");
    expect_json_error("sendgovctl --json classify hello", CTL_USAGE, "usage", "no SMTP reply");
    expect_json_error("sendgovctl warmup plan --schedule nosuch --json", CTL_USAGE, "usage", "nosuch");
    expect_json_error("sendgovctl --json frob\xff", CTL_USAGE, "usage", "frob?");
    expect_json_error("sendgovctl --json passwd a:b", CTL_USAGE, "usage", "without blanks");
    expect_json_error("sendgovctl --json -c /nonexistent/a status", CTL_REFUSED, "refused", "/nonexistent");
    assert_int_equal(run("sendgovctl -- --json"), CTL_USAGE);
    assert_string_equal(out, "");
}

static void
test_no_daemon(void **state)
{
    (void)state;
    assert_int_equal(run("sendgovctl -s /nonexistent/control status"), CTL_NO_DAEMON);
    expect(err, "is it running?");
}

/* ---- with a daemon ---- */

struct daemon {
    char folder[64];
    char path[96];
    int fd;
    const char *answer; /* NULL: hangs up */
    char asked[4096];
    pthread_t thread;
};

static void *
serve(void *arg)
{
    struct daemon *d = arg;
    int fd = accept(d->fd, NULL, NULL);
    ssize_t n = recv(fd, d->asked, sizeof(d->asked) - 1, 0);

    d->asked[n > 0 ? n : 0] = '\0';
    if (d->answer &&
        (send(fd, d->answer, strlen(d->answer), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0))
        d->asked[0] = '\0';
    close(fd);
    return NULL;
}

static int
run_with(struct daemon *d, const char *verb, const char *answer)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    char line[512];
    int code;

    strncpy(d->folder, "/tmp/sendgov-test-XXXXXX", sizeof(d->folder));
    assert_non_null(mkdtemp(d->folder));
    snprintf(d->path, sizeof(d->path), "%s/control", d->folder);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", d->path);
    d->answer = answer;
    d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(d->fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(d->fd, 1), 0);
    assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
    snprintf(line, sizeof(line), "sendgovctl -s %s %s", d->path, verb);
    code = run(line);
    pthread_join(d->thread, NULL);
    close(d->fd);
    unlink(d->path);
    rmdir(d->folder);
    return code;
}

static void
test_question(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(
        run_with(&d, "pause --scope route --instance contoso --reason too_much --for 30min --all",
            "{\"ok\":true,\"scope\":\"route\",\"instance\":\"contoso\",\"extent\":\"all\",\"until\":\"2026-"
            "11-24T04:00:00.000Z\"}"),
        CTL_OK);
    assert_string_equal(d.asked,
        "{\"command\":\"pause\",\"scope\":\"route\",\"instance\":\"contoso\",\"reason\":\"too much\","
        "\"for\":\"30min\",\"extent\":\"all\"}\n");
    assert_string_equal(out, "paused: all mail of route contoso, until 2026-11-24 04:00:00Z\n");
    assert_int_equal(run_with(&d, "pause --scope route --instance contoso --reason x --for 30min --all",
                         "{\"ok\":true,\"scope\":\"route\",\"instance\":\"contoso\",\"extent\":\"all\","
                         "\"until\":null,\"stood\":true}"),
        CTL_OK);
    assert_string_equal(out, "paused already: all mail of route contoso, until somebody resumes it\n");
}

static void
test_exit_codes(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(
        run_with(&d, "reload", "{\"ok\":false,\"error\":\"a.yaml:3:1: no\",\"code\":\"refused\"}"),
        CTL_REFUSED);
    assert_string_equal(err, "sendgovctl: a.yaml:3:1: no\n");
    assert_int_equal(run_with(&d, "reload", "{\"ok\":false,\"error\":\"x\",\"code\":\"usage\"}"), CTL_USAGE);
    assert_int_equal(run_with(&d, "reload", NULL), CTL_NO_DAEMON);
    assert_int_equal(run_with(&d, "reload", "what?"), CTL_NO_DAEMON);
    assert_int_equal(run_with(&d, "reload", "{}"), CTL_REFUSED);
    assert_int_equal(
        run_with(&d, "--json reload", "{\"ok\":false,\"error\":\"x\",\"code\":\"refused\"}"), CTL_REFUSED);
    expect(out, "\"ok\": false");
    assert_int_equal(
        run_with(&d, "resume --scope route --instance c --reason r", "{\"ok\":true,\"resumed\":false}"),
        CTL_OK);
    assert_string_equal(out, "was not paused\n");
}

static const char limits[] =
    "{\"ok\":true,\"limits\":["
    "{\"limit\":\"warmup\",\"scope\":\"route\",\"instance\":\"contoso\",\"unit\":\"external\",\"period_ms\":"
    "86400000,\"used\":70,\"cap\":70,\"frees_after_ms\":90000,\"mode\":\"enforce\"},"
    "{\"limit\":\"m\",\"scope\":\"mailbox\",\"instance\":\"relay@contoso.com\",\"unit\":\"messages\","
    "\"period_ms\":60000,\"used\":3,\"cap\":null,\"frees_after_ms\":0,\"mode\":\"enforce\"},"
    "{\"limit\":\"b\",\"scope\":\"client\",\"instance\":\"erp\",\"kind\":\"rate\",\"unit\":\"external\","
    "\"period_ms\":60000,\"rate\":100,\"used\":33,\"cap\":20,\"frees_after_ms\":0,\"mode\":\"shadow\"},"
    "{\"limit\":\"loop\",\"scope\":\"client\",\"instance\":\"erp\",\"kind\":\"spike\",\"unit\":\"messages\","
    "\"period_ms\":3600000,\"rate\":null,\"usual\":20,\"used\":3,\"cap\":60,\"frees_after_ms\":0,"
    "\"mode\":\"enforce\"}]}";

static void
test_limits(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(run_with(&d, "limits", limits), CTL_OK);
    assert_string_equal(out,
        "LIMIT   SCOPE    INSTANCE           USED        CAP  UNIT      PER             FREES       MODE\n"
        "warmup  route    contoso              70         70  external  24 h            1 min 30 s  "
        "enforce\n"
        "m       mailbox  relay@contoso.com     3  unlimited  messages  min             now         "
        "enforce\n"
        "b       client   erp                  33         20  external  burst, 100/min  now         "
        "shadow\n"
        "loop    client   erp                   3         60  messages  h, usual 20     now         "
        "enforce\n");
    assert_int_equal(run_with(&d, "limits show --json", limits), CTL_OK);
    expect(out, "\"frees_after_ms\": 90000");
    assert_int_equal(run_with(&d, "limits", "{\"ok\":true,\"limits\":[]}"), CTL_OK);
    assert_string_equal(out, "no limits\n");
}

#define WARMUP_ROW(route, hold) \
    "{\"route\":\"" route "\",\"schedule\":\"new-tenant\",\"step\":2,\"used\":9,\"cap\":70,\"hour_cap\":10," \
    "\"peak\":40,\"peak_needed\":35,\"next_cap\":98,\"held\":false,\"hold\":" hold "}"

static void
test_warmup(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(run_with(&d, "warmup", "{\"ok\":true,\"warmups\":[" WARMUP_ROW("fabrikam", "null") ","
        WARMUP_ROW("contoso", "{\"actor\":\"uid=0(root)\",\"reason\":\"audit\\u001b\","
            "\"since\":\"2026-11-24T03:04:05.678Z\",\"until\":null}") "]}"), CTL_OK);
    assert_string_equal(out,
        "ROUTE     SCHEDULE    STEP  USED  CAP/24H  CAP/H  PEAK  NEEDED  NEXT CAP  STATE\n"
        "fabrikam  new-tenant     2     9       70     10    40      35        98  advances at 00:00 UTC\n"
        "contoso   new-tenant     2     9       70     10    40      35        98  held, see below\n\n"
        "HELD     SINCE                 UNTIL    BY           REASON\n"
        "contoso  2026-11-24 03:04:05Z  resumed  uid=0(root)  audit?\n");
    assert_int_equal(run_with(&d, "warmup hold contoso --reason audit --for 12h",
        "{\"ok\":true,\"route\":\"contoso\",\"until\":\"2026-11-24T03:04:05.678Z\",\"stood\":false}"),
        CTL_OK);
    assert_string_equal(d.asked,
        "{\"command\":\"warmup-hold\",\"route\":\"contoso\",\"reason\":\"audit\",\"for\":\"12h\"}\n");
    assert_string_equal(out, "held: contoso stays on its step until 2026-11-24 03:04:05Z\n");
    assert_int_equal(run_with(&d, "warmup resume contoso --reason done", "{\"ok\":true,\"resumed\":true}"),
        CTL_OK);
    assert_string_equal(out, "resumed\n");
    assert_int_equal(run_with(&d, "warmup step contoso --back --reason x",
        "{\"ok\":true,\"route\":\"contoso\",\"from\":1,\"to\":1,\"cap\":50}"), CTL_OK);
    assert_string_equal(d.asked,
        "{\"command\":\"warmup-step\",\"route\":\"contoso\",\"reason\":\"x\",\"back\":\"yes\"}\n");
    assert_string_equal(out, "contoso stays on step 1\n");
    assert_int_equal(run_with(&d, "warmup set contoso 6 --reason x",
        "{\"ok\":true,\"route\":\"contoso\",\"from\":5,\"to\":6,\"cap\":268}"), CTL_OK);
    assert_string_equal(d.asked,
        "{\"command\":\"warmup-set\",\"route\":\"contoso\",\"step\":\"6\",\"reason\":\"x\"}\n");
    assert_string_equal(out, "contoso: step 6, was 5; 268 external recipients per 24 h\n");
    expect_usage("sendgovctl warmup set contoso --reason x", "needs ROUTE STEP");
    expect_usage("sendgovctl warmup hold contoso", "needs --reason");
}

static const char explained[] =
    "{\"ok\":true,\"sender\":\"a@c.com\",\"client\":\"erp\",\"client_by\":\"sender\",\"accept\":\"relay\","
    "\"route\":\"contoso\",\"mailbox\":null,\"outcome\":\"held\",\"answer\":\"250 2.0.0 queued as ID\","
    "\"passes_after_ms\":90000,\"passes_at\":\"2026-11-24T04:01:30.000Z\",\"refused_recipients\":[],"
    "\"transactions\":[{\"class\":\"external\",\"recipients\":[\"u@x.com\"],\"outcome\":\"held\","
    "\"answer\":\"250 2.0.0 queued as ID; held for now: full\",\"why\":\"451 4.4.5 full\","
    "\"passes_after_ms\":90000,\"passes_at\":\"2026-11-24T04:01:30.000Z\",\"pauses\":[{\"scope\":\"sender\","
    "\"instance\":\"a@c.com\",\"extent\":\"all\",\"class\":\"operator\",\"until\":null,\"reason\":\"x\"}],"
    "\"limits\":[{\"limit\":\"day\",\"scope\":\"route\",\"instance\":\"contoso\",\"unit\":\"external\","
    "\"period_ms\":86400000,\"configured_period_ms\":3600000,\"wanted\":1,\"used\":50,\"cap\":50,"
    "\"configured\":80,\"lowered\":[{\"by\":\"node\",\"cap\":60,\"until\":null},{\"by\":\"upstream\","
    "\"cap\":50,\"until\":\"2026-11-25T04:00:00.000Z\"}],\"passes_after_ms\":90000,"
    "\"passes_at\":\"2026-11-24T04:01:30.000Z\",\"source\":\"a.yaml:3\",\"origin\":\"profile p\"}]}]}";

static void
test_explain(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(
        run_with(&d, "limits explain a@c.com u@x.com v@x.com --bytes 10 --client erp", explained), CTL_OK);
    assert_string_equal(d.asked,
        "{\"command\":\"limits-explain\",\"sender\":\"a@c.com\","
        "\"recipients\":[\"u@x.com\",\"v@x.com\"],\"client\":\"erp\",\"bytes\":\"10\"}\n");
    expect(out, "client     erp (the only one that may send so), accept: relay\n");
    expect(out, "mailbox    -\n\n1 external recipient: u@x.com\nLIMIT");
    expect(out, "80; another node has 60; the upstream said so: 50 until 2026-11-25 04:00:00Z; "
                "another node has a longer period  profile p, a.yaml:3\n");
    expect(out, "paused     all mail of sender a@c.com, until it is resumed (operator: x)\n"
                "outcome    held\nanswer     250 2.0.0 queued as ID; held for now: full\n"
                "why        451 4.4.5 full\npasses     2026-11-24 04:01:30Z, in 1 min 30 s\n");
    expect_usage("sendgovctl limits explain a@c.com", "needs SENDER RECIPIENT");
    assert_int_equal(run_with(&d, "limits explain a b", "{\"ok\":true}"), CTL_OK); /* breaks nothing */
}

/* ---- limits import ---- */

#define MICROSOFT "Threshold : 4800\nObservedValue : 1000\nEnforcementEnabled : False\nNew : 1\n"

static char import_file[64];

static void
write_file(char path[64], const char *text)
{
    int fd;

    snprintf(path, 64, "/tmp/sendgov-test-XXXXXX");
    fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* words: before the file. */
static int
run_import(const char *words, const char *text)
{
    char line[256];
    int code;

    write_file(import_file, text);
    snprintf(line, sizeof(line), "sendgovctl %s %s", words, import_file);
    code = run(line);
    unlink(import_file);
    return code;
}

/* What is written is configuration, and means what it says. */
static void
test_import_writes_a_limit(void **state)
{
    char path[64], yaml[2048];
    const struct limit_conf *l;
    struct config *config;
    struct err why;

    (void)state;
    setenv("SENDGOV_PROFILE_PATH", TEST_PROFILES, 1);
    assert_int_equal(run_import("limits import --route out", MICROSOFT), CTL_OK);
    expect(out, "# Microsoft's limit: 4800 external recipients of the tenant in 24 h, NOT enforced now; ");
    expect(out, "; 1000 were counted\n");
    expect(out, "# not understood and not used: New\n");
    for (int profile = 0; profile < 2; profile++) {
        snprintf(yaml, sizeof(yaml),
            "listeners: {in: {address: \"127.0.0.1:2525\", tls: off}}\n"
            "clients: {a: {networks: [10.0.0.0/8], senders: [\"@x.test\"]}}\n"
            "routes: {out: {upstream: \"h.test:25\", domains: [x.test], warmup: established%s}}\n%s",
            profile ? ", profile: m365-connector, licences: 25" : "", out);
        write_file(path, yaml);
        config = config_load(path, &why);
        unlink(path);
        if (!config)
            fail_msg("%s\n%s", why.text, yaml);
        l = config_limit(config, "out-tenant-day");
        assert_int_equal(l->value, 3840);
        assert_int_equal(l->period_ms, 86400000);
        assert_string_equal(l->only, "out");
        config_unref(&config);
    }
    assert_int_equal(run_import("limits import --json --route out --percent 50", MICROSOFT), CTL_OK);
    expect(out, "\"cap\": 2400");
    expect(out, "\"enforced\": false");
    expect(out, "\"not_used\": \"New\"");
    assert_int_equal(run_import("limits import --route out", "Threshold : 0\n"), CTL_REFUSED);
    expect(err, "support ticket");
    assert_int_equal(run_import("limits import --route out", "hello\n"), CTL_REFUSED);
    expect(err, "line 1 is no");
    assert_int_equal(run_import("limits import --route a:b", MICROSOFT), CTL_USAGE);
    expect(err, "no name of a route");
    assert_int_equal(run_import("limits import --route out --percent 101", MICROSOFT), CTL_USAGE);
    assert_int_equal(run("sendgovctl limits import /nonexistent/file"), CTL_REFUSED);
    expect(err, "No such file");
    expect_usage("sendgovctl limits import", "needs FILE");
}

/* What the daemon says, around the cap of the first limit. */
static const char caps_before[] =
    "{\"ok\":true,\"limits\":["
    "{\"limit\":\"a-day\",\"scope\":\"route\",\"instance\":\"a\",\"kind\":\"window\",\"unit\":\"external\","
    "\"period_ms\":86400000,\"used\":400,\"cap\":50,\"configured\":";
static const char caps_behind[] =
    ",\"source\":\"c.yaml:3\"},"
    "{\"limit\":\"a-wide\",\"scope\":\"route\",\"instance\":\"a\",\"kind\":\"window\",\"unit\":\"external\","
    "\"period_ms\":86400000,\"used\":400,\"cap\":9999,\"configured\":9999,\"source\":\"c.yaml:4\"},"
    "{\"limit\":\"a-hour\",\"scope\":\"route\",\"instance\":\"a\",\"kind\":\"window\",\"unit\":\"external\","
    "\"period_ms\":3600000,\"used\":4,\"configured\":99999},"
    "{\"limit\":\"w\",\"scope\":\"route\",\"instance\":\"a\",\"kind\":\"warmup\",\"unit\":\"external\","
    "\"period_ms\":86400000,\"used\":4,\"configured\":null}]}";

static int
run_compare(const char *configured)
{
    char answer[2048], verb[256];
    struct daemon d;
    int code;

    write_file(import_file, MICROSOFT);
    snprintf(verb, sizeof(verb), "limits import --compare %s", import_file);
    snprintf(answer, sizeof(answer), "%s%s%s", caps_before, configured, caps_behind);
    code = run_with(&d, verb, answer);
    unlink(import_file);
    assert_string_equal(d.asked, "{\"command\":\"limits\",\"scope\":\"route\"}\n");
    return code;
}

static void
test_import_compares(void **state)
{
    (void)state;
    assert_int_equal(run_compare("5000"), CTL_REFUSED);
    expect(out, "a-day: your cap 5000 is above Microsoft's 4800: LOWER it, to 3840 at most (c.yaml:3)\n"
                "Microsoft counts 1000, this relay 400: 600 were sent elsewhere\n");
    assert_int_equal(run_compare("4801"), CTL_REFUSED);
    assert_int_equal(run_compare("4800"), CTL_OK);
    expect(out, "a-day: your cap 4800 leaves less than 20 percent of Microsoft's 4800 to other mail");
    assert_int_equal(run_compare("3840"), CTL_OK);
    expect(out, "a-day: your cap 3840 is within 80 percent");
}

static const char status[] =
    "{\"ok\":true,\"version\":\"0.1.0\",\"node\":\"relay1\",\"ready\":true,\"reason\":\"ready\",\"uptime_"
    "ms\":61000,"
    "\"profiles\":[{\"profile\":\"m\",\"dated\":\"2026-01-01\",\"age_days\":190,\"old\":true,"
    "\"file\":\"/p/m.yaml\"},{\"profile\":\"n\",\"old\":false}],"
    "\"config_file\":\"/etc/s.yaml\",\"config_hash\":\"00ff\",\"messages_in_flight\":2,"
    "\"store\":{\"up\":true,\"nodes\":2,\"closed_for_ms\":-1,\"limits_differ\":true,"
    "\"differing_limit\":\"day\"},"
    "\"warmups\":[{\"route\":\"contoso\",\"schedule\":\"new-tenant\",\"step\":2,\"cap\":70}],"
    "\"pauses\":[{\"scope\":\"route\",\"instance\":\"contoso\",\"extent\":\"external\",\"class\":\"block-"
    "tenant\","
    "\"since\":\"2026-11-24T03:04:05.678Z\",\"until\":null,\"reason\":\"550 "
    "5.7.708\\u001b[2J\",\"advice\":\"Open a ticket\\u001b.\",\"actor\":\"relay1\"}],"
    "\"upstreams\":[],\"listeners\":[{\"listener\":\"apps\",\"address\":\"127.0.0.1:587\",\"connections\":7}]"
    "}";

static void
test_status(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(run_with(&d, "status", status), CTL_OK);
    assert_string_equal(out,
        "node       relay1, sendgovd 0.1.0, up 1 min 2 s\n"
        "state      ready\n"
        "redis      up, 2 nodes; nodes have different limits (day), the lowest are in force\n"
        "counters   NOT TRUSTED, Redis is new or lost its memory: nothing leaves until they are; see open in "
        "sendgovctl(8)\n"
        "config     /etc/s.yaml, hash 00ff\n"
        "profile    m is OLD: dated 2026-01-01, 190 days ago; /p/m.yaml\n"
        "messages   2 under way\n\n"
        "SCOPE  INSTANCE  MAIL      CAUSE         SINCE                 UNTIL    ENDS IN  BY      REASON\n"
        "route  contoso   external  block-tenant  2026-11-24 03:04:05Z  resumed  -        relay1  "
        "550 5.7.708?[2J\n\n"
        "SCOPE  INSTANCE  WHAT TO DO\n"
        "route  contoso   Open a ticket?.\n\n"
        "WARM-UP  SCHEDULE    STEP  CAP/24H\n"
        "contoso  new-tenant     2       70\n\n"
        "no upstream pools\n\n"
        "LISTENER  ADDRESS        CONNECTIONS\n"
        "apps      127.0.0.1:587            7\n");
    assert_int_equal(run_with(&d, "status", "{\"ok\":true,\"pauses\":7,\"store\":[]}"),
        CTL_OK); /* nonsense, but no crash */
}

/* ---- the queue ---- */

#define ROW(state, rest) \
    "{\"id\":\"a1\",\"state\":\"" state "\",\"client\":\"erp\",\"bytes\":2048,\"age_ms\":61000," rest "}"

static const char queue[] = "{\"ok\":true,\"more\":true,\"next\":14,\"messages\":["
    ROW("waiting", "\"sender\":\"a@contoso.com\",\"recipients\":3,\"first_recipient\":\"b\\u001b[2J@x.com\","
        "\"attempts\":2,\"waits_for\":\"limit\",\"in_seconds\":90,\"estimate\":true") ","
    ROW("held", "\"sender\":\"\",\"recipients\":1,\"first_recipient\":\"b@x.com\",\"attempts\":0,"
        "\"waits_for\":\"operator\",\"in_seconds\":null") ","
    ROW("waiting", "\"sender\":\"a@contoso.com\",\"recipients\":1,\"first_recipient\":\"b\\u009b2J@x.com\","
        "\"attempts\":1,\"waits_for\":\"own-time\",\"in_seconds\":60") ","
    ROW("waiting", "\"sender\":\"a@contoso.com\",\"recipients\":1,\"first_recipient\":\"b@x.com\","
        "\"attempts\":0,\"waits_for\":\"nothing\"") "]}";

static void
test_queue(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(run_with(&d, "queue", queue), CTL_OK);
    assert_string_equal(d.asked, "{\"command\":\"queue\"}\n");
    assert_string_equal(out,
        "ID  AGE        STATE    CLIENT  SENDER         RECIPIENT         BYTES  TRIES  NEXT\n"
        "a1  1 min 1 s  waiting  erp     a@contoso.com  b?[2J@x.com (+2)   2048      2  limit, about "
        "in 1 min 30 s\n"
        "a1  1 min 1 s  held     erp     <>             b@x.com            2048      0  operator\n"
        "a1  1 min 1 s  waiting  erp     a@contoso.com  b??2J@x.com        2048      1  in 1 min\n"
        "a1  1 min 1 s  waiting  erp     a@contoso.com  b@x.com            2048      0  now\n"
        "there are more: add --after 14\n");
    assert_int_equal(run_with(&d, "queue list --json", queue), CTL_OK);
    expect(out, "\"waits_for\": \"own-time\"");
    expect(out, "b\\u009B2J@x.com");
    assert_int_equal(run_with(&d, "queue", "{\"ok\":true,\"messages\":[],\"more\":false}"), CTL_OK);
    assert_string_equal(out, "no such messages\n");
    assert_int_equal(run_with(&d, "queue", "{\"ok\":true,\"messages\":7}"), CTL_OK); /* no crash */
}

static void
test_queue_questions(void **state)
{
    const char *const orders[] = {"hold", "release", "retry", "delete"};
    struct daemon d;
    char line[128], asked[128];

    (void)state;
    run_with(&d,
        "queue list --client c --route r --mailbox m --sender s@x --recipient t@x --sender-domain x "
        "--recipient-domain y --state parked --older-than 1h --max 5 --after 9",
        "{\"ok\":true}");
    assert_string_equal(d.asked,
        "{\"command\":\"queue\",\"client\":\"c\",\"route\":\"r\",\"mailbox\":\"m\",\"sender\":\"s@x\","
        "\"recipient\":\"t@x\",\"sender_domain\":\"x\",\"recipient_domain\":\"y\",\"state\":\"parked\","
        "\"older_than\":\"1h\",\"max\":\"5\",\"after\":\"9\"}\n");
    run_with(&d, "queue show a1 --after 7", "{\"ok\":true}");
    assert_string_equal(d.asked, "{\"command\":\"queue-show\",\"id\":\"a1\",\"after\":\"7\"}\n");
    run_with(&d, "queue why a1", "{\"ok\":true}");
    assert_string_equal(d.asked, "{\"command\":\"queue-why\",\"id\":\"a1\"}\n");
    for (size_t i = 0; i < 4; i++) {
        snprintf(line, sizeof(line), "queue %s a1 --reason x_y", orders[i]);
        run_with(&d, line, "{\"ok\":true}");
        snprintf(asked, sizeof(asked), "{\"command\":\"queue-%s\",\"id\":\"a1\",\"reason\":\"x y\"}\n",
            orders[i]);
        assert_string_equal(d.asked, asked);
        snprintf(line, sizeof(line), "queue %s --all --reason x --max 3", orders[i]);
        run_with(&d, line, "{\"ok\":true}");
        snprintf(asked, sizeof(asked),
            "{\"command\":\"queue-%s\",\"max\":\"3\",\"reason\":\"x\",\"all\":\"yes\"}\n", orders[i]);
        assert_string_equal(d.asked, asked);
    }
}

static void
test_queue_usage(void **state)
{
    (void)state;
    expect_usage("sendgovctl queue shwo", "queue has no \"shwo\"");
    expect_usage("sendgovctl queue show", "needs ID");
    expect_usage("sendgovctl queue why", "needs ID");
    expect_usage("sendgovctl queue show a b", "one argument too many");
    expect_usage("sendgovctl queue list a1", "one argument too many");
    expect_usage("sendgovctl queue hold a1", "needs --reason");
    expect_usage("sendgovctl queue delete --all", "needs --reason");
    expect_usage("sendgovctl queue list --all", "queue has no option --all");
    expect_usage("sendgovctl queue retry --sender-domian x", "did you mean --sender-domain");
    /* A filter that cannot be sent must not become none. */
    expect_usage("sendgovctl -s /none queue delete --reason x --client \xff --state held", "no UTF-8");
    expect_usage("sendgovctl -s /none queue retry \xff --state held", "no UTF-8");
    assert_int_equal(run("sendgovctl -s /nonexistent/c queue"), CTL_NO_DAEMON);
}

static void
test_queue_show(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(
        run_with(&d, "queue show a1",
            "{\"ok\":true,\"id\":\"a1\",\"state\":\"held\",\"held_by\":\"uid=0(root)\","
            "\"held_why\":\"odd\\u001b[2J\",\"client\":\"erp\",\"route\":\"contoso\",\"mailbox\":null,"
            "\"class\":\"default\",\"sender\":\"\","
            "\"received\":\"2026-11-24T03:04:05.678Z\",\"bytes\":2048,\"is_dsn\":true,\"recipient_count\":9,"
            "\"next\":1,\"recipients\":[{\"address\":\"b@x.com\",\"class\":\"external\",\"state\":\"parked\","
            "\"attempts\":2,\"uncertain\":1,\"due\":null,\"last_reply\":\"451 4.7.500 \\u0007busy\"}],"
            "\"also\":[{\"id\":\"a1\",\"recipients\":[]}]}"),
        CTL_OK);
    expect(out,
        "id         a1\nstate      held\nheld by    uid=0(root)\nbecause    odd?[2J\nclient     erp\n"
        "route      contoso\nmailbox    -\nclass      default\nsender     <>\n"
        "received   2026-11-24 03:04:05Z\nbytes      2048\nreport     yes: a notification of this relay\n\n"
        "RECIPIENT  CLASS     STATE   TRIES  LOST  DUE  LAST REPLY\n"
        "b@x.com    external  parked      2     1  -    451 4.7.500 ?busy\n"
        "there are 9 recipients: add --after 1\n\nid         a1\n");
    expect(out, "\nno recipients\n");
}

static void
test_queue_why(void **state)
{
    struct daemon d;

    (void)state;
    assert_int_equal(run_with(&d, "queue why a1",
                         "{\"ok\":true,\"id\":\"a1\",\"waits_for\":\"limit\",\"why\":\"mailbox-day: 9/9\\n\","
                         "\"release_at\":\"2026-11-24T03:04:05.678Z\",\"in_seconds\":0,\"estimate\":false,"
                         "\"position\":3,\"lane\":9,\"also\":[]}"),
        CTL_OK);
    assert_string_equal(out, "id         a1\nwaits for  limit\nbecause    mailbox-day: 9/9?\n"
                             "leaves     2026-11-24 03:04:05Z, now\nplace      3 of 9 in its lane\n");
    assert_int_equal(run_with(&d, "queue why a1",
                         "{\"ok\":true,\"id\":\"a1\",\"waits_for\":\"operator\",\"why\":\"parked\","
                         "\"release_at\":null,\"in_seconds\":null,\"position\":0,\"lane\":0}"),
        CTL_OK);
    assert_string_equal(out, "id         a1\nwaits for  operator\nbecause    parked\n");
}

static void
test_queue_orders(void **state)
{
    struct daemon d;

    (void)state;
    run_with(&d, "queue hold --all --reason x", "{\"ok\":true,\"changed\":1,\"busy\":0}");
    assert_string_equal(out, "held 1 message\n");
    run_with(&d, "queue release --all", "{\"ok\":true,\"changed\":0,\"busy\":2}");
    assert_string_equal(out, "released 0 messages\n2 on their way were left alone; try again in a minute\n");
    run_with(&d, "queue retry --all", "{\"ok\":true,\"changed\":3,\"busy\":1}");
    assert_string_equal(out, "due now: 3 messages\n1 on its way was left alone; try again in a minute\n");
    assert_int_equal(run_with(&d, "queue delete --all --reason x", "{\"ok\":true,\"changed\":4}"), CTL_OK);
    assert_string_equal(out, "deleted 4 messages; no report is sent to anybody\n");
    assert_int_equal(run_with(&d, "queue delete a1 --reason x",
                         "{\"ok\":false,\"code\":\"refused\",\"error\":\"there is no message\"}"),
        CTL_REFUSED);
    assert_int_equal(
        run_with(&d, "queue retry", "{\"ok\":false,\"code\":\"usage\",\"error\":\"which?\"}"), CTL_USAGE);
}

static void
test_spool_in_status(void **state)
{
    struct daemon d;

    (void)state;
    run_with(&d, "status", "{\"ok\":true,\"spool\":null}");
    expect(out, "spool      none");
    run_with(&d, "status",
        "{\"ok\":true,\"spool\":{\"state\":\"ready\",\"why\":\"\",\"messages\":321,\"bytes\":1025,\"oldest\":"
        "\"2026-11-24T03:04:05.678Z\",\"held\":1,\"parked\":2,\"waiting\":{\"limit\":300,\"pause\":0,"
        "\"operator\":3}}}");
    expect(out, "held mail  321 messages, 2 KiB, the oldest of 2026-11-24 03:04:05Z\n"
                "waiting    300 for limit, 3 for operator\n"
                "operator   1 held, 2 parked; see queue in sendgovctl(8)\n");
    assert_null(strstr(out, "spool "));
    run_with(&d, "status",
        "{\"ok\":true,\"spool\":{\"state\":\"full\",\"why\":\"no\\u001b space\",\"messages\":0,"
        "\"oldest\":null,\"free_bytes\":4194304,\"needed_bytes\":6291456,\"waiting\":{\"limit\":0}}}");
    expect(out, "spool      NOT READY: full: no? space; 4 MiB free, 6 MiB needed\n"
                "held mail  0 messages, 0 KiB\nconfig ");
    run_with(&d, "status",
        "{\"ok\":true,\"spool\":{\"state\":\"ready\",\"why\":\"\",\"messages\":1,\"bytes\":1,"
        "\"oldest\":null,\"waiting\":{}}}");
    expect(out, "held mail  1 message, 1 KiB\n");
}

static void
test_grid(void **state)
{
    const char *const headings[] = {"NAME", ">N", "LAST", NULL};
    struct grid g;
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    (void)state;
    grid_init(&g, headings);
    assert_int_equal(grid_print(&g, f), 0);
    grid_add(&g, "m\xc3\xbcller");
    grid_add(&g, "%d", 7);
    grid_add(&g, "a\nb");
    grid_add(&g, "x");
    grid_add(&g, "1000");
    grid_add(&g, "%s", "");
    assert_int_equal(grid_print(&g, f), 2);
    grid_fini(&g);
    fclose(f);
    assert_string_equal(text, "NAME       N  LAST\nm\xc3\xbcller     7  a?b\nx       1000  -\n");
    free(text);
}

/* ---- offline ---- */

static void
test_plan(void **state)
{
    (void)state;
    assert_int_equal(run("sendgovctl warmup plan --days 4"), CTL_OK);
    expect(out, "DAY  EXTERNAL/24H  PER HOUR  TOTAL\n  1            50        10     50\n");
    expect(out, "  4           137        18    355\n");
    assert_int_equal(run("sendgovctl warmup plan --table 10,20,40"), CTL_OK);
    expect(out, "The curve ends on day 3.");
    assert_int_equal(run("sendgovctl warmup plan --first 100 --growth 2 --ceiling 1000 --json"), CTL_OK);
    expect(out, "\"last_day\": 5");
    expect(out, "\"ceiling\": 1000");
    assert_int_equal(run("sendgovctl warmup plan --licences trial --json"), CTL_OK);
    expect(out, "\"ceiling\": 4000");
    expect_usage("sendgovctl warmup plan --licences tria", "is no number");
    assert_int_equal(run("sendgovctl warmup plan --licences 25 --json"), CTL_OK);
    expect(out, "\"ceiling\": 11408"); /* 80 % of 14 259, rounded up */
    assert_int_equal(run("sendgovctl warmup plan --schedule cautious --days 1"), CTL_OK);
    expect(out, "20");
    expect_usage("sendgovctl warmup plan --schedule nope", "nope");
    expect_usage("sendgovctl warmup plan --schedule a}", "no name of a schedule");
    expect_usage("sendgovctl warmup plan --first 1]x", "is no number");
    expect_usage("sendgovctl warmup plan --table 1,2 --first 3", "not both");
    expect_usage("sendgovctl warmup plan --days 0", "from 1 to 1000");
    assert_int_equal(run("sendgovctl warmup plan --first 100 --increment 50 --ceiling 220"), CTL_OK);
    expect(out, "  3           200        25    450\n  4           220        28    670\n");
    expect(out, "The curve ends on day 4.");
    expect_usage("sendgovctl warmup plan --increment 5 --growth 2", "not both");
    assert_int_equal(run("sendgovctl warmup plan --svg /nonexistent/x.svg"), CTL_REFUSED);
    expect(err, "/nonexistent/x.svg");
}

static int
run_with_file(const char *options, const char *text)
{
    char path[] = "/tmp/sendgov-log.XXXXXX", line[256];
    int fd = mkstemp(path), code;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    snprintf(line, sizeof(line), "sendgovctl warmup simulate %s %s", path, options);
    code = run(line);
    unlink(path);
    return code;
}

static void
test_simulate(void **state)
{
    static char longest[70000];

    (void)state;
    assert_int_equal(run_with_file("", "time,sender,recipients\n2024-01-01T08:00:00Z,a@b,70\nbroken\n"
        "2024-01-02T08:00:00Z,a@b,70\nbroken too\n"), CTL_OK);
    assert_string_equal(out,
        "DAY  DATE        STEP  CAP/24H  ARRIVED  SENT  HELD  PEAK WAITING  WAITING  LONGEST DELAY\n"
        "  1  2024-01-01     1       50       70    50    60            60       20  4 h 4 min\n"
        "  2  2024-01-02     2       70       70    70    70            70       20  17 h 1 min\n"
        "  3  2024-01-03     3       98        0    20     0            20        0  17 h 1 min\n"
        "schedule new-tenant: of 140 external recipients 130 had to wait, at most 70 at once, the longest "
        "17 h 1 min.\nThe curve does not end within these days.\n"
        "From day 3 on nothing waits over midnight.\n"
        "Lines that could not be understood: 2, the first of them line 3.\n");
    memset(longest, 'x', sizeof(longest) - 2); /* longer than is kept of a line */
    memcpy(longest, "2024-01-01T08:00:00Z,", 21);
    assert_int_equal(run_with_file("--json", longest), CTL_REFUSED);
    expect(out, "there is no mail in it");
    assert_int_equal(run("sendgovctl warmup simulate --per-day 900 --shape flat --days 2 --first 1000 "
        "--increment 1000 --ceiling 2000 --json"), CTL_OK);
    expect(out, "\"arrived\": 1800,");
    expect(out, "\"held\": 0,");
    expect(out, "\"completed_day\": 2,");
    expect(out, "\"skipped_lines\": 0,");
    expect(out, "\"first_skipped_line\": null,");
    assert_int_equal(run("sendgovctl warmup simulate --per-day 100 --days 7 --demand-growth 10 --json"),
        CTL_OK);
    expect(out, "\"arrived\": 610,"); /* 100, 110, 121, 133, 146; a Saturday and a Sunday */
    assert_int_equal(run("sendgovctl warmup simulate /nonexistent/log"), CTL_REFUSED);
    expect(err, "/nonexistent/log");
    expect_usage("sendgovctl warmup simulate", "needs a log (FILE or -), or --per-day");
    expect_usage("sendgovctl warmup simulate x --per-day 5", "needs a log (FILE or -), or --per-day");
    expect_usage("sendgovctl warmup simulate x --shape flat", "--shape goes with --per-day");
    expect_usage("sendgovctl warmup simulate --per-day 5 --internal a", "--internal goes with a log");
    expect_usage("sendgovctl warmup simulate --per-day 5 --shape round", "business-hours or flat");
    expect_usage("sendgovctl warmup simulate --per-day x", "--per-day must be from 1");
}

static size_t
count_of(const char *text, const char *word)
{
    size_t n = 0;

    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

/* One file without anything from elsewhere, for light pages and dark ones; each day has its bar. */
static void
test_plan_as_a_chart(void **state)
{
    char path[] = "/tmp/sendgov-chart.XXXXXX", line[128], svg[65536];
    int fd = mkstemp(path);
    ssize_t n;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    snprintf(line, sizeof(line), "sendgovctl warmup plan --days 12 --svg %s --json", path);
    assert_int_equal(run(line), CTL_OK);
    expect(out, "\"last_day\": null");
    fd = open(path, O_RDONLY);
    n = read(fd, svg, sizeof(svg) - 1);
    close(fd);
    unlink(path);
    assert_true(n > 0);
    svg[n] = '\0';
    assert_int_equal(memcmp(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\"", 39), 0);
    assert_string_equal(svg + n - 7, "</svg>\n");
    assert_int_equal(count_of(svg, "<title>day "), 12);
    assert_non_null(strstr(svg, "<title>day 12, cap per 24 h: 2 024</title>"));
    assert_non_null(strstr(svg, "(logarithmic)"));
    assert_non_null(strstr(svg, "prefers-color-scheme:dark"));
    assert_int_equal(count_of(svg, "://"), 1);
    assert_null(strstr(svg, "<script"));
}

static void
test_chart_of_anything(void **state)
{
    static const uint64_t none[] = {0, 0}, most[] = {0, UINT64_MAX}, few[] = {3, 17};
    struct chart_series series[] = {{"a<b", CHART_BARS, none}};
    struct chart chart = {.title = "\"x\" & <y>\x1b", .x_label = "day", .y_label = "n", .n = 2,
        .series = series, .n_series = 1};
    struct buf svg;

    (void)state;
    buf_init(&svg);
    chart_format(&chart, &svg);
    buf_add(&svg, "", 1);
    assert_non_null(strstr(buf_span(&svg).p, "\"x\" &amp; &lt;y&gt;?</title>"));
    assert_non_null(strstr(buf_span(&svg).p, "a&lt;b: 0</title>"));
    buf_clear(&svg);
    series[0].values = most;
    chart_format(&chart, &svg);
    buf_add(&svg, "", 1);
    assert_non_null(strstr(buf_span(&svg).p, "18 446 744 073 709 551 615"));
    buf_clear(&svg);
    series[0].values = few;
    chart_format(&chart, &svg);
    buf_add(&svg, "", 1);
    assert_null(strstr(buf_span(&svg).p, "logarithmic"));
    assert_non_null(strstr(buf_span(&svg).p, "y=\"335.0\" width=\"262.5\" height=\"45.0\"")); /* 3 of 20 */
    buf_fini(&svg);
}

static void
test_classify(void **state)
{
    (void)state;
    assert_int_equal(run("sendgovctl classify 550_5.7.708_Service_unavailable."), CTL_OK);
    expect(out, "class   block-tenant\n");
    expect(out, "advice  ");
    expect(out, "source  http");
    assert_int_equal(
        run("sendgovctl --json classify said:_550;5.7.711_Access_denied,_bad_inbound_connector._AS(2204)."),
        CTL_OK);
    expect(out, "\"class\": \"block-connector\"");
    assert_int_equal(run("sendgovctl classify 450-4.7.500_Server\nbusy"), CTL_OK);
    expect(out, "class   throttle\n");
    assert_int_equal(run("sendgovctl classify 250_5.7.708"), CTL_OK);
    expect(out, "class   ok\n");
    assert_int_equal(run("sendgovctl classify 550_5.1.1_no_such_user"), CTL_OK);
    expect(out, "class   message\n");
    expect_usage("sendgovctl classify hello", "no SMTP reply");
    expect_usage("sendgovctl classify 12550_x", "no SMTP reply");
}

static void
test_check_config(void **state)
{
    (void)state;
    assert_int_equal(run("sendgovctl check-config /nonexistent/a.yaml"), CTL_REFUSED);
    expect(err, "/nonexistent/a.yaml");
    assert_int_equal(run("sendgovctl --json check-config /nonexistent/a.yaml"), CTL_REFUSED);
    expect(out, "\"ok\": false");
    expect_usage("sendgovctl passwd a:b", "without blanks");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_json_errors),
        cmocka_unit_test(test_no_daemon),
        cmocka_unit_test(test_question),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_warmup),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_import_writes_a_limit),
        cmocka_unit_test(test_import_compares),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_queue_questions),
        cmocka_unit_test(test_queue_usage),
        cmocka_unit_test(test_queue_show),
        cmocka_unit_test(test_queue_why),
        cmocka_unit_test(test_queue_orders),
        cmocka_unit_test(test_spool_in_status),
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_simulate),
        cmocka_unit_test(test_plan_as_a_chart),
        cmocka_unit_test(test_chart_of_anything),
        cmocka_unit_test(test_classify),
        cmocka_unit_test(test_check_config),
    };

    setenv("SENDGOV_PROFILE_PATH", TEST_PROFILES, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
