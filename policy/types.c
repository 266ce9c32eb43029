#include "policy/types.h"

#include <assert.h>

#include "policy/charge.h"

static const char *const scope_names[] = {
    [SCOPE_ROUTE] = "route",
    [SCOPE_MAILBOX] = "mailbox",
    [SCOPE_CLIENT] = "client",
    [SCOPE_SENDER] = "sender",
    [SCOPE_SENDER_DOMAIN] = "sender_domain",
    [SCOPE_RECIPIENT_DOMAIN] = "recipient_domain",
};
static_assert(sizeof(scope_names) / sizeof(*scope_names) == SCOPE_COUNT, "a name for each scope");

static const char *const unit_names[] = {
    [UNIT_MESSAGES] = "messages",
    [UNIT_RECIPIENTS] = "recipients",
    [UNIT_EXTERNAL] = "external",
    [UNIT_BYTES] = "bytes",
    [UNIT_NEW] = "new_recipients",
};
static_assert(sizeof(unit_names) / sizeof(*unit_names) == UNIT_COUNT, "a name for each unit");

static const char *const kind_names[] = {
    [LIMIT_WINDOW] = "window",
    [LIMIT_RATE] = "rate",
    [LIMIT_CONCURRENCY] = "concurrency",
    [LIMIT_WARMUP] = "warmup",
    [LIMIT_SPIKE] = "spike",
};
static_assert(sizeof(kind_names) / sizeof(*kind_names) == LIMIT_KIND_COUNT, "a name for each kind");

static const char *const mode_names[] = {
    [MODE_ENFORCE] = "enforce",
    [MODE_SHADOW] = "shadow",
};
static_assert(sizeof(mode_names) / sizeof(*mode_names) == MODE_COUNT, "a name for each mode");

static const char *const class_names[] = {
    [CLASS_OK] = "ok",
    [CLASS_BLOCK_TENANT] = "block-tenant",
    [CLASS_BLOCK_CONNECTOR] = "block-connector",
    [CLASS_BLOCK_SENDER] = "block-sender",
    [CLASS_BLOCK_DOMAIN] = "block-domain",
    [CLASS_BUDGET] = "budget",
    [CLASS_THROTTLE] = "throttle",
    [CLASS_AUTH] = "auth",
    [CLASS_TEMPORARY] = "temporary",
    [CLASS_MESSAGE] = "message",
};
static_assert(sizeof(class_names) / sizeof(*class_names) == CLASS_COUNT, "a name for each class");

static const char *const extent_names[] = {
    [PAUSE_EXTERNAL] = "external",
    [PAUSE_ALL] = "all",
    [PAUSE_GROWTH] = "growth",
};
static_assert(sizeof(extent_names) / sizeof(*extent_names) == PAUSE_EXTENT_COUNT, "a name for each extent");

static const char *const verdict_names[] = {
    [VERDICT_GRANTED] = "granted",
    [VERDICT_OVER] = "over",
    [VERDICT_PAUSED] = "paused",
    [VERDICT_CLOSED] = "closed",
    [VERDICT_IMPOSSIBLE] = "impossible",
    [VERDICT_NO_DECISION] = "no_decision",
};
static_assert(sizeof(verdict_names) / sizeof(*verdict_names) == VERDICT_KIND_COUNT,
    "a name for each verdict");

static const char *const error_names[] = {
    [STORE_OK] = "ok",
    [STORE_DOWN] = "down",
    [STORE_TIMEOUT] = "timeout",
    [STORE_PROTOCOL] = "protocol",
    [STORE_OOM] = "oom",
    [STORE_READONLY] = "readonly",
    [STORE_NOREPLICAS] = "noreplicas",
    [STORE_MASTERDOWN] = "masterdown",
    [STORE_NOMASTER] = "nomaster",
    [STORE_MOVED] = "moved",
    [STORE_CLUSTERDOWN] = "clusterdown",
    [STORE_MISCONF] = "misconf",
    [STORE_LOADING] = "loading",
    [STORE_BUSY] = "busy",
    [STORE_NOAUTH] = "noauth",
    [STORE_NOPERM] = "noperm",
    [STORE_WRONGTYPE] = "wrongtype",
    [STORE_CLOCK] = "clock",
    [STORE_SCHEMA] = "schema",
    [STORE_LATE] = "late",
    [STORE_OTHER] = "other",
};
static_assert(sizeof(error_names) / sizeof(*error_names) == STORE_ERROR_COUNT, "a name for each store error");

const char *
limit_scope_to_str(enum limit_scope s)
{
    return (unsigned)s < SCOPE_COUNT ? scope_names[s] : "?";
}

const char *
limit_unit_to_str(enum limit_unit u)
{
    return (unsigned)u < UNIT_COUNT ? unit_names[u] : "?";
}

const char *
limit_kind_to_str(enum limit_kind k)
{
    return (unsigned)k < LIMIT_KIND_COUNT ? kind_names[k] : "?";
}

const char *
limit_mode_to_str(enum limit_mode m)
{
    return (unsigned)m < MODE_COUNT ? mode_names[m] : "?";
}

const char *
reply_class_to_str(enum reply_class c)
{
    return (unsigned)c < CLASS_COUNT ? class_names[c] : "?";
}

const char *
pause_extent_to_str(enum pause_extent e)
{
    return (unsigned)e < PAUSE_EXTENT_COUNT ? extent_names[e] : "?";
}

const char *
verdict_kind_to_str(enum verdict_kind k)
{
    return (unsigned)k < VERDICT_KIND_COUNT ? verdict_names[k] : "?";
}

const char *
store_error_to_str(enum store_error e)
{
    return (unsigned)e < STORE_ERROR_COUNT ? error_names[e] : "?";
}
