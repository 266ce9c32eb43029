# libFuzzer targets
include tests/fuzz/local_upstream.mk
include tests/fuzz/local_store.mk
