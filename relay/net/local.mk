# libevent lives here
libsendgov_a_SOURCES += \
    relay/net/addr.c relay/net/addr.h \
    relay/net/dial.h \
    relay/net/listener.c relay/net/listener.h \
    relay/net/loop.c relay/net/loop.h relay/net/loop_part.h relay/net/timer.c \
    relay/net/stream.h \
    relay/net/worker.c relay/net/worker.h
