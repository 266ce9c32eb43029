# the daemon's main
sbin_PROGRAMS += sendgovd
sendgovd_SOURCES = relay/sendgovd.c
sendgovd_LDADD = libsendgov.a
