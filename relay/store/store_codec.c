#include "relay/store/store_codec.h"

#include <stdio.h>
#include <string.h>

#include "policy/scripts.h"
#include "relay/base/err.h"
#include "relay/store/msgpack.h"
#include "relay/store/store_keys.h"

const char *
script_text(enum script_id id)
{
    static const char *const texts[SCRIPT_COUNT] = {
        [SCRIPT_CHARGE] = script_charge,
        [SCRIPT_REFUND] = script_refund,
        [SCRIPT_USAGE] = script_usage,
        [SCRIPT_WARMUP] = script_warmup,
        [SCRIPT_LOWER] = script_lower,
        [SCRIPT_PAUSE] = script_pause,
        [SCRIPT_LEASE] = script_lease,
        [SCRIPT_OPEN] = script_open,
        [SCRIPT_HEARTBEAT] = script_heartbeat,
    };

    return texts[id];
}

void
command_init(struct command *c)
{
    memset(c, 0, sizeof(*c));
    buf_init(&c->keys);
    buf_init(&c->arg);
    buf_init(&c->name);
}

void
command_fini(struct command *c)
{
    buf_fini(&c->keys);
    buf_fini(&c->arg);
    buf_fini(&c->name);
}

void
command_begin(struct command *c, enum script_id script)
{
    c->script = script;
    c->n_keys = 0;
    buf_clear(&c->keys);
    buf_clear(&c->arg);
}

int
command_argv(struct command *c, const char *sha, const char *argv[COMMAND_ARGC_MAX],
    size_t lens[COMMAND_ARGC_MAX])
{
    struct span keys = buf_span(&c->keys), arg = buf_span(&c->arg);
    size_t from = 0;
    int n = 0;

    argv[n] = "EVALSHA";
    lens[n++] = 7;
    argv[n] = sha;
    lens[n++] = SHA1_HEX;
    argv[n] = c->n_keys_text;
    lens[n++] = (size_t)snprintf(c->n_keys_text, sizeof(c->n_keys_text), "%u", (unsigned)(c->n_keys & 63));
    for (size_t i = 0; i < c->n_keys; i++) {
        argv[n] = keys.p + from;
        lens[n++] = c->key_end[i] - from;
        from = c->key_end[i];
    }
    argv[n] = arg.p;
    lens[n++] = arg.n;
    return n;
}

/* A key is added in parts: any number of buf_add to c->keys, then this. */
static void
end_key(struct command *c)
{
    sg_assert(c->n_keys < COMMAND_ARGS_MAX);
    c->key_end[c->n_keys++] = buf_len(&c->keys);
}

static void
add_key(struct command *c, const struct codec_node *node, const char *name)
{
    buf_add_str(&c->keys, node->prefix);
    buf_add_str(&c->keys, name);
    end_key(c);
}

static void
add_node_key(struct command *c, const struct codec_node *node)
{
    buf_add_str(&c->keys, node->prefix);
    buf_add_str(&c->keys, "n:");
    buf_add_str(&c->keys, node->uuid);
    end_key(c);
}

static void
add_scope_key(struct command *c, const struct codec_node *node, enum limit_scope scope, const char *instance)
{
    buf_add_str(&c->keys, node->prefix);
    buf_add_str(&c->keys, "s:");
    store_scope_name(&c->keys, scope, instance);
    end_key(c);
}

static void
add_known_key(struct command *c, const struct codec_node *node, const struct charge_scope *scope)
{
    buf_add_str(&c->keys, node->prefix);
    buf_add_str(&c->keys, "k:");
    store_scope_name(&c->keys, scope->scope, scope->instance);
    end_key(c);
}

static void
add_lease_key(struct command *c, const struct codec_node *node, enum limit_scope scope, const char *instance,
    const char *limit_name)
{
    buf_add_str(&c->keys, node->prefix);
    buf_add_str(&c->keys, "l:");
    store_scope_name(&c->keys, scope, instance);
    buf_add_str(&c->keys, ":");
    store_escape(&c->keys, span_str(limit_name));
    end_key(c);
}

static void
add_str(struct command *c, const char *s)
{
    msgpack_str(&c->arg, span_str(s));
}

static void
add_uint(struct command *c, uint64_t value)
{
    msgpack_uint(&c->arg, value);
}

static void
add_scope(struct command *c, const char *before, enum limit_scope scope, const char *instance)
{
    buf_clear(&c->name);
    buf_add_str(&c->name, before);
    store_scope_name(&c->name, scope, instance);
    msgpack_str(&c->arg, buf_span(&c->name));
}

