/* Each kind of question, inside a transaction. What is written here counts when the batch was committed. */
#include <stdlib.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_thread_part.h"

#define SLICE_BYTES ((size_t)1 << 20)       /* of one body in one transaction */
#define ANSWER_BYTES ((uint64_t)256 * 1024) /* of a body in one answer */
#define SLICE_MESSAGES 500
#define SLICE_RECIPIENTS 2000 /* and what the last message has over: each is a row to be read, or written */
#define LIST_DEFAULT 1000
#define LIST_RECIPIENTS 4000 /* each is 1 KiB in memory, until the list was shown */
#define RESERVE_SEQS 4096

/* ---- storing ---- */

static enum spool_db_status
put_chunk(struct spool_thread *t, struct spool_added *add)
{
    struct span bytes;
    size_t want = SPOOL_CHUNK_BYTES, have = 0;
    uint32_t n;

    if (add->body.bytes - add->at_bytes < want)
        want = (size_t)(add->body.bytes - add->at_bytes);
    while (have < want) {
        if (blob_view_read(&add->body, add->at_bytes + have, t->scratch + have, want - have, &bytes)
            != BLOB_OK)
            return SPOOL_DB_DAMAGED; /* the caller's temporary file: only this one suffers */
        if (bytes.n == want)
            break;
        memmove(t->scratch + have, bytes.p, bytes.n);
        have += bytes.n;
        bytes = span_of(t->scratch, have);
    }
    add->at_bytes += want;
    n = (uint32_t)((add->at_bytes - 1) / SPOOL_CHUNK_BYTES);
    return spool_chunk_put(&t->db, add->message->seq, n, bytes);
}

/* Writes what the transaction has room for. */
static enum spool_db_status
put_bodies(struct spool_thread *t, struct spool_ask *a)
{
    size_t slice = SLICE_BYTES < t->budget_bytes ? SLICE_BYTES : t->budget_bytes;

    while (a->adding < a->n_added) {
        struct spool_added *add = &a->added[a->adding];
        enum spool_db_status status;

        if (add->at_bytes == add->body.bytes) {
            a->adding++;
            continue;
        }
        if (slice == 0)
            return SPOOL_DB_OK;
        status = put_chunk(t, add);
        if (status != SPOOL_DB_OK)
            return status;
        slice -= slice < SPOOL_CHUNK_BYTES ? slice : SPOOL_CHUNK_BYTES;
        t->budget_bytes -= t->budget_bytes < SPOOL_CHUNK_BYTES ? t->budget_bytes : SPOOL_CHUNK_BYTES;
    }
    return SPOOL_DB_OK;
}

/* A seq that was given away is remembered before its message can be gone again; in blocks, to spare a row a
 * batch. */
static enum spool_db_status
reserve(struct spool_thread *t, uint64_t seq)
{
    if (seq <= t->db.seq_reserved)
        return SPOOL_DB_OK;
    t->db.seq_reserved = seq + RESERVE_SEQS;
    return spool_rows_reserve(&t->db, t->db.seq_reserved);
}

static enum spool_db_status
put_added(struct spool_thread *t, struct spool_ask *a)
{
    enum spool_db_status status = SPOOL_DB_OK;

    for (size_t i = 0; i < a->n_added && status == SPOOL_DB_OK; i++) {
        const struct spool_added *add = &a->added[i];

        status = reserve(t, add->message->seq);
        if (status == SPOOL_DB_OK)
            status = spool_rows_put(&t->db, add->message, NULL, (int64_t)add->body.bytes);
    }
    return status;
}

static enum spool_db_status
carry_add(struct spool_thread *t, struct spool_ask *a)
{
    enum spool_db_status status;

    if (t->has_moved) {
        a->is_through = true;
        a->result = SPOOL_FAILED;
        return SPOOL_DB_OK;
    }
    status = put_bodies(t, a);
    a->wrote = true;
    if (status != SPOOL_DB_OK || a->adding < a->n_added)
        return status;
    a->is_through = true;
    a->result = SPOOL_DONE;
    return put_added(t, a);
}

