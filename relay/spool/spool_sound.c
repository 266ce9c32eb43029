#include "relay/spool/spool_sound.h"

#include "relay/base/ascii.h"
#include "relay/smtp/param.h"

/* ---- text ---- */

static bool
is_within(const char *text, char least, char most)
{
    for (; *text != '\0'; text++)
        if (*text < least || *text > most)
            return false;
    return true;
}

/* Printable ASCII; may be empty. */
static bool
is_line(const char *text)
{
    return is_within(text, ' ', '~');
}

/* A name of ours. */
static bool
is_name(const char *text)
{
    return text != NULL && text[0] != '\0' && is_within(text, '!', '~');
}

/* What comes out of the parser of commands: it parses to itself. */
static bool
is_address(const struct address *a)
{
    struct address again;
    bool same;

    if (a->text == NULL || address_parse_plain(span_str(a->text), &again) != ADDRESS_OK)
        return false;
    same = span_eq(span_str(a->text), span_str(again.text)) && a->domain_at == again.domain_at;
    address_fini(&again);
    return same;
}

static bool
is_sender(const struct address *a)
{
    return (a->text != NULL && a->text[0] == '\0' && a->domain_at == 0) || is_address(a);
}

/* "Name:" of a header, or the blank that continues one. Neither lets a dot stand at the start of a line. */
static bool
begins_line(struct span line, bool is_first)
{
    size_t n = 0;

    if (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
        return !is_first;
    while (n < line.n && (ascii_is_alnum(line.p[n]) || line.p[n] == '-'))
        n++;
    return n > 0 && n < line.n && line.p[n] == ':';
}

/* Whole header lines, or nothing. */
static bool
is_trace(const char *text)
{
    struct span rest = span_str(text), line;

    if (rest.n > 0 && rest.p[rest.n - 1] != '\n')
        return false;
    for (bool is_first = true; rest.n > 0; is_first = false) {
        rest = span_cut(rest, '\n', &line);
        if (line.n == 0 || line.p[line.n - 1] != '\r' || !begins_line(line, is_first))
            return false;
        for (size_t i = 0; i + 1 < line.n; i++)
            if (line.p[i] != '\t' && (line.p[i] < ' ' || line.p[i] > '~'))
                return false;
    }
    return true;
}

/* ---- numbers ---- */

static bool
is_number(int64_t n)
{
    return n >= 0 && n < SPOOL_NUMBER_MAX;
}

static bool
is_size(uint64_t n)
{
    return n < (uint64_t)SPOOL_NUMBER_MAX;
}

static bool
is_notify(unsigned notify)
{
    unsigned all = NOTIFY_NEVER | NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY;

    return (notify & ~all) == 0 && ((notify & NOTIFY_NEVER) == 0 || notify == NOTIFY_NEVER);
}

static bool
is_enhanced(struct enhanced e)
{
    return (e.class == 0 || e.class == 2 || e.class == 4 || e.class == 5) && e.subject <= 999
        && e.detail <= 999;
}

static bool
is_reply(const struct reply *r)
{
    return (r->code == 0 || (r->code >= 200 && r->code <= 599)) && is_enhanced(r->enhanced)
        && is_line(r->text);
}

/* ---- a message ---- */

static bool
is_recipient(const struct recipient *to, const struct spool_recipient *s)
{
    return is_address(&to->address) && is_notify(to->notify)
        && (to->orcpt == NULL || param_is_orcpt(span_str(to->orcpt)))
        && is_number(s->due_utc_ms) && is_number(s->spent_ms) && s->attempts <= SPOOL_COUNT_MAX
        && s->uncertain <= SPOOL_COUNT_MAX && is_reply(&s->reply);
}

static bool
is_envelope(const struct envelope *e, const struct spool_recipient *states)
{
    if (!is_sender(&e->sender) || (e->envid != NULL && !param_is_envid(span_str(e->envid))))
        return false;
    if (e->n_recipients == 0 || e->n_recipients > SPOOL_RECIPIENTS_MAX || !is_size(e->declared_bytes))
        return false;
    for (size_t i = 0; i < e->n_recipients; i++)
        if (e->recipients[i].class != e->recipients[0].class || !is_recipient(&e->recipients[i], &states[i]))
            return false;
    return true;
}

/* Who holds a message and why are an operator's words: they are escaped where they are shown. */
bool
spool_message_is_sound(const struct spool_message *m)
{
    return is_name(m->id) && is_name(m->client) && is_name(m->route) && is_name(m->class)
        && (m->mailbox == NULL || is_name(m->mailbox)) && is_envelope(&m->envelope, m->states)
        && is_trace(m->trace) && is_line(m->peer) && is_line(m->session) && is_line(m->tls)
        && is_size(m->content_bytes) && is_number(m->received_utc_ms);
}

/* ---- the body ---- */

static void
drop(void *arg, struct span wire)
{
    (void)arg;
    (void)wire;
}

void
spool_body_begin(struct body *b)
{
    static const struct body_limits limits = {UINT64_MAX, UINT64_MAX, BODY_REJECT};

    body_init(b, &limits);
}

void
spool_body_add(struct body *b, struct span wire)
{
    body_scan(b, wire, drop, NULL);
}

bool
spool_body_is_sound(const struct body *b, bool at_end)
{
    return b->status == BODY_OK && b->state != BODY_END && (!at_end || b->state == BODY_LINE_START);
}
