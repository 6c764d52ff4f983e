/* Tests of the body scanner: cases, and agreement with the JSON parser on random damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gateway/scan.h"

static const struct {
    const char *name, *body;
    bool ok;
    const char *model;
    bool stream;
} CASES[] = {
    {"plain", "{\"model\":\"m\",\"messages\":[]}", true, "m", false},
    {"stream", "{\"stream\":true,\"model\":\"m\"}", true, "m", true},
    {"stream false", "{\"stream\":false,\"model\":\"m\"}", true, "m", false},
    {"spaces", " { \"model\" : \"m\" , \"a\" : [ 1 , { } , [ ] ] } \n", true, "m", false},
    {"empty object", "{}", true, "", false},
    {"only the top level counts", "{\"a\":{\"model\":\"x\"},\"model\":\"m\"}", true, "m", false},
    {"model inside only", "{\"a\":[{\"model\":\"x\"}]}", true, "", false},
    {"escaped value", "{\"model\":\"a\\u002fb\\\"\"}", true, "a/b\"", false},
    {"escaped key", "{\"mo\\u0064el\":\"m\"}", true, "m", false},
    {"quotes in text", "{\"x\":\"\\\"model\\\":\\\"y\\\"\",\"model\":\"m\"}", true, "m", false},
    {"numbers", "{\"a\":[0,-0,1.5,-2e9,1E+2,3e-7],\"model\":\"m\"}", true, "m", false},
    {"words", "{\"a\":[true,false,null],\"model\":\"m\"}", true, "m", false},
    {"unicode", "{\"model\":\"模型\"}", true, "模型", false},
    {"twice", "{\"model\":\"a\",\"model\":\"b\"}", false},
    {"twice, escaped", "{\"model\":\"a\",\"\\u006dodel\":\"b\"}", false},
    {"stream twice", "{\"stream\":true,\"stream\":false}", false},
    {"model is no string", "{\"model\":1}", false},
    {"model is an object", "{\"model\":{}}", false},
    {"empty", "", false},
    {"array", "[]", false},
    {"string", "\"model\"", false},
    {"cut", "{\"model\":\"m\"", false},
    {"cut in a string", "{\"model\":\"m", false},
    {"cut in an escape", "{\"model\":\"m\\", false},
    {"cut in a hex escape", "{\"model\":\"\\u00", false},
    {"trailing comma", "{\"model\":\"m\",}", false},
    {"trailing comma in an array", "{\"a\":[1,]}", false},
    {"missing comma", "{\"a\":1 \"b\":2}", false},
    {"missing colon", "{\"a\" 1}", false},
    {"wrong bracket", "{\"a\":[1}}", false},
    {"bytes after", "{} {}", false},
    {"leading zero", "{\"a\":01}", false},
    {"plus", "{\"a\":+1}", false},
    {"no digits", "{\"a\":-}", false},
    {"dot without digits", "{\"a\":1.}", false},
    {"control character", "{\"a\":\"\x01\"}", false},
    {"unknown escape", "{\"a\":\"\\x\"}", false},
    {"single quotes", "{'model':'m'}", false},
    {"comment", "{/**/}", false},
    {"NaN", "{\"a\":NaN}", false},
};

static void test_cases(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct scan_body b = {.model = "untouched"};
        struct err err = {0};
        int rc = scan_body(CASES[i].body, strlen(CASES[i].body), &b, &err);
        if ((rc == 0) != CASES[i].ok)
            fail_msg("%s: %s", CASES[i].name, rc ? err.msg : "accepted");
        if (rc) {
            assert_string_equal(b.model, "untouched");
            assert_int_equal(err.code, ERR_INVALID);
            continue;
        }
        if (strcmp(b.model, CASES[i].model) || b.stream != CASES[i].stream)
            fail_msg("%s: model '%s' stream %d", CASES[i].name, b.model, b.stream);
    }
}

static void test_limits(void **state)
{
    struct scan_body b;
    struct err err = {0};
    char deep[2 * SCAN_MAX_DEPTH + 32], long_name[SCAN_MAX_MODEL + 32];
    for (int depth = SCAN_MAX_DEPTH - 2; depth <= SCAN_MAX_DEPTH; depth++) {
        size_t n = 0;
        memcpy(deep, "{\"a\":", 5);
        n = 5;
        for (int i = 0; i < depth; i++)
            deep[n++] = '[';
        for (int i = 0; i < depth; i++)
            deep[n++] = ']';
        deep[n++] = '}';
        int rc = scan_body(deep, n, &b, &err);
        assert_int_equal(rc, depth < SCAN_MAX_DEPTH ? 0 : -1);
    }
    assert_int_equal(err.code, ERR_LIMIT);
    memset(long_name, 'x', sizeof long_name);
    memcpy(long_name, "{\"model\":\"", 10);
    memcpy(long_name + sizeof long_name - 2, "\"}", 2);
    assert_int_equal(scan_body(long_name, sizeof long_name, &b, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

/* Every mutilated body that the scanner takes is JSON for the parser too, and they agree on the
 * model. The parser alone also refuses bad UTF-8, duplicate keys and out-of-range numbers. */
static void test_against_parser(void **state)
{
    static const char seed[] = "{\"model\":\"m\\u00e9\",\"a\":[1,-2.5e3,true,null,\"x\\n\"],"
                               "\"b\":{\"c\":{}},\"stream\":true}";
    static const char bytes[] = "{}[]\",:\\ue0129.+-truefalsn \x01";
    struct rng rng = {.state = 7};
    size_t taken = 0, n = sizeof seed - 1;
    for (int i = 0; i < 60000; i++) {
        char text[sizeof seed];
        memcpy(text, seed, sizeof seed);
        for (uint64_t k = rng_below(&rng, 3) + 1; k; k--)
            text[rng_below(&rng, n)] = bytes[rng_below(&rng, sizeof bytes - 1)];
        size_t len = rng_below(&rng, 8) ? n : rng_below(&rng, n);
        struct scan_body b;
        struct err err = {0};
        int rc = scan_body(text, len, &b, NULL);
        json_auto_t *doc = json_parse(text, len, &err);
        if (doc && rc) /* the scanner refuses more only for its own two keys */
            assert_true(!json_is_object(doc) || !json_is_string(json_object_get(doc, "model")));
        if (rc)
            continue;
        taken++;
        if (!doc) {
            bool other = strstr(err.msg, "duplicate") || strstr(err.msg, "too big") ||
                         strstr(err.msg, "range") || strstr(err.msg, "overflow") ||
                         strstr(err.msg, "\\u0000") || strstr(err.msg, "Unicode") ||
                         strstr(err.msg, "NUL");
            if (!other)
                fail_msg("taken by the scanner alone: %.*s (%s)", (int)len, text, err.msg);
            continue;
        }
        const char *model = json_string_value(json_object_get(doc, "model"));
        assert_string_equal(b.model, model ? model : "");
        assert_int_equal(b.stream, json_is_true(json_object_get(doc, "stream")));
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_against_parser),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