static uint64_t
capped(uint64_t value)
{
    return value < CAP_MAX ? value : CAP_MAX;
}

/* Of a question that nothing is charged by. */
static const struct decide_line no_facts;

static void
add_idle_rules(struct command *c, const struct schedule_conf *s, const struct decide_line *facts)
{
    msgpack_array(&c->arg, s ? 4 : 0);
    if (!s)
        return;
    add_uint(c, capped(s->decay_days));
    add_uint(c, capped(s->restart_days));
    add_uint(c, s->restart_percent);
    add_uint(c, facts->step_day);
}

/* The fields are L_NAME .. L_SHADOW of head.lua. day_line counts from 0 here and from 1 there. */
static void
add_line(struct command *c, const struct charge_line *line, const struct decide_line *facts)
{
    const struct limit_conf *l = line->limit;

    msgpack_array(&c->arg, 17);
    msgpack_str(&c->arg, store_limit_name(l));
    add_uint(c, counter_kind(l));
    add_uint(c, l->unit);
    add_uint(c, counter_period_us(l));
    add_uint(c, capped(line->cap));
    add_uint(c, capped(line->next_cap));
    add_uint(c, capped(counter_burst(l)));
    add_uint(c, capped(line->fixed));
    add_uint(c, line->each);
    add_uint(c, line->step);
    add_uint(c, l->schedule ? l->schedule->use_percent : 0);
    add_uint(c, facts->day_line + 1);
    add_uint(c, facts->is_expected);
    add_uint(c, facts->charged_us);
    add_idle_rules(c, l->schedule, facts);
    add_uint(c, line->new_bit ? known_hours(line) : 0);
    add_uint(c, l->mode == MODE_SHADOW);
}

static void
add_counts(struct command *c, const struct charge_request *r)
{
    msgpack_array(&c->arg, r->n_scopes);
    for (size_t i = 0; i < r->n_scopes; i++)
        add_uint(c, r->scopes[i].n_lines);
}

static void
add_scope_keys(struct command *c, const struct codec_node *node, const struct charge_request *r)
{
    for (size_t i = 0; i < r->n_scopes; i++)
        if (r->scopes[i].n_lines > 0)
            add_scope_key(c, node, r->scopes[i].scope, r->scopes[i].instance);
}

static uint8_t
new_bits_of(const struct charge_request *r, const struct charge_scope *scope)
{
    uint8_t bits = 0;

    for (size_t i = scope->first_line; i < scope->first_line + scope->n_lines; i++)
        bits |= r->lines[i].new_bit;
    return bits;
}

static void
add_known_keys(struct command *c, const struct codec_node *node, const struct charge_request *r)
{
    for (size_t i = 0; i < r->n_scopes; i++)
        if (new_bits_of(r, &r->scopes[i]) != 0)
            add_known_key(c, node, &r->scopes[i]);
}

/* For each of the first n, or of those of them that are new to a line of these bits: the number of the bucket
 * (2 bytes) and the tag (5 bytes). */
static void
add_people(struct command *c, const struct charge_request *r, size_t n, uint8_t bits)
{
    buf_clear(&c->name);
    for (size_t i = 0; r->people && i < n; i++) {
        uint64_t hash = r->people[i].hash, tag = KNOWN_TAG_OF(hash);
        unsigned bucket = KNOWN_BUCKET_OF(hash);
        unsigned char bytes[7] = {(unsigned char)(bucket >> 8), (unsigned char)bucket,
            (unsigned char)(tag >> 32), (unsigned char)(tag >> 24), (unsigned char)(tag >> 16),
            (unsigned char)(tag >> 8), (unsigned char)tag};

        if (bits == 0 || (r->people[i].new_of & bits))
            buf_add(&c->name, bytes, sizeof(bytes));
    }
    msgpack_str(&c->arg, buf_span(&c->name));
}

