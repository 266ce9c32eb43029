/* A recipient at a time, so that a notification about hundreds of them is never whole in memory. */
#include "relay/spool/dsn.h"

#include <assert.h>
#include <stdio.h>

#include "relay/base/clock.h"
#include "relay/smtp/xtext.h"
#include "relay/spool/dsn_text.h"

#define READ_BYTES 16384
#define BOUNDARY_MAX 64
#define REPLY_LINE (REPLY_TEXT_MAX + 40)

static const char *const action_names[] = {"failed", "delayed", "relayed"};
static_assert(sizeof action_names / sizeof action_names[0] == DSN_ACTION_COUNT, "a name for each");

const char *
dsn_action_to_str(enum dsn_action a)
{
    return action_names[a];
}

bool
dsn_is_wanted(const struct envelope *about, const struct recipient *recipient, enum dsn_action action)
{
    static const unsigned bits[] = {NOTIFY_FAILURE, NOTIFY_DELAY, NOTIFY_SUCCESS};
    unsigned notify = recipient->notify != 0 ? recipient->notify : NOTIFY_FAILURE | NOTIFY_DELAY;

    static_assert(sizeof bits / sizeof bits[0] == DSN_ACTION_COUNT, "a bit for each");
    return !address_is_null(&about->sender) && (notify & bits[action]) != 0;
}

/* ---- the message it is about ---- */

struct returned {
    struct buf body;           /* its start, up to DSN_RETURN_MAX */
    struct span trace, kept;   /* kept: what is returned of body, whole lines */
    bool full, eightbit;
    char boundary[BOUNDARY_MAX];
};

/* RET counts only where something failed (RFC 3461 section 4.3). */
static bool
is_returned_whole(const struct dsn *d)
{
    bool failed = false;

    for (size_t i = 0; i < d->n_recipients; i++)
        failed = failed || d->recipients[i].action == DSN_FAILED;
    return failed && d->about->ret == RET_FULL && d->body != NULL && blob_size(d->body) <= DSN_RETURN_MAX;
}

static enum blob_status
read_start(struct blob *body, struct buf *out)
{
    enum blob_status status = BLOB_OK;
    struct span bytes = SPAN_LIT("-");

    while (status == BLOB_OK && bytes.n > 0 && buf_len(out) < DSN_RETURN_MAX) {
        size_t room = DSN_RETURN_MAX - buf_len(out), max = room < READ_BYTES ? room : READ_BYTES;
        char scratch[READ_BYTES];

        status = blob_read(body, buf_len(out), scratch, max, &bytes);
        if (status == BLOB_OK)
            buf_add_span(out, bytes);
    }
    return status;
}

/* Up to the first empty line where header_only; a last line without its end is left out. */
static struct span
whole_lines(struct span s, bool header_only)
{
    struct span rest = s;

    while (rest.n > 0) {
        struct span line = dsn_text_first_line(rest);

        if (line.p[line.n - 1] != '\n' || (header_only && span_eq(line, SPAN_LIT("\r\n"))))
            break;
        rest = span_from(rest, line.n);
    }
    return span_head(s, s.n - rest.n);
}

static bool
has_eightbit(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    return false;
}

/* The id alone cannot be guessed by who wrote the message, for it is made later and at random. It is looked
 * for all the same: a boundary within the message would let its author write parts of our report. No line of
 * our own begins with "--". */
static void
choose_boundary(const struct dsn *d, struct returned *r)
{
    unsigned n = 0;

    do {
        snprintf(r->boundary, sizeof r->boundary, "%.40s.%u", d->id, n++);
    } while (span_find_nocase(r->kept, span_str(r->boundary)) >= 0);
}

static enum blob_status
returned_init(struct returned *r, const struct dsn *d)
{
    enum blob_status status = BLOB_OK;

    *r = (struct returned){.full = is_returned_whole(d), .trace = span_str(d->trace)};
    buf_init(&r->body);
    if (d->body != NULL)
        status = read_start(d->body, &r->body);
    r->kept = whole_lines(buf_span(&r->body), !r->full);
    r->eightbit = has_eightbit(r->trace) || has_eightbit(r->kept);
    choose_boundary(d, r);
    return status;
}

/* ---- the parts ---- */

/* The line end before a boundary belongs to it (RFC 2046 section 5.1.1): so the part before keeps its own. */
static void
begin_part(struct dsn_text *t, const struct returned *r, const char *description, const char *type)
{
    dsn_text_end_line(t);
    dsn_text_add(t, SPAN_LIT("--"));
    dsn_text_add(t, span_str(r->boundary));
    dsn_text_end_line(t);
    dsn_text_field(t, "Content-Description", "%s", description);
    dsn_text_field(t, "Content-Type", "%s", type);
}