/* Gone already and to be removed: it was removed by an attempt whose answer did not say so. */
static enum spool_db_status
carry_settle(struct spool_thread *t, struct spool_ask *a)
{
    bool remove = a->message->envelope.n_recipients == 0;
    struct spool_head head;
    enum spool_db_status status = put_bodies(t, a);

    a->wrote = true;
    if (status != SPOOL_DB_OK || a->adding < a->n_added)
        return status;
    a->is_through = true;
    status = spool_rows_head(&t->db, a->message->seq, &head);
    a->result = status == SPOOL_DB_NONE && !remove ? SPOOL_GONE : SPOOL_DONE;
    if (status == SPOOL_DB_OK && remove)
        status = spool_rows_delete(&t->db, a->message->seq, &head);
    else if (status == SPOOL_DB_OK)
        status = spool_rows_put(&t->db, a->message, &head, head.body_bytes);
    if (a->result == SPOOL_GONE)
        return SPOOL_DB_OK;
    return status == SPOOL_DB_OK || status == SPOOL_DB_NONE ? put_added(t, a) : status;
}

/* ---- taking ---- */

static enum spool_db_status
read_body(struct spool_thread *t, struct spool_ask *a)
{
    uint64_t end = a->body_at_bytes + ANSWER_BYTES, size = (uint64_t)a->body_bytes;
    enum spool_db_status status = SPOOL_DB_OK;

    if (end > size)
        end = size;
    for (uint64_t at = a->body_at_bytes; at < end && status == SPOOL_DB_OK; at += SPOOL_CHUNK_BYTES) {
        size_t expected = size - at < SPOOL_CHUNK_BYTES ? (size_t)(size - at) : SPOOL_CHUNK_BYTES;
        size_t before = buf_len(&a->body);

        status = spool_chunk_get(&t->db, a->seq, (uint32_t)(at / SPOOL_CHUNK_BYTES), &a->body);
        if (status == SPOOL_DB_OK && buf_len(&a->body) - before != expected)
            status = SPOOL_DB_DAMAGED;
    }
    a->judged = a->judged_before;
    spool_body_add(&a->judged, buf_span(&a->body));
    if (status == SPOOL_DB_OK && !spool_body_is_sound(&a->judged, end == size))
        status = SPOOL_DB_DAMAGED;
    return status;
}

static size_t
mark_due(struct spool_ask *a)
{
    struct spool_message *m = a->message;
    size_t n = m->envelope.n_recipients, marked = 0;

    a->before = xmalloc(n * sizeof(*a->before));
    memcpy(a->before, m->states, n * sizeof(*a->before));
    for (size_t i = 0; i < n && !m->held; i++)
        if (m->states[i].state != SPOOL_PARKED && m->states[i].due_utc_ms <= a->due_by_utc_ms) {
            m->states[i].state = SPOOL_IN_FLIGHT;
            marked++;
        }
    return marked;
}

static enum spool_db_status
carry_take(struct spool_thread *t, struct spool_ask *a)
{
    enum spool_db_status status = spool_rows_get(&t->db, a->seq, &a->message, &a->body_bytes);

    a->is_through = true;
    a->result = status == SPOOL_DB_NONE ? SPOOL_GONE : SPOOL_DONE;
    if (status != SPOOL_DB_OK)
        return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
    if (spool_message_is_in_flight(a->message)) {
        a->result = SPOOL_BUSY;
        return SPOOL_DB_OK;
    }
    status = a->pool != NULL ? read_body(t, a) : SPOOL_DB_OK;
    if (status != SPOOL_DB_OK || mark_due(a) == 0)
        return status;
    a->wrote = true;
    return spool_rows_put_recipients(&t->db, a->message);
}

static enum spool_db_status
carry_body(struct spool_thread *t, struct spool_ask *a)
{
    a->is_through = true;
    a->result = SPOOL_DONE;
    return read_body(t, a);
}

/* ---- the operator's view ---- */

static void
bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC); /* NULL binds NULL */
}

static void
bind_state(sqlite3_stmt *stmt, const char *state)
{
    bool held = state != NULL && strcmp(state, "held") == 0;

    sqlite3_bind_int(stmt, 11, held);
    sqlite3_bind_null(stmt, 10);
    if (state != NULL && !held)
        sqlite3_bind_int(stmt, 10, SPOOL_RECIPIENT_STATE_COUNT); /* an unknown word matches nothing */
    for (int i = 0; i < SPOOL_RECIPIENT_STATE_COUNT && state != NULL; i++)
        if (strcmp(state, spool_recipient_state_to_str((enum spool_recipient_state)i)) == 0)
            sqlite3_bind_int(stmt, 10, i);
}

