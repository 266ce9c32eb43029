# the path of one message
libsendgov_a_SOURCES += relay/flow/flow.h 
