#include <stdio.h>

#include "relay/base/nearest.h"
#include "relay/config/type.h"

#define DURATION_SCHEMA "\"type\": \"string\", \"pattern\": \"^[0-9_]+(ms|s|sec|m|min|h|d)$\""

const struct setting_kind setting_kinds[TYPE_COUNT_OF] = {
    [TYPE_NAME] = {"a name", type_parse_name, type_format_text,
        "\"type\": \"string\", \"pattern\": \"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$\""},
    [TYPE_MAILBOX_NAME] = {"a name", type_parse_mailbox_name, type_format_text,
        "\"type\": \"string\", \"pattern\": \"^[A-Za-z0-9][A-Za-z0-9._@+-]*$\""},
    [TYPE_TEXT] = {"a text", type_parse_text, type_format_text, "\"type\": [\"string\", \"number\"]"},
    [TYPE_HOSTNAME] = {"a host name", type_parse_hostname, type_format_text, "\"type\": \"string\""},
    [TYPE_DOMAIN] = {"a domain", type_parse_domain, type_format_text, "\"type\": \"string\""},
    [TYPE_SENDER] = {"a sender pattern", type_parse_sender, type_format_text, "\"type\": \"string\""},
    [TYPE_PIN] = {"64 hex digits", type_parse_pin, type_format_text,
        "\"type\": \"string\", \"pattern\": \"^[0-9A-Fa-f]{64}$\""},
    [TYPE_HOST_PORT] = {"host:port", type_parse_host_port, type_format_text,
        "\"type\": \"string\", \"pattern\": \":[0-9]+$\""},
    [TYPE_LISTEN] = {"address:port", type_parse_listen, type_format_text,
        "\"type\": \"string\", \"pattern\": \":[0-9]+$\""},
    [TYPE_PATH] = {"a path", type_parse_path, type_format_text, "\"type\": \"string\""},
    [TYPE_FILE] = {"a readable file", type_parse_file, type_format_text, "\"type\": \"string\""},
    [TYPE_KEY_FILE] = {"a private file", type_parse_key_file, type_format_text, "\"type\": \"string\""},
    [TYPE_SECRET_FILE] = {"a private file", type_parse_secret, type_format_secret, "\"type\": \"string\""},
    [TYPE_BOOL] = {"true or false", type_parse_bool, type_format_bool, "\"type\": \"boolean\""},
    [TYPE_U32] = {"a number", type_parse_u32, type_format_u32, NULL},
    [TYPE_MS] = {"a duration such as 30s", type_parse_ms, type_format_ms,
        DURATION_SCHEMA},
    [TYPE_MS64] = {"a duration such as 48h", type_parse_ms64, type_format_ms64, DURATION_SCHEMA},
    [TYPE_BYTES] = {"a size such as 35MiB", type_parse_bytes, type_format_bytes,
        "\"type\": [\"string\", \"integer\"]"},
    [TYPE_BYTES32] = {"a size such as 64KiB", type_parse_bytes32, type_format_bytes32,
        "\"type\": [\"string\", \"integer\"]"},
    [TYPE_COUNT] = {"a number, or unlimited", type_parse_count, type_format_count,
        "\"type\": [\"string\", \"integer\"], \"pattern\": \"^([0-9_]+|unlimited)$\""},
    [TYPE_LICENCES] = {"a number, or trial", type_parse_licences, type_format_licences,
        "\"type\": [\"string\", \"integer\"], \"pattern\": \"^([0-9_]+|trial)$\""},
    [TYPE_GROWTH] = {"a factor such as 1.4", type_parse_growth, type_format_growth,
        "\"type\": [\"string\", \"number\"]"},
    [TYPE_WORD] = {"one of a few words", type_parse_word, type_format_word, NULL},
    [TYPE_RATE] = {"a rate such as 30/min", type_parse_rate, type_format_rate,
        "\"type\": \"string\", \"pattern\": \"^([0-9_]+/[0-9_]*(s|sec|m|min|h|d)|unlimited|deny)$\""},
    [TYPE_REDIS_URL] = {"an address of Redis", type_parse_redis_url, type_format_redis_url,
        "\"type\": \"string\", \"pattern\": \"^(rediss?(\\\\+(sentinel|cluster))?://|unix:)\""},
    [TYPE_REPLY_CODE] = {"reply code and enhanced code", type_parse_reply_code, type_format_reply_code,
        "\"type\": \"string\""},
    [TYPE_LIST] = {"one value or a list", type_parse_list, type_format_list, NULL},
    [TYPE_NETWORKS] = {"a network or a list of them", type_parse_networks, type_format_networks, NULL},
    [TYPE_COUNTS] = {"a list of numbers", type_parse_counts, type_format_counts, NULL},
    [TYPE_SECTION] = {"a section", type_parse_section, type_format_nothing, NULL},
    [TYPE_SECTIONS] = {"a section of names", type_parse_sections, type_format_nothing, NULL},
    [TYPE_SECTION_LIST] = {"a list of rules", type_parse_section_list, type_format_nothing, NULL},
};

