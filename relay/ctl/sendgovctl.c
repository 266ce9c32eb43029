/* sendgovctl: the operator's command. See ctl.h. */
#include "relay/ctl/ctl.h"

int
main(int argc, char **argv)
{
    enum ctl_exit code = ctl_main(argc, argv, stdout, stderr);

    if (fflush(stdout) != 0 && code == CTL_OK)
        code = CTL_REFUSED;
    return code;
}
