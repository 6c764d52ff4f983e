/* Tensor types, value types and the file names of shards. */
#include "gguf/gguf.h"
#include "gguf/gguf_internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* By type id: name, elements per block, bytes per block. Gaps are ids that were withdrawn. */
static const struct gguf_type_info TYPES[] = {
    [0] = {"f32", 1, 4},         [1] = {"f16", 1, 2},         [2] = {"q4_0", 32, 18},
    [3] = {"q4_1", 32, 20},      [6] = {"q5_0", 32, 22},      [7] = {"q5_1", 32, 24},
    [8] = {"q8_0", 32, 34},      [9] = {"q8_1", 32, 36},      [10] = {"q2_K", 256, 84},
    [11] = {"q3_K", 256, 110},   [12] = {"q4_K", 256, 144},   [13] = {"q5_K", 256, 176},
    [14] = {"q6_K", 256, 210},   [15] = {"q8_K", 256, 292},   [16] = {"iq2_xxs", 256, 66},
    [17] = {"iq2_xs", 256, 74},  [18] = {"iq3_xxs", 256, 98}, [19] = {"iq1_s", 256, 50},
    [20] = {"iq4_nl", 32, 18},   [21] = {"iq3_s", 256, 110},  [22] = {"iq2_s", 256, 82},
    [23] = {"iq4_xs", 256, 136}, [24] = {"i8", 1, 1},         [25] = {"i16", 1, 2},
    [26] = {"i32", 1, 4},        [27] = {"i64", 1, 8},        [28] = {"f64", 1, 8},
    [29] = {"iq1_m", 256, 56},   [30] = {"bf16", 1, 2},       [34] = {"tq1_0", 256, 54},
    [35] = {"tq2_0", 256, 66},   [39] = {"mxfp4", 32, 17},    [40] = {"nvfp4", 64, 36},
    [41] = {"q1_0", 128, 18},    [42] = {"q2_0", 64, 18},
};

const struct gguf_type_info *gguf_type(uint32_t id)
{
    if (id >= ARRAY_LEN(TYPES) || !TYPES[id].name)
        return NULL;
    return &TYPES[id];
}

/* Bytes of one value; 0 for those of variable length. */
static const uint8_t VALUE_BYTES[] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2,  [GGUF_I16] = 2, [GGUF_U32] = 4,
    [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_STR] = 0, [GGUF_ARR] = 0,
    [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};
_Static_assert(ARRAY_LEN(VALUE_BYTES) == GGUF_VALUE_COUNT, "one row per value type");

unsigned gguf_value_bytes(uint32_t type)
{
    return type < GGUF_VALUE_COUNT ? VALUE_BYTES[type] : 0;
}

enum { SPLIT_TAIL = 15 }; /* "-00002-of-00005" */

static bool five_digits(const char *p, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(p[i] - '0');
    }
    *out = v;
    return true;
}

/* Where the extension (".gguf" or ".ggufh") starts, or 0. */
static size_t extension_at(const char *path)
{
    size_t n = strlen(path);
    if (n > 5 && memcmp(path + n - 5, ".gguf", 5) == 0)
        return n - 5;
    if (n > 6 && memcmp(path + n - 6, ".ggufh", 6) == 0)
        return n - 6;
    return 0;
}

bool gguf_split_name(const char *path, uint32_t *no, uint32_t *count)
{
    size_t ext = extension_at(path);
    if (ext < SPLIT_TAIL)
        return false;
    const char *t = path + ext - SPLIT_TAIL;
    uint32_t a, b;
    if (t[0] != '-' || !five_digits(t + 1, &a) || memcmp(t + 6, "-of-", 4) != 0 ||
        !five_digits(t + 10, &b))
        return false;
    if (a < 1 || a > b)
        return false;
    *no = a - 1;
    *count = b;
    return true;
}

void gguf_shard_name(const char *path, uint32_t no, char *dst, size_t cap)
{
    uint32_t old, count;
    if (!gguf_split_name(path, &old, &count)) {
        str_copy(dst, cap, path);
        return;
    }
    size_t ext = extension_at(path);
    str_copyf(dst, cap, "%.*s-%05u-of-%05u%s", (int)(ext - SPLIT_TAIL), path, no + 1, count,
              path + ext);
}
