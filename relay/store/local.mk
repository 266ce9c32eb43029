# counters and pauses
libsendgov_a_SOURCES += relay/store/store.h relay/store/store_conf.h 
