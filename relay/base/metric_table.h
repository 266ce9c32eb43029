/* The one table of metrics: id, kind, name, up to three labels, help. Included by metric.h and
 * metric.c with METRIC defined; no include guard on purpose. */
METRIC(BUILD_INFO, METRIC_GAUGE, "sendgov_build_info", "version", NULL, NULL,
    "Always 1; the version is in the label.")
METRIC(CONFIG_INFO, METRIC_GAUGE, "sendgov_config_info", "hash", NULL, NULL,
    "Always 1; the hash changes exactly when a reload was applied.")
METRIC(PROFILE_AGE_SECONDS, METRIC_GAUGE, "sendgov_profile_age_seconds", "profile", NULL, NULL,
    "Since the day that the facts of a profile in use are of.")
METRIC(CONNECTIONS, METRIC_GAUGE, "sendgov_connections", "listener", NULL, NULL, "Open client connections.")
METRIC(CONNECTIONS_TOTAL, METRIC_COUNTER, "sendgov_connections_total", "listener", NULL, NULL,
    "Accepted client connections.")
METRIC(CLIENTS_REFUSED, METRIC_COUNTER, "sendgov_clients_refused_total", "reason", NULL, NULL,
    "Refusals by reason: connection limits, identity, sender rules, syntax.")
METRIC(AUTH, METRIC_COUNTER, "sendgov_auth_total", "result", NULL, NULL,
    "SMTP AUTH attempts by clients, by result.")
METRIC(MESSAGES, METRIC_COUNTER, "sendgov_messages_total", "outcome", NULL, NULL,
    "Settled messages of clients: relayed, spooled, deferred, rejected, uncertain.")
METRIC(RECIPIENTS, METRIC_COUNTER, "sendgov_recipients_total", "class", "outcome", NULL,
    "Recipients of settled messages and those refused at RCPT, internal or external.")
METRIC(DECISIONS, METRIC_COUNTER, "sendgov_decisions_total", "decision", "limit", NULL,
    "Budget decisions and the limit that bound.")
METRIC(NEW_RECIPIENTS, METRIC_COUNTER, "sendgov_new_recipients_total", "limit", NULL, NULL,
    "Recipients offered upstream that were new to a limit of new recipients.")
METRIC(SHADOW, METRIC_COUNTER, "sendgov_shadow_total", "limit", "would", NULL,
    "Granted decisions that a limit in mode shadow would have answered otherwise: hold, shorten.")
METRIC(DECISION_SECONDS, METRIC_HISTOGRAM, "sendgov_decision_seconds", NULL, NULL, NULL,
    "Time from asking for budget to the verdict.")
METRIC(STORE_SECONDS, METRIC_HISTOGRAM, "sendgov_store_seconds", NULL, NULL, NULL,
    "Round trip of one Redis command.")
METRIC(STORE_UP, METRIC_GAUGE, "sendgov_store_up", NULL, NULL, NULL,
    "1 when the last script call to Redis succeeded.")
METRIC(STORE_ERRORS, METRIC_COUNTER, "sendgov_store_errors_total", "error", NULL, NULL,
    "Questions to Redis without a decision, heartbeats and attempts to connect included, by error.")
METRIC(OVERSHOOT, METRIC_COUNTER, "sendgov_overshoot_total", NULL, NULL, NULL,
    "Messages that left without a valid charge. Must stay 0.")
METRIC(CHARGES_VOID, METRIC_COUNTER, "sendgov_charges_void_total", "reason", NULL, NULL,
    "Charges with which nothing was offered upstream; all but late ones stay counted.")
METRIC(REFUNDS, METRIC_COUNTER, "sendgov_refunds_total", NULL, NULL, NULL,
    "Charges given back because nothing was offered upstream.")
METRIC(LIMIT, METRIC_GAUGE, "sendgov_limit", "limit", "scope", "instance",
    "The cap in force; of a rate its burst.")
METRIC(LIMIT_USED, METRIC_GAUGE, "sendgov_limit_used", "limit", "scope", "instance",
    "Used of the cap in force; of a rate, of its burst.")
