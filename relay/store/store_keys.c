#include "relay/store/store_keys.h"

static bool
is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_'
        || c == '@' || c == '+' || c == '=' || c == '-';
}

void
store_escape(struct buf *out, struct span text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};

        if (is_plain(c))
            buf_add(out, &c, 1);
        else
            buf_add(out, escaped, 3);
    }
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
store_unescape(struct span text, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++, n++) {
        int c = (unsigned char)text.p[i];

        if (n + 1 >= size)
            return false;
        if (c == '%') {
            int high = i + 2 < text.n ? hex_value(text.p[i + 1]) : -1;
            int low = high >= 0 ? hex_value(text.p[i + 2]) : -1;

            if (i + 2 >= text.n || high < 0 || low < 0)
                return false;
            c = high << 4 | low;
            i += 2;
            if (c == 0 || is_plain((unsigned char)c))
                return false;
        } else if (!is_plain((unsigned char)c)) {
            return false;
        }
        out[n] = (char)c;
    }
    out[n] = '\0';
    return true;
}

void
store_key_prefix(struct buf *out, const char *group)
{
    buf_add_str(out, "sendgov:{");
    store_escape(out, span_str(group));
    buf_add_str(out, "}:");
}

void
store_scope_name(struct buf *out, enum limit_scope scope, const char *instance)
{
    char head[2] = {(char)('0' + scope), ':'};

    buf_add(out, head, 2);
    store_escape(out, span_str(instance));
}

bool
store_scope_parse(struct span name, enum limit_scope *scope_out, char instance_out[INSTANCE_MAX])
{
    if (name.n < 3 || name.p[1] != ':' || name.p[0] < '0' || name.p[0] >= '0' + SCOPE_COUNT)
        return false;
    *scope_out = (enum limit_scope)(name.p[0] - '0');
    return store_unescape(span_from(name, 2), instance_out, INSTANCE_MAX);
}

struct span
store_limit_name(const struct limit_conf *l)
{
    return span_head(span_str(l->name), 255);
}

void
store_slot_field(struct buf *out, enum limit_scope scope, const char *instance)
{
    buf_add_str(out, "l:");
    store_scope_name(out, scope, instance);
}
