# towards Microsoft 365; the client's half of the wire protocol is listed here too
libsendgov_a_SOURCES += relay/upstream/upstream.h relay/upstream/upstream_conf.h
libsendgov_a_SOURCES += relay/smtp/reply.c relay/smtp/transaction.h relay/smtp/ehlo.h relay/smtp/ehlo.c
libsendgov_a_SOURCES += relay/smtp/client.h relay/smtp/client_tx.h relay/smtp/client.c relay/smtp/client_tx.c