METRIC(LIMIT_REMAINING, METRIC_GAUGE, "sendgov_limit_remaining", "limit", "scope", "instance",
    "Left of the cap in force; of a rate, of its burst.")
METRIC(WARMUP_DAY, METRIC_GAUGE, "sendgov_warmup_day", "route", NULL, NULL,
    "The step of the warm-up curve, from 1.")
METRIC(WARMUP_CAP, METRIC_GAUGE, "sendgov_warmup_cap", "route", NULL, NULL,
    "External recipients per 24 h at this step.")
METRIC(WARMUP_HELD, METRIC_GAUGE, "sendgov_warmup_held", "route", NULL, NULL,
    "1: an operator holds the warm-up, it does not advance.")
METRIC(PAUSED, METRIC_GAUGE, "sendgov_paused", "scope", "class", NULL, "Pauses in force.")
METRIC(UPSTREAM_REPLIES, METRIC_COUNTER, "sendgov_upstream_replies_total", "class", "enhanced", NULL,
    "Upstream replies to a transaction by class.")
METRIC(UPSTREAM_CONNECTIONS, METRIC_GAUGE, "sendgov_upstream_connections", "route", "state", NULL,
    "Upstream connections by state: connecting, busy, idle.")
METRIC(UPSTREAM_CONNECTS, METRIC_COUNTER, "sendgov_upstream_connects_total", "result", NULL, NULL,
    "Upstream connection attempts by result.")
METRIC(UPSTREAM_TLS_FAILURES, METRIC_COUNTER, "sendgov_upstream_tls_failures_total", "reason", NULL, NULL,
    "Upstream connections given up because TLS could not be trusted.")
METRIC(RELEASED, METRIC_COUNTER, "sendgov_released_total", "outcome", NULL, NULL,
    "Messages that left the spool: delivered, failed, deleted.")
METRIC(HELD, METRIC_COUNTER, "sendgov_held_total", "reason", NULL, NULL,
    "Tries after which a message of the spool goes on waiting, by what it waits for.")
METRIC(DSN, METRIC_COUNTER, "sendgov_dsn_total", "action", NULL, NULL,
    "Recipients about whom a notification was made: failed, delayed, relayed.")
METRIC(UNCERTAIN, METRIC_COUNTER, "sendgov_uncertain_total", NULL, NULL, NULL,
    "Connections lost between the final dot and its reply.")
METRIC(SPOOL_MESSAGES, METRIC_GAUGE, "sendgov_spool_messages", "state", NULL, NULL,
    "Messages in the spool by state: waiting, in_flight, parked, held.")
METRIC(SPOOL_OLDEST_SECONDS, METRIC_GAUGE, "sendgov_spool_oldest_seconds", NULL, NULL, NULL,
    "Age of the oldest message in the spool; 0 when it is empty.")
METRIC(SPOOL_UP, METRIC_GAUGE, "sendgov_spool_up", NULL, NULL, NULL,
    "1 while the spool's database can be written; 0 also where there is no spool.")
METRIC(SPOOL_BYTES, METRIC_GAUGE, "sendgov_spool_bytes", NULL, NULL, NULL,
    "Bytes of the messages in the spool.")
METRIC(SPOOL_COMMIT_SECONDS, METRIC_HISTOGRAM, "sendgov_spool_commit_seconds", NULL, NULL, NULL,
    "Time from the begin of a group commit until it was synced.")
METRIC(SPOOL_REFUSED, METRIC_COUNTER, "sendgov_spool_refused_total", "reason", NULL, NULL,
    "Messages the spool did not take: no_space, failed.")
METRIC(SPOOL_DAMAGED, METRIC_COUNTER, "sendgov_spool_damaged_total", NULL, NULL, NULL,
    "Messages put aside or lost because their rows were damaged.")
METRIC(LOG_DROPPED, METRIC_COUNTER, "sendgov_log_dropped_total", NULL, NULL, NULL,
    "Log lines dropped because stderr did not take them.")
METRIC(LOOP_STALL_SECONDS, METRIC_HISTOGRAM, "sendgov_loop_stall_seconds", NULL, NULL, NULL,
    "Time one turn of the event loop took.")
