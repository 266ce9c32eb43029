#include "relay/config/node.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "relay/base/xmalloc.h"

/* What the walk over one parsed document carries along. */
struct walk {
    struct arena *arena;
    yaml_document_t *document;
    const char *file;
    size_t n_nodes; /* made so far: an alias counts as often as it is used */
    struct err *err;
};

static int walk_node(struct walk *w, int index, unsigned depth, struct node **out);

const char *
node_kind_to_str(enum node_kind k)
{
    switch (k) {
    case NODE_SCALAR:
        return "a single value";
    case NODE_LIST:
        return "a list";
    case NODE_MAP:
        return "a mapping";
    }
    return "?";
}

int
node_fail(const struct node *at, struct err *err, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, "%s:%u:%u: %s", at->file, at->line, at->column, text);
}

const struct node *
node_get(const struct node *map, const char *key)
{
    if (!map || map->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->keys[i]->text, key) == 0)
            return map->items[i];
    return NULL;
}

/* Whole file into memory, NUL-terminated; the caller frees. NULL with err. */
static char *
read_fd(int fd, const char *file, size_t *n_out, struct err *err)
{
    char *text = xmalloc(NODE_FILE_MAX + 2);
    size_t n = 0;
    ssize_t got;

    do {
        got = read(fd, text + n, NODE_FILE_MAX + 1 - n);
        if (got > 0)
            n += (size_t)got;
    } while (n <= NODE_FILE_MAX && (got > 0 || (got < 0 && errno == EINTR)));
    if (got < 0)
        err_set_errno(err, "%s:1:1: cannot be read", file);
    else if (n > NODE_FILE_MAX)
        err_set(err, "%s:1:1: is larger than 1 MiB; split it with `include`", file);
    if (got < 0 || n > NODE_FILE_MAX) {
        free(text);
        return NULL;
    }
    text[n] = '\0';
    *n_out = n;
    return text;
}

static char *
read_file(const char *file, size_t *n_out, struct err *err)
{
    struct stat st;
    char *text = NULL;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || fstat(fd, &st) < 0)
        err_set_errno(err, "%s:1:1: cannot be opened", file);
    else if (!S_ISREG(st.st_mode))
        err_set(err, "%s:1:1: is not a plain file", file);
    else
        text = read_fd(fd, file, n_out, err);
    if (fd >= 0)
        close(fd);
    return text;
}

static struct node *
new_node(struct walk *w, const yaml_node_t *y, enum node_kind kind)
{
    struct node *n = arena_alloc(w->arena, sizeof *n);

    n->kind = kind;
    n->file = w->file;
    n->line = (unsigned)y->start_mark.line + 1;
    n->column = (unsigned)y->start_mark.column + 1;
    return n;
}

/* A C0 or C1 control character, DEL, or a Unicode line separator at p. */
static bool
is_control_at(const unsigned char *p, size_t n)
{
    if (p[0] < 0x20 || p[0] == 0x7f)
        return true;
    if (p[0] == 0xc2 && n > 1 && p[1] >= 0x80 && p[1] <= 0x9f)
        return true;
    return p[0] == 0xe2 && n > 2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9);
}

/* Values end up in log lines, SMTP commands and headers: one line of printable text each. */
static int
walk_scalar(struct walk *w, const yaml_node_t *y, struct node **out)
{
    struct node *node = new_node(w, y, NODE_SCALAR);
    struct span text = {(const char *)y->data.scalar.value, y->data.scalar.length};

    *out = node;
    if (y->data.scalar.style == YAML_LITERAL_SCALAR_STYLE || y->data.scalar.style == YAML_FOLDED_SCALAR_STYLE)
        while (text.n > 0 && text.p[text.n - 1] == '\n')
            text.n--;
    if (text.n > NODE_TEXT_MAX)
        return node_fail(node, w->err, "is longer than %d bytes", NODE_TEXT_MAX);
    for (size_t i = 0; i < text.n; i++)
        if (is_control_at((const unsigned char *)text.p + i, text.n - i))
            return node_fail(
                node, w->err, "holds a control character or a line break; values are one line of text");
    node->text = arena_strdup(w->arena, text);
    return 0;
}

