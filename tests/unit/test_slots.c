/* Unit tests of slots and list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/base/list.h"
#include "relay/base/slots.h"

static void
test_stale_handles(void **state)
{
    struct slots s;
    struct handle a, b;
    int x, y;

    (void)state;
    slots_init(&s);
    assert_null(slots_get(&s, HANDLE_NONE));
    assert_null(slots_get(&s, (struct handle){0, 1}));
    a = slots_add(&s, &x);
    assert_false(handle_is_none(a));
    assert_ptr_equal(slots_get(&s, a), &x);
    slots_del(&s, a);
    assert_null(slots_get(&s, a));
    b = slots_add(&s, &y);
    assert_int_equal(b.index, a.index); /* the place is reused ... */
    assert_null(slots_get(&s, a));      /* ... and the old handle does not find the new object */
    slots_del(&s, a);
    assert_ptr_equal(slots_get(&s, b), &y);
    assert_int_equal(s.live, 1);
    slots_fini(&s);
}

static int visited;

static void
visit(void *object)
{
    assert_non_null(object);
    visited++;
}

static void
test_many(void **state)
{
    enum { N = 1000 };
    static int objects[N];
    struct handle h[N];
    struct slots s;

    (void)state;
    slots_init(&s);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            h[i] = slots_add(&s, &objects[i]);
        for (int i = 0; i < N; i += 2)
            slots_del(&s, h[i]);
        assert_int_equal(s.live, N / 2);
        visited = 0;
        slots_each(&s, visit);
        assert_int_equal(visited, N / 2);
        for (int i = 0; i < N; i++)
            assert_ptr_equal(slots_get(&s, h[i]), i % 2 ? &objects[i] : NULL);
        for (int i = 0; i < N; i++)
            slots_del(&s, h[i]);
        assert_int_equal(s.live, 0);
    }
    assert_true(s.size < 2 * N + 16);
    slots_fini(&s);
}

static void
test_list(void **state)
{
    struct item {
        int n;
        struct list link;
    } items[3] = {{.n = 0}, {.n = 1}, {.n = 2}};
    struct list head;
    int seen = 0;

    (void)state;
    list_init(&head);
    assert_null(list_pop(&head));
    for (int i = 0; i < 3; i++)
        list_add_tail(&head, &items[i].link);
    LIST_EACH_SAFE (it, &head) {
        assert_int_equal(LIST_ITEM(it, struct item, link)->n, seen++);
        list_del(it);
    }
    assert_int_equal(seen, 3);
    assert_true(list_is_empty(&head));
    list_del(&items[0].link); /* harmless */
    list_add_head(&head, &items[0].link);
    list_add_head(&head, &items[1].link);
    assert_ptr_equal(list_pop(&head), &items[1].link);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stale_handles),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
