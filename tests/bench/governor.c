/* governor: asks a redis-server for charges and says what they cost.
 *
 *     governor --socket PATH --folder DIR --server-pid PID
 *
 * It does what the lines on its stdin say, and answers each with one line of JSON:
 *
 *     begin NODES                             the group is there, and open
 *     store NODES DEPTH OPS SENDERS           charges through relay/store
 *     raw WHAT NODES DEPTH OPS SENDERS        WHAT: charge, touch, states, incr (governor.h)
 *     age SENDERS IDLE_MS FULL                the counters of these senders, as if idle for so long
 *
 * A run in which anything but a grant is answered ends it with status 1: refusals measure nothing.
 */
#include "tests/bench/governor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/plan.h"
#include "policy/warmup.h"

#define MINUTE_MS UINT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define PLENTY UINT64_C(1000000000000) /* nothing is to be refused */

static const struct schedule_conf schedule = {.curve = CURVE_LINEAR, .first = PLENTY, .increment = 1,
    .ceiling = 2 * PLENTY, .use_percent = 75};

/* Two of each scope: windows, rates and a warm-up, as profiles and samples have them. */
static const struct limit_conf limits[] = {
    {.name = "contoso-warmup", .kind = LIMIT_WARMUP, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL,
        .period_ms = DAY_MS, .schedule = &schedule},
    {.name = "contoso-tenant-hour", .kind = LIMIT_WINDOW, .scope = SCOPE_ROUTE, .unit = UNIT_EXTERNAL,
        .value = PLENTY, .period_ms = HOUR_MS},
    {.name = "contoso-mailbox", .kind = LIMIT_WINDOW, .scope = SCOPE_MAILBOX, .unit = UNIT_RECIPIENTS,
        .value = PLENTY, .period_ms = DAY_MS},
    {.name = "contoso-mailbox-rate", .kind = LIMIT_RATE, .scope = SCOPE_MAILBOX, .unit = UNIT_MESSAGES,
        .value = 1000000000, .burst = 10000000, .period_ms = MINUTE_MS},
    {.name = "client-hour", .kind = LIMIT_WINDOW, .scope = SCOPE_CLIENT, .unit = UNIT_MESSAGES,
        .value = PLENTY, .period_ms = HOUR_MS},
    {.name = "client-rate", .kind = LIMIT_RATE, .scope = SCOPE_CLIENT, .unit = UNIT_EXTERNAL,
        .value = 1000000000, .burst = 10000000, .period_ms = MINUTE_MS},
    {.name = "sender-hour", .kind = LIMIT_WINDOW, .scope = SCOPE_SENDER, .unit = UNIT_MESSAGES,
        .value = PLENTY, .period_ms = HOUR_MS},
    {.name = "sender-day", .kind = LIMIT_WINDOW, .scope = SCOPE_SENDER, .unit = UNIT_EXTERNAL,
        .value = PLENTY, .period_ms = DAY_MS},
};

static const char *const what_names[RAW_COUNT] = {"charge", "touch", "states", "incr", "age"};

_Noreturn void
governor_die(const char *what, const char *detail)
{
    fprintf(stderr, "governor: %s: %s\n", what, detail);
    exit(1);
}

const struct limit_conf *
governor_limits(size_t *n_out)
{
    *n_out = sizeof(limits) / sizeof(*limits);
    return limits;
}

void
governor_request(const struct governor *g, uint64_t sender, struct charge_request *out)
{
    char address[48];
    int n = snprintf(address, sizeof(address), "sender-%06" PRIu64 "@contoso.com", sender);
    struct plan_subject s = {.route = SPAN_LIT("contoso"), .mailbox = SPAN_LIT("relay@contoso.com"),
        .client = SPAN_LIT("erp"), .sender = {address, (size_t)n}, .sender_domain = SPAN_LIT("contoso.com"),
        .external = true, .recipients = 1, .least = 1, .bytes = 20000, .warmup_step = g->step};

    if (plan_charge(limits, sizeof(limits) / sizeof(*limits), &s, out) != 0)
        governor_die("plan_charge", "refused");
}

uint64_t
governor_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t
governor_server_ns(const struct governor *g)
{
    char path[64];
    uint64_t ns = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", g->server_pid);
    f = fopen(path, "r");
    if (!f || fscanf(f, "%" SCNu64, &ns) != 1)
        governor_die(path, "cannot be read");
    fclose(f);
    return ns;
}

static void
print_result(const struct governor_result *r)
{
    printf("{\"ops\": %" PRIu64 ", \"wall_ns\": %" PRIu64 ", \"server_ns\": %" PRIu64 ", \"p50_us\": %" PRIu64
        ", \"p99_us\": %" PRIu64 ", \"request_bytes\": %" PRIu64 ", \"reply_bytes\": %" PRIu64 "}\n",
        r->ops, r->wall_ns, r->server_ns, r->p50_us, r->p99_us, r->request_bytes, r->reply_bytes);
    fflush(stdout);
}

static bool
parse_run(const char *line, struct raw_run *out)
{
    char what[16];

    if (sscanf(line, "raw %15s %u %u %" SCNu64 " %" SCNu64, what, &out->nodes, &out->depth, &out->ops,
            &out->senders) != 5)
        return false;
    for (unsigned i = 0; i < RAW_AGE; i++)
        if (strcmp(what, what_names[i]) == 0) {
            out->what = (enum raw_what)i;
            return true;
        }
    return false;
}

static bool
is_sound(const struct raw_run *run)
{
    return run->nodes >= 1 && run->nodes <= GOVERNOR_NODES_MAX && run->depth >= 1 && run->depth <= 128
        && run->ops >= 1 && run->senders >= 1;
}

static void
obey(const struct governor *g, const char *line)
{
    struct raw_run run = {.nodes = 1, .depth = 64, .ops = 1, .senders = 1};
    struct governor_result result = {0};
    unsigned full = 0;

    if (sscanf(line, "begin %u", &run.nodes) == 1 && is_sound(&run)) {
        governor_store_begin(g, run.nodes);
    } else if (sscanf(line, "store %u %u %" SCNu64 " %" SCNu64, &run.nodes, &run.depth, &run.ops,
                   &run.senders) == 4 && is_sound(&run)) {
        governor_store_run(g, run.nodes, run.depth, run.ops, run.senders, &result);
    } else if (parse_run(line, &run) && is_sound(&run)) {
        governor_raw_run(g, &run, &result);
    } else if (sscanf(line, "age %" SCNu64 " %" SCNu64 " %u", &run.senders, &run.idle_ms, &full) == 3
        && is_sound(&run)) {
        run.what = RAW_AGE;
        run.ops = run.senders;
        run.full = full != 0;
        governor_raw_run(g, &run, &result);
    } else {
        governor_die("not understood", line);
    }
    print_result(&result);
}

int
main(int argc, char **argv)
{
    struct governor g = {.step = 1};
    char line[256];

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--socket") == 0)
            g.socket = argv[i + 1];
        else if (strcmp(argv[i], "--folder") == 0)
            g.folder = argv[i + 1];
        else if (strcmp(argv[i], "--server-pid") == 0)
            g.server_pid = atoi(argv[i + 1]);
    }
    if (!g.socket || !g.folder || g.server_pid <= 0)
        governor_die("usage", "governor --socket PATH --folder DIR --server-pid PID");
    while (fgets(line, sizeof(line), stdin))
        obey(&g, line);
    return 0;
}
