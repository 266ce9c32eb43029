/* draft: a configuration in the making. Entries hold the final structs plus what only the checks need;
 * config.c turns a checked draft into a struct config. */
#ifndef SENDGOV_CONFIG_DRAFT_H
#define SENDGOV_CONFIG_DRAFT_H

#include "relay/config/config.h"
#include "relay/config/setting.h"

#define DRAFT_FILES_MAX 64
#define PROFILE_CHAIN_MAX 4
#define LICENCES_TRIAL UINT64_MAX

struct listener_entry {
    struct entry_head head;
    struct listener_conf conf;
    struct text_list addresses, clients;
};

struct client_entry {
    struct entry_head head;
    struct client_conf conf;
    struct text_list logins, cert_names, cert_pins, senders;
    struct network_list networks;
};

struct class_entry {
    struct entry_head head;
    struct class_conf conf;
};

struct reply_entry {
    struct entry_head head;
    struct reply_rule rule;
};

struct route_entry {
    struct entry_head head;
    struct route_conf conf;
    struct text_list domains, internal_domains;
    uint64_t licences; /* 0: not said */
    const char *warmup;
    struct entries replies;
    const struct profile *profile;
};

struct mailbox_entry {
    struct entry_head head;
    struct mailbox_conf conf;
};

struct spike_entry {
    uint32_t factor_milli; /* 0: not said */
    uint64_t floor;        /* the same */
};

struct limit_entry {
    struct entry_head head;
    struct limit_conf conf;
    struct rate window, rate;
    struct spike_entry spike;
    const char *domains; /* profiles: for each sender domain of the route that this pattern covers */
    const char *link;    /* profiles: where the figure is from */
    bool dropped;        /* unlimited, or overridden */
};

struct schedule_entry {
    struct entry_head head;
    struct schedule_conf conf;
    struct count_list table;
};

/* factor * licences ^ (power_tenths / 10) + base, of which `percent` is used; in an hour no more than the
 * part that hour_divisor says (0: nothing is said of hours), 10 at least. */
struct tenant_limit {
    uint32_t factor, power_tenths, base, percent, trial, hour_divisor;
    const char *link;
};

struct profile {
    const char *name, *dated, *title, *link, *extends;
    const char *file;
    int64_t dated_utc_ms;
    const struct profile *base; /* what it extends */
    const struct node *node;
    uint64_t connections;     /* per mailbox, when the mailbox does not say */
    uint64_t connections_max; /* what Microsoft allows */
    struct tenant_limit tenant_limit;
    struct entries limits, replies;
    struct profile *next;
};

struct tls_defaults {
    const char *cert_file, *key_file;
};

struct draft {
    struct config conf; /* its arena holds what survives */
    struct arena scratch; /* nodes and entries */
    struct err *err;
    const char *base;   /* folder of the main file */
    struct tls_defaults tls;
    bool http_public;
    struct text_list admin_groups;
    struct text_list included; /* files */
    struct entries listeners, clients, classes, routes, mailboxes, limits, schedules;
    const struct node *root;
    struct profile *profiles; /* loaded so far */
    struct buf files;   /* identity (device, inode, size, time of change) of every file read, for the hash */
    struct config_warning *warnings;
    size_t n_warnings;
};

int draft_fail(struct draft *d, const struct node *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void draft_warn(struct draft *d, const struct node *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The position of a setting, and a file that was read, for those who look at the host (preflight.c). v NULL:
 * the main file. */
void draft_note_origin(struct draft *d, const char *path, const char *key, const struct node *v);
void draft_note_file(struct draft *d, const char *file, const struct node *v);
/* Text that survives the draft. */
const char *draft_keep(struct draft *d, const char *text);
const char *draft_printf(struct draft *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The node of one key of an entry, or the entry itself where the key is not written. */
const struct node *entry_key(const struct entry_head *e, const char *key);
/* Absolute path of what stands at v: relative means beside v's file. */
const char *draft_path(struct draft *d, const struct node *v);

/* The folder a file is in, absolute. */
const char *draft_folder(struct draft *d, const char *file);

/* files.c */
int draft_check_file(struct draft *d, const struct node *v, bool private, const char **path_out);
int draft_read_secret(struct draft *d, const struct node *v, const char **content_out);
/* include.c: the main file and all it includes, merged into one mapping. */
int draft_load_files(struct draft *d, const char *file);
/* profile.c */
int draft_apply_profiles(struct draft *d);
/* Of a day, and from that of an hour. */
uint64_t tenant_limit_hour_cap(const struct tenant_limit *t, uint64_t day_cap);
uint64_t tenant_limit_cap(const struct tenant_limit *t, uint64_t licences);
/* schedule.c */
int draft_apply_schedules(struct draft *d);
/* limit.c */
int draft_finish_limits(struct draft *d);
/* check.c: everything that needs more than one setting. */
int draft_check(struct draft *d);
/* network.c */
bool network_parse(struct span in, struct network *out, const char **why_out);
void network_format(const struct network *n, struct buf *out);
/* All of it within one private range: RFC 1918, RFC 6598, RFC 4193, loopback, link-local. */
bool network_is_private(const struct network *n);
/* dump.c: fills conf.dump and conf.hash. */
void draft_dump(struct draft *d);

#endif
