/* The table of notes, and the sentences made from it. */
#include "place/words.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t param_set(const char *name, size_t n)
{
    for (uint32_t i = 0; i < WORD_PARAM_COUNT; i++)
        if (strlen(word_param_name(i)) == n && strncmp(word_param_name(i), name, n) == 0)
            return (uint64_t)1 << i;
    return 0;
}

/* Every pair of braces holds a parameter of the row, alone or with two forms of a counted one. */
static void check_template(const struct word *w, const char *text)
{
    for (const char *s = text; (s = strpbrk(s, "{}")); s++) {
        if (*s == '}')
            fail_msg("%s: a closing brace alone in \"%s\"", w->code, text);
        const char *end = strpbrk(s + 1, "{}");
        if (!end || *end != '}')
            fail_msg("%s: an open brace in \"%s\"", w->code, text);
        size_t n = strcspn(s + 1, "|}"), bars = 0;
        uint64_t p = param_set(s + 1, n);
        if (!(p & w->params))
            fail_msg("%s: \"%.*s\" is none of its parameters", w->code, (int)n, s + 1);
        for (const char *c = s; c < end; c++)
            bars += *c == '|';
        if (bars != 0 && bars != 2)
            fail_msg("%s: one form or two in \"%s\"", w->code, text);
        s = end;
    }
}

static void test_table(void **state)
{
    for (uint32_t i = 1; i < NOTE_CODE_COUNT; i++) {
        const struct word *w = word_at(i);
        for (uint32_t k = 1; k < i; k++)
            assert_string_not_equal(w->code, word_at(k)->code);
        for (int l = 0; l < WORDS_LANG_COUNT; l++)
            check_template(w, w->text[l]);
        assert_int_equal(w->text[WORDS_EN][0] == 0, w->text[WORDS_ZH][0] == 0);
        uint32_t n = 0;
        for (uint32_t k = 0; k < WORD_PARAM_COUNT; k++)
            n += w->params >> k & 1;
        assert_in_range(n, 0, NOTE_PARAMS);
    }
    assert_null(word_at(NOTE_CODE_COUNT));
}

static const struct {
    const char *note, *en, *zh;
} RENDER[] = {
    {"{\"code\":\"PROOF_NODES_LAYERS\",\"params\":{\"n_nodes\":1,\"layers_fit\":76,\"layers\":80}}",
     "any 1 node holds at most 76 of 80 layers", "任意 1 个节点在 80 层中最多放下 76 层"},
    {"{\"code\":\"PROOF_NODES_LAYERS\",\"params\":{\"n_nodes\":2,\"layers_fit\":76,\"layers\":80}}",
     "any 2 nodes hold at most 76 of 80 layers", "任意 2 个节点在 80 层中最多放下 76 层"},
    {"{\"code\":\"WHY_NODE_SHORT\",\"params\":{\"node\":\"hill\",\"short_bytes\":1164967936,"
     "\"n_nodes\":2}}",
     "hill alone is 1.1 GiB short, so 2 nodes are the minimum",
     "仅用 hill 还差 1.1 GiB，因此至少需要 2 个节点"},
    {"{\"code\":\"WHY_FASTER_GPU\",\"params\":{\"gpu\":\"RTX 4070\",\"other\":\"RTX 3060\","
     "\"bytes_per_s\":504000000000.0,\"other_bytes_per_s\":360000000000.0}}",
     "RTX 4070 over RTX 3060: 504 against 360 GB/s",
     "选 RTX 4070 而不是 RTX 3060：带宽 504 对 360 GB/s"},
    {"{\"code\":\"OPEN_TIME\",\"params\":{\"ms\":12.345,\"bound_ms\":12}}",
     "12.35 ms per token; none of this kind is below 12.00",
     "每个 token 12.35 毫秒；同类方案都不低于 12.00 毫秒"},
    /* What a later version, a cut document or a liar may send. */
    {"{\"code\":\"NEWER\",\"params\":{\"a\":1,\"b\":\"x\",\"c\":0.5}}", "NEWER a=1 b=x c=0.5",
     "NEWER a=1 b=x c=0.5"},
    {"{\"code\":\"SET_CTX\"}", "--ctx ?", "--ctx ?"},
    {"{\"code\":\"SET_CTX\",\"params\":{\"ctx\":[1]}}", "--ctx ?", "--ctx ?"},
    {"{\"code\":\"SET_CTX\",\"params\":{\"ctx\":-5}}", "--ctx -5", "--ctx -5"},
    {"{\"code\":\"ADD_GPUS\",\"params\":{\"n_gpus\":2,\"gpu_bytes\":-1,\"node\":\"a\"}}",
     "add 2 GPUs of 0 B to a", "在 a 上增加 2 块 0 B 的 GPU"},
    {"{\"code\":\"UNDRAIN\",\"params\":{\"node\":\"\\u001b[2Jhill\\n\\u009b31m\"}}",
     "undrain ?[2Jhill???31m", "恢复 ?[2Jhill???31m"},
    {"{\"code\":\"\\u0007X\",\"params\":{\"\\u001b\":\"\\u0007\"}}", "?X ?=?", "?X ?=?"},
    {"{\"code\":7}", "?", "?"},
    {"[]", "?", "?"},
};

