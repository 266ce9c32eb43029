/* load: the generator's state, shared by its run (load.c) and what prepares it (load_setup.c). */
#ifndef SENDGOV_BENCH_LOAD_H
#define SENDGOV_BENCH_LOAD_H

#include <netinet/in.h>

#include "tests/bench/hist.h"
#include "tests/bench/wire.h"

struct client;

enum phase { PHASE_SETUP, PHASE_WARMUP, PHASE_MEASURE, PHASE_DRAIN };

struct load {
    int epoll;
    struct sockaddr_in target;
    SSL_CTX *tls;       /* NULL: plain */
    char *auth;         /* the whole AUTH command; NULL: none */
    const char *from, *to;
    bool lockstep, idle, wait;
    unsigned connections, per_connection;
    size_t size;
    uint64_t messages_max;
    int64_t warmup_ns, measure_ns;
    char envelope[1024]; /* MAIL, RCPT, DATA */
    size_t mail_bytes, rcpt_bytes, envelope_bytes;
    char *message;
    size_t message_bytes;

    enum phase phase;
    int64_t phase_began_ns, last_reply_ns;
    int64_t began_ns; /* the first MAIL follows */
    struct client *clients;
    unsigned opening, open, to_open; /* to_open: of the first round */
    uint64_t total, measured, opened;
    int64_t measured_ns;
    struct hist latency;
    uint64_t stalls;
};

/* Reads the command line, with defaults, and composes envelope and message; dies on nonsense. */
void load_setup(struct load *l, int argc, char **argv);

#endif
