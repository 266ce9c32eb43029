# towards Microsoft 365
libsendgov_a_SOURCES += relay/upstream/upstream.h relay/upstream/upstream_conf.h 
