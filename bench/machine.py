# SPDX-License-Identifier: MIT
"""A machine of the model with one guest and one disk, for as long as a `with` block runs."""
import os
import shutil
import subprocess
import tempfile
import time


class Machine:
    """Starts the model, grantiod and a guest with `image` as its disk; ends and removes them again."""

    def __init__(self, build, image):
        self.build, self.image = build, image
        self.dir = tempfile.mkdtemp(prefix="grantio-bench.", dir="/dev/shm")
        self.control = os.path.join(self.dir, "control")
        self.env = dict(os.environ, GRANTIO_MACHINE=os.path.join(self.dir, "machine"))
        self.store = dict(self.env, XENSTORED_PATH=os.path.join(self.env["GRANTIO_MACHINE"], "store"))
        self.grantiod = None

    def grantio(self, *args):
        return subprocess.run([f"{self.build}/cli/grantio", *args], env=self.store, check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def __enter__(self):
        self.grantio("model", "start")
        try:
            self.grantio("model", "create", "--domid", "1", "--memory", "128M")
            self.grantiod_start()
            self.grantio("disk", "attach", "1", self.image, "--vdev", "xvda")
        except BaseException:
            self.__exit__()
            raise
        return self

    def grantiod_start(self):
        log = os.path.join(self.dir, "grantiod.log")
        with open(log, "wb") as out:
            self.grantiod = subprocess.Popen(
                [f"{self.build}/backend/grantiod", "--control", self.control],
                env=dict(self.store, LD_PRELOAD=f"{self.build}/model/libgrantio-model.so"), stderr=out)
        deadline = time.monotonic() + 10
        while "ready" not in open(log, encoding="utf-8").read():
            if self.grantiod.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("grantiod did not start: " + open(log, encoding="utf-8").read())
            time.sleep(0.02)

    def __exit__(self, *_):
        if self.grantiod:
            self.grantiod.terminate()
            self.grantiod.wait(20)
        subprocess.run([f"{self.build}/cli/grantio", "model", "stop"], env=self.env, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)
