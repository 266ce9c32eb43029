# the wire protocol, pure
libsendgov_a_SOURCES += relay/smtp/address.h relay/smtp/envelope.h relay/smtp/reply.h 
