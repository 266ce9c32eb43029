/* The table of settings. A row's macro names its type and checks that the field has the C type the parser
 * writes. */
#include <assert.h>
#include <stddef.h>

#include "relay/config/draft.h"

/* offsetof, and a compile error when the field is no `type`. */
#define AT(s, field, type) (offsetof(struct s, field) + 0 * sizeof(1 ? &((struct s *)0)->field : (type *)0))

#define TEXT_LIKE(t, s, field) .type = (t), .offset = AT(s, field, const char *)
#define NAME(s, f) TEXT_LIKE(TYPE_NAME, s, f)
#define MAILBOX_NAME(s, f) TEXT_LIKE(TYPE_MAILBOX_NAME, s, f)
#define TEXT(s, f) TEXT_LIKE(TYPE_TEXT, s, f)
#define HOSTNAME(s, f) TEXT_LIKE(TYPE_HOSTNAME, s, f)
#define HOST_PORT(s, f) TEXT_LIKE(TYPE_HOST_PORT, s, f)
#define LISTEN(s, f) TEXT_LIKE(TYPE_LISTEN, s, f)
#define PATH(s, f) TEXT_LIKE(TYPE_PATH, s, f)
#define READABLE(s, f) TEXT_LIKE(TYPE_FILE, s, f)
#define KEY_FILE(s, f) TEXT_LIKE(TYPE_KEY_FILE, s, f)
#define SECRET(s, f) TEXT_LIKE(TYPE_SECRET_FILE, s, f)
#define BOOL(s, f) .type = TYPE_BOOL, .offset = AT(s, f, bool)
#define U32(s, f, low, high) .type = TYPE_U32, .offset = AT(s, f, uint32_t), .least = (low), .most = (high)
#define MS(s, f, low, high) .type = TYPE_MS, .offset = AT(s, f, int), .least = (low), .most = (high)
#define MS64(s, f, low, high) .type = TYPE_MS64, .offset = AT(s, f, int64_t), .least = (low), .most = (high)
#define BYTES(s, f, low, high) \
    .type = TYPE_BYTES, .offset = AT(s, f, uint64_t), .least = (low), .most = (high)
#define BYTES32(s, f, low, high) \
    .type = TYPE_BYTES32, .offset = AT(s, f, uint32_t), .least = (low), .most = (high)
#define NUMBER(s, f, low, high) \
    .type = TYPE_COUNT, .offset = AT(s, f, uint64_t), .least = (low), .most = (high)
#define WORD(s, f, t, list) .type = TYPE_WORD, .offset = AT(s, f, t), .words = (list)
#define RATE(s, f) .type = TYPE_RATE, .offset = AT(s, f, struct rate)
#define LIST(s, f, of) .type = TYPE_LIST, .offset = AT(s, f, struct text_list), .item = (of)
#define SECTION_AT(where, c) .type = TYPE_SECTION, .offset = (where), .child = (c)
#define SECTIONS_AT(s, f, c) .type = TYPE_SECTIONS, .offset = AT(s, f, struct entries), .child = (c)
#define SECTION_LIST(s, f, c) .type = TYPE_SECTION_LIST, .offset = AT(s, f, struct entries), .child = (c)

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define MIB (1024 * 1024)

static const char *const level_words[] = {"debug", "info", "notice", "warning", "error", NULL};
static const char *const format_words[] = {"logfmt", "json", NULL};
static const char *const front_tls_words[] = {"off", "starttls", "required", "implicit", NULL};
static const char *const tls_version_words[] = {"1.0", "1.1", "1.2", "1.3", NULL};
static const char *const newline_words[] = {"reject", "normalize", NULL};
static const char *const accept_words[] = {"relay", "defer", "spool", NULL};
static const char *const upstream_tls_words[] = {"starttls", "implicit", "off", NULL};
static const char *const auth_words[] = {"none", "login", "plain", "xoauth2", NULL};
static const char *const scope_words[] = {"route", "mailbox", "client", "sender", "sender_domain",
    "recipient_domain", NULL};
static const char *const unit_words[] = {"messages", "recipients", "external", "bytes", "new_recipients",
    NULL};
static const char *const mode_words[] = {"enforce", "shadow", NULL};
static const char *const curve_words[] = {"geometric", "table", "linear", NULL};
static const char *const class_words[] = {"ok", "block-tenant", "block-connector", "block-sender",
    "block-domain", "budget", "throttle", "auth", "temporary", "message", NULL};

#define WORDS(list) (sizeof(list) / sizeof(list)[0] - 1)
static_assert(WORDS(level_words) == LOG_ERROR + 1, "a word for each log level");
static_assert(WORDS(format_words) == LOG_JSON + 1, "a word for each log format");
static_assert(WORDS(front_tls_words) == FRONT_TLS_IMPLICIT + 1, "a word for each listener TLS mode");
static_assert(WORDS(tls_version_words) == TLS_V1_3 + 1, "a word for each TLS version");
static_assert(WORDS(newline_words) == BARE_NORMALIZE + 1, "a word for each treatment of bare line ends");
static_assert(WORDS(accept_words) == ACCEPT_SPOOL + 1, "a word for each accept mode");
static_assert(WORDS(upstream_tls_words) == UPSTREAM_TLS_OFF + 1, "a word for each upstream TLS mode");
static_assert(WORDS(auth_words) == UPSTREAM_AUTH_PLAIN + 2, "a word for each way to log in, and xoauth2");
static_assert(WORDS(scope_words) == SCOPE_COUNT, "a word for each scope");
static_assert(WORDS(unit_words) == UNIT_COUNT, "a word for each unit");
static_assert(WORDS(mode_words) == MODE_COUNT, "a word for each mode");
static_assert(WORDS(curve_words) == CURVE_COUNT, "a word for each curve");
static_assert(WORDS(class_words) == CLASS_COUNT, "a word for each reply class");

