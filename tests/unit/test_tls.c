/* Unit tests of tls, and of streams that use it: two streams of one loop over real TCP. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/base/file.h"
#include "relay/net/stream_part.h"
#include "tests/lib/certs.h"
#include "tests/lib/peer.h"
#include "tls/tls.h"

static char folder[] = "/tmp/sendgov-tls.XXXXXX";

static const char *
path_of(const char *name, char out[300])
{
    snprintf(out, 300, "%s/%s", folder, name);
    return out;
}

static int
make_certs(void **state)
{
    static const struct cert_spec specs[] = {
        {.file = "ca", .cn = "Test CA", .is_ca = true},
        {.file = "other-ca", .cn = "Other CA", .is_ca = true},
        {.file = "good", .cn = "mail.example", .san = "DNS:mail.example,DNS:*.wild.example,IP:127.0.0.1",
            .issuer = "ca"},
        {.file = "expired", .cn = "x", .san = "DNS:mail.example", .from_sec = -7200, .till_sec = -3600,
            .issuer = "ca"},
        {.file = "early", .cn = "x", .san = "DNS:mail.example", .from_sec = 3600, .till_sec = 7200,
            .issuer = "ca"},
        {.file = "self", .cn = "mail.example", .san = "DNS:mail.example"},
        {.file = "unknown", .cn = "x", .san = "DNS:mail.example", .issuer = "other-ca"},
        {.file = "cn-only-right", .cn = "mail.example", .san = "DNS:other.example", .issuer = "ca"},
        {.file = "nul", .cn = "x", .raw_dns = "mail.example\0.evil.example", .raw_dns_len = 26,
            .issuer = "ca"},
        {.file = "client", .cn = "erp", .san = "DNS:erp.corp.example,DNS:erp2.corp.example", .issuer = "ca"},
        {.file = "client-other", .cn = "erp", .issuer = "other-ca"},
        {.file = "client-expired", .cn = "erp", .from_sec = -7200, .till_sec = -3600, .issuer = "ca"},
        {.file = "client-nul", .cn = "erp\0evil", .cn_len = 8, .issuer = "ca"},
        {.file = "client-two", .cn = "erp", .cn2 = "admin", .issuer = "ca"},
        {.file = "client-utf8", .cn = "\xd0\xb5rp", .issuer = "ca"},
    };

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
        cert_make(folder, &specs[i]);
    return 0;
}

static int
remove_certs(void **state)
{
    DIR *d = opendir(folder);
    char path[300];

    (void)state;
    for (struct dirent *e; (e = readdir(d));)
        unlink(path_of(e->d_name, path));
    closedir(d);
    return rmdir(folder);
}

struct files {
    char cert[300], key[300], ca[300];
};

static void
name_files(struct files *f, const char *name, const char *ca)
{
    char file[100];

    snprintf(file, sizeof(file), "%s.pem", name);
    path_of(file, f->cert);
    snprintf(file, sizeof(file), "%s.key", name);
    path_of(file, f->key);
    snprintf(file, sizeof(file), "%s.pem", ca ? ca : "ca");
    path_of(file, f->ca);
}

static struct tls_ctx *
server_ctx(const char *name, const char *client_ca, bool ask)
{
    struct tls_server_conf conf = {.least = TLS_V1_2, .ask_client_cert = ask};
    struct files f;
    struct err err = {""};
    struct tls_ctx *ctx;

    name_files(&f, name, client_ca);
    conf.cert_file = f.cert;
    conf.key_file = f.key;
    conf.client_ca_file = client_ca ? f.ca : NULL;
    ctx = tls_server_ctx_new(&conf, &err);
    assert_string_equal(err.text, "");
    assert_non_null(ctx);
    return ctx;
}

/* cert NULL: without client certificate. */
static struct tls_ctx *
client_ctx(const char *cert, bool verify)
{
    struct tls_client_conf conf = {.verify = verify};
    struct files f;
    struct err err = {""};
    struct tls_ctx *ctx;

    name_files(&f, cert ? cert : "x", NULL);
    conf.ca_file = f.ca;
    conf.cert_file = cert ? f.cert : NULL;
    conf.key_file = f.key;
    ctx = tls_client_ctx_new(&conf, &err);
    assert_string_equal(err.text, "");
    assert_non_null(ctx);
    return ctx;
}

