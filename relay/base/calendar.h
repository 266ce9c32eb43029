/* calendar: days of the Gregorian calendar, UTC. */
#ifndef SENDGOV_BASE_CALENDAR_H
#define SENDGOV_BASE_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

/* month and day from 1; any numbers. */
bool calendar_is_date(unsigned year, unsigned month, unsigned day);
/* Days since 1970-01-01 of a date from then on. */
uint64_t calendar_days(unsigned year, unsigned month, unsigned day);

#endif