static sqlite3_stmt *
bind_filter(struct spool_thread *t, const struct spool_ask *a, size_t max)
{
    sqlite3_stmt *stmt = spool_db_stmt(&t->db, STMT_LIST);
    const struct spool_filter *f = &a->filter;

    sqlite3_bind_int64(stmt, 1, (int64_t)a->seq);
    bind_text(stmt, 2, f->id);
    bind_text(stmt, 3, f->client);
    bind_text(stmt, 4, f->route);
    bind_text(stmt, 5, f->mailbox);
    bind_text(stmt, 6, f->sender != NULL && strcmp(f->sender, "<>") == 0 ? "" : f->sender);
    bind_text(stmt, 7, f->sender_domain);
    bind_text(stmt, 8, f->recipient);
    bind_text(stmt, 9, f->recipient_domain);
    bind_state(stmt, f->state);
    sqlite3_bind_int64(stmt, 12, f->before_utc_ms);
    sqlite3_bind_int64(stmt, 13, (int64_t)max);
    return stmt;
}

/* The seqs first, because carrying an order out changes what the query walks over. */
static enum spool_db_status
find_seqs(struct spool_thread *t, const struct spool_ask *a, size_t max, struct spool_seqs *out)
{
    sqlite3_stmt *stmt = bind_filter(t, a, max);
    enum spool_db_status status;

    while ((status = spool_db_step(&t->db, stmt)) == SPOOL_DB_OK)
        spool_seqs_add(out, (uint64_t)sqlite3_column_int64(stmt, 0));
    return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
}

static enum spool_db_status
get_or_put_aside(struct spool_thread *t, struct spool_ask *a, uint64_t seq, struct spool_message **m_out)
{
    int64_t body_bytes;
    enum spool_db_status status = spool_rows_get(&t->db, seq, m_out, &body_bytes);

    if (*m_out != NULL)
        a->recipients += (*m_out)->envelope.n_recipients;
    return status == SPOOL_DB_DAMAGED ? spool_put_aside(t, seq) : status;
}

static enum spool_db_status
carry_list(struct spool_thread *t, struct spool_ask *a)
{
    size_t max = a->filter.max > 0 ? a->filter.max : LIST_DEFAULT;
    struct spool_seqs found = {NULL, 0, 0};
    enum spool_db_status status = find_seqs(t, a, max + 1, &found);
    size_t i = 0;

    for (; i < found.n && i < max && a->recipients < LIST_RECIPIENTS && status == SPOOL_DB_OK; i++) {
        struct spool_message *m;

        status = get_or_put_aside(t, a, found.seqs[i], &m);
        if (m != NULL)
            spool_ask_add_message(a, m);
    }
    a->is_through = true;
    a->more = i < found.n;
    a->result = SPOOL_DONE;
    free(found.seqs);
    return status;
}

/* Those in flight are passed over: the flow has them in hand, and reports them anew when they are settled. */
static enum spool_db_status
carry_scan(struct spool_thread *t, struct spool_ask *a)
{
    enum spool_db_status status = SPOOL_DB_OK;
    int64_t next = 0;

    a->last_seq = a->seq;
    for (int i = 0; i < SLICE_MESSAGES && a->recipients < SLICE_RECIPIENTS && status == SPOOL_DB_OK; i++) {
        struct spool_message *m;

        status = spool_db_number(&t->db, STMT_MESSAGE_NEXT, (int64_t)a->last_seq, &next);
        if (status != SPOOL_DB_OK || (uint64_t)next > t->highest_seq)
            break;
        a->last_seq = (uint64_t)next;
        if (spool_seqs_has(&t->in_flight, a->last_seq))
            continue;
        status = get_or_put_aside(t, a, a->last_seq, &m);
        if (m != NULL)
            spool_ask_add_brief(a, m);
        spool_message_free(&m, false);
    }
    a->more = status == SPOOL_DB_OK && (uint64_t)next <= t->highest_seq;
    a->is_through = true;
    a->result = SPOOL_DONE;
    return status == SPOOL_DB_NONE ? SPOOL_DB_OK : status;
}

