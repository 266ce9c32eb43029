# counters and pauses
libsendgov_a_SOURCES += relay/store/store.h relay/store/store_conf.h relay/store/store_conf.c \
    relay/store/book.h relay/store/book.c relay/store/msgpack.h relay/store/msgpack.c \
    relay/store/store_codec.h relay/store/store_codec.c \
    relay/store/store_codec_reply.c relay/store/store_caps.h relay/store/store_caps.c \
    relay/store/store_keys.h relay/store/store_keys.c \
    relay/store/journal.h relay/store/journal.c relay/store/guests.h relay/store/guests.c \
    relay/store/pause_list.h relay/store/pause_list.c \
    relay/store/redis_info.h relay/store/redis_info.c relay/store/redis_link.h relay/store/redis_link.c \
    relay/store/redis_link_part.h relay/store/redis_link_setup.c relay/store/redis_wire.h \
    relay/store/redis_wire.c relay/store/sentinels.h relay/store/sentinels.c \
    relay/store/redis_address.h relay/store/redis_address.c \
    relay/store/resp_guard.h relay/store/resp_guard.c relay/store/store.c relay/store/store_part.h \
    relay/store/store_memory.c relay/store/store_redis_part.h relay/store/store_redis.c \
    relay/store/store_redis_charge.c relay/store/store_redis_batch.c relay/store/store_redis_clock.c \
    relay/store/store_redis_guest.c relay/store/store_redis_lease.c \
    relay/store/store_redis_pause.c relay/store/store_redis_warmup.c

STORE_RIG = tests/lib/store_rig.h tests/lib/store_rig.c tests/lib/private_redis.h tests/lib/private_redis.c

if HAVE_CMOCKA
STORE_TESTS = tests/unit/test_model tests/unit/test_spike tests/unit/test_pause_list \
    tests/unit/test_resp_guard tests/unit/test_redis_address tests/unit/test_sentinels \
    tests/unit/test_store_charge tests/unit/test_store_clock tests/unit/test_store_failure \
    tests/unit/test_store_fencing tests/unit/test_store_guest tests/unit/test_store_lease \
    tests/unit/test_store_memory_loss tests/unit/test_store_nodes tests/unit/test_store_pause \
    tests/unit/test_store_refusal tests/unit/test_simulate tests/unit/test_store_warmup \
    tests/unit/test_warmup
check_PROGRAMS += $(STORE_TESTS)
TESTS += $(STORE_TESTS)
tests_unit_test_spike_SOURCES = tests/unit/test_spike.c
tests_unit_test_spike_LDADD = $(unit_ldadd)
tests_unit_test_model_SOURCES = tests/unit/test_model.c tests/lib/private_redis.c tests/lib/private_redis.h
tests_unit_test_model_LDADD = $(unit_ldadd)
tests_unit_test_pause_list_SOURCES = tests/unit/test_pause_list.c
tests_unit_test_pause_list_LDADD = $(unit_ldadd)
tests_unit_test_resp_guard_SOURCES = tests/unit/test_resp_guard.c
tests_unit_test_resp_guard_LDADD = $(unit_ldadd)
tests_unit_test_redis_address_SOURCES = tests/unit/test_redis_address.c
tests_unit_test_redis_address_LDADD = $(unit_ldadd)
tests_unit_test_sentinels_SOURCES = tests/unit/test_sentinels.c
tests_unit_test_sentinels_LDADD = $(unit_ldadd)
tests_unit_test_store_charge_SOURCES = tests/unit/test_store_charge.c $(STORE_RIG)
tests_unit_test_store_charge_LDADD = $(unit_ldadd)
tests_unit_test_store_clock_SOURCES = tests/unit/test_store_clock.c $(STORE_RIG)
tests_unit_test_store_clock_LDADD = $(unit_ldadd)
tests_unit_test_store_failure_SOURCES = tests/unit/test_store_failure.c $(STORE_RIG)
tests_unit_test_store_failure_LDADD = $(unit_ldadd)
tests_unit_test_store_fencing_SOURCES = tests/unit/test_store_fencing.c $(STORE_RIG)
tests_unit_test_store_fencing_LDADD = $(unit_ldadd)
tests_unit_test_store_guest_SOURCES = tests/unit/test_store_guest.c $(STORE_RIG)
tests_unit_test_store_guest_LDADD = $(unit_ldadd)
tests_unit_test_store_lease_SOURCES = tests/unit/test_store_lease.c $(STORE_RIG)
tests_unit_test_store_lease_LDADD = $(unit_ldadd)
tests_unit_test_store_memory_loss_SOURCES = tests/unit/test_store_memory_loss.c $(STORE_RIG)
tests_unit_test_store_memory_loss_LDADD = $(unit_ldadd)
tests_unit_test_store_nodes_SOURCES = tests/unit/test_store_nodes.c $(STORE_RIG)
tests_unit_test_store_nodes_LDADD = $(unit_ldadd)
tests_unit_test_store_pause_SOURCES = tests/unit/test_store_pause.c $(STORE_RIG)
tests_unit_test_store_pause_LDADD = $(unit_ldadd)
tests_unit_test_store_refusal_SOURCES = tests/unit/test_store_refusal.c $(STORE_RIG)
tests_unit_test_store_refusal_LDADD = $(unit_ldadd)
tests_unit_test_store_warmup_SOURCES = tests/unit/test_store_warmup.c $(STORE_RIG)
tests_unit_test_store_warmup_LDADD = $(unit_ldadd)
tests_unit_test_simulate_SOURCES = tests/unit/test_simulate.c
tests_unit_test_simulate_LDADD = $(unit_ldadd)
tests_unit_test_warmup_SOURCES = tests/unit/test_warmup.c
tests_unit_test_warmup_LDADD = $(unit_ldadd)
endif
