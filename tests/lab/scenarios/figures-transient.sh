# SPDX-License-Identifier: MIT
# Labs: none (`make bench` runs it by name)
# Limit: 1500
# figures.sh beside a blkback that maps the pages of each request and unmaps them again.
. /lab/scenarios/figures.sh
FIGURES_PERSISTENT=0