const struct section_info section_table[SECTION_COUNT] = {
    [SECTION_TOP] = {"", 0, TYPE_NAME, "Settings of the whole daemon."},
    [SECTION_LOG] = {"log", 0, TYPE_NAME, "What is logged, to standard error."},
    [SECTION_REDIS] = {"redis", 0, TYPE_NAME, "Where the counters and pauses live that all nodes share."},
    [SECTION_ADMIN] = {"admin", 0, TYPE_NAME, "Control socket, metrics and health pages."},
    [SECTION_SMTP] = {"smtp", 0, TYPE_NAME, "Limits and deadlines of the side that clients talk to."},
    [SECTION_TLS] = {"tls", 0, TYPE_NAME, "The certificate of listeners that name none."},
    [SECTION_SPOOL] = {"spool", 0, TYPE_NAME,
        "Messages held on stable storage: those that cannot go now, and all of a client with accept: spool."},
    [SECTION_LISTENER] = {"listeners", sizeof(struct listener_entry), TYPE_NAME, "Where mail comes in."},
    [SECTION_CLIENT] = {"clients", sizeof(struct client_entry), TYPE_NAME,
        "Who may send, how they prove it, and as whom. Without an identity nothing is relayed."},
    [SECTION_CLASS] = {"classes", sizeof(struct class_entry), TYPE_NAME,
        "Priority classes of clients. Their weights decide who goes first while more waits in the spool than "
        "may leave; what a limit allows stays the same. With this section a client's class must be in it, or "
        "be default."},
    [SECTION_ROUTE] = {"routes", sizeof(struct route_entry), TYPE_NAME,
        "The ways out: one tenant's submission server or connector each."},
    [SECTION_MAILBOX] = {"mailboxes", sizeof(struct mailbox_entry), TYPE_MAILBOX_NAME,
        "Identities at the upstream server. Capital letters do not make another one."},
    [SECTION_LIMIT] = {"limits", sizeof(struct limit_entry), TYPE_MAILBOX_NAME,
        "Caps, besides those that profiles and warm-ups bring. One of window, rate and spike."},
    [SECTION_SPIKE] = {"spike", 0, TYPE_NAME,
        "A limit relative to what is usual, against a runaway: in any hour at most factor times the median "
        "of the hours with use in the past week, and never less than floor. Of a limit: spike: {factor: 3, "
        "floor: 20}, or spike: {}."},
    [SECTION_SCHEDULE] = {"schedules", sizeof(struct schedule_entry), TYPE_NAME, "Warm-up curves."},
    [SECTION_REPLY] = {"replies", sizeof(struct reply_entry), TYPE_NAME,
        "What a reply of the upstream server means. The first rule that matches wins."},
    [SECTION_PROFILE] = {"", 0, TYPE_NAME, "A profile file: what is known of one upstream service."},
    [SECTION_TENANT_LIMIT] = {"tenant_limit", 0, TYPE_NAME,
        "The tenant's daily cap by licences: factor * licences ^ (power_tenths / 10) + base, of which "
        "percent is used."},
    [SECTION_PROFILE_LIMIT] = {"limits", sizeof(struct limit_entry), TYPE_NAME,
        "Limits that each route with this profile gets, named ROUTE-NAME."},
};

