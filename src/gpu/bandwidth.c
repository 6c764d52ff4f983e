/* Memory bandwidth of cards by name.
 *
 * GB/s of the data sheets; cross-checked against the open data of github.com/voidful/gpu-info-api
 * (a copy of Wikipedia's tables, June 2025) where it lists the card. Reads of the card itself come
 * before this table (NVML tells bus width and clock), so it serves cards that cannot say and
 * cluster files. */
#include "gpu/gpu.h"

#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <string.h>

struct card {
    const char *name;
    uint32_t gb_per_s;
    bool hbm;
};

static const struct card CARDS[] = {
    {"GeForce GTX 1080 Ti", 484, false},
    {"GeForce RTX 2060", 336, false},
    {"GeForce RTX 2070", 448, false},
    {"GeForce RTX 2080 Ti", 616, false},
    {"TITAN RTX", 672, false},
    {"GeForce RTX 3050", 224, false},
    {"GeForce RTX 3060", 360, false},
    {"GeForce RTX 3060 Ti", 448, false},
    {"GeForce RTX 3070", 448, false},
    {"GeForce RTX 3070 Ti", 608, false},
    {"GeForce RTX 3080", 760, false},
    {"GeForce RTX 3080 12GB", 912, false},
    {"GeForce RTX 3080 Ti", 912, false},
    {"GeForce RTX 3090", 936, false},
    {"GeForce RTX 3090 Ti", 1008, false},
    {"GeForce RTX 4060", 272, false},
    {"GeForce RTX 4060 Ti 16GB", 288, false},
    {"GeForce RTX 4070", 504, false},
    {"GeForce RTX 4070 Super", 504, false},
    {"GeForce RTX 4070 Ti", 504, false},
    {"GeForce RTX 4070 Ti Super", 672, false},
    {"GeForce RTX 4080", 717, false},
    {"GeForce RTX 4080 Super", 736, false},
    {"GeForce RTX 4090", 1008, false},
    {"GeForce RTX 4090 D", 1008, false},
    {"GeForce RTX 5060 Ti 16GB", 448, false},
    {"GeForce RTX 5070", 672, false},
    {"GeForce RTX 5070 Ti", 896, false},
    {"GeForce RTX 5080", 960, false},
    {"GeForce RTX 5090", 1792, false},
    {"Tesla M40 24GB", 288, false},
    {"Tesla P40", 346, false},
    {"Tesla P100 PCIe 16GB", 732, true},
    {"Tesla V100 PCIe 16GB", 900, true},
    {"Tesla V100 PCIe 32GB", 900, true},
    {"Tesla V100 SXM2 16GB", 900, true},
    {"Tesla V100 SXM2 32GB", 900, true},
    {"Tesla T4", 320, false},
    {"Quadro RTX 5000", 448, false},
    {"Quadro RTX 6000", 672, false},
    {"Quadro RTX 8000", 672, false},
    {"RTX A2000 12GB", 288, false},
    {"RTX A4000", 448, false},
    {"RTX A4500", 640, false},
    {"RTX A5000", 768, false},
    {"RTX A6000", 768, false},
    {"A2", 200, false},
    {"A10", 600, false},
    {"A10G", 600, false},
    {"A16", 200, false},
    {"A30", 933, true},
    {"A40", 696, false},
    {"A100 PCIe 40GB", 1555, true},
    {"A100 PCIe 80GB", 1935, true},
    {"A100 SXM4 40GB", 1555, true},
    {"A100 SXM4 80GB", 2039, true},
    {"A800 SXM4 80GB", 2039, true},
    {"RTX 4000 Ada", 360, false},
    {"RTX 4500 Ada", 432, false},
    {"RTX 5000 Ada", 576, false},
    {"RTX 6000 Ada", 960, false},
    {"L4", 300, false},
    {"L20", 864, false},
    {"L40", 864, false},
    {"L40S", 864, false},
    {"H20 SXM 96GB", 4000, true},
    {"H100 PCIe 80GB", 2039, true},
    {"H100 NVL 94GB", 3938, true},
    {"H100 SXM5 80GB", 3350, true},
    {"H800 SXM5 80GB", 3350, true},
    {"H200 SXM 141GB", 4800, true},
    {"B200 SXM 180GB", 8000, true},
    {"RTX PRO 6000 Blackwell", 1792, false},
    {"GB10", 273, false},
    {"Jetson AGX Orin 64GB", 205, false},
    {"Radeon RX 580 8GB", 256, false},
    {"Radeon RX 6600", 224, false},
    {"Radeon RX 6700 XT", 384, false},
    {"Radeon RX 6800", 512, false},
    {"Radeon RX 6800 XT", 512, false},
    {"Radeon RX 6900 XT", 512, false},
    {"Radeon RX 7600", 288, false},
    {"Radeon RX 7800 XT", 624, false},
    {"Radeon RX 7900 XT", 800, false},
    {"Radeon RX 7900 XTX", 960, false},
    {"Radeon RX 9070", 640, false},
    {"Radeon RX 9070 XT", 640, false},
    {"Radeon AI PRO R9700", 640, false},
    {"Radeon VII", 1024, true},
    {"Radeon PRO W6800", 512, false},
    {"Radeon PRO W7700", 576, false},
    {"Radeon PRO W7800", 576, false},
    {"Radeon PRO W7900", 864, false},
    {"Instinct MI25", 484, true},
    {"Instinct MI50 16GB", 1024, true},
    {"Instinct MI50 32GB", 1024, true},
    {"Instinct MI60", 1024, true},
    {"Instinct MI100", 1229, true},
    {"Instinct MI210", 1638, true},
    {"Instinct MI250X", 3277, true},
    {"Instinct MI300A", 5300, true},
    {"Instinct MI300X", 5300, true},
    {"Instinct MI325X", 6000, true},
    {"Ryzen AI Max+ 395", 256, false},
    {"Arc A380", 186, false},
    {"Arc A750", 512, false},
    {"Arc A770 16GB", 560, false},
    {"Arc B570", 380, false},
    {"Arc B580", 456, false},
    {"Arc Pro B50", 224, false},
    {"Arc Pro B60", 456, false},
    {"Data Center GPU Max 1550", 3277, true},
    {"Ascend 910B", 1600, true},
    {"Ascend 310P3", 204, false},
    {"MTT S80", 448, false},
    {"MTT S4000", 768, false},
};

