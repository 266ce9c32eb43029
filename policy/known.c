#include "policy/known.h"

#include <stdlib.h>
#include <string.h>

#include "relay/base/ascii.h"
#include "relay/base/siphash.h"
#include "relay/base/xmalloc.h"

struct entry {
    uint64_t tag;
    uint32_t hour;
};

struct bucket {
    size_t n;
    struct entry entries[KNOWN_BUCKET_MAX];
};

struct known {
    struct bucket *buckets[KNOWN_BUCKETS]; /* NULL: empty */
};

struct known *
known_new(void)
{
    return xcalloc(1, sizeof(struct known));
}

void
known_free(struct known **k)
{
    for (size_t i = 0; *k && i < KNOWN_BUCKETS; i++)
        free((*k)->buckets[i]);
    free(*k);
    *k = NULL;
}

/* The key is no secret, because all nodes and restarts must agree on it: it keeps addresses from being read,
 * not from being tried. */
uint64_t
known_person(struct span address)
{
    static const struct siphash_key key = {UINT64_C(0x73656e64676f7620), UINT64_C(0x6b6e6f776e207631)};
    char lower[INSTANCE_MAX];
    size_t n = address.n < sizeof(lower) ? address.n : sizeof(lower);

    for (size_t i = 0; i < n; i++)
        lower[i] = ascii_lower(address.p[i]);
    return siphash13(key, span_of(lower, n));
}

static struct entry *
find(const struct known *k, uint64_t person)
{
    struct bucket *b = k ? k->buckets[KNOWN_BUCKET_OF(person)] : NULL;

    for (size_t i = 0; b && i < b->n; i++)
        if (b->entries[i].tag == KNOWN_TAG_OF(person))
            return &b->entries[i];
    return NULL;
}

bool
known_has(const struct known *k, uint64_t person, uint32_t hour, uint32_t hours)
{
    const struct entry *e = find(k, person);

    return e && hour < e->hour + hours;
}

static void
bucket_remove(struct bucket *b, size_t i)
{
    memmove(&b->entries[i], &b->entries[i + 1], (--b->n - i) * sizeof(*b->entries));
}

static void
make_room(struct bucket *b, uint32_t hour, uint32_t hours)
{
    size_t oldest = 0;

    for (size_t i = b->n; i-- > 0;)
        if (hour >= b->entries[i].hour + hours)
            bucket_remove(b, i);
    for (size_t i = 1; i < b->n; i++)
        if (b->entries[i].hour < b->entries[oldest].hour)
            oldest = i;
    if (b->n == KNOWN_BUCKET_MAX)
        bucket_remove(b, oldest);
}

void
known_add(struct known *k, uint64_t person, uint32_t hour, uint32_t hours)
{
    struct bucket **b = &k->buckets[KNOWN_BUCKET_OF(person)];
    struct entry *e = find(k, person);

    if (e) {
        e->hour = hour;
        return;
    }
    if (!*b)
        *b = xcalloc(1, sizeof(**b));
    make_room(*b, hour, hours);
    (*b)->entries[(*b)->n++] = (struct entry){KNOWN_TAG_OF(person), hour};
}

void
known_forget(struct known *k, uint64_t person, uint32_t hour)
{
    const struct entry *e = find(k, person);

    if (e && e->hour == hour) {
        struct bucket *b = k->buckets[KNOWN_BUCKET_OF(person)];

        bucket_remove(b, (size_t)(e - b->entries));
    }
}

/* ---- the people of a request ---- */

uint32_t
known_hours(const struct charge_line *line)
{
    return (uint32_t)(line->limit->known_ms / KNOWN_HOUR_MS);
}

void
charge_order(const struct charge_person *people, size_t n, uint32_t *order_out)
{
    size_t at = 0;

    for (int strangers = 0; strangers <= 1; strangers++)
        for (size_t i = 0; i < n; i++)
            if ((people[i].new_of != 0) == strangers)
                order_out[at++] = (uint32_t)i;
}

static bool
is_by_person(const struct charge_request *r, const struct charge_line *line)
{
    return line->new_bit != 0 && r->people != NULL;
}

static uint32_t
count_acquainted(const struct charge_request *r)
{
    uint32_t n = 0;

    for (size_t i = 0; i < r->recipients; i++)
        n += r->people[i].new_of == 0;
    return n;
}

uint64_t
charge_cost(const struct charge_request *r, const struct charge_line *line, uint32_t g)
{
    uint32_t acquainted, left;
    uint64_t cost = 0;

    if (!is_by_person(r, line))
        return line->fixed + (uint64_t)line->each * g;
    acquainted = count_acquainted(r);
    left = g > acquainted ? g - acquainted : 0;
    for (size_t i = 0; i < r->recipients && left > 0; i++) {
        left -= r->people[i].new_of != 0;
        cost += (r->people[i].new_of & line->new_bit) != 0;
    }
    return cost;
}

uint32_t
charge_fits(const struct charge_request *r, const struct charge_line *line, uint64_t room)
{
    uint32_t g;

    if (!is_by_person(r, line)) {
        uint64_t most;

        if (line->fixed > room)
            return 0;
        most = line->each == 0 ? r->recipients : (room - line->fixed) / line->each;
        return most < r->recipients ? (uint32_t)most : r->recipients;
    }
    g = count_acquainted(r);
    for (size_t i = 0; i < r->recipients; i++) {
        bool is_new = (r->people[i].new_of & line->new_bit) != 0;

        if (is_new && room == 0)
            break;
        room -= is_new;
        g += r->people[i].new_of != 0;
    }
    return g;
}
