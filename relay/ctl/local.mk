# sendgovctl: a library of its own, so that tests reach the verbs
noinst_LIBRARIES += libsendgovctl.a
libsendgovctl_a_SOURCES = relay/ctl/ask.h relay/ctl/ask.c relay/ctl/check_config.c relay/ctl/classify.c relay/ctl/ctl.h \
    relay/ctl/grid.h relay/ctl/grid.c relay/ctl/json_get.h relay/ctl/json_get.c relay/ctl/offline.h relay/ctl/offline.c \
    relay/ctl/passwd.c relay/ctl/plan.c relay/ctl/render.c relay/ctl/verb.c
bin_PROGRAMS += sendgovctl
sendgovctl_SOURCES = relay/ctl/sendgovctl.c
sendgovctl_LDADD = libsendgovctl.a libsendgov.a
