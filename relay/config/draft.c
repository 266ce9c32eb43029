#include "relay/config/draft.h"

#include <stdio.h>

#include "relay/base/xmalloc.h"

int
draft_fail(struct draft *d, const struct node *at, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return node_fail(at, d->err, "%s", text);
}

static const char *
position_of(struct draft *d, const struct node *v)
{
    return draft_printf(d, "%s:%u:%u", v->file, v->line, v->column);
}

void
draft_warn(struct draft *d, const struct node *at, const char *fmt, ...)
{
    struct config_warning *more = arena_alloc(&d->conf.arena, (d->n_warnings + 1) * sizeof *more);
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (d->n_warnings > 0)
        memcpy(more, d->warnings, d->n_warnings * sizeof *more);
    more[d->n_warnings].position = position_of(d, at);
    more[d->n_warnings].text = draft_keep(d, text);
    d->warnings = more;
    d->n_warnings++;
}

void
draft_note_origin(struct draft *d, const char *path, const char *key, const struct node *v)
{
    struct config_origin *o = arena_alloc(&d->conf.arena, sizeof *o);

    o->path = draft_printf(d, "%s%s", path, key);
    o->position = position_of(d, v);
    o->next = d->conf.origins;
    d->conf.origins = o;
}

void
draft_note_file(struct draft *d, const char *file, const struct node *v)
{
    struct config_file *f = arena_alloc(&d->conf.arena, sizeof *f);

    f->path = draft_keep(d, file);
    f->position = v ? position_of(d, v) : NULL;
    f->next = d->conf.files;
    d->conf.files = f;
}

const char *
draft_keep(struct draft *d, const char *text)
{
    return arena_strdup(&d->conf.arena, span_str(text));
}

const char *
draft_printf(struct draft *d, const char *fmt, ...)
{
    struct buf text;
    const char *kept;
    va_list ap;
    int n;

    buf_init(&text);
    va_start(ap, fmt);
    n = vsnprintf(buf_reserve(&text, 8192), 8192, fmt, ap);
    va_end(ap);
    buf_commit(&text, n < 8192 ? (size_t)n : 8191);
    kept = arena_strdup(&d->conf.arena, buf_span(&text));
    buf_fini(&text);
    return kept;
}

const struct node *
entry_key(const struct entry_head *e, const char *key)
{
    const struct node *v = node_get(e->node, key);

    return v ? v : e->node;
}
