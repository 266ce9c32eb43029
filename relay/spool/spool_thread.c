/* Group commit. All that waits is carried out in one transaction, so that one sync pays for all of it; when
 * that finds no space, each question gets a transaction of its own, so that only what does not fit is
 * refused. When the database fails, everything in hand is answered no and the handle is closed: a sync that
 * failed is never tried again on the same handle, because the kernel may have dropped what it could not
 * write. What was answered no is remembered, and erased should it be there when the file is opened anew.
 *
 * The body of a large message goes in by slices, each in a transaction with what others wait for. Its rows
 * come with the last slice; chunks without a message row are nothing. */
#include "relay/spool/spool_thread.h"

#include <stdio.h>
#include <stdlib.h>

#include "relay/base/clock.h"
#include "relay/base/xmalloc.h"
#include "relay/spool/spool_sound.h"
#include "relay/spool/spool_thread_part.h"

#define BATCH_BODY_BYTES ((size_t)4 << 20) /* of all bodies in one transaction */

static struct spool_ask *
ask_of(struct list *it)
{
    return LIST_ITEM(LIST_ITEM(it, struct job, link), struct spool_ask, job);
}

/* ---- sets of seqs ---- */

void
spool_seqs_add(struct spool_seqs *s, uint64_t seq)
{
    if (s->n == s->room) {
        s->room = s->room > 0 ? 2 * s->room : 16;
        s->seqs = xrealloc(s->seqs, s->room * sizeof(*s->seqs));
    }
    s->seqs[s->n++] = seq;
}

void
spool_seqs_remove(struct spool_seqs *s, uint64_t seq)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->seqs[i] == seq) {
            s->seqs[i] = s->seqs[--s->n];
            return;
        }
}

bool
spool_seqs_has(const struct spool_seqs *s, uint64_t seq)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->seqs[i] == seq)
            return true;
    return false;
}

/* ---- one question ---- */

enum spool_db_status
spool_put_aside(struct spool_thread *t, uint64_t seq)
{
    char why[96], id[SPOOL_ID_MAX];

    snprintf(why, sizeof(why), "message %llu: its rows are damaged; put aside", (unsigned long long)seq);
    spool_rows_id(&t->db, seq, id);
    t->damaged++;
    spool_note(&t->notes, NOTE_DAMAGED, id, why);
    return spool_rows_put_aside(&t->db, seq, clock_utc_ms(), why);
}

static enum spool_db_status
carry_one(struct spool_thread *t, struct spool_ask *a)
{
    enum spool_db_status status = spool_carry_out(t, a);

    if (status != SPOOL_DB_DAMAGED)
        return status;
    a->is_through = true;
    if (a->kind == ASK_ADD || a->kind == ASK_SETTLE) {
        a->result = SPOOL_FAILED; /* the body it brought cannot be read */
        return SPOOL_DB_OK;
    }
    a->result = SPOOL_DAMAGED;
    return spool_put_aside(t, a->seq);
}

/* What must not come back although it may be in the file. */
static void
remember_dead(struct spool_thread *t, const struct spool_ask *a)
{
    for (size_t i = 0; i < a->n_added; i++)
        spool_seqs_add(&t->dead, a->added[i].message->seq);
}

static void
remember_in_flight(struct spool_thread *t, const struct spool_message *m)
{
    spool_seqs_remove(&t->in_flight, m->seq);
    if (spool_message_is_in_flight(m))
        spool_seqs_add(&t->in_flight, m->seq);
}

static void
forget_buried(struct spool_thread *t)
{
    struct spool_seqs *dead = &t->dead;

    if (t->buried == 0)
        return;
    dead->n -= t->buried;
    memmove(dead->seqs, dead->seqs + t->buried, dead->n * sizeof(*dead->seqs));
    t->buried = 0;
}

