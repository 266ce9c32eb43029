/* Charges and what they are compared with, as bytes that were put together beforehand and go to Redis in
 * batches: what is measured is the server. Up to `depth` are under way on each connection; a batch is half of
 * that, so that the server has the next while the answers to one are read. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <hiredis/hiredis.h>

#include "policy/plan.h"
#include "relay/base/buf.h"
#include "relay/base/xmalloc.h"
#include "relay/store/store_codec.h"
#include "relay/store/store_keys.h"
#include "tests/bench/governor.h"
#include "tests/bench/hist.h"

#define RUN "0123456789abcdef"
#define SLACK_US UINT64_C(3600000000) /* of the clock: no node here looks at it */
#define TWO_DAYS_US UINT64_C(172800000000)

/* Same keys, arguments and bytes as a usual charge, and no decision: what an atomic read and write of so much
 * costs anyway. */
static const char touch_lua[] =
    "local call = redis.call\n"
    "call('HMGET', KEYS[1], 'schema', 'epoch', 'open_at', 'mixed', 'p:0', 'p:1', 'p:2', 'p:3', 'p:4',\n"
    "    'p:0e', 'p:1e', 'p:2e', 'p:3e', 'p:4e')\n"
    "call('HMGET', KEYS[2], 'run', 'seq')\n"
    "local values = call('MGET', unpack(KEYS, 4))\n"
    "for i = 1, #values do\n"
    "    call('SET', KEYS[3 + i], values[i], 'PX', 93600000)\n"
    "end\n"
    "call('HSET', KEYS[2], 'touched', 1234567, 'r64', '1234567 1 1700000000000000')\n"
    "return {0, 1700000000000000, 1, 0, 0, 0, 0}\n";

static const char states_lua[] =
    "for i = 4, #KEYS do\n"
    "    redis.call('SET', KEYS[i], redis.call('GET', KEYS[i]), 'PX', 93600000)\n"
    "end\n"
    "return {0}\n";

/* As if the last charge was ARGV[1] us ago; ARGV[2] = 1: and something was counted in each bucket.
 * Only the sender's, in the last key, are aged; the others were charged just now. */
static const char age_lua[] =
    "local t = redis.call('TIME')\n"
    "for k = 4, #KEYS do\n"
    "    local idle = k == #KEYS and tonumber(ARGV[1]) or 0\n"
    "    local value = redis.call('GET', KEYS[k])\n"
    "    local parts, at = {string.sub(value, 1, 1)}, 2\n"
    "    while at <= #value do\n"
    "        local size, name, kind, unit, period, after = struct.unpack('>I2Bc0BBI8', value, at)\n"
    "        local body = after - 10\n"
    "        if kind ~= 1 then\n"
    "            local w = {struct.unpack('>BBI8I8I8I8I8I2I4I8B', value, body)}\n"
    "            local life = math.min(math.floor(period / 40), 1000000)\n"
    "            local width = math.floor((period + life + 1063) / 64)\n"
    "            local now = t[1] * 1000000 + t[2] - idle\n"
    "            local head, total = math.floor(now / width), ARGV[2] == '1' and 65 or 1\n"
    "            local one, none = struct.pack('>I6', 1), struct.pack('>I6', 0)\n"
    "            local counts = {}\n"
    "            for i = 0, 64 do\n"
    "                counts[i + 1] = (total == 65 or i == head % 65) and one or none\n"
    "            end\n"
    "            parts[#parts + 1] = string.sub(value, at, body - 1)\n"
    "            parts[#parts + 1] = struct.pack('>BBI8I8I8I8I8I2I4I8B', kind, unit, period, head,\n"
    "                total, w[6], w[7], w[8], w[9], w[10], w[11]) .. table.concat(counts)\n"
    "        else\n"
    "            parts[#parts + 1] = string.sub(value, at, at + 1 + size)\n"
    "        end\n"
    "        at = at + 2 + size\n"
    "    end\n"
    "    redis.call('SET', KEYS[k], table.concat(parts), 'PX', 93600000)\n"
    "end\n"
    "return {0}\n";

struct raw {
    const struct governor *g;
    const struct raw_run *run;
    redisContext *links[GOVERNOR_NODES_MAX];
    char uuids[GOVERNOR_NODES_MAX][40];
    uint64_t seqs[GOVERNOR_NODES_MAX];
    char sha[SHA1_HEX + 1], epoch[64];
    struct buf prefix, bytes;
    size_t *ends; /* of each command in bytes */
    uint64_t reply_bytes;
};

