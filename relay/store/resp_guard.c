#include "relay/store/resp_guard.h"

void
resp_guard_init(struct resp_guard *g)
{
    memset(g, 0, sizeof(*g));
}

/* One element is complete; so may be the arrays around it. */
static void
end_element(struct resp_guard *g)
{
    g->state = RESP_TYPE;
    while (g->depth > 0) {
        if (--g->left[g->depth - 1] > 0)
            return;
        g->depth--;
    }
    g->total = 0;
}

static bool
begin_element(struct resp_guard *g, char type, const char **why_out)
{
    g->type = type;
    g->n_number = g->line = 0;
    g->after_cr = false;
    switch (type) {
    case '+':
    case '-':
        g->state = RESP_TEXT;
        return true;
    case ':':
    case '$':
    case '*':
        g->state = RESP_NUMBER;
        return true;
    default:
        *why_out = "not a RESP reply";
        return false;
    }
}

static bool
open_array(struct resp_guard *g, uint64_t n, const char **why_out)
{
    if (n > RESP_ELEMENTS_MAX) {
        *why_out = "array too long";
        return false;
    }
    if (n == 0) {
        end_element(g);
        return true;
    }
    if (g->depth == RESP_DEPTH_MAX) {
        *why_out = "arrays too deep";
        return false;
    }
    g->left[g->depth++] = n;
    g->state = RESP_TYPE;
    return true;
}

/* number holds the line without CRLF. */
static bool
end_number(struct resp_guard *g, const char **why_out)
{
    struct span text = span_of(g->number, g->n_number);
    bool negative = text.n > 0 && text.p[0] == '-';
    uint64_t n;

    if (!span_to_u64(span_from(text, negative), &n)) {
        *why_out = "not a number";
        return false;
    }
    if (g->type == ':' || (negative && n == 1)) {
        end_element(g);
        return true;
    }
    if (negative || n > RESP_REPLY_MAX) {
        *why_out = "length out of bounds";
        return false;
    }
    if (g->type == '*')
        return open_array(g, n, why_out);
    g->bulk_left = n + 2;
    g->state = RESP_BULK;
    return true;
}

static bool
feed_number(struct resp_guard *g, char c, const char **why_out)
{
    if (c == '\n' && g->n_number > 0 && g->number[g->n_number - 1] == '\r') {
        g->n_number--;
        return end_number(g, why_out);
    }
    if (g->n_number == sizeof(g->number)) {
        *why_out = "number too long";
        return false;
    }
    g->number[g->n_number++] = c;
    return true;
}

/* Only CRLF ends the line: a CR or LF alone is part of it, as it is for hiredis. */
static bool
feed_text(struct resp_guard *g, char c, const char **why_out)
{
    if (c == '\n' && g->after_cr) {
        end_element(g);
        return true;
    }
    g->after_cr = c == '\r';
    if (++g->line > RESP_LINE_MAX) {
        *why_out = "line too long";
        return false;
    }
    return true;
}

bool
resp_guard_feed(struct resp_guard *g, struct span in, const char **why_out)
{
    for (size_t i = 0; i < in.n;) {
        size_t step = 1;
        bool ok = true;

        if (g->state == RESP_BULK) {
            step = in.n - i < g->bulk_left ? in.n - i : g->bulk_left;
            g->bulk_left -= step;
        }
        g->total += step;
        if (g->total > RESP_REPLY_MAX) {
            *why_out = "reply too long";
            return false;
        }
        if (g->state == RESP_TYPE)
            ok = begin_element(g, in.p[i], why_out);
        else if (g->state == RESP_NUMBER)
            ok = feed_number(g, in.p[i], why_out);
        else if (g->state == RESP_TEXT)
            ok = feed_text(g, in.p[i], why_out);
        else if (g->bulk_left == 0)
            end_element(g);
        if (!ok)
            return false;
        i += step;
    }
    return true;
}
