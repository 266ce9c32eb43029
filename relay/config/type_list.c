#include "relay/config/type.h"

#define LIST_MAX 2000

/* A list, or one value that stands for a list of one. */
static size_t
item_count(const struct node *v)
{
    return v->kind == NODE_SCALAR ? 1 : v->n;
}

static const struct node *
item_at(const struct node *v, size_t i)
{
    return v->kind == NODE_SCALAR ? v : v->items[i];
}

static int
check_list(struct draft *d, const struct setting *s, const struct node *v)
{
    if (v->kind == NODE_MAP)
        return draft_fail(d, v, "%s must be %s, not a mapping", s->key, setting_kinds[s->type].name);
    if (v->kind == NODE_LIST && v->n == 0)
        return draft_fail(d, v, "%s is an empty list; %s", s->key,
            s->flags & SETTING_REQUIRED ? "name at least one" : "leave it out instead");
    if (item_count(v) > LIST_MAX)
        return draft_fail(d, v, "%s has more than %d items", s->key, LIST_MAX);
    return 0;
}

static int
refuse_repeated(struct draft *d, const struct setting *s, const struct node *v, const char **items, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(items[j], items[i]) == 0)
            return draft_fail(d, item_at(v, i), "%s '%.100s' is listed twice", s->key, items[i]);
    return 0;
}

TYPE_PARSER(type_parse_list)
{
    struct text_list *list = field;
    struct setting item = *s;
    size_t n = item_count(v);
    const char **items;

    if (check_list(d, s, v) < 0)
        return -1;
    item.type = s->item;
    items = arena_alloc(&d->conf.arena, n * sizeof *items);
    for (size_t i = 0; i < n; i++)
        if (setting_kinds[s->item].parse(d, &item, item_at(v, i), &items[i]) < 0
            || refuse_repeated(d, s, v, items, i) < 0)
            return -1;
    *list = (struct text_list){items, n};
    return 0;
}

TYPE_PARSER(type_parse_networks)
{
    struct network_list *list = field;
    size_t n = item_count(v);
    struct network *items;
    struct span in;
    const char *why;

    if (check_list(d, s, v) < 0)
        return -1;
    items = arena_alloc(&d->conf.arena, n * sizeof *items);
    for (size_t i = 0; i < n; i++) {
        struct setting one = {.key = s->key, .type = TYPE_TEXT};

        if (type_scalar(d, &one, item_at(v, i), &in) < 0)
            return -1;
        if (!network_parse(in, &items[i], &why))
            return type_bad(d, s, item_at(v, i), why);
        for (size_t j = 0; j < i; j++)
            if (memcmp(&items[j], &items[i], sizeof *items) == 0)
                return type_bad(d, s, item_at(v, i), "is listed twice");
    }
    *list = (struct network_list){items, n};
    return 0;
}

TYPE_PARSER(type_parse_counts)
{
    struct count_list *list = field;
    struct setting one = {.key = s->key, .type = TYPE_U32, .least = s->least, .most = s->most};
    size_t n = item_count(v);
    uint64_t *items;

    if (check_list(d, s, v) < 0)
        return -1;
    items = arena_alloc(&d->conf.arena, n * sizeof *items);
    for (size_t i = 0; i < n; i++) {
        if (type_number_in_bounds(d, &one, item_at(v, i), &items[i]) < 0)
            return -1;
        if (i > 0 && items[i] < items[i - 1])
            return type_bad(
                d, s, item_at(v, i), "is lower than the step before; the caps of a warm-up only rise");
    }
    *list = (struct count_list){items, n};
    return 0;
}

TYPE_PARSER(type_parse_section)
{
    if (v->kind != NODE_MAP)
        return draft_fail(
            d, v, "%s must be a mapping of settings, not %s", s->key, node_kind_to_str(v->kind));
    return section_read(d, s->child, v, field);
}

TYPE_PARSER(type_parse_sections)
{
    const struct section_info *info = &section_table[s->child];
    struct setting name = {.key = "the name", .type = info->name_type};
    struct entries *entries = field;

    if (v->kind != NODE_MAP)
        return draft_fail(d, v, "%s must be a mapping of names, not %s", s->key,
            v->kind == NODE_SCALAR && v->text[0] == '\0' ? "nothing" : node_kind_to_str(v->kind));
    entries->items = arena_alloc(&d->scratch, (v->n + 1) * info->entry_size);
    for (size_t i = 0; i < v->n; i++) {
        struct entry_head *entry = entries_at(entries, s->child, i);

        if (v->items[i]->kind != NODE_MAP)
            return draft_fail(d, v->items[i], "%s.%.100s must be a mapping of settings, not %s", s->key,
                v->keys[i]->text, node_kind_to_str(v->items[i]->kind));
        if (setting_kinds[name.type].parse(d, &name, v->keys[i], &entry->name) < 0
            || section_read(d, s->child, v->items[i], entry) < 0)
            return -1;
        entry->node = v->items[i];
        entries->n++;
    }
    return 0;
}

TYPE_PARSER(type_parse_section_list)
{
    const struct section_info *info = &section_table[s->child];
    struct entries *entries = field;

    if (v->kind != NODE_LIST)
        return draft_fail(d, v, "%s must be a list of rules, not %s", s->key, node_kind_to_str(v->kind));
    entries->items = arena_alloc(&d->scratch, (v->n + 1) * info->entry_size);
    for (size_t i = 0; i < v->n; i++) {
        struct entry_head *entry = entries_at(entries, s->child, i);

        if (v->items[i]->kind != NODE_MAP)
            return draft_fail(d, v->items[i], "%s must be a list of mappings, not of %s", s->key,
                v->items[i]->kind == NODE_LIST ? "lists" : "single values");
        if (section_read(d, s->child, v->items[i], entry) < 0)
            return -1;
        entry->node = v->items[i];
        entries->n++;
    }
    return 0;
}

TYPE_FORMATTER(type_format_list)
{
    const struct text_list *list = field;

    (void)s;
    for (size_t i = 0; i < list->n; i++)
        buf_printf(out, "%s%s", i ? ", " : "", list->items[i]);
}

TYPE_FORMATTER(type_format_networks)
{
    const struct network_list *list = field;

    (void)s;
    for (size_t i = 0; i < list->n; i++) {
        buf_add_str(out, i ? ", " : "");
        network_format(&list->items[i], out);
    }
}

TYPE_FORMATTER(type_format_counts)
{
    const struct count_list *list = field;

    (void)s;
    for (size_t i = 0; i < list->n; i++)
        buf_printf(out, "%s%llu", i ? ", " : "", (unsigned long long)list->items[i]);
}

TYPE_FORMATTER(type_format_nothing)
{
    (void)s;
    (void)field;
    (void)out;
}
