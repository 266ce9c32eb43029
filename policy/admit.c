/* Patterns of the configuration against canonical addresses:
 *
 *     "scan@contoso.com"   that address; the local part in any case, as Microsoft compares it
 *     "@contoso.com"       every address of that domain, not of its subdomains
 *     "@*.contoso.com"     every address of its subdomains, not of the domain itself
 *     "*"                  every address with a domain
 */
#include "policy/admit.h"

/* pattern: "contoso.com" or "*.contoso.com". */
static bool
domain_covers(struct span pattern, struct span domain)
{
    if (pattern.n > 2 && pattern.p[0] == '*' && pattern.p[1] == '.') {
        struct span suffix = span_from(pattern, 1);

        return domain.n > suffix.n && span_ends_nocase(domain, suffix);
    }
    return pattern.n > 0 && span_eq_nocase(pattern, domain);
}

/* The @ before the domain: the last one, for a quoted local part may hold others. */
static bool
split(struct span address, struct span *local_out, struct span *domain_out)
{
    size_t at = address.n;

    while (at > 0 && address.p[at - 1] != '@')
        at--;
    if (at == 0)
        return false;
    *local_out = span_head(address, at - 1);
    *domain_out = span_from(address, at);
    return domain_out->n > 0;
}

bool
admit_pattern_covers(struct span pattern, struct span address)
{
    struct span local, domain, pattern_local, pattern_domain;

    if (!split(address, &local, &domain) || local.n == 0)
        return false;
    if (span_eq(pattern, SPAN_LIT("*")))
        return true;
    if (!split(pattern, &pattern_local, &pattern_domain))
        return false;
    return (pattern_local.n == 0 || span_eq_nocase(pattern_local, local)) &&
        domain_covers(pattern_domain, domain);
}

bool
admit_domain_in(const char *const *domains, size_t n, struct span domain)
{
    for (size_t i = 0; i < n; i++)
        if (domain_covers(span_str(domains[i]), domain))
            return true;
    return false;
}
