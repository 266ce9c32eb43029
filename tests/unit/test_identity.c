/* Unit tests of identity and sender: who it is and what it may send, decided on a small configuration. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/front/identity.h"
#include "relay/front/sender.h"
#include "relay/smtp/header.h"
#include "tls/tls.h"

static struct network
net(const char *address, unsigned prefix)
{
    struct network n = {.prefix = prefix};

    assert_int_equal(inet_pton(AF_INET6, address, &n.address), 1);
    return n;
}

static const char *const erp_logins[] = {"erp", "erp2"}, *const wide_logins[] = {"wide"};
static const char *const names[] = {"app.contoso.com"}, *const pins[] = {"AB12"};
static const char *const contoso[] = {"@contoso.com", "boss@fabrikam.com"}, *const anybody[] = {"*"};
static const char *const only_erp[] = {"erp"};
static struct network lab[1], hall[2], wide[1];

enum { ERP, CERT, PIN, LAB, HALL, WIDE, CLIENTS };

static struct client_conf clients[CLIENTS] = {
    [ERP] = {.name = "erp", .logins = erp_logins, .n_logins = 2, .senders = contoso, .n_senders = 2},
    [CERT] = {.name = "cert", .cert_names = names, .n_cert_names = 1},
    [PIN] = {.name = "pin", .cert_pins = pins, .n_cert_pins = 1},
    [LAB] = {.name = "lab", .networks = lab, .n_networks = 1, .senders = anybody, .n_senders = 1},
    [HALL] = {.name = "hall", .networks = hall, .n_networks = 2},
    [WIDE] = {.name = "wide",
        .networks = wide,
        .n_networks = 1,
        .auth_needed = true,
        .logins = wide_logins,
        .n_logins = 1},
};
static const struct listener_conf everyone = {.name = "all"};
static const struct listener_conf erp_only = {.name = "erp", .clients = only_erp, .n_clients = 1};
static struct config config = {.clients = clients, .n_clients = CLIENTS};

static int
setup(void **state)
{
    (void)state;
    lab[0] = net("::ffff:10.0.0.0", 96 + 8);
    hall[0] = net("::ffff:10.1.2.0", 96 + 23);
    hall[1] = net("2001:db8:1::", 48);
    wide[0] = net("::ffff:10.1.2.128", 96 + 25);
    return 0;
}

static const char *
who(const struct listener_conf *listener, const char *address, const struct tls_peer *tls, const char *login)
{
    struct in6_addr a;
    struct identity_facts facts = {address != NULL ? &a : NULL, tls, login};
    const struct client_conf *client;

    if (address != NULL)
        assert_int_equal(inet_pton(AF_INET6, address, &a), 1);
    client = identity_find(&config, listener, &facts);
    return client != NULL ? client->name : "";
}

static void
test_networks(void **state)
{
    (void)state;
    assert_string_equal(who(&everyone, "::ffff:10.9.9.9", NULL, NULL), "lab");
    assert_string_equal(who(&everyone, "::ffff:10.1.3.127", NULL, NULL), "hall");
    assert_string_equal(who(&everyone, "::ffff:10.1.2.127", NULL, NULL), "hall");
    assert_string_equal(who(&everyone, "::ffff:10.1.4.1", NULL, NULL), "lab");
    assert_string_equal(who(&everyone, "2001:db8:1:ffff::1", NULL, NULL), "hall");
    assert_string_equal(who(&everyone, "2001:db8:2::1", NULL, NULL), "");
    assert_string_equal(who(&everyone, "::ffff:11.0.0.1", NULL, NULL), "");
    assert_string_equal(who(&everyone, "::10.9.9.9", NULL, NULL), "");
    assert_string_equal(who(&everyone, "::1", NULL, NULL), "");
    assert_string_equal(who(&everyone, NULL, NULL, NULL), "");
    /* the most specific network needs a login: the wider ones do not let it in */
    assert_string_equal(who(&everyone, "::ffff:10.1.2.200", NULL, NULL), "");
    assert_string_equal(who(&erp_only, "::ffff:10.9.9.9", NULL, NULL), "");
}

