/* `stowage engine`: installs and lists inference engines. */
#include "cli/cli.h"

#include <stdio.h>

int cmd_engine(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fputs("stowage: engine is not built yet\n", stderr);
    return 1;
}
