# SPDX-License-Identifier: MIT
"""Figures on real Xen, in the lab: grantiod's disk beside xen-blkback's, in one guest, on one loop device.

The lab's scenario `figures` prints a line for each run: what fio in the guest did, and grantiod's counters before and
after. Here they become two tables for each architecture.
"""
import collections
import os
import re
import statistics
import subprocess
import sys

LINE = re.compile(r"figure (vda|xvdb) (\w+) (\w+) (\d+) (\d+) (\d+) (\d+) \| (.*) \| (.*)")
COUNTED = ("ioreqs", "copy_hypercalls", "interrupts", "kicks", "syscalls", "copy_calls")


def counters(line):
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)(?= |$)", line)}


def run(top, arch):
    """{(rw, bs, depth): {"grantio": [run, ...], "blkback": [...]}}

    A run has iops, requests and guest_interrupts, and grantio's has its counts, too.
    """
    out = subprocess.run([f"{top}/tests/lab/lab.sh", arch, "figures"], text=True, stdout=subprocess.PIPE, check=False,
                         env=dict(os.environ, LAB_PROCESSORS="2"))
    cases = collections.defaultdict(lambda: {"grantio": [], "blkback": []})
    for disk, rw, bs, depth, iops, requests, interrupts, before, after in LINE.findall(out.stdout):
        one = {"iops": int(iops), "requests": int(requests), "guest_interrupts": int(interrupts)}
        if disk == "vda":
            was, now = counters(before), counters(after)
            one["counts"] = {key: now[key] - was[key] for key in (*COUNTED, "requests")}
        cases[rw, bs, int(depth)]["grantio" if disk == "vda" else "blkback"].append(one)
    if out.returncode:
        print(out.stdout, file=sys.stderr)
        raise SystemExit(f"the lab's figures for {arch} failed")
    return cases


def median_run(runs):
    return sorted(runs, key=lambda one: one["iops"])[len(runs) // 2]


def throughput(cases):
    yield "| load | depth | xen-blkback, IOPS | grantio, IOPS | ratio (lowest to highest of the rounds) |"
    yield "|---|--:|--:|--:|--:|"
    for (rw, bs, depth), both in cases.items():
        ratios = [ours["iops"] / theirs["iops"] for ours, theirs in zip(both["grantio"], both["blkback"])]
        yield (f"| {rw} {bs} | {depth} | {median_run(both['blkback'])['iops']} | {median_run(both['grantio'])['iops']} "
               f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")


def costs(cases):
    yield ("| load | depth | ioreqs | copy hypercalls | events sent | hypercalls in all | system calls | kicks "
           "| interrupts | blkback: interrupts |")
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (rw, bs, depth), both in cases.items():
        ours, theirs = median_run(both["grantio"]), median_run(both["blkback"])
        each = {key: value / ours["counts"]["requests"] for key, value in ours["counts"].items()}
        sent = each["ioreqs"] + each["interrupts"]  # each ioreq is answered by an event
        yield (f"| {rw} {bs} | {depth} | {each['ioreqs']:.2f} | {each['copy_hypercalls']:.2f} | {sent:.2f} "
               f"| {each['copy_hypercalls'] + sent:.2f} | {each['syscalls']:.2f} | {each['kicks']:.2f} "
               f"| {ours['guest_interrupts'] / ours['requests']:.2f} "
               f"| {theirs['guest_interrupts'] / theirs['requests']:.2f} |")


def ratio_range(cases, depth):
    """'0.4 to 0.9': the lowest and the highest median ratio of all loads at a depth."""
    ratios = [statistics.median(ours["iops"] / theirs["iops"] for ours, theirs in zip(both["grantio"], both["blkback"]))
              for (_, _, d), both in cases.items() if d == depth]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def section(top):
    """The page's text."""
    names = {"x86": "x86: Xen 4.20, a stock Debian 6.12 guest with grantio.ko, interrupts by event channel",
             "arm64": "Arm64: Xen 4.20, a mainline 6.12 guest with CONFIG_XEN_VIRTIO, interrupts by the virtual GIC"}
    for arch, name in names.items():
        cases = run(top, arch)
        yield f"### {name}\n"
        yield (f"grantio's throughput is {ratio_range(cases, 1)} of blkback's at depth 1, and {ratio_range(cases, 32)} "
               "at depth 32.\n")
        yield from throughput(cases)
        yield "\nFor each request:\n"
        yield from costs(cases)
        yield ""
