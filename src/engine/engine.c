/* The table of engine drivers and what does not depend on one. */
#include "engine/engine.h"

#include <string.h>

extern const struct engine_driver engine_llamacpp;

const struct engine_driver *const ENGINE_DRIVERS[] = {&engine_llamacpp, NULL};

const struct engine_driver *engine_find(const char *name)
{
    for (size_t i = 0; ENGINE_DRIVERS[i]; i++)
        if (strcmp(ENGINE_DRIVERS[i]->name, name) == 0)
            return ENGINE_DRIVERS[i];
    return NULL;
}

void engine_launch_done(struct engine_launch *l)
{
    for (size_t i = 0; i < ENGINE_MAX_ARGV; i++)
        free(l->argv[i]);
    for (size_t i = 0; i < ENGINE_MAX_ENV; i++)
        free(l->env[i]);
    memset(l, 0, sizeof *l);
}
