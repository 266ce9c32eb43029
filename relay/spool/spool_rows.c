#include "relay/spool/spool_rows.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"
#include "relay/spool/spool_sound.h"

#define BODY_BYTES_MAX ((int64_t)SPOOL_CHUNK_BYTES * SPOOL_CHUNKS_MAX)

static bool
is_parked(const struct spool_message *m)
{
    for (size_t i = 0; i < m->envelope.n_recipients; i++)
        if (m->states[i].state == SPOOL_PARKED)
            return true;
    return false;
}

/* ---- what is in the spool ---- */

static void
count_in(struct spool_db *db, const struct spool_head *h)
{
    db->counts.messages++;
    db->counts.bytes += h->content_bytes;
    db->counts.held += h->held;
    db->counts.parked += h->parked;
}

static uint64_t
less(uint64_t n, uint64_t by)
{
    return n > by ? n - by : 0;
}

/* A damaged row may say another number than the one it was counted with. */
static void
count_out(struct spool_db *db, const struct spool_head *h)
{
    db->counts.messages = less(db->counts.messages, 1);
    db->counts.bytes = less(db->counts.bytes, h->content_bytes);
    db->counts.held = less(db->counts.held, h->held);
    db->counts.parked = less(db->counts.parked, h->parked);
}

enum spool_db_status
spool_rows_count(struct spool_db *db)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_COUNTS);
    enum spool_db_status status = spool_db_step(db, stmt);

    if (status != SPOOL_DB_OK)
        return status;
    db->counts.messages = (uint64_t)sqlite3_column_int64(stmt, 0);
    db->counts.bytes = (uint64_t)sqlite3_column_int64(stmt, 1);
    db->counts.held = (uint64_t)sqlite3_column_int64(stmt, 2);
    db->counts.parked = (uint64_t)sqlite3_column_int64(stmt, 3);
    sqlite3_reset(stmt);
    return SPOOL_DB_OK;
}

/* ---- a message ---- */

static void
put_message(struct spool_row *r, const struct spool_message *m, int64_t body_bytes)
{
    const struct envelope *e = &m->envelope;

    spool_row_put_text(r, m->id);
    spool_row_put_text(r, m->client);
    spool_row_put_text(r, m->route);
    spool_row_put_text(r, m->mailbox);
    spool_row_put_text(r, m->class);
    spool_row_put_text(r, e->sender.text);
    spool_row_put_number(r, (int64_t)e->declared_bytes);
    spool_row_put_number(r, e->body);
    spool_row_put_number(r, e->ret);
    spool_row_put_text(r, e->envid);
    spool_row_put_text(r, m->trace);
    spool_row_put_text(r, m->peer);
    spool_row_put_text(r, m->session);
    spool_row_put_text(r, m->tls);
    spool_row_put_number(r, (int64_t)m->content_bytes);
    spool_row_put_number(r, body_bytes);
    spool_row_put_number(r, m->received_utc_ms);
    spool_row_put_number(r, m->held);
    spool_row_put_text(r, m->held_by);
    spool_row_put_text(r, m->held_why);
    spool_row_put_number(r, m->is_dsn);
    spool_row_put_number(r, (int64_t)e->n_recipients);
    spool_row_put_number(r, is_parked(m));
    spool_row_put_sum(r);
}

/* The domain follows the last "@": a quoted local part may hold others. */
static void
set_address(struct address *a, char *text)
{
    const char *at = text != NULL ? strrchr(text, '@') : NULL;

    a->text = text != NULL ? text : xstrdup("");
    a->domain_at = at != NULL ? (uint16_t)(at - text + 1) : 0;
}

