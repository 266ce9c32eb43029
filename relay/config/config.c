#include "relay/config/config.h"

#include <stdlib.h>
#include <unistd.h>

#include "policy/admit.h"
#include "relay/base/xmalloc.h"
#include "relay/config/type.h"

/* Settings whose default is another setting, or this host. */
static int
settle_defaults(struct draft *d)
{
    struct config *c = &d->conf;
    char host[256] = "localhost";

    gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = '\0';
    if (!c->node)
        c->node = draft_keep(d, host);
    if (!c->front.hostname) {
        if (type_check_hostname(span_str(host)))
            return draft_fail(
                d, d->root, "the host's name '%.100s' cannot be used in SMTP; set hostname", host);
        c->front.hostname = draft_keep(d, host);
    }
    if (!c->spool.folder)
        c->spool.folder = draft_printf(d, "%s/spool", c->state);
    c->spool.size_limit_bytes = c->front.message_bytes_max;
    if (!c->front.temp_folder)
        c->front.temp_folder = c->state;
    c->admin.groups = d->admin_groups.items;
    c->admin.n_groups = d->admin_groups.n;
    return 0;
}

/* What the rows of a section could not write straight into the final structs. */
static void
settle_names(struct draft *d)
{
    for (size_t i = 0; i < d->listeners.n; i++) {
        struct listener_entry *e = entries_at(&d->listeners, SECTION_LISTENER, i);

        e->conf.name = e->head.name;
        e->conf.addresses = e->addresses.items;
        e->conf.n_addresses = e->addresses.n;
        e->conf.clients = e->clients.items;
        e->conf.n_clients = e->clients.n;
    }
    for (size_t i = 0; i < d->routes.n; i++) {
        struct route_entry *e = entries_at(&d->routes, SECTION_ROUTE, i);

        e->conf.name = e->head.name;
        e->conf.domains = e->domains.items;
        e->conf.n_domains = e->domains.n;
        e->conf.internal_domains = e->internal_domains.items;
        e->conf.n_internal_domains = e->internal_domains.n;
        if (!e->conf.helo)
            e->conf.helo = d->conf.front.hostname;
    }
    for (size_t i = 0; i < d->mailboxes.n; i++) {
        struct mailbox_entry *e = entries_at(&d->mailboxes, SECTION_MAILBOX, i);

        e->conf.name = e->head.name;
        if (!e->conf.user)
            e->conf.user = e->head.name;
    }
}

static void
settle_classes(struct draft *d)
{
    for (size_t i = 0; i < d->classes.n; i++) {
        struct class_entry *e = entries_at(&d->classes, SECTION_CLASS, i);

        e->conf.name = e->head.name;
    }
}

static void
settle_clients(struct draft *d)
{
    for (size_t i = 0; i < d->clients.n; i++) {
        struct client_entry *e = entries_at(&d->clients, SECTION_CLIENT, i);

        e->conf.name = e->head.name;
        e->conf.logins = e->logins.items;
        e->conf.n_logins = e->logins.n;
        e->conf.networks = e->networks.items;
        e->conf.n_networks = e->networks.n;
        e->conf.cert_names = e->cert_names.items;
        e->conf.n_cert_names = e->cert_names.n;
        e->conf.cert_pins = e->cert_pins.items;
        e->conf.n_cert_pins = e->cert_pins.n;
        e->conf.senders = e->senders.items;
        e->conf.n_senders = e->senders.n;
    }
}

