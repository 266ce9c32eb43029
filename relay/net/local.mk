# libevent lives here
libsendgov_a_SOURCES += relay/net/dial.h relay/net/listener.h relay/net/loop.h relay/net/stream.h relay/net/worker.h 
