/* `stowage demo-model`: writes a tiny model that an engine can load, and sparse giants for tests. */
#include "cli/cli.h"

#include <stdio.h>

int cmd_demo_model(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fputs("stowage: demo-model is not built yet\n", stderr);
    return 1;
}
