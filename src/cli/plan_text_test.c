/* Plans as text: from documents alone, whoever made them; and the lines they are broken into. */
#include "cli/plan_text.h"

#include "base/mem.h"
#include "cli/wrap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- lines ---- */

static const struct {
    const char *text;
    size_t width, indent, at;
    const char *lines;
} WRAPS[] = {
    {"", 20, 2, 0, "\n"},
    {"one two three", 20, 2, 0, "one two three\n"},
    {"one two three", 9, 2, 0, "one two\n  three\n"},
    {"one two three", 9, 2, 4, "one\n  two\n  three\n"},
    {"a-word-longer-than-the-line b", 9, 2, 0, "a-word-longer-than-the-line\n  b\n"},
    {"one  two ", 20, 0, 0, "one two\n"},
    /* Two columns each; breaks between any two, but never before what closes. */
    {"放置方案", 20, 2, 0, "放置方案\n"},
    {"放置方案", 6, 2, 0, "放置方\n  案\n"},
    {"放置方，案", 6, 0, 0, "放置\n方，案\n"},
    {"需要 24 GiB，可用", 12, 0, 0, "需要 24\nGiB，可用\n"},
};

static void test_wrap(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(WRAPS); i++) {
        buf_auto struct buf out;
        buf_init(&out, 4096);
        text_wrap(&out, WRAPS[i].text, WRAPS[i].width, WRAPS[i].indent, WRAPS[i].at);
        assert_string_equal(out.p, WRAPS[i].lines);
    }
}

static void test_columns(void **state)
{
    assert_int_equal(text_columns(""), 0);
    assert_int_equal(text_columns("abc"), 3);
    assert_int_equal(text_columns("模型 a"), 6);
    assert_int_equal(text_columns("█▓░·│"), 5);
    assert_int_equal(text_columns("\xe6\xa8"), 2); /* cut in a character: a column a byte */
    assert_int_equal(text_bytes("模型a", 3), 3);
    assert_int_equal(text_bytes("模型a", 4), 6);
    assert_int_equal(text_bytes("ab", 9), 2);
}

/* ---- plans ---- */

static char *text_of(const char *json, const struct plan_text_opts *o)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    json_auto_t *doc = json_parse(json, strlen(json), NULL);
    assert_non_null(doc);
    plan_text(doc, o, &out);
    return out.p ? buf_take(&out) : mem_strdup("");
}

#define PART(node, gpu, first, last, n, out)                                                       \
    "{\"node\":\"" node "\",\"gpu\":" gpu ",\"uuid\":\"u\",\"name\":\"RTX 3090\",\"backend\":"     \
    "\"cuda\",\"layers\":[" first "," last "],\"n_layers\":" n ",\"output\":" out                  \
    ",\"free_bytes\":25769803776,\"bytes\":{\"weights\":12884901888,\"kv\":6442450944,"            \
    "\"compute\":0,\"runtime\":1073741824},"
#define PLAN                                                                                       \
    "{\"schema\":\"stowage.plan/1\",\"id\":\"p-1\",\"feasible\":true,\"optimal\":true,"            \
    "\"verdict\":{\"code\":\"OPTIMAL\",\"params\":{\"tok_s\":14.44,\"policy\":\"tiered\"}},"       \
    "\"main_node\":\"hill\",\"parts\":[" PART(                                                     \
        "dale", "0", "0", "2", "3",                                                                \
        "false") "\"way\":{\"code\":\"WAY_NETWORK\",\"params\":{\"token_bytes\":65536,\"rtt_ms\":" \
                 "0.2,"                                                                            \
                 "\"link_bytes_per_s\":125000000}}}," PART(                                        \
                     "hill", "1", "3", "9", "7",                                                   \
                     "true") "\"way\":{\"code\":\"WAY_LOCAL\",\"params\":{}}}],"                   \
                             "\"host\":{\"node\":\"hill\",\"weights\":1073741824,\"kv\":0,"        \
                             "\"compute\":0},"                                                     \
                             "\"candidates\":{\"gpus\":4,\"free_bytes\":64424509440},"             \
                             "\"rejected\":[{\"what\":{\"code\":\"ALT_ONE_GPU\",\"params\":{"      \
                             "\"gpu\":\"hill:0\"}},"                                               \
                             "\"says\":[{\"code\":\"HOLDS_LAYERS\",\"params\":{\"layers\":10,"     \
                             "\"layers_fit\":7}},"                                                 \
                             "{\"code\":\"SLOWER\",\"params\":{}}]},"                              \
                             "{\"what\":{\"code\":\"ALT_ALL_GPUS\",\"params\":{\"n_gpus\":4}},"    \
                             "\"says\":[{\"code\":\"MORE_GPUS\",\"params\":{\"n_gpus\":4}}],"      \
                             "\"tok_s\":9.95}],"                                                   \
                             "\"changes\":[{\"what\":{\"code\":\"SET_CTX\",\"params\":{\"ctx\":"   \
                             "4096}},\"fits\":true,"                                               \
                             "\"gives\":{\"code\":\"GIVES_ONE_GPU\",\"params\":{\"tok_s\":15}}},"  \
                             "{\"what\":{\"code\":\"SET_KV\",\"params\":{\"kv\":\"q8_0\"}},"       \
                             "\"fits\":false,"                                                     \
                             "\"gives\":{\"code\":\"NOT_ENOUGH_WHOLE\",\"params\":{}}}]}"

