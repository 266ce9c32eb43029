/* sendgov-reference schema|manual: prints what the table of settings says. Run by hand when it changed:
 *     ./sendgov-reference schema > ../conf/sendgov.schema.json */
#include <stdio.h>
#include <string.h>

#include "relay/config/reference.h"

int
main(int argc, char **argv)
{
    struct buf out;

    buf_init(&out);
    if (argc == 2 && strcmp(argv[1], "schema") == 0)
        reference_schema(&out);
    else if (argc == 2 && strcmp(argv[1], "manual") == 0)
        reference_manual(&out);
    else
        fprintf(stderr, "usage: sendgov-reference schema|manual\n");
    fwrite(buf_span(&out).p, 1, buf_len(&out), stdout);
    buf_fini(&out);
    return argc == 2 ? 0 : 2;
}
