/* Fuzzes the client machine. The input is a peer: byte 0 chooses the session, then blocks follow, each a
 * length byte and that many bytes "received"; the lengths 0xf0-0xff are events instead (TLS up, lost,
 * timeout, QUIT, body sent).
 *
 * Held against it: nothing but EHLO, STARTTLS and QUIT leaves in clear when TLS was asked for; a recipient
 * counts as accepted only by a whole 2xx to the final dot; after a break nothing leaves any more.
 */
#include <stdlib.h>

#include "relay/base/err.h"
#include "relay/smtp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECIPIENTS 5

struct peer {
    struct client_setup conf;
    struct client client;
    struct transaction tx;
    struct tx_recipient results[RECIPIENTS];
    struct buf out;
    struct buf held; /* received and not taken yet */
};

static char sender_text[] = "a@b.example", to_text[] = "c@d.example";
static const struct address sender = {sender_text, 2};
static char orcpt[] = "rfc822;c+40d";
static const struct recipient to = {{to_text, 2}, RECIPIENT_EXTERNAL, NOTIFY_DELAY, orcpt};
static const struct recipient *const to_list[RECIPIENTS] = {&to, &to, &to, &to, &to};

static void
check_out(struct peer *p)
{
    struct span out = buf_span(&p->out);

    if (p->conf.tls == CLIENT_TLS_STARTTLS && !p->client.secure && out.n > 0)
        sg_assert(span_starts_nocase(out, SPAN_LIT("EHLO ")) || span_eq(out, SPAN_LIT("STARTTLS\r\n"))
            || span_eq(out, SPAN_LIT("QUIT\r\n")));
    if (p->client.state == CLIENT_OVER)
        sg_assert(out.n == 0);
    if (!p->client.ehlo.dsn)
        sg_assert(span_find_nocase(out, SPAN_LIT(" NOTIFY=")) < 0
            && span_find_nocase(out, SPAN_LIT(" RET=")) < 0);
    buf_clear(&p->out);
}

static void
check_outcome(const struct peer *p)
{
    const struct tx_outcome *o = &p->client.outcome;
    bool taken = !o->lost && o->phase == TX_DOT && reply_is_positive(&o->reply);

    for (size_t i = 0; i < p->tx.n_recipients; i++) {
        enum tx_fate fate = p->results[i].fate;

        sg_assert(fate != TX_ACCEPTED || taken);
        sg_assert(fate != TX_UNCERTAIN || (o->lost && o->phase == TX_DOT));
        sg_assert(fate != TX_REFUSED_FOR_GOOD || p->results[i].reply.code >= 500);
    }
}

/* Plays the owner. False: the session is over. */
static bool
perform(struct peer *p, enum client_do todo)
{
    check_out(p);
    switch (todo) {
    case CLIENT_GO_ON:
    case CLIENT_START_TLS:
    case CLIENT_SEND_BODY:
        return true;
    case CLIENT_TX_DONE:
        check_outcome(p);
        if (p->client.state == CLIENT_OVER)
            return false;
        if (p->client.state == CLIENT_RSET)
            return true;
        break;
    case CLIENT_IS_READY:
        break;
    case CLIENT_FAILED:
        sg_assert(p->client.outcome.detail[0] != '\0' && p->client.outcome.phase <= TX_AUTH);
        client_quit(&p->client, &p->out);
        check_out(p);
        return p->client.state == CLIENT_QUIT;
    case CLIENT_CLOSE:
        return false;
    }
    sg_assert(p->client.state == CLIENT_READY);
    client_send(&p->client, &p->tx, p->results, &p->out);
    check_out(p);
    return true;
}

static bool
receive(struct peer *p, struct span bytes)
{
    size_t used = 1;

    buf_add_span(&p->held, bytes);
    while (buf_len(&p->held) > 0 && used > 0) {
        enum client_do todo;

        if (p->client.state == CLIENT_HANDSHAKE) {
            buf_clear(&p->held); /* not shown by the stream */
            return true;
        }
        todo = client_on_data(&p->client, buf_span(&p->held), &p->out, &used);
        sg_assert(used <= buf_len(&p->held));
        buf_consume(&p->held, used);
        if (!perform(p, todo))
            return false;
    }
    return true;
}

static bool
happen(struct peer *p, uint8_t event)
{
    switch (event & 7) {
    case 0:
    case 1:
        return p->client.state != CLIENT_HANDSHAKE || perform(p, client_on_secure(&p->client, &p->out));
    case 2:
    case 3:
        if (p->client.state == CLIENT_BODY)
            client_body_sent(&p->client);
        return true;
    case 4:
        return perform(p, client_on_timeout(&p->client));
    case 5:
        return perform(p, client_abort(&p->client, "aborted"));
    default:
        return perform(p, client_on_lost(&p->client, "lost"));
    }
}

static void
play(struct peer *p, const uint8_t *data, size_t size)
{
    bool goes_on = perform(p, client_on_connected(&p->client));

    while (goes_on && size > 0) {
        size_t n = data[0];

        data++;
        size--;
        if (n >= 0xf0) {
            goes_on = happen(p, (uint8_t)n);
            continue;
        }
        n = n < size ? n : size;
        goes_on = receive(p, span_of((const char *)data, n));
        data += n;
        size -= n;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer *p;
    uint8_t kind;

    if (size == 0 || (p = calloc(1, sizeof(*p))) == NULL)
        return 0;
    kind = data[0];
    p->conf = (struct client_setup){"relay.example",
        kind & 3 ? (enum client_tls)((kind & 3) - 1) : CLIENT_TLS_OFF,
        (enum client_auth)(kind >> 2 & 3 ? (kind >> 2 & 3) - 1 : 0), "user", "password", 60000, 120000,
        600000};
    p->tx = (struct transaction){.sender = &sender, .recipients = to_list,
        .n_recipients = 1 + (kind >> 4 & 3), .content_bytes = 99, .body_type = SMTP_BODY_8BITMIME,
        .all_or_nothing = (kind & 64) != 0, .ret = RET_HDRS, .envid = "a+20b"};
    buf_init(&p->out);
    buf_init(&p->held);
    client_init(&p->client, &p->conf);
    play(p, data + 1, size - 1);
    buf_fini(&p->out);
    buf_fini(&p->held);
    free(p);
    return 0;
}