static void test_plan(void **state)
{
    static const char WANT[] =
        "PLAN p-1   2 GPUs on 2 nodes   uses 38.0 GiB of 60.0 GiB free\n"
        "about 14.4 tok/s, optimal by the policy tiered\n"
        "\n"
        "NODE  GPU         FREE   USE  LAYERS     N  WEIGHTS   KV  RUNTIME  LEFT\n"
        "dale  0 RTX 3090  24.0  19.0  0-2        3     12.0  6.0      1.0   5.0\n"
        "hill  1 RTX 3090  24.0  19.0  3-9+out    7     12.0  6.0      1.0   5.0\n"
        "hill  RAM            -   1.0  embedding  0      1.0  0.0      0.0     -\n"
        "\n"
        " dale 0 |##########=====-....| -+ 1 Gbit/s: 64 KiB, 2 round trips a token\n"
        " hill 1 |##########=====-....| -+\n"
        "         weights #  kv =  runtime -  free .\n"
        "\n"
        "REJECTED       tok/s  reason\n"
        "  hill:0 only      -  holds at most 7 of 10 layers; slower\n"
        "  all 4 GPUs     9.9  4 GPUs, more than needed\n"
        "ONE CHANGE AWAY (each planned again)\n"
        "  1  --ctx 4096  one GPU, 15.0 tok/s\n"
        "  -  --kv q8_0   not enough alone, by whole layers\n"
        "Deploy it:  stowage apply p.json\n";
    mem_auto char *text =
        text_of(PLAN, &(struct plan_text_opts){.ascii = true, .deploy = "stowage apply p.json"});
    assert_string_equal(text, WANT);
    mem_auto char *zh = text_of(PLAN, &(struct plan_text_opts){.lang = WORDS_ZH});
    assert_non_null(strstr(zh, "方案 p-1   2 个节点 2 块 GPU   使用 38.0 GiB"));
    assert_non_null(strstr(zh, "未采用的方案     tok/s  原因\n"));
    assert_non_null(strstr(zh, " dale 0 │██████████▓▓▓▓▓░····│ ─┐ 1 Gbit/s"));
}

static void test_cpu_plan(void **state)
{
    mem_auto char *text =
        text_of("{\"feasible\":true,\"id\":\"p-2\",\"main_node\":\"a\",\"parts\":[],"
                "\"host\":{\"node\":\"a\",\"weights\":1073741824},"
                "\"n_cpu_layers\":4}",
                NULL);
    assert_memory_equal(text, "PLAN p-2   CPU only, 1 node\n", 28);
    assert_non_null(strstr(text, "a     RAM     -  1.0  0-3"));
}

static void test_refusal(void **state)
{
    struct buf json;
    buf_init(&json, 1 << 20);
    buf_adds(&json,
             "{\"feasible\":false,\"summary\":{\"code\":\"NO_FIT\",\"params\":{\"layers\":80,"
             "\"layer_bytes\":1108344832,\"layers_fit\":61,\"n_gpus\":4}},\"refused\":[");
    for (int i = 0; i < 30; i++)
        buf_addf(&json,
                 "%s{\"what\":{\"code\":\"AT_GPU\",\"params\":{\"gpu\":\"n:%d\",\"n_gpus\":1}},"
                 "\"says\":[{\"code\":\"DRAINED\",\"params\":{\"reason\":\"psu\"}}]}",
                 i ? "," : "", i);
    buf_adds(&json, "]}");
    mem_auto char *text = text_of(json.p, &(struct plan_text_opts){.at = 70});
    /* The first line has ten columns left; what is folded is counted. */
    assert_memory_equal(text, "no\n  placement: 80 layers of 1.0 GiB needed, 61 fit on 4 GPUs\n",
                        62);
    assert_non_null(strstr(text, "  n:23  drained: psu\n  and 6 more, --json has all\n"));
    buf_done(&json);
}

/* A document from anywhere: no field is needed, none is believed. */
static void test_hostile(void **state)
{
    static const char *const DOCS[] = {
        "{}",
        "[]",
        "{\"feasible\":true}",
        "{\"feasible\":true,\"parts\":7,\"host\":[],\"why\":{},\"rejected\":[1],\"changes\":[null]"
        "}",
        "{\"feasible\":true,\"parts\":[{}],\"verdict\":4}",
        "{\"feasible\":true,\"parts\":[{\"free_bytes\":-1,\"n_layers\":9223372036854775807,"
        "\"layers\":[9223372036854775807],\"bytes\":{\"weights\":9223372036854775807,"
        "\"kv\":9223372036854775807}}]}",
        "{\"feasible\":false,\"refused\":[{\"what\":\"x\",\"says\":[[]]}]}",
        "{\"feasible\":true,\"id\":\"\\u001b[2J\\u0007\",\"main_node\":\"\\u009b31m\",\"parts\":[{"
        "\"node\":\"\\u001bc\",\"name\":\"\\u202e\"}],\"why\":[{\"code\":\"\\u001b[31m\"}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(DOCS); i++)
        for (int l = 0; l < WORDS_LANG_COUNT; l++) {
            mem_auto char *text = text_of(DOCS[i], &(struct plan_text_opts){.lang = l});
            for (const char *s = text; *s; s++)
                assert_true((unsigned char)*s >= 0x20 || *s == '\n');
            assert_null(strstr(text, "\xc2\x9b"));
            assert_null(strstr(text, "\xe2\x80\xae"));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap),    cmocka_unit_test(test_columns),
        cmocka_unit_test(test_plan),    cmocka_unit_test(test_cpu_plan),
        cmocka_unit_test(test_refusal), cmocka_unit_test(test_hostile),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
