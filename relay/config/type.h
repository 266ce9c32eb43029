/* type: the parsers and formatters behind setting_kinds[], one pair per kind of value. Each parser gets one
 * node and writes the field; each formatter writes the value as it could stand in a file. */
#ifndef SENDGOV_CONFIG_TYPE_H
#define SENDGOV_CONFIG_TYPE_H

#include "relay/config/draft.h"

#define TYPE_PARSER(name)                                                                                    \
    int name(struct draft *d, const struct setting *s, const struct node *v, void *field)
#define TYPE_FORMATTER(name) void name(const struct setting *s, const void *field, struct buf *out)

/* The text of a scalar that is not empty; -1 with a complaint on anything else. */
int type_scalar(struct draft *d, const struct setting *s, const struct node *v, struct span *out);
/* "key 'value' why" */
int type_bad(struct draft *d, const struct setting *s, const struct node *v, const char *why);

/* type_text.c */
TYPE_PARSER(type_parse_name);
TYPE_PARSER(type_parse_mailbox_name);
TYPE_PARSER(type_parse_text);
TYPE_PARSER(type_parse_hostname);
TYPE_PARSER(type_parse_domain);
TYPE_PARSER(type_parse_sender);
TYPE_PARSER(type_parse_pin);
TYPE_PARSER(type_parse_host_port);
TYPE_PARSER(type_parse_listen);
TYPE_PARSER(type_parse_path);
TYPE_PARSER(type_parse_file);
TYPE_PARSER(type_parse_key_file);
TYPE_PARSER(type_parse_secret);
TYPE_FORMATTER(type_format_text);
TYPE_FORMATTER(type_format_secret);
/* Labels of letters, digits and hyphens; NULL or what is wrong. */
const char *type_check_hostname(struct span in);
const char *type_check_name(struct span in, const char *also);
/* Splits "host:port", "[v6]:port"; *host_out without brackets. NULL or what is wrong. */
const char *type_split_port(struct span in, struct span *host_out, uint16_t *port_out);

/* type_number.c */
TYPE_PARSER(type_parse_bool);
TYPE_PARSER(type_parse_u32);
TYPE_PARSER(type_parse_ms);
TYPE_PARSER(type_parse_ms64);
TYPE_PARSER(type_parse_bytes);
TYPE_PARSER(type_parse_bytes32);
TYPE_PARSER(type_parse_count);
TYPE_PARSER(type_parse_licences);
TYPE_PARSER(type_parse_growth);
TYPE_PARSER(type_parse_word);
TYPE_PARSER(type_parse_rate);
TYPE_FORMATTER(type_format_bool);
TYPE_FORMATTER(type_format_u32);
TYPE_FORMATTER(type_format_ms);
TYPE_FORMATTER(type_format_ms64);
TYPE_FORMATTER(type_format_bytes);
TYPE_FORMATTER(type_format_bytes32);
TYPE_FORMATTER(type_format_count);
TYPE_FORMATTER(type_format_licences);
TYPE_FORMATTER(type_format_growth);
TYPE_FORMATTER(type_format_word);
TYPE_FORMATTER(type_format_rate);
int type_number_in_bounds(struct draft *d, const struct setting *s, const struct node *v, uint64_t *out);

/* type_redis.c, type_reply.c */
TYPE_PARSER(type_parse_redis_url);
TYPE_FORMATTER(type_format_redis_url);
TYPE_PARSER(type_parse_reply_code);
TYPE_FORMATTER(type_format_reply_code);

/* type_list.c */
TYPE_PARSER(type_parse_list);
TYPE_PARSER(type_parse_networks);
TYPE_PARSER(type_parse_counts);
TYPE_PARSER(type_parse_section);
TYPE_PARSER(type_parse_sections);
TYPE_PARSER(type_parse_section_list);
TYPE_FORMATTER(type_format_list);
TYPE_FORMATTER(type_format_networks);
TYPE_FORMATTER(type_format_counts);
TYPE_FORMATTER(type_format_nothing);

#endif