struct bench {
    struct loop *loop;
    struct tls_ctx *server_ctx, *client_ctx;
    struct end server, client;
};

static void
bench_open(struct bench *b, struct tls_ctx *server, struct tls_ctx *client, bool small_buffers)
{
    struct err err;
    int fds[2];

    b->loop = loop_new(NULL, &err);
    b->server_ctx = server;
    b->client_ctx = client;
    tcp_pair(fds, small_buffers);
    end_open(&b->client, b->loop, fds[0]);
    end_open(&b->server, b->loop, fds[1]);
}

static void
bench_close(struct bench *b)
{
    end_close(&b->server);
    end_close(&b->client);
    loop_free(&b->loop);
    tls_ctx_unref(&b->server_ctx);
    tls_ctx_unref(&b->client_ctx);
}

static void
bench_secure(struct bench *b, const char *host)
{
    stream_start_tls_server(b->server.stream, b->server_ctx);
    stream_start_tls_client(b->client.stream, b->client_ctx, host);
    for (int64_t until = clock_mono_ms() + 5000; clock_mono_ms() < until;) {
        if ((b->server.on_secure && b->client.on_secure) || (b->server.on_end && b->client.on_end))
            return;
        loop_turn(b->loop, 20);
    }
    fail_msg("the handshake did not end");
}

static void
test_good(void **state)
{
    struct bench b;
    const struct tls_peer *peer;

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    assert_null(stream_tls_peer(b.client.stream));
    bench_secure(&b, "mail.example");
    assert_int_equal(b.client.on_secure, 1);
    assert_true(stream_is_tls(b.client.stream));
    peer = stream_tls_peer(b.client.stream);
    assert_string_equal(peer->version, "TLSv1.3");
    assert_string_equal(peer->cert_name, "mail.example");
    assert_true(peer->has_cert);
    assert_int_equal(peer->n_dns_names, 2);
    assert_string_equal(peer->dns_names[1], "*.wild.example");
    assert_int_equal(strlen(peer->spki_sha256), 64);
    peer = stream_tls_peer(b.server.stream);
    assert_false(peer->presented_cert || peer->has_cert);
    assert_string_equal(peer->cert_name, "");
    end_write(&b.server, "220 ");
    end_write(&b.server, "hello\r\n");
    assert_true(turn_until_got(b.loop, &b.client, 11));
    assert_true(end_got(&b.client, "220 hello\r\n"));
    assert_int_equal(b.client.on_data, 1); /* one record */
    assert_int_equal(stream_bytes_in(b.client.stream), 11);
    assert_false(stream_is_dead(b.client.stream));
    stream_finish(&b.server.stream, 1000);
    assert_true(turn_until(b.loop, &b.client.on_end, 1));
    assert_int_equal(b.client.how, STREAM_EOF);
    bench_close(&b);
}

static void
test_truncated(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    bench_secure(&b, "127.0.0.1"); /* by address: the iPAddress entry */
    assert_int_equal(b.client.on_secure, 1);
    end_write(&b.client, "half a mess");
    loop_turn(b.loop, 0);
    shutdown(stream_fd(b.client.stream), SHUT_WR); /* TCP ends, TLS does not */
    assert_true(turn_until(b.loop, &b.server.on_end, 1));
    assert_true(end_got(&b.server, "half a mess"));
    assert_int_equal(b.server.how, STREAM_TRUNCATED);
    assert_non_null(strstr(b.server.detail, "without close_notify"));
    bench_close(&b);
}

static void
test_reset(void **state)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    struct bench b;

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    bench_secure(&b, "mail.example");
    setsockopt(stream_fd(b.client.stream), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    turns(b.loop, 2);
    stream_close(&b.client.stream);
    assert_true(turn_until(b.loop, &b.server.on_end, 1));
    assert_int_equal(b.server.how, STREAM_RESET);
    bench_close(&b);
}

