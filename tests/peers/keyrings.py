"""Keys as another program might leave them, and a system that has no keys for a program.

    keyrings.py add DESCRIPTION CONTENT [RIGHTS [OWNER]]    adds a key of type user to the persistent keyring of the user
    keyrings.py copy DESCRIPTION RIGHTS [OWNER]             gives the key of that description other rights, and another owner
    keyrings.py fill                                        adds keys until the kernel allows no more, and keeps them
    keyrings.py without COMMAND...                          runs a command for which the kernel refuses the calls for keys

RIGHTS is a hexadecimal number, OWNER a user id.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

ADD_KEY, REQUEST_KEY, KEYCTL = {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)}.get(platform.machine(), (0, 0, 0))
CHOWN, SETPERM, LINK, SEARCH, GET_PERSISTENT = 4, 5, 8, 10, 22
PROCESS_KEYRING = -2
POSSESSOR_ONLY = 0x3F000000
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    """A system call; numbers and bytes."""
    done = libc.syscall(number, *(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def keyring():
    return call(KEYCTL, GET_PERSISTENT, -1, PROCESS_KEYRING)


def add(description, content):
    return call(ADD_KEY, b"user", description.encode(), content, len(content), keyring())


def change(key, rights=None, owner=None):
    if owner is not None:
        call(KEYCTL, CHOWN, key, int(owner), -1)
    if rights is not None:
        call(KEYCTL, SETPERM, key, int(rights, 16))


def without(command):
    """A filter of BPF: EPERM for the three calls."""
    load, equal, give = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
    calls = (ADD_KEY, REQUEST_KEY, KEYCTL)
    program = [(load, 0, 0, 0)]
    program += [(equal, len(calls) - at, 0, number) for at, number in enumerate(calls)]
    program += [(give, 0, 0, allow), (give, 0, 0, refuse)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(Program(len(program), ctypes.addressof(code))), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(command[0], command)


def main(what, *arguments):
    if what == "add":
        description, content, *more = arguments
        change(add(description, content.encode()), *(more or ["%x" % POSSESSOR_ONLY]))
    elif what == "copy":
        description, *more = arguments
        change(call(KEYCTL, SEARCH, keyring(), b"user", description.encode(), 0), *more)
    elif what == "fill":
        number = 0
        try:
            while True:
                add("filling:%d" % number, b"x")
                number += 1
        except OSError as error:
            if error.errno != errno.EDQUOT:
                raise
        print(number)
    elif what == "without":
        without(arguments)
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
