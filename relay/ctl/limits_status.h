/* limits_status: what Get-LimitsEnforcementStatus of Exchange Online says of a tenant: the Tenant External
 * Recipient Rate Limit that is enforced, and how much of it is used. Pure.
 *
 * Four properties are documented (Microsoft, CSS-Exchange, Get-TerrlExternalRecipientEstimate):
 * ObservedValue, Threshold, Verdict, EnforcementEnabled. What Verdict can be is not, so it is passed on as it
 * is. Others are named as not understood and mean nothing here. */
#ifndef SENDGOV_CTL_LIMITS_STATUS_H
#define SENDGOV_CTL_LIMITS_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/ctl/powershell.h"

#define LIMITS_STATUS_OTHERS_MAX 400

struct limits_status {
    uint64_t threshold;     /* external recipients in a sliding 24 h */
    bool has_observed;
    uint64_t observed;
    bool has_enforcement, is_enforced;
    char verdict[POWERSHELL_VALUE_MAX]; /* "": it says none */
    char others[LIMITS_STATUS_OTHERS_MAX]; /* names, "A, B" */
};

/* 0, or -1 and why: without a threshold, or with a value that is no plain number or truth value. */
int limits_status_read(const struct powershell_object *o, struct limits_status *out, struct err *err);
/* So many percent of the threshold, rounded down. */
uint64_t limits_status_share(const struct limits_status *s, uint64_t percent);

#endif
