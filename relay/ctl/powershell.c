#include "relay/ctl/powershell.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "relay/base/buf.h"

/* ---- fields ---- */

static bool
is_identifier(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_')
            return false;
    return s.n > 0 && s.n < POWERSHELL_NAME_MAX && !isdigit((unsigned char)s.p[0]);
}

const char *
powershell_value(const struct powershell_object *o, const char *name)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcasecmp(o->fields[i].name, name) == 0)
            return o->fields[i].value;
    return NULL;
}

static void
copy_plain(struct span s, char *out, size_t size)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
    out[n] = '\0';
}

static int
add_field(struct powershell_object *o, struct span name, struct span value, struct err *err)
{
    struct powershell_field *f = &o->fields[o->n];

    if (!is_identifier(name))
        return err_set(err, "\"%.*s\" is no name of a property", (int)(name.n < 40 ? name.n : 40), name.p);
    if (o->n == POWERSHELL_FIELDS_MAX)
        return err_set(err, "there are more than %d properties", POWERSHELL_FIELDS_MAX);
    copy_plain(name, f->name, sizeof(f->name));
    copy_plain(span_trim(value), f->value, sizeof(f->value));
    if (powershell_value(o, f->name))
        return err_set(err, "%s is there twice: give me one object", f->name);
    o->n++;
    return 0;
}

/* ---- characters ---- */

static bool
has_nul(struct span s)
{
    return span_find_byte(s, '\0') >= 0;
}

/* Only ASCII means anything here; what is not is kept as one byte each. */
static int
from_utf16(struct span in, bool big, struct buf *text, struct err *err)
{
    if (in.n % 2 != 0)
        return err_set(err, "UTF-16 with half a character at its end: the file was cut off");
    for (size_t i = 0; i < in.n; i += 2) {
        unsigned char high = (unsigned char)in.p[big ? i : i + 1], low = (unsigned char)in.p[big ? i + 1 : i];
        char c = high == 0 && low < 0x80 ? (char)low : '?';

        buf_add(text, &c, 1);
    }
    return has_nul(buf_span(text)) ? err_set(err, "this is no text") : 0;
}

static bool
starts(struct span s, const char *bytes, size_t n)
{
    return s.n >= n && memcmp(s.p, bytes, n) == 0;
}

static int
decode(struct span in, struct buf *text, struct err *err)
{
    if (in.n > POWERSHELL_TEXT_MAX)
        return err_set(
            err, "more than %d KiB: that is not the output of one cmdlet", POWERSHELL_TEXT_MAX / 1024);
    if (starts(in, "\xff\xfe", 2) || starts(in, "\xfe\xff", 2))
        return from_utf16(span_from(in, 2), in.p[0] == '\xfe', text, err);
    if (in.n >= 2 && (in.p[0] == '\0') != (in.p[1] == '\0'))
        return from_utf16(in, in.p[0] == '\0', text, err);
    if (has_nul(in))
        return err_set(err, "this is no text");
    buf_add_span(text, starts(in, "\xef\xbb\xbf", 3) ? span_from(in, 3) : in);
    return 0;
}

/* The next line that is not blank, without its end; its number counts from 1. */
static bool
next_line(struct span *rest, struct span *line_out, unsigned *number)
{
    while (rest->n > 0) {
        *rest = span_cut(*rest, '\n', line_out);
        (*number)++;
        if (span_trim(*line_out).n > 0)
            return true;
    }
    return false;
}

/* ---- Format-List: "Threshold          : 10000"; a value may go on in lines that begin with blanks ---- */

static bool
is_prompt(struct span line)
{
    return starts(line, "PS ", 3) && span_find_byte(line, '>') > 0;
}