/* The final arrays: each entry's conf, side by side. */
#define PUBLISH(d, type, section, entries, array, count) \
    do { \
        struct type##_conf *all = arena_alloc(&(d)->conf.arena, ((d)->entries.n + 1) * sizeof *all); \
        for (size_t i_ = 0; i_ < (d)->entries.n; i_++) \
            all[i_] = ((struct type##_entry *)entries_at(&(d)->entries, section, i_))->conf; \
        (d)->conf.array = all; \
        (d)->conf.count = (d)->entries.n; \
    } while (0)

static void
publish(struct draft *d)
{
    struct limit_conf *limits = arena_alloc(&d->conf.arena, (d->limits.n + 1) * sizeof *limits);

    PUBLISH(d, listener, SECTION_LISTENER, listeners, listeners, n_listeners);
    PUBLISH(d, client, SECTION_CLIENT, clients, clients, n_clients);
    PUBLISH(d, class, SECTION_CLASS, classes, classes, n_classes);
    PUBLISH(d, route, SECTION_ROUTE, routes, routes, n_routes);
    PUBLISH(d, mailbox, SECTION_MAILBOX, mailboxes, mailboxes, n_mailboxes);
    d->conf.limits = limits;
    for (size_t i = 0; i < d->limits.n; i++) {
        const struct limit_entry *e = entries_at(&d->limits, SECTION_LIMIT, i);

        if (e->dropped)
            continue;
        limits[d->conf.n_limits] = e->conf;
        limits[d->conf.n_limits++].origin = e->head.origin;
    }
    d->conf.warnings = d->warnings;
    d->conf.n_warnings = d->n_warnings;
}

static int
build(struct draft *d, const char *file)
{
    d->conf.file = draft_keep(d, file);
    d->base = draft_folder(d, file);
    if (draft_load_files(d, file) < 0 || section_read(d, SECTION_TOP, d->root, d) < 0)
        return -1;
    if (settle_defaults(d) < 0)
        return -1;
    settle_names(d);
    if (draft_apply_profiles(d) < 0 || draft_apply_schedules(d) < 0 || draft_check(d) < 0)
        return -1;
    settle_clients(d);
    settle_classes(d);
    draft_dump(d);
    publish(d);
    return 0;
}

struct config *
config_load(const char *file, struct err *err)
{
    struct draft d = {.err = err};
    struct config *c = NULL;

    arena_init(&d.conf.arena);
    arena_init(&d.scratch);
    buf_init(&d.files);
    if (build(&d, file) == 0) {
        c = xmalloc(sizeof *c);
        *c = d.conf;
        c->references = 1;
    } else {
        arena_fini(&d.conf.arena);
    }
    buf_fini(&d.files);
    arena_fini(&d.scratch);
    return c;
}

struct config *
config_ref(struct config *c)
{
    c->references++;
    return c;
}

static void
wipe(const char *secret)
{
    if (secret)
        explicit_bzero((char *)secret, strlen(secret));
}

void
config_unref(struct config **c)
{
    struct config *gone = *c;

    *c = NULL;
    if (!gone || --gone->references > 0)
        return;
    for (size_t i = 0; i < gone->n_mailboxes; i++)
        wipe(gone->mailboxes[i].password);
    wipe(gone->store.password);
    arena_fini(&gone->arena);
    free(gone);
}

static void
owner_ref_config(void *object)
{
    config_ref(object);
}

static void
owner_unref_config(void *object)
{
    struct config *c = object;

    config_unref(&c);
}

struct owner
config_owner(struct config *c)
{
    return (struct owner){c, owner_ref_config, owner_unref_config};
}

const char *
config_position(const struct config *c, const char *path)
{
    for (const struct config_origin *o = c->origins; o; o = o->next)
        if (strcmp(o->path, path) == 0)
            return o->position;
    return NULL;
}

#define FIND(array, count) \
    for (size_t i = 0; name && i < c->count; i++) \
        if (strcmp(c->array[i].name, name) == 0) \
            return &c->array[i]; \
    return NULL

const struct client_conf *
config_client(const struct config *c, const char *name)
{
    FIND(clients, n_clients);
}

const struct route_conf *
config_route(const struct config *c, const char *name)
{
    FIND(routes, n_routes);
}

const struct mailbox_conf *
config_mailbox(const struct config *c, const char *name)
{
    FIND(mailboxes, n_mailboxes);
}

const struct limit_conf *
config_limit(const struct config *c, const char *name)
{
    FIND(limits, n_limits);
}

const struct route_conf *
config_route_for_domain(const struct config *c, struct span domain, bool *ambiguous_out)
{
    const struct route_conf *found = NULL;

    *ambiguous_out = false;
    for (size_t i = 0; i < c->n_routes; i++) {
        if (!admit_domain_in(c->routes[i].domains, c->routes[i].n_domains, domain))
            continue;
        if (found) {
            *ambiguous_out = true;
            return NULL;
        }
        found = &c->routes[i];
    }
    return found;
}
