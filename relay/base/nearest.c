/* The distance is that of optimal string alignment: rows of the usual table, three of which are kept. */
#include "relay/base/nearest.h"

#include <stdint.h>

#include "relay/base/ascii.h"

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t
nearest_distance(struct span a, struct span b)
{
    size_t rows[3][NEAREST_WORD_MAX + 1];

    if (a.n > NEAREST_WORD_MAX || b.n > NEAREST_WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.n; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);

            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && ascii_lower(a.p[i - 2]) == y)
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a.n % 3][b.n];
}

const char *
nearest_word(struct span word, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < n; i++) {
        struct span k = span_str(known[i]);
        size_t distance = nearest_distance(word, k);
        size_t letters = word.n > k.n ? word.n : k.n;

        if (distance < best_distance && distance <= (letters + 2) / 3 && distance < letters) {
            best = known[i];
            best_distance = distance;
        }
    }
    return best;
}
