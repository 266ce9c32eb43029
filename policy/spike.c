#include "policy/spike.h"

#include <stdlib.h>
#include <string.h>

#include "policy/window.h"

void
spike_init(struct spike *s, uint64_t now_us)
{
    memset(s, 0, sizeof(*s));
    s->hour = now_us / HOUR_US;
}

static int
compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static uint64_t
find_usual(const struct spike *s)
{
    uint64_t used[SPIKE_SLOTS];
    size_t n = 0, all, middle;

    for (size_t i = 0; i < SPIKE_SLOTS; i++)
        if (s->counts[i] > 0 && i != s->hour % SPIKE_SLOTS)
            used[n++] = s->counts[i];
    qsort(used, n, sizeof(*used), compare);
    all = n > SPIKE_HOURS_LEAST ? n : SPIKE_HOURS_LEAST;
    middle = (all + 1) / 2; /* from 1, behind all - n hours of nothing */
    return middle > all - n ? used[middle - (all - n) - 1] : 0;
}

bool
spike_turn(struct spike *s, uint64_t now_us)
{
    uint64_t now = now_us / HOUR_US;

    if (now <= s->hour)
        return false;
    if (now - s->hour > SPIKE_HOURS) {
        spike_init(s, now_us);
        return true;
    }
    while (s->hour < now)
        s->counts[++s->hour % SPIKE_SLOTS] = 0; /* held what was 169 hours ago */
    s->usual = find_usual(s);
    return true;
}

void
spike_take(struct spike *s, uint64_t n)
{
    uint64_t *count = &s->counts[s->hour % SPIKE_SLOTS];
    uint64_t room = CAP_MAX - *count;

    *count += n < room ? n : room;
}

void
spike_give(struct spike *s, uint64_t n, uint64_t at_us)
{
    uint64_t hour = at_us / HOUR_US, *count = &s->counts[hour % SPIKE_SLOTS];

    if (hour > s->hour || s->hour - hour > SPIKE_HOURS || *count < n)
        return;
    *count -= n;
    if (hour < s->hour)
        s->usual = find_usual(s);
}

uint64_t
spike_ceiling(uint64_t usual, uint64_t floor, uint64_t factor_milli)
{
    uint64_t thousands = usual / 1000, ceiling;

    if (thousands > CAP_MAX / factor_milli)
        return CAP_MAX;
    ceiling = thousands * factor_milli + usual % 1000 * factor_milli / 1000;
    ceiling = ceiling < CAP_MAX ? ceiling : CAP_MAX;
    return ceiling > floor ? ceiling : floor;
}

uint64_t
spike_usual_of(uint64_t ceiling, uint64_t factor_milli)
{
    return ceiling / factor_milli * 1000 + (ceiling % factor_milli * 1000 + factor_milli - 1) / factor_milli;
}
