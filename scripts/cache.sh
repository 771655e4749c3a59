# SPDX-License-Identifier: MIT
# Where downloads, and what is built from them once, are kept: outside of the tree, so that clones share it. Sourced.
export LAB_CACHE="${LAB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/grantio/lab}"