static int
walk_list(struct walk *w, const yaml_node_t *y, unsigned depth, struct node **out)
{
    struct node *node = new_node(w, y, NODE_LIST);
    const yaml_node_item_t *first = y->data.sequence.items.start;
    size_t n = (size_t)(y->data.sequence.items.top - first);

    *out = node;
    node->items = arena_alloc(w->arena, (n + 1) * sizeof *node->items);
    for (; node->n < n; node->n++)
        if (walk_node(w, first[node->n], depth + 1, &node->items[node->n]) < 0)
            return -1;
    return 0;
}

static int
by_text_then_place(const void *a, const void *b)
{
    const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
    int order = strcmp(x->text, y->text);

    if (order != 0)
        return order;
    return x->line != y->line ? (x->line < y->line ? -1 : 1)
                              : (x->column < y->column ? -1 : x->column > y->column);
}

static int
refuse_duplicate_keys(struct walk *w, const struct node *map)
{
    struct node **sorted;
    int result = 0;

    if (map->n < 2)
        return 0;
    sorted = xcalloc(map->n, sizeof(struct node *));
    memcpy(sorted, map->keys, map->n * sizeof *sorted);
    qsort(sorted, map->n, sizeof *sorted, by_text_then_place);
    for (size_t i = 1; i < map->n && result == 0; i++)
        if (strcmp(sorted[i - 1]->text, sorted[i]->text) == 0)
            result = node_fail(sorted[i], w->err, "duplicate key '%.100s'; it is already on line %u",
                sorted[i]->text, sorted[i - 1]->line);
    free(sorted);
    return result;
}

static int
walk_map(struct walk *w, const yaml_node_t *y, unsigned depth, struct node **out)
{
    struct node *node = new_node(w, y, NODE_MAP), *key;
    const yaml_node_pair_t *first = y->data.mapping.pairs.start;
    size_t n = (size_t)(y->data.mapping.pairs.top - first);

    *out = node;
    node->keys = arena_alloc(w->arena, (n + 1) * sizeof *node->keys);
    node->items = arena_alloc(w->arena, (n + 1) * sizeof *node->items);
    for (; node->n < n; node->n++) {
        if (walk_node(w, first[node->n].key, depth + 1, &node->keys[node->n]) < 0)
            return -1;
        key = node->keys[node->n];
        if (key->kind != NODE_SCALAR)
            return node_fail(key, w->err, "a key must be a plain word, not %s", node_kind_to_str(key->kind));
        if (strcmp(key->text, "<<") == 0)
            return node_fail(key, w->err,
                "merge keys are not supported; write the settings out, or use an alias for a whole value");
        if (walk_node(w, first[node->n].value, depth + 1, &node->items[node->n]) < 0)
            return -1;
    }
    return refuse_duplicate_keys(w, node);
}

static int
walk_node(struct walk *w, int index, unsigned depth, struct node **out)
{
    const yaml_node_t *y = yaml_document_get_node(w->document, index);
    struct node at = {.file = w->file, .line = 1, .column = 1};

    *out = NULL;
    if (!y)
        return node_fail(&at, w->err, "cannot be read as YAML");
    at.line = (unsigned)y->start_mark.line + 1;
    at.column = (unsigned)y->start_mark.column + 1;
    if (depth > NODE_DEPTH_MAX)
        return node_fail(&at, w->err, "is nested more than %d deep", NODE_DEPTH_MAX);
    if (++w->n_nodes > NODE_COUNT_MAX)
        return node_fail(&at, w->err,
            "too many values: more than %d, aliases counted each time they are used", NODE_COUNT_MAX);
    switch (y->type) {
    case YAML_SCALAR_NODE:
        return walk_scalar(w, y, out);
    case YAML_SEQUENCE_NODE:
        return walk_list(w, y, depth, out);
    case YAML_MAPPING_NODE:
        return walk_map(w, y, depth, out);
    case YAML_NO_NODE:
        break;
    }
    return node_fail(&at, w->err, "cannot be read as YAML");
}

static int
syntax_error(const yaml_parser_t *parser, const char *file, struct span text, struct err *err)
{
    struct node at = {.file = file, .line = (unsigned)parser->problem_mark.line + 1,
        .column = (unsigned)parser->problem_mark.column + 1};
    size_t index = parser->problem_mark.index;
    const char *hint = "";

    if (parser->error == YAML_READER_ERROR) { /* has an offset, no mark */
        for (size_t i = at.line = 1, end = parser->problem_offset; i <= end && i <= text.n; i++)
            at.line += text.p[i - 1] == '\n';
        at.column = 1;
    } else if (index < text.n && text.p[index] == '\t') {
        hint = "; YAML does not allow tabs here, use spaces";
    }
    return node_fail(&at, err, "not valid YAML: %s%s%s%s",
        parser->problem ? parser->problem : "unknown error", parser->context ? ", " : "",
        parser->context ? parser->context : "", hint);
}

