# the daemon's main
sbin_PROGRAMS += sendgovd
sendgovd_SOURCES = relay/sendgovd.c relay/daemon.h relay/daemon.c relay/process.h relay/process.c
sendgovd_LDADD = libsendgov.a
