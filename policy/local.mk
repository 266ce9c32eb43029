# what may leave, and when
libsendgov_a_SOURCES += policy/admit.h policy/charge.h policy/plan.h policy/plan.c policy/refusal.h policy/refusal.c \
    policy/reply_class.h policy/reply_class.c policy/types.h policy/types.c policy/warmup.h policy/warmup.c
