/* What a good configuration becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/config_files.h"

#define LISTENER "listeners: {in: {address: \"127.0.0.1:2525\", tls: off}}\n"
#define TLS_LISTENER                                                                                         \
    "users_file: users\nlisteners: {in: {address: \"127.0.0.1:2525\", cert_file: cert.pem, key_file: "       \
    "key.pem, client_ca_file: cert.pem}}\n"
#define CLIENT "clients: {app: {networks: [10.0.0.0/8], senders: [\"@x.test\"]}}\n"
#define ROUTE "routes: {out: {upstream: \"mail.x.test:25\", domains: [x.test], warmup: established}}\n"
#define BASE LISTENER CLIENT ROUTE

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

static bool
dump_has(const struct config *c, const char *line)
{
    size_t n = strlen(line);

    for (const char *p = strstr(c->dump, line); p; p = strstr(p + 1, line))
        if ((p == c->dump || p[-1] == '\n') && (p[n] == '\n' || p[n] == ' '))
            return true;
    return false;
}

/* The figures of "Default limits and timeouts". */
static void
defaults_are_those_of_the_manual(void **state)
{
    struct config *c = config_files_load(BASE);
    const struct front_conf *f = &c->front;
    const struct route_conf *r = &c->routes[0];

    (void)state;
    assert_string_equal(c->user, "sendgov");
    assert_string_equal(c->state, SENDGOV_STATEDIR);
    assert_string_equal(f->temp_folder, SENDGOV_STATEDIR);
    assert_int_equal(c->drain_ms, 30000);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(f->message_bytes_max, 35 * 1024 * 1024);
    assert_int_equal(f->header_bytes_max, 256 * 1024);
    assert_int_equal(f->header_lines_max, 1000);
    assert_int_equal(f->line_bytes_max, 65536);
    assert_int_equal(f->recipients_max, 500);
    assert_int_equal(f->messages_max, 1000);
    assert_int_equal(f->hops_max, 100);
    assert_int_equal(f->connections_max, 1000);
    assert_int_equal(f->connections_per_ip, 50);
    assert_int_equal(f->unauthenticated_max, 200);
    assert_int_equal(f->connection_rate_per_minute, 120);
    assert_int_equal(f->connection_rate_burst, 60);
    assert_int_equal(f->errors_soft, 5);
    assert_int_equal(f->errors_hard, 10);
    assert_int_equal(f->junk_max, 50);
    assert_int_equal(f->auth_failures_session, 3);
    assert_int_equal(f->auth_failures_per_ip, 20);
    assert_int_equal(f->idle_ms, 300000);
    assert_int_equal(f->first_mail_ms, 60000);
    assert_int_equal(f->command_ms, 60000);
    assert_int_equal(f->handshake_ms, 30000);
    assert_int_equal(f->data_bytes_per_second_min, 500);
    assert_int_equal(f->body_memory_bytes, 64 * 1024 * 1024);
    assert_string_equal(c->store.target, "127.0.0.1:6379");
    assert_string_equal(c->store.group, "default");
    assert_null(c->store.user);
    assert_null(c->store.password);
    assert_false(c->store.tls);
    assert_false(c->store.allow_volatile);
    assert_int_equal(c->store.connect_ms, 500);
    assert_int_equal(c->store.command_ms, 250);
    assert_int_equal(c->store.settle_ms, 2000);
    assert_int_equal(r->tls, UPSTREAM_TLS_STARTTLS);
    assert_true(r->tls_verify);
    assert_true(r->connections == LIMIT_UNLIMITED);
    assert_int_equal(r->messages_per_connection, 100);
    assert_int_equal(r->idle_ms, 30000);
    assert_int_equal(r->age_ms, 600000);
    assert_int_equal(r->connect_ms, 15000);
    assert_int_equal(r->reply_ms, 60000);
    assert_int_equal(r->data_ms, 120000);
    assert_int_equal(r->block_ms, 180000);
    assert_int_equal(r->dot_ms, 600000);
    assert_null(r->default_mailbox);
    assert_null(r->warmup);
    assert_int_equal(c->listeners[0].tls_least, TLS_V1_2);
    assert_int_equal(c->listeners[0].bare_newline, BARE_REJECT);
    assert_false(c->listeners[0].auth_without_tls);
    assert_int_equal(c->clients[0].accept, ACCEPT_RELAY);
    assert_string_equal(c->clients[0].class, "default");
    assert_int_equal(c->n_classes, 0);
    assert_true(c->spool.enabled);
    assert_string_equal(c->spool.folder, SENDGOV_STATEDIR "/spool");
    assert_int_equal(c->spool.retry_first_ms, 60000);
    assert_int_equal(c->spool.retry_max_ms, 3600000);
    assert_int_equal(c->spool.lifetime_ms, 48 * 3600000);
    assert_int_equal(c->spool.warn_ms, 4 * 3600000);
    assert_int_equal(c->spool.uncertain_ms, 600000);
    assert_int_equal(c->spool.uncertain_max, 2);
    assert_int_equal(c->spool.size_limit_bytes, 35 * 1024 * 1024);
    assert_null(c->admin.http);
    config_unref(&c);
    assert_null(c);
}

