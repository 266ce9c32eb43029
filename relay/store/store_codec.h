/* store_codec: requests to the scripts as Redis commands, and their replies as values. No connection, no
 * state; what a reply may contain is checked here, whatever the script is believed to do. */
#ifndef SENDGOV_STORE_STORE_CODEC_H
#define SENDGOV_STORE_STORE_CODEC_H

#include "policy/charge.h"
#include "policy/decide.h"
#include "relay/base/buf.h"

struct redisReply;

enum script_id {
    SCRIPT_CHARGE,
    SCRIPT_REFUND,
    SCRIPT_USAGE,
    SCRIPT_WARMUP,
    SCRIPT_LOWER,
    SCRIPT_PAUSE,
    SCRIPT_LEASE,
    SCRIPT_OPEN,
    SCRIPT_HEARTBEAT,
    SCRIPT_COUNT,
};
const char *script_text(enum script_id id);

#define COMMAND_ARGS_MAX 16
#define SHA1_HEX 40

/* EVALSHA sha nkeys key... arg, being put together in memory that is used again. */
struct command {
    enum script_id script;
    size_t n_keys;
    struct buf keys;                     /* one after the other */
    size_t key_end[COMMAND_ARGS_MAX];
    struct buf arg;                      /* msgpack */
    struct buf name;                     /* scratch */
    char n_keys_text[4];
};
void command_init(struct command *c);
void command_fini(struct command *c);
void command_begin(struct command *c, enum script_id script);
/* Fills argv and lens; returns argc. They point into the command and sha. */
#define COMMAND_ARGC_MAX (COMMAND_ARGS_MAX + 4)
int command_argv(struct command *c, const char *sha, const char *argv[COMMAND_ARGC_MAX],
    size_t lens[COMMAND_ARGC_MAX]);

/* Who asks, in which set of counters. */
struct codec_node {
    const char *prefix; /* store_key_prefix */
    const char *uuid, *run, *epoch;
};

struct codec_times {
    uint64_t earliest_us, latest_us, not_after_us;
    uint64_t seq, acked;
    unsigned times; /* > 1: so many equal charges, numbered seq, seq + 1 ... (policy/lua/charge_usual.lua) */
};

/* facts: one per line; is_expected, charged_us, step_day and day_line are used. */
void codec_charge(struct command *c, const struct codec_node *node, const struct charge_request *request,
    const struct decide_line *facts, const struct codec_times *times);
void codec_refund(struct command *c, const struct codec_node *node, const struct charge_request *request,
    uint32_t granted, uint64_t time_us);
struct codec_change {
    int op; /* 1 hold, 2 back, 3 put on a step, 4 one on, 5 one back (policy/lua/warmup.lua) */
    const char *instance;
    uint64_t number; /* of the node's run: one that was done is not done again */
    uint64_t at_us;  /* when it happened */
    uint64_t step_day; /* as in decide_line */
    uint32_t to;       /* op 3 */
};
void codec_warmup(struct command *c, const struct codec_node *node, const struct codec_change *change,
    const struct charge_line *line);
/* line: `fixed` is how much is to pass (0: one). day: the line of the limit whose step a warm-up goes by (the
 * line itself, but for an hour cap). The answer has USAGE_FIELDS numbers. */
#define USAGE_FIELDS 13
void codec_usage(struct command *c, const struct codec_node *node, const struct charge_line *line,
    const struct charge_line *day, const char *instance);
void codec_lower(struct command *c, const struct codec_node *node, const struct limit_conf *limit,
    const char *instance, uint64_t percent, uint64_t for_us);

struct codec_lease {
    int op; /* 1 take, 2 renew, 3 give back */
    enum limit_scope scope;
    const char *instance, *limit_name;
    uint64_t number, ttl_us, cap;
};
void codec_lease(struct command *c, const struct codec_node *node, const struct codec_lease *lease);
void codec_pause_put(struct command *c, const struct codec_node *node, const struct pause *pause,
    bool remembered);
/* Ends both, that of all mail and that of external mail. */
void codec_pause_end(struct command *c, const struct codec_node *node, enum limit_scope scope,
    const char *instance);
