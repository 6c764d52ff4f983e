/* Downloads by libcurl into dest.part, verified and renamed. */
#include "net/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"

enum {
    CONNECT_TIMEOUT_S = 15,
    STALL_S = 60,
    REDIRECTS_MAX = 5,
    PROGRESS_MS = 200,
    READ_BYTES = 256 << 10,
};

struct transfer {
    const struct download_opts *o;
    CURL *curl;
    int fd;
    uint64_t have, max_bytes;
    int64_t told_ms;
    bool too_big, stopped;
    int write_errno;
    char detail[CURL_ERROR_SIZE];
};

static int hash_fd(int fd, const char *name, char hex[65], struct err *err)
{
    crypto_hash_sha256_state state;
    unsigned char sum[crypto_hash_sha256_BYTES];
    mem_auto unsigned char *bytes = mem_calloc(1, READ_BYTES);
    crypto_hash_sha256_init(&state);
    for (off_t at = 0;;) {
        ssize_t n = pread(fd, bytes, READ_BYTES, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_IO, "reading %s: %s", name, strerror(errno));
        if (n == 0)
            break;
        crypto_hash_sha256_update(&state, bytes, (unsigned long long)n);
        at += n;
    }
    crypto_hash_sha256_final(&state, sum);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
    return 0;
}

/* ---- the transfer ---- */

static size_t on_bytes(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t bytes = size * n;
    if (bytes > t->max_bytes - t->have) {
        t->too_big = true;
        return CURL_WRITEFUNC_ERROR;
    }
    for (size_t at = 0; at < bytes;) {
        ssize_t put = pwrite(t->fd, p + at, bytes - at, (off_t)(t->have + at));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            t->write_errno = errno;
            return CURL_WRITEFUNC_ERROR;
        }
        at += (size_t)put;
    }
    t->have += bytes;
    return bytes;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up_now)
{
    struct transfer *t = arg;
    int64_t now_ms = os_now_ms();
    if (!t->o->progress || now_ms - t->told_ms < PROGRESS_MS)
        return 0;
    t->told_ms = now_ms;
    uint64_t start = t->have - (uint64_t)(now < (curl_off_t)t->have ? now : (curl_off_t)t->have);
    t->stopped = !t->o->progress(t->o->arg, t->have, total > 0 ? start + (uint64_t)total : 0);
    return t->stopped;
}

static CURL *new_curl(struct transfer *t)
{
    CURL *c = curl_easy_init();
    if (!c)
        abort(); /* memory alone */
    bool secure = strncasecmp(t->o->url, "https:", 6) == 0;
    curl_easy_setopt(c, CURLOPT_URL, t->o->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    /* What was asked for over TLS does not come without it. */
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "stowage");
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->detail);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->have);
    return c;
}

static int http_failure(const struct transfer *t, long status, struct err *err)
{
    enum err_code code = status == 404 || status == 410   ? ERR_NOT_FOUND
                         : status == 401 || status == 403 ? ERR_FORBIDDEN
                                                          : ERR_UNREACHABLE;
    return err_set(err, code, "downloading %s: the server answers %ld", t->o->url, status);
}

static int failure(const struct transfer *t, CURLcode rc, long status, struct err *err)
{
    const char *url = t->o->url, *what = t->detail[0] ? t->detail : curl_easy_strerror(rc);
    if (t->too_big)
        return err_set(err, ERR_LIMIT, "downloading %s: larger than %llu bytes", url,
                       (unsigned long long)t->max_bytes);
    if (t->write_errno)
        return err_set(err, ERR_IO, "writing %s.part: %s", t->o->dest, strerror(t->write_errno));
    if (t->stopped)
        return err_set(err, ERR_IO, "downloading %s: stopped after %llu bytes", url,
                       (unsigned long long)t->have);
    switch (rc) {
    case CURLE_HTTP_RETURNED_ERROR:
        return http_failure(t, status, err);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(err, ERR_INVALID, "downloading %s: %s", url, what);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, ERR_TIMEOUT, "downloading %s: %s", url, what);
    default:
        return err_set(err, ERR_UNREACHABLE, "downloading %s: %s (%llu bytes are kept)", url, what,
                       (unsigned long long)t->have);
    }
}

