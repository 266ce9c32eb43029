/* What people read agrees with the table of settings: manual, JSON schema, samples, README. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/types.h"
#include "relay/config/reference.h"
#include "relay/config/setting.h"
#include "tests/unit/config_files.h"

static char *
read_source(const char *name)
{
    char path[1024];
    char *text = calloc(1, 262144);
    FILE *in;

    snprintf(path, sizeof path, "%s/%s", TOP_SRCDIR, name);
    in = fopen(path, "r");
    if (!in)
        fail_msg("%s cannot be opened", path);
    assert_non_null(text);
    assert_true(fread(text, 1, 262143, in) < 262143);
    fclose(in);
    return text;
}

static void
schema_is_current(void **state)
{
    char *text = read_source("conf/sendgov.schema.json");
    struct buf out;

    (void)state;
    buf_init(&out);
    reference_schema(&out);
    if (strcmp(text, buf_span(&out).p) != 0)
        fail_msg("run: sendgov-reference schema > conf/sendgov.schema.json");
    buf_fini(&out);
    free(text);
}

static void
manual_is_current(void **state)
{
    static const char begin[] = ".\\\" BEGIN settings\n", end[] = ".\\\" END settings\n";
    char *text = read_source("relay/config/sendgov.yaml.5"), *from, *to;
    struct buf out;

    (void)state;
    buf_init(&out);
    reference_manual(&out);
    from = strstr(text, begin);
    assert_non_null(from);
    from += strlen(begin);
    to = strstr(from, end);
    assert_non_null(to);
    *to = '\0';
    if (strcmp(from, buf_span(&out).p) != 0)
        fail_msg("put the output of sendgov-reference manual between the two marks of "
                 "relay/config/sendgov.yaml.5");
    buf_fini(&out);
    free(text);
}

/* Is the key in the text as "key:", alone or behind "#", "{" or a blank? */
static bool
mentions(const char *text, const char *key)
{
    size_t n = strlen(key);

    for (const char *p = strstr(text, key); p; p = strstr(p + 1, key))
        if (p[n] == ':' && p > text && strchr("\n #{", p[-1]))
            return true;
    return false;
}

static void
sample_mentions_every_setting(void **state)
{
    char *text = read_source("conf/sendgov.yaml");

    (void)state;
    for (size_t i = 0; i < setting_count; i++)
        if (setting_table[i].section < SECTION_PROFILE && !mentions(text, setting_table[i].key))
            fail_msg("conf/sendgov.yaml does not mention %s", setting_table[i].key);
    free(text);
}

static void
put_files(const char *const *names)
{
    for (; *names; names++)
        config_files_write(*names, "x\n", 2, 0600);
}

static struct config *
load_text(const char *name, const char *text)
{
    struct err err = {""};
    struct config *c;

    config_files_write(name, text, strlen(text), 0600);
    c = config_load(name, &err);
    if (!c)
        fail_msg("%s", err.text);
    return c;
}

static void
sample_and_quickstart_load(void **state)
{
    static const char *const files[] = {"users", "relay.pem", "relay.key", "relay.password", "ca.pem", NULL};
    char *text = read_source("conf/sendgov.yaml");
    struct config *c;

    (void)state;
    put_files(files);
    c = load_text("sendgov.yaml", text);
    assert_int_equal(c->n_listeners, 2);
    assert_non_null(config_limit(c, "contoso-warmup"));
    config_unref(&c);
    free(text);
    text = read_source("conf/quickstart.yaml");
    c = load_text("quickstart.yaml", text);
    assert_true(c->store.allow_volatile);
    config_unref(&c);
    free(text);
}

/* The first configuration of the README, as it stands there. */
static void
readme_example_loads(void **state)
{
    static const char *const files[] = {"users", "relay.crt", "relay.key", "relay.secret", NULL};
    char *text = read_source("README.md"), *from = strstr(text, "```yaml\n"), *to;
    struct config *c;

    (void)state;
    assert_non_null(from);
    from += strlen("```yaml\n");
    to = strstr(from, "```");
    assert_non_null(to);
    *to = '\0';
    put_files(files);
    c = load_text("readme.yaml", from);
    config_unref(&c);
    free(text);
}

/* The example of the manual. */
static void
manual_example_loads(void **state)
{
    static const char *const files[] = {"users", "relay.pem", "relay.key", "relay.password", NULL};
    char *text = read_source("relay/config/sendgov.yaml.5"), *from = strstr(text, ".Bd -literal\n"), *to;
    struct config *c;

    (void)state;
    assert_non_null(from);
    from += strlen(".Bd -literal\n");
    to = strstr(from, ".Ed");
    assert_non_null(to);
    *to = '\0';
    put_files(files);
    c = load_text("manual.yaml", from);
    config_unref(&c);
    free(text);
}

/* The words of the table are the names the rest of the program uses. */
static void
words_are_those_of_the_enums(void **state)
{
    unsigned checked = 0;

    (void)state;
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];

        for (int n = 0; s->type == TYPE_WORD && s->words[n]; n++) {
            if (strcmp(s->key, "scope") == 0)
                assert_string_equal(s->words[n], limit_scope_to_str((enum limit_scope)n));
            else if (strcmp(s->key, "unit") == 0)
                assert_string_equal(s->words[n], limit_unit_to_str((enum limit_unit)n));
            else if (strcmp(s->key, "class") == 0)
                assert_string_equal(s->words[n], reply_class_to_str((enum reply_class)n));
            else
                continue;
            checked++;
        }
    }
    assert_true(checked >= SCOPE_COUNT + UNIT_COUNT + CLASS_COUNT);
}

/* Rows of one section have different keys, and every setting says what it is for. */
static void
the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *s = &setting_table[i];

        assert_non_null(s->help);
        assert_true(strlen(s->help) > 5);
        for (size_t j = 0; j < i; j++)
            if (setting_table[j].section == s->section)
                assert_string_not_equal(setting_table[j].key, s->key);
    }
}

static int
setup(void **state)
{
    (void)state;
    config_files_open();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    config_files_close();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schema_is_current),
        cmocka_unit_test(manual_is_current),
        cmocka_unit_test(sample_mentions_every_setting),
        cmocka_unit_test(sample_and_quickstart_load),
        cmocka_unit_test(readme_example_loads),
        cmocka_unit_test(manual_example_loads),
        cmocka_unit_test(words_are_those_of_the_enums),
        cmocka_unit_test(the_table_is_sound),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
