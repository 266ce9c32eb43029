/* The tenant's daily cap of external recipients: factor * licences ^ (power_tenths / 10) + base. The power is
 * taken exactly: the largest x with x^10 <= factor^10 * licences^power_tenths, in numbers of 512 bits.
 *
 * Microsoft's figures (500, 0.7, 9500): 1 licence 10 000, 25 licences 14 259, 1000 licences 72 446; of 14 259
 * 80 percent, rounded up, are 11 408. */
#include "relay/config/draft.h"

#define WORDS 8

struct wide {
    uint64_t words[WORDS]; /* least significant first */
};

static void
wide_multiply(struct wide *w, uint64_t factor)
{
    unsigned __int128 carry = 0;

    for (size_t i = 0; i < WORDS; i++) {
        carry += (unsigned __int128)w->words[i] * factor;
        w->words[i] = (uint64_t)carry;
        carry >>= 64;
    }
    sg_assert(carry == 0); /* the table's bounds keep it below 2^512 */
}

static struct wide
wide_power(uint64_t base, unsigned exponent)
{
    struct wide w = {{1}};

    while (exponent-- > 0)
        wide_multiply(&w, base);
    return w;
}

static bool
wide_is_at_most(const struct wide *a, const struct wide *b)
{
    for (size_t i = WORDS; i-- > 0;)
        if (a->words[i] != b->words[i])
            return a->words[i] < b->words[i];
    return true;
}

static uint64_t
scaled_root(uint64_t factor, uint64_t licences, unsigned tenths)
{
    struct wide target = wide_power(factor, 10), power;
    uint64_t low = 0, high = factor * licences; /* the exponent is at most 1 */

    for (unsigned i = 0; i < tenths; i++)
        wide_multiply(&target, licences);
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;

        power = wide_power(middle, 10);
        if (wide_is_at_most(&power, &target))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

uint64_t
tenant_limit_cap(const struct tenant_limit *t, uint64_t licences)
{
    uint64_t all =
        licences == LICENCES_TRIAL ? t->trial : scaled_root(t->factor, licences, t->power_tenths) + t->base;

    return (all * t->percent + 99) / 100;
}

uint64_t
tenant_limit_hour_cap(const struct tenant_limit *t, uint64_t day_cap)
{
    uint64_t hour = (day_cap + t->hour_divisor - 1) / t->hour_divisor;

    return hour > 10 ? hour : 10;
}
