/* The folder of installed engines: DIR/NAME/bin and the link DIR/current. I/O; any thread.
 *
 * A new engine is put together in a stage of its own and appears under its name in one rename, so
 * an interrupted installation leaves nothing that looks whole. One installation at a time per
 * folder. */
#ifndef CLI_ENGINE_STORE_H
#define CLI_ENGINE_STORE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { ENGINE_STORE_MAX = 256 };

struct engine_entry {
    char name[160]; /* of its folder: "llama.cpp-0.7.0-b11669-vulkan" */
    char version[64];
    char backend[16];  /* "cpu", "vulkan", "own" for a binary of the user's */
    char source[1100]; /* where it came from: "debian", a URL, a path */
    char sha256[65];   /* of the archive, or "" */
    bool current;
};

/* Opens the folder (made when absent) and takes its lock, waiting for another installation; removes
 * what a killed one left. Returns a descriptor that holds the lock until it is closed, or -1. */
int engine_store_lock(const char *dir, struct err *err);
/* A new empty stage inside dir; the caller frees the path. */
char *engine_store_stage(const char *dir, struct err *err);
/* Makes the stage the engine e->name, replacing one of that name, and the current one. */
int engine_store_commit(const char *dir, const char *stage, const struct engine_entry *e,
                        struct err *err);
int engine_store_use(const char *dir, const char *name, struct err *err);
/* Installed engines by name; the caller frees *out. A folder that is absent has none. */
int engine_store_list(const char *dir, struct engine_entry **out, size_t *n, struct err *err);

#endif
