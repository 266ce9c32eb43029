#include "relay/store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/file.h"
#include "relay/base/xmalloc.h"

#define MAGIC "sendgov-journal-1\n"
#define MARKS 4096
#define LIMIT_MARKS 16384
#define STEPS 256
#define BOOT_MAX 40 /* 36 characters */
#define PAUSES_FILE_MAX (2 * 1024 * 1024)

struct head {
    uint64_t generation;
    uint64_t acked, last_charge_ms;
    struct journal_time time;
    char boot[BOOT_MAX]; /* of the machine, in which `time` was */
    char uuid[JOURNAL_UUID_MAX + 7]; /* sizes keep the layout free of holes */
    char epoch[JOURNAL_EPOCH_MAX];
    uint64_t checksum; /* of all before */
};

struct mark {
    uint64_t hash, ms;
};

struct step {
    uint64_t hash, at_ms;
    uint64_t step;
};

struct layout {
    char magic[64];
    struct head heads[2];
    struct mark marks[MARKS];             /* of instances: until when their counters must exist */
    struct mark limit_marks[LIMIT_MARKS]; /* of their limits: when they were charged */
    struct step steps[STEPS];
};

struct journal {
    int fd;
    struct layout *map;
    struct head head; /* the newest */
    uint64_t foreign_seq; /* numbers up to here are another identity's */
    bool suspect;
    char boot[BOOT_MAX]; /* this one; empty when the system does not say */
    char *path, *pauses_path;
};

static uint64_t
hash_bytes(uint64_t hash, const void *p, size_t n)
{
    const unsigned char *c = p;

    for (; n > 0; n--)
        hash = (hash ^ *c++) * 1099511628211ull; /* FNV-1a */
    return hash;
}

static uint64_t
hash_two(const char *a, const char *b)
{
    uint64_t hash = hash_bytes(14695981039346656037ull, a, strlen(a) + 1);

    hash = hash_bytes(hash, b, strlen(b));
    return hash != 0 ? hash : 1;
}

static uint64_t
checksum(const struct head *h)
{
    return hash_bytes(14695981039346656037ull, h, offsetof(struct head, checksum));
}

static void
write_head(struct journal *j)
{
    j->head.generation++;
    j->head.checksum = checksum(&j->head);
    memcpy(&j->map->heads[j->head.generation % 2], &j->head, sizeof(j->head));
}

