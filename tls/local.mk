# OpenSSL, and nowhere else
libsendgov_a_SOURCES += tls/tls.h tls/tls_part.h tls/tls_conn.c tls/tls_crypto.c tls/tls_ctx.c tls/tls_peer.c
