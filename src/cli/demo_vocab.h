/* A made-up SentencePiece vocabulary: words of made-up syllables, byte tokens, a chat template.
 * Pure.
 *
 * Words come first and the rest last, so that an engine that picks tokens from meaningless logits
 * still answers with words. */
#ifndef CLI_DEMO_VOCAB_H
#define CLI_DEMO_VOCAB_H

#include "gguf/gguf_build.h"

enum {
    DEMO_VOCAB_MIN = 512,
    DEMO_VOCAB_MAX = 1 << 19,
    DEMO_PIECES = 95, /* the blank and the printable ASCII characters */
    DEMO_SPECIAL =
        DEMO_PIECES + 256 + 3, /* what is no word: those, the bytes, unknown, begin, end */
};

/* Ids of a vocabulary of n tokens: words are [0, n - DEMO_SPECIAL). */
static inline uint32_t demo_eos(uint32_t n)
{
    return n - 1;
}

/* The text of token i of n, in place of what b holds; all n differ. */
void demo_vocab_token(struct buf *b, uint32_t i, uint32_t n);
/* Writes the tokenizer keys and the chat template for exactly n tokens. */
void demo_vocab_put(struct gguf_builder *w, uint32_t n);

#endif
