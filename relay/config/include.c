/* The main file and all it includes, merged into one mapping before anything is interpreted. Top-level
 * sections of names, and single sections such as redis, are merged one level deep; a name or key that stands
 * in two files is refused. */
#include <errno.h>
#include <glob.h>
#include <sys/stat.h>

#include "relay/config/draft.h"

#define INCLUDE_DEPTH_MAX 8

struct loaded {
    dev_t dev;
    ino_t ino;
    const char *file;
};

struct loading {
    struct draft *d;
    struct node *merged; /* the result */
    struct loaded files[DRAFT_FILES_MAX];
    size_t n_files;
};

static int load_file(struct loading *l, const char *file, const struct node *from, unsigned depth);

/* Room for n more pairs in a map. */
static void
make_room(struct loading *l, struct node *map, size_t n)
{
    struct arena *arena = &l->d->scratch;
    struct node **keys = arena_alloc(arena, (map->n + n) * sizeof *keys);
    struct node **items = arena_alloc(arena, (map->n + n) * sizeof *items);

    if (map->n > 0) {
        memcpy(keys, map->keys, map->n * sizeof *keys);
        memcpy(items, map->items, map->n * sizeof *items);
    }
    map->keys = keys;
    map->items = items;
}

static void
append_item(struct node *map, struct node *key, struct node *value)
{
    map->keys[map->n] = key;
    map->items[map->n++] = value;
}

static int
refuse_second(struct loading *l, const struct node *key, const struct node *first)
{
    return draft_fail(l->d, key, "'%.100s' is already set at %s:%u:%u; one of the two has to go", key->text,
        first->file, first->line, first->column);
}

static struct node *
find_key(struct node *map, const char *name, struct node **key_out)
{
    for (size_t i = 0; i < map->n; i++) {
        if (strcmp(map->keys[i]->text, name) == 0) {
            *key_out = map->keys[i];
            return map->items[i];
        }
    }
    return NULL;
}

static int
merge_section(struct loading *l, struct node *into, const struct node *from)
{
    struct node *first_key;

    make_room(l, into, from->n + 1);
    for (size_t i = 0; i < from->n; i++) {
        if (find_key(into, from->keys[i]->text, &first_key))
            return refuse_second(l, from->keys[i], first_key);
        append_item(into, from->keys[i], from->items[i]);
    }
    return 0;
}

static int
merge_top(struct loading *l, struct node *key, struct node *value)
{
    struct node *first_key, *first = find_key(l->merged, key->text, &first_key);

    if (!first) {
        make_room(l, l->merged, 1);
        append_item(l->merged, key, value);
        return 0;
    }
    if (first->kind != NODE_MAP || value->kind != NODE_MAP)
        return refuse_second(l, key, first_key);
    return merge_section(l, first, value);
}

/* For glob(3): a folder that is not there holds nothing; one that cannot be read is an error. */
static int
stops_search(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

static int
include_pattern(struct loading *l, const struct node *v, unsigned depth)
{
    const char *pattern;
    glob_t found = {0};
    int result = 0, status;

    if (v->kind != NODE_SCALAR || v->text[0] == '\0')
        return draft_fail(
            l->d, v, "include must be a file or a list of files, not %s", node_kind_to_str(v->kind));
    pattern = draft_path(l->d, v);
    status = glob(pattern, 0, stops_search, &found);
    if (status == GLOB_NOMATCH && !strpbrk(v->text, "*?["))
        result = draft_fail(l->d, v, "%s does not exist", pattern);
    else if (status != 0 && status != GLOB_NOMATCH)
        result = draft_fail(l->d, v, "%s cannot be searched: %s", pattern, strerror(errno));
    for (size_t i = 0; status == 0 && result == 0 && i < found.gl_pathc; i++)
        result = load_file(l, found.gl_pathv[i], v, depth);
    globfree(&found);
    return result;
}

static int
include_all(struct loading *l, const struct node *v, unsigned depth)
{
    if (v->kind != NODE_LIST)
        return include_pattern(l, v, depth);
    for (size_t i = 0; i < v->n; i++)
        if (include_pattern(l, v->items[i], depth) < 0)
            return -1;
    return 0;
}

/* Remembers the file; a file that comes twice is a loop or a mistake. */
static int
note_file(struct loading *l, const char *file, const struct node *from)
{
    struct stat st;

    if (stat(file, &st) < 0) {
        if (from)
            return draft_fail(l->d, from, "%s cannot be read: %s", file, strerror(errno));
        return err_set_errno(l->d->err, "%s:1:1: cannot be opened", file);
    }
    for (size_t i = 0; i < l->n_files; i++)
        if (l->files[i].dev == st.st_dev && l->files[i].ino == st.st_ino)
            return draft_fail(l->d, from, "%s is included a second time (a loop?)", file);
    if (l->n_files == DRAFT_FILES_MAX)
        return draft_fail(l->d, from, "more than %d files", DRAFT_FILES_MAX);
    draft_note_file(l->d, file, from);
    l->files[l->n_files++] = (struct loaded){st.st_dev, st.st_ino, draft_keep(l->d, file)};
    return 0;
}

static int
load_file(struct loading *l, const char *file, const struct node *from, unsigned depth)
{
    struct node *root;
    const struct node *include;

    if (depth > INCLUDE_DEPTH_MAX)
        return draft_fail(l->d, from, "includes are nested more than %d deep", INCLUDE_DEPTH_MAX);
    if (note_file(l, file, from) < 0 || node_load(&l->d->scratch, file, &root, l->d->err) < 0)
        return -1;
    if (!root->keys && !from)
        return draft_fail(l->d, root, "is empty");
    if (!l->merged->file) {
        l->merged->file = root->file;
        l->merged->line = root->line;
        l->merged->column = root->column;
    }
    for (size_t i = 0; i < root->n; i++)
        if (strcmp(root->keys[i]->text, "include") != 0 && merge_top(l, root->keys[i], root->items[i]) < 0)
            return -1;
    include = node_get(root, "include");
    return include ? include_all(l, include, depth + 1) : 0;
}

int
draft_load_files(struct draft *d, const char *file)
{
    struct loading l = {.d = d};
    const char **included;

    l.merged = arena_alloc(&d->scratch, sizeof *l.merged);
    l.merged->kind = NODE_MAP;
    if (load_file(&l, file, NULL, 0) < 0)
        return -1;
    d->root = l.merged;
    included = arena_alloc(&d->conf.arena, DRAFT_FILES_MAX * sizeof *included);
    for (size_t i = 1; i < l.n_files; i++)
        included[i - 1] = l.files[i].file;
    d->included = (struct text_list){included, l.n_files - 1};
    return 0;
}
