// SPDX-License-Identifier: GPL-2.0-only
/*
 * nothp COMMAND...: run COMMAND with all its memory mapped by pages of 4K, so
 * that a stock kernel has no leaf to lose or to oops on.
 */
#include <err.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	if (argc < 2)
		errx(1, "which command?");
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		err(1, "PR_SET_THP_DISABLE");
	execv(argv[1], argv + 1);
	err(1, "%s", argv[1]);
}
