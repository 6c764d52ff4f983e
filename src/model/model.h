/* Opens a model's files on this machine: any shard's name, all shards, headers only. I/O; any
 * thread.
 *
 * The one place where the command line, the server and the worker turn a path into a parsed header.
 * Regular files only; tensor data is never read. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "arch/arch.h"
#include "base/err.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stdint.h>

struct model_info {
    uint64_t bytes_on_disk; /* sizes of all files, as the file system reports them */
    bool header_only;       /* a .ggufh: no tensor data; can be planned, not deployed */
    uint32_t n_files;
    char header_sha256[65]; /* hex, over the first file's bytes up to the data section */
};

/* `path` may name any shard of a set. The caller frees the result with gguf_free. `info` may be
 * NULL. ERR_NOT_FOUND names the missing file or shards; otherwise the errors of gguf_open. */
struct gguf *model_open(const char *path, struct model_info *info, struct err *err);
/* model_open and arch_from_gguf in one step; the caller frees with arch_free. */
struct arch_facts *model_facts(const char *path, struct model_info *info, struct err *err);
/* Copies the header of each file of `path` to `out`: a `.ggufh` that plans as the model does. A set
 * of shards becomes a set OUT-00001-of-0000N.ggufh. An existing file is ERR_CONFLICT. */
int model_save_header(const char *path, const char *out, struct err *err);

#endif
