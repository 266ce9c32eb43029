#include "relay/store/store_conf.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "relay/base/xmalloc.h"

static const size_t texts[] = {
    offsetof(struct store_conf, target),
    offsetof(struct store_conf, master),
    offsetof(struct store_conf, sentinel_user),
    offsetof(struct store_conf, sentinel_password),
    offsetof(struct store_conf, tls_ca_file),
    offsetof(struct store_conf, tls_cert_file),
    offsetof(struct store_conf, tls_key_file),
    offsetof(struct store_conf, user),
    offsetof(struct store_conf, password),
    offsetof(struct store_conf, group),
};
#define TEXTS (sizeof(texts) / sizeof(*texts))

static const char **
text_of(const struct store_conf *c, size_t i)
{
    return (const char **)(void *)((char *)(uintptr_t)c + texts[i]);
}

void
store_conf_copy(struct store_conf *out, const struct store_conf *conf)
{
    *out = *conf;
    if (!out->group)
        out->group = "default";
    for (size_t i = 0; i < TEXTS; i++) {
        const char **text = text_of(out, i);

        *text = *text ? xstrdup(*text) : NULL;
    }
}

void
store_conf_free(struct store_conf *c)
{
    for (size_t i = 0; i < TEXTS; i++) {
        char *text = (char *)(uintptr_t)*text_of(c, i);

        if (text)
            explicit_bzero(text, strlen(text)); /* some are passwords */
        free(text);
    }
    memset(c, 0, sizeof(*c));
}

static bool
same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool
store_conf_is_same(const struct store_conf *a, const struct store_conf *b)
{
    for (size_t i = 0; i < TEXTS; i++)
        if (!same_text(*text_of(a, i), *text_of(b, i)))
            return false;
    return a->topology == b->topology && a->tls == b->tls && a->database == b->database
        && a->allow_volatile == b->allow_volatile && a->connect_ms == b->connect_ms
        && a->command_ms == b->command_ms && a->settle_ms == b->settle_ms;
}
