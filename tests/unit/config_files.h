/* config_files: a throw-away folder with files for the configuration's tests. */
#ifndef SENDGOV_TESTS_CONFIG_FILES_H
#define SENDGOV_TESTS_CONFIG_FILES_H

#include <stddef.h>
#include <sys/types.h>

#include "relay/config/config.h"

#ifndef TOP_SRCDIR /* given by the Makefile */
#define TOP_SRCDIR "."
#endif

/* Makes the folder, goes there, and puts cert.pem, key.pem, secret and users into it. Profiles are those of
 * the source. */
void config_files_open(void);
void config_files_close(void);
const char *config_files_folder(void);
void config_files_write(const char *name, const void *bytes, size_t n, mode_t mode);
void config_files_copy(const char *from, const char *to);
/* Writes c.yaml and loads it; fails the test when it is refused. */
struct config *config_files_load(const char *yaml);

#endif