static int
parse_list(struct span text, struct powershell_object *o, struct err *err)
{
    struct span line, name, value;
    unsigned number = 0;

    while (next_line(&text, &line, &number)) {
        if (is_prompt(line) || ((line.p[0] == ' ' || line.p[0] == '\t') && o->n > 0))
            continue;
        if (span_find_byte(line, ':') < 0)
            return err_set(err, "line %u is no \"Name : Value\"", number);
        value = span_cut(line, ':', &name);
        if (add_field(o, span_trim(name), value, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- Format-Table: names, dashes, values ---- */

static bool
next_word(struct span *rest, struct span *word_out)
{
    size_t n = 0;

    while (rest->n > 0 && isspace((unsigned char)rest->p[0]))
        *rest = span_from(*rest, 1);
    while (n < rest->n && !isspace((unsigned char)rest->p[n]))
        n++;
    *word_out = span_head(*rest, n);
    *rest = span_from(*rest, n);
    return n > 0;
}

static size_t
count_words(struct span line)
{
    struct span word;
    size_t n = 0;

    while (next_word(&line, &word))
        n++;
    return n;
}

static bool
is_dashes(struct span line)
{
    line = span_trim(line);
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] != '-' && line.p[i] != ' ' && line.p[i] != '\t')
            return false;
    return line.n > 0;
}

/* Columns shift with what is in them, so it is words that are counted; a value of several cannot be told. */
static int
parse_table(struct span names, struct span rest, struct powershell_object *o, struct err *err)
{
    struct span values = {"", 0}, more, name, value;
    unsigned number = 0;

    next_line(&rest, &more, &number); /* the dashes */
    if (!next_line(&rest, &values, &number))
        return err_set(err, "the table has no row");
    if (next_line(&rest, &more, &number) && !is_prompt(more))
        return err_set(err, "the table has more than one row: give me one object");
    if (count_words(names) != count_words(values))
        return err_set(err, "the columns of the table cannot be told apart; use | Format-List");
    while (next_word(&names, &name) && next_word(&values, &value))
        if (add_field(o, name, value, err) != 0)
            return -1;
    return 0;
}

/* ---- CSV: a line of names, a line of values, quoted or not ---- */

/* Takes one value into out; false: a quote does not end. */
static bool
next_cell(struct span *rest, char separator, struct buf *out)
{
    bool quoted = rest->n > 0 && rest->p[0] == '"';
    size_t i = quoted;

    buf_clear(out);
    for (; i < rest->n; i++) {
        bool doubled = quoted && rest->p[i] == '"' && i + 1 < rest->n && rest->p[i + 1] == '"';

        if (quoted ? rest->p[i] == '"' && !doubled : rest->p[i] == separator)
            break;
        i += doubled;
        buf_add(out, &rest->p[i], 1);
    }
    if (quoted && i == rest->n)
        return false;
    *rest = span_from(*rest, i + quoted);
    return true;
}

/* Of both lines one cell each, then the separators behind them. */
static int
take_cells(struct span *names, struct span *values, char separator, struct powershell_object *o,
    struct err *err)
{
    struct buf name, value;
    int result = 0;

    buf_init(&name);
    buf_init(&value);
    if (!next_cell(names, separator, &name) || !next_cell(values, separator, &value))
        result = err_set(err, "a quoted value does not end");
    else if ((names->n == 0) != (values->n == 0))
        result = err_set(err, "names and values of the CSV are not as many");
    else if (names->n > 0 && (names->p[0] != separator || values->p[0] != separator))
        result = err_set(err, "the CSV makes no sense behind a quote");
    else
        result = add_field(o, span_trim(buf_span(&name)), buf_span(&value), err);
    *names = span_from(*names, 1);
    *values = span_from(*values, 1);
    buf_fini(&name);
    buf_fini(&value);
    return result;
}

static char
separator_of(struct span names)
{
    return span_find_byte(names, ',') < 0 && span_find_byte(names, ';') >= 0 ? ';' : ',';
}

static int
parse_csv(struct span names, struct span rest, struct powershell_object *o, struct err *err)
{
    char separator = separator_of(names);
    struct span values, more;
    unsigned number = 0;

    if (!next_line(&rest, &values, &number))
        return err_set(err, "the CSV has no row");
    if (next_line(&rest, &more, &number))
        return err_set(err, "the CSV has more than one row: give me one object");
    names = span_trim(names);
    values = span_trim(values);
    do {
        if (take_cells(&names, &values, separator, o, err) != 0)
            return -1;
    } while (names.n > 0);
    return values.n == 0 ? 0 : err_set(err, "names and values of the CSV are not as many");
}

/* ---- ConvertTo-Json ---- */

static void
format_json(const json_t *v, char *out, size_t size)
{
    if (json_is_string(v))
        snprintf(out, size, "%s", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_boolean(v))
        snprintf(out, size, "%s", json_is_true(v) ? "True" : "False");
    else
        snprintf(out, size, "%s", json_is_null(v) ? "" : "(no plain value)");
}

static int
add_members(json_t *object, struct powershell_object *o, struct err *err)
{
    char text[POWERSHELL_VALUE_MAX];
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value) {
        format_json(value, text, sizeof(text));
        if (add_field(o, span_str(name), span_str(text), err) != 0)
            return -1;
    }
    return 0;
}

static int
parse_json(struct span text, struct powershell_object *o, struct err *err)
{
    json_error_t error;
    json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &error), *object = root;
    int result;

    if (!root)
        return err_set(err, "line %d of the JSON: %.200s", error.line, error.text);
    if (json_is_array(root) && json_array_size(root) == 1)
        object = json_array_get(root, 0);
    if (json_is_object(object))
        result = add_members(object, o, err);
    else
        result = err_set(err, "the JSON is not one object");
    json_decref(root);
    return result;
}

/* ---- which of them ---- */

static bool
is_csv(struct span line)
{
    return line.p[0] == '"' || (span_find_byte(line, ':') < 0 && (span_find_byte(line, ',') > 0
        || span_find_byte(line, ';') > 0));
}

static int
parse_text(struct span text, struct powershell_object *o, struct err *err)
{
    struct span rest = text, first, second, behind;
    unsigned number = 0;

    do {
        text = rest;
        if (!next_line(&rest, &first, &number))
            return err_set(err, "there is nothing in it");
    } while (starts(first, "#TYPE ", 6) || is_prompt(first)); /* Windows PowerShell heads a CSV so */
    first = span_trim(first);
    if (first.p[0] == '{' || first.p[0] == '[')
        return parse_json(text, o, err);
    behind = rest;
    if (next_line(&behind, &second, &number) && is_dashes(second))
        return parse_table(first, rest, o, err);
    return is_csv(first) ? parse_csv(first, rest, o, err) : parse_list(text, o, err);
}

int
powershell_parse(struct span in, struct powershell_object *out, struct err *err)
{
    struct buf text;
    int result;

    out->n = 0;
    buf_init(&text);
    result = decode(in, &text, err);
    if (result == 0)
        result = parse_text(buf_span(&text), out, err);
    buf_fini(&text);
    return result;
}
