/* powershell: one object as PowerShell writes it, whatever way it was asked to: Format-List, Format-Table,
 * ConvertTo-Json, ConvertTo-Csv or Export-Csv, in ASCII, UTF-8 or UTF-16 (what Out-File and > write on
 * Windows), with or without byte order mark and carriage returns. Pure.
 *
 * The text is taken for hostile: it is bounded, names are identifiers, values are kept as printable ASCII
 * ('?' for anything else). Names are PowerShell's own, which no locale changes. What is not clearly one
 * object is refused: of two, nobody could say which one is meant. */
#ifndef SENDGOV_CTL_POWERSHELL_H
#define SENDGOV_CTL_POWERSHELL_H

#include "relay/base/err.h"
#include "relay/base/span.h"

#define POWERSHELL_TEXT_MAX (64 * 1024) /* bytes of input */
#define POWERSHELL_FIELDS_MAX 64
#define POWERSHELL_NAME_MAX 64
#define POWERSHELL_VALUE_MAX 128        /* longer ones are cut */

struct powershell_field {
    char name[POWERSHELL_NAME_MAX], value[POWERSHELL_VALUE_MAX];
};

struct powershell_object {
    struct powershell_field fields[POWERSHELL_FIELDS_MAX];
    size_t n;
};

/* 0, or -1 and why. */
int powershell_parse(struct span in, struct powershell_object *out, struct err *err);
/* Case does not matter; NULL: there is none. */
const char *powershell_value(const struct powershell_object *o, const char *name);

#endif