static bool
get_message(struct spool_row *r, struct spool_message *m, int64_t *body_bytes_out, size_t *recipients_out)
{
    struct envelope *e = &m->envelope;

    spool_row_get_name(r, m->id, sizeof(m->id));
    m->client = spool_row_get_text(r);
    m->route = spool_row_get_text(r);
    m->mailbox = spool_row_get_text(r);
    m->class = spool_row_get_text(r);
    set_address(&e->sender, spool_row_get_text(r));
    e->declared_bytes = (uint64_t)spool_row_get_number(r);
    e->body = (enum smtp_body)spool_row_get_within(r, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME);
    e->ret = (enum dsn_ret)spool_row_get_within(r, RET_NONE, RET_HDRS);
    e->envid = spool_row_get_text(r);
    m->trace = spool_row_get_text(r);
    spool_row_get_name(r, m->peer, sizeof(m->peer));
    spool_row_get_name(r, m->session, sizeof(m->session));
    spool_row_get_name(r, m->tls, sizeof(m->tls));
    m->content_bytes = (uint64_t)spool_row_get_number(r);
    *body_bytes_out = spool_row_get_within(r, 0, BODY_BYTES_MAX);
    m->received_utc_ms = spool_row_get_number(r);
    m->held = spool_row_get_within(r, 0, 1) != 0;
    spool_row_get_name(r, m->held_by, sizeof(m->held_by));
    spool_row_get_name(r, m->held_why, sizeof(m->held_why));
    m->is_dsn = spool_row_get_within(r, 0, 1) != 0;
    *recipients_out = (size_t)spool_row_get_within(r, 1, SPOOL_RECIPIENTS_MAX);
    spool_row_get_within(r, 0, 1); /* parked: of use to queries only */
    return spool_row_is_whole(r);
}

/* ---- a recipient ---- */

static int64_t
pack_enhanced(struct enhanced e)
{
    return (int64_t)e.class << 32 | (int64_t)e.subject << 16 | e.detail;
}

static struct enhanced
get_enhanced(struct spool_row *r)
{
    int64_t packed = spool_row_get_within(r, 0, pack_enhanced((struct enhanced){5, UINT16_MAX, UINT16_MAX}));

    return (struct enhanced){(uint8_t)(packed >> 32), (uint16_t)(packed >> 16), (uint16_t)packed};
}

static void
put_recipient(struct spool_row *r, const struct recipient *to, const struct spool_recipient *s)
{
    spool_row_put_text(r, to->address.text);
    spool_row_put_number(r, to->class);
    spool_row_put_number(r, to->notify);
    spool_row_put_text(r, to->orcpt);
    spool_row_put_number(r, s->state);
    spool_row_put_number(r, s->due_utc_ms);
    spool_row_put_number(r, s->spent_ms);
    spool_row_put_number(r, s->attempts);
    spool_row_put_number(r, s->uncertain);
    spool_row_put_number(r, s->warned);
    spool_row_put_number(r, s->reply.code);
    spool_row_put_number(r, pack_enhanced(s->reply.enhanced));
    spool_row_put_text(r, s->reply.text);
    spool_row_put_sum(r);
}

static bool
get_recipient(struct spool_row *r, struct envelope *e, struct spool_recipient *s)
{
    struct address address;
    struct recipient *to;

    set_address(&address, spool_row_get_text(r));
    to = envelope_add(e, &address,
        (enum recipient_class)spool_row_get_within(r, 0, RECIPIENT_CLASS_COUNT - 1));
    to->notify = (unsigned)spool_row_get_within(r, 0, UINT32_MAX);
    to->orcpt = spool_row_get_text(r);
    s->state = (enum spool_recipient_state)spool_row_get_within(r, 0, SPOOL_RECIPIENT_STATE_COUNT - 1);
    s->due_utc_ms = spool_row_get_number(r);
    s->spent_ms = spool_row_get_number(r);
    s->attempts = (uint32_t)spool_row_get_within(r, 0, SPOOL_COUNT_MAX);
    s->uncertain = (uint32_t)spool_row_get_within(r, 0, SPOOL_COUNT_MAX);
    s->warned = spool_row_get_within(r, 0, 1) != 0;
    s->reply.code = (int)spool_row_get_within(r, 0, 599);
    s->reply.enhanced = get_enhanced(r);
    spool_row_get_name(r, s->reply.text, sizeof(s->reply.text));
    return spool_row_is_whole(r);
}