/* Both directions at once, more than the kernel takes, with marks. */
static void
test_bulk(void **state)
{
    enum { N = 1000000 };
    struct bench b;
    struct end *ends[2] = {&b.client, &b.server};
    size_t sent[2] = {0, 0};
    char block[5000];

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), true);
    bench_secure(&b, "a.wild.example");
    for (int64_t until = clock_mono_ms() + 20000; clock_mono_ms() < until;) {
        for (int k = 0; k < 2; k++)
            while (sent[k] < N && !stream_is_full(ends[k]->stream)) {
                for (size_t i = 0; i < sizeof(block); i++)
                    block[i] = (char)((sent[k] + i) % 241);
                stream_write(ends[k]->stream, span_of(block, sizeof(block)));
                sent[k] += sizeof(block);
            }
        if (buf_len(&b.client.got) == N && buf_len(&b.server.got) == N)
            break;
        loop_turn(b.loop, 20);
    }
    for (int k = 0; k < 2; k++) {
        assert_int_equal(buf_len(&ends[k]->got), N);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(ends[k]->got.p[i], (char)(i % 241));
        assert_int_equal(stream_queued(ends[k]->stream), 0);
    }
    bench_close(&b);
}

static size_t
take_100_and_pause(struct end *e, struct span in)
{
    size_t n = in.n < 100 ? in.n : 100;

    buf_add(&e->got, in.p, n);
    stream_pause(e->stream);
    return n;
}

/* Nothing is lost or stuck when reading pauses while decrypted bytes wait inside TLS. */
static void
test_pause(void **state)
{
    static char block[150000];
    struct bench b;

    (void)state;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i % 239);
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    bench_secure(&b, "mail.example");
    b.server.hook = take_100_and_pause;
    stream_write(b.client.stream, span_of(block, sizeof(block)));
    stream_finish(&b.client.stream, 5000);
    for (int i = 1; buf_len(&b.server.got) < sizeof(block); i++) {
        assert_true(turn_until(b.loop, &b.server.on_data, i));
        assert_int_equal(b.server.on_data, i); /* one call per resume */
        stream_resume(b.server.stream);
    }
    assert_memory_equal(b.server.got.p, block, sizeof(block));
    assert_true(turn_until(b.loop, &b.server.on_end, 1));
    assert_int_equal(b.server.how, STREAM_EOF);
    bench_close(&b);
}

/* One byte per record. */
static void
test_tiny_records(void **state)
{
    struct bench b;
    char one[2] = {0};

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    bench_secure(&b, "mail.example");
    for (int i = 0; i < 300; i++) {
        one[0] = (char)('a' + i % 26);
        stream_write(b.client.stream, span_of(one, 1));
        loop_turn(b.loop, 0);
    }
    assert_true(turn_until_got(b.loop, &b.server, 300));
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(b.server.got.p[i], 'a' + i % 26);
    bench_close(&b);
}

static void
refuse(const char *cert, const char *host, const char *reason)
{
    struct bench b;

    bench_open(&b, server_ctx(cert, NULL, false), client_ctx(NULL, true), false);
    bench_secure(&b, host);
    assert_int_equal(b.client.on_secure, 0);
    assert_int_equal(b.client.how, STREAM_TLS_FAILED);
    if (!strstr(b.client.detail, reason))
        fail_msg("%s: \"%s\" does not say \"%s\"", cert, b.client.detail, reason);
    bench_close(&b);
}

static void
test_bad_server_certificates(void **state)
{
    (void)state;
    refuse("expired", "mail.example", "certificate has expired");
    refuse("early", "mail.example", "not yet valid");
    refuse("self", "mail.example", "self-signed");
    refuse("unknown", "mail.example", "unable to get local issuer");
    refuse("good", "other.example", "hostname mismatch (wanted other.example)");
    refuse("good", "a.b.wild.example", "hostname mismatch");
    refuse("good", "127.0.0.2", "IP address mismatch");
    refuse("cn-only-right", "mail.example", "hostname mismatch");
    refuse("nul", "mail.example", "hostname mismatch");
}

