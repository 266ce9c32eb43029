/* known: whom a scope instance has mailed lately, for limits of new recipients. Pure; common.lua holds the
 * same rules, and the model test holds both together.
 *
 * A person is a hash of the address. 10 bits of it choose one of 1024 buckets, 40 bits are the tag that the
 * bucket holds with the hour of the last charge. A bucket has room for 32; when it is full the one that was
 * mailed longest ago goes. All that can go wrong but one thing errs on the strict side: who was forgotten is
 * new again. That one thing is two persons with the same 50 bits: of strangers whose bucket is full, one in
 * 3 x 10^10 is taken for known. Up to some 20 000 persons hardly any bucket is full; beyond 32 768 an
 * instance forgets one for each it learns.
 *
 * In a request the persons stand as its recipients do. A grant of g of n is for those whom no limit of it
 * calls new, and then for the others, each in their order (charge_order): who is known does not wait for
 * strangers. */
#ifndef SENDGOV_POLICY_KNOWN_H
#define SENDGOV_POLICY_KNOWN_H

#include "policy/charge.h"
#include "relay/base/span.h"

#define KNOWN_BUCKETS 1024
#define KNOWN_BUCKET_MAX 32
#define KNOWN_HOUR_MS 3600000u

struct known;

struct known *known_new(void);
void known_free(struct known **k);

/* The hash of a canonical address; upper and lower case are one. */
uint64_t known_person(struct span address);
#define KNOWN_BUCKET_OF(person) ((unsigned)((person) % KNOWN_BUCKETS))
#define KNOWN_TAG_OF(person) ((person) >> 24)

/* Was it charged less than `hours` before this hour, as far as whole hours say? k may be NULL: nobody was. */
bool known_has(const struct known *k, uint64_t person, uint32_t hour, uint32_t hours);
/* Charged now. hours: who was not for so long need not be kept. */
void known_add(struct known *k, uint64_t person, uint32_t hour, uint32_t hours);
/* The charge of that hour is taken back. */
void known_forget(struct known *k, uint64_t person, uint32_t hour);

/* ---- the people of a request ---- */

/* How long the line remembers, in hours. */
uint32_t known_hours(const struct charge_line *line);
/* The places of the recipients in the order in which they are granted: n of them. */
void charge_order(const struct charge_person *people, size_t n, uint32_t *order_out);
/* What a grant of g costs this line. */
uint64_t charge_cost(const struct charge_request *r, const struct charge_line *line, uint32_t g);
/* The largest g <= n that costs this line no more than room. */
uint32_t charge_fits(const struct charge_request *r, const struct charge_line *line, uint64_t room);

#endif
