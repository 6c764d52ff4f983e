/* `stowage size`: what to buy so that a model fits. Nothing is changed. */
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/plans_text.h"
#include "cli/question.h"

#include "base/doc.h"
#include "base/mem.h"
#include "place/prices.h"

#include <stdio.h>
#include <string.h>

struct size_args {
    struct question_opts q;
    const char *prices;
};

/* Checked here, where file and line are known. */
static json_t *read_prices(const char *path, struct err *err)
{
    struct doc d;
    struct prices *p = NULL;
    json_t *out = NULL;
    if (cli_read_doc(path, &d, err) == 0 && prices_read(&p, &d, err) == 0)
        out = json_deep_copy(d.root);
    prices_free(p);
    doc_done(&d);
    return out;
}

static json_t *question(const struct cli *c, const struct size_args *a, struct err *err)
{
    if (!a->prices)
        return err_null(err, ERR_USAGE, "size needs --prices FILE: what could be bought");
    json_t *prices = read_prices(a->prices, err);
    json_t *o = prices ? question_new("size", &a->q, c->operands, c->n_operands, err) : NULL;
    if (o)
        json_object_set(o, "prices", prices);
    json_decref(prices);
    return o;
}

static void print_buy(const json_t *offer)
{
    const json_t *b;
    size_t i;
    json_array_foreach(json_object_get(offer, "buy"), i, b)
    {
        const char *node = cli_str(b, "node");
        printf("%s%llux %s%s%s", i ? ", " : "", (unsigned long long)cli_u64(b, "count"),
               cli_str(b, "item"), node[0] ? " into " : "", node);
    }
}

static void print_offer(const json_t *doc, const json_t *offer, size_t i)
{
    const json_t *plan = json_object_get(offer, "plan"), *item;
    size_t k;
    printf("%zu  %.2f %s  ", i + 1, cli_num(offer, "price"), cli_str(doc, "currency"));
    print_buy(offer);
    puts(json_is_false(json_object_get(offer, "minimal")) ? "   (it may be more than is needed)"
                                                          : "");
    if (!json_object_get(plan, "plans")) {
        mem_auto char *where = plan_where(plan);
        printf("   %s, %s, %.1f tok/s\n", cli_str(plan, "tier"), where,
               cli_num(json_object_get(plan, "estimate"), "tok_s"));
        return;
    }
    json_array_foreach(json_object_get(plan, "plans"), k, item)
    {
        const json_t *p = json_object_get(item, "plan");
        mem_auto char *where = plan_where(p);
        printf("   %s/%llu: %s, %s, %.1f tok/s\n", cli_str(item, "name"),
               (unsigned long long)cli_u64(item, "replica"), cli_str(p, "tier"), where,
               cli_num(json_object_get(p, "estimate"), "tok_s"));
    }
}

static void print_bound(const json_t *doc, size_t n)
{
    bool sure = json_is_true(json_object_get(doc, "optimal"));
    double bound = cli_num(doc, "bound");
    const char *unit = cli_str(doc, "currency");
    if (n && sure)
        printf("The first is the cheapest: nothing below %.2f %s does.", bound, unit);
    else if (n)
        printf("The search ended on its budget: nothing below %.2f %s does; what lies between is "
               "not known.",
               bound, unit);
    printf(" %llu plans were made.\n", (unsigned long long)cli_u64(doc, "plans"));
    if (!json_is_true(json_object_get(doc, "slots_known")))
        puts("Free slots are not given (slots: {NODE: N} in the price list): any node takes any "
             "number.");
}

static void print_answer(const json_t *doc)
{
    const json_t *offers = json_object_get(doc, "offers"), *o;
    size_t i, n = json_array_size(offers);
    if (json_is_true(json_object_get(doc, "fits_now"))) {
        puts("It fits as it is; nothing needs to be bought.");
        return;
    }
    json_array_foreach(offers, i, o) print_offer(doc, o, i);
    if (n)
        putchar('\n');
    print_bound(doc, n);
}

static int refused(const struct cli *c, const json_t *doc)
{
    struct err err = {0};
    unsigned long long pieces = cli_u64(doc, "most_pieces");
    if (json_is_true(json_object_get(doc, "optimal")))
        err_fill(&err, ERR_NO_PLACEMENT,
                 "nothing on the price list makes it fit, with up to %llu pieces", pieces);
    else
        err_fill(&err, ERR_NO_PLACEMENT,
                 "nothing was found within the budget; nothing below %.2f %s does",
                 cli_num(doc, "bound"), cli_str(doc, "currency"));
    return cli_fail(c, &err, "a smaller --ctx or --kv q8_0 needs less; stowage plan says why not");
}

int cmd_size(int argc, char **argv)
{
    struct size_args a = {.q = QUESTION_OPTS_DEFAULT};
    const struct opt opts[] = {
        {"prices", 0, OPT_STR, &a.prices, "FILE", "what could be bought (docs/prices.md)"},
        QUESTION_OPTS_ROWS(a.q),
    };
    struct cli c = {.usage = "MODEL... --prices FILE [-f CLUSTER] [options]",
                    .about = "Finds the cheapest additions of a price list with which MODEL fits, "
                             "and the next ones.\nExit status 3 when none does.",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .min_operands = 1,
                    .max_operands = CLI_MAX_OPERANDS,
                    .connects = true};
    int status;
    if (!cli_start(&c, argc, argv, &status))
        return status;
    struct err err = {0};
    char hint[240] = "";
    json_auto_t *ask = question(&c, &a, &err);
    json_auto_t *doc = ask ? question_answer(&c, &a.q, ask, hint, &err) : NULL;
    if (!doc)
        return cli_fail(&c, &err, hint);
    bool fits = json_is_true(json_object_get(doc, "feasible"));
    if (c.json)
        return cli_json(json_incref(doc)), fits ? 0 : err_info(ERR_NO_PLACEMENT)->exit;
    if (!fits)
        return refused(&c, doc);
    print_answer(doc);
    return 0;
}
