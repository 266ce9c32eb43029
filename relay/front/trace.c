#include "relay/front/trace.h"

#include <string.h>

#include "relay/base/buf.h"
#include "relay/base/clock.h"

/* RFC 3848. */
static const char *
protocol(const struct trace *t)
{
    static const char *const names[2][2] = {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}};

    return t->esmtp ? names[t->tls][t->authenticated] : "SMTP";
}

char *
trace_format(const struct trace *t)
{
    char date[CLOCK_RFC5322_MAX];
    struct buf text;

    clock_format_rfc5322(t->utc_ms, date);
    buf_init(&text);
    buf_reserve(&text, 512);
    buf_printf(&text, "Received: from %s ([%s%s])\r\n\tby %s (sendgov) with %s\r\n\tid %s; %s\r\n", t->helo,
        strchr(t->peer, ':') != NULL ? "IPv6:" : "", t->peer, t->hostname, protocol(t), t->id, date);
    return text.p; /* nothing was consumed: p is the start of the memory */
}
