#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Take the ELF kernel out of an x86 bzImage (xz, gzip or zstd). Usage: vmlinux.py BZIMAGE OUTPUT"""
import lzma
import subprocess
import sys
import zlib


def zstd(data):
    """Python has no such module before 3.14.

    The program takes what follows the kernel for an error, but has written the kernel by then.
    """
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False).stdout


MAGICS = ((b"\xfd7zXZ\x00", lambda d: lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(d)),
          (b"\x1f\x8b\x08", lambda d: zlib.decompressobj(31).decompress(d)),
          (b"\x28\xb5\x2f\xfd", zstd))

with open(sys.argv[1], "rb") as f:
    image = f.read()
for magic, unpack in MAGICS:
    at = image.find(magic)
    while at >= 0:
        try:
            kernel = unpack(image[at:])
            if kernel[:4] == b"\x7fELF":
                with open(sys.argv[2], "wb") as out:
                    out.write(kernel)
                sys.exit(0)
        except (lzma.LZMAError, zlib.error):
            pass
        at = image.find(magic, at + 1)
sys.exit(f"vmlinux.py: no ELF kernel in {sys.argv[1]}")
