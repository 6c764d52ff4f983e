/* Numbers from text and back, checked arithmetic on foreign sizes. Pure; any thread. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* Saturating: UINT64_MAX when the result does not fit. For estimates that must never wrap. */
uint64_t num_add_sat(uint64_t a, uint64_t b);
uint64_t num_mul_sat(uint64_t a, uint64_t b);
/* a rounded up to a multiple of `align` (a power of two or not, not 0); saturates. */
uint64_t num_pad_sat(uint64_t a, uint64_t align);

/* Whole decimal number with nothing around it, within [lo, hi]. `what` names it in the message. */
int num_u64(const char *text, const char *what, uint64_t lo, uint64_t hi, uint64_t *out,
            struct err *err);
/* A decimal number with nothing around it, 0 or more. */
int num_real(const char *text, const char *what, double *out, struct err *err);
/* "24GiB", "512MiB", "1.5 GB", "4096": bytes. Units B KB MB GB TB PB (1000) and KiB MiB GiB TiB PiB
 * (1024). */
int num_bytes(const char *text, const char *what, uint64_t *out, struct err *err);
/* "936GB/s" in bytes per second, "10Gbit/s" in bytes per second (bits / 8). */
int num_rate(const char *text, const char *what, double *bytes_per_s, struct err *err);
/* "0.1ms", "250us", "2s", "5m", "1h": seconds. */
int num_seconds(const char *text, const char *what, double *seconds, struct err *err);

/* The same by kind; the message does not say where the text came from, but the nearest unit. */
enum num_kind { NUM_BYTES, NUM_RATE, NUM_SECONDS, NUM_WATTS };
int num_unit(const char *text, enum num_kind kind, double *out, struct err *err);
const char *num_example(enum num_kind kind); /* "24GiB or 512MiB" */
/* The shortest text that num_unit() reads as exactly `v` (not negative): "1PiB", "936GB/s",
 * "0.1ms". At least 40 bytes; returns dst. */
char *num_fmt_unit(char *dst, size_t cap, enum num_kind kind, double v);

/* A short text for people in a caller's buffer (at least 24 bytes), which is returned. */
char *num_fmt_gib(char *dst, size_t cap, uint64_t bytes);      /* "22.6 GiB", "545 MiB", "12 KiB" */
char *num_fmt_duration(char *dst, size_t cap, double seconds); /* "12s", "3m", "2h", "5d" */

#endif