const char *
setting_expects(const struct setting *s, char out[EXPECTED_MAX])
{
    if (s->type != TYPE_WORD)
        return setting_kinds[s->type].name;
    snprintf(out, EXPECTED_MAX, "one of");
    for (size_t i = 0, used; s->words[i] && (used = strlen(out)) < EXPECTED_MAX - 1; i++)
        snprintf(out + used, EXPECTED_MAX - used, "%s %s", i ? "," : "", s->words[i]);
    return out;
}

void *
entries_at(const struct entries *e, enum section section, size_t i)
{
    return e->items + i * section_table[section].entry_size;
}

void
suggest(const char *unknown, const char *const *known, size_t n_known, char *out, size_t size)
{
    const char *near = nearest_word(span_str(unknown), known, n_known);
    size_t used;

    if (near) {
        snprintf(out, size, "; did you mean '%s'?", near);
        return;
    }
    snprintf(out, size, "; known %s:", n_known == 1 ? "is" : "are");
    for (size_t i = 0; i < n_known && (used = strlen(out)) + 64 < size; i++)
        snprintf(out + used, size - used, "%s %s", i ? "," : "", known[i]);
}

static int
unknown_key(struct draft *d, enum section section, const struct node *key)
{
    const char *known[64];
    char hint[512];
    size_t n = 0;
    const char *name = section_table[section].name;

    for (size_t i = 0; i < setting_count && n < sizeof known / sizeof known[0]; i++)
        if (setting_table[i].section == section)
            known[n++] = setting_table[i].key;
    suggest(key->text, known, n, hint, sizeof hint);
    return draft_fail(d, key, "unknown key '%.100s'%s%s%s", key->text, name[0] ? " in " : "", name, hint);
}

static bool
is_known(enum section section, const char *key)
{
    for (size_t i = 0; i < setting_count; i++)
        if (setting_table[i].section == section && strcmp(setting_table[i].key, key) == 0)
            return true;
    return false;
}

/* A section that is left out still has defaults. */
static int
read_default(struct draft *d, const struct setting *s, const struct node *map, void *field)
{
    static const struct node nothing = {.kind = NODE_MAP, .file = "default"};
    const struct node fallback = {.kind = NODE_SCALAR, .file = "default", .text = s->fallback};
    char expected[EXPECTED_MAX];

    if (s->flags & SETTING_REQUIRED)
        return draft_fail(d, map, "%s is missing; it is %s", s->key, setting_expects(s, expected));
    if (s->type == TYPE_SECTION)
        return section_read(d, s->child, &nothing, field);
    return s->fallback ? setting_kinds[s->type].parse(d, s, &fallback, field) : 0;
}

int
section_read(struct draft *d, enum section section, const struct node *map, void *target)
{
    for (size_t i = 0; i < map->n; i++)
        if (!is_known(section, map->keys[i]->text))
            return unknown_key(d, section, map->keys[i]);
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];
        const struct node *v;
        void *field = (char *)target + s->offset;
        int result;

        if (s->section != section)
            continue;
        v = node_get(map, s->key);
        result = v ? setting_kinds[s->type].parse(d, s, v, field) : read_default(d, s, map, field);
        if (result < 0)
            return -1;
    }
    return 0;
}
