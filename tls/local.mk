# OpenSSL, and nowhere else
libsendgov_a_SOURCES += tls/tls.h 
