/* setting: the one table of settings, and reading a mapping through it.
 *
 * A row says where a setting stands, what it may be and where its value goes. The same rows parse, give
 * defaults, print the dump (dump.c), the JSON schema and the manual's list (reference.c). Nothing else knows
 * a key by heart but the cross-checks, which ask for a node's position.
 */
#ifndef SENDGOV_CONFIG_SETTING_H
#define SENDGOV_CONFIG_SETTING_H

#include "relay/base/buf.h"
#include "relay/config/node.h"

struct draft;

enum section {
    SECTION_TOP,
    SECTION_LOG,
    SECTION_REDIS,
    SECTION_ADMIN,
    SECTION_SMTP,
    SECTION_TLS,
    SECTION_SPOOL,
    SECTION_LISTENER,
    SECTION_CLIENT,
    SECTION_CLASS,
    SECTION_ROUTE,
    SECTION_MAILBOX,
    SECTION_LIMIT,
    SECTION_SPIKE,
    SECTION_SCHEDULE,
    SECTION_REPLY,
    SECTION_PROFILE, /* from here on: profile files */
    SECTION_TENANT_LIMIT,
    SECTION_PROFILE_LIMIT,
    SECTION_COUNT,
};

enum setting_type {
    TYPE_NAME,        /* const char *: letters, digits, . _ - */
    TYPE_MAILBOX_NAME,/* the same and @ + */
    TYPE_TEXT,        /* const char *: printable */
    TYPE_HOSTNAME,    /* const char *: lower case */
    TYPE_DOMAIN,      /* const char *: lower case, "*." in front allowed */
    TYPE_SENDER,      /* const char *: "@domain", "local@domain", "*" */
    TYPE_PIN,         /* const char *: 64 hex digits, lower case */
    TYPE_HOST_PORT,   /* const char *: name or literal with port */
    TYPE_LISTEN,      /* const char *: literal address with port */
    TYPE_PATH,        /* const char *: absolute, or relative to the file that says it */
    TYPE_FILE,        /* a path that can be read now */
    TYPE_KEY_FILE,    /* the same, closed to others */
    TYPE_SECRET_FILE, /* const char *: the content of the file */
    TYPE_BOOL,
    TYPE_U32,
    TYPE_MS,          /* int */
    TYPE_MS64,        /* int64_t */
    TYPE_BYTES,       /* uint64_t */
    TYPE_BYTES32,     /* uint32_t */
    TYPE_COUNT,       /* uint64_t, or `unlimited` */
    TYPE_LICENCES,    /* uint64_t, or `trial` */
    TYPE_GROWTH,      /* uint32_t, thousandths */
    TYPE_WORD,        /* an enum: the index in `words` */
    TYPE_RATE,        /* struct rate */
    TYPE_REDIS_URL,   /* struct store_conf */
    TYPE_REPLY_CODE,  /* struct reply_rule */
    TYPE_LIST,        /* struct text_list of `item` */
    TYPE_NETWORKS,    /* struct network_list */
    TYPE_COUNTS,      /* struct count_list */
    TYPE_SECTION,     /* one section `child` in a section */
    TYPE_SECTIONS,    /* struct entries of `child`, each with a name */
    TYPE_SECTION_LIST,/* struct entries of `child`, a list without names */
    TYPE_COUNT_OF,
};

/* Why a flag. */
enum {
    SETTING_REQUIRED = 1,
    SETTING_RESTART = 2, /* a reload that changes it is refused */
};

struct setting {
    enum section section;
    const char *key;
    enum setting_type type;
    size_t offset;            /* in the section's struct */
    uint64_t least, most;     /* numbers; both 0: any that fits */
    const char *fallback;     /* as it would stand in the file; NULL: none */
    const char *const *words; /* TYPE_WORD, ends in NULL */
    enum setting_type item;   /* TYPE_LIST */
    enum section child;
    unsigned flags;
    const char *help;         /* one sentence or two, for the manual and editors */
};

struct section_info {
    const char *name; /* "routes", for paths in dump and manual */
    size_t entry_size;  /* named sections: sizeof the entry, which begins with struct entry_head */
    enum setting_type name_type;
    const char *help;
};

extern const struct setting setting_table[];
extern const size_t setting_count;
extern const struct section_info section_table[SECTION_COUNT];

struct rate {
    bool set;
    uint64_t n, period_ms; /* as units_parse_rate gives them */
};
struct text_list {
    const char *const *items;
    size_t n;
};
struct network_list {
    const struct network *items;
    size_t n;
};
struct count_list {
    const uint64_t *items;
    size_t n;
};
/* Every entry of a named section or of a list of sections begins with this. */
struct entry_head {
    const char *name;
    const struct node *node; /* its mapping: positions for complaints */
    const char *origin;      /* NULL, or who made it ("profile m365-submission") */
};
struct entries {
    char *items; /* n * entry_size */
    size_t n;
};

struct setting_kind {
    const char *name; /* in complaints and manual: "a duration such as 30s" */
    int (*parse)(struct draft *d, const struct setting *s, const struct node *v, void *field);
    /* The effective value, as it could stand in a file. */
    void (*format)(const struct setting *s, const void *field, struct buf *out);
    const char *schema; /* JSON Schema of one value; NULL: made by reference.c */
};
extern const struct setting_kind setting_kinds[TYPE_COUNT_OF];

/* Reads one mapping into target; target is zeroed before. 0 or -1 with the draft's err. */
int section_read(struct draft *d, enum section section, const struct node *map, void *target);
void *entries_at(const struct entries *e, enum section section, size_t i);
/* What the setting may be, for a complaint: "a duration such as 30s", "one of route, mailbox, ...". */
#define EXPECTED_MAX 256
const char *setting_expects(const struct setting *s, char out[EXPECTED_MAX]);
/* What to say after an unknown word: "; did you mean 'x'?" or "; known are: a, b". */
void suggest(const char *unknown, const char *const *known, size_t n_known, char *out, size_t size);

#endif
