/* Number parsing and formatting. */
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t num_add_sat(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_add_overflow(a, b, &r) ? UINT64_MAX : r;
}

uint64_t num_mul_sat(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

uint64_t num_pad_sat(uint64_t a, uint64_t align)
{
    uint64_t rest = a % align;
    return rest ? num_add_sat(a, align - rest) : a;
}

int num_u64(const char *text, const char *what, uint64_t lo, uint64_t hi, uint64_t *out,
            struct err *err)
{
    if (!text || !isdigit((unsigned char)text[0]))
        return err_set(err, ERR_INVALID, "%s: '%.60s' is not a whole number", what,
                       text ? text : "");
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (*end)
        return err_set(err, ERR_INVALID, "%s: '%.60s' is not a whole number", what, text);
    if (errno == ERANGE || v < lo || v > hi)
        return err_set(err, ERR_INVALID, "%s: %.40s is outside %llu to %llu", what, text,
                       (unsigned long long)lo, (unsigned long long)hi);
    *out = v;
    return 0;
}

struct unit {
    const char *name;
    double factor;
};

static const struct unit BYTES[] = {{"", 1},
                                    {"B", 1},
                                    {"KB", 1e3},
                                    {"kB", 1e3},
                                    {"MB", 1e6},
                                    {"GB", 1e9},
                                    {"TB", 1e12},
                                    {"KiB", 1024.0},
                                    {"MiB", 1048576.0},
                                    {"GiB", 1073741824.0},
                                    {"TiB", 1099511627776.0},
                                    {NULL, 0}};
static const struct unit RATES[] = {
    {"B/s", 1},      {"KB/s", 1e3},        {"MB/s", 1e6},           {"GB/s", 1e9},
    {"TB/s", 1e12},  {"MiB/s", 1048576.0}, {"GiB/s", 1073741824.0}, {"bit/s", 0.125},
    {"kbit/s", 125}, {"Mbit/s", 125e3},    {"Gbit/s", 125e6},       {"Tbit/s", 125e9},
    {NULL, 0}};
static const struct unit TIMES[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1},
                                    {"m", 60},    {"h", 3600},  {"d", 86400}, {NULL, 0}};

/* number, optional space, unit of the table; the value is never negative */
static int with_unit(const char *text, const char *what, const char *kind, const char *example,
                     const struct unit *units, double *out, struct err *err)
{
    char *end = NULL;
    if (text && isdigit((unsigned char)text[0])) {
        double v = strtod(text, &end);
        while (*end == ' ')
            end++;
        for (const struct unit *u = units; u->name && isfinite(v); u++) {
            if (strcmp(u->name, end) == 0) {
                *out = v * u->factor;
                return 0;
            }
        }
    }
    return err_set(err, ERR_INVALID, "%s: '%.60s' is not a %s; write for example %s", what,
                   text ? text : "", kind, example);
}

int num_bytes(const char *text, const char *what, uint64_t *out, struct err *err)
{
    double v;
    if (with_unit(text, what, "size", "24GiB or 512MiB", BYTES, &v, err))
        return -1;
    if (v >= 9.2e18)
        return err_set(err, ERR_INVALID, "%s: %.60s is more than 8 EiB", what, text);
    *out = (uint64_t)v;
    return 0;
}

int num_rate(const char *text, const char *what, double *bytes_per_s, struct err *err)
{
    return with_unit(text, what, "rate", "936GB/s or 10Gbit/s", RATES, bytes_per_s, err);
}

int num_seconds(const char *text, const char *what, double *seconds, struct err *err)
{
    return with_unit(text, what, "duration", "0.2ms or 30s", TIMES, seconds, err);
}

char *num_fmt_gib(char *dst, size_t cap, uint64_t bytes)
{
    if (bytes >= GIB)
        snprintf(dst, cap, "%.1f GiB", (double)bytes / (double)GIB);
    else if (bytes >= MIB)
        snprintf(dst, cap, "%.0f MiB", (double)bytes / (double)MIB);
    else if (bytes >= KIB)
        snprintf(dst, cap, "%.0f KiB", (double)bytes / (double)KIB);
    else
        snprintf(dst, cap, "%llu B", (unsigned long long)bytes);
    return dst;
}

char *num_fmt_duration(char *dst, size_t cap, double s)
{
    if (s < 60)
        snprintf(dst, cap, "%.0fs", s);
    else if (s < 3600)
        snprintf(dst, cap, "%.0fm", floor(s / 60));
    else if (s < 86400)
        snprintf(dst, cap, "%.0fh", floor(s / 3600));
    else
        snprintf(dst, cap, "%.0fd", floor(s / 86400));
    return dst;
}
