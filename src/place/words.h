/* What placement has to say: codes with parameters, and the sentences made from them. Pure; any
 * thread.
 *
 * A note is a code and the parameters that its row in words.inc lists, all of them, each with the
 * unit that its name states. Documents carry codes and parameters; sentences are made where people
 * read, in their language, from templates of the same rows. docs/plan.md lists every code. */
#ifndef PLACE_WORDS_H
#define PLACE_WORDS_H

#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum words_lang { WORDS_EN, WORDS_ZH, WORDS_LANG_COUNT };
/* "en", "zh-CN" or a locale that begins with zh or en ("zh_CN.UTF-8"); ERR_INVALID names both. */
int words_lang_parse(const char *name, enum words_lang *out, struct err *err);

/* How a parameter is printed; in documents it is the plain number or text. */
enum word_unit {
    UNIT_TEXT,
    UNIT_COUNT,       /* 80 */
    UNIT_BYTES,       /* 1.08 GiB */
    UNIT_TOK_S,       /* 14.4 */
    UNIT_MS,          /* 69.44 */
    UNIT_PERCENT,     /* 3.1 */
    UNIT_NUMBER,      /* 0.5 */
    UNIT_BYTES_PER_S, /* 936 (GB/s) */
    UNIT_LINK,        /* 1 Gbit/s; bytes per second */
};

/* X(KEY, name in documents, unit, meaning) */
/* clang-format off */
#define WORD_PARAMS(X)                                                                             \
    X(NODE, "node", TEXT, "name of a node")                                                        \
    X(GPU, "gpu", TEXT, "node:index and name of a GPU, or of neighbours: hill:0-3 4x RTX 3090")    \
    X(PLAN, "plan", TEXT, "id of a plan")                                                          \
    X(OTHER, "other", TEXT, "a GPU that is compared with it")                                      \
    X(LAST_NODE, "last_node", TEXT, "name of the last of neighbouring nodes")                      \
    X(TYPE, "gpu_type", TEXT, "what the GPUs are called")                                          \
    X(MODEL, "model", TEXT, "name of a deployment")                                                \
    X(CONSTRAINT, "constraint", TEXT, "key of a constraint, as in a spec")                         \
    X(POLICY, "policy", TEXT, "name of a policy")                                                  \
    X(ORDER, "order", TEXT, "terms of a policy")                                                   \
    X(TERM, "term", TEXT, "a term of a policy")                                                    \
    X(UNIT, "unit", TEXT, "unit of the amount; empty for numbers of things")                       \
    X(REASON, "reason", TEXT, "words of whoever drained the node")                                 \
    X(KV, "kv", TEXT, "type of the KV cache")                                                      \
    X(TEXT, "text", TEXT, "a sentence of another part of the product, in English")                 \
    X(LIST, "list", TEXT, "key of a list in this document")                                        \
    X(N_NODES, "n_nodes", COUNT, "nodes")                                                          \
    X(N_GPUS, "n_gpus", COUNT, "GPUs")                                                             \
    X(LAYERS, "layers", COUNT, "layers of the model, or of a part of it")                          \
    X(LAYERS_FIT, "layers_fit", COUNT, "layers that fit at most")                                  \
    X(CPU_LAYERS, "cpu_layers", COUNT, "layers on the main node's CPU")                            \
    X(BLOCKS, "blocks", COUNT, "blocks whose experts are in RAM")                                  \
    X(CTX, "ctx", COUNT, "context per request, tokens")                                            \
    X(ASKED_CTX, "asked_ctx", COUNT, "the context per request that was asked for")                 \
    X(SLOTS, "n_slots", COUNT, "requests at a time")                                               \
    X(SPAN, "span", COUNT, "devices that one engine spans")                                        \
    X(PLANS, "n_plans", COUNT, "instances that are placed")                                        \
    X(SETS, "n_sets", COUNT, "sets that were looked at")                                           \
    X(MOVES, "n_moves", COUNT, "instances that are moved")                                         \
    X(SECONDS, "seconds", COUNT, "age of what is known")                                           \
    X(STEPS, "steps", COUNT, "steps of the search")                                                \
    X(SHOWN, "shown", COUNT, "entries listed")                                                     \
    X(TOTAL, "total", COUNT, "entries there are")                                                  \
    X(NEED, "need_bytes", BYTES, "memory that is needed")                                          \
    X(FREE, "free_bytes", BYTES, "memory that can be used")                                        \
    X(SHORT, "short_bytes", BYTES, "memory that is missing")                                       \
    X(LAYER, "layer_bytes", BYTES, "a layer with its KV, on average")                              \
    X(SIZE, "gpu_bytes", BYTES, "memory of a GPU")                                                 \
    X(LOGITS, "logits_bytes", BYTES, "sent per token from the output layer")                       \
    X(TOKEN, "token_bytes", BYTES, "sent over the network per token")                              \
    X(RUNTIME, "runtime_bytes", BYTES, "of the driver, per GPU")                                   \
    X(MARGIN, "margin_bytes", BYTES, "kept free, per device")                                      \
    X(USED, "used_bytes", BYTES, "held by running models")                                         \
    X(OTHER_TOK_S, "other_tok_s", TOK_S, "the same of what it is compared with")                   \
    X(TOK_S, "tok_s", TOK_S, "predicted tokens per second, one stream")                            \
    X(MS, "ms", MS, "predicted milliseconds per token")                                            \
    X(BOUND_MS, "bound_ms", MS, "milliseconds per token that no such plan is below")               \
    X(RTT, "rtt_ms", MS, "round trip of a link")                                                    \
    X(AMOUNT, "amount", NUMBER, "what the plan has of a term, or of the weighted sum")              \
    X(BOUND, "bound", NUMBER, "what no such plan is below")                                        \
    X(GAP, "gap_percent", PERCENT, "how much faster a better plan could be at most")               \
    X(RATE, "bytes_per_s", BYTES_PER_S, "memory bandwidth of a GPU")                               \
    X(OTHER_RATE, "other_bytes_per_s", BYTES_PER_S, "memory bandwidth of the other GPU")           \
    X(LINK, "link_bytes_per_s", LINK, "rate of a link")
