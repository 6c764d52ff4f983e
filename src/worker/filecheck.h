/* Is the model here the one that was planned? Size and header hash, on a thread of its own (a file
 * may lie on a slow or dead mount). I/O; the worker's loop owns the job, its thread touches only
 * the job's inputs. */
#ifndef WORKER_FILECHECK_H
#define WORKER_FILECHECK_H

#include "api/messages.h"
#include "os/loop.h"

struct filecheck;
/* fn is called once on the loop, unless freed before, and the job is gone then: err NULL when the
 * file is right; ERR_NOT_FOUND, ERR_CONFLICT (another file) or what reading it gave. */
struct filecheck *filecheck_new(struct loop *l, const struct api_model *want,
                                void (*fn)(void *arg, const struct err *err), void *arg,
                                struct err *err);
/* Before fn only. The thread may go on; the job goes when it ends. NULL allowed. */
void filecheck_free(struct filecheck *c);
/* Compares what was found with what was planned. Pure. */
int filecheck_compare(const struct api_model *want, uint64_t bytes, const char *header_sha256,
                      struct err *err);

#endif
