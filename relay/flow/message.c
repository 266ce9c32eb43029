#include "relay/flow/message.h"

#include <stdlib.h>
#include <sys/random.h>

#include "relay/base/clock.h"
#include "relay/base/err.h"
#include "relay/base/xmalloc.h"

/* Crockford's base 32: sorts like the number it spells, and has no letters that look alike. */
static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

static void
spell(char *out, size_t n, uint64_t value)
{
    while (n-- > 0) {
        out[n] = digits[value & 31];
        value >>= 5;
    }
}

void
message_id_make(char out[MESSAGE_ID_MAX])
{
    uint64_t random;

    sg_assert(getrandom(&random, sizeof(random), 0) == sizeof(random));
    spell(out, 10, (uint64_t)clock_utc_ms());
    spell(out + 10, 12, random);
    out[22] = '\0';
}

struct message *
message_new(struct config *config)
{
    struct message *m = xcalloc(1, sizeof(*m));

    message_id_make(m->id);
    m->config = config_ref(config);
    envelope_init(&m->envelope);
    return m;
}

const char *
message_client_class(const struct client_conf *client)
{
    return client->class != NULL ? client->class : "default";
}

const char *
message_class(const struct message *m)
{
    return message_client_class(m->client);
}

void
message_free(struct message **m)
{
    if (*m == NULL)
        return;
    envelope_fini(&(*m)->envelope);
    blob_free(&(*m)->body);
    free((*m)->trace);
    config_unref(&(*m)->config);
    free(*m);
    *m = NULL;
}
