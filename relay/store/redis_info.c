#include "relay/store/redis_info.h"

#include <stdio.h>

/* The value of "name:value" in one of the lines; empty when there is none. */
static struct span
field(struct span info, const char *name)
{
    struct span line, key, value;

    while (info.n > 0) {
        info = span_cut(info, '\n', &line);
        value = span_cut(span_trim(line), ':', &key);
        if (span_eq(key, span_str(name)))
            return value;
    }
    return (struct span){"", 0};
}

enum store_error
redis_info_check(struct span info, bool allow_volatile, bool cluster, struct err *err)
{
    struct span version = field(info, "redis_version"), policy = field(info, "maxmemory_policy"), major;
    uint64_t number;

    span_cut(version, '.', &major);
    if (!span_to_u64(major, &number) || number < 7) {
        err_set(err, "Redis is version %.*s; 7.0 or newer is needed", SPAN_FMT(span_head(version, 20)));
        return STORE_OTHER;
    }
    if (span_eq(field(info, "cluster_enabled"), SPAN_LIT("1")) != cluster) {
        err_set(err, "this Redis is %s", cluster ? "no node of a cluster; say redis:// or rediss://"
            : "a node of a cluster; say redis+cluster:// or rediss+cluster://");
        return STORE_MISCONF;
    }
    if (span_eq(field(info, "loading"), SPAN_LIT("1"))) {
        err_set(err, "Redis is loading its data");
        return STORE_LOADING;
    }
    if (!span_eq(field(info, "role"), SPAN_LIT("master"))) {
        err_set(err, "this Redis is a replica; counters are only written to a master");
        return STORE_READONLY;
    }
    if (!span_eq(policy, SPAN_LIT("noeviction"))) {
        err_set(err, "Redis has maxmemory-policy %.*s, which may delete counters; set it to noeviction",
            SPAN_FMT(span_head(policy, 40)));
        return STORE_MISCONF;
    }
    if (!allow_volatile && !span_eq(field(info, "aof_enabled"), SPAN_LIT("1"))) {
        err_set(err, "Redis has no append-only file, a restart would forget the counters; set appendonly yes"
            " (or redis.allow_volatile: true for a trial)");
        return STORE_MISCONF;
    }
    return STORE_OK;
}

void
redis_info_id(struct span info, char id_out[REDIS_ID_MAX])
{
    snprintf(id_out, REDIS_ID_MAX, "%.*s", SPAN_FMT(span_head(field(info, "run_id"), REDIS_ID_MAX - 1)));
}
