# YAML to typed structs
libsendgov_a_SOURCES += relay/config/config.h relay/config/units.h 
