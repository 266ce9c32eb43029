#include "relay/front/verify.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/buf.h"
#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/net/worker.h"
#include "tls/tls.h"

#define KEY_BYTES 32

struct memory {
    unsigned char key[KEY_BYTES];
    int64_t until_mono_ms; /* 0: empty */
};

struct verify {
    struct worker *worker;
    unsigned char secret[KEY_BYTES];
    struct memory *slots; /* direct-mapped by key; made when first needed */
    struct list jobs;     /* that were submitted: so that none calls us after our end */
};

/* Owned by the worker until done. work touches only what stands below "the thread's". */
struct check {
    struct job job;
    struct list link;
    struct verify *verify; /* NULL: freed meanwhile */
    verify_done_fn *done;
    void *arg;
    unsigned char key[KEY_BYTES];
    bool known;
    /* the thread's */
    char *hash, *password;
    bool right;
    struct crypt_data crypt;
};

struct verify *
verify_new(struct worker *worker)
{
    struct verify *v = xcalloc(1, sizeof *v);

    v->worker = worker;
    tls_random(v->secret, sizeof v->secret);
    list_init(&v->jobs);
    return v;
}

void
verify_free(struct verify **vp)
{
    struct verify *v = *vp;

    if (v == NULL)
        return;
    LIST_EACH_SAFE(it, &v->jobs) {
        LIST_ITEM(it, struct check, link)->verify = NULL;
        list_del(it);
    }
    explicit_bzero(v->secret, sizeof v->secret);
    free(v->slots);
    free(v);
    *vp = NULL;
}

void
verify_forget(struct verify *v, const void *arg)
{
    LIST_EACH(it, &v->jobs) {
        struct check *c = LIST_ITEM(it, struct check, link);

        if (c->arg == arg)
            c->done = NULL;
    }
}

static void
make_key(const struct verify *v, const char *login, const char *password, const char *hash,
    unsigned char key[KEY_BYTES])
{
    struct buf text;
    size_t n = strlen(login) + strlen(password) + strlen(hash) + 3;

    buf_init(&text);
    buf_reserve(&text, n);
    buf_add(&text, login, strlen(login) + 1);
    buf_add(&text, password, strlen(password) + 1);
    buf_add(&text, hash, strlen(hash) + 1);
    tls_hmac_sha256(span_of((const char *)v->secret, sizeof v->secret), buf_span(&text), key);
    buf_wipe(&text);
}

static struct memory *
slot_of(struct verify *v, const unsigned char key[KEY_BYTES])
{
    size_t at = ((size_t)key[0] << 8 | key[1]) % VERIFY_SLOTS;

    if (v->slots == NULL)
        v->slots = xcalloc(VERIFY_SLOTS, sizeof *v->slots);
    return &v->slots[at];
}

static void
check_free(struct check *c)
{
    explicit_bzero(c->password, strlen(c->password));
    free(c->password);
    free(c->hash);
    explicit_bzero(&c->crypt, sizeof c->crypt);
    free(c);
}

static void
work(struct job *job)
{
    struct check *c = LIST_ITEM(job, struct check, job);
    const char *got = crypt_r(c->password, c->hash, &c->crypt);

    c->right = got != NULL && strlen(got) == strlen(c->hash) && tls_equal(got, c->hash, strlen(got));
}

static void
finished(struct job *job, bool cancelled)
{
    struct check *c = LIST_ITEM(job, struct check, job);
    struct verify *v = c->verify;
    bool right = c->right && c->known && !cancelled;

    if (v != NULL && !cancelled) {
        if (right) {
            struct memory *m = slot_of(v, c->key);

            memcpy(m->key, c->key, KEY_BYTES);
            m->until_mono_ms = clock_mono_ms() + VERIFY_REMEMBER_MS;
        }
        list_del(&c->link);
        if (c->done != NULL)
            c->done(c->arg, right);
    }
    check_free(c);
}

enum verify_status
verify_start(struct verify *v, const struct users *users, const char *login, const char *password,
    int64_t now_mono_ms, verify_done_fn *done, void *arg)
{
    unsigned char key[KEY_BYTES];
    bool known;
    const char *hash = users_hash(users, login, &known);
    struct memory *m;
    struct check *c;

    make_key(v, login, password, hash, key);
    m = slot_of(v, key);
    if (known && m->until_mono_ms > now_mono_ms && tls_equal(m->key, key, KEY_BYTES))
        return VERIFY_RIGHT;
    c = xcalloc(1, sizeof *c);
    c->job.work = work;
    c->job.done = finished;
    list_init(&c->job.link);
    c->verify = v;
    c->done = done;
    c->arg = arg;
    c->known = known;
    memcpy(c->key, key, KEY_BYTES);
    c->hash = xstrdup(hash);
    c->password = xstrdup(password);
    if (!worker_submit(v->worker, &c->job)) {
        check_free(c);
        return VERIFY_NO_ROOM;
    }
    list_add_tail(&v->jobs, &c->link);
    return VERIFY_ASKED;
}
