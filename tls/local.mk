# OpenSSL, and nowhere else
libsendgov_a_SOURCES += tls/tls.h tls/tls_part.h tls/tls_conn.c tls/tls_crypto.c tls/tls_ctx.c tls/tls_peer.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_tls
TESTS += tests/unit/test_tls
tests_unit_test_tls_SOURCES = tests/unit/test_tls.c tests/lib/certs.h tests/lib/peer.h
tests_unit_test_tls_LDADD = $(unit_ldadd)
endif