static void
values_are_read(void **state)
{
    struct config *c = config_files_load(
        "\xef\xbb\xbf" /* a byte order mark is harmless */
        "node: n1\nstate: ./st\nhostname: Relay.X.test\nusers_file: users\ndrain_timeout: 5s\n"
        "log: {level: debug, format: json}\n"
        "redis: {url: \"rediss://gov@[::1]:7000/3\", password_file: secret, ca_file: cert.pem, group: g1, "
        "allow_volatile: yes, settle: 200ms}\n"
        "admin: {socket: ctl, http: \"127.0.0.1:9825\", groups: [adm, ops]}\n"
        "tls: {cert_file: cert.pem, key_file: key.pem}\n"
        "listeners:\n"
        "  apps: {address: [\"0.0.0.0:587\", \"[::]:587\"], tls: required, clients: app}\n"
        "  old: {address: \"[::1]:2525\", tls_min: \"1.0\", bare_lf: normalize, auth_without_tls: true, "
        "client_ca_file: cert.pem}\n"
        "clients:\n"
        "  app: {login: [erp, crm], senders: [\"@x.test\", Scan@X.Test], null_sender: true, accept: defer, "
        "class: alerts, mailbox: m@x.test}\n"
        "  dev: {certificates: [Dev.x.test], pins: "
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA, senders: \"*\", route: out}\n"
        "routes:\n"
        "  out: {upstream: \"[fd00::1]:587\", domains: [X.test, \"*.x.test\"], internal_domains: y.test, "
        "helo: H.x.test, pool: 5, "
        "connections: 7, idle_timeout: 1_500ms, tls_ca_file: cert.pem, replies: [{reply: \"4xx *\", words: "
        "later, class: throttle}]}\n"
        "mailboxes: {m@x.test: {route: out, auth: plain, user: \"DOM\\\\m\", password_file: secret, "
        "connections: 3}}\n");
    const struct client_conf *app = config_client(c, "app"), *dev = config_client(c, "dev");
    const struct mailbox_conf *m = config_mailbox(c, "m@x.test");
    const struct route_conf *r = config_route(c, "out");
    char path[128];

    (void)state;
    assert_string_equal(c->node, "n1");
    snprintf(path, sizeof path, "%s/st", config_files_folder());
    assert_string_equal(c->state, path);
    snprintf(path, sizeof path, "%s/users", config_files_folder());
    assert_string_equal(c->front.users_file, path);
    assert_string_equal(c->front.hostname, "relay.x.test");
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->log_format, LOG_JSON);
    assert_true(c->store.tls);
    assert_string_equal(c->store.target, "[::1]:7000");
    assert_string_equal(c->store.user, "gov");
    assert_int_equal(c->store.database, 3);
    assert_string_equal(c->store.password, "pass word");
    assert_true(c->store.allow_volatile);
    assert_int_equal(c->admin.n_groups, 2);
    assert_string_equal(c->admin.groups[1], "ops");
    assert_int_equal(c->listeners[0].n_addresses, 2);
    assert_string_equal(c->listeners[0].addresses[1], "[::]:587");
    assert_int_equal(c->listeners[0].tls, FRONT_TLS_REQUIRED);
    assert_string_equal(c->listeners[0].clients[0], "app");
    assert_non_null(strstr(c->listeners[0].tls_cert_file, "/cert.pem")); /* from section tls */
    assert_int_equal(c->listeners[1].tls, FRONT_TLS_STARTTLS);
    assert_int_equal(c->listeners[1].tls_least, TLS_V1_0);
    assert_int_equal(c->listeners[1].bare_newline, BARE_NORMALIZE);
    assert_true(c->listeners[1].auth_without_tls);
    assert_int_equal(app->n_logins, 2);
    assert_string_equal(app->senders[1], "Scan@x.test");
    assert_int_equal(app->accept, ACCEPT_DEFER);
    assert_string_equal(app->class, "alerts");
    assert_true(app->null_sender);
    assert_string_equal(app->route, "out"); /* from its mailbox */
    assert_string_equal(dev->cert_names[0], "dev.x.test");
    assert_string_equal(
        dev->cert_pins[0], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_string_equal(r->upstream, "[fd00::1]:587");
    assert_string_equal(r->domains[0], "x.test");
    assert_string_equal(r->internal_domains[0], "y.test");
    assert_string_equal(r->helo, "h.x.test");
    assert_int_equal(r->pool_max, 5);
    assert_int_equal(r->connections, 7);
    assert_int_equal(r->idle_ms, 1500);
    assert_string_equal(r->default_mailbox, "m@x.test"); /* its only one */
    assert_int_equal(r->replies.n, 1);
    assert_int_equal(r->replies.rules[0].code, 4);
    assert_int_equal(r->replies.rules[0].from.class, 0);
    assert_string_equal(r->replies.rules[0].words, "later");
    assert_int_equal(r->replies.rules[0].class, CLASS_THROTTLE);
    assert_int_equal(m->auth, UPSTREAM_AUTH_PLAIN);
    assert_string_equal(m->user, "DOM\\m");
    assert_string_equal(m->password, "pass word");
    assert_int_equal(m->connections, 3);
    assert_null(config_client(c, "nobody"));
    assert_null(config_route(c, NULL));
    config_unref(&c);
}

