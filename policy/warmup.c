/* The geometric curve is exact: first x growth^(step-1) / 1000^(step-1), rounded down once at the end. A
 * product of that length does not fit into a machine word, so it is kept as an array of words; dividing by
 * the denominator factor by factor is exact too, because floor(floor(x / a) / b) = floor(x / (a x b)).
 * With growth 1.4 = 7/5 step 30 needs two words; the worst growth (a prime number of thousandths) at step
 * 1000 about 160. */
#include "policy/warmup.h"

/* growth below 2^12 thousandths would do; leave room for a growth of 65.5 and a first of 2^64. */
#define WORDS_MAX (WARMUP_STEP_MAX * 17 / 64 + 4)

struct big {
    uint64_t words[WORDS_MAX]; /* least significant first */
    size_t n;                  /* words in use; the topmost is not 0 */
};

static void
big_multiply(struct big *b, uint64_t factor)
{
    unsigned __int128 carry = 0;

    for (size_t i = 0; i < b->n; i++) {
        carry += (unsigned __int128)b->words[i] * factor;
        b->words[i] = (uint64_t)carry;
        carry >>= 64;
    }
    if (carry)
        b->words[b->n++] = (uint64_t)carry;
}

static void
big_divide(struct big *b, uint64_t divisor)
{
    unsigned __int128 rest = 0;

    for (size_t i = b->n; i-- > 0;) {
        rest = rest << 64 | b->words[i];
        b->words[i] = (uint64_t)(rest / divisor);
        rest %= divisor;
    }
    while (b->n > 0 && b->words[b->n - 1] == 0)
        b->n--;
}

static uint32_t
common_divisor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* base^exponent is applied in factors as large as fit into a word, to save passes over the array. */
static void
big_apply_power(struct big *b, void (*apply)(struct big *, uint64_t), uint32_t base, uint32_t exponent)
{
    uint64_t factor = 1;

    if (base <= 1)
        return;
    for (; exponent > 0; exponent--) {
        if (factor > UINT64_MAX / base) {
            apply(b, factor);
            factor = 1;
        }
        factor *= base;
    }
    apply(b, factor);
}

static uint64_t
geometric(const struct schedule_conf *s, uint32_t step)
{
    uint32_t growth = s->growth_milli < UINT16_MAX ? s->growth_milli : UINT16_MAX;
    uint32_t common = common_divisor(growth, 1000);
    struct big b = {.n = s->first != 0};

    if (growth == 0)
        return step == 1 ? s->first : 0;
    b.words[0] = s->first;
    big_apply_power(&b, big_multiply, growth / common, step - 1);
    big_apply_power(&b, big_divide, 1000 / common, step - 1);
    if (b.n > 1)
        return LIMIT_UNLIMITED;
    return b.n == 0 ? 0 : b.words[0];
}

static uint64_t
linear(const struct schedule_conf *s, uint32_t step)
{
    unsigned __int128 cap = s->first + (unsigned __int128)s->increment * (step - 1);

    return cap < LIMIT_UNLIMITED ? (uint64_t)cap : LIMIT_UNLIMITED;
}

static uint32_t
clamp_step(uint32_t step)
{
    if (step < 1)
        return 1;
    return step < WARMUP_STEP_MAX ? step : WARMUP_STEP_MAX;
}

uint64_t
warmup_cap(const struct schedule_conf *s, uint32_t step)
{
    uint64_t cap = 0;

    step = clamp_step(step);
    switch (s->curve) {
    case CURVE_GEOMETRIC:
        cap = geometric(s, step);
        break;
    case CURVE_TABLE:
        if (s->n_table > 0)
            cap = s->table[step <= s->n_table ? step - 1 : s->n_table - 1];
        break;
    case CURVE_LINEAR:
        cap = linear(s, step);
        break;
    case CURVE_COUNT:
        break;
    }
    return cap < s->ceiling ? cap : s->ceiling;
}

uint64_t
warmup_hour_cap(uint64_t day_cap)
{
    uint64_t hour = day_cap / 8 + (day_cap % 8 != 0);

    if (day_cap == LIMIT_UNLIMITED)
        return LIMIT_UNLIMITED;
    return hour > 10 ? hour : 10;
}

static uint32_t
last_step_of_table(const struct schedule_conf *s)
{
    for (size_t i = 0; i < s->n_table && i < WARMUP_STEP_MAX; i++)
        if (s->table[i] >= s->ceiling)
            return (uint32_t)i + 1;
    return s->n_table <= WARMUP_STEP_MAX ? (uint32_t)s->n_table : 0;
}

uint32_t
warmup_last_step(const struct schedule_conf *s)
{
    uint32_t low = 1, high = WARMUP_STEP_MAX;

    if (s->curve == CURVE_TABLE)
        return last_step_of_table(s);
    if (warmup_cap(s, WARMUP_STEP_MAX) < s->ceiling || s->ceiling == LIMIT_UNLIMITED)
        return 0;
    while (low < high) { /* the curve never falls: bisect for the first step at the ceiling */
        uint32_t middle = low + (high - low) / 2;

        if (warmup_cap(s, middle) >= s->ceiling)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* days: without mail, in a row. */
static uint32_t
step_after_idle(uint32_t step, uint64_t days, const struct schedule_conf *s)
{
    uint64_t lost = s->decay_days > 0 ? days / s->decay_days : 0;
    uint32_t left = lost < step ? step - (uint32_t)lost : 1;
    uint64_t again = (uint64_t)step * s->restart_percent / 100;

    if (s->restart_days > 0 && days >= s->restart_days && again < left)
        left = again > 1 ? (uint32_t)again : 1;
    return left;
}

static bool
has_earned(const struct warmup_state *state, uint64_t cap, const struct schedule_conf *s)
{
    return !state->held && state->step < WARMUP_STEP_MAX
        && (unsigned __int128)state->peak * 100 >= (unsigned __int128)cap * s->use_percent;
}

/* A clock that jumps ahead by many days still advances one step; one that goes back changes nothing, and
 * the day that was reached stays the state's day, so the same day cannot be turned twice. */
enum warmup_turn
warmup_turn_day(struct warmup_state *state, uint64_t utc_day, uint64_t cap, bool is_frozen,
    const struct schedule_conf *s)
{
    enum warmup_turn turn = WARMUP_STAYS;
    uint32_t left;

    if (utc_day <= state->utc_day)
        return WARMUP_STAYS;
    left = step_after_idle(state->step, utc_day - state->utc_day - 1, s);
    if (left < state->step) {
        state->step = left;
        turn = WARMUP_FALLS;
    } else if (!is_frozen && has_earned(state, cap, s)) {
        state->step++;
        turn = WARMUP_ADVANCES;
    }
    state->utc_day = utc_day;
    state->peak = 0;
    state->held = state->backed = false;
    return turn;
}

void
warmup_step_back(struct warmup_state *state)
{
    if (!state->backed && state->step > 1)
        state->step--;
    state->held = state->backed = true;
}

void
warmup_move(struct warmup_state *state, const struct warmup_move *move)
{
    switch (move->kind) {
    case WARMUP_MOVE_TO:
        state->step = clamp_step(move->to);
        break;
    case WARMUP_MOVE_ON:
        state->step = clamp_step(state->step + 1);
        break;
    case WARMUP_MOVE_BACK:
        state->step = clamp_step(state->step - 1);
        break;
    }
    state->held = true;
}
