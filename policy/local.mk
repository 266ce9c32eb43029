# what may leave, and when
libsendgov_a_SOURCES += policy/admit.h policy/charge.h policy/plan.h policy/plan.c policy/refusal.h \
    policy/refusal.c \
    policy/reply_class.h policy/reply_class.c policy/types.h policy/types.c policy/warmup.h policy/warmup.c \
    policy/window.h policy/window.c policy/rate.h policy/rate.c policy/spike.h policy/spike.c \
    policy/counter.h policy/counter.c \
    policy/decide.h policy/decide.c policy/known.h policy/known.c policy/scripts.h \
    policy/simulate.h policy/simulate.c

policy_lua = policy/lua/head.lua policy/lua/common.lua policy/lua/charge_usual.lua policy/lua/charge.lua \
    policy/lua/refund.lua policy/lua/usage.lua policy/lua/warmup.lua policy/lua/lower.lua \
    policy/lua/pause.lua policy/lua/lease.lua policy/lua/open.lua policy/lua/heartbeat.lua
nodist_libsendgov_a_SOURCES += policy/scripts.c
BUILT_SOURCES += policy/scripts.c
CLEANFILES += policy/scripts.c
EXTRA_DIST += policy/scripts.awk $(policy_lua)
policy/scripts.c: policy/scripts.awk $(policy_lua)
	$(AM_V_GEN)$(MKDIR_P) policy && cd $(srcdir) && \
	    $(AWK) -f policy/scripts.awk $(policy_lua) > "$(abs_builddir)/$@.tmp" && \
	    mv "$(abs_builddir)/$@.tmp" "$(abs_builddir)/$@"
