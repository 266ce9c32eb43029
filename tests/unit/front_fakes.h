/* front_fakes: what the tests of front put in the place of flow, and a client on a loopback socket. */
#ifndef SENDGOV_TESTS_FRONT_FAKES_H
#define SENDGOV_TESTS_FRONT_FAKES_H

#include "relay/flow/flow.h"
#include "relay/front/front.h"
#include "relay/net/loop.h"

/* What the fake flow was asked, and what it answers next. */
struct flow_fake {
    struct message *message; /* submitted last; owned until the next one */
    unsigned submitted, looks, forgotten;
    flow_done_fn *done;      /* of the message that waits for an answer; NULL: none does */
    flow_looked_fn *looked;  /* likewise of a look */
    void *arg;
    struct reply hint;       /* code 0: no refusal; for external recipients only */
    bool hint_at_mail;       /* and at MAIL */
    unsigned booked, booked_recipients; /* messages; messages' recipients */
    struct message *book;    /* booked last; owned until the next one */
    struct reply book_reply;
    struct end_code book_end;
    uint64_t size;           /* of the upstream, 0: unknown */
    bool eightbit;
    bool full;               /* there is no room to keep mail */
    struct blob_pool *bodies; /* as the configuration of the world says */
};
extern struct flow_fake flow_fake;
void flow_fake_reset(void);
/* Answers what waits; code 0 for a look that may go on. */
void flow_fake_answer(int code, const char *enhanced, const char *text);

/* A world: loop, worker, front under a configuration of the given YAML text, on a private port. "PORT" in the
 * text stands for "127.0.0.1:<port>", "PORT2" likewise, "DIR" for a private folder. */
struct world {
    struct loop *loop;
    struct worker *worker;
    struct metrics *metrics;
    struct front *front;
    struct config *config;
    char dir[64];
    int port, port2;
};
void world_begin(struct world *w, const char *yaml);
void world_end(struct world *w);
/* 0, or -1 when it was refused. */
int world_reload(struct world *w, const char *yaml);
void world_write(struct world *w, const char *name, const char *text);

struct client {
    struct world *world;
    int fd;
    char in[65536];
    size_t n;
};
void client_connect(struct client *c, struct world *w, int port);
void client_close(struct client *c);
void client_send(struct client *c, const char *text);
/* Waits for the next whole reply (multi-line ones too) and says whether it begins so. "" waits for the end of
 * the connection. */
void client_expect(struct client *c, const char *prefix);
/* The whole text of the reply expected last. */
const char *client_reply(struct client *c);
/* client_send and client_expect. */
void client_talk(struct client *c, const char *text, const char *prefix);
/* Turns until fn says true; fails after 10 s. */
void world_until(struct world *w, bool (*fn)(void *arg), void *arg);

#endif