static void
test_verify_off(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b, server_ctx("expired", NULL, false), client_ctx(NULL, false), false);
    bench_secure(&b, "other.example");
    assert_int_equal(b.client.on_secure, 1);
    assert_false(stream_tls_peer(b.client.stream)->has_cert);
    assert_true(stream_tls_peer(b.client.stream)->presented_cert);
    bench_close(&b);
}

static void
check_client(const char *cert, const char *ca, bool has_cert, const char *name, const char *why)
{
    struct bench b;
    const struct tls_peer *peer;

    bench_open(&b, server_ctx("good", ca, true), client_ctx(cert, true), false);
    bench_secure(&b, "mail.example");
    assert_int_equal(b.server.on_secure, 1); /* the handshake never fails for it: the identity decides */
    peer = stream_tls_peer(b.server.stream);
    assert_int_equal(peer->presented_cert, cert != NULL);
    assert_int_equal(peer->has_cert, has_cert);
    assert_string_equal(peer->cert_name, name);
    assert_int_equal(strlen(peer->spki_sha256), cert ? 64 : 0);
    if (!strstr(peer->cert_error, why) || (*why == '\0' && *peer->cert_error))
        fail_msg("%s: \"%s\" does not say \"%s\"", cert ? cert : "none", peer->cert_error, why);
    bench_close(&b);
}

static void
test_client_certificates(void **state)
{
    (void)state;
    check_client(NULL, "ca", false, "", "");
    check_client("client", "ca", true, "erp", "");
    check_client("client-other", "ca", false, "erp", "unable to get local issuer");
    check_client("client-expired", "ca", false, "erp", "expired");
    check_client("client-nul", "ca", true, "", "");
    check_client("client-two", "ca", true, "", "");
    check_client("client-utf8", "ca", true, "", "");
    check_client("self", NULL, false, "mail.example", "self-signed"); /* asked for its pin only */
}

/* The pin is what `openssl pkey -pubin -outform DER | sha256sum` prints. */
static void
test_spki_pin(void **state)
{
    char command[800], expected[65] = "";
    struct bench b;
    FILE *p;

    (void)state;
    snprintf(command, sizeof(command),
        "openssl x509 -in %s/client.pem -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum",
        folder);
    p = popen(command, "r");
    assert_int_equal(fread(expected, 1, 64, p), 64);
    pclose(p);
    bench_open(&b, server_ctx("good", "ca", true), client_ctx("client", true), false);
    bench_secure(&b, "mail.example");
    assert_string_equal(stream_tls_peer(b.server.stream)->spki_sha256, expected);
    assert_string_equal(stream_tls_peer(b.server.stream)->dns_names[1], "erp2.corp.example");
    assert_string_equal(stream_tls_peer(b.server.stream)->cert_subject, "CN=erp");
    bench_close(&b);
}

static size_t
start_tls_inside(struct end *e, struct span in)
{
    size_t n = (size_t)span_find_byte(in, '\n') + 1;

    buf_add(&e->got, in.p, n);
    e->hook = NULL;
    end_write(e, "220 go\r\n");
    stream_start_tls_server(e->stream, e->arg);
    return n;
}

/* Plaintext behind STARTTLS, in the same segment, never reaches the owner; the session goes on. */
static void
test_starttls_injection_into_server(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    b.server.hook = start_tls_inside;
    b.server.arg = b.server_ctx;
    end_write(&b.client, "STARTTLS\r\nEHLO injected\r\nMAIL FROM:<x@y>\r\n");
    assert_true(turn_until_got(b.loop, &b.client, 8));
    assert_true(end_got(&b.client, "220 go\r\n")); /* in the clear, before the handshake */
    stream_start_tls_client(b.client.stream, b.client_ctx, "mail.example");
    assert_true(turn_until(b.loop, &b.server.on_secure, 1));
    assert_true(turn_until(b.loop, &b.client.on_secure, 1));
    end_write(&b.client, "EHLO real\r\n");
    assert_true(turn_until_got(b.loop, &b.server, 21));
    assert_true(end_got(&b.server, "STARTTLS\r\nEHLO real\r\n"));
    bench_close(&b);
}

