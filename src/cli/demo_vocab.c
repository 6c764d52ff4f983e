/* The made-up vocabulary of demonstration models. */
#include "cli/demo_vocab.h"

#include <string.h>

#define BLANK "\xe2\x96\x81" /* U+2581, SentencePiece's space */

/* Token types of the format. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_BYTE = 6 };

static const char *const ONSETS[] = {"b",  "br", "d",  "dr", "f", "fl", "g",  "gl", "h", "j",
                                     "k",  "kl", "l",  "m",  "n", "pl", "qu", "r",  "s", "sh",
                                     "st", "t",  "th", "tr", "v", "w",  "y",  "z"};
static const char *const VOWELS[] = {"a", "e", "i", "o", "u", "ai", "ee", "ou"};
static const char *const CODAS[] = {"", "l", "m", "n", "r", "sk", "t"};
enum { N_ONSETS = 28, N_VOWELS = 8, N_CODAS = 7, N_SYLLABLES = N_ONSETS * N_VOWELS * N_CODAS };

static const char TEMPLATE[] =
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";

static void syllable(struct buf *b, uint32_t i)
{
    buf_adds(b, ONSETS[i % N_ONSETS]);
    buf_adds(b, VOWELS[i / N_ONSETS % N_VOWELS]);
    buf_adds(b, CODAS[i / (N_ONSETS * N_VOWELS) % N_CODAS]);
}

/* A name for word i; different i give different pairs of syllables below N_SYLLABLES squared. Two
 * pairs may still spell the same word, which a vocabulary must not: the dash keeps them apart. */
static void word(struct buf *b, uint32_t i)
{
    buf_clear(b);
    buf_adds(b, BLANK);
    /* 701 is prime to N_SYLLABLES: neighbours sound different, and each syllable comes up once. */
    syllable(b, (uint32_t)((uint64_t)i * 701 % N_SYLLABLES));
    if (i < N_SYLLABLES)
        return;
    buf_addc(b, '-');
    syllable(b, i / N_SYLLABLES - 1);
}

void demo_vocab_token(struct buf *b, uint32_t i, uint32_t n)
{
    uint32_t words = n - DEMO_SPECIAL;
    if (i < words)
        return word(b, i);
    buf_clear(b);
    i -= words;
    if (i == 0)
        buf_adds(b, BLANK);
    else if (i < DEMO_PIECES)
        buf_addc(b, (char)(' ' + i));
    else if (i < DEMO_PIECES + 256)
        buf_addf(b, "<0x%02X>", i - DEMO_PIECES);
    else
        buf_adds(b, i == DEMO_PIECES + 256 ? "<unk>" : i == DEMO_PIECES + 257 ? "<s>" : "</s>");
}

static int type_of(uint32_t i, uint32_t n)
{
    if (i < n - 259)
        return TYPE_NORMAL;
    return i < n - 3 ? TYPE_BYTE : i == n - 3 ? TYPE_UNKNOWN : TYPE_CONTROL;
}

void demo_vocab_put(struct gguf_builder *w, uint32_t n)
{
    buf_auto struct buf b;
    buf_init(&b, 256);
    gguf_put_str(w, "tokenizer.ggml.model", "llama");
    gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_STR, n);
    for (uint32_t i = 0; i < n; i++) {
        demo_vocab_token(&b, i, n);
        gguf_elem_str(w, b.p);
    }
    gguf_put_array(w, "tokenizer.ggml.scores", GGUF_F32, n);
    for (uint32_t i = 0; i < n; i++)
        gguf_elem_f32(w, i < n - 259 ? -(float)i : 0.0f);
    gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (uint32_t i = 0; i < n; i++)
        gguf_elem_i32(w, type_of(i, n));
    gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", n - 3);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", n - 2);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", demo_eos(n));
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", true);
    gguf_put_str(w, "tokenizer.chat_template", TEMPLATE);
}