enum { MAX_WORDS = 16, MAX_WORD = 24 };

struct words {
    char w[MAX_WORDS][MAX_WORD];
    size_t n;
};

/* Lower-case words of letters and digits: "A100-SXM4-80GB" has three. */
static void split(const char *text, struct words *out)
{
    out->n = 0;
    size_t len = 0;
    for (; out->n < MAX_WORDS; text++) {
        if (isalnum((unsigned char)*text)) {
            if (len + 1 < MAX_WORD)
                out->w[out->n][len++] = (char)tolower((unsigned char)*text);
            continue;
        }
        if (len)
            out->w[out->n++][len] = '\0';
        len = 0;
        if (!*text)
            return;
    }
}

static bool has(const struct words *s, const char *w)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->w[i], w) == 0)
            return true;
    return false;
}

static bool one_of(const char *w, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(w, *list) == 0)
            return true;
    return false;
}

static bool is_size(const char *w)
{
    size_t digits = strspn(w, "0123456789");
    return digits && strcmp(w + digits, "gb") == 0;
}

static const char *const BRANDS[] = {"nvidia", "geforce",  "tesla", "amd",
                                     "radeon", "instinct", "intel", NULL};
static const char *const FORMS[] = {"pcie", "sxm", "sxm2", "sxm4", "sxm5", "nvl", NULL};
static const char *const VARIANTS[] = {"ti",  "super",  "d",      "xt",  "xtx",
                                       "ada", "laptop", "mobile", "max", NULL};

/* Whether a word of the name that the row lacks makes it another card. */
static bool name_contradicts(const struct words *name, const struct words *row)
{
    for (size_t i = 0; i < name->n; i++) {
        const char *w = name->w[i];
        if (has(row, w))
            continue;
        if (one_of(w, VARIANTS))
            return true;
        for (size_t k = 0; k < row->n; k++)
            if ((is_size(w) && is_size(row->w[k])) ||
                (one_of(w, FORMS) && one_of(row->w[k], FORMS)))
                return true;
    }
    return false;
}

/* 0: not this card. Else the more words agree, the better; a row's extra size or form counts a
 * little against it. */
static int score(const struct words *name, const struct words *row)
{
    int s = 0;
    bool any = false;
    for (size_t i = 0; i < row->n; i++) {
        const char *w = row->w[i];
        if (has(name, w)) {
            s += 8;
            any = true;
        } else if (is_size(w) || one_of(w, FORMS))
            s -= 1;
        else if (!one_of(w, BRANDS))
            return 0;
    }
    return any && !name_contradicts(name, row) ? s : 0;
}

double gpu_bandwidth_by_name(const char *name, bool *hbm)
{
    struct words want, row;
    split(name, &want);
    int best = 0;
    const struct card *found = NULL;
    for (size_t i = 0; i < ARRAY_LEN(CARDS); i++) {
        split(CARDS[i].name, &row);
        int s = score(&want, &row);
        if (s > best || (found && s == best && CARDS[i].gb_per_s < found->gb_per_s)) {
            best = s;
            found = &CARDS[i];
        }
    }
    if (hbm)
        *hbm = found && found->hbm;
    return found ? found->gb_per_s * 1e9 : 0;
}