static redisReply *
ask(redisContext *link, const char *fmt, ...)
{
    redisReply *reply;
    va_list ap;

    va_start(ap, fmt);
    reply = redisvCommand(link, fmt, ap);
    va_end(ap);
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        governor_die(fmt, reply ? reply->str : link->errstr);
    return reply;
}

static void
open_links(struct raw *r)
{
    for (unsigned i = 0; i < r->run->nodes; i++) {
        r->links[i] = redisConnectUnix(r->g->socket);
        if (!r->links[i] || r->links[i]->err)
            governor_die(r->g->socket, r->links[i] ? r->links[i]->errstr : "no memory");
    }
}

static void
read_epoch(struct raw *r)
{
    redisReply *reply = ask(r->links[0], "HGET %sg epoch", buf_span(&r->prefix).p);

    if (reply->type != REDIS_REPLY_STRING)
        governor_die("epoch", "there is no group yet: begin first");
    snprintf(r->epoch, sizeof(r->epoch), "%s", reply->str);
    freeReplyObject(reply);
}

/* Nodes of the group that no store stands behind. */
static void
begin_nodes(struct raw *r)
{
    for (unsigned i = 0; i < r->run->nodes; i++) {
        redisReply *reply;

        snprintf(r->uuids[i], sizeof(r->uuids[i]), "bench%027u", i);
        freeReplyObject(ask(r->links[i], "HSET %sn:%s run " RUN, buf_span(&r->prefix).p, r->uuids[i]));
        freeReplyObject(ask(r->links[i], "EXPIRE %sn:%s 2592000", buf_span(&r->prefix).p, r->uuids[i]));
        reply = ask(r->links[i], "HGET %sn:%s seq", buf_span(&r->prefix).p, r->uuids[i]);
        r->seqs[i] = reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
        freeReplyObject(reply);
    }
}

static void
load_script(struct raw *r)
{
    const char *text = "return 0";
    redisReply *reply;

    switch (r->run->what) {
    case RAW_CHARGE:
        text = script_text(SCRIPT_CHARGE);
        break;
    case RAW_TOUCH:
        text = touch_lua;
        break;
    case RAW_STATES:
        text = states_lua;
        break;
    case RAW_AGE:
        text = age_lua;
        break;
    case RAW_INCR:
    case RAW_COUNT:
        break;
    }
    reply = ask(r->links[0], "SCRIPT LOAD %s", text);
    snprintf(r->sha, sizeof(r->sha), "%s", reply->str);
    freeReplyObject(reply);
}

/* As a node that charged all this before would ask. */
static void
encode_charge(struct raw *r, struct command *c, uint64_t op, uint64_t redis_us)
{
    struct charge_request request;
    struct decide_line facts[CHARGE_LINES_MAX];
    unsigned i = (unsigned)(op / ((r->run->depth + 1) / 2) % r->run->nodes);
    struct codec_node node = {buf_span(&r->prefix).p, r->uuids[i], RUN, r->epoch};
    struct codec_times times = {.earliest_us = redis_us - SLACK_US, .latest_us = redis_us + SLACK_US,
        .not_after_us = redis_us + SLACK_US, .seq = ++r->seqs[i], .times = 1,
        .acked = r->seqs[i] > 64 ? r->seqs[i] - 64 : 0};

    memset(facts, 0, sizeof(facts));
    governor_request(r->g, op % r->run->senders, &request);
    decide_link_days(&request, facts);
    for (size_t k = 0; k < request.n_lines; k++)
        facts[k].charged_us = redis_us - TWO_DAYS_US;
    codec_charge(c, &node, &request, facts, &times);
}

static void
add_command(struct raw *r, struct command *c, uint64_t op, uint64_t redis_us)
{
    const char *argv[COMMAND_ARGC_MAX + 2];
    size_t lens[COMMAND_ARGC_MAX + 2];
    char key[64], idle[24], *bytes;
    long long n;
    int argc;

    if (r->run->what == RAW_INCR) {
        snprintf(key, sizeof(key), "incr:%llu", (unsigned long long)(op % r->run->senders));
        n = redisFormatCommand(&bytes, "INCR %s%s", buf_span(&r->prefix).p, key);
    } else {
        encode_charge(r, c, op, redis_us);
        argc = command_argv(c, r->sha, argv, lens);
        if (r->run->what == RAW_AGE) { /* in place of the question */
            lens[argc - 1] = (size_t)snprintf(idle, sizeof(idle), "%llu",
                (unsigned long long)r->run->idle_ms * 1000);
            argv[argc - 1] = idle;
            lens[argc] = 1;
            argv[argc++] = r->run->full ? "1" : "0";
        }
        n = redisFormatCommandArgv(&bytes, argc, argv, lens);
    }
    if (n < 0)
        governor_die("encode", "no memory");
    buf_add(&r->bytes, bytes, (size_t)n);
    r->ends[op] = buf_len(&r->bytes);
    redisFreeCommand(bytes);
}

