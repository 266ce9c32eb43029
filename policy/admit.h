/* admit: who may send as whom, and on which route. Pure decisions on the configuration.
 *
 * The signs by which Microsoft finds a compromised connector are a sender nobody registered, an envelope
 * that differs from the header, a domain that is not provisioned: all three are refused here, before a byte
 * goes out (Microsoft, "Respond to a compromised connector").
 */
#ifndef SENDGOV_POLICY_ADMIT_H
#define SENDGOV_POLICY_ADMIT_H

#include "relay/base/span.h"

/* Does pattern ("@contoso.com", "scan@contoso.com", "@*.contoso.com", "*") cover the canonical address
 * local@domain? ASCII case-insensitive in the domain and, for patterns, in the local part. */
bool admit_pattern_covers(struct span pattern, struct span address);
/* Is domain in the list (exact, or "*.contoso.com")? */
bool admit_domain_in(const char *const *domains, size_t n, struct span domain);

#endif
