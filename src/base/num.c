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

int num_real(const char *text, const char *what, double *out, struct err *err)
{
    char *end = NULL;
    bool plain = text && text[0] && strspn(text, "0123456789.") == strlen(text);
    double v = plain ? strtod(text, &end) : 0;
    if (!plain || *end || !isfinite(v))
        return err_set(err, ERR_INVALID, "%s: '%.60s' is not a number of 0 or more", what,
                       text ? text : "");
    *out = v;
    return 0;
}

struct unit {
    const char *name;
    double factor;
};

enum { UNITS_MAX = 16 };

static const struct {
    const char *what, *example;
    struct unit units[UNITS_MAX]; /* up to the one without a name */
} KINDS[] = {
    [NUM_BYTES] = {"size",
                   "24GiB or 512MiB",
                   {{"", 1},
                    {"B", 1},
                    {"KB", 1e3},
                    {"kB", 1e3},
                    {"MB", 1e6},
                    {"GB", 1e9},
                    {"TB", 1e12},
                    {"PB", 1e15},
                    {"KiB", 1024.0},
                    {"MiB", 1048576.0},
                    {"GiB", 1073741824.0},
                    {"TiB", 1099511627776.0},
                    {"PiB", 1125899906842624.0}}},
    [NUM_RATE] = {"rate",
                  "936GB/s or 10Gbit/s",
                  {{"B/s", 1},
                   {"KB/s", 1e3},
                   {"MB/s", 1e6},
                   {"GB/s", 1e9},
                   {"TB/s", 1e12},
                   {"MiB/s", 1048576.0},
                   {"GiB/s", 1073741824.0},
                   {"bit/s", 0.125},
                   {"kbit/s", 125},
                   {"Mbit/s", 125e3},
                   {"Gbit/s", 125e6},
                   {"Tbit/s", 125e9}}},
    [NUM_SECONDS] = {"duration",
                     "0.2ms or 30s",
                     {{"ns", 1e-9},
                      {"us", 1e-6},
                      {"ms", 1e-3},
                      {"s", 1},
                      {"m", 60},
                      {"h", 3600},
                      {"d", 86400}}},
    [NUM_WATTS] = {"power", "350W", {{"W", 1}, {"kW", 1e3}}},
};

int num_unit(const char *text, enum num_kind kind, double *out, struct err *err)
{
    const struct unit *units = KINDS[kind].units;
    const char *names[UNITS_MAX], *near = NULL;
    size_t n = 0;
    bool hex = text && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (text && isdigit((unsigned char)text[0]) && !hex) {
        char *end;
        double v = strtod(text, &end);
        while (*end == ' ')
            end++;
        for (; n < UNITS_MAX && units[n].name && isfinite(v); n++) {
            if (strcmp(units[n].name, end) == 0) {
                *out = v * units[n].factor;
                return 0;
            }
            names[n] = units[n].name;
        }
        near = str_nearest(end, names, n);
    }
    if (near)
        return err_set(err, ERR_INVALID, "'%.60s' is not a %s; did you mean the unit %s?", text,
                       KINDS[kind].what, near);
    return err_set(err, ERR_INVALID, "'%.60s' is not a %s; write for example %s", text ? text : "",
                   KINDS[kind].what, KINDS[kind].example);
}

const char *num_example(enum num_kind kind)
{
    return KINDS[kind].example;
}

int num_bytes(const char *text, const char *what, uint64_t *out, struct err *err)
{
    double v;
    int rc = num_unit(text, NUM_BYTES, &v, err);
    if (!rc && v >= 9.2e18)
        rc = err_set(err, ERR_INVALID, "%.60s is more than 8 EiB", text);
    if (rc)
        err_wrap(err, "%s", what);
    else
        *out = (uint64_t)v;
    return rc;
}

int num_rate(const char *text, const char *what, double *bytes_per_s, struct err *err)
{
    int rc = num_unit(text, NUM_RATE, bytes_per_s, err);
    if (rc)
        err_wrap(err, "%s", what);
    return rc;
}

int num_seconds(const char *text, const char *what, double *seconds, struct err *err)
{
    int rc = num_unit(text, NUM_SECONDS, seconds, err);
    if (rc)
        err_wrap(err, "%s", what);
    return rc;
}

/* v in this unit in at most nine digits: how ugly that is, or 0 when it does not read back as v. */
static size_t fmt_in(char *dst, size_t cap, const struct unit *u, double v)
{
    int n = snprintf(dst, cap, "%.9g", v / u->factor);
    bool exact = strtod(dst, NULL) * u->factor == v && !strchr(dst, 'e');
    size_t rest = strlen(u->name);
    str_copy(dst + n, cap - (size_t)n, u->name);
    return exact ? 2 * ((size_t)n + rest) + (strchr(dst, '.') != NULL) : 0;
}

char *num_fmt_unit(char *dst, size_t cap, enum num_kind kind, double v)
{
    const struct unit *best = NULL, *base = NULL;
    size_t least = 0;
    for (const struct unit *u = KINDS[kind].units; u < KINDS[kind].units + UNITS_MAX && u->name;
         u++) {
        size_t ugly = fmt_in(dst, cap, u, v);
        if (ugly && (!best || ugly < least)) {
            best = u;
            least = ugly;
        }
        if (u->factor == 1 && !base)
            base = u;
    }
    if (best)
        fmt_in(dst, cap, best, v);
    else
        snprintf(dst, cap, "%.17g%s", v, base ? base->name : "");
    return dst;
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