static void
test_logins(void **state)
{
    (void)state;
    assert_string_equal(who(&everyone, "::ffff:192.0.2.1", NULL, "erp2"), "erp");
    assert_string_equal(who(&everyone, "::ffff:10.9.9.9", NULL, "erp"), "erp");
    assert_string_equal(who(&everyone, "::ffff:192.0.2.1", NULL, "ERP"), "");
    assert_string_equal(who(&everyone, "::ffff:10.9.9.9", NULL, "unknown"), "lab");
    assert_string_equal(who(&everyone, "::ffff:10.1.2.200", NULL, "wide"), "wide");
    assert_string_equal(who(&everyone, "::ffff:192.0.2.1", NULL, "wide"), "");
    assert_string_equal(who(&everyone, NULL, NULL, "wide"), "");
    assert_true(identity_login_helps(&config, &everyone));
    assert_true(identity_login_helps(&config, &erp_only));
}

static void
test_certificates(void **state)
{
    static const char *const dns[] = {"x.test", "APP.contoso.com"};
    struct tls_peer tls = {.version = "",
        .cipher = "",
        .cert_subject = "",
        .cert_name = "",
        .spki_sha256 = "",
        .cert_error = ""};

    (void)state;
    assert_string_equal(who(&everyone, NULL, &tls, NULL), "");
    tls.presented_cert = true;
    tls.cert_name = "app.contoso.com";
    assert_string_equal(who(&everyone, NULL, &tls, NULL), ""); /* not verified */
    tls.has_cert = true;
    assert_string_equal(who(&everyone, NULL, &tls, NULL), "cert");
    assert_string_equal(who(&everyone, "::ffff:10.9.9.9", &tls, NULL), "cert");
    assert_string_equal(who(&everyone, NULL, &tls, "erp"), "erp");
    tls.cert_name = "other";
    assert_string_equal(who(&everyone, NULL, &tls, NULL), "");
    tls.dns_names = dns;
    tls.n_dns_names = 2;
    assert_string_equal(who(&everyone, NULL, &tls, NULL), "cert");
    tls.n_dns_names = 1;
    tls.has_cert = false;
    tls.spki_sha256 = "ab12"; /* the key itself: no CA needed */
    assert_string_equal(who(&everyone, NULL, &tls, NULL), "pin");
    tls.spki_sha256 = "ab13";
    assert_string_equal(who(&everyone, NULL, &tls, NULL), "");
}

/* ---- sender ---- */

static const char *const r1_domains[] = {"contoso.com", "fabrikam.com"},
                         *const r1_internal[] = {"*.corp.example"};
static const char *const r2_domains[] = {"tailspin.com", "fabrikam.com"};
static const struct route_conf routes[] = {
    {.name = "r1",
        .domains = r1_domains,
        .n_domains = 2,
        .internal_domains = r1_internal,
        .n_internal_domains = 1,
        .default_mailbox = "relay@contoso.com"},
    {.name = "r2", .domains = r2_domains, .n_domains = 2},
};
static const struct mailbox_conf mailboxes[] = {
    {.name = "relay@contoso.com", .route = "r1"},
    {.name = "scan@contoso.com", .route = "r1"},
    {.name = "a@tailspin.com", .route = "r1"},
};

/* "r1 relay@contoso.com", or "550". */
static const char *
admit(const struct client_conf *client, const char *sender)
{
    static char text[1200];
    struct config c = {.clients = clients, .n_clients = CLIENTS, .routes = routes, .n_routes = 2,
        .mailboxes = mailboxes, .n_mailboxes = 3};
    struct sender_path path;
    struct reply refusal;
    struct address a;

    if (sender[0] == '\0')
        address_init(&a);
    else
        assert_int_equal(address_parse_plain(span_str(sender), &a), ADDRESS_OK);
    if (sender_admit(&c, client, &a, &path, &refusal))
        snprintf(
            text, sizeof text, "%s %s", path.route->name, path.mailbox != NULL ? path.mailbox->name : "-");
    else
        snprintf(text, sizeof text, "%d %s", refusal.code, refusal.text);
    address_fini(&a);
    return text;
}