/* Plaintext between the reply and the ClientHello ends the session. */
static void
test_starttls_injection_later(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    b.server.hook = start_tls_inside;
    b.server.arg = b.server_ctx;
    end_write(&b.client, "STARTTLS\r\n");
    assert_true(turn_until_got(b.loop, &b.client, 8));
    end_write(&b.client, "EHLO injected\r\n");
    assert_true(turn_until(b.loop, &b.server.on_end, 1));
    assert_int_equal(b.server.how, STREAM_TLS_FAILED);
    assert_true(end_got(&b.server, "STARTTLS\r\n"));
    assert_int_equal(b.server.on_secure, 0);
    bench_close(&b);
}

static size_t
client_start_tls_inside(struct end *e, struct span in)
{
    struct bench *b = e->arg;
    size_t n = (size_t)span_find_byte(in, '\n') + 1;

    buf_add(&e->got, in.p, n);
    e->hook = NULL;
    stream_start_tls_client(e->stream, b->client_ctx, "mail.example");
    return n;
}

static void
test_starttls_injection_into_client(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    b.client.hook = client_start_tls_inside;
    b.client.arg = &b;
    end_write(&b.server, "220 go\r\n250-evil\r\n235 ok\r\n");
    loop_turn(b.loop, 0);
    stream_start_tls_server(b.server.stream, b.server_ctx);
    assert_true(turn_until(b.loop, &b.client.on_secure, 1));
    assert_true(turn_until(b.loop, &b.server.on_secure, 1));
    end_write(&b.server, "250 real\r\n");
    assert_true(turn_until_got(b.loop, &b.client, 18));
    assert_true(end_got(&b.client, "220 go\r\n250 real\r\n"));
    bench_close(&b);
}

static void
test_handshake_never_ends(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    stream_start_tls_server(b.server.stream, b.server_ctx);
    stream_set_deadline(b.server.stream, 50);
    stream_write(b.client.stream, span_of("\x16\x03\x01\x02\x00\x01", 6)); /* the start of a ClientHello */
    assert_true(turn_until(b.loop, &b.server.on_end, 1));
    assert_int_equal(b.server.how, STREAM_TIMEOUT);
    bench_close(&b);
    bench_open(&b, server_ctx("good", NULL, false), client_ctx(NULL, true), false);
    stream_start_tls_client(b.client.stream, b.client_ctx, "mail.example");
    turns(b.loop, 2);
    stream_close(&b.server.stream);
    assert_true(turn_until(b.loop, &b.client.on_end, 1));
    assert_int_equal(b.client.how, STREAM_TLS_FAILED);
    bench_close(&b);
}

/* Speaks a fixed version with the openssl command, since our own client knows none below 1.2. */
static int
openssl_can_connect(struct tls_ctx *ctx, const char *version)
{
    char command[400];
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, secure;
    struct err err;
    struct loop *loop = loop_new(NULL, &err);
    struct end e;
    FILE *p;

    assert_int_equal(bind(l, (struct sockaddr *)&sin, len), 0);
    assert_int_equal(listen(l, 1), 0);
    getsockname(l, (struct sockaddr *)&sin, &len);
    snprintf(command, sizeof(command),
        "openssl s_client -connect 127.0.0.1:%u %s -cipher ALL:@SECLEVEL=0 >/dev/null 2>&1",
        ntohs(sin.sin_port), version);
    p = popen(command, "w");
    fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    end_open(&e, loop, fd);
    stream_start_tls_server(e.stream, ctx);
    for (int64_t until = clock_mono_ms() + 5000; !e.on_secure && !e.on_end && clock_mono_ms() < until;)
        loop_turn(loop, 20);
    secure = e.on_secure;
    end_close(&e);
    close(l);
    pclose(p);
    loop_free(&loop);
    return secure;
}

