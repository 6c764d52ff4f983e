/* Paths to parsed headers. */
#include "model/model.h"

#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 128 << 10 };

struct file {
    int fd;
    const char *path;
};

static int64_t read_at(void *ctx, uint64_t off, void *dst, size_t n, struct err *err)
{
    const struct file *f = ctx;
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(f->fd, (char *)dst + got, n - got, (off_t)(off + got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_set(err, ERR_IO, "reading %.150s: %s", f->path, strerror(errno));
        if (r == 0)
            break;
        got += (size_t)r;
    }
    return (int64_t)got;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), t = strlen(tail);
    return n >= t && memcmp(s + n - t, tail, t) == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

struct part {
    struct gguf *g; /* NULL: this is the first file; else the model so far */
    uint64_t size;
    bool header_only; /* of the first file, and so of all */
};

/* Parses one file. One that fails as a whole is tried as a header: when it ends exactly where its
 * data would start, that is what it is. */
static int parse_part(struct part *p, const char *path, struct err *err)
{
    struct file f = {.path = path};
    fd_auto int fd = file_open_regular(path, &p->size, err);
    if (fd < 0)
        return -1;
    f.fd = fd;
    struct gguf_source src = {.read_at = read_at, .ctx = &f, .size = p->size};
    src.header_only = p->header_only || ends_with(path, ".ggufh");
    struct gguf *g = p->g;
    int rc = -1;
    if (g) {
        rc = gguf_add_shard(g, &src, err);
    } else {
        g = gguf_open(&src, err);
        if (!g && !src.header_only && err->code == ERR_CORRUPT) {
            src.header_only = true;
            g = gguf_open(&src, NULL);
            if (g && gguf_data_offset(g) != p->size) {
                gguf_free(g);
                g = NULL;
            }
        }
        rc = g ? 0 : -1;
    }
    if (rc < 0) {
        err_wrap(err, "%.80s", base_name(path));
        return -1;
    }
    p->g = g;
    p->header_only = src.header_only;
    return 0;
}

/* The name of shard `no` of the set that `path` belongs to, or path itself. */
static char *shard_path(const char *path, uint32_t no)
{
    size_t cap = strlen(path) + 1;
    char *s = mem_calloc(cap, 1);
    gguf_shard_name(path, no, s, cap);
    return s;
}

/* All files of the set exist; else an error that lists the missing ones. */
static int check_shards(const char *path, uint32_t n, struct err *err)
{
    char list[160] = "";
    uint32_t missing = 0;
    for (uint32_t i = 0; i < n; i++) {
        mem_auto char *s = shard_path(path, i);
        if (access(s, F_OK) == 0)
            continue;
        size_t at = strlen(list);
        if (missing < 3)
            str_copyf(list + at, sizeof list - at, "%s%.100s", missing ? ", " : "", base_name(s));
        missing++;
    }
    if (missing)
        return err_set(err, ERR_NOT_FOUND, "%u of %u files of the model are missing: %s%s", missing,
                       n, list, missing > 3 ? ", ..." : "");
    return 0;
}

static int hash_header(const char *path, uint64_t n, char hex[65], struct err *err)
{
    fd_auto int fd = file_open_regular(path, NULL, err);
    if (fd < 0)
        return -1;
    struct file f = {fd, path};
    crypto_hash_sha256_state st;
    crypto_hash_sha256_init(&st);
    mem_auto unsigned char *buf = mem_calloc(COPY_BYTES, 1);
    for (uint64_t off = 0; off < n;) {
        size_t want = n - off < COPY_BYTES ? (size_t)(n - off) : COPY_BYTES;
        int64_t got = read_at(&f, off, buf, want, err);
        if (got < 0)
            return -1;
        if (got == 0)
            break; /* a header-only file may lack the padding */
        crypto_hash_sha256_update(&st, buf, (size_t)got);
        off += (uint64_t)got;
    }
    unsigned char sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&st, sum);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
    return 0;
}

/* Parses the first file, then the others of its set, in order. */
static int parse_all(const char *first, struct part *p, struct model_info *info, struct err *err)
{
    if (parse_part(p, first, err) < 0)
        return -1;
    info->bytes_on_disk = p->size;
    info->header_only = p->header_only;
    info->n_files = gguf_n_shards(p->g);
    uint32_t no, count;
    bool named = gguf_split_name(first, &no, &count);
    if (info->n_files > 1 && (!named || count != info->n_files))
        return err_set(err, ERR_CORRUPT,
                       "%.80s is the first of %u files, but its name does not end in "
                       "-00001-of-%05u.gguf: rename it back",
                       base_name(first), info->n_files, info->n_files);
    if (info->n_files > 1 && check_shards(first, info->n_files, err) < 0)
        return -1;
    for (uint32_t i = 1; i < info->n_files; i++) {
        mem_auto char *s = shard_path(first, i);
        if (parse_part(p, s, err) < 0)
            return -1;
        info->bytes_on_disk += p->size; /* real files: cannot wrap */
    }
    return gguf_complete(p->g, err);
}