/* The transaction it was in counts. */
static void
note_committed(struct spool_thread *t, struct spool_ask *a)
{
    forget_buried(t);
    a->committed_adding = a->adding;
    a->committed_bytes = a->adding < a->n_added ? a->added[a->adding].at_bytes : 0;
    if (a->is_through && (a->result == SPOOL_DAMAGED || a->result == SPOOL_GONE))
        spool_seqs_remove(&t->in_flight, a->seq);
    if (a->is_through && a->result != SPOOL_DONE)
        remember_dead(t, a);
    if (!a->is_through || a->result != SPOOL_DONE)
        return;
    for (size_t i = 0; i < a->n_added; i++)
        if (spool_message_is_in_flight(a->added[i].message))
            spool_seqs_add(&t->in_flight, a->added[i].message->seq);
    if (a->kind == ASK_TAKE || a->kind == ASK_SETTLE)
        remember_in_flight(t, a->message);
}

static void
refuse(struct spool_thread *t, struct spool_ask *a, enum spool_result result)
{
    spool_ask_reset(a);
    a->is_through = true;
    a->result = result;
    remember_dead(t, a);
}

/* ---- a transaction ---- */

static enum spool_db_status
begin_transaction(struct spool_thread *t)
{
    t->budget_bytes = BATCH_BODY_BYTES;
    t->buried = 0;
    return spool_db_begin(&t->db);
}

static enum spool_db_status
end_transaction(struct spool_thread *t, enum spool_db_status status)
{
    if (status == SPOOL_DB_OK)
        return spool_db_commit(&t->db);
    spool_db_rollback(&t->db);
    return status;
}

static enum spool_db_status
run_all(struct spool_thread *t, struct list *jobs)
{
    enum spool_db_status status = begin_transaction(t);

    LIST_EACH(it, jobs)
        if (status == SPOOL_DB_OK && !ask_of(it)->is_through)
            status = carry_one(t, ask_of(it));
    status = end_transaction(t, status);
    LIST_EACH(it, jobs) {
        if (status == SPOOL_DB_OK)
            note_committed(t, ask_of(it));
        else
            spool_ask_reset(ask_of(it));
    }
    return status;
}

static enum spool_db_status
run_one(struct spool_thread *t, struct spool_ask *a)
{
    enum spool_db_status status = begin_transaction(t);

    if (status == SPOOL_DB_OK)
        status = carry_one(t, a);
    status = end_transaction(t, status);
    if (status == SPOOL_DB_OK)
        note_committed(t, a);
    else if (status == SPOOL_DB_FULL)
        refuse(t, a, SPOOL_NO_SPACE);
    else
        spool_ask_reset(a);
    return status;
}

static enum spool_db_status
run_each(struct spool_thread *t, struct list *jobs)
{
    enum spool_db_status status = SPOOL_DB_OK;

    LIST_EACH(it, jobs)
        if (!ask_of(it)->is_through && status != SPOOL_DB_BROKEN)
            status = run_one(t, ask_of(it));
    return status;
}

static void
give_up(struct spool_thread *t, struct list *jobs)
{
    LIST_EACH(it, jobs)
        if (!ask_of(it)->is_through)
            refuse(t, ask_of(it), SPOOL_FAILED);
    spool_db_close(&t->db);
}

/* ---- a batch ---- */

static void
open_first(struct spool_thread *t, struct spool_ask *a)
{
    t->terms = a->terms;
    a->is_through = true;
    a->result = t->db.handle != NULL || spool_recover(t) == SPOOL_DB_OK ? SPOOL_DONE : SPOOL_FAILED;
    if (a->result != SPOOL_DONE)
        spool_db_close(&t->db);
}

static int64_t
oldest(struct spool_thread *t)
{
    int64_t utc_ms;

    if (spool_db_number(&t->db, STMT_OLDEST, 0, &utc_ms) != SPOOL_DB_OK)
        return 0;
    return utc_ms > 0 && utc_ms < SPOOL_NUMBER_MAX ? utc_ms : 0; /* the row was not judged yet */
}

static void
tell_facts(struct spool_thread *t, struct spool_ask *last, int64_t commit_us)
{
    struct spool_facts *f = xcalloc(1, sizeof(*f));

    f->is_open = t->db.handle != NULL;
    f->is_full = t->is_full;
    snprintf(f->why, sizeof(f->why), "%s", f->is_open ? t->full_why : t->db.why);
    f->counts = t->db.counts;
    f->free_bytes = t->free_bytes;
    f->needed_bytes = t->needed_bytes;
    f->damaged = t->damaged;
    f->oldest_utc_ms = f->is_open ? oldest(t) : 0;
    f->highest_seq = t->highest_seq;
    f->commit_us = commit_us;
    last->facts = f;
    list_move_all(&last->notes, &t->notes);
}

