/* Is Redis' clock the one it was? A jump ahead would empty every window at once, so it is refused; a jump
 * back is refused too, although the scripts free nothing then, because somebody has to look at it. The own
 * clock is the monotonic one: it never jumps.
 *
 * A clock may run a little faster than ours: 1 in 1000, and beyond that there is a credit, which believed
 * gains use up and time fills again. So what the clock gains in any time T is at most the credit + T/1000:
 * less than a window is kept longer than its period. */
#include "relay/store/store_redis_part.h"

#define CREDIT_MOST_US 500000
#define CREDIT_LEAST_US 10000
#define BACK_US 1000000
#define AGREE_BEATS 3

/* What is believed, every window loses: half of what the shortest is kept longer. */
void
redis_clock_set_shortest(struct redis_clock *c, uint64_t shortest_us)
{
    c->credit_most_us = shortest_us / 80;
    if (c->credit_most_us < CREDIT_LEAST_US)
        c->credit_most_us = CREDIT_LEAST_US;
    if (c->credit_most_us > CREDIT_MOST_US)
        c->credit_most_us = CREDIT_MOST_US;
    if (c->credit_us > c->credit_most_us)
        c->credit_us = c->credit_most_us;
}

void
redis_clock_bounds(const struct redis_clock *c, int64_t now_mono_us, int64_t slack_ms, uint64_t *earliest_out,
    uint64_t *latest_out)
{
    int64_t since_sent = now_mono_us - c->sent_us, since_read = now_mono_us - c->read_us;

    *earliest_out = *latest_out = 0;
    if (c->time_us == 0)
        return;
    *earliest_out = c->time_us + (uint64_t)(since_read - since_read / 1000);
    *earliest_out = *earliest_out > BACK_US ? *earliest_out - BACK_US : 0;
    *latest_out = c->time_us + (uint64_t)(since_sent + since_sent / 1000 + slack_ms * 1000) + c->credit_us;
}

uint64_t
redis_clock_now_us(const struct redis_clock *c, int64_t now_mono_us)
{
    return c->time_us == 0 ? 0 : c->time_us + (uint64_t)(now_mono_us - c->sent_us);
}

/* What the clock gained since the last answer is taken from the credit. */
static void
spend(struct redis_clock *c, uint64_t time_us, int64_t read_mono_us)
{
    uint64_t since_us = (uint64_t)(read_mono_us - c->sent_us), due_us = c->time_us + since_us;
    uint64_t credit_us = c->credit_us + since_us / 1000, gained_us = time_us > due_us ? time_us - due_us : 0;

    if (c->time_us == 0) {
        c->credit_us = c->credit_most_us;
        return;
    }
    credit_us = credit_us > gained_us ? credit_us - gained_us : 0;
    c->credit_us = credit_us < c->credit_most_us ? credit_us : c->credit_most_us;
}

bool
redis_clock_learn(struct redis_clock *c, uint64_t time_us, int64_t sent_mono_us, int64_t read_mono_us)
{
    uint64_t earliest, latest;

    redis_clock_bounds(c, sent_mono_us, (read_mono_us - sent_mono_us) / 1000 + 1, &earliest, &latest);
    if (latest > 0 && (time_us > latest || time_us < earliest)) {
        c->off = true;
        c->agreed = 0;
        return false;
    }
    if (c->off && ++c->agreed >= AGREE_BEATS)
        c->off = false;
    if (!c->off) {
        spend(c, time_us, read_mono_us);
        c->time_us = time_us;
        c->sent_us = sent_mono_us;
        c->read_us = read_mono_us;
    }
    return true;
}

void
redis_clock_trust(struct redis_clock *c)
{
    *c = (struct redis_clock){.credit_most_us = c->credit_most_us};
}

void
redis_clock_save(const struct redis_clock *c, struct journal *j)
{
    struct journal_time t = {c->time_us, c->sent_us, c->read_us};

    journal_set_time(j, &t);
}

void
redis_clock_restore(struct redis_clock *c, const struct journal *j, int64_t now_mono_us)
{
    struct journal_time t = journal_time(j);

    if (t.redis_us > 0 && t.sent_mono_us <= t.read_mono_us && t.read_mono_us <= now_mono_us) {
        c->time_us = t.redis_us;
        c->sent_us = t.sent_mono_us;
        c->read_us = t.read_mono_us;
    }
}
