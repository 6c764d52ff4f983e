/* The two subcommands that compose roles; everything else is in cli/. */
#ifndef MAIN_H
#define MAIN_H

int main_serve(int argc, char **argv);
int main_worker(int argc, char **argv);

#endif