static void
read_boot(char out[BOOT_MAX])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, BOOT_MAX - 1);

    out[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

static bool
is_text(const char *s, size_t size)
{
    return memchr(s, '\0', size) != NULL;
}

static bool
head_is_whole(const struct head *h)
{
    return h->checksum == checksum(h) && h->generation > 0 && is_text(h->uuid, sizeof(h->uuid))
        && is_text(h->epoch, sizeof(h->epoch)) && is_text(h->boot, sizeof(h->boot));
}

static bool
read_head(struct journal *j)
{
    const struct head *a = &j->map->heads[0], *b = &j->map->heads[1];
    bool whole_a = head_is_whole(a), whole_b = head_is_whole(b);

    if (memcmp(j->map->magic, MAGIC, sizeof(MAGIC)) != 0 || (!whole_a && !whole_b))
        return false;
    j->head = whole_a && (!whole_b || a->generation > b->generation) ? *a : *b;
    return true;
}

static int
make_uuid(struct journal *j, struct err *err)
{
    unsigned char random[16];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set_errno(err, "no random numbers for the node's identity");
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(j->head.uuid + 2 * i, 3, "%02x", random[i]);
    return 0;
}

static int
make_fresh(struct journal *j, struct err *err)
{
    memset(j->map, 0, sizeof(*j->map));
    memset(&j->head, 0, sizeof(j->head));
    if (make_uuid(j, err) != 0)
        return -1;
    write_head(j);
    memcpy(j->map->magic, MAGIC, sizeof(MAGIC));
    return 0;
}

static int
open_file(struct journal *j, struct err *err)
{
    j->fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (j->fd < 0)
        return err_set_errno(err, "cannot open %s", j->path);
    if (flock(j->fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(err, "%s is locked: another sendgovd uses this state folder", j->path);
        return err_set_errno(err, "cannot lock %s", j->path);
    }
    return 0;
}

/* Copied rather than renamed, so that the lock stays on the file in use. */
static void
keep_bad_file(struct journal *j)
{
    size_t size = strlen(j->path) + 5;
    char *bad = xmalloc(size);
    struct err ignored;

    snprintf(bad, size, "%s.bad", j->path);
    file_replace(bad, span_of((const char *)j->map, sizeof(*j->map)), 0600, &ignored);
    free(bad);
}

static int
map_file(struct journal *j, struct err *err)
{
    struct stat st;

    if (fstat(j->fd, &st) < 0)
        return err_set_errno(err, "cannot stat %s", j->path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, "%s is not a regular file", j->path);
    /* Blocks are allocated now: a full disk is found here, not by SIGBUS at the first charge. */
    errno = posix_fallocate(j->fd, 0, sizeof(*j->map));
    if (errno != 0)
        return err_set_errno(err, "no room for %s", j->path);
    j->map = mmap(NULL, sizeof(*j->map), PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
    if (j->map == MAP_FAILED) {
        j->map = NULL;
        return err_set_errno(err, "cannot map %s", j->path);
    }
    if (st.st_size == (off_t)sizeof(*j->map) && read_head(j))
        return 0;
    if (st.st_size > 0) {
        j->suspect = true;
        keep_bad_file(j);
    }
    return make_fresh(j, err);
}

static char *
path_in(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = xmalloc(size);

    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

struct journal *
journal_open(const char *folder, struct err *err)
{
    struct journal *j = xcalloc(1, sizeof(*j));

    j->fd = -1;
    j->path = path_in(folder, "store.journal");
    j->pauses_path = path_in(folder, "store.pauses");
    read_boot(j->boot);
    if (open_file(j, err) < 0 || map_file(j, err) < 0)
        journal_close(&j);
    return j;
}

struct journal *
journal_guest(const struct journal *j, uint64_t seq, struct err *err)
{
    struct journal *guest = xcalloc(1, sizeof(*guest));

    guest->fd = -1;
    guest->map = mmap(NULL, sizeof(*guest->map), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guest->map == MAP_FAILED) {
        guest->map = NULL;
        (void)err_set_errno(err, "no memory for a journal");
        journal_close(&guest);
        return NULL;
    }
    *guest->map = *j->map;
    guest->head = j->head;
    guest->head.acked = 0;
    guest->foreign_seq = seq;
    memcpy(guest->boot, j->boot, sizeof(guest->boot));
    if (make_uuid(guest, err) != 0)
        journal_close(&guest);
    return guest;
}

void
journal_close(struct journal **j)
{
    if (!*j)
        return;
    if ((*j)->map) {
        msync((*j)->map, sizeof(*(*j)->map), MS_ASYNC);
        munmap((*j)->map, sizeof(*(*j)->map));
    }
    if ((*j)->fd >= 0)
        close((*j)->fd);
    free((*j)->path);
    free((*j)->pauses_path);
    free(*j);
    *j = NULL;
}

bool
journal_is_suspect(const struct journal *j)
{
    return j->suspect;
}

const char *
journal_uuid(const struct journal *j)
{
    return j->head.uuid;
}

const char *
journal_epoch(const struct journal *j)
{
    return j->head.epoch;
}

uint64_t
journal_acked(const struct journal *j)
{
    return j->head.acked;
}

uint64_t
journal_last_charge_ms(const struct journal *j)
{
    return j->head.last_charge_ms;
}

/* Epochs are SET.TERM.TAG (policy/lua/heartbeat.lua). */
static bool
is_same_set(const char *a, const char *b)
{
    size_t n = strcspn(a, ".");

    return n == strcspn(b, ".") && memcmp(a, b, n) == 0;
}

void
journal_set_epoch(struct journal *j, const char *epoch)
{
    bool same_set = is_same_set(j->head.epoch, epoch);

    if (strcmp(j->head.epoch, epoch) == 0)
        return;
    memset(j->head.epoch, 0, sizeof(j->head.epoch));
    memcpy(j->head.epoch, epoch, strnlen(epoch, sizeof(j->head.epoch) - 1));
    write_head(j);
    if (!same_set)
        journal_forget_marks(j);
    j->suspect = false;
}

void
journal_ack(struct journal *j, uint64_t seq, uint64_t charge_ms)
{
    if (seq > j->head.acked && seq > j->foreign_seq)
        j->head.acked = seq;
    if (charge_ms > j->head.last_charge_ms)
        j->head.last_charge_ms = charge_ms;
    write_head(j);
}

void
journal_set_time(struct journal *j, const struct journal_time *time)
{
    j->head.time = *time;
    memcpy(j->head.boot, j->boot, sizeof(j->head.boot));
    write_head(j);
}

struct journal_time
journal_time(const struct journal *j)
{
    if (j->boot[0] == '\0' || strcmp(j->head.boot, j->boot) != 0)
        return (struct journal_time){0, 0, 0};
    return j->head.time;
}

static uint64_t
hash_instance(enum limit_scope scope, const char *instance)
{
    return hash_two(limit_scope_to_str(scope), instance);
}

static uint64_t
hash_limit(enum limit_scope scope, const char *instance, const char *limit)
{
    uint64_t hash = hash_bytes(hash_instance(scope, instance), "", 1);

    hash = hash_bytes(hash, limit, strlen(limit));
    return hash != 0 ? hash : 1;
}

static void
set_mark(struct mark *m, uint64_t hash, uint64_t ms)
{
    if (m->hash != hash) {
        m->ms = 0;
        m->hash = hash;
    }
    m->ms = ms;
}

void
journal_mark(struct journal *j, enum limit_scope scope, const char *instance, uint64_t until_ms)
{
    uint64_t hash = hash_instance(scope, instance);

    set_mark(&j->map->marks[hash % MARKS], hash, until_ms);
}

uint64_t
journal_marked_until_ms(const struct journal *j, enum limit_scope scope, const char *instance)
{
    uint64_t hash = hash_instance(scope, instance);
    const struct mark *m = &j->map->marks[hash % MARKS];

    return m->hash == hash ? m->ms : 0;
}

void
journal_mark_limit(struct journal *j, enum limit_scope scope, const char *instance, const char *limit,
    uint64_t now_ms)
{
    uint64_t hash = hash_limit(scope, instance, limit);

    set_mark(&j->map->limit_marks[hash % LIMIT_MARKS], hash, now_ms);
}

uint64_t
journal_limit_marked_ms(const struct journal *j, enum limit_scope scope, const char *instance,
    const char *limit)
{
    uint64_t hash = hash_limit(scope, instance, limit);
    const struct mark *m = &j->map->limit_marks[hash % LIMIT_MARKS];

    return m->hash == hash ? m->ms : 0;
}

void
journal_forget_marks(struct journal *j)
{
    memset(j->map->marks, 0, sizeof(j->map->marks));
    memset(j->map->limit_marks, 0, sizeof(j->map->limit_marks));
}

static struct step *
find_step(const struct journal *j, uint64_t hash)
{
    struct step *free_one = &j->map->steps[0];

    for (size_t i = 0; i < STEPS; i++) {
        struct step *s = &j->map->steps[i];

        if (s->hash == hash)
            return s;
        if (s->at_ms < free_one->at_ms)
            free_one = s;
    }
    return free_one;
}

void
journal_set_step(struct journal *j, const char *limit, const char *instance, uint32_t step, uint64_t now_ms)
{
    uint64_t hash = hash_two(limit, instance);
    struct step *s = find_step(j, hash);

    if (s->hash != hash) {
        s->step = 0;
        s->hash = hash;
    }
    s->step = step;
    s->at_ms = now_ms;
}

static void
learn_marks(struct mark *own, const struct mark *others, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (others[i].ms > own[i].ms)
            own[i] = others[i];
}

static void
learn_step(struct journal *j, const struct step *other)
{
    struct step *s = find_step(j, other->hash);

    if (other->at_ms > s->at_ms)
        *s = *other;
}

void
journal_rejoin(struct journal *j, const struct journal *guest, uint64_t seq)
{
    j->foreign_seq = seq;
    if (strcmp(j->head.epoch, guest->head.epoch) == 0) {
        learn_marks(j->map->marks, guest->map->marks, MARKS);
        learn_marks(j->map->limit_marks, guest->map->limit_marks, LIMIT_MARKS);
    }
    for (size_t i = 0; i < STEPS; i++)
        learn_step(j, &guest->map->steps[i]);
    journal_ack(j, 0, guest->head.last_charge_ms);
}

uint32_t
journal_step(const struct journal *j, const char *limit, const char *instance)
{
    uint64_t hash = hash_two(limit, instance);
    const struct step *s = find_step(j, hash);

    return s->hash == hash && s->step < UINT32_MAX ? (uint32_t)s->step : 0;
}

uint64_t
journal_step_ms(const struct journal *j, const char *limit, const char *instance)
{
    uint64_t hash = hash_two(limit, instance);
    const struct step *s = find_step(j, hash);

    return s->hash == hash ? s->at_ms : 0;
}

int
journal_read_pauses(const struct journal *j, struct buf *out, struct err *err)
{
    struct stat st;

    if (stat(j->pauses_path, &st) < 0 && errno == ENOENT)
        return 0;
    return file_read(j->pauses_path, PAUSES_FILE_MAX, FILE_ANY, out, err);
}

int
journal_write_pauses(const struct journal *j, struct span text, struct err *err)
{
    return file_replace(j->pauses_path, text, 0600, err);
}