static void
look_at_files(struct spool_thread *t)
{
    if (t->db.handle == NULL)
        memset(&t->files, 0, sizeof(t->files)); /* others may be opened next */
    t->has_moved = t->db.handle != NULL && spool_place_has_moved(t->path, &t->files);
}

/* What is taken or removed is written to the WAL first, and to write that back may need as much again. Both
 * must fit into what the guard keeps free, or a full disk would keep what is on it from leaving. */
static void
look_at_space(struct spool_thread *t)
{
    struct spool_space space;

    spool_place_look(t->folder, t->terms.size_limit_bytes, &space);
    t->is_full = space.is_full;
    t->free_bytes = space.free_bytes;
    t->needed_bytes = space.needed_bytes;
    snprintf(t->full_why, sizeof(t->full_why), "%s", space.why);
    look_at_files(t);
    if (t->has_moved) {
        t->is_full = true;
        snprintf(t->full_why, sizeof(t->full_why), "%.120s was moved or removed while in use: what waits"
            " leaves, nothing is added to it; put it back, or restart when it is empty", t->path);
    }
    spool_db_bound_wal(&t->db, t->needed_bytes / 4);
}

static bool
has_look(struct list *jobs)
{
    LIST_EACH(it, jobs)
        if (ask_of(it)->kind == ASK_LOOK)
            return true;
    return false;
}

static bool
has_written(struct list *jobs)
{
    LIST_EACH(it, jobs)
        if (ask_of(it)->wrote)
            return true;
    return false;
}

static void
hand_over(struct list *jobs, struct list *finished)
{
    LIST_EACH_SAFE(it, jobs)
        if (ask_of(it)->is_through) {
            list_del(it);
            list_add_tail(finished, it);
        }
}

void
spool_thread_batch(void *arg, struct list *jobs, struct list *finished)
{
    struct spool_thread *t = arg;
    enum spool_db_status status = SPOOL_DB_BROKEN;
    int64_t since_us;
    bool wrote;

    LIST_EACH(it, jobs)
        if (ask_of(it)->kind == ASK_OPEN)
            open_first(t, ask_of(it));
    t->is_idle = jobs->next == jobs->prev;
    since_us = clock_mono_us();
    look_at_files(t); /* before anybody hears that it is kept */
    if (t->db.handle != NULL)
        status = run_all(t, jobs);
    if (status == SPOOL_DB_FULL)
        status = run_each(t, jobs);
    if (status == SPOOL_DB_BROKEN)
        give_up(t, jobs);
    wrote = has_written(jobs);
    if (status == SPOOL_DB_OK && t->is_full && has_look(jobs))
        spool_db_write_back(&t->db); /* no commit of new mail will do so */
    look_at_space(t);
    hand_over(jobs, finished);
    if (!list_is_empty(finished))
        tell_facts(t, ask_of(finished->prev), wrote ? clock_mono_us() - since_us : -1);
}

struct spool_thread *
spool_thread_new(const char *folder)
{
    struct spool_thread *t = xcalloc(1, sizeof(*t));
    size_t size = strlen(folder) + sizeof("/" SPOOL_DB_FILE);

    t->folder = xstrdup(folder);
    t->path = xmalloc(size);
    snprintf(t->path, size, "%s/" SPOOL_DB_FILE, folder);
    t->scratch = xmalloc(SPOOL_CHUNK_BYTES);
    list_init(&t->notes);
    return t;
}

void
spool_thread_free(struct spool_thread **thread)
{
    struct spool_thread *t = *thread;

    if (t == NULL)
        return;
    *thread = NULL;
    if (t->db.handle == NULL && t->dead.n > 0) /* the last chance to erase what was answered no */
        (void)spool_recover(t);
    spool_db_close(&t->db);
    for (struct list *it; (it = list_pop(&t->notes)) != NULL;)
        free(LIST_ITEM(it, struct spool_note, link));
    free(t->in_flight.seqs);
    free(t->dead.seqs);
    free(t->scratch);
    free(t->folder);
    free(t->path);
    free(t);
}
