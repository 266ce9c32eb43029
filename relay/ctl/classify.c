/* classify: what a reply of the upstream means, and what sendgovd does about it. Offline, with the route's
 * own table. */
#include <ctype.h>
#include <string.h>

#include "policy/reply_class.h"
#include "relay/ctl/ctl.h"
#include "relay/ctl/offline.h"
#include "relay/smtp/reply.h"

#define INPUT_MAX (64 * 1024)

static const char *
action_of(enum reply_class class)
{
    switch (class) {
    case CLASS_OK:
        return "none: the upstream took it";
    case CLASS_BLOCK_TENANT:
        return "external mail of the route is paused on all nodes, the warm-up steps back; "
               "clients get 451, internal mail flows";
    case CLASS_BLOCK_CONNECTOR:
        return "the whole route is paused on all nodes; clients get 451";
    case CLASS_BLOCK_SENDER:
        return "that sender is paused on all nodes; clients get 451";
    case CLASS_BLOCK_DOMAIN:
        return "that sender domain is paused on all nodes; clients get 451";
    case CLASS_BUDGET:
        return "the cap in force sinks below what was sent; clients get 451";
    case CLASS_THROTTLE:
        return "connections are halved and creep back, the warm-up does not advance today; "
               "clients get the 4xx";
    case CLASS_AUTH:
        return "that mailbox is paused on all nodes; clients get 451";
    case CLASS_TEMPORARY:
        return "none beyond this message: the client gets a 4xx and tries again";
    case CLASS_MESSAGE:
        return "none beyond this message: the client gets the 5xx";
    case CLASS_COUNT:
        break;
    }
    return "";
}

/* ---- the text ---- */

static enum ctl_exit
read_input(struct ctl *c, struct buf *text)
{
    const char *arg = c->operands[0];
    size_t n;

    if (strcmp(arg, "-") != 0) {
        buf_add_str(text, arg);
        return CTL_OK;
    }
    while (buf_len(text) < INPUT_MAX && (n = fread(buf_reserve(text, 4096), 1, 4096, stdin)) > 0)
        buf_commit(text, n);
    if (ferror(stdin))
        return ctl_fail(c, CTL_REFUSED, "cannot read standard input");
    return CTL_OK;
}

/* A reply code starts a word: "550 5.7.708 ...", "550-5.7.1 ...", "550;5.7.711 ...", somewhere in what was
 * pasted. */
static bool
is_code_at(struct span s, size_t i)
{
    if (s.n - i < 4 || s.p[i] < '2' || s.p[i] > '5' || !isdigit((unsigned char)s.p[i + 1]) ||
        !isdigit((unsigned char)s.p[i + 2]))
        return false;
    if (i > 0 && (isalnum((unsigned char)s.p[i - 1]) || s.p[i - 1] == '.'))
        return false;
    return s.p[i + 3] == ' ' || s.p[i + 3] == '-' || s.p[i + 3] == ';';
}

/* The pasted lines from the first code on, as they came over the wire: CRLF ends. A line that is no reply
 * line (a wrapped log, a mail client's indentation) continues the one before. */
static bool
to_wire(struct span pasted, struct buf *wire)
{
    struct span rest = pasted, line;
    bool begun = false;

    for (size_t i = 0; i < pasted.n && !begun; i++) {
        begun = is_code_at(pasted, i);
        rest = span_from(pasted, i);
    }
    for (bool first = true; begun && rest.n > 0; first = false) {
        rest = span_cut(rest, '\n', &line);
        line = span_trim(line);
        if (line.n == 0)
            continue;
        if (!first)
            buf_add_str(wire, is_code_at(line, 0) ? "\r\n" : " ");
        buf_add_span(wire, line);
    }
    buf_add_str(wire, "\r\n");
    return begun;
}

/* "550-..." without a last line "550 ..." is what people paste when they cut it short. */
static bool
parse(struct span pasted, struct reply *reply)
{
    struct buf wire;
    size_t used;
    const char *why;
    enum reply_status status = REPLY_BAD;

    buf_init(&wire);
    if (to_wire(pasted, &wire)) {
        status = reply_parse(buf_span(&wire), reply, &used, &why);
        if (status == REPLY_MORE) {
            buf_printf(&wire, "%.3s \r\n", buf_span(&wire).p);
            status = reply_parse(buf_span(&wire), reply, &used, &why);
        }
    }
    buf_fini(&wire);
    return status == REPLY_OK;
}

