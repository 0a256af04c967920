"""Freed memory is kept for the next chunk.

The C library gives large pieces of freed memory back to the system, and the system clears them before it
gives them out again, once for every map of every chunk (docs/performance.md). And it keeps an arena for each
thread, whose memory the others do not get.
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Numbers of glibc's settings, from its malloc.h."""
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have this process keep what it frees from now on; False where the C library is not glibc.

    Its memory does not shrink any more, and grows to little more than the most that it used at once.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(*one) for one in ((M_TRIM_THRESHOLD, NEVER), (M_MMAP_MAX, 0), (M_ARENA_MAX, 1)))
