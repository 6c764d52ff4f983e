/* Terms and presets, as rows of tables. */
#include "cluster/policy.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

static const char *const TERMS[] = {
    [TERM_OFFLOAD] = "offload",
    [TERM_NODES] = "nodes",
    [TERM_GPUS] = "gpus",
    [TERM_TOKEN_TIME] = "token_time",
    [TERM_STREAM_TIME] = "stream_time",
    [TERM_HOPS] = "hops",
    [TERM_LEFTOVER] = "leftover",
    [TERM_WHOLE] = "whole",
    [TERM_SPREAD] = "spread",
    [TERM_LOAD] = "load",
    [TERM_LOCALITY] = "locality",
    [TERM_POWER] = "power",
    [TERM_PRICE] = "price",
};
_Static_assert(ARRAY_LEN(TERMS) == TERM_COUNT, "one name per term");

/* clang-format off */
static const struct policy PRESETS[] = {
    {"tiered", .n_terms = 5,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_TOKEN_TIME, 1}, {TERM_LEFTOVER, 1}}},
    {"fastest", .n_terms = 3, .terms = {{TERM_TOKEN_TIME, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}}},
    {"throughput", .n_terms = 4, .streams = 16,
     .terms = {{TERM_STREAM_TIME, 1}, {TERM_TOKEN_TIME, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}}},
    {"binpack", .n_terms = 6,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_WHOLE, 1}, {TERM_LEFTOVER, 1}, {TERM_TOKEN_TIME, 1}}},
    {"spread", .n_terms = 6,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_SPREAD, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_LOAD, 1}, {TERM_TOKEN_TIME, 1}}},
    {"cheapest", .n_terms = 6,
     .terms = {{TERM_OFFLOAD, 1}, {TERM_PRICE, 1}, {TERM_POWER, 1}, {TERM_NODES, 1}, {TERM_GPUS, 1}, {TERM_TOKEN_TIME, 1}}},
};
/* clang-format on */

const char *policy_term_name(enum policy_term t)
{
    return (unsigned)t < TERM_COUNT ? TERMS[t] : "?";
}

const char *policy_term_unit(enum policy_term t)
{
    static const char *const UNITS[TERM_COUNT] = {
        [TERM_TOKEN_TIME] = "ms", [TERM_STREAM_TIME] = "ms", [TERM_LEFTOVER] = "GiB",
        [TERM_WHOLE] = "GiB",     [TERM_LOAD] = "%",         [TERM_LOCALITY] = "MiB",
        [TERM_POWER] = "W",
    };
    return (unsigned)t < TERM_COUNT && UNITS[t] ? UNITS[t] : "";
}

const char *policy_preset_name(uint32_t i)
{
    return i < ARRAY_LEN(PRESETS) ? PRESETS[i].name : NULL;
}

int policy_preset(struct policy *p, const char *name, struct err *err)
{
    const char *names[ARRAY_LEN(PRESETS)];
    for (size_t i = 0; i < ARRAY_LEN(PRESETS); i++) {
        names[i] = PRESETS[i].name;
        if (strcmp(name, names[i]) == 0) {
            *p = PRESETS[i];
            return 0;
        }
    }
    return err_set(err, ERR_INVALID,
                   "policy '%.40s' is none of tiered, fastest, throughput, binpack, spread, "
                   "cheapest%s",
                   name, str_did_you_mean(str_nearest(name, names, ARRAY_LEN(names))).text);
}

bool policy_same(const struct policy *a, const struct policy *b)
{
    if (a->weighted != b->weighted || a->n_terms != b->n_terms || a->streams != b->streams ||
        strcmp(a->domain, b->domain) != 0)
        return false;
    for (uint32_t i = 0; i < a->n_terms; i++)
        if (a->terms[i].term != b->terms[i].term ||
            (a->weighted && a->terms[i].weight != b->terms[i].weight))
            return false;
    return true;
}

bool name_list_has(const struct name_list *l, const char *name)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], name) == 0)
            return true;
    return false;
}
