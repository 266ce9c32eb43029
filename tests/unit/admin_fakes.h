/* Stand-ins for what admin looks at: store, flow, upstream and front that say what a test wrote into `fake`.
 * A real loop runs; the sockets are real. */
#ifndef SENDGOV_TESTS_ADMIN_FAKES_H
#define SENDGOV_TESTS_ADMIN_FAKES_H

#include "relay/admin/admin.h"
#include "relay/base/metric.h"
#include "relay/net/loop.h"
#include "relay/store/store.h"

enum fake_answer { ANSWER_LATER, ANSWER_FAILS, ANSWER_NEVER };

struct fake {
    struct store_status store;
    struct pause pauses[4];
    size_t n_pauses;
    uint32_t warmup_step;
    enum fake_answer answers; /* of usage, resume and open */
    uint64_t used;            /* every counter's */
    unsigned asked, forgotten, reloads, drains, resumes, opens;
    char reload_actor[64];
    struct pause paused;      /* the last store_pause */
    int64_t now_ms;           /* the store's time */
    enum pause_result pause_result;
    bool reload_fails;
};
extern struct fake fake;

struct fixture {
    struct loop *loop;
    struct metrics *metrics;
    struct config config;
    struct admin *admin;
    char folder[64], socket[96];
};

/* A temporary folder, a configuration of one of each, an admin on them; http: NULL or an address. */
void fixture_open(struct fixture *f, const char *http);
void fixture_close(struct fixture *f);
void fixture_setup(const struct fixture *f, struct admin_setup *setup_out);

/* Turns the loop until fd is readable; false after a second. */
bool fixture_wait(struct fixture *f, int fd);
/* What the peer of fd sends until it closes or the line ends; at most size - 1 bytes. Returns how many. */
size_t fixture_read(struct fixture *f, int fd, char *out, size_t size, bool to_eof);
/* A non-blocking connection to the control socket. */
int fixture_connect(const struct fixture *f);
/* One line there, one line back, without its end. */
void fixture_ask(struct fixture *f, const char *line, char *out, size_t size);

#endif
