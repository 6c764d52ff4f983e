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