static void
encode(struct raw *r)
{
    redisReply *reply = ask(r->links[0], "TIME");
    uint64_t redis_us = strtoull(reply->element[0]->str, NULL, 10) * 1000000;
    struct command c;

    freeReplyObject(reply);
    command_init(&c);
    command_begin(&c, SCRIPT_CHARGE);
    r->ends = xcalloc(r->run->ops, sizeof(*r->ends));
    for (uint64_t op = 0; op < r->run->ops; op++)
        add_command(r, &c, op, redis_us);
    command_fini(&c);
}

static unsigned
link_of(const struct raw *r, uint64_t batch)
{
    return (unsigned)(batch % r->run->nodes);
}

static void
send_batch(struct raw *r, uint64_t batch, uint64_t size)
{
    uint64_t first = batch * size, last = first + size < r->run->ops ? first + size : r->run->ops;
    size_t from = first > 0 ? r->ends[first - 1] : 0, to = r->ends[last - 1];
    redisContext *link = r->links[link_of(r, batch)];

    while (from < to) {
        ssize_t n = send(link->fd, buf_span(&r->bytes).p + from, to - from, MSG_NOSIGNAL);

        if (n <= 0)
            governor_die("send", "connection broken");
        from += (size_t)n;
    }
}

static void
read_reply(struct raw *r, redisContext *link)
{
    redisReply *reply = NULL;
    bool ok;

    if (redisGetReply(link, (void **)&reply) != REDIS_OK)
        governor_die("reply", link->errstr);
    if (r->run->what == RAW_INCR)
        ok = reply->type == REDIS_REPLY_INTEGER;
    else
        ok = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 && reply->element[0]->integer == 0;
    if (!ok)
        governor_die("not granted", reply->type == REDIS_REPLY_ERROR ? reply->str : "another answer");
    freeReplyObject(reply);
}

static void
exchange(struct raw *r, struct hist *hist)
{
    uint64_t size = (r->run->depth + 1) / 2, batches = (r->run->ops + size - 1) / size;
    uint64_t ahead = (r->run->depth > 1 ? 2 : 1) * r->run->nodes, sent = 0, asked_ns = 0;

    for (uint64_t batch = 0; batch < batches; batch++) {
        for (; sent < batches && sent < batch + ahead; sent++) {
            asked_ns = governor_now_ns();
            send_batch(r, sent, size);
        }
        for (uint64_t op = batch * size; op < (batch + 1) * size && op < r->run->ops; op++)
            read_reply(r, r->links[link_of(r, batch)]);
        hist_add(hist, (governor_now_ns() - asked_ns) / 1000);
    }
}

static uint64_t
output_bytes(struct raw *r)
{
    redisReply *reply = ask(r->links[0], "INFO stats");
    const char *at = strstr(reply->str, "total_net_output_bytes:");
    uint64_t bytes = at ? strtoull(strchr(at, ':') + 1, NULL, 10) : 0;

    freeReplyObject(reply);
    return bytes;
}

static void
raw_fini(struct raw *r)
{
    for (unsigned i = 0; i < r->run->nodes; i++)
        redisFree(r->links[i]);
    buf_fini(&r->prefix);
    buf_fini(&r->bytes);
    free(r->ends);
}

void
governor_raw_run(const struct governor *g, const struct raw_run *run, struct governor_result *out)
{
    struct raw r = {.g = g, .run = run};
    struct hist *hist = xcalloc(1, sizeof(*hist));
    uint64_t began_ns, server_ns;

    buf_init(&r.prefix);
    buf_init(&r.bytes);
    store_key_prefix(&r.prefix, GOVERNOR_GROUP);
    buf_add(&r.prefix, "", 1); /* it is printed */
    open_links(&r);
    read_epoch(&r);
    begin_nodes(&r);
    load_script(&r);
    encode(&r);
    r.reply_bytes = output_bytes(&r);
    server_ns = governor_server_ns(g);
    began_ns = governor_now_ns();
    exchange(&r, hist);
    *out = (struct governor_result){.ops = run->ops, .wall_ns = governor_now_ns() - began_ns,
        .server_ns = governor_server_ns(g) - server_ns, .p50_us = hist_quantile(hist, 500),
        .p99_us = hist_quantile(hist, 990), .request_bytes = buf_len(&r.bytes)};
    out->reply_bytes = output_bytes(&r) - r.reply_bytes;
    free(hist);
    raw_fini(&r);
}