/* ---- the route ---- */

static enum ctl_exit
choose_route(struct ctl *c, const struct config *config, const struct route_conf **route_out)
{
    const char *name = ctl_option(c, "route");

    if (name) {
        *route_out = config_route(config, name);
        if (!*route_out)
            return ctl_fail(c, CTL_USAGE, "%s has no route \"%s\"", ctl_config_file(c), name);
        return CTL_OK;
    }
    if (config->n_routes != 1)
        return ctl_fail(
            c, CTL_USAGE, "%s has %zu routes; name one with --route", ctl_config_file(c), config->n_routes);
    *route_out = &config->routes[0];
    return CTL_OK;
}

/* ---- the answer ---- */

static void
print_rule(struct ctl *c, const struct reply_rule *r)
{
    char from[ENHANCED_MAX] = "any", to[ENHANCED_MAX] = "", code[16] = "any";

    if (r->from.class)
        enhanced_format(r->from, from);
    if (r->to.class && r->to.detail != r->from.detail)
        enhanced_format(r->to, to);
    if (r->code)
        snprintf(code, sizeof(code), r->code < 10 ? "%uxx" : "%u", (unsigned)r->code);
    fprintf(c->out, "rule    reply %s, enhanced code %s%s%s", code, from, to[0] ? " to " : "", to);
    if (r->words)
        fprintf(c->out, ", with the words \"%s\"", r->words);
    fputc('\n', c->out);
}

static json_t *
rule_to_json(const struct reply_rule *r)
{
    char from[ENHANCED_MAX] = "", to[ENHANCED_MAX] = "";

    if (!r)
        return json_null();
    if (r->from.class)
        enhanced_format(r->from, from);
    if (r->to.class)
        enhanced_format(r->to, to);
    return json_pack(
        "{s:i, s:s, s:s, s:s?}", "code", (int)r->code, "from", from, "to", to, "words", r->words);
}

static void
print(struct ctl *c, const struct route_conf *route, const struct reply *reply)
{
    const struct reply_rule *rule;
    enum reply_class class =
        reply_classify(&route->replies, reply->code, reply->enhanced, span_str(reply->text), &rule);
    char enhanced[ENHANCED_MAX] = "";
    json_t *o;

    if (reply->enhanced.class)
        enhanced_format(reply->enhanced, enhanced);
    if (!c->json) {
        fprintf(c->out, "reply   %d %s%s%s\nclass   %s\n", reply->code, enhanced, enhanced[0] ? " " : "",
            reply->text, reply_class_to_str(class));
        if (rule)
            print_rule(c, rule);
        fprintf(c->out, "action  %s\n", action_of(class));
        if (rule && rule->advice)
            fprintf(c->out, "advice  %s\n", rule->advice);
        if (rule && rule->source)
            fprintf(c->out, "source  %s\n", rule->source);
        return;
    }
    o = json_pack("{s:b, s:i, s:s, s:s, s:s, s:s, s:s?, s:s?, s:s, s:s?}", "ok", 1, "code", reply->code,
        "enhanced", enhanced, "text", reply->text, "class", reply_class_to_str(class), "action",
        action_of(class), "advice", rule ? rule->advice : NULL, "source", rule ? rule->source : NULL, "route",
        route->name, "profile", route->profile);
    json_object_set_new(o, "rule", rule_to_json(rule));
    ctl_print_json(c, o);
    json_decref(o);
}

enum ctl_exit
classify_run(struct ctl *c)
{
    struct config *config = NULL;
    const struct route_conf *route = NULL;
    struct reply reply;
    struct buf text;
    enum ctl_exit code;

    buf_init(&text);
    code = read_input(c, &text);
    if (code == CTL_OK && !parse(buf_span(&text), &reply))
        code = ctl_fail(c, CTL_USAGE,
            "there is no SMTP reply in it; paste one such as \"550 5.7.708 Service unavailable\"");
    if (code == CTL_OK)
        code = offline_load(c, &config);
    if (code == CTL_OK && !config)
        code = offline_builtin(c, "classify", "", "", &config);
    if (code == CTL_OK)
        code = choose_route(c, config, &route);
    if (code == CTL_OK)
        print(c, route, &reply);
    config_unref(&config);
    buf_fini(&text);
    return code;
}
