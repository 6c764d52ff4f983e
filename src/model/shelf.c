/* Headers read once; see shelf.h. */
#include "model/shelf.h"

#include "model/model.h"

const struct arch_facts *shelf_get(void *shelf, const char *path, struct err *err)
{
    struct shelf *s = shelf;
    struct arch_facts *f = s->facts ? map_get(s->facts, path) : NULL;
    if (f)
        return f;
    f = model_facts(path, NULL, err);
    if (!s->facts)
        s->facts = map_new(0);
    if (f)
        map_set(s->facts, path, f);
    return f;
}

void shelf_done(struct shelf *s)
{
    void *f;
    for (size_t i = 0; s->facts && map_next(s->facts, &i, NULL, &f);)
        arch_free(f);
    map_free(s->facts);
    s->facts = NULL;
}
