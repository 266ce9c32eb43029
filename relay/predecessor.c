#include "relay/predecessor.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/base/xmalloc.h"
#include "relay/handover.h"
#include "relay/net/packets.h"
#include "relay/store/store.h"

struct predecessor {
    int link, lock;
    struct packets *packets; /* NULL: nobody listens yet */
    char identity[STORE_IDENTITY_MAX]; /* by what it is known since GO */
    const struct predecessor_ops *ops;
    void *arg;
};

static bool
is_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

int
predecessor_from_environment(struct predecessor **out, struct err *err)
{
    const char *text = getenv(HANDOVER_ENVIRONMENT);
    int link, lock, n = 0;

    *out = NULL;
    if (text == NULL)
        return 0;
    if (sscanf(text, "%d,%d%n", &link, &lock, &n) != 2 || text[n] != '\0' || !packets_is_end(link) ||
        !is_file(lock))
        return err_set(err, HANDOVER_ENVIRONMENT "=%.40s names no descriptors of a handover; unset it", text);
    unsetenv(HANDOVER_ENVIRONMENT);
    (void)fcntl(link, F_SETFD, FD_CLOEXEC);
    (void)fcntl(lock, F_SETFD, FD_CLOEXEC);
    *out = xcalloc(1, sizeof(**out));
    (*out)->link = link;
    (*out)->lock = lock;
    return 0;
}

int
predecessor_take_lock(struct predecessor *p, const char *state_folder, struct err *err)
{
    char path[PATH_MAX];
    struct stat have, want;
    int fd = p->lock;

    snprintf(path, sizeof(path), "%s/lock", state_folder);
    if (fstat(fd, &have) != 0 || lstat(path, &want) != 0)
        return err_set_errno(err, "cannot look at %s", path);
    if (have.st_dev != want.st_dev || have.st_ino != want.st_ino)
        return err_set(err, "state changed to %s; that needs a restart", state_folder);
    p->lock = -1;
    return fd;
}

int
predecessor_ask(struct predecessor *p, const char *identity, struct err *err)
{
    char packet[PACKET_MAX];
    struct err why;

    if (!packets_send(p->link, HANDOVER_READY, identity) ||
        !packets_wait(p->link, HANDOVER_WAIT_MS, packet, &why))
        return err_set(err, "the process to be replaced: %s", why.text);
    if (strncmp(packet, HANDOVER_GO, strlen(HANDOVER_GO)) == 0) {
        snprintf(p->identity, sizeof(p->identity), "%.32s", packet + strlen(HANDOVER_GO));
        return 0;
    }
    if (strncmp(packet, HANDOVER_NO, strlen(HANDOVER_NO)) == 0)
        return err_set(err, "%.900s", packet + strlen(HANDOVER_NO));
    return err_set(err, "the process to be replaced is of a version that hands over in another way; restart");
}

void
predecessor_tell_running(struct predecessor *p)
{
    (void)packets_send(p->link, HANDOVER_RUNNING, "");
}

void
predecessor_tell_failed(struct predecessor *p, const char *why)
{
    (void)packets_send(p->link, HANDOVER_FAILED, why);
}

static void
on_packet(void *arg, const char *packet)
{
    struct predecessor *p = arg;

    if (packet == NULL)
        p->ops->gone(p->arg, p->identity);
    else if (strncmp(packet, HANDOVER_PAUSE, strlen(HANDOVER_PAUSE)) == 0)
        p->ops->pause(p->arg, span_str(packet + strlen(HANDOVER_PAUSE)));
}

void
predecessor_listen(struct predecessor *p, struct loop *loop, const struct predecessor_ops *ops, void *arg)
{
    p->ops = ops;
    p->arg = arg;
    p->packets = packets_new(loop, p->link, on_packet, p);
}

void
predecessor_unlisten(struct predecessor *p)
{
    packets_free(&p->packets);
}

void
predecessor_free(struct predecessor **pp)
{
    struct predecessor *p = *pp;

    if (p == NULL)
        return;
    close(p->link);
    if (p->lock >= 0)
        close(p->lock);
    free(p);
    *pp = NULL;
}