void
codec_charge(struct command *c, const struct codec_node *node, const struct charge_request *r,
    const struct decide_line *facts, const struct codec_times *times)
{
    command_begin(c, SCRIPT_CHARGE);
    add_key(c, node, "g");
    add_node_key(c, node);
    add_key(c, node, "o");
    add_scope_keys(c, node, r);
    if (r->people)
        add_known_keys(c, node, r);
    msgpack_array(&c->arg, times->times > 1 ? 16 : 15);
    add_uint(c, r->recipients);
    add_uint(c, r->least);
    add_uint(c, r->external);
    add_uint(c, r->look);
    add_uint(c, times->earliest_us);
    add_uint(c, times->latest_us);
    add_uint(c, times->not_after_us);
    add_uint(c, times->seq);
    add_uint(c, times->acked);
    add_str(c, node->epoch);
    add_str(c, node->run);
    msgpack_array(&c->arg, r->n_scopes);
    for (size_t i = 0; i < r->n_scopes; i++)
        add_scope(c, "", r->scopes[i].scope, r->scopes[i].instance);
    add_counts(c, r);
    msgpack_array(&c->arg, r->n_lines);
    for (size_t i = 0; i < r->n_lines; i++)
        add_line(c, &r->lines[i], &facts[i]);
    add_people(c, r, r->recipients, 0);
    if (times->times > 1)
        add_uint(c, times->times);
}

/* By scope that has a key of those it knows, in the order of these keys. */
static void
add_strangers(struct command *c, const struct charge_request *r, uint32_t granted)
{
    size_t n = 0;

    for (size_t i = 0; r->people && i < r->n_scopes; i++)
        n += new_bits_of(r, &r->scopes[i]) != 0;
    msgpack_array(&c->arg, n);
    for (size_t i = 0; n > 0 && i < r->n_scopes; i++) {
        uint8_t bits = new_bits_of(r, &r->scopes[i]);

        if (bits != 0)
            add_people(c, r, granted, bits);
    }
}

void
codec_refund(struct command *c, const struct codec_node *node, const struct charge_request *r,
    uint32_t granted, uint64_t time_us)
{
    command_begin(c, SCRIPT_REFUND);
    add_key(c, node, "g");
    add_scope_keys(c, node, r);
    if (r->people)
        add_known_keys(c, node, r);
    msgpack_array(&c->arg, 5);
    add_str(c, node->epoch);
    add_uint(c, time_us);
    msgpack_array(&c->arg, r->n_lines);
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct charge_line *line = &r->lines[i];

        msgpack_array(&c->arg, 2);
        msgpack_str(&c->arg, store_limit_name(line->limit));
        add_uint(c, line->new_bit ? charge_cost(r, line, granted) :
            capped(line->fixed) + (uint64_t)line->each * granted);
    }
    add_counts(c, r);
    add_strangers(c, r, granted);
}

void
codec_warmup(struct command *c, const struct codec_node *node, const struct codec_change *change,
    const struct charge_line *line)
{
    struct decide_line facts = {.step_day = change->step_day};

    command_begin(c, SCRIPT_WARMUP);
    add_key(c, node, "g");
    add_scope_key(c, node, line->limit->scope, change->instance);
    add_node_key(c, node);
    msgpack_array(&c->arg, 8);
    add_uint(c, (uint64_t)change->op);
    add_str(c, node->epoch);
    add_line(c, line, &facts);
    add_str(c, node->run);
    add_uint(c, change->number);
    add_uint(c, change->at_us);
    add_scope(c, "", line->limit->scope, change->instance);
    add_uint(c, change->to);
}

void
codec_usage(struct command *c, const struct codec_node *node, const struct charge_line *line,
    const struct charge_line *day, const char *instance)
{
    command_begin(c, SCRIPT_USAGE);
    add_key(c, node, "g");
    add_key(c, node, "o");
    if (line->limit->kind == LIMIT_CONCURRENCY)
        add_lease_key(c, node, line->limit->scope, instance, line->limit->name);
    else
        add_scope_key(c, node, line->limit->scope, instance);
    msgpack_array(&c->arg, 3);
    add_line(c, line, &no_facts);
    add_scope(c, "", line->limit->scope, instance);
    add_line(c, day, &no_facts);
}

void
codec_lower(struct command *c, const struct codec_node *node, const struct limit_conf *limit,
    const char *instance, uint64_t percent, uint64_t for_us)
{
    command_begin(c, SCRIPT_LOWER);
    add_key(c, node, "g");
    add_key(c, node, "o");
    add_scope_key(c, node, limit->scope, instance);
    msgpack_array(&c->arg, 4);
    add_scope(c, "", limit->scope, instance);
    msgpack_str(&c->arg, store_limit_name(limit));
    add_uint(c, percent);
    add_uint(c, for_us);
}