/* A row of a recipient as it is stored. */
struct stored {
    int64_t n, sum;
    bool is_same; /* the address that was asked about */
};

/* The first behind `after`. */
static enum spool_db_status
next_stored(struct spool_db *db, uint64_t seq, int64_t after, const char *address, struct stored *out)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_RECIPIENT_STORED);
    enum spool_db_status status;
    const char *text;

    sqlite3_bind_int64(stmt, 1, (int64_t)seq);
    sqlite3_bind_int64(stmt, 2, after);
    status = spool_db_step(db, stmt);
    if (status != SPOOL_DB_OK)
        return status;
    out->n = sqlite3_column_int64(stmt, 0);
    out->sum = sqlite3_column_int64(stmt, 1);
    text = (const char *)sqlite3_column_text(stmt, 2);
    out->is_same = address != NULL && text != NULL && strcmp(address, text) == 0;
    sqlite3_reset(stmt);
    return SPOOL_DB_OK;
}

static enum spool_db_status
drop_stored(struct spool_db *db, uint64_t seq, int64_t n)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_RECIPIENT_DROP);

    sqlite3_bind_int64(stmt, 1, (int64_t)seq);
    sqlite3_bind_int64(stmt, 2, n);
    return spool_db_run(db, stmt);
}

/* Recipient i as row n; old: that row as it is, NULL when there is none. */
static enum spool_db_status
put_at(struct spool_db *db, const struct spool_message *m, size_t i, int64_t n, const struct stored *old)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_RECIPIENT_PUT);
    struct spool_row r;

    sqlite3_bind_int64(stmt, 1, (int64_t)m->seq);
    sqlite3_bind_int64(stmt, 2, n);
    spool_row_begin(&r, stmt, 3, m->seq, (uint64_t)n);
    put_recipient(&r, &m->envelope.recipients[i], &m->states[i]);
    if (old != NULL && old->sum == (int64_t)r.sum)
        return SPOOL_DB_OK;
    return spool_db_run(db, stmt);
}

/* Those left are in the order they are stored in, so one walk over the rows finds each, and the gaps are
 * those who are gone. Who is not found comes behind the last. */
enum spool_db_status
spool_rows_put_recipients(struct spool_db *db, const struct spool_message *m)
{
    const struct envelope *e = &m->envelope;
    enum spool_db_status status;
    struct stored old;
    int64_t last = -1;
    size_t i = 0;

    while ((status = next_stored(db, m->seq, last, i < e->n_recipients ? e->recipients[i].address.text : NULL,
                &old)) == SPOOL_DB_OK) {
        last = old.n;
        status = old.is_same ? put_at(db, m, i++, last, &old) : drop_stored(db, m->seq, last);
        if (status != SPOOL_DB_OK)
            return status;
    }
    for (; status == SPOOL_DB_NONE && i < e->n_recipients; i++) {
        enum spool_db_status put = put_at(db, m, i, ++last, NULL);

        if (put != SPOOL_DB_OK)
            return put;
    }
    return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
}

/* Room for a state at a time: how many there are is known for certain only when all were read. Those that
 * are too many are not. */
