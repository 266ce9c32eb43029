# YAML to typed structs
libsendgov_a_SOURCES += relay/config/config.h relay/config/units.h \
    relay/config/check.c relay/config/check.h relay/config/check_clients.c relay/config/check_limits.c \
    relay/config/check_listeners.c relay/config/check_routes.c relay/config/config.c relay/config/draft.c \
    relay/config/draft.h relay/config/dump.c relay/config/files.c relay/config/include.c relay/config/limit.c \
    relay/config/network.c relay/config/node.c relay/config/node.h relay/config/profile.c relay/config/schedule.c \
    relay/config/section.c relay/config/setting.h relay/config/setting_table.c relay/config/tenant_limit.c \
    relay/config/type.h relay/config/type_list.c relay/config/type_number.c relay/config/type_redis.c \
    relay/config/type_reply.c relay/config/type_text.c relay/config/units.c
