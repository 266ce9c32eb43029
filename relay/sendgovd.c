/* sendgovd: the relay. */
#include <stdio.h>

#include "config.h"

int
main(void)
{
    fprintf(stderr, "%s: nothing to run yet\n", PACKAGE_STRING);
    return 1;
}
