# SPDX-License-Identifier: MIT
"""Many idle disks of many guests on one machine of the model: what they cost grantiod.

Disks are written into xenstore as xl writes them for Arm, since the model has handles of event channels for some 500
disks only.
"""
import os
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time

READ, WRITE = 2, 11  # xen/io/xs_wire.h
LIMIT = 300          # seconds, for anything


class Store:
    """xenstore, as domain 0."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def call(self, kind, payload):
        self.socket.sendall(struct.pack("<IIII", kind, 0, 0, len(payload)) + payload)
        length = struct.unpack("<IIII", self.take(16))[3]
        return self.take(length)

    def take(self, length):
        data = b""
        while len(data) < length:
            got = self.socket.recv(length - len(data))
            if not got:
                raise RuntimeError("xenstore has gone")
            data += got
        return data

    def write(self, path, value):
        self.call(WRITE, f"{path}\0{value}".encode())

    def read(self, path):
        return self.call(READ, f"{path}\0".encode()).decode()


class Scale:
    """`guests` guests with `disks` disks each, on grantiod with ledgers."""

    def __init__(self, build, guests, disks):
        self.build, self.guests, self.disks = build, guests, disks
        self.dir = tempfile.mkdtemp(prefix="grantio-scale.", dir="/dev/shm")
        self.machine = os.path.join(self.dir, "machine")
        self.env = dict(os.environ, GRANTIO_MACHINE=self.machine, XENSTORED_PATH=os.path.join(self.machine, "store"))
        self.control, self.state = os.path.join(self.dir, "control"), os.path.join(self.dir, "state")
        self.grantiod = self.store = None

    def grantio(self, *args):
        subprocess.run([f"{self.build}/cli/grantio", *args], env=self.env, check=True, stdout=subprocess.DEVNULL)

    def __enter__(self):
        os.mkdir(self.state, 0o700)
        self.grantio("model", "start")
        try:
            for domid in range(1, self.guests + 1):
                self.grantio("model", "create", "--domid", str(domid), "--memory", "16M", "--vcpus", "2")
            self.store = Store(self.env["XENSTORED_PATH"])
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.grantiod:
            self.grantiod.kill()
            self.grantiod.wait()
        subprocess.run([f"{self.build}/cli/grantio", "model", "stop"], env=self.env, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.grantiod = subprocess.Popen(
                [f"{self.build}/backend/grantiod", "--state-dir", self.state, "--control", self.control], stderr=log,
                env=dict(self.env, LD_PRELOAD=f"{self.build}/model/libgrantio-model.so"))

    def wait(self, what, ready, pause=0.001):
        deadline = time.monotonic() + LIMIT
        while not ready():
            if self.grantiod.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{what}: not within {LIMIT} s; see {self.dir}/log")
            time.sleep(pause)

    def served(self):
        with socket.socket(socket.AF_UNIX) as control:
            try:
                control.connect(self.control)
            except OSError:
                return 0  # not yet
            control.sendall(b"stats\n")
            answer = b""
            while got := control.recv(65536):
                answer += got
        return answer.count(b" phase=served ")

    def attach(self, domid, index):
        """Seconds from the last key to state 2."""
        image = os.path.join(self.dir, f"{domid}-{index}.raw")
        with open(image, "wb") as out:
            out.truncate(64 << 20)
        devid = 51712 + 16 * index if index < 16 else (1 << 28) + 256 * index
        front = f"/local/domain/{domid}/device/virtio_disk/{devid}"
        back = f"/local/domain/0/backend/virtio_disk/{domid}/{devid}"
        keys = {"frontend": front, "params": image, "frontend-id": domid, "online": 1, "type": "standalone",
                "mode": "w", "device-type": "disk", "discard-enable": 1, "specification": "virtio", "transport": "mmio",
                "base": 0x2000000 + 0x200 * index, "irq": 33 + index, "grant_usage": 1}
        for key, value in keys.items():
            self.store.write(f"{back}/{key}", value)
        begin = time.monotonic()
        self.store.write(f"{back}/state", 1)
        self.wait(back, lambda: self.store.read(f"{back}/state").startswith("2"))
        return time.monotonic() - begin

    def resident_mib(self):
        with open(f"/proc/{self.grantiod.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024

    def cpu(self):
        with open(f"/proc/{self.grantiod.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill_and_resume(self):
        """Seconds from SIGKILL until a successor serves all."""
        begin = time.monotonic()
        self.grantiod.kill()
        self.grantiod.wait()
        self.start()
        # Seldom: the answer of 1000 disks is 250 KB, and grantiod's main thread makes it.
        self.wait("resuming", lambda: self.served() == self.guests * self.disks, 0.1)
        return time.monotonic() - begin


def measure(build, guests=25, disks=40, rest=3):
    """{what: text} for the page."""
    with Scale(build, guests, disks) as scale:
        times = [scale.attach(domid, index) for index in range(disks) for domid in range(1, guests + 1)]
        memory = scale.resident_mib()
        begin = scale.cpu()
        time.sleep(rest)
        idle = (scale.cpu() - begin) / rest
        resume = scale.kill_and_resume()
    last = times[-10:]
    return {"disks": f"{guests * disks} of {guests} guests",
            "a disk more, median of the last ten": f"{statistics.median(last) * 1000:.0f} ms",
            "the slowest of them": f"{max(last) * 1000:.0f} ms",
            "resident memory of grantiod": f"{memory:.0f} MiB",
            "its processor time while nothing happens": f"{idle * 100:.1f} %",
            "from SIGKILL until a successor serves all": f"{resume:.1f} s"}


if __name__ == "__main__":
    import sys
    for name, value in measure(sys.argv[1], *map(int, sys.argv[2:])).items():
        print(f"{name}: {value}")