static void
test_versions(void **state)
{
    struct tls_server_conf conf = {.least = TLS_V1_0};
    struct files f;
    struct err err = {""};
    struct tls_ctx *modern = server_ctx("good", NULL, false), *old;

    (void)state;
    name_files(&f, "good", NULL);
    conf.cert_file = f.cert;
    conf.key_file = f.key;
    old = tls_server_ctx_new(&conf, &err);
    assert_non_null(old);
    assert_int_equal(openssl_can_connect(old, "-tls1"), 1);
    assert_int_equal(openssl_can_connect(old, "-tls1_1"), 1);
    assert_int_equal(openssl_can_connect(old, "-tls1_3"), 1);
    assert_int_equal(openssl_can_connect(modern, "-tls1"), 0);
    assert_int_equal(openssl_can_connect(modern, "-tls1_1"), 0);
    assert_int_equal(openssl_can_connect(modern, "-tls1_2"), 1);
    tls_ctx_unref(&old);
    tls_ctx_unref(&modern);
}

static void
refuse_ctx(const struct tls_server_conf *conf, const char *why)
{
    struct err err = {""};

    assert_null(tls_server_ctx_new(conf, &err));
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void
test_bad_files(void **state)
{
    struct files good, other;
    char open_key[300], junk[300];
    struct tls_server_conf conf = {.least = TLS_V1_2};
    struct tls_client_conf client = {.verify = true};
    struct err err = {""};
    struct buf key;

    (void)state;
    name_files(&good, "good", NULL);
    name_files(&other, "self", NULL);
    path_of("open.key", open_key);
    path_of("junk.pem", junk);
    buf_init(&key);
    assert_int_equal(file_read(good.key, 10000, FILE_SECRET, &key, &err), 0);
    assert_int_equal(file_replace(open_key, buf_span(&key), 0644, &err), 0);
    assert_int_equal(file_replace(junk, SPAN_LIT("no PEM\n"), 0600, &err), 0);
    buf_wipe(&key);
    conf.cert_file = good.cert;
    conf.key_file = open_key;
    refuse_ctx(&conf, "readable or writable by everybody");
    conf.key_file = other.key;
    refuse_ctx(&conf, "does not belong to");
    conf.key_file = junk;
    refuse_ctx(&conf, "private key");
    conf.key_file = "/nonexistent.key";
    refuse_ctx(&conf, "No such file");
    conf.cert_file = junk;
    conf.key_file = good.key;
    refuse_ctx(&conf, "junk.pem");
    conf.cert_file = good.cert;
    conf.client_ca_file = junk;
    refuse_ctx(&conf, "client CA");
    client.ca_file = junk;
    assert_null(tls_client_ctx_new(&client, &err));
    assert_non_null(strstr(err.text, "CA "));
    client.ca_file = NULL; /* the system's */
    struct tls_ctx *ctx = tls_client_ctx_new(&client, &err);
    assert_non_null(ctx);
    assert_ptr_equal(tls_ctx_ref(ctx), ctx);
    struct tls_ctx *same = ctx;
    tls_ctx_unref(&same);
    tls_ctx_unref(&ctx);
    assert_null(ctx);
}

static void
test_crypto(void **state)
{
    static const unsigned char abc[4] = {0xba, 0x78, 0x16, 0xbf}; /* FIPS 180-2, "abc" */
    static const unsigned char jefe[4] = {0x5b, 0xdc, 0xc1, 0x46}; /* RFC 4231, test case 2 */
    unsigned char out[32], a[16], b[16];

    (void)state;
    tls_sha256(SPAN_LIT("abc"), out);
    assert_memory_equal(out, abc, 4);
    tls_hmac_sha256(SPAN_LIT("Jefe"), SPAN_LIT("what do ya want for nothing?"), out);
    assert_memory_equal(out, jefe, 4);
    tls_random(a, sizeof(a));
    tls_random(b, sizeof(b));
    assert_false(tls_equal(a, b, sizeof(a)));
    assert_true(tls_equal(a, a, sizeof(a)));
    assert_string_equal(tls_version_to_str(TLS_V1_0), "1.0");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_tiny_records),
        cmocka_unit_test(test_bad_server_certificates),
        cmocka_unit_test(test_verify_off),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_spki_pin),
        cmocka_unit_test(test_starttls_injection_into_server),
        cmocka_unit_test(test_starttls_injection_later),
        cmocka_unit_test(test_starttls_injection_into_client),
        cmocka_unit_test(test_handshake_never_ends),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_crypto),
    };

    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
