/* Texts of a model: its quantisation's name, and foreign text made safe to print. */
#include "arch/arch_internal.h"

#include "base/mem.h"

#include <string.h>

/* general.file_type, as llama.cpp numbers them. */
static const char *const FILE_TYPES[] = {
    [0] = "F32",      [1] = "F16",      [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
    [8] = "Q5_0",     [9] = "Q5_1",     [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
    [13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
    [18] = "Q6_K",    [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
    [23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
    [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
    [36] = "TQ1_0",   [37] = "TQ2_0",   [38] = "MXFP4",
};

void arch_quant_name(const struct gguf *g, const struct arch_scan *s, char *dst, size_t cap)
{
    uint64_t ft;
    if (gguf_get_u64(g, "general.file_type", &ft)) {
        ft &= ~(uint64_t)1024; /* "guessed" */
        if (ft < ARRAY_LEN(FILE_TYPES) && FILE_TYPES[ft]) {
            str_copy(dst, cap, FILE_TYPES[ft]);
            return;
        }
    }
    uint32_t best = 0;
    for (uint32_t i = 0; i < ARRAY_LEN(s->type_bytes); i++)
        if (s->type_bytes[i] > s->type_bytes[best])
            best = i;
    const struct gguf_type_info *ty = gguf_type(best);
    size_t i = 0;
    for (const char *p = ty ? ty->name : "?"; *p && i + 1 < cap; p++)
        dst[i++] = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
    dst[i] = '\0';
}

/* Bytes of the UTF-8 character at p (n left), 0 when it is none or a control character. */
static size_t utf8_char(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > n)
        return 0;
    uint32_t c = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    bool control = c < 0xa0 || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
                   (c >= 0x2066 && c <= 0x2069);
    if (c < LEAST[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || control)
        return 0;
    return len;
}

void arch_clean_text(char *dst, size_t cap, struct str src)
{
    size_t at = 0;
    for (size_t i = 0; i < src.n;) {
        const unsigned char *p = (const unsigned char *)src.p + i;
        size_t len = utf8_char(p, src.n - i);
        size_t take = len ? len : 1;
        if (at + take >= cap)
            break;
        if (len)
            memcpy(dst + at, p, len);
        else
            dst[at] = '?';
        at += take;
        i += take;
    }
    dst[at] = '\0';
}
