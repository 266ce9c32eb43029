#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

/* A message of exactly l->size bytes (at least its header), then the final dot. */
static void
load_compose(struct load *l)
{
    size_t header;

    l->message = malloc(l->size + 2048);
    if (l->message == NULL)
        bench_die("out of memory");
    header = (size_t)snprintf(l->message, 1024, "From: <%s>\r\nTo: <%s>\r\n"
        "Subject: a message of the benchmark\r\nDate: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
        "Message-ID: <bench@load.test>\r\n\r\n", l->from, l->to);
    l->message_bytes = header;
    while (l->message_bytes + 2 < l->size) {
        size_t text = l->size - l->message_bytes - 2;
        text = text > 76 ? 76 : text;
        memset(l->message + l->message_bytes, 'x', text);
        l->message_bytes += text;
        memcpy(l->message + l->message_bytes, "\r\n", 2);
        l->message_bytes += 2;
    }
    memcpy(l->message + l->message_bytes, ".\r\n", 3);
    l->message_bytes += 3;
    l->mail_bytes = (size_t)snprintf(l->envelope, 400, "MAIL FROM:<%s>\r\n", l->from);
    l->rcpt_bytes = (size_t)snprintf(l->envelope + l->mail_bytes, 400, "RCPT TO:<%s>\r\n", l->to);
    l->envelope_bytes = l->mail_bytes + l->rcpt_bytes + 6;
    memcpy(l->envelope + l->mail_bytes + l->rcpt_bytes, "DATA\r\n", 6);
}

/* user:password as AUTH PLAIN with an initial response. */
static char *
load_auth_plain(const char *login)
{
    unsigned char plain[512], coded[1024];
    size_t n = strlen(login), size = n + 64;
    const char *colon = strchr(login, ':');
    char *command;

    if (colon == NULL || n + 2 > sizeof plain)
        bench_die("--auth wants USER:PASSWORD");
    plain[0] = '\0';
    memcpy(plain + 1, login, n);
    plain[1 + (colon - login)] = '\0';
    EVP_EncodeBlock(coded, plain, (int)n + 1);
    size += strlen((const char *)coded);
    command = malloc(size);
    if (command == NULL)
        bench_die("out of memory");
    snprintf(command, size, "AUTH PLAIN %s\r\n", (const char *)coded);
    return command;
}

static uint64_t
load_number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0')
        bench_die("not a number: %s", text);
    return n;
}

static void
load_option(struct load *l, int option, const char *value)
{
    switch (option) {
    case 'p':
        l->target.sin_port = htons((uint16_t)load_number(value));
        break;
    case 'h':
        if (inet_pton(AF_INET, value, &l->target.sin_addr) != 1)
            bench_die("not an IPv4 address: %s", value);
        break;
    case 'c':
        l->connections = (unsigned)load_number(value);
        break;
    case 's':
        l->size = load_number(value);
        break;
    case 'u':
        l->warmup_ns = (int64_t)load_number(value) * 1000000;
        break;
    case 't':
        l->measure_ns = (int64_t)load_number(value) * 1000000;
        break;
    case 'm':
        l->messages_max = load_number(value);
        break;
    case 'n':
        l->per_connection = (unsigned)load_number(value);
        break;
    case 'f':
        l->from = value;
        break;
    case 'r':
        l->to = value;
        break;
    case 'a':
        l->auth = load_auth_plain(value);
        break;
    case 'S':
        l->tls = wire_tls_ctx(NULL, NULL);
        break;
    case 'L':
        l->lockstep = true;
        break;
    case 'I':
        l->idle = true;
        break;
    case 'W':
        l->wait = true;
        break;
    default:
        bench_die("usage: see the head of load.c");
    }
}

static void
load_options(struct load *l, int argc, char **argv)
{
    static const struct option known[] = { { "port", 1, NULL, 'p' }, { "host", 1, NULL, 'h' },
        { "connections", 1, NULL, 'c' }, { "size", 1, NULL, 's' }, { "warmup-ms", 1, NULL, 'u' },
        { "ms", 1, NULL, 't' }, { "messages", 1, NULL, 'm' }, { "per-connection", 1, NULL, 'n' },
        { "from", 1, NULL, 'f' }, { "to", 1, NULL, 'r' }, { "auth", 1, NULL, 'a' },
        { "starttls", 0, NULL, 'S' }, { "lockstep", 0, NULL, 'L' }, { "idle", 0, NULL, 'I' },
        { "wait", 0, NULL, 'W' }, { NULL, 0, NULL, 0 } };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        load_option(l, option, optarg);
    if (l->target.sin_port == 0 || l->connections == 0 || l->connections > 10000 || l->size > 64 << 20 ||
        strlen(l->from) > 300 || strlen(l->to) > 300)
        bench_die("--port is needed; connections 1-10000, size at most 64 MiB, addresses at most 300 bytes");
}

void
load_setup(struct load *l, int argc, char **argv)
{
    l->target = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    l->connections = 1;
    l->size = 1024;
    l->warmup_ns = 200 * 1000000;
    l->measure_ns = 1000 * 1000000;
    l->from = "load@bench.test";
    l->to = "rcpt@example.org";
    load_options(l, argc, argv);
    load_compose(l);
}
