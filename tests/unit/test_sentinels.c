/* The word of the Sentinels: a master is who more than half of all name, of late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "relay/store/sentinels.h"

#define NOW 100000
#define OLD (NOW - SENTINELS_FRESH_MS)
#define FRESH (OLD + 1)

static void
only_a_fresh_majority_of_all_is_believed(void **state)
{
    static const struct {
        const char *name;
        size_t n;
        struct sentinel_word words[5];
        const char *master; /* NULL: none */
    } table[] = {
        {"none said anything", 3, {{"", 0}}, NULL},
        {"nobody is nobody's master", 3, {{"", NOW}, {"", NOW}, {"", NOW}}, NULL},
        {"one alone", 1, {{"a:1", NOW}}, "a:1"},
        {"one alone, long ago", 1, {{"a:1", OLD}}, NULL},
        {"one of two", 2, {{"a:1", NOW}, {"", 0}}, NULL},
        {"two of three", 3, {{"a:1", FRESH}, {"", 0}, {"a:1", NOW}}, "a:1"},
        {"two of three, one too old", 3, {{"a:1", OLD}, {"", 0}, {"a:1", NOW}}, NULL},
        {"two against one", 3, {{"b:1", NOW}, {"a:1", NOW}, {"a:1", NOW}}, "a:1"},
        {"two against two", 4, {{"b:1", NOW}, {"a:1", NOW}, {"a:1", NOW}, {"b:1", NOW}}, NULL},
        {"another port is another", 3, {{"a:1", NOW}, {"a:2", NOW}, {"a:12", NOW}}, NULL},
        {"two of five", 5, {{"a:1", NOW}, {"a:1", NOW}}, NULL},
        {"three of five", 5, {{"a:1", NOW}, {"", 0}, {"a:1", NOW}, {"b:1", NOW}, {"a:1", NOW}}, "a:1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        int found = sentinels_majority(table[i].words, table[i].n, NOW);
        const char *master = found < 0 ? NULL : table[i].words[found].master;

        if ((master == NULL) != (table[i].master == NULL) || (master && strcmp(master, table[i].master) != 0))
            fail_msg("%s: %s", table[i].name, master ? master : "none");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_a_fresh_majority_of_all_is_believed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
