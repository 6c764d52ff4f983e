/* Fetches one file over http or https: resumed, capped, verified, then renamed into place. I/O;
 * blocking, so call it from a command or a thread of its own, never from a loop. */
#ifndef NET_DOWNLOAD_H
#define NET_DOWNLOAD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define DOWNLOAD_MAX_BYTES ((uint64_t)8 << 30) /* default cap: an engine archive is well below */

struct download_opts {
    const char *url;    /* http:// or https:// */
    const char *dest;   /* final path; what came so far waits in dest.part */
    const char *sha256; /* 64 hex digits, or NULL: not verified, and never resumed */
    uint64_t max_bytes; /* 0: DOWNLOAD_MAX_BYTES */
    /* Optional; at most a few calls per second. total is 0 while unknown. False stops the download.
     */
    bool (*progress)(void *arg, uint64_t have, uint64_t total);
    void *arg;
};
/* 0 when `dest` is complete and durable. A cut transfer is ERR_UNREACHABLE and keeps dest.part for
 * the next try; wrong bytes are ERR_CORRUPT and remove it. ERR_INVALID (url, checksum),
 * ERR_NOT_FOUND (404), ERR_LIMIT (too big), ERR_TIMEOUT (no byte for 60 s), ERR_IO (disk, or
 * stopped by progress). */
int net_download(const struct download_opts *o, struct err *err);

#endif
