/* scripts: the Lua scripts of policy/lua as C strings, generated at build time. They are the decisions of
 * this folder where they must be atomic; what they take and give is described at the head of each, and packed
 * and read by store_codec. */
#ifndef SENDGOV_POLICY_SCRIPTS_H
#define SENDGOV_POLICY_SCRIPTS_H

extern const char script_charge[], script_refund[], script_usage[], script_warmup[], script_lower[],
    script_pause[], script_lease[], script_open[], script_heartbeat[];

#endif
