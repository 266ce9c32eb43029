#include "relay/spool/spool_message.h"

#include <assert.h>
#include <stdlib.h>

#include "relay/base/xmalloc.h"

static const char *const state_names[] = {"waiting", "in_flight", "uncertain", "parked"};
static_assert(sizeof(state_names) / sizeof(state_names[0]) == SPOOL_RECIPIENT_STATE_COUNT, "a name for each");

const char *
spool_recipient_state_to_str(enum spool_recipient_state s)
{
    return state_names[s];
}

struct spool_message *
spool_message_new(void)
{
    struct spool_message *m = xcalloc(1, sizeof(*m));

    envelope_init(&m->envelope);
    return m;
}

void
spool_message_free(struct spool_message **m, bool owns_body)
{
    if (*m == NULL)
        return;
    envelope_fini(&(*m)->envelope);
    free((*m)->states);
    free((*m)->client);
    free((*m)->route);
    free((*m)->mailbox);
    free((*m)->class);
    free((*m)->trace);
    if (owns_body)
        blob_free(&(*m)->body);
    free(*m);
    *m = NULL;
}

void
spool_recipient_doubt(struct spool_recipient *r, uint32_t most, int64_t due_utc_ms)
{
    r->attempts++;
    r->uncertain++;
    r->state = r->uncertain < most ? SPOOL_UNCERTAIN : SPOOL_PARKED;
    r->due_utc_ms = due_utc_ms;
}

int64_t
spool_message_due(const struct spool_message *m)
{
    int64_t due = INT64_MAX;

    for (size_t i = 0; i < m->envelope.n_recipients && !m->held; i++) {
        const struct spool_recipient *r = &m->states[i];

        if (r->state != SPOOL_PARKED && r->due_utc_ms < due)
            due = r->due_utc_ms;
    }
    return due;
}

bool
spool_message_is_in_flight(const struct spool_message *m)
{
    for (size_t i = 0; i < m->envelope.n_recipients; i++)
        if (m->states[i].state == SPOOL_IN_FLIGHT)
            return true;
    return false;
}
