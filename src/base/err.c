/* Error codes and messages. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

static const struct err_info TABLE[] = {
    [ERR_NONE] = {"OK", 200, 0},
    [ERR_INTERNAL] = {"INTERNAL", 500, 1},
    [ERR_USAGE] = {"USAGE", 400, 2},
    [ERR_INVALID] = {"INVALID", 400, 2},
    [ERR_NO_PLACEMENT] = {"NO_PLACEMENT", 422, 3},
    [ERR_NOT_FOUND] = {"NOT_FOUND", 404, 4},
    [ERR_CONFLICT] = {"CONFLICT", 409, 5},
    [ERR_AUTH] = {"UNAUTHORIZED", 401, 6},
    [ERR_FORBIDDEN] = {"FORBIDDEN", 403, 6},
    [ERR_UNREACHABLE] = {"UNREACHABLE", 502, 7},
    [ERR_TIMEOUT] = {"TIMEOUT", 504, 8},
    [ERR_LIMIT] = {"LIMIT", 413, 1},
    [ERR_CORRUPT] = {"CORRUPT", 422, 1},
    [ERR_IO] = {"IO", 500, 1},
    [ERR_UNAVAILABLE] = {"UNAVAILABLE", 503, 1},
    [ERR_UNSUPPORTED] = {"UNSUPPORTED", 422, 1},
};
_Static_assert(sizeof TABLE / sizeof *TABLE == ERR_COUNT, "one row per error code");

const struct err_info *err_info(enum err_code code)
{
    if ((unsigned)code >= ERR_COUNT)
        code = ERR_INTERNAL;
    return &TABLE[code];
}

enum err_code err_by_name(const char *name)
{
    for (int i = 0; i < ERR_COUNT; i++)
        if (name && strcmp(TABLE[i].name, name) == 0)
            return (enum err_code)i;
    return ERR_INTERNAL;
}

void err_vfill(struct err *err, enum err_code code, const char *fmt, va_list ap)
{
    if (!err)
        return;
    err->code = code;
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
}

void err_fill(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_vfill(err, code, fmt, ap);
    va_end(ap);
}

void err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err || err->code == ERR_NONE)
        return;
    char front[sizeof err->msg], old[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    memcpy(old, err->msg, sizeof old);
    size_t n = strlen(front);
    if (n > sizeof err->msg - 3)
        n = sizeof err->msg - 3;
    memcpy(err->msg, front, n);
    snprintf(err->msg + n, sizeof err->msg - n, ": %.*s", (int)(sizeof err->msg - n - 3), old);
}