/* Ends the hold of the instance's warm-ups. */
void codec_growth_resume(struct command *c, const struct codec_node *node, enum limit_scope scope,
    const char *instance);
char codec_extent_letter(enum pause_extent e);
void codec_open(struct command *c, const struct codec_node *node);

struct codec_heartbeat {
    const char *node;
    bool first;
    uint64_t acked, last_charge_ms, longest_ms, settle_ms;
    const char *new_epoch;
    uint64_t pauses_known;
    const char *caps_hash;
    struct span caps; /* store_caps, or empty: as before */
    uint64_t heard_ms; /* charged_ms of the last reply under this epoch; 0: none */
    const char *server;  /* id of the Redis that is asked */
    uint64_t others_ms;  /* so long other nodes may still ask another one; 0: they hear of it at once */
};
void codec_heartbeat(struct command *c, const struct codec_node *node, const struct codec_heartbeat *h);

/* ---- replies ---- */

enum charge_reply_kind {
    REPLY_VERDICT, /* verdict is complete but for seq and sent_mono_ms */
    REPLY_STEP,    /* ask again: `line` is at `step` */
    REPLY_EPOCH,   /* the counters are not those this node knows */
    REPLY_LOST,    /* the node's own charges are missing */
    REPLY_TWIN,    /* another process runs under this node's identity */
    REPLY_INVALID, /* not what a script of ours answers */
};

struct charge_reply {
    enum charge_reply_kind kind;
    struct verdict verdict;
    size_t line;
    uint32_t step;
    struct span new_of; /* GRANTED, of a request with people: a hex digit for each; lies in the reply */
    size_t n_steps; /* GRANTED: the warm-ups of this request, after the charge */
    struct {
        size_t line;
        uint32_t step;
    } steps[CHARGE_LINES_MAX];
    uint64_t longer_us[CHARGE_LINES_MAX]; /* GRANTED: the period of a line that another node's made longer;
                                           * 0: it is counted over its own */
};
/* Of a reply to a request with people: fills in new_of of each. */
void codec_mark_people(const struct charge_reply *reply, struct charge_request *request);
void codec_charge_reply(const struct redisReply *reply, const struct charge_request *request,
    struct charge_reply *out);
/* The answer to a charge of `times` equal ones: how many were granted, each with out->verdict. False: not
 * what the script answers. */
bool codec_charges_reply(const struct redisReply *reply, const struct charge_request *request, unsigned times,
    unsigned *granted_out, struct charge_reply *out);

/* A pause's field in Redis, without its "p:": "SCOPE:INSTANCE", all mail, "SCOPE:INSTANCE:e", external mail,
 * or "SCOPE:INSTANCE:w", the growth of a warm-up. */
bool codec_pause_name_parse(struct span name, enum limit_scope *scope_out, char instance_out[INSTANCE_MAX],
    enum pause_extent *extent_out);
/* "e TILL SINCE CLASS ACTOR REASON" (policy/lua/pause.lua) with its field, or "SCOPE:INSTANCE" of either
 * extent. False: cannot be read. *resumed_out: it is the mark of a resumed one; then only scope, instance,
 * extent and since (when it was resumed) are set. */
bool codec_pause_parse(struct span name, struct span text, struct pause *out, bool *resumed_out);

struct heartbeat_reply {
    enum store_error error; /* STORE_OK, STORE_SCHEMA, STORE_PROTOCOL, or STORE_OTHER: a twin */
    uint64_t time_us;
    char epoch[40];
    int64_t open_at_ms;
    uint64_t seq;
    unsigned nodes;
    bool send_caps, lost;
    char differs[256];             /* the name of a limit on which nodes differ; "": none */
    uint64_t pauses_version;
    uint64_t charged_ms;            /* Redis time of the last charge of any node, as far as they told;
                                     * 0: none */
    size_t n_pause_texts;           /* pairs from element `first_pause` on */
    size_t first_pause;
};
void codec_heartbeat_reply(const struct redisReply *reply, struct heartbeat_reply *out);

/* The reply as an array of n integers; false when it is anything else. */
bool codec_integers(const struct redisReply *reply, int64_t *out, size_t n);
/* From "-NOAUTH ..." to NOAUTH. */
enum store_error codec_error(struct span text);

#endif