static enum spool_db_status
get_recipients(struct spool_db *db, struct spool_message *m, size_t expected)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_RECIPIENT_GET);
    size_t n = 0, room = 0;
    enum spool_db_status status;
    bool whole = true;
    int64_t place;

    sqlite3_bind_int64(stmt, 1, (int64_t)m->seq);
    while (whole && (status = spool_db_step(db, stmt)) == SPOOL_DB_OK) {
        struct spool_row r;

        if (n == room) {
            room = room > 0 ? 2 * room : 1;
            m->states = xrealloc(m->states, room * sizeof(*m->states));
        }
        place = sqlite3_column_int64(stmt, 0);
        whole = n < expected && place >= 0 && place < SPOOL_NUMBER_MAX;
        spool_row_begin(&r, stmt, 1, m->seq, (uint64_t)place);
        whole = get_recipient(&r, &m->envelope, &m->states[n++]) && whole;
    }
    sqlite3_reset(stmt);
    if (whole && status != SPOOL_DB_NONE)
        return status;
    return whole && n == expected ? SPOOL_DB_OK : SPOOL_DB_DAMAGED;
}

enum spool_db_status
spool_rows_get(struct spool_db *db, uint64_t seq, struct spool_message **m_out, int64_t *body_bytes_out)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_MESSAGE_GET);
    enum spool_db_status status;
    struct spool_message *m;
    struct spool_row r;
    size_t recipients;
    bool whole;

    *m_out = NULL;
    sqlite3_bind_int64(stmt, 1, (int64_t)seq);
    status = spool_db_step(db, stmt);
    if (status != SPOOL_DB_OK)
        return status;
    m = spool_message_new();
    m->seq = seq;
    spool_row_begin(&r, stmt, 0, seq, 0);
    whole = get_message(&r, m, body_bytes_out, &recipients);
    sqlite3_reset(stmt);
    status = whole ? get_recipients(db, m, recipients) : SPOOL_DB_DAMAGED;
    if (status == SPOOL_DB_OK && !spool_message_is_sound(m))
        status = SPOOL_DB_DAMAGED;
    if (status == SPOOL_DB_OK)
        *m_out = m;
    else
        spool_message_free(&m, false);
    return status;
}

void
spool_rows_id(struct spool_db *db, uint64_t seq, char out[SPOOL_ID_MAX])
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_MESSAGE_GET);
    struct spool_row r;

    out[0] = '\0';
    sqlite3_bind_int64(stmt, 1, (int64_t)seq);
    if (spool_db_step(db, stmt) != SPOOL_DB_OK)
        return;
    spool_row_begin(&r, stmt, 0, seq, 0);
    spool_row_get_name(&r, out, SPOOL_ID_MAX);
    sqlite3_reset(stmt);
}

enum spool_db_status
spool_rows_head(struct spool_db *db, uint64_t seq, struct spool_head *head_out)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_MESSAGE_HEAD);
    enum spool_db_status status;

    sqlite3_bind_int64(stmt, 1, (int64_t)seq);
    status = spool_db_step(db, stmt);
    if (status != SPOOL_DB_OK)
        return status;
    *head_out = (struct spool_head){
        .content_bytes = (uint64_t)sqlite3_column_int64(stmt, 0),
        .body_bytes = sqlite3_column_int64(stmt, 1),
        .held = sqlite3_column_int64(stmt, 2) != 0,
        .parked = sqlite3_column_int64(stmt, 3) != 0,
    };
    sqlite3_reset(stmt);
    return SPOOL_DB_OK;
}

enum spool_db_status
spool_rows_put(struct spool_db *db, const struct spool_message *m, const struct spool_head *head,
    int64_t body_bytes)
{
    struct spool_head now = {m->content_bytes, body_bytes, m->held, is_parked(m)};
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_MESSAGE_PUT);
    enum spool_db_status status;
    struct spool_row r;

    if (head != NULL)
        count_out(db, head);
    sqlite3_bind_int64(stmt, 1, (int64_t)m->seq);
    spool_row_begin(&r, stmt, 2, m->seq, 0);
    put_message(&r, m, body_bytes);
    status = spool_db_run(db, stmt);
    count_in(db, &now);
    return status == SPOOL_DB_OK ? spool_rows_put_recipients(db, m) : status;
}

