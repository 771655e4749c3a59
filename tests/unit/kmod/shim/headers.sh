#!/bin/sh
# SPDX-License-Identifier: MIT
# A folder of headers by the kernel's names, each of which is shim.h. Usage: headers.sh STAMP FOLDER NAME...
set -eu
stamp=$1 folder=$2
shift 2
for name; do
	mkdir -p "$folder/$(dirname "$name")"
	echo '#include "shim.h"' >"$folder/$name"
done
: >"$stamp"
