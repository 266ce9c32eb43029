#include "relay/net/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "relay/base/xmalloc.h"
#include "relay/net/loop_part.h"

struct worker {
    struct loop *loop;
    struct event ev;
    int wake_fd; /* eventfd: something is in finished */
    size_t queue_max;
    size_t n_queued;
    worker_batch_fn *batch; /* NULL: jobs have work of their own */
    void *batch_arg;
    int n_threads;
    pthread_t *threads;
    pthread_mutex_t mutex; /* guards all below, and n_queued */
    pthread_cond_t cond;
    bool stopping;
    struct list queued, finished;
};

static struct job *
next_job(struct worker *w)
{
    struct list *it = NULL;

    pthread_mutex_lock(&w->mutex);
    while (!w->stopping && !(it = list_pop(&w->queued)))
        pthread_cond_wait(&w->cond, &w->mutex);
    if (it)
        w->n_queued--;
    pthread_mutex_unlock(&w->mutex);
    return it ? LIST_ITEM(it, struct job, link) : NULL;
}

/* All that waits is added to jobs; false: nothing is left to do, and nothing will come. */
static bool
next_jobs(struct worker *w, struct list *jobs)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->stopping && list_is_empty(&w->queued) && list_is_empty(jobs))
        pthread_cond_wait(&w->cond, &w->mutex);
    list_move_all(jobs, &w->queued);
    w->n_queued = 0;
    pthread_mutex_unlock(&w->mutex);
    return !list_is_empty(jobs);
}

static void
finish_jobs(struct worker *w, struct list *jobs)
{
    uint64_t one = 1;

    if (list_is_empty(jobs))
        return;
    pthread_mutex_lock(&w->mutex);
    list_move_all(&w->finished, jobs);
    pthread_mutex_unlock(&w->mutex);
    while (write(w->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void
finish_job(struct worker *w, struct job *job)
{
    struct list one;

    list_init(&one);
    list_add_tail(&one, &job->link);
    finish_jobs(w, &one);
}

static void *
thread_main(void *arg)
{
    struct worker *w = arg;
    struct job *job;

    while ((job = next_job(w))) {
        job->work(job);
        finish_job(w, job);
    }
    return NULL;
}

static void *
batch_main(void *arg)
{
    struct worker *w = arg;
    struct list jobs, finished;

    list_init(&jobs);
    list_init(&finished);
    while (next_jobs(w, &jobs)) {
        w->batch(w->batch_arg, &jobs, &finished);
        finish_jobs(w, &finished);
    }
    return NULL;
}

static struct job *
pop_locked(struct worker *w, struct list *from)
{
    struct list *it;

    pthread_mutex_lock(&w->mutex);
    it = list_pop(from);
    pthread_mutex_unlock(&w->mutex);
    return it ? LIST_ITEM(it, struct job, link) : NULL;
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    struct job *job;
    uint64_t count;

    (void)what;
    loop_enter(w->loop);
    if (read(fd, &count, sizeof(count)) < 0)
        return;
    while ((job = pop_locked(w, &w->finished)))
        job->done(job, false);
}

/* Signals are the loop's: no helper thread may take one. */
static int
start_threads(struct worker *w, int threads)
{
    void *(*body)(void *arg) = w->batch != NULL ? batch_main : thread_main;
    sigset_t all, before;
    int rc = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; w->n_threads < threads && rc == 0; w->n_threads += rc == 0)
        rc = pthread_create(&w->threads[w->n_threads], NULL, body, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = rc;
    return rc == 0 ? 0 : -1;
}

struct worker *
worker_new(struct loop *loop, size_t queue_max, struct err *err)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    w->loop = loop;
    w->queue_max = queue_max;
    list_init(&w->queued);
    list_init(&w->finished);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->cond, NULL);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    event_assign(&w->ev, loop_base(loop), w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
    if (w->wake_fd < 0 || event_add(&w->ev, NULL) != 0) {
        err_set_errno(err, "prepare helper threads");
        worker_free(&w);
    }
    return w;
}

struct worker *
worker_new_batch(struct loop *loop, size_t queue_max, worker_batch_fn *batch, void *arg, struct err *err)
{
    struct worker *w = worker_new(loop, queue_max, err);

    if (w != NULL) {
        w->batch = batch;
        w->batch_arg = arg;
    }
    return w;
}

int
worker_start(struct worker *w, int threads, struct err *err)
{
    sg_assert(w->threads == NULL && (w->batch == NULL || threads == 1));
    w->threads = xcalloc((size_t)threads, sizeof(*w->threads));
    return start_threads(w, threads) == 0 ? 0 : err_set_errno(err, "start helper threads");
}

static void
join_threads(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    for (int i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
}

void
worker_free(struct worker **worker)
{
    struct worker *w = *worker;
    struct job *job;

    if (!w)
        return;
    *worker = NULL;
    join_threads(w);
    while ((job = pop_locked(w, &w->finished)) || (job = pop_locked(w, &w->queued)))
        job->done(job, true);
    if (w->wake_fd >= 0) {
        event_del(&w->ev);
        close(w->wake_fd);
    }
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mutex);
    free(w->threads);
    free(w);
}

bool
worker_submit(struct worker *w, struct job *job)
{
    bool taken;

    list_init(&job->link);
    pthread_mutex_lock(&w->mutex);
    taken = w->n_queued < w->queue_max;
    if (taken) {
        w->n_queued++;
        list_add_tail(&w->queued, &job->link);
        pthread_cond_signal(&w->cond);
    }
    pthread_mutex_unlock(&w->mutex);
    return taken;
}
