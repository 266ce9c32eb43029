# documents
EXTRA_DIST += docs/architecture.md docs/scaling.md docs/spool.md HACKING.md SECURITY.md NEWS.md
