# SPDX-License-Identifier: MIT
# Labs: none (`make bench` runs it by name)
# Limit: 1500
# figures.sh with four vCPUs: each disk has as many queues.
. /lab/scenarios/figures.sh
FIGURES_VCPUS=4
