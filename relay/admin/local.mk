# metrics, control socket, status
libsendgov_a_SOURCES += relay/admin/advice.h relay/admin/advice.c \
    relay/admin/admin.h relay/admin/admin.c relay/admin/admin_state.h \
    relay/admin/command.h relay/admin/command.c relay/admin/command_act.c relay/admin/command_run.h \
    relay/admin/command_show.c \
    relay/admin/command_explain.c relay/admin/explain_view.h relay/admin/explain_view.c \
    relay/admin/command_queue.h relay/admin/command_queue.c \
    relay/admin/command_queue_act.c relay/admin/command_queue_filter.c relay/admin/command_warmup.c \
    relay/admin/spool_view.h relay/admin/spool_view.c \
    relay/admin/control.h relay/admin/control.c relay/admin/control_socket.h \
    relay/admin/control_socket.c relay/admin/http.h relay/admin/http.c relay/admin/http_conns.h \
    relay/admin/http_conns.c \
    relay/admin/http_host.h relay/admin/http_host.c relay/admin/http_page.h relay/admin/http_page.c \
    relay/admin/json_text.h relay/admin/json_text.c relay/admin/peer.h relay/admin/peer.c \
    relay/admin/scrape.h \
    relay/admin/scrape.c relay/admin/scrape_process.c relay/admin/usage_view.h relay/admin/usage_view.c
libsendgov_a_SOURCES += relay/base/nearest.h relay/base/nearest.c
if HAVE_CMOCKA
ADMIN_TESTS = tests/unit/test_nearest tests/unit/test_admin_command tests/unit/test_admin_control \
    tests/unit/test_admin_http tests/unit/test_admin_queue tests/unit/test_admin_explain
check_PROGRAMS += $(ADMIN_TESTS)
TESTS += $(ADMIN_TESTS)
tests_unit_test_nearest_SOURCES = tests/unit/test_nearest.c
tests_unit_test_nearest_LDADD = $(unit_ldadd)
admin_fakes = tests/unit/admin_fakes.h tests/unit/admin_fakes.c tests/unit/admin_fakes_held.c \
    tests/unit/admin_fakes_explain.c
tests_unit_test_admin_command_SOURCES = tests/unit/test_admin_command.c $(admin_fakes)
tests_unit_test_admin_command_LDADD = $(unit_ldadd)
tests_unit_test_admin_control_SOURCES = tests/unit/test_admin_control.c $(admin_fakes)
tests_unit_test_admin_control_LDADD = $(unit_ldadd)
tests_unit_test_admin_http_SOURCES = tests/unit/test_admin_http.c $(admin_fakes)
tests_unit_test_admin_http_LDADD = $(unit_ldadd)
tests_unit_test_admin_queue_SOURCES = tests/unit/test_admin_queue.c $(admin_fakes)
tests_unit_test_admin_queue_LDADD = $(unit_ldadd)
tests_unit_test_admin_explain_SOURCES = tests/unit/test_admin_explain.c $(admin_fakes)
tests_unit_test_admin_explain_LDADD = $(unit_ldadd)
endif
