# what may leave, and when
libsendgov_a_SOURCES += policy/admit.h policy/charge.h policy/plan.h policy/reply_class.h policy/types.h policy/warmup.h 