static int
load_document(struct walk *w, struct node **root_out)
{
    if (!yaml_document_get_root_node(w->document)) {
        *root_out = arena_alloc(w->arena, sizeof **root_out);
        **root_out = (struct node){.kind = NODE_MAP, .file = w->file, .line = 1, .column = 1};
        return 0;
    }
    if (walk_node(w, 1, 0, root_out) < 0)
        return -1;
    if ((*root_out)->kind != NODE_MAP)
        return node_fail(
            *root_out, w->err, "must be a mapping of settings, not %s", node_kind_to_str((*root_out)->kind));
    return 0;
}

/* What one pass over the events has seen. */
struct tally {
    unsigned depth, n_nodes, n_documents;
};

static const char *
count_event(struct tally *t, yaml_event_type_t type)
{
    static const char too_many[] = "too many values: more than 20000";
    static const char too_deep[] = "is nested more than 16 deep";
    static_assert(NODE_COUNT_MAX == 20000 && NODE_DEPTH_MAX == 16, "the texts above");

    switch (type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++t->n_documents > 1 ? "a second document begins here; one file is one document" : NULL;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++t->depth > NODE_DEPTH_MAX + 1)
            return too_deep;
        return ++t->n_nodes > NODE_COUNT_MAX ? too_many : NULL;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        t->depth--;
        return NULL;
    case YAML_SCALAR_EVENT:
    case YAML_ALIAS_EVENT:
        return ++t->n_nodes > NODE_COUNT_MAX ? too_many : NULL;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
    return NULL;
}

/* A tag that is written. Seen here only: in the document every node has one, and "!!str" is the usual one. */
static const char *
tag_of(const yaml_event_t *event)
{
    const yaml_char_t *tag = NULL;

    if (event->type == YAML_SCALAR_EVENT)
        tag = event->data.scalar.tag;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        tag = event->data.sequence_start.tag;
    else if (event->type == YAML_MAPPING_START_EVENT)
        tag = event->data.mapping_start.tag;
    return (const char *)tag;
}

static void
parser_open(yaml_parser_t *parser, struct span text)
{
    sg_assert(yaml_parser_initialize(parser)); /* fails without memory only */
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, (const unsigned char *)text.p, text.n);
}

/* A pass without building anything: libyaml's loader takes time with the square of the depth, and memory many
 * times the file, before it could be told to stop. */
static int
check_bounds(const char *file, struct span text, struct err *err)
{
    struct node at = {.file = file};
    struct tally tally = {0};
    yaml_parser_t parser;
    yaml_event_t event;
    const char *why = NULL;
    bool more = true;
    int result = 0;

    parser_open(&parser, text);
    while (result == 0 && more) {
        if (!yaml_parser_parse(&parser, &event)) {
            result = syntax_error(&parser, file, text, err);
            break;
        }
        why = count_event(&tally, event.type);
        at.line = (unsigned)event.start_mark.line + 1;
        at.column = (unsigned)event.start_mark.column + 1;
        more = event.type != YAML_STREAM_END_EVENT;
        if (why)
            result = node_fail(&at, err, "%s", why);
        else if (tag_of(&event))
            result = node_fail(&at, err, "tag %.100s: tags are not used here; leave it out", tag_of(&event));
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return result;
}

static int
parse_text(struct arena *arena, const char *file, struct span text, struct node **root_out, struct err *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    struct walk w = {.arena = arena, .document = &document, .file = file, .err = err};
    int result;

    if (check_bounds(file, text, err) < 0)
        return -1;
    parser_open(&parser, text);
    if (!yaml_parser_load(&parser, &document)) {
        result = syntax_error(&parser, file, text, err);
    } else {
        result = load_document(&w, root_out);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return result;
}

int
node_load(struct arena *arena, const char *file, struct node **root_out, struct err *err)
{
    static const char bom[] = "\xef\xbb\xbf";
    size_t n;
    char *text = read_file(file, &n, err);
    struct span content;
    int result;

    if (!text)
        return -1;
    content = span_of(text, n);
    if (n >= 3 && memcmp(text, bom, 3) == 0)
        content = span_from(content, 3);
    result = parse_text(arena, arena_strdup(arena, span_str(file)), content, root_out, err);
    free(text);
    return result;
}
