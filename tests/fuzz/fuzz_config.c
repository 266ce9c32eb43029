/* The configuration parser, from bytes of a file to checked structs: nothing may make it crash, hang or leak,
 * and what it refuses it refuses with a position. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "relay/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {""};
    struct config *c;
    char path[64];
    int fd = memfd_create("config", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    c = config_load(path, &err);
    if (c ? strlen(c->hash) != 16 || !c->dump : strchr(err.text, ':') == NULL)
        abort();
    config_unref(&c);
    close(fd);
    return 0;
}
