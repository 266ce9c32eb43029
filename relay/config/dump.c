/* The effective configuration, one line a setting with its origin, and the hash over the values alone. */
#include <stdio.h>

#include "relay/base/siphash.h"
#include "relay/config/draft.h"

struct dumping {
    struct draft *draft;
    struct buf text;   /* what people see */
    struct buf values; /* what the hash covers: no origins, so that an added comment changes nothing */
};

static void dump_section(struct dumping *p, enum section section, const char *path, const struct node *map,
    const struct entry_head *entry, const void *target);

/* Where a value is from: its own line, or who made the entry, or the default. */
static void
dump_origin(struct buf *out, const struct node *v, const struct entry_head *entry, bool set)
{
    bool made = entry && entry->origin;

    if (v)
        buf_printf(out, "  # %s:%u", v->file, v->line);
    else if (made && set)
        buf_printf(out, "  # %s:%u", entry->node->file, entry->node->line);
    else
        buf_add_str(out, "  # default");
    if (made && (v || set))
        buf_printf(out, ", %s", entry->origin);
    buf_add_str(out, "\n");
}

static void
dump_value(struct dumping *p, const struct setting *s, const char *path, const struct node *map,
    const struct entry_head *entry, const void *field)
{
    const struct node *v = node_get(map, s->key);
    struct buf value;

    if (v)
        draft_note_origin(p->draft, path, s->key, v);
    buf_init(&value);
    setting_kinds[s->type].format(s, field, &value);
    buf_printf(&p->values, "%s%s=%.*s\n", path, s->key, SPAN_FMT(buf_span(&value)));
    buf_printf(&p->text, "%s%s: %.*s", path, s->key, SPAN_FMT(buf_span(&value)));
    if (buf_len(&value) == 0)
        buf_add_str(&p->text, "(not set)");
    dump_origin(&p->text, v, entry, buf_len(&value) > 0);
    buf_fini(&value);
}

static void
dump_entries(struct dumping *p, const struct setting *s, const char *path, const struct entries *entries)
{
    char inner[512];

    for (size_t i = 0; i < entries->n; i++) {
        const struct entry_head *e = entries_at(entries, s->child, i);

        if (s->type == TYPE_SECTIONS)
            snprintf(inner, sizeof inner, "%s%s.%s.", path, s->key, e->name);
        else
            snprintf(inner, sizeof inner, "%s%s[%zu].", path, s->key, i);
        dump_section(p, s->child, inner, e->node, e, e);
    }
}

/* target is laid out as the section's rows say. */
static void
dump_section(struct dumping *p, enum section section, const char *path, const struct node *map,
    const struct entry_head *entry, const void *target)
{
    char inner[512];

    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];
        const void *field = (const char *)target + s->offset;

        if (s->section != section)
            continue;
        if (s->type == TYPE_SECTION) {
            snprintf(inner, sizeof inner, "%s%s.", path, s->key);
            dump_section(p, s->child, inner, node_get(map, s->key), NULL, field);
        } else if (s->type == TYPE_SECTIONS || s->type == TYPE_SECTION_LIST) {
            dump_entries(p, s, path, field);
        } else {
            dump_value(p, s, path, map, entry, field);
        }
    }
}

/* The reply table in force counts for the hash; people see it by `sendgovctl classify`, here its size. */
static void
dump_profiles(struct dumping *p, const struct draft *d)
{
    for (size_t i = 0; i < d->routes.n; i++) {
        const struct route_entry *r = entries_at(&d->routes, SECTION_ROUTE, i);

        if (!r->profile)
            continue;
        buf_printf(&p->text, "routes.%s: %zu reply rules in force, profile dated %s  # %s\n", r->head.name,
            r->conf.replies.n, r->profile->dated, r->profile->file);
        for (size_t j = 0; j < r->conf.replies.n; j++) {
            const struct reply_rule *rule = &r->conf.replies.rules[j];

            buf_printf(&p->values, "%u %u.%u.%u-%u %d %d %s %s\n", rule->code, rule->from.class,
                rule->from.subject, rule->from.detail, rule->to.detail, rule->any_class, (int)rule->class,
                rule->words ? rule->words : "", rule->advice ? rule->advice : "");
        }
    }
}

/* Warm-ups can name built-in schedules, which no section shows. */
static void
dump_schedules(struct dumping *p, const struct draft *d)
{
    for (size_t i = 0; i < d->conf.n_schedules; i++) {
        const struct schedule_conf *s = &d->conf.schedules[i];

        if (i < d->schedules.n)
            continue;
        buf_printf(&p->text, "schedules.%s: first %llu, growth %u.%03u, use %u, decay_days %llu, "
            "restart_days %llu, restart_percent %u  # built in\n", s->name, (unsigned long long)s->first,
            s->growth_milli / 1000, s->growth_milli % 1000, s->use_percent,
            (unsigned long long)s->decay_days, (unsigned long long)s->restart_days, s->restart_percent);
    }
}

void
draft_dump(struct draft *d)
{
    static const struct siphash_key key = {0x73656e64676f7631, 0x636f6e6669677572};
    struct dumping p = {.draft = d};

    buf_init(&p.text);
    buf_init(&p.values);
    dump_section(&p, SECTION_TOP, "", d->root, NULL, d);
    dump_profiles(&p, d);
    dump_schedules(&p, d);
    buf_add_span(&p.values, buf_span(&d->files));
    snprintf(d->conf.hash, sizeof d->conf.hash, "%016llx",
        (unsigned long long)siphash13(key, buf_span(&p.values)));
    d->conf.dump = arena_strdup(&d->conf.arena, buf_span(&p.text));
    buf_fini(&p.text);
    buf_fini(&p.values);
}
