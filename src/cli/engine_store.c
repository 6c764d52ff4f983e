/* The folder of installed engines. */
#include "cli/engine_store.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE_PREFIX ".stage-"
#define NOTE "engine.json" /* beside bin/: what this engine is */

static int io_fail(const char *what, const char *path, struct err *err)
{
    return err_set(err, ERR_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static int sweep(const char *dir, struct err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return io_fail("read", dir, err);
    int rc = 0;
    for (struct dirent *e = readdir(d); e && rc == 0; e = readdir(d)) {
        if (strncmp(e->d_name, STAGE_PREFIX, strlen(STAGE_PREFIX)) != 0)
            continue;
        mem_auto char *path = mem_printf("%s/%s", dir, e->d_name);
        if (unlink(path)) /* a link, or a folder */
            rc = file_remove_tree(path, err);
    }
    closedir(d);
    return rc;
}

int engine_store_lock(const char *dir, struct err *err)
{
    if (file_mkdirs(dir, 0755, err))
        return -1;
    mem_auto char *path = mem_printf("%s/.lock", dir);
    fd_auto int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return io_fail("write", path, err);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        fprintf(stderr, "waiting for another installation in %s\n", dir);
        if (flock(fd, LOCK_EX))
            return io_fail("lock", path, err);
    }
    if (sweep(dir, err))
        return -1;
    int held = fd;
    fd = -1;
    return held;
}

char *engine_store_stage(const char *dir, struct err *err)
{
    char hex[17];
    os_random_hex(hex, 8);
    mem_auto char *path = mem_printf("%s/" STAGE_PREFIX "%s", dir, hex);
    if (mkdir(path, 0755)) {
        io_fail("make", path, err);
        return NULL;
    }
    return STEAL(path);
}

int engine_store_use(const char *dir, const char *name, struct err *err)
{
    char hex[17];
    os_random_hex(hex, 8);
    mem_auto char *link = mem_printf("%s/" STAGE_PREFIX "%s", dir, hex);
    mem_auto char *current = mem_printf("%s/current", dir);
    if (symlink(name, link))
        return io_fail("write", link, err);
    if (rename(link, current)) {
        io_fail("replace", current, err);
        unlink(link);
        return -1;
    }
    return 0;
}

static int write_note(const char *stage, const struct engine_entry *e, struct err *err)
{
    json_auto_t *doc = json_object();
    json_put_str(doc, "engine", "llama.cpp");
    json_put_str(doc, "version", e->version);
    json_put_str(doc, "backend", e->backend);
    json_put_str(doc, "source", e->source);
    json_put_str(doc, "sha256", e->sha256);
    mem_auto char *text = json_text(doc);
    mem_auto char *path = mem_printf("%s/" NOTE, stage);
    return file_write(path, text, strlen(text), 0644, err);
}

int engine_store_commit(const char *dir, const char *stage, const struct engine_entry *e,
                        struct err *err)
{
    if (write_note(stage, e, err))
        return -1;
    mem_auto char *final = mem_printf("%s/%s", dir, e->name);
    mem_auto char *old = mem_printf("%s-old", stage);
    bool replaced = rename(final, old) == 0;
    if (!replaced && errno != ENOENT)
        return io_fail("replace", final, err);
    if (rename(stage, final)) {
        io_fail("write", final, err);
        if (replaced && rename(old, final))
            fprintf(stderr, "the engine that was at %s is now at %s\n", final, old);
        return -1;
    }
    if (replaced && file_remove_tree(old, err))
        return -1;
    return engine_store_use(dir, e->name, err);
}

/* False: no engine of ours. */
static bool read_entry(const char *dir, const char *name, struct engine_entry *e)
{
    mem_auto char *path = mem_printf("%s/%s/" NOTE, dir, name);
    mem_auto char *text = NULL;
    size_t n;
    if (name[0] == '.' || file_read(path, 1 << 16, &text, &n, NULL))
        return false;
    json_auto_t *doc = json_parse(text, n, NULL);
    *e = (struct engine_entry){0};
    return doc && STR_COPY(e->name, name) && !JSON_COPY(doc, "version", true, e->version, NULL) &&
           !JSON_COPY(doc, "backend", true, e->backend, NULL) &&
           !JSON_COPY(doc, "source", true, e->source, NULL) &&
           !JSON_COPY(doc, "sha256", false, e->sha256, NULL);
}

static int by_name(const void *a, const void *b)
{
    const struct engine_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int engine_store_list(const char *dir, struct engine_entry **out, size_t *n, struct err *err)
{
    char target[160] = "";
    mem_auto char *link = mem_printf("%s/current", dir);
    ssize_t len = readlink(link, target, sizeof target - 1);
    target[len > 0 ? len : 0] = 0;
    *out = NULL;
    *n = 0;
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : io_fail("read", dir, err);
    struct engine_entry *items = mem_calloc(ENGINE_STORE_MAX, sizeof *items);
    int rc = 0;
    for (struct dirent *f = readdir(d); f && rc == 0; f = readdir(d)) {
        if (strcmp(f->d_name, "current") == 0 || strlen(f->d_name) >= sizeof items->name)
            continue;
        struct engine_entry e;
        if (!read_entry(dir, f->d_name, &e))
            continue;
        e.current = strcmp(e.name, target) == 0;
        if (*n == ENGINE_STORE_MAX)
            rc = err_set(err, ERR_LIMIT, "more than %d engines in %s: remove some",
                         ENGINE_STORE_MAX, dir);
        else
            items[(*n)++] = e;
    }
    closedir(d);
    if (rc) {
        free(items);
        *n = 0;
        return -1;
    }
    qsort(items, *n, sizeof *items, by_name);
    *out = items;
    return 0;
}