static void
the_spool_and_its_classes(void **state)
{
    struct config *c = config_files_load(LISTENER ROUTE
        "state: ./st\nsmtp: {message_size: 10MiB}\n"
        "spool: {retry_first: 10ms, retry_max: 10ms, lifetime: 30d, warn_after: 29d, uncertain_delay: 7d, "
        "uncertain_tries: 1}\n"
        "classes: {alerts: {weight: 40}, newsletters: {weight: 1}, default: {weight: 1000}, bulk: {}}\n"
        "clients: {app: {networks: [10.0.0.0/8], senders: [\"@x.test\"], accept: spool, class: alerts}, "
        "other: {networks: [10.1.0.0/16], senders: [\"@x.test\"]}}\n");
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/st/spool", config_files_folder());
    assert_string_equal(c->spool.folder, path);
    assert_int_equal(c->spool.retry_first_ms, 10);
    assert_int_equal(c->spool.retry_max_ms, 10);
    assert_true(c->spool.lifetime_ms == INT64_C(30) * 86400000); /* more than an int holds */
    assert_true(c->spool.warn_ms == INT64_C(29) * 86400000);
    assert_int_equal(c->spool.uncertain_ms, 7 * 86400000);
    assert_int_equal(c->spool.uncertain_max, 1);
    assert_int_equal(c->spool.size_limit_bytes, 10 * 1024 * 1024);
    assert_true(dump_has(c, "spool.lifetime: 30d"));
    assert_int_equal(config_client(c, "app")->accept, ACCEPT_SPOOL);
    assert_int_equal(c->n_classes, 4);
    assert_string_equal(c->classes[0].name, "alerts");
    assert_int_equal(c->classes[0].weight, 40);
    assert_int_equal(c->classes[2].weight, 1000);
    assert_int_equal(c->classes[3].weight, 10);
    config_unref(&c);
}

/* Without a spool, and any class while none are listed. */
static void
no_spool_and_no_classes(void **state)
{
    struct config *c = config_files_load(LISTENER ROUTE
        "spool: {enabled: false, folder: elsewhere}\n"
        "clients: {app: {networks: [10.0.0.0/8], senders: [\"@x.test\"], class: whatever}}\n");
    char path[128];

    (void)state;
    assert_false(c->spool.enabled);
    snprintf(path, sizeof path, "%s/elsewhere", config_files_folder());
    assert_string_equal(c->spool.folder, path);
    assert_string_equal(c->clients[0].class, "whatever");
    config_unref(&c);
}

