#include "relay/flow/hint.h"

#include <stdio.h>
#include <string.h>

void
hints_clear(struct hints *h)
{
    for (size_t i = 0; i < HINT_SLOTS; i++)
        h->slots[i].limit[0] = '\0';
}

static size_t
slot_of(const char *limit, const char *instance)
{
    uint32_t hash = 2166136261u; /* FNV-1a: collisions only cost a question */

    for (const char *p = limit; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    for (const char *p = instance; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    return hash % HINT_SLOTS;
}

static uint64_t
wanted_of(const struct charge_request *request, const struct charge_line *line)
{
    return line->fixed + (uint64_t)line->each * request->least;
}

void
hints_learn(struct hints *h, const struct charge_request *request, const struct verdict *verdict,
    int64_t now_mono_ms)
{
    const struct charge_line *line = NULL;
    struct hint *hint;

    for (size_t i = 0; i < request->n_lines; i++)
        if (request->lines[i].limit == verdict->limit)
            line = &request->lines[i];
    if (line == NULL || line->new_bit != 0 || verdict->retry_after_ms <= 0 ||
        strlen(verdict->limit->name) >= sizeof(hint->limit))
        return;
    hint = &h->slots[slot_of(verdict->limit->name, verdict->instance)];
    snprintf(hint->limit, sizeof(hint->limit), "%s", verdict->limit->name);
    snprintf(hint->instance, sizeof(hint->instance), "%s", verdict->instance);
    hint->scope = verdict->scope;
    hint->wanted = wanted_of(request, line);
    hint->told_mono_ms = now_mono_ms;
    hint->retry_after_ms = verdict->retry_after_ms;
    hint->used = verdict->used;
    hint->cap = verdict->cap;
}

static bool
is_valid(const struct hint *hint, int64_t now_mono_ms)
{
    int64_t age_ms = now_mono_ms - hint->told_mono_ms;

    return age_ms >= 0 && age_ms < HINT_MS && age_ms < hint->retry_after_ms;
}

bool
hints_refuse(const struct hints *h, const struct charge_request *request, int64_t now_mono_ms,
    struct verdict *verdict_out)
{
    for (size_t s = 0; s < request->n_scopes; s++) {
        const struct charge_scope *scope = &request->scopes[s];

        for (size_t i = scope->first_line; i < scope->first_line + scope->n_lines; i++) {
            const struct charge_line *line = &request->lines[i];
            const struct hint *hint = &h->slots[slot_of(line->limit->name, scope->instance)];
            uint64_t wanted = wanted_of(request, line);

            if (line->limit->mode == MODE_SHADOW || strcmp(hint->limit, line->limit->name) != 0 ||
                strcmp(hint->instance, scope->instance) != 0 ||
                hint->scope != scope->scope || !is_valid(hint, now_mono_ms) || wanted < hint->wanted ||
                wanted > hint->cap) /* it never passes: the store has the words for that */
                continue;
            *verdict_out = (struct verdict){
                .kind = VERDICT_OVER,
                .limit = line->limit,
                .scope = scope->scope,
                .used = hint->used,
                .cap = hint->cap,
                .retry_after_ms = hint->retry_after_ms - (now_mono_ms - hint->told_mono_ms),
            };
            memcpy(verdict_out->instance, scope->instance, sizeof(verdict_out->instance));
            return true;
        }
    }
    return false;
}
