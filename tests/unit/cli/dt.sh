#!/bin/sh
# SPDX-License-Identifier: MIT
# What `grantio dt emit` writes, in the hands of others: dtc takes the text for the same tree as the blob, and
# dt-validate finds it to follow the schema, and a wrong tree not to.
# Usage: dt.sh GRANTIO DTC BINDINGS WORK_DIR
set -eu
grantio=$(realpath "$1") dtc=$2 bindings=$3 work=$(mktemp -d "$4/dt.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

devices="--device base=0x2000000,irq=33,backend=1 --device base=0x2000200,irq=34,backend=0"
for layout in "" --partial --dom0less; do
	"$grantio" dt emit $layout $devices --output "tree$layout.dtb"
	"$grantio" dt emit $layout $devices --dts >"tree$layout.dts"
	"$dtc" -q -q -s -I dts -O dtb -o compiled.dtb "tree$layout.dts"
	"$dtc" -q -q -s -I dtb -O dtb -o emitted.dtb "tree$layout.dtb"
	cmp compiled.dtb emitted.dtb
	[ "$("$grantio" dt check "tree$layout.dtb" | grep -c ': restricted to domain')" = 2 ]
done
echo "dtc: the text and the blob are the same tree"

command -v dt-validate >/dev/null || { echo "dt-validate: not installed, the schema is not looked at"; exit 0; }
dt-doc-validate -u "$bindings" "$bindings" >report 2>&1
[ ! -s report ] || { echo "a schema is not one:"; cat report; exit 1; }
# it prints what is wrong, exit code or not
validate() { dt-validate -l grant -s "$bindings" "$1" >report 2>&1; [ ! -s report ]; }
# dt-validate wants to see the interrupt controller, which is the toolstack's in two layouts.
gic='gic { #interrupt-cells = <3>; interrupt-controller; phandle = <0xfde8>; };'
for layout in "" --partial --dom0less; do
	grep -q 'gic {' "tree$layout.dts" || sed -i "s/^};/$gic &/" "tree$layout.dts"
	"$dtc" -q -q -I dts -O dtb -o valid.dtb "tree$layout.dts"
	validate valid.dtb || { echo "tree$layout.dtb does not follow the schema:"; cat report; exit 1; }
done
# One mistake each, which must be found, and found for what it is.
wrong() { # NAME SED_SCRIPT TEXT
	sed "$2" tree--dom0less.dts >wrong.dts
	cmp -s wrong.dts tree--dom0less.dts && { echo "$1: nothing was changed"; exit 1; }
	"$dtc" -q -q -I dts -O dtb -o wrong.dtb wrong.dts
	if validate wrong.dtb; then echo "$1: not found by dt-validate"; exit 1; fi
	grep -q -e "$3" report || { echo "$1: something else was found:"; cat report; exit 1; }
}
wrong "two cells" 's/#iommu-cells = <0x1>/#iommu-cells = <0x2>/' iommu-cells
wrong "no cells" '/#iommu-cells/d' "'#iommu-cells' is a required property"
wrong "a register" 's/#iommu-cells = <0x1>;/& reg = <0x0 0x1000 0x0 0x10>;/' "'reg'"
wrong "no iommus" '/iommus/d' "'iommus' is a required property"
wrong "no interrupts" '/interrupts =/d' "'interrupts' is a required property"
echo "dt-validate: three trees follow the schema, five wrong ones do not"