static void
network_is(const struct network *n, const char *address, unsigned prefix)
{
    struct in6_addr expected;

    assert_int_equal(inet_pton(AF_INET6, address, &expected), 1);
    assert_memory_equal(&n->address, &expected, sizeof expected);
    assert_int_equal(n->prefix, prefix);
}

static void
networks_are_v6_inside(void **state)
{
    struct config *c = config_files_load(
        LISTENER ROUTE "clients: {app: {networks: [10.0.0.0/8, 192.168.1.7, \"::ffff:172.16.0.0/108\", "
                       "\"fd00:1::/64\", \"fe80::/10\", 100.64.0.0/10, "
                       "127.0.0.2, \"::1\"], senders: [\"@x.test\"]}}\n");
    const struct client_conf *app = config_client(c, "app");

    (void)state;
    assert_int_equal(app->n_networks, 8);
    network_is(&app->networks[0], "::ffff:10.0.0.0", 104);
    network_is(&app->networks[1], "::ffff:192.168.1.7", 128);
    network_is(&app->networks[2], "::ffff:172.16.0.0", 108);
    network_is(&app->networks[3], "fd00:1::", 64);
    assert_false(app->auth_needed);
    assert_true(dump_has(c,
        "clients.app.networks: 10.0.0.0/8, 192.168.1.7/32, 172.16.0.0/12, fd00:1::/64, fe80::/10, "
        "100.64.0.0/10, "
        "127.0.0.2/32, ::1/128"));
    config_unref(&c);
}

/* Whatever is more than a private range needs a login as well; what is everybody is refused (see the tables).
 */
static void
wide_networks_need_a_login(void **state)
{
    static const char *const wide[] = {"198.51.100.7", "11.0.0.0/8", "0.0.0.0/1", "172.0.0.0/8",
        "192.168.0.0/15", "2001:db8::/32", "fc00::/6", "fe80::/9", "100.64.0.0/9", "::/97"};
    char yaml[1024];

    (void)state;
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        struct err err = {""};
        struct config *c;

        snprintf(yaml, sizeof yaml, "%s%sclients: {app: {networks: [\"%s\"], senders: [\"@x.test\"]}}\n",
            TLS_LISTENER, ROUTE, wide[i]);
        config_files_write("w.yaml", yaml, strlen(yaml), 0600);
        assert_null(config_load("w.yaml", &err));
        snprintf(yaml, sizeof yaml,
            "%s%sclients: {app: {login: a, networks: [\"%s\"], senders: [\"@x.test\"]}}\n", TLS_LISTENER,
            ROUTE, wide[i]);
        config_files_write("w.yaml", yaml, strlen(yaml), 0600);
        c = config_load("w.yaml", &err);
        if (!c) { /* host bits make some of them no network at all */
            assert_non_null(strstr(err.text, "has bits set behind its prefix"));
            continue;
        }
        assert_true(c->clients[0].auth_needed);
        config_unref(&c);
    }
}

static void
redis_addresses(void **state)
{
    static const struct {
        const char *url, *target, *user;
        bool tls;
        unsigned database;
    } cases[] = {
        {"redis://127.0.0.1", "127.0.0.1:6379", NULL, false, 0},
        {"redis://redis.x.test:7000", "redis.x.test:7000", NULL, false, 0},
        {"REDIS://u@h/15", "h:6379", "u", false, 15},
        {"rediss://h", "h:6379", NULL, true, 0},
        {"rediss://u@[::1]/1", "[::1]:6379", "u", true, 1},
        {"unix:/run/redis.sock", "unix:/run/redis.sock", NULL, false, 0},
        {"redis+sentinel://a,b:5,[::1]/main", "a:26379,b:5,[::1]:26379", NULL, false, 0},
        {"rediss+sentinel://u@a.x.test/main/2", "a.x.test:26379", "u", true, 2},
        {"redis+cluster://a,b:5", "a:6379,b:5", NULL, false, 0},
        {"rediss+cluster://u@[::1]:7000/0", "[::1]:7000", "u", true, 0},
    };
    char yaml[1024];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *c;

        snprintf(yaml, sizeof yaml, "%sredis: {url: \"%s\"}\n", BASE, cases[i].url);
        c = config_files_load(yaml);
        assert_string_equal(c->store.target, cases[i].target);
        assert_int_equal(c->store.tls, cases[i].tls);
        if (c->store.topology == STORE_SENTINEL)
            assert_string_equal(c->store.master, "main");
        else
            assert_null(c->store.master);
        assert_int_equal(c->store.database, cases[i].database);
        if (cases[i].user)
            assert_string_equal(c->store.user, cases[i].user);
        else
            assert_null(c->store.user);
        config_unref(&c);
    }
}

