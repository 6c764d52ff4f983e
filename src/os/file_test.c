/* os/file: durable writes, what counts as a regular file, removing trees, random bytes. */
#include "os/file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static int setup(void **state)
{
    char *dir = mem_strdup("/tmp/stowage-file-XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    int rc = file_remove_tree(*state, NULL);
    free(*state);
    return rc;
}

static void test_write_read(void **state)
{
    struct err e = {0};
    mem_auto char *deep = mem_printf("%s/a/b/c", (char *)*state);
    mem_auto char *path = mem_printf("%s/file", deep);
    assert_int_equal(file_write(path, "x", 1, 0600, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(file_mkdirs(deep, 0755, &e), 0);
    assert_int_equal(file_mkdirs(deep, 0755, &e), 0);
    assert_int_equal(file_write(path, "first", 5, 0600, &e), 0);
    assert_int_equal(file_write(path, "second\0x", 8, 0640, &e), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 8, &text, &n, &e), 0);
    assert_int_equal(n, 8);
    assert_memory_equal(text, "second\0x", 9);
    free(text);
    assert_int_equal(file_read(path, 7, &text, &n, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_int_equal(file_read("/proc/self/status", 1 << 20, &text, &n, &e), 0);
    assert_true(n > 100);
    free(text);
    assert_int_equal(file_mkdirs(path, 0755, &e), -1);
    uint64_t bytes = 0;
    assert_int_equal(file_disk_free(path, &bytes, &e), 0);
    assert_true(bytes > 0);
}

static void test_open_regular(void **state)
{
    const char *dir = *state;
    mem_auto char *fifo = mem_printf("%s/fifo", dir);
    mem_auto char *plain = mem_printf("%s/plain", dir);
    mem_auto char *link_to = mem_printf("%s/link", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(file_write(plain, "12345", 5, 0600, NULL), 0);
    assert_int_equal(symlink(plain, link_to), 0);
    const struct {
        const char *path;
        enum err_code code;
    } cases[] = {{plain, ERR_NONE},  {link_to, ERR_NONE},        {fifo, ERR_INVALID},
                 {dir, ERR_INVALID}, {"/dev/zero", ERR_INVALID}, {"/no/such", ERR_NOT_FOUND}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        uint64_t size = 0;
        int fd = file_open_regular(cases[i].path, &size, &e);
        assert_int_equal(e.code, cases[i].code);
        assert_int_equal(fd >= 0, cases[i].code == ERR_NONE);
        assert_int_equal(size, fd >= 0 ? 5 : 0);
        fd_close(fd);
    }
}

static void test_remove_tree(void **state)
{
    const char *dir = *state;
    struct err e = {0};
    mem_auto char *keep = mem_printf("%s/keep", dir);
    mem_auto char *tree = mem_printf("%s/tree", dir);
    mem_auto char *deep = mem_printf("%s/x/y", tree);
    mem_auto char *way_out = mem_printf("%s/x/out", tree);
    mem_auto char *kept = mem_printf("%s/file", keep);
    assert_int_equal(file_mkdirs(keep, 0755, &e), 0);
    assert_int_equal(file_mkdirs(deep, 0755, &e), 0);
    assert_int_equal(file_write(kept, "1", 1, 0600, &e), 0);
    assert_int_equal(symlink(keep, way_out), 0);
    assert_int_equal(file_remove_tree(way_out, &e), -1); /* a link is not a tree */
    assert_int_equal(file_remove_tree(tree, &e), 0);
    assert_int_equal(access(tree, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0);
    assert_int_equal(file_remove_tree(tree, &e), 0);
    static const char *const refused[] = {"/", "", "relative/x", "/tmp", "/tmp/../etc", "//x"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_int_equal(file_remove_tree(refused[i], &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
    }
}

static void test_random(void **state)
{
    char a[33], b[33];
    os_random_hex(a, 16);
    os_random_hex(b, 16);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_read),
        cmocka_unit_test(test_open_regular),
        cmocka_unit_test(test_remove_tree),
        cmocka_unit_test(test_random),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
