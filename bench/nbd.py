# SPDX-License-Identifier: MIT
"""grantiod's NBD engine beside fio's, on the same server (nbdkit's memory plugin), in turn."""
import json
import os
import statistics
import subprocess
import tempfile
import time

from machine import Machine

SIZE_MIB = 256
DEPTHS = (1, 8, 32)


class Server:
    """nbdkit at a Unix socket, for as long as a `with` block runs."""

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="grantio-bench.", dir="/dev/shm")
        socket = os.path.join(self.dir.name, "nbd")
        self.uri = f"nbd+unix:///?socket={socket}"
        self.nbdkit = subprocess.Popen(["nbdkit", "-f", "-U", socket, "memory", f"{SIZE_MIB}M"])
        deadline = time.monotonic() + 10
        while not os.path.exists(socket):
            if self.nbdkit.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("nbdkit did not start")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.nbdkit.terminate()
        self.nbdkit.wait(20)
        self.dir.cleanup()


def fio_iops(uri, rw, depth, seconds):
    """What fio's own NBD engine (by libnbd) gets from the server, with nothing in between."""
    out = subprocess.run(
        ["fio", "--name=nbd", "--ioengine=nbd", f"--uri={uri}", f"--size={SIZE_MIB}M", f"--rw={rw}", "--bs=4k",
         f"--iodepth={depth}", f"--runtime={seconds}", "--time_based", "--output-format=json"],
        check=True, text=True, stdout=subprocess.PIPE).stdout
    job = json.loads(out[out.index("{"):])["jobs"][0]
    return job["read"]["iops"] + job["write"]["iops"]


def grantio_run(machine, rw, depth, seconds):
    return json.loads(machine.grantio("bench", "--domid", "1", "--control", machine.control, "--rw", rw, "--bs", "4k",
                                      "--depth", str(depth), "--time", f"{seconds}s", "--json"))


def measure(build, rounds, seconds):
    """One row a case: medians over the rounds, which take the two in turn, and the ratio of each pair."""
    with Server() as server, Machine(build, server.uri) as machine:
        for rw in ("randread", "randwrite"):
            for depth in DEPTHS:
                fio, runs = [], []
                for _ in range(rounds):
                    fio.append(fio_iops(server.uri, rw, depth, seconds))
                    runs.append(grantio_run(machine, rw, depth, seconds))
                ratios = [run["iops"] / f for run, f in zip(runs, fio)]
                runs.sort(key=lambda run: run["iops"])
                yield rw, depth, statistics.median(fio), runs[len(runs) // 2], ratios


def section(build, rounds, seconds):
    yield ("| load | depth | fio's NBD engine, IOPS | grantio, IOPS | ratio (lowest to highest) | median latency "
           "| requests per batch |")
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for rw, depth, fio, run, ratios in measure(build, rounds, seconds):
        yield (f"| {rw} 4k | {depth} | {fio:.0f} | {run['iops']:.0f} | {statistics.median(ratios):.2f} "
               f"({min(ratios):.2f} to {max(ratios):.2f}) | {run['latency_us']['median']:.0f} µs "
               f"| {run['requests_per_batch']:.1f} |")
