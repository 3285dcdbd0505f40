/* SPDX-License-Identifier: Apache-2.0 */
#include "spawner.h"

int oneshot(int argc, char **argv)
{
	(void)argc, (void)argv;
	errno = ENOSYS;
	die("oneshot");
}
