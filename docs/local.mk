# documents
EXTRA_DIST += docs/architecture.md HACKING.md SECURITY.md NEWS.md
