/* `stowage plan`: where a model would go, and why. */
#include "cli/cli.h"

#include <stdio.h>

int cmd_plan(int argc, char **argv)
{
    fputs("stowage: plan is not built into this binary yet\n", stderr);
    return 1;
}
