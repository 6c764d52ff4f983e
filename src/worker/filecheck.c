/* Checking the model file on a thread. */
#include "worker/filecheck.h"

#include "base/mem.h"
#include "base/str.h"
#include "model/model.h"

#include <pthread.h>
#include <string.h>

/* The thread posts its result, unless the loop has lost interest; who comes last frees. `mutex`
 * orders the two: after `abandoned` is set the thread never touches the loop again, which may be
 * gone by then. */
struct filecheck {
    struct loop *loop;
    struct api_model want;
    struct err result; /* the thread's until it posts */
    pthread_mutex_t mutex;
    bool posted, abandoned;
    void (*fn)(void *arg, const struct err *err);
    void *arg;
};

static void destroy(struct filecheck *c)
{
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

int filecheck_compare(const struct api_model *want, uint64_t bytes, const char *header_sha256,
                      struct err *err)
{
    if (want->bytes && bytes != want->bytes)
        return err_set(err, ERR_CONFLICT,
                       "%.120s has %llu bytes here, %llu where it was planned: another file",
                       want->path, (unsigned long long)bytes, (unsigned long long)want->bytes);
    if (want->header_sha256[0] && strcmp(header_sha256, want->header_sha256) != 0)
        return err_set(
            err, ERR_CONFLICT,
            "%.120s has another header than the file that was planned (sha256 %.12s, not "
            "%.12s)",
            want->path, header_sha256, want->header_sha256);
    return 0;
}

static void check(struct filecheck *c)
{
    struct model_info info = {0};
    struct err err = {0};
    struct gguf *g = model_open(c->want.path, &info, &err);
    gguf_free(g);
    if (!g && err.code == ERR_NOT_FOUND)
        err_fill(&c->result, ERR_NOT_FOUND,
                 "%.140s is not on this node; copy it there or share the folder", c->want.path);
    else if (!g)
        c->result = err;
    else if (info.header_only)
        err_fill(&c->result, ERR_UNSUPPORTED,
                 "%.140s holds only a header: it can be planned, not run", c->want.path);
    else
        filecheck_compare(&c->want, info.bytes_on_disk, info.header_sha256, &c->result);
}

static void on_done(void *arg)
{
    struct filecheck *c = arg;
    pthread_mutex_lock(&c->mutex); /* the thread may still hold it */
    pthread_mutex_unlock(&c->mutex);
    if (c->fn)
        c->fn(c->arg, c->result.code ? &c->result : NULL);
    destroy(c);
}

static void *run(void *arg)
{
    struct filecheck *c = arg;
    check(c);
    pthread_mutex_lock(&c->mutex);
    bool abandoned = c->abandoned;
    if (!abandoned) {
        c->posted = true;
        loop_post(c->loop, on_done, c);
    }
    pthread_mutex_unlock(&c->mutex);
    if (abandoned)
        destroy(c);
    return NULL;
}

struct filecheck *filecheck_new(struct loop *l, const struct api_model *want,
                                void (*fn)(void *arg, const struct err *err), void *arg,
                                struct err *err)
{
    struct filecheck *c = mem_calloc(1, sizeof *c);
    pthread_t thread;
    c->loop = l;
    c->want = *want;
    c->fn = fn;
    c->arg = arg;
    pthread_mutex_init(&c->mutex, NULL);
    if (pthread_create(&thread, NULL, run, c) != 0) {
        destroy(c);
        return err_null(err, ERR_IO, "cannot start a thread to check the model");
    }
    pthread_detach(thread);
    return c;
}

void filecheck_free(struct filecheck *c)
{
    if (!c)
        return;
    c->fn = NULL;
    pthread_mutex_lock(&c->mutex);
    c->abandoned = true; /* no effect when it has posted: on_done frees it then */
    pthread_mutex_unlock(&c->mutex);
}
