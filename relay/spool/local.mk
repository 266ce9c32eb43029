# durable hold
libsendgov_a_SOURCES += relay/spool/spool_conf.h relay/spool/spool_message.h relay/spool/spool_message.c
# the database and its thread
libsendgov_a_SOURCES += relay/spool/spool.h relay/spool/spool_part.h relay/spool/spool.c \
    relay/spool/spool_answer.c relay/spool/spool_ask.h relay/spool/spool_ask.c relay/spool/spool_thread.h \
    relay/spool/spool_thread_part.h relay/spool/spool_thread.c relay/spool/spool_carry.c \
    relay/spool/spool_recover.c relay/spool/spool_rows.h relay/spool/spool_rows.c relay/spool/spool_schema.h \
    relay/spool/spool_schema.c relay/spool/spool_db.h relay/spool/spool_db.c relay/spool/spool_place.h \
    relay/spool/spool_place.c relay/spool/spool_salvage.h relay/spool/spool_salvage.c \
    relay/spool/spool_sound.h relay/spool/spool_sound.c relay/spool/spool_wal.h relay/spool/spool_wal.c \
    relay/spool/spool_overlay.h relay/spool/spool_overlay.c

SPOOL_RIG = tests/lib/spool_rig.h tests/lib/spool_rig.c

if HAVE_CMOCKA
SPOOL_DB_TESTS = tests/unit/test_spool tests/unit/test_spool_damage tests/unit/test_spool_disk \
    tests/unit/test_spool_inherit tests/unit/test_spool_orders tests/unit/test_spool_rows \
    tests/unit/test_spool_sound
check_PROGRAMS += $(SPOOL_DB_TESTS)
TESTS += $(SPOOL_DB_TESTS)
tests_unit_test_spool_SOURCES = tests/unit/test_spool.c $(SPOOL_RIG)
tests_unit_test_spool_LDADD = $(unit_ldadd)
tests_unit_test_spool_damage_SOURCES = tests/unit/test_spool_damage.c $(SPOOL_RIG)
tests_unit_test_spool_damage_LDADD = $(unit_ldadd)
tests_unit_test_spool_disk_SOURCES = tests/unit/test_spool_disk.c $(SPOOL_RIG)
tests_unit_test_spool_disk_LDADD = $(unit_ldadd)
tests_unit_test_spool_inherit_SOURCES = tests/unit/test_spool_inherit.c $(SPOOL_RIG)
tests_unit_test_spool_inherit_LDADD = $(unit_ldadd)
tests_unit_test_spool_orders_SOURCES = tests/unit/test_spool_orders.c $(SPOOL_RIG)
tests_unit_test_spool_orders_LDADD = $(unit_ldadd)
tests_unit_test_spool_rows_SOURCES = tests/unit/test_spool_rows.c $(SPOOL_RIG)
tests_unit_test_spool_rows_LDADD = $(unit_ldadd)
tests_unit_test_spool_sound_SOURCES = tests/unit/test_spool_sound.c $(SPOOL_RIG)
tests_unit_test_spool_sound_LDADD = $(unit_ldadd)
endif
# the order of release
libsendgov_a_SOURCES += relay/spool/queue.h relay/spool/queue.c relay/spool/queue_part.h \
    relay/spool/queue_gate.c relay/spool/queue_heap.h relay/spool/queue_heap.c relay/spool/queue_lane.c \
    relay/spool/queue_order.c relay/spool/queue_pool.c relay/spool/queue_table.h \
    relay/spool/queue_table.c relay/spool/queue_view.c

if HAVE_CMOCKA
QUEUE_TESTS = tests/unit/test_queue tests/unit/test_queue_model tests/unit/test_queue_room
check_PROGRAMS += $(QUEUE_TESTS)
TESTS += $(QUEUE_TESTS)
tests_unit_test_queue_SOURCES = tests/unit/test_queue.c
tests_unit_test_queue_LDADD = $(unit_ldadd)
tests_unit_test_queue_model_SOURCES = tests/unit/test_queue_model.c
tests_unit_test_queue_model_LDADD = $(unit_ldadd)
tests_unit_test_queue_room_SOURCES = tests/unit/test_queue_room.c
tests_unit_test_queue_room_LDADD = $(unit_ldadd)
endif

# notifications
libsendgov_a_SOURCES += relay/spool/dsn.h relay/spool/dsn.c relay/spool/dsn_text.h relay/spool/dsn_text.c
EXTRA_DIST += tests/unit/dsn_parse.py
if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_dsn
TESTS += tests/unit/test_dsn
tests_unit_test_dsn_SOURCES = tests/unit/test_dsn.c
tests_unit_test_dsn_CPPFLAGS = $(AM_CPPFLAGS) -DTOP_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_test_dsn_LDADD = $(unit_ldadd)
endif
