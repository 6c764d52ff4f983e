/* The worker role. */
#include "worker/worker.h"

#include <stddef.h>

struct worker *worker_new(const struct worker_opts *o, struct err *err)
{
    return err_null(err, ERR_UNSUPPORTED, "the worker is not built in yet");
}

void worker_stop(struct worker *w, void (*fn)(void *arg), void *arg)
{
    fn(arg);
}

void worker_free(struct worker *w)
{
}
