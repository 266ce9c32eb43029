#include "relay/base/clock.h"

#include <stdio.h>
#include <time.h>

#include "relay/base/err.h"

static int64_t
read_us(clockid_t id)
{
    struct timespec ts;

    sg_assert(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t
clock_utc_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

/* Years the formats cannot hold become the nearest they can. */
static int
to_tm(int64_t utc_ms, struct tm *tm_out)
{
    const int64_t last_ms = INT64_C(253402300799999); /* 9999-12-31T23:59:59.999Z */
    time_t sec;

    if (utc_ms < 0)
        utc_ms = 0;
    if (utc_ms > last_ms)
        utc_ms = last_ms;
    sec = (time_t)(utc_ms / 1000);
    sg_assert(gmtime_r(&sec, tm_out));
    return (int)(utc_ms % 1000);
}

void
clock_format_rfc3339(int64_t utc_ms, char out[CLOCK_RFC3339_MAX])
{
    struct tm tm;
    int ms = to_tm(utc_ms, &tm);
    size_t n = strftime(out, CLOCK_RFC3339_MAX, "%Y-%m-%dT%H:%M:%S", &tm);

    snprintf(out + n, CLOCK_RFC3339_MAX - n, ".%03dZ", ms);
}

void
clock_format_rfc5322(int64_t utc_ms, char out[CLOCK_RFC5322_MAX])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
        "Nov", "Dec"};
    struct tm tm;

    to_tm(utc_ms, &tm);
    snprintf(out, CLOCK_RFC5322_MAX, "%s, %d %s %04d %02d:%02d:%02d +0000", days[tm.tm_wday % 7],
        tm.tm_mday % 100, months[tm.tm_mon % 12], (tm.tm_year + 1900) % 10000, tm.tm_hour % 100,
        tm.tm_min % 100, tm.tm_sec % 100);
}