void
codec_lease(struct command *c, const struct codec_node *node, const struct codec_lease *lease)
{
    command_begin(c, SCRIPT_LEASE);
    add_key(c, node, "g");
    add_key(c, node, "o");
    add_lease_key(c, node, lease->scope, lease->instance, lease->limit_name);
    msgpack_array(&c->arg, 8);
    add_uint(c, (uint64_t)lease->op);
    add_str(c, node->uuid);
    add_str(c, node->run);
    add_uint(c, lease->number);
    add_uint(c, lease->ttl_us);
    add_uint(c, capped(lease->cap));
    buf_clear(&c->name);
    store_slot_field(&c->name, lease->scope, lease->instance);
    msgpack_str(&c->arg, buf_span(&c->name));
    add_str(c, node->epoch);
}

/* CLASS ACTOR REASON: no blank within the first two, no control byte anywhere. */
static void
add_pause_text(struct command *c, const struct pause *p)
{
    char text[PAUSE_TEXT_MAX + 128];
    int class_len, len;

    len = snprintf(text, sizeof(text), "%s %n%s", reply_class_to_str(p->class), &class_len,
        p->actor[0] ? p->actor : "-");
    for (int i = class_len; i < len; i++)
        if (text[i] == ' ')
            text[i] = '_';
    len += snprintf(text + len, sizeof(text) - (size_t)len, " %.*s", PAUSE_TEXT_MAX - 1, p->reason);
    for (int i = 0; i < len; i++)
        if ((unsigned char)text[i] < 32 || (unsigned char)text[i] == 127)
            text[i] = '?';
    msgpack_str(&c->arg, span_of(text, (size_t)len));
}

char
codec_extent_letter(enum pause_extent e)
{
    switch (e) {
    case PAUSE_ALL:
        return 'a';
    case PAUSE_GROWTH:
        return 'w';
    case PAUSE_EXTERNAL:
    case PAUSE_EXTENT_COUNT:
        break;
    }
    return 'e';
}

void
codec_pause_put(struct command *c, const struct codec_node *node, const struct pause *p, bool remembered)
{
    command_begin(c, SCRIPT_PAUSE);
    add_key(c, node, "g");
    msgpack_array(&c->arg, 6);
    add_uint(c, 1);
    add_scope(c, "p:", p->scope, p->instance);
    add_str(c, (const char[]){codec_extent_letter(p->extent), '\0'});
    add_uint(c, p->until_utc_ms > 0 ? (uint64_t)p->until_utc_ms : 0);
    add_pause_text(c, p);
    add_uint(c, remembered && p->since_utc_ms > 0 ? (uint64_t)p->since_utc_ms : 0);
}

static void
end_pauses(struct command *c, const struct codec_node *node, unsigned op, enum limit_scope scope,
    const char *instance)
{
    command_begin(c, SCRIPT_PAUSE);
    add_key(c, node, "g");
    msgpack_array(&c->arg, 6);
    add_uint(c, op);
    add_scope(c, "p:", scope, instance);
    add_str(c, "");
    add_uint(c, 0);
    add_str(c, "");
    add_uint(c, 0);
}

void
codec_pause_end(struct command *c, const struct codec_node *node, enum limit_scope scope,
    const char *instance)
{
    end_pauses(c, node, 2, scope, instance);
}

void
codec_growth_resume(struct command *c, const struct codec_node *node, enum limit_scope scope,
    const char *instance)
{
    end_pauses(c, node, 3, scope, instance);
}

void
codec_open(struct command *c, const struct codec_node *node)
{
    command_begin(c, SCRIPT_OPEN);
    add_key(c, node, "g");
    msgpack_array(&c->arg, 0);
}

void
codec_heartbeat(struct command *c, const struct codec_node *node, const struct codec_heartbeat *h)
{
    command_begin(c, SCRIPT_HEARTBEAT);
    buf_clear(&c->name);
    store_escape(&c->name, span_str(h->node));
    add_key(c, node, "g");
    add_key(c, node, "h");
    add_key(c, node, "o");
    add_node_key(c, node);
    msgpack_array(&c->arg, 16);
    msgpack_str(&c->arg, buf_span(&c->name));
    add_str(c, node->uuid);
    add_str(c, node->run);
    add_uint(c, h->first);
    add_str(c, node->epoch);
    add_uint(c, h->acked);
    add_uint(c, h->last_charge_ms);
    add_uint(c, h->longest_ms);
    add_uint(c, h->settle_ms);
    add_str(c, h->new_epoch);
    add_uint(c, h->pauses_known);
    add_str(c, h->caps_hash);
    msgpack_str(&c->arg, h->caps);
    add_uint(c, h->heard_ms);
    add_str(c, h->server);
    add_uint(c, h->others_ms);
}
