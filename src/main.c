/*
 * The process's entry point. Everything else lives in libraries, so that tests, benchmarks and
 * fuzzers can link all of it.
 */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