static void
add_end(struct dsn_text *t, const struct returned *r)
{
    dsn_text_end_line(t);
    dsn_text_add(t, SPAN_LIT("--"));
    dsn_text_add(t, span_str(r->boundary));
    dsn_text_add(t, SPAN_LIT("--"));
    dsn_text_end_line(t);
    dsn_text_flush(t);
}

static void
add_header(struct dsn_text *t, const struct dsn *d, const struct returned *r)
{
    static const char *const subjects[] = {
        "Your message could not be delivered", "Your message is delayed", "Your message was handed on"};
    enum dsn_action gravest = DSN_RELAYED;

    static_assert(sizeof subjects / sizeof subjects[0] == DSN_ACTION_COUNT, "one for each");
    for (size_t i = 0; i < d->n_recipients; i++)
        if (d->recipients[i].action < gravest)
            gravest = d->recipients[i].action;
    dsn_text_date(t, "Date", d->now_utc_ms);
    dsn_text_field(t, "From", "Mail Delivery System <MAILER-DAEMON@%s>", d->hostname);
    dsn_text_field(t, "To", "<%s>", d->about->sender.text);
    dsn_text_field(t, "Subject", "%s", subjects[gravest]);
    dsn_text_field(t, "Message-ID", "<%s@%s>", d->id, d->hostname);
    dsn_text_field(t, "Auto-Submitted", "auto-replied");
    dsn_text_field(t, "MIME-Version", "1.0");
    dsn_text_field(
        t, "Content-Type", "multipart/report; report-type=delivery-status; boundary=\"%s\"", r->boundary);
    if (r->eightbit)
        dsn_text_field(t, "Content-Transfer-Encoding", "8bit");
}

static bool
is_said(const struct dsn_recipient *r)
{
    return r->reply != NULL && r->reply->code != 0;
}

/* "550 5.1.1 text" */
static void
format_reply(const struct reply *reply, char out[REPLY_LINE])
{
    char enhanced[ENHANCED_MAX];

    enhanced_format(reply->enhanced, enhanced);
    snprintf(out, REPLY_LINE, "%d %s%s%s", reply->code, enhanced, enhanced[0] != '\0' ? " " : "",
        reply->text);
}

static void
explain_action(struct dsn_text *t, const struct dsn *d, enum dsn_action action)
{
    char date[CLOCK_RFC5322_MAX];

    clock_format_rfc5322(d->will_retry_until_utc_ms, date);
    switch (action) {
    case DSN_FAILED:
        dsn_text_fold(t, "", "Your message could not be delivered to those below, and it will not be tried"
            " again. If it matters, find out what is wrong and send it anew.");
        break;
    case DSN_DELAYED:
        dsn_text_fold(t, "", "Your message has not been delivered yet to those below. You need not do"
            " anything: it will be tried again until %s.", date);
        break;
    case DSN_RELAYED:
        dsn_text_fold(t, "", "For those below your message was handed on to a mail system that does not"
            " report deliveries. Unless it fails there you will hear no more of it.");
        break;
    case DSN_ACTION_COUNT:
        return;
    }
    dsn_text_end_line(t);
}

static void
explain_recipient(struct dsn_text *t, const struct dsn *d, const struct dsn_recipient *r)
{
    char reply[REPLY_LINE];

    dsn_text_fold(t, "", "<%s>", r->recipient->address.text);
    dsn_text_add(t, SPAN_LIT("    "));
    dsn_text_fold(t, "    ", "%s", r->words);
    if (is_said(r)) {
        format_reply(r->reply, reply);
        dsn_text_add(t, SPAN_LIT("    "));
        dsn_text_fold(t, "    ", "%s said: %s", d->upstream != NULL ? d->upstream : "The mail system there",
            reply);
    }
    dsn_text_end_line(t);
    dsn_text_flush(t);
}

static void
add_words(struct dsn_text *t, const struct dsn *d, const struct returned *r)
{
    char date[CLOCK_RFC5322_MAX];

    begin_part(t, r, "Notification", "text/plain; charset=us-ascii");
    dsn_text_end_line(t);
    for (unsigned action = 0; action < DSN_ACTION_COUNT; action++) {
        bool explained = false;

        for (size_t i = 0; i < d->n_recipients; i++) {
            if (d->recipients[i].action != action)
                continue;
            if (!explained)
                explain_action(t, d, (enum dsn_action)action);
            explained = true;
            explain_recipient(t, d, &d->recipients[i]);
        }
    }
    clock_format_rfc5322(d->arrived_utc_ms, date);
    dsn_text_fold(t, "", "For your administrator: this is message %s, taken by %s at %s.", d->about_id,
        d->hostname, date);
}

