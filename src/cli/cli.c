/* The subcommand table. */
#include "cli/cli.h"

/* clang-format off */
const struct cli_command CLI_COMMANDS[] = {
    {"plan", "show where a model would go, and why", cmd_plan},
    {"engine", "install or list inference engines", cmd_engine},
    {"demo-model", "write a tiny model of random weights, for trying things out", cmd_demo_model},
    {0},
};
/* clang-format on */
