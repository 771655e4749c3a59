#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure, and write docs/performance.md and docs/performance.svg.

Each case is run by fio's io_uring engine on the raw file and by `grantio bench` on the same file through the whole
path, in turn, several rounds; medians are reported, and the ratio of each pair. Then the same on real Xen, beside
xen-blkback (xen.py), and NBD beside fio's engine for it (nbd.py). Usage: report.py BUILD_DIR [--quick]
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import textwrap

import nbd
import scale
import xen
from machine import Machine

ROUNDS, SECONDS, IMAGE_MIB = (1, 1, 256) if "--quick" in sys.argv else (5, 3, 1024)
CASES = [(rw, bs, depth) for rw in ("randread", "randwrite") for bs in ("4k", "64k") for depth in (1, 32)]
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def fio_iops(image, rw, bs, depth):
    out = subprocess.run(
        ["fio", "--name=raw", f"--filename={image}", f"--size={IMAGE_MIB}M", f"--rw={rw}", f"--bs={bs}",
         f"--iodepth={depth}", "--ioengine=io_uring", "--direct=1", f"--runtime={SECONDS}", "--time_based",
         "--output-format=json"], check=True, text=True, stdout=subprocess.PIPE).stdout
    job = json.loads(out[out.index("{"):])["jobs"][0]
    return job["read"]["iops"] + job["write"]["iops"]


def grantio_run(machine, rw, bs, depth):
    return json.loads(machine.grantio("bench", "--domid", "1", "--control", machine.control, "--rw", rw, "--bs", bs,
                                      "--depth", str(depth), "--time", f"{SECONDS}s", "--json"))