enum spool_db_status
spool_rows_erase(struct spool_db *db, uint64_t seq)
{
    enum spool_db_status status = spool_db_run_number(db, STMT_MESSAGE_DELETE, (int64_t)seq);

    if (status == SPOOL_DB_OK)
        status = spool_db_run_number(db, STMT_RECIPIENT_DELETE, (int64_t)seq);
    if (status == SPOOL_DB_OK)
        status = spool_db_run_number(db, STMT_CHUNK_DELETE, (int64_t)seq);
    return status;
}

enum spool_db_status
spool_rows_delete(struct spool_db *db, uint64_t seq, const struct spool_head *head)
{
    count_out(db, head);
    return spool_rows_erase(db, seq);
}

enum spool_db_status
spool_rows_put_aside(struct spool_db *db, uint64_t seq, int64_t now_utc_ms, const char *why)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_MESSAGE_ASIDE);
    struct spool_head head;
    enum spool_db_status status = spool_rows_head(db, seq, &head);

    if (status != SPOOL_DB_OK)
        return status;
    sqlite3_bind_int64(stmt, 1, (int64_t)seq);
    sqlite3_bind_int64(stmt, 2, now_utc_ms);
    sqlite3_bind_text(stmt, 3, why, -1, SQLITE_STATIC);
    status = spool_db_run(db, stmt);
    count_out(db, &head);
    return status == SPOOL_DB_OK ? spool_db_run_number(db, STMT_MESSAGE_DELETE, (int64_t)seq) : status;
}

/* ---- chunks ---- */

enum spool_db_status
spool_chunk_put(struct spool_db *db, uint64_t seq, uint32_t n, struct span bytes)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_CHUNK_PUT);
    struct spool_row r;

    sqlite3_bind_int64(stmt, 1, (int64_t)(seq << 16 | n));
    spool_row_begin(&r, stmt, 2, seq, n);
    spool_row_put_bytes(&r, bytes);
    spool_row_put_sum(&r);
    return spool_db_run(db, stmt);
}

enum spool_db_status
spool_chunk_get(struct spool_db *db, uint64_t seq, uint32_t n, struct buf *out)
{
    sqlite3_stmt *stmt = spool_db_stmt(db, STMT_CHUNK_GET);
    enum spool_db_status status;
    struct spool_row r;
    struct span bytes;
    bool whole;

    sqlite3_bind_int64(stmt, 1, (int64_t)(seq << 16 | n));
    status = spool_db_step(db, stmt);
    if (status != SPOOL_DB_OK)
        return status == SPOOL_DB_NONE ? SPOOL_DB_DAMAGED : status;
    spool_row_begin(&r, stmt, 0, seq, n);
    bytes = spool_row_get_bytes(&r);
    whole = spool_row_is_whole(&r) && bytes.n <= SPOOL_CHUNK_BYTES;
    if (whole)
        buf_add_span(out, bytes);
    sqlite3_reset(stmt);
    return whole ? SPOOL_DB_OK : SPOOL_DB_DAMAGED;
}

/* ---- seqs ---- */

enum spool_db_status
spool_rows_highest(struct spool_db *db, uint64_t *seq_out)
{
    int64_t stored, reserved;
    enum spool_db_status status = spool_db_number(db, STMT_HIGHEST, SPOOL_SEQ_MAX, &stored);

    *seq_out = 0;
    if (status != SPOOL_DB_OK)
        return status;
    status = spool_db_number(db, STMT_META_GET, 0, &reserved);
    if (status == SPOOL_DB_OK || status == SPOOL_DB_NONE) {
        if (reserved > SPOOL_SEQ_MAX)
            reserved = 0; /* none that was given away */
        *seq_out = (uint64_t)(stored > reserved ? stored : reserved);
        return SPOOL_DB_OK;
    }
    return status;
}

enum spool_db_status
spool_rows_reserve(struct spool_db *db, uint64_t seq)
{
    return spool_db_run_number(db, STMT_META_PUT, (int64_t)seq);
}
