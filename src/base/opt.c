/* Option tables. */
#include "base/opt.h"

#include "base/num.h"

#include <string.h>

static int store(const struct opt *o, const char *value, struct err *err)
{
    char what[72];
    str_copyf(what, sizeof what, "--%s", o->name);
    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)o->out = true;
        return 0;
    case OPT_STR:
        *(const char **)o->out = value;
        return 0;
    case OPT_U64:
        return num_u64(value, what, o->lo, o->hi ? o->hi : UINT64_MAX, o->out, err);
    case OPT_BYTES:
        return num_bytes(value, what, o->out, err);
    case OPT_SECONDS:
        return num_seconds(value, what, o->out, err);
    case OPT_NUMBER:
        return num_real(value, what, o->out, err);
    case OPT_LIST: {
        struct opt_list *list = o->out;
        if (list->n == sizeof list->items / sizeof *list->items)
            return err_set(err, ERR_USAGE, "%s given more than %zu times", what, list->n);
        list->items[list->n++] = value;
        return 0;
    }
    }
    return err_set(err, ERR_INTERNAL, "%s has no kind", what);
}

static const struct opt *find(const struct opt *opts, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (name.n == 1 && opts[i].letter && opts[i].letter == name.p[0])
            return &opts[i];
        if (name.n > 1 && str_eq(str_of(opts[i].name), name))
            return &opts[i];
    }
    return NULL;
}

static int unknown(const struct opt *opts, size_t n, const char *arg, struct err *err)
{
    const char *names[64];
    size_t k = 0;
    for (size_t i = 0; i < n && k < sizeof names / sizeof *names; i++)
        names[k++] = opts[i].name;
    char word[64];
    str_copy(word, sizeof word, arg + strspn(arg, "-"));
    word[strcspn(word, "=")] = 0;
    const char *near = str_nearest(word, names, k);
    if (near)
        return err_set(err, ERR_USAGE, "unknown option %.60s; did you mean --%s?", arg, near);
    return err_set(err, ERR_USAGE, "unknown option %.60s; see --help", arg);
}

int opt_parse(const struct opt *opts, size_t n_opts, int argc, char **argv, const char **operands,
              size_t max_operands, size_t *n_operands, bool *help, struct err *err)
{
    bool options = true;
    *n_operands = 0;
    *help = false;
    for (int i = 1; i < argc; i++) {
        char *arg = argv[i];
        if (!options || arg[0] != '-' || !arg[1]) {
            if (*n_operands == max_operands)
                return err_set(err, ERR_USAGE, "unexpected argument '%.60s'", arg);
            operands[(*n_operands)++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            options = false;
            continue;
        }
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            *help = true;
            return 0;
        }
        struct str name = str_of(arg + (arg[1] == '-' ? 2 : 1));
        const char *value = memchr(name.p, '=', name.n);
        if (value)
            name.n = (size_t)(value++ - name.p);
        const struct opt *o = find(opts, n_opts, name);
        if (!o)
            return unknown(opts, n_opts, arg, err);
        if (o->kind == OPT_FLAG && value)
            return err_set(err, ERR_USAGE, "--%s takes no value", o->name);
        if (o->kind != OPT_FLAG && !value) {
            if (i + 1 == argc)
                return err_set(err, ERR_USAGE, "--%s needs a value: %s", o->name, o->value);
            value = argv[++i];
        }
        if (store(o, value, err))
            return -1;
    }
    return 0;
}

void opt_help(const struct opt *opts, size_t n_opts, struct buf *out)
{
    for (size_t i = 0; i < n_opts; i++) {
        char left[64];
        str_copyf(left, sizeof left, "%s%c%s --%s%s%s", opts[i].letter ? "-" : " ",
                  opts[i].letter ? opts[i].letter : ' ', opts[i].letter ? "," : " ", opts[i].name,
                  opts[i].kind == OPT_FLAG ? "" : " ",
                  opts[i].kind == OPT_FLAG ? "" : opts[i].value);
        buf_addf(out, "  %-30s %s\n", left, opts[i].help);
    }
}
