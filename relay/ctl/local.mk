# sendgovctl: a library of its own, so that tests reach the verbs
noinst_LIBRARIES += libsendgovctl.a
libsendgovctl_a_SOURCES = relay/ctl/ask.h relay/ctl/ask.c relay/ctl/chart.h relay/ctl/chart.c \
    relay/ctl/check_config.c relay/ctl/curve.h relay/ctl/curve.c relay/ctl/classify.c \
    relay/ctl/ctl.h \
    relay/ctl/grid.h relay/ctl/grid.c relay/ctl/import.c relay/ctl/limits_status.h \
    relay/ctl/limits_status.c relay/ctl/powershell.h relay/ctl/powershell.c \
    relay/ctl/json_get.h relay/ctl/json_get.c relay/ctl/mail_log.h relay/ctl/mail_log.c \
    relay/ctl/offline.h relay/ctl/offline.c \
    relay/ctl/passwd.c relay/ctl/plan.c relay/ctl/render.c relay/ctl/render_explain.c \
    relay/ctl/render_queue.c relay/ctl/simulate.c relay/ctl/verb.c
bin_PROGRAMS += sendgovctl
sendgovctl_SOURCES = relay/ctl/sendgovctl.c
sendgovctl_LDADD = libsendgovctl.a libsendgov.a
dist_man_MANS += relay/sendgovd.8 relay/ctl/sendgovctl.8
completiondir = $(datadir)/bash-completion/completions
dist_completion_DATA = conf/completion/sendgovctl
EXTRA_DIST += tests/checks/includes.sh tests/checks/manual.sh tests/checks/metrics.sh tests/checks/size.sh \
    tests/checks/words.sh
if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_ctl tests/unit/test_mail_log tests/unit/test_powershell
TESTS += tests/unit/test_ctl tests/unit/test_mail_log tests/unit/test_powershell
tests_unit_test_mail_log_SOURCES = tests/unit/test_mail_log.c tests/lib/guard.h
tests_unit_test_mail_log_LDADD = libsendgovctl.a $(unit_ldadd)
tests_unit_test_powershell_SOURCES = tests/unit/test_powershell.c
tests_unit_test_powershell_LDADD = libsendgovctl.a $(unit_ldadd)
tests_unit_test_ctl_SOURCES = tests/unit/test_ctl.c
tests_unit_test_ctl_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_PROFILES='"$(abs_top_srcdir)/conf/profiles"'
tests_unit_test_ctl_LDADD = libsendgovctl.a $(unit_ldadd)
endif