static bool
begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void
test_senders(void **state)
{
    struct client_conf c = clients[ERP];

    (void)state;
    assert_string_equal(admit(&c, "x@contoso.com"), "r1 relay@contoso.com");
    assert_string_equal(admit(&c, "scan@contoso.com"), "r1 scan@contoso.com");
    assert_string_equal(admit(&c, "SCAN@contoso.com"), "r1 scan@contoso.com");
    assert_true(begins(admit(&c, "x@tailspin.com"), "550 client erp may not send as x@tailspin.com"));
    assert_true(
        begins(admit(&c, "boss@fabrikam.com"), "550 sender domain fabrikam.com is registered on several"));
    c.route = "r2";
    assert_string_equal(admit(&c, "boss@fabrikam.com"), "r2 -");
    assert_true(
        begins(admit(&c, "x@contoso.com"), "550 sender domain contoso.com is not registered on route r2"));
    c.mailbox = "relay@contoso.com";
    assert_string_equal(admit(&c, "boss@fabrikam.com"), "r2 relay@contoso.com");
    c = clients[LAB];
    assert_string_equal(
        admit(&c, "a@tailspin.com"), "r2 -"); /* the mailbox of that name is of another route */
    assert_true(begins(
        admit(&c, "a@nobody.example"), "550 sender domain nobody.example (client lab) is not registered"));
    c.n_senders = 0;
    assert_true(begins(admit(&c, "x@contoso.com"), "550 client lab may not send as"));
}

static void
test_null_sender(void **state)
{
    struct client_conf c = clients[ERP];

    (void)state;
    assert_true(begins(admit(&c, ""), "550 client erp may not use the null sender"));
    c.null_sender = true;
    assert_true(begins(admit(&c, ""), "550 the null sender tells no route"));
    c.route = "r1";
    assert_string_equal(admit(&c, ""), "r1 relay@contoso.com");
}

static int
class_of(const char *recipient)
{
    enum recipient_class class = RECIPIENT_EXTERNAL;
    struct reply refusal;
    struct address a;
    bool ok;

    assert_int_equal(address_parse_plain(span_str(recipient), &a), ADDRESS_OK);
    ok = sender_admit_recipient(&routes[0], &a, &class, &refusal);
    address_fini(&a);
    return ok ? (int)class : refusal.code;
}

static void
test_recipients(void **state)
{
    (void)state;
    assert_int_equal(class_of("u@contoso.com"), RECIPIENT_INTERNAL);
    assert_int_equal(class_of("u@CONTOSO.com."), RECIPIENT_INTERNAL);
    assert_int_equal(class_of("u@a.corp.example"), RECIPIENT_INTERNAL);
    assert_int_equal(class_of("u@corp.example"), RECIPIENT_EXTERNAL);
    assert_int_equal(class_of("u@x.example"), RECIPIENT_EXTERNAL);
    assert_int_equal(class_of("u%x.example@contoso.com"), 550);
    assert_int_equal(class_of("x.example!u@contoso.com"), 550);
    assert_int_equal(class_of("\"u@x.example\"@contoso.com"), 550);
}

static int
authors_of(const char *from)
{
    struct header_authors authors;
    struct reply refusal;
    bool ok;

    assert_true(header_parse_authors(span_str(from), &authors));
    ok = sender_admit_authors(&clients[ERP], &routes[0], &authors, &refusal);
    header_authors_fini(&authors);
    return ok ? 0 : refusal.code;
}

static void
test_authors(void **state)
{
    (void)state;
    assert_int_equal(authors_of("ERP <x@contoso.com>"), 0);
    assert_int_equal(authors_of("x@contoso.com, boss@fabrikam.com"), 0);
    assert_int_equal(authors_of("\"x@contoso.com\" <x@evil.example>"), 550);
    assert_int_equal(authors_of("x@contoso.com, x@evil.example"), 550);
    assert_int_equal(authors_of("other@fabrikam.com"), 550);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_senders),
        cmocka_unit_test(test_null_sender),
        cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_authors),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