def measure(machine):
    """One row a case: medians over the rounds, which take the two in turn."""
    rows = []
    for rw, bs, depth in CASES:
        print(f"{rw} {bs}, depth {depth}", file=sys.stderr, flush=True)
        raw, runs = [], []
        for _ in range(ROUNDS):
            raw.append(fio_iops(machine.image, rw, bs, depth))
            runs.append(grantio_run(machine, rw, bs, depth))
        ratios = [run["iops"] / r for run, r in zip(runs, raw)]
        runs.sort(key=lambda run: run["iops"])
        rows.append({"case": (rw, bs, depth), "raw": statistics.median(raw), "run": runs[len(runs) // 2],
                     "ratio": statistics.median(ratios), "ratios": (min(ratios), max(ratios))})
    return rows


def throughput_table(rows):
    yield "| load | depth | raw file, IOPS | grantio, IOPS | ratio (lowest to highest) | median latency | p99 |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for row in rows:
        rw, bs, depth = row["case"]
        run, low_high = row["run"], row["ratios"]
        yield (f"| {rw} {bs} | {depth} | {row['raw']:.0f} | {run['iops']:.0f} | {row['ratio']:.2f} "
               f"({low_high[0]:.2f} to {low_high[1]:.2f}) | {run['latency_us']['median']:.0f} µs "
               f"| {run['latency_us']['p99']:.0f} µs |")


COUNTS = (("hypercalls", "hypercalls"), ("grant copies", "grant_copies"), ("grant maps", "grant_maps"),
          ("events sent", "event_sends"), ("device model", "dm_ops"), ("system calls", "syscalls"), ("kicks", "kicks"),
          ("interrupts", "interrupts"), ("ioreqs", "ioreqs"))


def counts_table(rows):
    names = [name for name, _ in COUNTS] + ["copy calls per batch", "requests per batch"]
    yield "| load | depth | " + " | ".join(names) + " |"
    yield "|---|--:|" + "--:|" * (len(COUNTS) + 2)
    for row in rows:
        rw, bs, depth = row["case"]
        run = row["run"]
        cells = " | ".join(f"{run['per_request'][key]:.3f}" for _, key in COUNTS)
        yield f"| {rw} {bs} | {depth} | {cells} | {run['copy_calls_per_batch']:.2f} | {run['requests_per_batch']:.1f} |"


def ratio_range(rows, depth):
    ratios = [row["ratio"] for row in rows if row["case"][2] == depth]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def summary(rows, on_xen):
    """What the tables say, before them."""
    lone, deep = (next(row["run"] for row in rows if row["case"] == ("randread", "4k", depth)) for depth in (1, 32))
    calls, deep_calls = lone["per_request"], deep["per_request"]
    yield (f"On the model, a guest gets {ratio_range(rows, 1)} of the raw file's IOPS at depth 1, and "
           f"{ratio_range(rows, 32)} at depth 32.")
    yield (f"A lone 4 KiB read costs grantiod {calls['hypercalls']:.1f} hypercalls, {calls['grant_copies']:.1f} of "
           f"them grant copies, and its queue's thread {calls['syscalls']:.1f} system calls. At depth 32 it costs "
           f"{deep_calls['hypercalls']:.2f} hypercalls and {deep_calls['syscalls']:.2f} system calls.")
    for arch, line in zip(("x86", "Arm64"), (line for line in on_xen if line.startswith("grantio's throughput is"))):
        yield f"On real Xen for {arch}, under emulation, {line.strip()}"
    yield "The allocator of reference runs takes the same time whatever the table's size and occupancy."


def allocator_table(build):
    out = subprocess.run([f"{build}/bench/alloc_bench", "--tsv"], check=True, text=True, stdout=subprocess.PIPE).stdout
    lines = [line.split("\t") for line in out.splitlines()[1:]]
    yield "| references | occupancy | run of | ns per pair | first fit, ns per pair |"
    yield "|--:|--:|--:|--:|--:|"
    for references, occupancy, run, ns, first_fit in lines:
        yield f"| {references} | {occupancy} % | {run} | {float(ns):.0f} | {float(first_fit):.0f} |"


def mapping_table(build):
    out = subprocess.run([f"{build}/bench/dma_bench", "--tsv"], check=True, text=True, stdout=subprocess.PIPE).stdout
    ways = {}
    for way, direction, size, pair, page in (line.split("\t") for line in out.splitlines()[1:]):
        ways.setdefault((direction, int(size)), {})[way] = (float(pair), float(page))
    yield "| buffer | direct grants, ns | each page | pool, ns | each page |"
    yield "|---|--:|--:|--:|--:|"
    for (direction, size), found in ways.items():
        cells = [f"{found[way][0]:.0f} | {found[way][1]:.1f}" if way in found else "- | -"
                 for way in ("direct", "pool")]
        yield f"| {direction} of {size} bytes | {cells[0]} | {cells[1]} |"


def ring_table(build):
    """In turn, so that a host that is busy for a while spoils both."""
    runs, taken = 2 if "--quick" in sys.argv else 7, {"split": [], "packed": []}
    for _ in range(runs):
        for ring, ns in taken.items():
            out = subprocess.run([f"{build}/bench/ring_bench", ring, "32", "1000000"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
            ns.append(float(out.split()[0]))
    yield "| ring | ns a request, the least | the median | the most |"
    yield "|---|--:|--:|--:|"
    for ring, ns in taken.items():
        yield f"| {ring} | {min(ns):.0f} | {statistics.median(ns):.0f} | {max(ns):.0f} |"


def scale_table(build):
    yield "| | |"
    yield "|---|--:|"
    for what, value in (scale.measure(build, 5, 10) if "--quick" in sys.argv else scale.measure(build)).items():
        yield f"| {what} | {value} |"


def chart(rows):
    """Both throughputs of each case, side by side."""
    data = "".join(f'"{rw[4:]} {bs}\\nd{depth}" {row["raw"]:.0f} {row["run"]["iops"]:.0f}\n'
                   for row in rows for rw, bs, depth in [row["case"]])
    script = f"""
set terminal svg size 860,420 font "sans-serif,12" background "#ffffff" noenhanced
set output "{TOP}/docs/performance.svg"
set style data histogram
set style histogram clustered gap 1
set style fill solid noborder
set boxwidth 0.9
set yrange [0:*]
set bmargin 3
set ylabel "requests per second"
set grid ytics
set key outside top center vertical
$data << EOD
{data}EOD
plot $data using 2:xtic(1) title "raw file (fio, io_uring, O_DIRECT)" linecolor rgb "#9aa7b4", \\
     $data using 3 title "through grants (grantio bench)" linecolor rgb "#1f6f8b"
"""
    subprocess.run(["gnuplot"], input=script, check=True, text=True)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())


def write(rows, build):
    with open(os.path.join(TOP, "docs/performance.md.in"), encoding="utf-8") as f:
        text = f.read()
    on_xen = list(xen.section(TOP))
    values = {
        "SUMMARY": "\n".join(textwrap.fill("- " + line, 120, subsequent_indent="  ") for line in summary(rows, on_xen)),
        "MACHINE": f"{os.cpu_count()} processors ({processor()}), Linux {platform.release().split('-')[0]}",
        "ROUNDS": str(ROUNDS), "SECONDS": str(SECONDS), "IMAGE": f"{IMAGE_MIB} MiB",
        "THROUGHPUT": "\n".join(throughput_table(rows)), "COUNTS": "\n".join(counts_table(rows)),
        "ALLOCATOR": "\n".join(allocator_table(build)), "MAPPING": "\n".join(mapping_table(build)),
        "RING": "\n".join(ring_table(build)),
        "XEN": "\n".join(on_xen),
        "NBD": "\n".join(nbd.section(build, ROUNDS, SECONDS)),
        "SCALE": "\n".join(scale_table(build)),
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    with open(os.path.join(TOP, "docs/performance.md"), "w", encoding="utf-8") as f:
        f.write(text)


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.NamedTemporaryFile(prefix="grantio-bench.", dir=build) as image:
        # Real blocks, not holes: a hole reads faster than any disk.
        subprocess.run(["dd", "if=/dev/urandom", f"of={image.name}", "bs=1M", f"count={IMAGE_MIB}", "conv=fsync",
                        "status=none"], check=True)
        with Machine(build, image.name) as machine:
            rows = measure(machine)
    chart(rows)
    write(rows, build)
    print("wrote docs/performance.md and docs/performance.svg")


main()