static void
includes_are_merged(void **state)
{
    static const char one[] = "clients: {app: {networks: [10.0.0.0/8], senders: [\"@x.test\"]}}\nredis: "
                              "{group: g}\nadmin: {socket: here}\n";
    static const char two[] = "clients: {other: {networks: [10.1.0.0/16], senders: [\"@x.test\"]}}\n";
    struct config *c;
    char path[128];

    (void)state;
    assert_int_equal(mkdir("conf.d", 0700), 0);
    config_files_write("conf.d/1.yaml", one, strlen(one), 0600);
    config_files_write("conf.d/2.yaml", two, strlen(two), 0600);
    config_files_write("conf.d/3.yaml", "# limits:\n#   later: {}\n", 24, 0600); /* nothing yet */
    config_files_write("conf.d/4.yaml", "", 0, 0600);
    c = config_files_load(
        "include: [conf.d/*.yaml, none.d/*.yaml]\nredis: {url: \"redis://h\"}\n" LISTENER ROUTE);
    assert_int_equal(c->n_clients, 2);
    assert_string_equal(c->store.group, "g");
    assert_string_equal(c->store.target, "h:6379");
    snprintf(path, sizeof path, "%s/conf.d/here", config_files_folder()); /* beside the file that says it */
    assert_string_equal(c->admin.socket, path);
    snprintf(path, sizeof path, "redis.group: g  # %s/conf.d/1.yaml:2", config_files_folder());
    assert_true(dump_has(c, path));
    config_unref(&c);
}

static void
aliases_are_copies(void **state)
{
    struct config *c =
        config_files_load(LISTENER ROUTE "clients:\n  a: {networks: [10.0.0.0/8], senders: &s "
                                         "[\"@x.test\"]}\n  b: {networks: [10.1.0.0/16], senders: *s}\n");

    (void)state;
    assert_string_equal(c->clients[1].senders[0], "@x.test");
    config_unref(&c);
}

static void
domains_find_their_route(void **state)
{
    struct config *c = config_files_load(
        LISTENER "routes:\n  one: {upstream: \"a.test:25\", domains: [x.test, \"*.y.test\"]}\n  two: "
                 "{upstream: \"b.test:25\", domains: [z.test, x.test]}\n"
                 "clients:\n  app: {networks: [10.0.0.0/8], senders: [\"@x.test\"], route: two}\n  other: "
                 "{networks: [10.1.0.0/16], senders: [\"@z.test\"]}\n");
    bool ambiguous;

    (void)state;
    assert_string_equal(config_route_for_domain(c, SPAN_LIT("z.test"), &ambiguous)->name, "two");
    assert_false(ambiguous);
    assert_string_equal(config_route_for_domain(c, SPAN_LIT("a.y.test"), &ambiguous)->name, "one");
    assert_null(config_route_for_domain(c, SPAN_LIT("w.test"), &ambiguous));
    assert_false(ambiguous);
    assert_null(config_route_for_domain(c, SPAN_LIT("x.test"), &ambiguous));
    assert_true(ambiguous);
    config_unref(&c);
}

/* Secrets are in no text that leaves, and their files are found among the service manager's credentials
 * first. */
