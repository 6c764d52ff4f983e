/* A vocabulary of any size has as many different tokens as it says. */
#include "cli/demo_vocab.h"

#include "base/map.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_all_differ(void **state)
{
    static const uint32_t SIZES[] = {DEMO_VOCAB_MIN, 1024, 32000, 262208, DEMO_VOCAB_MAX};
    for (size_t s = 0; s < ARRAY_LEN(SIZES); s++) {
        struct map *seen = map_new(0);
        buf_auto struct buf b;
        buf_init(&b, 256);
        for (uint32_t i = 0; i < SIZES[s]; i++) {
            demo_vocab_token(&b, i, SIZES[s]);
            if (b.full || b.n == 0 || map_set(seen, b.p, seen))
                fail_msg("%u tokens: token %u, '%s', is empty, cut or there twice", SIZES[s], i,
                         b.p);
        }
        assert_int_equal(map_count(seen), SIZES[s]);
        map_free(seen);
    }
}

static void test_fixed_places(void **state)
{
    static const struct {
        uint32_t back; /* from the end */
        const char *text;
    } CASES[] = {{1, "</s>"},     {2, "<s>"}, {3, "<unk>"}, {4, "<0xFF>"},
                 {259, "<0x00>"}, {260, "~"}, {353, "!"},   {354, "\xe2\x96\x81"}};
    buf_auto struct buf b;
    buf_init(&b, 256);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        demo_vocab_token(&b, 1024 - CASES[i].back, 1024);
        assert_string_equal(b.p, CASES[i].text);
    }
    assert_int_equal(demo_eos(1024), 1023);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_differ),
        cmocka_unit_test(test_fixed_places),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
