/* curve: the warm-up curve that a verb of planning is about: a schedule of the configuration, one that is
 * always there, or one made of options. Options are turned into a configuration, so that they mean what they
 * mean there. */
#ifndef SENDGOV_CTL_CURVE_H
#define SENDGOV_CTL_CURVE_H

#include "policy/warmup.h"
#include "relay/config/config.h"
#include "relay/ctl/ctl.h"

struct curve {
    const char *name;
    struct schedule_conf schedule; /* with the lower ceiling; its table is the configuration's */
    uint64_t ceiling;              /* of the options; LIMIT_UNLIMITED: none */
    struct config *config;
};

/* Of --schedule, or --first and --growth or --increment, or --table; --ceiling, --licences. In any case
 * followed by curve_fini. */
enum ctl_exit curve_load(struct ctl *c, struct curve *curve_out);
void curve_fini(struct curve *curve);

/* A number of an option, from 1 to most; *out stays what it is without it. */
enum ctl_exit curve_parse_count(struct ctl *c, const char *option, uint64_t most, uint64_t *out);

#endif