static void test_render(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(RENDER); i++) {
        json_auto_t *doc = json_parse(RENDER[i].note, strlen(RENDER[i].note), NULL);
        assert_non_null(doc);
        for (int l = 0; l < WORDS_LANG_COUNT; l++) {
            buf_auto struct buf out;
            buf_init(&out, 4096);
            words_render(doc, l, &out);
            assert_string_equal(out.p, l == WORDS_EN ? RENDER[i].en : RENDER[i].zh);
        }
    }
}

/* What is set comes back, in the document in the order of the table. */
static void test_notes(void **state)
{
    struct notes l = {0};
    char text[64];
    struct note *n = note_num(notes_add(&l, NOTE_ADD_GPUS), WORD_SIZE, 24ull << 30);
    note_num(note_str(n, WORD_NODE, "hill"), WORD_N_GPUS, 1);
    note_real(note_real(notes_add(&l, NOTE_OPEN_TIME), WORD_BOUND_MS, 1.5), WORD_MS, 2);
    assert_null(notes_find(&l, NOTE_SET_CTX));
    const struct note *time = notes_find(&l, NOTE_OPEN_TIME);
    assert_non_null(time);
    assert_true(note_real_of(time, WORD_BOUND_MS) == 1.5);
    assert_string_equal(note_str_of(&l.items[0], WORD_NODE), "hill");
    assert_int_equal(note_num_of(&l.items[0], WORD_N_GPUS), 1);
    /* of another kind, or not there */
    assert_int_equal(note_num_of(&l.items[0], WORD_NODE), 0);
    assert_int_equal(note_num_of(&l.items[0], WORD_CTX), 0);
    assert_string_equal(note_str_of(&l.items[0], WORD_N_GPUS), "");
    assert_string_equal(note_text(&l.items[0], WORDS_EN, text, sizeof text),
                        "add 1 GPU of 24.0 GiB to hill");
    assert_string_equal(note_text(&l.items[0], WORDS_EN, text, 6), "add 1");
    json_auto_t *doc = json_object();
    notes_put(doc, "list", &l);
    mem_auto char *json = json_text(doc);
    assert_string_equal(json, "{\"list\":[{\"code\":\"ADD_GPUS\",\"params\":{\"node\":\"hill\","
                              "\"n_gpus\":1,\"gpu_bytes\":25769803776}},{\"code\":\"OPEN_TIME\","
                              "\"params\":{\"ms\":2.0,\"bound_ms\":1.5}}]}");
    notes_done(&l);
    assert_int_equal(l.n, 0);
}

static void test_lang(void **state)
{
    struct err err = {0};
    enum words_lang l = WORDS_EN;
    assert_int_equal(words_lang_parse("zh-CN", &l, &err), 0);
    assert_int_equal(l, WORDS_ZH);
    assert_int_equal(words_lang_parse("en_US.UTF-8", &l, &err), 0);
    assert_int_equal(l, WORDS_EN);
    assert_int_equal(words_lang_parse("zh_CN.UTF-8", &l, &err), 0);
    assert_int_equal(l, WORDS_ZH);
    assert_int_equal(words_lang_parse("fr", &l, &err), -1);
    assert_int_equal(l, WORDS_ZH);
    assert_non_null(strstr(err.msg, "'fr'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_lang),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
