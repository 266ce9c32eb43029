/* Profiles: what is known of an upstream service, as data with date and source. Looked for as
 * profiles/NAME.yaml beside the main file, in the folders of SENDGOV_PROFILE_PATH (separated by ':'), and in
 * the installed data. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/base/clock.h"
#include "relay/config/draft.h"
#include "relay/config/units.h"

static const char *
try_folder(struct draft *d, const char *folder, const char *name)
{
    const char *file = draft_printf(d, "%s/%s.yaml", folder, name);

    return access(file, F_OK) == 0 ? file : NULL;
}

static const char *
find_file(struct draft *d, const char *name)
{
    const char *file = try_folder(d, draft_printf(d, "%s/profiles", d->base), name);
    struct span folder, rest = span_str(getenv("SENDGOV_PROFILE_PATH"));

    while (!file && rest.n > 0) {
        rest = span_cut(rest, ':', &folder);
        if (folder.n > 0)
            file = try_folder(d, arena_strdup(&d->scratch, folder), name);
    }
    return file ? file : try_folder(d, SENDGOV_DATADIR "/profiles", name);
}

static int
check_tenant_limit(struct draft *d, const struct profile *p)
{
    const struct tenant_limit *t = &p->tenant_limit;
    const struct node *at = node_get(p->node, "tenant_limit");

    if (at && (t->factor == 0 || t->power_tenths == 0 || t->base == 0 || t->trial == 0))
        return draft_fail(d, at, "tenant_limit needs factor, power_tenths, base and trial");
    return 0;
}

static int
check_dated(struct draft *d, struct profile *p)
{
    const char *why;

    if (units_parse_day(span_str(p->dated), &p->dated_utc_ms, &why))
        return 0;
    return draft_fail(d, node_get(p->node, "dated"), "dated: '%.32s' %s", p->dated, why);
}

static const struct profile *load_profile(
    struct draft *d, const char *name, const struct node *at, unsigned depth);

static int
read_profile(struct draft *d, struct profile *p, const char *name, unsigned depth)
{
    struct node *root;

    if (node_load(&d->scratch, p->file, &root, d->err) < 0 || section_read(d, SECTION_PROFILE, root, p) < 0)
        return -1;
    p->node = root;
    if (strcmp(p->name, name) != 0)
        return draft_fail(
            d, node_get(root, "profile"), "the file is called %s but says profile: %s", name, p->name);
    if (check_dated(d, p) < 0)
        return -1;
    if (p->extends && !(p->base = load_profile(d, p->extends, node_get(root, "extends"), depth + 1)))
        return -1;
    return check_tenant_limit(d, p);
}

static const struct profile *
load_profile(struct draft *d, const char *name, const struct node *at, unsigned depth)
{
    struct profile *p = d->profiles;

    while (p && strcmp(p->name, name) != 0)
        p = p->next;
    if (p)
        return p;
    p = arena_alloc(&d->scratch, sizeof *p);
    p->file = find_file(d, name);
    if (!p->file)
        draft_fail(d, at, "profile '%s' is not found: no %s/profiles/%s.yaml and no %s/profiles/%s.yaml",
            name, d->base, name, SENDGOV_DATADIR, name);
    else if (depth > PROFILE_CHAIN_MAX)
        draft_fail(d, at, "profiles extend one another more than %d deep (a loop?)", PROFILE_CHAIN_MAX);
    if (!p->file || depth > PROFILE_CHAIN_MAX || read_profile(d, p, name, depth) < 0)
        return NULL;
    p->next = d->profiles;
    d->profiles = p;
    return p;
}

static void
append_replies(struct reply_rules *to, struct reply_rule *rules, const struct entries *from)
{
    for (size_t i = 0; i < from->n; i++)
        rules[to->n++] = ((const struct reply_entry *)entries_at(from, SECTION_REPLY, i))->rule;
}

/* The operator's rules first, then the profile's, then those of what it extends. */
static void
join_replies(struct draft *d, struct route_entry *r)
{
    size_t n = r->replies.n;
    struct reply_rule *rules;

    for (const struct profile *p = r->profile; p; p = p->base)
        n += p->replies.n;
    rules = arena_alloc(&d->conf.arena, (n + 1) * sizeof *rules);
    r->conf.replies = (struct reply_rules){rules, 0};
    append_replies(&r->conf.replies, rules, &r->replies);
    for (const struct profile *p = r->profile; p; p = p->base)
        append_replies(&r->conf.replies, rules, &p->replies);
}

static int
check_licences(struct draft *d, const struct route_entry *r)
{
    bool has_formula = r->profile && r->profile->tenant_limit.factor > 0;

    if (r->licences > 0 && !has_formula)
        return draft_fail(d, entry_key(&r->head, "licences"),
            "licences has no meaning here: the route's profile has no limit by licences");
    if (r->licences == 0 && has_formula)
        draft_warn(d, r->head.node,
            "route %s has no licences: the tenant's daily cap of external recipients is not enforced; "
            "say licences: N (or trial)",
            r->head.name);
    return 0;
}

/* ---- age ---- */

int64_t
profile_age_days(const struct profile_conf *p, int64_t now_utc_ms)
{
    return now_utc_ms > p->dated_utc_ms ? (now_utc_ms - p->dated_utc_ms) / 86400000 : 0;
}

bool
profile_is_old(const struct profile_conf *p, int64_t now_utc_ms)
{
    return profile_age_days(p, now_utc_ms) > PROFILE_OLD_DAYS;
}

/* All that were loaded are in use; those that are extended come first. */
static void
publish_profiles(struct draft *d)
{
    struct profile_conf *all;
    int64_t now_ms = clock_utc_ms();
    size_t n = 0;

    for (const struct profile *p = d->profiles; p; p = p->next)
        n++;
    all = arena_alloc(&d->conf.arena, (n + 1) * sizeof *all);
    d->conf.profiles = all;
    d->conf.n_profiles = n;
    for (const struct profile *p = d->profiles; p; p = p->next) {
        all[--n] = (struct profile_conf){
            draft_keep(d, p->name), draft_keep(d, p->file), draft_keep(d, p->dated), p->dated_utc_ms};
        if (profile_is_old(&all[n], now_ms))
            draft_warn(d, node_get(p->node, "dated"),
                "profile %s is dated %s, %lld days ago: what it says of the upstream may have changed; "
                "install a newer one, or compare it with its sources and set dated",
                p->name, p->dated, (long long)profile_age_days(&all[n], now_ms));
    }
}

int
draft_apply_profiles(struct draft *d)
{
    for (size_t i = 0; i < d->routes.n; i++) {
        struct route_entry *r = entries_at(&d->routes, SECTION_ROUTE, i);

        if (r->conf.profile
            && !(r->profile = load_profile(d, r->conf.profile, entry_key(&r->head, "profile"), 0)))
            return -1;
        join_replies(d, r);
        if (check_licences(d, r) < 0)
            return -1;
    }
    publish_profiles(d);
    return 0;
}
