#include "relay/config/check.h"
#include "relay/config/type.h"

/* The node of one setting of the section, or of the other where the first has its default. */
static const struct node *
written(const struct draft *d, const char *key, const char *other)
{
    const struct node *spool = node_get(d->root, "spool"), *v = node_get(spool, key);

    return v ? v : node_get(spool, other);
}

/* As it could stand in the file. */
static const char *
duration(struct draft *d, int64_t ms)
{
    const char *text;
    struct buf b;

    buf_init(&b);
    type_format_ms64(NULL, &ms, &b);
    text = draft_keep(d, buf_span(&b).p);
    buf_fini(&b);
    return text;
}

static int
check_retries(struct draft *d)
{
    const struct spool_conf *s = &d->conf.spool;

    if (s->retry_first_ms <= s->retry_max_ms)
        return 0;
    return draft_fail(d, written(d, "retry_first", "retry_max"),
        "retry_first (%s) is above retry_max (%s), the longest wait; change one of them",
        duration(d, s->retry_first_ms), duration(d, s->retry_max_ms));
}

static int
check_warning(struct draft *d)
{
    const struct spool_conf *s = &d->conf.spool;

    if (s->warn_ms < s->lifetime_ms)
        return 0;
    return draft_fail(d, written(d, "warn_after", "lifetime"),
        "warn_after (%s) is not below lifetime (%s): the message would have failed before its sender was "
        "warned; change one of them",
        duration(d, s->warn_ms), duration(d, s->lifetime_ms));
}

/* Both folders have a lock of their own, which a second owner would find taken. */
static int
check_folder(struct draft *d)
{
    const struct config *c = &d->conf;

    if (strcmp(c->spool.folder, c->state) != 0)
        return 0;
    return draft_fail(d, node_get(node_get(d->root, "spool"), "folder"),
        "folder '%.500s' is the state folder; give the spool one of its own, such as spool in it",
        c->spool.folder);
}

int
check_spool(struct draft *d)
{
    return check_retries(d) < 0 || check_warning(d) < 0 || check_folder(d) < 0 ? -1 : 0;
}
