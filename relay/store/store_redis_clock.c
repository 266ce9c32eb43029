/* Is Redis' clock the one it was? A jump ahead would empty every window at once, so it is refused; a jump
 * back is refused too, although the scripts free nothing then, because somebody has to look at it. The own
 * clock is the monotonic one: it never jumps. What a long silence adds in drift (1 in 1000) is allowed. */
#include "relay/store/store_redis_part.h"

#define AHEAD_MOST_US 5000000
#define AHEAD_LEAST_US 100000
#define BACK_US 1000000
#define AGREE_BEATS 3

/* How far ahead is still believed. What is, every window loses: for a short one it must be little. */
void
redis_clock_set_shortest(struct redis_clock *c, uint64_t shortest_us)
{
    c->ahead_us = shortest_us / 40;
    if (c->ahead_us < AHEAD_LEAST_US)
        c->ahead_us = AHEAD_LEAST_US;
    if (c->ahead_us > AHEAD_MOST_US)
        c->ahead_us = AHEAD_MOST_US;
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
    *latest_out = c->time_us + (uint64_t)(since_sent + since_sent / 1000 + slack_ms * 1000) + c->ahead_us;
}

uint64_t
redis_clock_now_us(const struct redis_clock *c, int64_t now_mono_us)
{
    return c->time_us == 0 ? 0 : c->time_us + (uint64_t)(now_mono_us - c->sent_us);
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
        c->time_us = time_us;
        c->sent_us = sent_mono_us;
        c->read_us = read_mono_us;
    }
    return true;
}

void
redis_clock_trust(struct redis_clock *c)
{
    *c = (struct redis_clock){.ahead_us = c->ahead_us};
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
