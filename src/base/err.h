/* Errors: one value type, filled by whoever notices first, handled once by a role. Pure; any
 * thread.
 *
 * A call that can fail takes `struct err *err` last (may be NULL, untouched on success) and returns
 * 0/-1 or pointer/NULL. The message says what was wanted and what was found, with numbers and
 * names. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum err_code {
    ERR_NONE,
    ERR_INTERNAL,     /* our own fault */
    ERR_USAGE,        /* the command line */
    ERR_INVALID,      /* a value is malformed or out of range */
    ERR_NO_PLACEMENT, /* nothing fits */
    ERR_NOT_FOUND,
    ERR_CONFLICT,    /* exists already, or a stale revision */
    ERR_AUTH,        /* no or wrong key */
    ERR_FORBIDDEN,   /* key known, not allowed */
    ERR_UNREACHABLE, /* a peer cannot be reached */
    ERR_TIMEOUT,
    ERR_LIMIT,       /* a named limit was hit */
    ERR_CORRUPT,     /* foreign bytes are not what they claim to be */
    ERR_IO,          /* the system refused */
    ERR_UNAVAILABLE, /* not now: loading, draining, full */
    ERR_UNSUPPORTED,
    ERR_COUNT,
};

struct err {
    enum err_code code;
    char msg[240];
};

struct err_info {
    const char *name; /* stable, on the wire and in docs: "NO_PLACEMENT" */
    int http;         /* HTTP status */
    int exit;         /* exit status of the command line */
};

/* The row of `code`; codes out of range give the row of ERR_INTERNAL. */
const struct err_info *err_info(enum err_code code);
/* The code with this stable name, or ERR_INTERNAL. */
enum err_code err_by_name(const char *name);

void err_fill(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void err_vfill(struct err *err, enum err_code code, const char *fmt, va_list ap);
/* Adds "context: " in front of the message; no-op when err is NULL or unset. */
void err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* `return err_set(err, ERR_LIMIT, "need %zu more", n);` -- always -1. */
#define err_set(err, code, ...) (err_fill((err), (code), __VA_ARGS__), -1)
/* The same for calls that return a pointer. */
#define err_null(err, code, ...) (err_fill((err), (code), __VA_ARGS__), NULL)

#endif
