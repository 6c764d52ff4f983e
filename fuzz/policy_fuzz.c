/* Policy files and price lists from hostile YAML: a policy that is read is written and read again
 * as the same; what is refused says why. */
#include "base/doc.h"
#include "cluster/policy.h"
#include "place/prices.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void refused(const struct err *err)
{
    if (err->code != ERR_INVALID || strncmp(err->msg, "f.yaml:", 7) != 0)
        abort();
}

static void same_again(const struct policy *p, const struct constraints *c)
{
    struct constraints *back = calloc(1, sizeof *back);
    struct policy q;
    json_t *tree = policy_file_to_json(p, c);
    struct doc d = doc_of(tree);
    if (!back || policy_file_read(&q, back, &d, NULL) || !policy_same(p, &q) ||
        strcmp(p->name, q.name) != 0)
        abort();
    json_t *twice = policy_file_to_json(&q, back);
    if (!json_equal(tree, twice))
        abort();
    json_decref(tree);
    json_decref(twice);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct constraints *c = calloc(1, sizeof *c);
    struct policy p;
    struct prices *prices = NULL;
    struct doc d;
    struct err err = {0};
    if (doc_parse(&d, "f.yaml", (const char *)data, size, &err)) {
        refused(&err);
    } else {
        if (c && policy_file_read(&p, c, &d, &err) == 0)
            same_again(&p, c);
        else
            refused(&err);
        err = (struct err){0};
        if (prices_read(&prices, &d, &err))
            refused(&err);
    }
    prices_free(prices);
    doc_done(&d);
    free(c);
    return 0;
}