/* The upstream's own status, where it says what the action says. A failure may have one of class 4: it was
 * tried for too long. */
static struct enhanced
status_of(const struct dsn_recipient *r)
{
    static const struct enhanced general[] = {{5, 0, 0}, {4, 0, 0}, {2, 0, 0}};
    struct enhanced said = is_said(r) ? r->reply->enhanced : (struct enhanced){0, 0, 0};

    static_assert(sizeof general / sizeof general[0] == DSN_ACTION_COUNT, "one for each");
    if (r->status.class != 0)
        return r->status;
    if (said.class == general[r->action].class || (r->action == DSN_FAILED && said.class == 4))
        return said;
    return general[r->action];
}

static void
add_decoded(struct dsn_text *t, const char *name, struct span before, struct span xtext)
{
    struct buf value;

    buf_init(&value);
    buf_add_span(&value, before);
    xtext_decode(xtext, &value);
    dsn_text_field(t, name, "%s", buf_span(&value).p);
    buf_fini(&value);
}

static void
add_original_recipient(struct dsn_text *t, const char *orcpt)
{
    struct span type, text = span_cut(span_str(orcpt), ';', &type);

    add_decoded(t, "Original-Recipient", span_of(type.p, type.n + 1), text);
}

static void
add_recipient(struct dsn_text *t, const struct dsn *d, const struct dsn_recipient *r)
{
    char status[ENHANCED_MAX], reply[REPLY_LINE];

    enhanced_format(status_of(r), status);
    dsn_text_end_line(t);
    if (r->recipient->orcpt != NULL)
        add_original_recipient(t, r->recipient->orcpt);
    dsn_text_field(t, "Final-Recipient", "rfc822;%s", r->recipient->address.text);
    dsn_text_field(t, "Action", "%s", dsn_action_to_str(r->action));
    dsn_text_field(t, "Status", "%s", status);
    if (d->upstream != NULL)
        dsn_text_field(t, "Remote-MTA", "dns; %s", d->upstream);
    if (is_said(r)) {
        format_reply(r->reply, reply);
        dsn_text_field(t, "Diagnostic-Code", "smtp; %s", reply);
    }
    if (r->last_attempt_utc_ms != 0)
        dsn_text_date(t, "Last-Attempt-Date", r->last_attempt_utc_ms);
    if (r->action == DSN_DELAYED)
        dsn_text_date(t, "Will-Retry-Until", d->will_retry_until_utc_ms);
    dsn_text_flush(t);
}

static void
add_status(struct dsn_text *t, const struct dsn *d, const struct returned *r)
{
    begin_part(t, r, "Delivery report", "message/delivery-status");
    dsn_text_end_line(t);
    if (d->about->envid != NULL)
        add_decoded(t, "Original-Envelope-Id", SPAN_LIT(""), span_str(d->about->envid));
    dsn_text_field(t, "Reporting-MTA", "dns; %s", d->hostname);
    dsn_text_date(t, "Arrival-Date", d->arrived_utc_ms);
    for (size_t i = 0; i < d->n_recipients; i++)
        add_recipient(t, d, &d->recipients[i]);
}

static void
add_returned(struct dsn_text *t, const struct returned *r)
{
    if (r->full)
        begin_part(t, r, "Your message", "message/rfc822");
    else
        begin_part(t, r, "Header of your message", "text/rfc822-headers");
    if (r->eightbit)
        dsn_text_field(t, "Content-Transfer-Encoding", "8bit");
    dsn_text_end_line(t);
    dsn_text_flush(t);
    dsn_text_copy(t, r->trace);
    dsn_text_copy(t, r->kept);
}

enum blob_status
dsn_write(const struct dsn *d, struct blob *out, uint64_t *content_bytes_out, enum smtp_body *body_type_out)
{
    struct dsn_text t;
    struct returned r;

    sg_assert(d->n_recipients > 0 && !address_is_null(&d->about->sender));
    dsn_text_init(&t, out);
    t.status = returned_init(&r, d);
    add_header(&t, d, &r);
    add_words(&t, d, &r);
    add_status(&t, d, &r);
    add_returned(&t, &r);
    add_end(&t, &r);
    *content_bytes_out = t.content_bytes;
    *body_type_out = r.eightbit ? SMTP_BODY_8BITMIME : SMTP_BODY_7BIT;
    dsn_text_fini(&t);
    buf_fini(&r.body);
    return t.status;
}