static void
secrets_are_masked(void **state)
{
    char folder[128];
    struct config *c;

    (void)state;
    assert_int_equal(mkdir("credentials", 0700), 0);
    config_files_write("credentials/secret", "another word\r\n", 14, 0600);
    snprintf(folder, sizeof folder, "%s/credentials", config_files_folder());
    c = config_files_load(
        BASE "redis: {password_file: secret}\nmailboxes: {m@x.test: {route: out, password_file: secret}}\n");
    assert_true(dump_has(c, "redis.password_file: ***"));
    assert_true(dump_has(c, "mailboxes.m@x.test.password_file: ***"));
    assert_null(strstr(c->dump, "pass word"));
    config_unref(&c);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    c = config_files_load(
        BASE "redis: {password_file: secret}\ntls: {cert_file: cert.pem, key_file: key.pem}\n");
    assert_string_equal(c->store.password, "another word");
    assert_non_null(strstr(c->dump, "/key.pem")); /* not there: beside the file */
    assert_null(strstr(c->dump, "another"));
    config_unref(&c);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void
hash_of(const char *yaml, char out[17])
{
    struct config *c = config_files_load(yaml);

    memcpy(out, c->hash, sizeof c->hash);
    config_unref(&c);
}

static void
the_hash_changes_with_the_values(void **state)
{
    char base[17], same[17], other[17];

    (void)state;
    hash_of(BASE "drain_timeout: 60s\n", base);
    assert_int_equal(strlen(base), 16);
    hash_of("# a remark\n\ndrain_timeout: 1min\n" BASE, same);
    assert_string_equal(base, same);
    hash_of(BASE "drain_timeout: 61s\n", other);
    assert_string_not_equal(base, other);
    hash_of(BASE "redis: {password_file: secret}\n", base);
    hash_of(BASE "redis: {password_file: secret}\n", same);
    assert_string_equal(base, same);
    config_files_write("secret.new", "changed!!\n", 10, 0600); /* as long as the old one */
    assert_int_equal(rename("secret.new", "secret"), 0);
    hash_of(BASE "redis: {password_file: secret}\n", other);
    assert_string_not_equal(base, other);
    config_files_write("secret", "pass word\n", 10, 0600);
}

static unsigned
warnings_with(const struct config *c, const char *text)
{
    unsigned n = 0;

    for (size_t i = 0; i < c->n_warnings; i++)
        n += strstr(c->warnings[i].text, text) != NULL && strncmp(c->warnings[i].position, "c.yaml:", 7) == 0;
    return n;
}

static void
doubtful_settings_are_warned_of(void **state)
{
    struct config *c =
        config_files_load("users_file: users\n"
                          "listeners: {in: {address: \"10.0.0.1:2525\", cert_file: cert.pem, key_file: "
                          "key.pem, tls_min: \"1.1\", auth_without_tls: true}}\n"
                          "routes:\n  a: {upstream: \"mail.x.test:25\", domains: [x.test], tls: off}\n"
                          "  b: {upstream: \"mail.x.test:25\", domains: [y.test], tls_verify: false, "
                          "profile: m365-submission, warmup: new-tenant}\n");

    (void)state;
    assert_int_equal(warnings_with(c, "below 1.2"), 1);
    assert_int_equal(warnings_with(c, "passwords travel readable"), 1);
    assert_int_equal(warnings_with(c, "route a sends without TLS"), 1);
    assert_int_equal(warnings_with(c, "route a has no warmup"), 1);
    assert_int_equal(warnings_with(c, "route b does not verify"), 1);
    assert_int_equal(warnings_with(c, "route b has no licences"), 1);
    assert_int_equal(warnings_with(c, "there are no clients"), 1);
    assert_int_equal(warnings_with(c, ""), 7); /* those of an old profile stand in its file */
    config_unref(&c);
    c = config_files_load(BASE);
    assert_int_equal(c->n_warnings, 0);
    config_unref(&c);
}

static void
references_are_counted(void **state)
{
    struct config *c = config_files_load(BASE), *second = config_ref(c);

    (void)state;
    config_unref(&c);
    assert_null(c);
    assert_string_equal(second->clients[0].name, "app");
    config_unref(&second);
    config_unref(&second);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(the_spool_and_its_classes),
        cmocka_unit_test(no_spool_and_no_classes),
        cmocka_unit_test(networks_are_v6_inside),
        cmocka_unit_test(wide_networks_need_a_login),
        cmocka_unit_test(redis_addresses),
        cmocka_unit_test(includes_are_merged),
        cmocka_unit_test(aliases_are_copies),
        cmocka_unit_test(domains_find_their_route),
        cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(the_hash_changes_with_the_values),
        cmocka_unit_test(doubtful_settings_are_warned_of),
        cmocka_unit_test(references_are_counted),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
