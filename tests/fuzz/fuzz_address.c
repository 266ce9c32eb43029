/* Fuzzes address: what is accepted is printable ASCII, within its bounds, and parses to itself again. */
#include <stdint.h>

#include "relay/base/err.h"
#include "relay/smtp/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(struct address *a)
{
    struct span text = span_str(a->text), local = address_local(a), domain = address_domain(a);
    struct address again;

    if (!address_is_null(a)) {
        for (size_t i = 0; i < text.n; i++)
            sg_assert(text.p[i] >= 0x20 && text.p[i] < 0x7f);
        sg_assert(local.n > 0 && local.n <= 2 * ADDRESS_LOCAL_MAX + 2);
        sg_assert(domain.n > 0 && domain.n <= ADDRESS_DOMAIN_MAX && domain.p[domain.n - 1] != '.');
        sg_assert(address_parse_plain(text, &again) == ADDRESS_OK);
        sg_assert(span_eq(span_str(again.text), text) && again.domain_at == a->domain_at);
        address_fini(&again);
    }
    address_fini(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of((const char *)data, size);
    struct address a;
    size_t used;

    if (address_parse_path(in, true, &a, &used) == ADDRESS_OK) {
        sg_assert(used >= 2 && used <= in.n && in.p[used - 1] == '>');
        check(&a);
    } else
        sg_assert(used == 0);
    if (address_parse_plain(in, &a) == ADDRESS_OK)
        check(&a);
    return 0;
}
