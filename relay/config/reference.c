#include "relay/config/reference.h"

#include <ctype.h>
#include <stdio.h>

#include "relay/base/text.h"
#include "relay/config/type.h"

static void
json_string(struct buf *out, const char *text)
{
    buf_add_str(out, "\"");
    text_add_json(out, span_str(text));
    buf_add_str(out, "\"");
}

static void
indent(struct buf *out, unsigned depth)
{
    buf_printf(out, "\n%*s", (int)depth * 2, "");
}

/* What configure chose is left out: the reference is the same for every build. */
static const char *
shown_fallback(const struct setting *s)
{
    return s->fallback && strcmp(s->fallback, SENDGOV_STATEDIR) == 0 ? "/var/lib/sendgov" : s->fallback;
}

/* The constraints of one value, without braces. */
static void
schema_value(struct buf *out, const struct setting *s, enum setting_type type)
{
    const struct setting_kind *kind = &setting_kinds[type];

    switch (type) {
    case TYPE_U32:
        buf_printf(out, "\"type\": [\"integer\", \"string\"], \"minimum\": %llu, \"maximum\": %llu",
            (unsigned long long)s->least, (unsigned long long)s->most);
        break;
    case TYPE_WORD:
        buf_add_str(out, "\"enum\": [");
        for (size_t i = 0; s->words[i]; i++) {
            buf_add_str(out, i ? ", " : "");
            json_string(out, s->words[i]);
            if (strcmp(s->words[i], "off") == 0)
                buf_add_str(out, ", false"); /* what YAML 1.1 editors make of it */
        }
        buf_add_str(out, "]");
        break;
    case TYPE_LIST:
        buf_add_str(out, "\"anyOf\": [{");
        schema_value(out, s, s->item);
        buf_add_str(out, "}, {\"type\": \"array\", \"minItems\": 1, \"items\": {");
        schema_value(out, s, s->item);
        buf_add_str(out, "}}]");
        break;
    case TYPE_NETWORKS:
        buf_add_str(out,
            "\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"array\", \"minItems\": 1, \"items\": "
            "{\"type\": \"string\"}}]");
        break;
    case TYPE_COUNTS:
        buf_add_str(
            out, "\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": [\"integer\", \"string\"]}");
        break;
    case TYPE_SECTION:
        buf_printf(out, "\"$ref\": \"#/$defs/%s\"", section_table[s->child].name);
        break;
    case TYPE_SECTIONS:
        buf_printf(out, "\"type\": \"object\", \"additionalProperties\": {\"$ref\": \"#/$defs/%s\"}",
            section_table[s->child].name);
        break;
    case TYPE_SECTION_LIST:
        buf_printf(
            out, "\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/%s\"}", section_table[s->child].name);
        break;
    default: /* every other kind brings its own text */
        sg_assert(kind->schema);
        buf_add_str(out, kind->schema);
    }
}

static void
schema_required(struct buf *out, enum section section, unsigned depth)
{
    const char *comma = "";

    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];

        /* listeners and routes may stand in an included file */
        if (s->section != section || section == SECTION_TOP || !(s->flags & SETTING_REQUIRED))
            continue;
        if (!comma[0]) {
            indent(out, depth);
            buf_add_str(out, "\"required\": [");
        }
        buf_add_str(out, comma);
        json_string(out, s->key);
        comma = ", ";
    }
    buf_add_str(out, comma[0] ? "]," : "");
}

static void
schema_section(struct buf *out, enum section section, unsigned depth)
{
    const char *comma = "";

    indent(out, depth);
    buf_add_str(out, "\"type\": \"object\",");
    indent(out, depth);
    buf_add_str(out, "\"description\": ");
    json_string(out, section_table[section].help);
    buf_add_str(out, ",");
    indent(out, depth);
    buf_add_str(out, "\"additionalProperties\": false,");
    schema_required(out, section, depth);
    indent(out, depth);
    buf_add_str(out, "\"properties\": {");
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];

        if (s->section != section)
            continue;
        buf_add_str(out, comma);
        indent(out, depth + 1);
        json_string(out, s->key);
        buf_add_str(out, ": {");
        schema_value(out, s, s->type);
        buf_add_str(out, ", \"description\": ");
        json_string(out, s->type >= TYPE_SECTION ? section_table[s->child].help : s->help);
        if (s->fallback) {
            buf_add_str(out, ", \"default\": ");
            json_string(out, shown_fallback(s));
        }
        buf_add_str(out, "}");
        comma = ",";
    }
    indent(out, depth);
    buf_add_str(out, "}");
}