/* clang-format on */

#define WORD_ENUM(key, name, unit, meaning) WORD_##key,
enum word_param { WORD_PARAMS(WORD_ENUM) WORD_PARAM_COUNT };

#define WORD(code, params, en, zh) NOTE_##code,
enum note_code {
    NOTE_NONE,
#include "place/words.inc"
    NOTE_CODE_COUNT
};
#undef WORD

enum { NOTE_PARAMS = 8, NOTES_MAX = 65536 };

struct note {
    enum note_code code;
    uint32_t n;
    struct note_param {
        enum word_param key; /* its unit says which of the three it is */
        union {
            uint64_t n;
            double x;
            char *text; /* owned */
        };
    } params[NOTE_PARAMS];
};
struct notes {
    struct note *items; /* owned */
    size_t n, cap;
};

/* Frees what it was and makes it an empty note of this code. */
void note_set(struct note *n, enum note_code code);
/* Parameters; the key must be one of the code's, of that kind, and not set before. Chains. */
struct note *note_num(struct note *n, enum word_param key, uint64_t value); /* counts, bytes */
struct note *note_real(struct note *n, enum word_param key, double value);  /* the rest */
struct note *note_str(struct note *n, enum word_param key, const char *value);
void note_done(struct note *n);
/* For readers: 0, 0 or "" when the note has no such parameter. */
uint64_t note_num_of(const struct note *n, enum word_param key);
double note_real_of(const struct note *n, enum word_param key);
const char *note_str_of(const struct note *n, enum word_param key);

/* A new note at the end, valid until the next; lists hold NOTES_MAX at most (asserted: what makes
 * notes bounds itself). */
struct note *notes_add(struct notes *l, enum note_code code);
const struct note *notes_find(const struct notes *l, enum note_code code); /* NULL: none */
void notes_done(struct notes *l);

/* {"code": "...", "params": {...}}; the caller owns it. */
json_t *note_to_json(const struct note *n);
void note_put(json_t *doc, const char *key, const struct note *n);
void notes_put(json_t *doc, const char *key, const struct notes *l);

/* The sentence of {"code", "params"}. Documents come from elsewhere: a code that is not known here
 * is printed with its parameters as they are, a missing parameter as "?". Appends to *out. */
void words_render(const json_t *note, enum words_lang lang, struct buf *out);
/* The same of a note, truncated to cap; returns dst. */
char *note_text(const struct note *n, enum words_lang lang, char *dst, size_t cap);

/* The table, for tests and documentation: NULL at the end. */
struct word {
    const char *code;
    uint64_t params; /* set of 1 << enum word_param */
    const char *text[WORDS_LANG_COUNT];
};
const struct word *word_at(uint32_t code); /* from 1 */
const char *word_param_name(enum word_param p);
enum word_unit word_param_unit(enum word_param p);

#endif