/* One transfer from t->have on. 1: what is there cannot be continued, start anew. */
static int transfer(struct transfer *t, struct err *err)
{
    uint64_t start = t->have;
    CURL *c = new_curl(t);
    t->detail[0] = 0;
    CURLcode rc = curl_easy_perform(c);
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    if (rc == CURLE_OK)
        return 0;
    bool no_range = rc == CURLE_RANGE_ERROR || (rc == CURLE_HTTP_RETURNED_ERROR && status == 416);
    if (start && no_range)
        return 1;
    return failure(t, rc, status, err);
}

/* ---- the file ---- */

static int open_part(const char *part, uint64_t *have, struct err *err)
{
    struct stat st;
    fd_auto int fd = open(part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_set(err, ERR_IO, "opening %s: %s", part, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a regular file", part);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_CONFLICT, "%s is being downloaded already", part);
    *have = (uint64_t)st.st_size;
    int keep = fd;
    fd = -1;
    return keep;
}

static int verify(const struct transfer *t, const char *part, struct err *err)
{
    char hex[65];
    if (!t->o->sha256)
        return 0;
    if (hash_fd(t->fd, part, hex, err) != 0)
        return -1;
    if (strcasecmp(hex, t->o->sha256) != 0)
        return err_set(err, ERR_CORRUPT, "%s has SHA-256 %s, not %s", t->o->url, hex, t->o->sha256);
    return 0;
}

static int restart(struct transfer *t, struct err *err)
{
    t->have = 0;
    if (ftruncate(t->fd, 0) != 0)
        return err_set(err, ERR_IO, "emptying %s.part: %s", t->o->dest, strerror(errno));
    return 0;
}

/* Bytes of an earlier try can be of an older file, or already all: the checksum tells. When it is
 * wrong the file is fetched once more from its start. */
static int fetch(struct transfer *t, const char *part, struct err *err)
{
    bool resumed = t->have > 0;
    if (resumed && t->o->sha256 && verify(t, part, NULL) == 0)
        return 0;
    int rc = transfer(t, err);
    if (rc == 0 && resumed && verify(t, part, NULL) != 0)
        rc = 1;
    if (rc > 0)
        rc = restart(t, err) == 0 ? transfer(t, err) : -1;
    if (rc == 0)
        rc = verify(t, part, err);
    if (rc != 0 && (t->too_big || (err && err->code == ERR_CORRUPT)))
        unlink(part);
    return rc;
}

static int check(const struct download_opts *o, struct err *err)
{
    if (strncasecmp(o->url, "http://", 7) != 0 && strncasecmp(o->url, "https://", 8) != 0)
        return err_set(err, ERR_INVALID, "\"%s\" is not an http or https address", o->url);
    if (o->sha256 && (strlen(o->sha256) != 64 || strspn(o->sha256, "0123456789abcdefABCDEF") != 64))
        return err_set(err, ERR_INVALID, "\"%s\" is not a SHA-256 of 64 hex digits", o->sha256);
    return 0;
}

int net_download(const struct download_opts *o, struct err *err)
{
    struct err own = {0};
    struct err *e = err ? err : &own;
    if (check(o, e) != 0)
        return -1;
    mem_auto char *part = mem_printf("%s.part", o->dest);
    struct transfer t = {.o = o, .max_bytes = o->max_bytes ? o->max_bytes : DOWNLOAD_MAX_BYTES};
    fd_auto int fd = open_part(part, &t.have, e);
    if (fd < 0)
        return -1;
    t.fd = fd;
    /* Without a checksum nothing says that earlier bytes belong to the same file. */
    if ((t.have > t.max_bytes || !o->sha256) && restart(&t, e) != 0)
        return -1;
    if (fetch(&t, part, e) != 0)
        return -1;
    return file_publish(part, o->dest, e);
}