struct gguf *model_open(const char *path, struct model_info *info, struct err *err)
{
    struct model_info local = {0};
    struct part p = {0};
    uint32_t no, count;
    bool shard = gguf_split_name(path, &no, &count);
    if (shard && count > GGUF_MAX_SHARDS)
        return err_null(err, ERR_LIMIT, "%.80s: a set of %u files; at most %d (GGUF_MAX_SHARDS)",
                        base_name(path), count, GGUF_MAX_SHARDS);
    mem_auto char *first = shard ? shard_path(path, 0) : mem_strdup(path);
    if (shard && access(path, F_OK) == 0 && access(first, F_OK) != 0) {
        check_shards(path, count, err);
        return NULL;
    }
    /* An error of the first try must not reach the caller when the second one succeeds. */
    struct err bad = {0};
    if (parse_all(first, &p, &local, &bad) < 0 ||
        hash_header(first, gguf_data_offset(p.g), local.header_sha256, &bad) < 0) {
        gguf_free(p.g);
        if (err)
            *err = bad;
        return NULL;
    }
    if (info)
        *info = local;
    return p.g;
}

struct arch_facts *model_facts(const char *path, struct model_info *info, struct err *err)
{
    struct gguf *g = model_open(path, info, err);
    if (!g)
        return NULL;
    struct arch_facts *f = arch_from_gguf(g, err);
    if (!f)
        err_wrap(err, "%.80s", base_name(path));
    gguf_free(g);
    return f;
}

/* Copies the first `n` bytes; the file at `to` must not exist. */
static int copy_head(const char *from, const char *to, uint64_t n, struct err *err)
{
    fd_auto int in = file_open_regular(from, NULL, err);
    if (in < 0)
        return -1;
    fd_auto int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (out < 0)
        return err_set(err, errno == EEXIST ? ERR_CONFLICT : ERR_IO, "writing %.150s: %s", to,
                       strerror(errno));
    struct file f = {in, from};
    mem_auto char *buf = mem_calloc(COPY_BYTES, 1);
    for (uint64_t off = 0; off < n;) {
        size_t want = n - off < COPY_BYTES ? (size_t)(n - off) : COPY_BYTES;
        int64_t got = read_at(&f, off, buf, want, err);
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        for (int64_t done = 0; done < got;) {
            ssize_t w = write(out, buf + done, (size_t)(got - done));
            if (w < 0 && errno == EINTR)
                continue;
            if (w < 0) {
                int e = errno;
                unlink(to);
                return err_set(err, ERR_IO, "writing %.150s: %s", to, strerror(e));
            }
            done += w;
        }
        off += (uint64_t)got;
    }
    return 0;
}

/* Where the data section of one file of a set starts. */
static int data_offset_of(const char *path, uint64_t *out, struct err *err)
{
    struct file f = {.path = path};
    uint64_t size;
    fd_auto int fd = file_open_regular(path, &size, err);
    if (fd < 0)
        return -1;
    f.fd = fd;
    struct gguf_source src = {.read_at = read_at, .ctx = &f, .size = size, .header_only = true};
    return gguf_header_length(&src, out, err);
}

int model_save_header(const char *path, const char *out, struct err *err)
{
    struct model_info info;
    struct gguf *g = model_open(path, &info, err);
    if (!g)
        return -1;
    gguf_free(g);
    if (!ends_with(out, ".ggufh"))
        return err_set(err, ERR_INVALID, "%.150s: the name of a header file ends in .ggufh", out);
    for (uint32_t i = 0; i < info.n_files; i++) {
        mem_auto char *from = shard_path(path, i);
        mem_auto char *to = info.n_files == 1
                                ? mem_strdup(out)
                                : mem_printf("%.*s-%05u-of-%05u.ggufh", (int)strlen(out) - 6, out,
                                             i + 1, info.n_files);
        uint64_t n;
        if (data_offset_of(from, &n, err) < 0 || copy_head(from, to, n, err) < 0)
            return -1;
    }
    return 0;
}
