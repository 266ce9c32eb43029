#include "policy/window.h"

#include <string.h>

uint64_t
limit_lifetime_us(uint64_t period_us)
{
    uint64_t fortieth = period_us / 40;

    return fortieth < CHARGE_LIFETIME_MS * 1000 ? fortieth : CHARGE_LIFETIME_MS * 1000;
}

uint64_t
window_width_us(uint64_t period_us)
{
    return (period_us + limit_lifetime_us(period_us) + 1000 + WINDOW_BUCKETS - 1) / WINDOW_BUCKETS;
}

void
window_init(struct window *w, uint64_t period_us, uint64_t now_us)
{
    memset(w, 0, sizeof(*w));
    w->period_us = period_us;
    w->width_us = window_width_us(period_us);
    w->head = now_us / w->width_us;
    w->born_us = now_us;
}

static uint64_t *
bucket(struct window *w, uint64_t number)
{
    return &w->counts[number % WINDOW_SLOTS];
}

uint64_t
window_oldest(const struct window *w)
{
    return w->head > WINDOW_BUCKETS ? w->head - WINDOW_BUCKETS : 0;
}

void
window_turn(struct window *w, uint64_t now_us)
{
    uint64_t now = now_us / w->width_us;

    if (now <= w->head)
        return;
    if (now - w->head > WINDOW_BUCKETS) {
        memset(w->counts, 0, sizeof(w->counts));
        w->total = 0;
        w->head = now;
        return;
    }
    while (w->head < now) {
        uint64_t *count = bucket(w, ++w->head); /* held what was 65 buckets ago */

        w->total -= *count;
        *count = 0;
    }
}

static void
add_at(struct window *w, uint64_t number, uint64_t n)
{
    *bucket(w, number) += n;
    w->total += n;
}

void
window_assume(struct window *w, uint64_t at_us, uint64_t amount, uint64_t cap)
{
    uint64_t number = at_us / w->width_us;
    uint64_t room = cap > w->total ? cap - w->total : 0;

    if (number > w->head)
        number = w->head;
    if (number < window_oldest(w))
        return;
    add_at(w, number, amount < room ? amount : room);
}

static void
move_buckets(struct window *w, const struct window *old, uint64_t now_us)
{
    for (uint64_t b = window_oldest(old); b <= old->head; b++) {
        uint64_t n = old->counts[b % WINDOW_SLOTS];
        uint64_t latest_us = (b + 1) * old->width_us - 1;
        uint64_t number = (latest_us < now_us ? latest_us : now_us) / w->width_us;

        if (n > 0 && number >= window_oldest(w))
            add_at(w, number, n);
    }
}

uint64_t
window_reach_us(uint64_t asked_us, uint64_t born_us, uint64_t began_us)
{
    bool first_life = began_us > 0 && born_us >= began_us && born_us < began_us + KEPT_US;

    if (asked_us < born_us && (first_life || born_us - asked_us <= KEPT_US))
        return born_us;
    return asked_us;
}

void
window_set_period(struct window *w, uint64_t period_us, uint64_t now_us, uint64_t cap, uint64_t began_us)
{
    struct window old = *w;
    uint64_t known_us = window_oldest(&old) * old.width_us; /* from here on the old window knew everything */
    uint64_t asked_us;

    if (now_us < old.head * old.width_us)
        now_us = old.head * old.width_us;
    window_init(w, period_us, now_us);
    w->born_us = old.born_us;
    w->cap_seen = old.cap_seen;
    move_buckets(w, &old, now_us);
    asked_us = window_reach_us(window_oldest(w) * w->width_us, w->born_us, began_us);
    if (asked_us < known_us) {
        uint64_t times = (known_us - asked_us + old.period_us - 1) / old.period_us;
        uint64_t amount = times > CAP_MAX || w->cap_seen > CAP_MAX / times ? CAP_MAX : times * w->cap_seen;

        window_assume(w, known_us - 1, amount, cap);
    }
}

void
window_take(struct window *w, uint64_t n, uint64_t cap)
{
    uint64_t room = w->total < CAP_MAX ? CAP_MAX - w->total : 0;

    add_at(w, w->head, n < room ? n : room);
    if (cap > w->cap_seen)
        w->cap_seen = cap;
}

bool
window_give(struct window *w, uint64_t n, uint64_t at_us)
{
    uint64_t number = at_us / w->width_us;

    if (number > w->head || number < window_oldest(w) || *bucket(w, number) < n)
        return false;
    *bucket(w, number) -= n;
    w->total -= n;
    return true;
}

uint64_t
window_frees_at_us(const struct window *w, uint64_t need)
{
    uint64_t freed = 0, b = window_oldest(w);

    for (; b < w->head; b++) {
        freed += w->counts[b % WINDOW_SLOTS];
        if (freed >= need)
            break;
    }
    return (b + WINDOW_SLOTS) * w->width_us;
}