const struct setting setting_table[] = {
    {SECTION_TOP, "node", NAME(draft, conf.node), .flags = SETTING_RESTART,
        .help = "Name of this node, unique among those that share a Redis. Default: the host name."},
    {SECTION_TOP, "state", PATH(draft, conf.state), .fallback = SENDGOV_STATEDIR, .flags = SETTING_RESTART,
        .help = "Folder of this node's own state and of large message bodies in flight."},
    {SECTION_TOP, "user", NAME(draft, conf.user), .fallback = "sendgov", .flags = SETTING_RESTART,
        .help = "User to run as after binding, when started as root."},
    {SECTION_TOP, "hostname", HOSTNAME(draft, conf.front.hostname),
        .help = "Own name in banner, EHLO and Received. Default: the host name."},
    {SECTION_TOP, "users_file", KEY_FILE(draft, conf.front.users_file),
        .help = "Logins of clients, a line \"login:hash\" each, the hash as crypt(3) makes it (sendgovctl "
                "passwd)."},
    {SECTION_TOP, "drain_timeout", MS(draft, conf.drain_ms, SECOND, HOUR), .fallback = "30s",
        .help = "How long messages under way may take to end after SIGTERM."},
    {SECTION_TOP, "include", LIST(draft, included, TYPE_PATH),
        .help = "Further files, or patterns such as conf.d/*.yaml, relative to the file that says it. What "
                "they hold is merged; "
                "nothing may be set twice."},
    {SECTION_TOP, "log", SECTION_AT(0, SECTION_LOG), .help = "See section log."},
    {SECTION_TOP, "redis", SECTION_AT(offsetof(struct draft, conf.store), SECTION_REDIS),
        .help = "See section redis."},
    {SECTION_TOP, "admin", SECTION_AT(0, SECTION_ADMIN), .help = "See section admin."},
    {SECTION_TOP, "smtp", SECTION_AT(offsetof(struct draft, conf.front), SECTION_SMTP),
        .help = "See section smtp."},
    {SECTION_TOP, "tls", SECTION_AT(offsetof(struct draft, tls), SECTION_TLS), .help = "See section tls."},
    {SECTION_TOP, "spool", SECTION_AT(offsetof(struct draft, conf.spool), SECTION_SPOOL),
        .help = "See section spool."},
    {SECTION_TOP, "listeners", SECTIONS_AT(draft, listeners, SECTION_LISTENER), .flags = SETTING_REQUIRED,
        .help = "See section listeners."},
    {SECTION_TOP, "clients", SECTIONS_AT(draft, clients, SECTION_CLIENT), .help = "See section clients."},
    {SECTION_TOP, "classes", SECTIONS_AT(draft, classes, SECTION_CLASS), .help = "See section classes."},
    {SECTION_TOP, "routes", SECTIONS_AT(draft, routes, SECTION_ROUTE), .flags = SETTING_REQUIRED,
        .help = "See section routes."},
    {SECTION_TOP, "mailboxes", SECTIONS_AT(draft, mailboxes, SECTION_MAILBOX),
        .help = "See section mailboxes."},
    {SECTION_TOP, "limits", SECTIONS_AT(draft, limits, SECTION_LIMIT), .help = "See section limits."},
    {SECTION_TOP, "schedules", SECTIONS_AT(draft, schedules, SECTION_SCHEDULE),
        .help = "See section schedules."},

    {SECTION_LOG, "level", WORD(draft, conf.log_level, enum log_level, level_words), .fallback = "info",
        .help = "The least important level that is logged."},
    {SECTION_LOG, "format", WORD(draft, conf.log_format, enum log_format, format_words), .fallback = "logfmt",
        .help = "Form of a line."},

    {SECTION_REDIS, "url", .type = TYPE_REDIS_URL, .offset = 0, .fallback = "redis://127.0.0.1:6379/0",
        .help = "redis://[user@]host[:port][/database], or unix:/path. The master that Sentinels name: "
                "redis+sentinel://[user@]host[:port],host[:port],.../MASTER[/database]; list all of them, "
                "because nothing leaves unless more than half of those listed agree. A cluster, by any of "
                "its nodes: redis+cluster://[user@]host[:port],host[:port],... With rediss instead of redis "
                "the same over TLS."},
    {SECTION_REDIS, "password_file", SECRET(store_conf, password),
        .help = "File with the password of the Redis user."},
    {SECTION_REDIS, "sentinel_user", TEXT(store_conf, sentinel_user),
        .help = "User towards the Sentinels, where they have one; that of url is for Redis alone."},
    {SECTION_REDIS, "sentinel_password_file", SECRET(store_conf, sentinel_password),
        .help = "File with the password for the Sentinels, where they ask for one."},
    {SECTION_REDIS, "ca_file", READABLE(store_conf, tls_ca_file),
        .help = "rediss: certificates to trust instead of the system's."},
    {SECTION_REDIS, "cert_file", READABLE(store_conf, tls_cert_file),
        .help = "rediss: certificate to show to Redis, leaf first."},
    {SECTION_REDIS, "key_file", KEY_FILE(store_conf, tls_key_file), .help = "Its private key."},
    {SECTION_REDIS, "group", NAME(store_conf, group), .fallback = "default",
        .help = "Governor group: nodes with the same group share all counters and pauses. Where it changes, "
                "or url leads to another Redis, the counters count as lost: nothing leaves until the longest "
                "window has passed or sendgovctl open says that they are good, and changing it back does not "
                "open it."},
    {SECTION_REDIS, "allow_volatile", BOOL(store_conf, allow_volatile), .fallback = "false",
        .help = "Accept a Redis that keeps nothing over a restart. For trials only: the counters are what "
                "keeps the caps."},
    {SECTION_REDIS, "connect_timeout", MS(store_conf, connect_ms, 10, MINUTE), .fallback = "500ms",
        .help = "Deadline of a connection attempt."},
    {SECTION_REDIS, "command_timeout", MS(store_conf, command_ms, 10, 10 * SECOND), .fallback = "250ms",
        .help = "Deadline of a command; a late answer counts as none, and without an answer nothing leaves."},
    {SECTION_REDIS, "settle", MS(store_conf, settle_ms, 100, HOUR), .fallback = "2s",
        .help = "How long brand-new counters stay closed, so that living nodes can object."},

    {SECTION_ADMIN, "socket", PATH(draft, conf.admin.socket), .fallback = SENDGOV_RUNDIR "/control",
        .help = "Control socket of sendgovctl."},
    {SECTION_ADMIN, "groups", LIST(draft, admin_groups, TYPE_NAME),
        .help = "Unix groups that may look (not change) through the control socket, besides root and the "
                "daemon's own user."},
    {SECTION_ADMIN, "http", LISTEN(draft, conf.admin.http),
        .help = "Address of /metrics, /live and /ready, such as 127.0.0.1:9825. Default: none."},
    {SECTION_ADMIN, "http_public", BOOL(draft, http_public), .fallback = "false",
        .help = "Allow an http address that is not loopback. The pages have no login."},

    {SECTION_SMTP, "message_size", BYTES(front_conf, message_bytes_max, 64 * 1024, 1024 * (uint64_t)MIB),
        .fallback = "35MiB", .help = "Largest message."},
    {SECTION_SMTP, "header_size", BYTES(front_conf, header_bytes_max, 4096, 16 * MIB), .fallback = "256KiB",
        .help = "Largest header block."},
    {SECTION_SMTP, "header_lines", U32(front_conf, header_lines_max, 10, 100000), .fallback = "1000",
        .help = "Most lines in the header block."},
    {SECTION_SMTP, "line_size", BYTES32(front_conf, line_bytes_max, 998, MIB), .fallback = "64KiB",
        .help = "Longest body line; longer ones are refused, none is ever folded."},
    {SECTION_SMTP, "line_strict", BOOL(front_conf, line_strict), .fallback = "false",
        .help = "Refuse body lines over 998 bytes, as RFC 5321 demands."},
    {SECTION_SMTP, "recipients", U32(front_conf, recipients_max, 1, 1000), .fallback = "500",
        .help = "Most recipients in one transaction; further ones get 452 4.5.3."},
    {SECTION_SMTP, "messages", U32(front_conf, messages_max, 1, 1000000), .fallback = "1000",
        .help = "Most messages in one connection."},
    {SECTION_SMTP, "hops", U32(front_conf, hops_max, 5, 1000), .fallback = "100",
        .help = "Most Received headers before a loop is assumed."},
    {SECTION_SMTP, "connections", U32(front_conf, connections_max, 1, 100000), .fallback = "1000",
        .help = "Most open client connections."},
    {SECTION_SMTP, "connections_per_ip", U32(front_conf, connections_per_ip, 1, 100000), .fallback = "50",
        .help = "Most open connections of one address."},
    {SECTION_SMTP, "unauthenticated", U32(front_conf, unauthenticated_max, 1, 100000), .fallback = "200",
        .help = "Most open connections without an identity."},
    {SECTION_SMTP, "connections_per_minute", U32(front_conf, connection_rate_per_minute, 1, 1000000),
        .fallback = "120", .help = "New connections of one address per minute."},
    {SECTION_SMTP, "connections_burst", U32(front_conf, connection_rate_burst, 1, 1000000), .fallback = "60",
        .help = "New connections of one address at once."},
    {SECTION_SMTP, "errors_soft", U32(front_conf, errors_soft, 1, 1000), .fallback = "5",
        .help = "Errors in a session from which replies are delayed."},
    {SECTION_SMTP, "errors_hard", U32(front_conf, errors_hard, 1, 1000), .fallback = "10",
        .help = "Errors after which the session is closed."},
    {SECTION_SMTP, "junk", U32(front_conf, junk_max, 1, 100000), .fallback = "50",
        .help = "Commands without effect (NOOP, RSET, VRFY) in a row after which the session is closed."},
    {SECTION_SMTP, "auth_failures", U32(front_conf, auth_failures_session, 1, 100), .fallback = "3",
        .help = "Failed logins after which the session is closed."},
    {SECTION_SMTP, "auth_failures_per_ip", U32(front_conf, auth_failures_per_ip, 1, 100000), .fallback = "20",
        .help = "Failed logins of one address in 10 minutes after which it is refused for a while."},
    {SECTION_SMTP, "idle_timeout", MS(front_conf, idle_ms, SECOND, HOUR), .fallback = "5min",
        .help = "How long a client may be silent between commands."},
    {SECTION_SMTP, "first_mail_timeout", MS(front_conf, first_mail_ms, SECOND, HOUR), .fallback = "60s",
        .help = "The same before its first MAIL."},
    {SECTION_SMTP, "command_timeout", MS(front_conf, command_ms, SECOND, HOUR), .fallback = "60s",
        .help = "How long a command that has begun may take to arrive."},
    {SECTION_SMTP, "handshake_timeout", MS(front_conf, handshake_ms, SECOND, 10 * MINUTE), .fallback = "30s",
        .help = "Deadline of a TLS handshake."},
    {SECTION_SMTP, "data_rate", BYTES32(front_conf, data_bytes_per_second_min, 1, MIB), .fallback = "500",
        .help = "Least bytes per second a client must keep up while it sends a body."},
    {SECTION_SMTP, "body_memory", BYTES(front_conf, body_memory_bytes, MIB, 64 * 1024 * (uint64_t)MIB),
        .fallback = "64MiB", .help = "Memory for all bodies together; more goes to files in temp_folder."},
    {SECTION_SMTP, "temp_folder", PATH(front_conf, temp_folder),
        .help = "Folder of large bodies in flight. Default: the state folder."},

    {SECTION_TLS, "cert_file", READABLE(tls_defaults, cert_file),
        .help = "Certificate and its chain, PEM, leaf first."},
    {SECTION_TLS, "key_file", KEY_FILE(tls_defaults, key_file),
        .help = "Its key, PEM, not readable by others."},

    {SECTION_SPOOL, "enabled", BOOL(spool_conf, enabled), .fallback = "true", .flags = SETTING_RESTART,
        .help = "false: nothing is held; what cannot go now is refused with 4xx and stays with the client."},
    {SECTION_SPOOL, "folder", PATH(spool_conf, folder), .flags = SETTING_RESTART,
        .help = "Folder of the spool's database alone, on a disk of this host, not on a network file system. "
                "Made when missing. Default: spool in the state folder."},
    {SECTION_SPOOL, "retry_first", MS(spool_conf, retry_first_ms, 10, DAY), .fallback = "60s",
        .help = "Wait after the upstream's first 4xx about a message. It doubles with each further one and "
                "varies by a fifth. What a limit or a pause holds does not retry, it leaves when it may."},
    {SECTION_SPOOL, "retry_max", MS(spool_conf, retry_max_ms, 10, DAY), .fallback = "1h",
        .help = "The longest of these waits."},
    {SECTION_SPOOL, "lifetime", MS64(spool_conf, lifetime_ms, 10, 30 * (uint64_t)DAY), .fallback = "48h",
        .help = "How long a message may wait for retries before its sender gets a report that it failed. "
                "Time in which a limit, a pause, Redis or an operator held it does not count."},
    {SECTION_SPOOL, "warn_after", MS64(spool_conf, warn_ms, 10, 30 * (uint64_t)DAY), .fallback = "4h",
        .help = "How much of that time passes before the sender is told that it is late."},
    {SECTION_SPOOL, "uncertain_delay", MS64(spool_conf, uncertain_ms, 10, 7 * DAY), .fallback = "10min",
        .help = "Wait before a message is tried again whose connection was lost between the final dot and "
                "the reply: it may have arrived, and would then arrive twice."},
    {SECTION_SPOOL, "uncertain_tries", U32(spool_conf, uncertain_max, 1, 10), .fallback = "2",
        .help = "How often such a message is sent, the first time included; then it is parked until an "
                "operator decides (sendgovctl queue)."},

    {SECTION_LISTENER, "address", LIST(listener_entry, addresses, TYPE_LISTEN), .flags = SETTING_REQUIRED,
        .help = "Address and port, one or a list: \"0.0.0.0:25\", \"[::]:25\" (quoted; [::] is IPv6 only)."},
    {SECTION_LISTENER, "tls", WORD(listener_entry, conf.tls, enum front_tls, front_tls_words),
        .fallback = "starttls",
        .help = "starttls offers it, required refuses mail before it, implicit is TLS from the first byte."},
    {SECTION_LISTENER, "tls_min", WORD(listener_entry, conf.tls_least, enum tls_version, tls_version_words),
        .fallback = "1.2", .help = "Lowest TLS version. Below 1.2 only for old devices."},
    {SECTION_LISTENER, "cert_file", READABLE(listener_entry, conf.tls_cert_file),
        .help = "Certificate of this listener. Default: that of section tls."},
    {SECTION_LISTENER, "key_file", KEY_FILE(listener_entry, conf.tls_key_file), .help = "Its key."},
    {SECTION_LISTENER, "client_ca_file", READABLE(listener_entry, conf.tls_client_ca_file),
        .help = "Ask clients for a certificate of these authorities; a client without one may still log in."},
    {SECTION_LISTENER, "auth_without_tls", BOOL(listener_entry, conf.auth_without_tls), .fallback = "false",
        .help = "Let clients log in without TLS: their passwords travel readable."},
    {SECTION_LISTENER, "bare_lf", WORD(listener_entry, conf.bare_newline, enum bare_newline, newline_words),
        .fallback = "reject",
        .help = "Bodies with bare CR or LF: refuse them, or make them CRLF (old devices)."},
    {SECTION_LISTENER, "clients", LIST(listener_entry, clients, TYPE_NAME),
        .help = "Only these clients may come in here. Default: all."},

    {SECTION_CLIENT, "login", LIST(client_entry, logins, TYPE_TEXT),
        .help = "Logins of the users file, one or a list."},
    {SECTION_CLIENT, "networks", .type = TYPE_NETWORKS,
        .offset = AT(client_entry, networks, struct network_list),
        .help = "Source networks. Beyond private ranges the client must log in as well."},
    {SECTION_CLIENT, "certificates", LIST(client_entry, cert_names, TYPE_HOSTNAME),
        .help = "Names in client certificates, issued by the listener's client_ca_file."},
    {SECTION_CLIENT, "pins", LIST(client_entry, cert_pins, TYPE_PIN),
        .help = "SHA-256 of the certificate's public key, 64 hex digits."},
    {SECTION_CLIENT, "senders", LIST(client_entry, senders, TYPE_SENDER), .flags = SETTING_REQUIRED,
        .help = "Senders it may use, in envelope and From header: \"@contoso.com\", scan@contoso.com, "
                "\"@*.contoso.com\", or "
                "\"*\" for every registered domain. A Sender header is held to this only where From has "
                "several addresses, Resent-From never."},
    {SECTION_CLIENT, "null_sender", BOOL(client_entry, conf.null_sender), .fallback = "false",
        .help = "May send with the null sender (bounces), on its route."},
    {SECTION_CLIENT, "accept", WORD(client_entry, conf.accept, enum accept_mode, accept_words),
        .fallback = "relay",
        .help = "relay: tried at once, and the reply is the upstream's; what cannot go now is held in the "
                "spool and answered 250 (451 without a spool). defer, for mail servers, which have a queue "
                "of their own: nothing is held, what cannot go now is refused with 451 before the body. "
                "spool: held in the spool and answered 250 at once, delivered after that."},
    {SECTION_CLIENT, "route", NAME(client_entry, conf.route),
        .help = "Its route. Default: the one that registers the sender's domain."},
    {SECTION_CLIENT, "mailbox", MAILBOX_NAME(client_entry, conf.mailbox),
        .help = "Its mailbox. Default: the one named like the sender, else the route's."},
    {SECTION_CLIENT, "class", NAME(client_entry, conf.class), .fallback = "default",
        .help = "Priority class; see section classes."},

    {SECTION_CLASS, "weight", U32(class_entry, conf.weight, 1, 1000), .fallback = "10",
        .help = "Share of what leaves from the spool: 40 beside 10 goes four times as often. Within a class "
                "clients take turns."},

    {SECTION_ROUTE, "upstream", HOST_PORT(route_entry, conf.upstream), .flags = SETTING_REQUIRED,
        .help = "Server and port: smtp.office365.com:587, or the MX name of the tenant with :25 for a "
                "connector."},
    {SECTION_ROUTE, "tls", WORD(route_entry, conf.tls, enum upstream_tls, upstream_tls_words),
        .fallback = "starttls",
        .help = "starttls is demanded, never given up; implicit is TLS from the first byte."},
    {SECTION_ROUTE, "tls_ca_file", READABLE(route_entry, conf.tls_ca_file),
        .help = "Certificates to trust instead of the system's."},
    {SECTION_ROUTE, "tls_cert_file", READABLE(route_entry, conf.tls_cert_file),
        .help = "Client certificate with its whole chain, for connectors that know us by it."},
    {SECTION_ROUTE, "tls_key_file", KEY_FILE(route_entry, conf.tls_key_file), .help = "Its key."},
    {SECTION_ROUTE, "tls_verify", BOOL(route_entry, conf.tls_verify), .fallback = "true",
        .help = "Verify the server's certificate and name. false only for tests."},
    {SECTION_ROUTE, "helo", HOSTNAME(route_entry, conf.helo),
        .help = "Own name in EHLO there. Default: hostname."},
    {SECTION_ROUTE, "domains", LIST(route_entry, domains, TYPE_DOMAIN), .flags = SETTING_REQUIRED,
        .help = "Sender domains registered with the tenant; as recipients they are internal."},
    {SECTION_ROUTE, "internal_domains", LIST(route_entry, internal_domains, TYPE_DOMAIN),
        .help = "Further recipient domains that count as internal (multitenant organisation)."},
    {SECTION_ROUTE, "profile", NAME(route_entry, conf.profile),
        .help = "Profile with limits and reply table: m365-submission, m365-connector, m365-trial, or a file "
                "profiles/NAME.yaml."},
    {SECTION_ROUTE, "licences", .type = TYPE_LICENCES, .offset = AT(route_entry, licences, uint64_t),
        .least = 1, .most = 10000000,
        .help = "Non-trial mail licences of the tenant, or trial: sets the tenant's daily cap."},
    {SECTION_ROUTE, "warmup", NAME(route_entry, warmup),
        .help = "Schedule by which external volume grows: new-tenant, cautious, one of section schedules, or "
                "established for none."},
    {SECTION_ROUTE, "mailbox", MAILBOX_NAME(route_entry, conf.default_mailbox),
        .help = "Mailbox of senders that have none of their own. Default: the route's only mailbox."},
    {SECTION_ROUTE, "connections", NUMBER(route_entry, conf.connections, 1, 10000), .fallback = "unlimited",
        .help = "Most connections over all nodes, for a route without mailboxes."},
    {SECTION_ROUTE, "pool", U32(route_entry, conf.pool_max, 1, 10000), .fallback = "20",
        .help = "Most connections of this node, per mailbox."},
    {SECTION_ROUTE, "messages_per_connection", U32(route_entry, conf.messages_per_connection, 1, 1000000),
        .fallback = "100", .help = "Messages after which a connection is closed."},
    {SECTION_ROUTE, "idle_timeout", MS(route_entry, conf.idle_ms, SECOND, 4 * MINUTE), .fallback = "30s",
        .help = "Close a connection after so long without work (Microsoft cuts it after 5 minutes)."},
    {SECTION_ROUTE, "age_max", MS(route_entry, conf.age_ms, SECOND, HOUR), .fallback = "10min",
        .help = "No new message on a connection older than this (Microsoft cuts it after 20 minutes)."},
    {SECTION_ROUTE, "connect_timeout", MS(route_entry, conf.connect_ms, 100, 5 * MINUTE), .fallback = "15s",
        .help = "Deadline of a connection attempt, per address."},
    {SECTION_ROUTE, "reply_timeout", MS(route_entry, conf.reply_ms, 100, 10 * MINUTE), .fallback = "60s",
        .help = "Deadline of the replies to banner, EHLO, STARTTLS, AUTH, MAIL and RCPT."},
    {SECTION_ROUTE, "data_timeout", MS(route_entry, conf.data_ms, 100, 10 * MINUTE), .fallback = "2min",
        .help = "Deadline of the reply to DATA."},
    {SECTION_ROUTE, "block_timeout", MS(route_entry, conf.block_ms, 100, 10 * MINUTE), .fallback = "3min",
        .help = "How long the server may take no body bytes."},
    {SECTION_ROUTE, "dot_timeout", MS(route_entry, conf.dot_ms, 100, HOUR), .fallback = "10min",
        .help = "Deadline of the reply to the final dot; cut short it makes duplicates."},
    {SECTION_ROUTE, "replies", SECTION_LIST(route_entry, replies, SECTION_REPLY),
        .help = "Own rules, asked before those of the profile. See section replies."},

    {SECTION_MAILBOX, "route", NAME(mailbox_entry, conf.route), .flags = SETTING_REQUIRED,
        .help = "The route it belongs to."},
    {SECTION_MAILBOX, "auth", WORD(mailbox_entry, conf.auth, enum upstream_auth, auth_words),
        .fallback = "login", .help = "How it logs in. Microsoft 365 offers login, not plain."},
    {SECTION_MAILBOX, "user", TEXT(mailbox_entry, conf.user),
        .help = "User name. Default: the mailbox's name."},
    {SECTION_MAILBOX, "password_file", SECRET(mailbox_entry, conf.password),
        .help = "File with its password."},
    {SECTION_MAILBOX, "connections", NUMBER(mailbox_entry, conf.connections, 1, 10000),
        .help = "Most connections at once over all nodes. Default: the profile's, else 2."},

    {SECTION_LIMIT, "scope", WORD(limit_entry, conf.scope, enum limit_scope, scope_words),
        .flags = SETTING_REQUIRED,
        .help = "What is counted on its own: each route, mailbox, client, sender (in upper or lower case), "
                "sender domain, or recipient domain (which takes a transaction of its own)."},
    {SECTION_LIMIT, "unit", WORD(limit_entry, conf.unit, enum limit_unit, unit_words),
        .flags = SETTING_REQUIRED,
        .help = "What is counted: messages, recipients, external recipients, bytes, or recipients to whom "
                "this instance of the scope sent nothing for known_for."},
    {SECTION_LIMIT, "known_for", MS64(limit_entry, conf.known_ms, DAY, 365 * (uint64_t)DAY),
        .help = "new_recipients: how long a recipient is known after mail to it. Default 30d."},
    {SECTION_LIMIT, "window", RATE(limit_entry, window),
        .help =
            "At most N in every interval of that length: 10_000/d, 25/min, 20/30min; or unlimited, deny."},
    {SECTION_LIMIT, "rate", RATE(limit_entry, rate),
        .help = "Evenly N per period with a burst; admits N + burst in a period. Not for daily caps."},
    {SECTION_LIMIT, "burst", NUMBER(limit_entry, conf.burst, 1, 1000000),
        .help = "rate: how many may go at once. Default 1; needed where recipients or bytes are counted."},
    {SECTION_LIMIT, "spike", SECTION_AT(AT(limit_entry, spike, struct spike_entry), SECTION_SPIKE),
        .help = "At most a multiple of what is usual, in every interval of an hour. See section spike."},
    {SECTION_LIMIT, "mode", WORD(limit_entry, conf.mode, enum limit_mode, mode_words), .fallback = "enforce",
        .help = "enforce: what does not fit is held. shadow: counted and never held; what it would have held "
                "is told by sendgov_shadow_total and by shadow= in the message's log line."},
    {SECTION_LIMIT, "route", NAME(limit_entry, conf.route), .help = "Only mail on this route."},
    {SECTION_LIMIT, "only", TEXT(limit_entry, conf.only),
        .help = "Only this one client, sender, ... of the scope; the domain of a sender must be one of a "
                "route. Of recipient domains also \"*.example.com\", each one below it."},

    {SECTION_SPIKE, "factor", .type = TYPE_GROWTH, .offset = AT(spike_entry, factor_milli, uint32_t),
        .least = 1100, .most = 100000, .help = "Times the usual, such as 2.5. Default 3."},
    {SECTION_SPIKE, "floor", NUMBER(spike_entry, floor, 1, 1000000000),
        .help = "So many an hour are never a spike. Default 20; needed where bytes are counted."},

    {SECTION_SCHEDULE, "curve", WORD(schedule_entry, conf.curve, enum curve_kind, curve_words),
        .fallback = "geometric",
        .help = "geometric: first * growth ^ (step - 1). table: the caps one by one. linear: "
                "first + increment * (step - 1)."},
    {SECTION_SCHEDULE, "first", NUMBER(schedule_entry, conf.first, 1, 10000000),
        .help = "geometric, linear: external recipients per 24 h at step 1."},
    {SECTION_SCHEDULE, "growth", .type = TYPE_GROWTH,
        .offset = AT(schedule_entry, conf.growth_milli, uint32_t), .least = 1001, .most = 3000,
        .help = "geometric: factor from step to step, such as 1.4."},
    {SECTION_SCHEDULE, "increment", NUMBER(schedule_entry, conf.increment, 1, 10000000),
        .help = "linear: what each step adds."},
    {SECTION_SCHEDULE, "table", .type = TYPE_COUNTS, .offset = AT(schedule_entry, table, struct count_list),
        .least = 1, .most = 1000000000, .help = "table: the caps of step 1, 2, ... in rising order."},
    {SECTION_SCHEDULE, "ceiling", NUMBER(schedule_entry, conf.ceiling, 1, 1000000000),
        .fallback = "unlimited", .help = "No step goes above it."},
    {SECTION_SCHEDULE, "use", U32(schedule_entry, conf.use_percent, 1, 100), .fallback = "50",
        .help = "Percent of the cap that a day must have used before the next step."},
    {SECTION_SCHEDULE, "decay_days", NUMBER(schedule_entry, conf.decay_days, 1, 365), .fallback = "7",
        .help = "Days without mail in a row, by UTC, that cost one step; twice as many cost two, for a "
                "reputation that is not used fades. unlimited: none."},
    {SECTION_SCHEDULE, "restart_days", NUMBER(schedule_entry, conf.restart_days, 1, 365), .fallback = "30",
        .help = "Days without mail in a row after which the curve begins again. unlimited: never."},
    {SECTION_SCHEDULE, "restart_percent", U32(schedule_entry, conf.restart_percent, 0, 99), .fallback = "0",
        .help = "Where it begins again: at this share of the step it was at; 0 is step 1."},

    {SECTION_REPLY, "reply", .type = TYPE_REPLY_CODE, .offset = AT(reply_entry, rule, struct reply_rule),
        .flags = SETTING_REQUIRED,
        .help =
            "Reply code and enhanced code: \"550 5.7.708\", \"5xx 5.7.606-649\", \"* *.7.64\", \"432 *\"."},
    {SECTION_REPLY, "words", TEXT(reply_entry, rule.words), .help = "Words that must occur in the text."},
    {SECTION_REPLY, "class", WORD(reply_entry, rule.class, enum reply_class, class_words),
        .flags = SETTING_REQUIRED, .help = "What it means; each class has its action."},
    {SECTION_REPLY, "advice", TEXT(reply_entry, rule.advice), .help = "What the operator should do."},
    {SECTION_REPLY, "source", TEXT(reply_entry, rule.source), .help = "Where that is from."},

    {SECTION_PROFILE, "profile", NAME(profile, name), .flags = SETTING_REQUIRED,
        .help = "Its name, that of the file."},
    {SECTION_PROFILE, "extends", NAME(profile, extends),
        .help = "Another profile whose replies follow this one's."},
    {SECTION_PROFILE, "dated", TEXT(profile, dated), .flags = SETTING_REQUIRED,
        .help = "Day of the facts, 2026-11-01; older than 180 days, it is warned of."},
    {SECTION_PROFILE, "title", TEXT(profile, title), .help = "What it is for."},
    {SECTION_PROFILE, "source", TEXT(profile, link), .help = "Where the facts are from."},
    {SECTION_PROFILE, "connections", NUMBER(profile, connections, 1, 10000), .fallback = "2",
        .help = "Connections per mailbox where the mailbox does not say."},
    {SECTION_PROFILE, "connections_max", NUMBER(profile, connections_max, 1, 10000), .fallback = "unlimited",
        .help = "Most that a mailbox may say."},
    {SECTION_PROFILE, "tenant_limit",
        SECTION_AT(offsetof(struct profile, tenant_limit), SECTION_TENANT_LIMIT),
        .help = "See section tenant_limit."},
    {SECTION_PROFILE, "limits", SECTIONS_AT(profile, limits, SECTION_PROFILE_LIMIT),
        .help = "See section limits."},
    {SECTION_PROFILE, "replies", SECTION_LIST(profile, replies, SECTION_REPLY),
        .help = "See section replies."},

    {SECTION_TENANT_LIMIT, "factor", U32(tenant_limit, factor, 1, 100000), .help = "See above."},
    {SECTION_TENANT_LIMIT, "power_tenths", U32(tenant_limit, power_tenths, 1, 10), .help = "See above."},
    {SECTION_TENANT_LIMIT, "base", U32(tenant_limit, base, 1, 1000000000), .help = "See above."},
    {SECTION_TENANT_LIMIT, "trial", U32(tenant_limit, trial, 1, 1000000000),
        .help = "The cap of a trial tenant."},
    {SECTION_TENANT_LIMIT, "percent", U32(tenant_limit, percent, 1, 100), .fallback = "80",
        .help = "See above."},
    {SECTION_TENANT_LIMIT, "hour_divisor", U32(tenant_limit, hour_divisor, 1, 24),
        .help = "Of the day's cap at most this part in an hour, 10 at least."},
    {SECTION_TENANT_LIMIT, "source", TEXT(tenant_limit, link), .help = "Where the figures are from."},

    {SECTION_PROFILE_LIMIT, "scope", WORD(limit_entry, conf.scope, enum limit_scope, scope_words),
        .flags = SETTING_REQUIRED, .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "unit", WORD(limit_entry, conf.unit, enum limit_unit, unit_words),
        .flags = SETTING_REQUIRED, .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "window", RATE(limit_entry, window), .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "rate", RATE(limit_entry, rate), .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "burst", NUMBER(limit_entry, conf.burst, 1, 1000000),
        .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "known_for", MS64(limit_entry, conf.known_ms, DAY, 365 * (uint64_t)DAY),
        .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "spike", SECTION_AT(AT(limit_entry, spike, struct spike_entry), SECTION_SPIKE),
        .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "mode", WORD(limit_entry, conf.mode, enum limit_mode, mode_words),
        .fallback = "enforce", .help = "As in section limits."},
    {SECTION_PROFILE_LIMIT, "domains", TEXT(limit_entry, domains),
        .help = "scope sender_domain: only the route's sender domains that this covers, which share the "
            "value; recipient_domain: only this domain, or with *.x each domain below x."},
    {SECTION_PROFILE_LIMIT, "source", TEXT(limit_entry, link), .help = "Where the figure is from."},
};

const size_t setting_count = sizeof setting_table / sizeof setting_table[0];
