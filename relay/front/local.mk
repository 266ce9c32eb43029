# towards apps and devices
libsendgov_a_SOURCES += relay/front/front.h relay/front/front_conf.h 