/* What an order makes of the recipients: RETRY lets them go at once, both let the parked wait again. */
static void
let_go(struct spool_message *m, bool at_once)
{
    for (size_t i = 0; i < m->envelope.n_recipients; i++) {
        if (m->states[i].state == SPOOL_PARKED)
            m->states[i].state = SPOOL_WAITING;
        if (at_once)
            m->states[i].due_utc_ms = 0;
    }
}

static void
set_held(struct spool_message *m, bool held, const struct spool_ask *a)
{
    m->held = held;
    m->held_by[0] = m->held_why[0] = '\0';
    if (!held)
        return;
    strncat(m->held_by, a->actor, sizeof(m->held_by) - 1);
    strncat(m->held_why, a->why, sizeof(m->held_why) - 1);
}

static enum spool_db_status
order_one(struct spool_thread *t, struct spool_ask *a, struct spool_message *m)
{
    struct spool_head head;
    enum spool_db_status status = spool_rows_head(&t->db, m->seq, &head);

    if (status != SPOOL_DB_OK)
        return status;
    switch (a->order) {
    case SPOOL_HOLD:
        set_held(m, true, a);
        break;
    case SPOOL_RELEASE:
        set_held(m, false, a);
        let_go(m, false);
        break;
    case SPOOL_RETRY:
        let_go(m, true);
        break;
    case SPOOL_DELETE:
        return spool_rows_delete(&t->db, m->seq, &head);
    }
    return spool_rows_put(&t->db, m, &head, head.body_bytes);
}

static enum spool_db_status
order_seq(struct spool_thread *t, struct spool_ask *a, uint64_t seq)
{
    struct spool_message *m;
    enum spool_db_status status = get_or_put_aside(t, a, seq, &m);

    if (m == NULL)
        return status;
    if (spool_message_is_in_flight(m)) {
        a->busy++;
    } else {
        status = order_one(t, a, m);
        spool_ask_add_brief(a, m);
    }
    spool_message_free(&m, false);
    return status;
}

/* Slice by slice, so that an order for everything does not hold up the others. */
static enum spool_db_status
carry_order(struct spool_thread *t, struct spool_ask *a)
{
    size_t most = a->filter.max > 0 ? a->filter.max - a->reached : SIZE_MAX;
    size_t slice = most < SLICE_MESSAGES ? most : SLICE_MESSAGES, i = 0;
    struct spool_seqs found = {NULL, 0, 0};
    enum spool_db_status status = find_seqs(t, a, slice, &found);

    for (; i < found.n && a->recipients < SLICE_RECIPIENTS && status == SPOOL_DB_OK; i++)
        status = order_seq(t, a, found.seqs[i]);
    a->is_through = a->wrote = true;
    a->more = i < found.n || (found.n == slice && slice < most);
    a->result = SPOOL_DONE;
    if (i > 0)
        a->last_seq = found.seqs[i - 1];
    free(found.seqs);
    return status;
}

/* What can be done when nobody waits: a MiB a second of free pages goes back to the file system. */
static enum spool_db_status
carry_look(struct spool_thread *t, struct spool_ask *a)
{
    enum spool_db_status status = spool_bury_dead(t);

    t->terms = a->terms;
    t->buried = t->dead.n;
    a->wrote = t->dead.n > 0;
    a->is_through = true;
    a->result = SPOOL_DONE;
    if (status != SPOOL_DB_OK || !t->is_idle)
        return status;
    return spool_db_run(&t->db, spool_db_stmt(&t->db, STMT_VACUUM));
}

enum spool_db_status
spool_carry_out(struct spool_thread *t, struct spool_ask *a)
{
    switch (a->kind) {
    case ASK_ADD:
        return carry_add(t, a);
    case ASK_TAKE:
        return carry_take(t, a);
    case ASK_BODY:
        return carry_body(t, a);
    case ASK_SETTLE:
        return carry_settle(t, a);
    case ASK_LIST:
        return carry_list(t, a);
    case ASK_ORDER:
        return carry_order(t, a);
    case ASK_SCAN:
        return carry_scan(t, a);
    case ASK_LOOK:
        return carry_look(t, a);
    case ASK_OPEN:
        break; /* outside of transactions */
    }
    a->is_through = true;
    a->result = SPOOL_DONE;
    return SPOOL_DB_OK;
}
