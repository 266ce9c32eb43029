# metrics, control socket, status
libsendgov_a_SOURCES += relay/admin/admin.h 