void
reference_schema(struct buf *out)
{
    buf_add_str(out,
        "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": "
        "\"sendgov.yaml\",");
    schema_section(out, SECTION_TOP, 1);
    buf_add_str(out, ",\n  \"$defs\": {");
    for (enum section section = SECTION_LOG; section < SECTION_PROFILE; section++) {
        buf_add_str(out, section == SECTION_LOG ? "" : ",");
        indent(out, 2);
        json_string(out, section_table[section].name);
        buf_add_str(out, ": {");
        schema_section(out, section, 3);
        indent(out, 2);
        buf_add_str(out, "}");
    }
    buf_add_str(out, "\n  }\n}\n");
}

#define MANUAL_COLUMNS 78

/* mdoc: "\" starts an escape, a sentence ends its line, and no line begins with a dot or a quote. */
static void
manual_text(struct buf *out, const char *text)
{
    size_t column = 0;

    for (; *text; text++, column++) {
        const char *next = text[0] == ' ' ? strchr(text + 1, ' ') : NULL;
        size_t word = next ? (size_t)(next - text) : strlen(text);

        if (text[0] == ' ' && text[1] != '.' && text[1] != '\''
            && (text[-1] == '.' || column + word > MANUAL_COLUMNS)) {
            buf_add_str(out, "\n");
            column = 0;
        } else if (*text == '\\') {
            buf_add_str(out, "\\e");
        } else {
            buf_add(out, text, 1);
        }
    }
    buf_add_str(out, "\n");
}

/* "A duration; default 30s; changed by a restart only." */
static void
manual_facts(struct buf *out, const struct setting *s)
{
    const struct setting_kind *kind = &setting_kinds[s->type == TYPE_LIST ? s->item : s->type];
    struct span name = span_str(kind->name);
    ptrdiff_t example = span_find_nocase(name, SPAN_LIT(" such as"));
    struct buf facts;

    buf_init(&facts);
    if (example > 0)
        name = span_head(name, (size_t)example);
    if (s->type == TYPE_WORD) {
        buf_add_str(&facts, "One of");
        for (size_t i = 0; s->words[i]; i++)
            buf_printf(&facts, "%s %s", i ? "," : "", s->words[i]);
    } else {
        buf_printf(&facts, "%c%.*s%s", toupper((unsigned char)name.p[0]), (int)name.n - 1, name.p + 1,
            s->type == TYPE_LIST ? ", or a list" : "");
    }
    if (s->flags & SETTING_REQUIRED)
        buf_add_str(&facts, "; required");
    if (s->fallback)
        buf_printf(&facts, "; default %s", shown_fallback(s));
    if (s->flags & SETTING_RESTART)
        buf_add_str(&facts, "; changed by a restart only");
    buf_add_str(&facts, ".");
    manual_text(out, buf_span(&facts).p);
    buf_fini(&facts);
}

static void
manual_section(struct buf *out, enum section section)
{
    const struct section_info *info = &section_table[section];

    buf_printf(out, ".Ss %s%s\n", info->name[0] ? info->name : "Top level",
        info->entry_size > 0 && section != SECTION_REPLY ? ".NAME" : "");
    manual_text(out, info->help);
    buf_add_str(out, ".Bl -tag -width Ds\n");
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];

        if (s->section != section || (s->type >= TYPE_SECTION && section == SECTION_TOP))
            continue;
        buf_printf(out, ".It Ic %s\n", s->key);
        manual_text(out, s->help);
        if (s->type < TYPE_SECTION)
            manual_facts(out, s);
    }
    buf_add_str(out, ".El\n");
}

void
reference_manual(struct buf *out)
{
    for (enum section section = SECTION_TOP; section < SECTION_PROFILE; section++)
        manual_section(out, section);
}
