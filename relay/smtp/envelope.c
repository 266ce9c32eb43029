#include "relay/smtp/envelope.h"

#include <stdlib.h>

#include "relay/base/xmalloc.h"

void
envelope_init(struct envelope *e)
{
    memset(e, 0, sizeof *e);
}

void
envelope_fini(struct envelope *e)
{
    address_fini(&e->sender);
    for (size_t i = 0; i < e->n_recipients; i++) {
        address_fini(&e->recipients[i].address);
        free(e->recipients[i].orcpt);
    }
    free(e->recipients);
    free(e->envid);
    envelope_init(e);
}

struct recipient *
envelope_add(struct envelope *e, struct address *address, enum recipient_class class)
{
    if (e->n_recipients == e->n_allocated) {
        e->n_allocated = e->n_allocated ? 2 * e->n_allocated : 1;
        e->recipients = xrealloc(e->recipients, e->n_allocated * sizeof *e->recipients);
    }
    e->recipients[e->n_recipients] = (struct recipient){.address = *address, .class = class};
    address->text = NULL;
    address->domain_at = 0;
    return &e->recipients[e->n_recipients++];
}
