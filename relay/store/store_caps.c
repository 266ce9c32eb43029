#include "relay/store/store_caps.h"

#include <stdlib.h>

#include "policy/counter.h"
#include "relay/base/xmalloc.h"
#include "relay/store/msgpack.h"
#include "relay/store/store_keys.h"

#define CAP_BYTES 6 /* COUNT of head.lua; CAP_MAX fits */

static uint64_t
capped(uint64_t value)
{
    return value < CAP_MAX ? value : CAP_MAX;
}

static void
add_caps(struct buf *out, const uint64_t *caps, size_t n)
{
    unsigned char bytes[WARMUP_STEP_MAX * CAP_BYTES], *at = bytes;

    for (size_t i = 0; i < n; i++)
        for (int shift = 8 * CAP_BYTES; (shift -= 8) >= 0;)
            *at++ = (unsigned char)(capped(caps[i]) >> shift);
    msgpack_str(out, span_of((const char *)bytes, (size_t)(at - bytes)));
}

/* The caps by step as far as they change, so that equal curves look equal; returns how many. A geometric one
 * never falls: it is not followed beyond its highest, since late steps of a slow one are dear. */
static size_t
curve_of(const struct limit_conf *l, uint64_t caps[WARMUP_STEP_MAX])
{
    const struct schedule_conf *s = l->schedule;
    bool is_table = s->curve == CURVE_TABLE, done = false;
    size_t most = is_table && s->n_table < WARMUP_STEP_MAX ? s->n_table : WARMUP_STEP_MAX, n = 0;

    do {
        uint64_t day = warmup_cap(s, (uint32_t)n + 1);

        caps[n] = l->hour_cap ? warmup_hour_cap(day) : day;
        done = !is_table && (day >= s->ceiling || caps[n] >= CAP_MAX);
        n++;
    } while (n < most && !done);
    while (n > 1 && caps[n - 1] == caps[n - 2])
        n--;
    return n;
}

/* The curves met so far, each by the first limit that has it. */
struct curves {
    const struct limit_conf **firsts;
    size_t n;
};

/* Counted from 1, as Lua does. */
static size_t
number_of(struct curves *c, const struct limit_conf *l)
{
    size_t i = 0;

    while (i < c->n && (c->firsts[i]->schedule != l->schedule || c->firsts[i]->hour_cap != l->hour_cap))
        i++;
    if (i == c->n)
        c->firsts[c->n++] = l;
    return i + 1;
}

static void
add_curves(struct buf *out, const struct curves *c)
{
    uint64_t caps[WARMUP_STEP_MAX];

    msgpack_array(out, c->n);
    for (size_t i = 0; i < c->n; i++)
        add_caps(out, caps, curve_of(c->firsts[i], caps));
}

static void
add_limit_field(struct buf *out, const struct limit_conf *l)
{
    struct buf field;

    buf_init(&field);
    buf_add_str(&field, "c:");
    buf_add_span(&field, store_limit_name(l));
    msgpack_str(out, buf_span(&field));
    buf_fini(&field);
}

static void
add_limits(struct buf *out, const struct limit_conf *limits, size_t n, struct curves *c)
{
    msgpack_array(out, n);
    for (size_t i = 0; i < n; i++) {
        const struct limit_conf *l = &limits[i];

        msgpack_array(out, 6);
        add_limit_field(out, l);
        if (l->kind == LIMIT_WARMUP)
            msgpack_uint(out, number_of(c, l));
        else
            add_caps(out, &l->value, 1);
        msgpack_uint(out, capped(counter_burst(l)));
        msgpack_uint(out, l->period_ms);
        msgpack_uint(out, (uint64_t)counter_kind(l) * UNIT_COUNT + l->unit);
        msgpack_uint(out, l->mode == MODE_SHADOW);
    }
}

void
store_caps(struct buf *out, const struct limit_conf *limits, size_t n, struct span slots)
{
    struct curves curves = {xcalloc(n + 1, sizeof(*curves.firsts)), 0};

    for (size_t i = 0; i < n; i++)
        if (limits[i].kind == LIMIT_WARMUP)
            number_of(&curves, &limits[i]);
    msgpack_array(out, 3);
    add_curves(out, &curves);
    add_limits(out, limits, n, &curves);
    buf_add_span(out, slots);
    free(curves.firsts);
}

void
store_slot_caps(struct buf *out, const struct slot_cap *caps, size_t n)
{
    struct buf field;

    buf_init(&field);
    msgpack_array(out, n);
    for (size_t i = 0; i < n; i++) {
        msgpack_array(out, 5);
        buf_clear(&field);
        store_slot_field(&field, caps[i].scope, caps[i].instance);
        msgpack_str(out, buf_span(&field));
        add_caps(out, &caps[i].cap, 1);
        for (size_t k = 0; k < 3; k++)
            msgpack_uint(out, 0);
    }
    buf_fini(&field);
}
