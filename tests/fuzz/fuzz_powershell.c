/* Fuzzes powershell and limits_status: what is taken is printable ASCII within its bounds, names are
 * identifiers that occur once, and the same text means the same again. */
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "relay/ctl/limits_status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct powershell_object *o)
{
    sg_assert(o->n <= POWERSHELL_FIELDS_MAX);
    for (size_t i = 0; i < o->n; i++) {
        const struct powershell_field *f = &o->fields[i];

        sg_assert(f->name[0] != '\0' && powershell_value(o, f->name) == f->value);
        for (const char *p = f->name; *p; p++)
            sg_assert(isalnum((unsigned char)*p) || *p == '_');
        for (const char *p = f->value; *p; p++)
            sg_assert(*p >= 0x20 && *p < 0x7f);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size);
    static struct powershell_object object, again;
    struct limits_status status, same;
    struct err err;

    if (powershell_parse(in, &object, &err) != 0)
        return 0;
    check(&object);
    sg_assert(powershell_parse(in, &again, &err) == 0 && again.n == object.n);
    if (limits_status_read(&object, &status, &err) == 0) {
        sg_assert(limits_status_read(&again, &same, &err) == 0 && same.threshold == status.threshold);
        sg_assert(limits_status_share(&status, 80) <= status.threshold);
    }
    return 0;
}
