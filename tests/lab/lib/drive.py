#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boot machines of the lab and hand them scenarios, one after the other.

Usage: drive.py [--machines N] [--retry] ARCH:BUILD:SCENARIO[,SCENARIO...]...
Where BUILD is empty the lab could not be prepared: all of its scenarios fail.

A machine is `lab.sh ARCH boot`: QEMU with the serial line on standard input and output. dom0/init says "LAB ready N
RESULT" there when it has nothing to do, again every few seconds (lines can get lost among Xen's own), and is answered
"run N+1 SCENARIO LIMIT" or "end". Two machines share one queue. A scenario with a line "# Xen: ARGUMENTS" runs in a
machine whose Xen was booted with these, one with "# Dom0: NAME" in a machine with that dom0, "dom0-NAME.cpio".

What fails is run once more in a fresh machine, if --retry is given, and is reported as retried; many failures are no
bad luck and are not retried. dom0 ends a scenario that takes longer than its limit; a machine in which even that does
not work is killed. Nothing waits without a limit. LAB_TIMEOUT (seconds) bounds each machine's life, if set; LAB_BUDGET
bounds the whole run: a scenario that has not begun by then is not run, and fails. When two machines of a kind do not
even boot, no more machines of that kind are started.

The last line is "N passed, N failed".
"""
import argparse
import collections
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

LAB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
BOOT_LIMIT = 240        # seconds until dom0 is up: 20 are normal
SCENARIO_LIMIT = 600    # a scenario's own, unless it has a line "# Limit: SECONDS"
GRACE = 60              # beyond it, for dom0 to clean up and report
RETRIES_AT_MOST = 6
BUDGET = 3000           # seconds for all of it, unless LAB_BUDGET says another number: 900 are normal
BOOTS_AT_MOST = 2       # in vain, of a kind
CTRL_BRACKET = "\x1d"   # leaves `xl console`, if it comes alone
SHELL = "lab-shell"     # the scenario that is none: what `make lab-shell` gives, used by a person who types
TAIL = 25               # lines of the console that are shown of a machine that hung

printing = threading.Lock()


def say(*lines):
    with printing:
        for line in lines:
            print(line, flush=True)


# A kind of machine: what is booted, from where, what Xen's command line has beyond the usual, and which dom0 if not the
# usual one.
Kind = collections.namedtuple("Kind", "arch build xen dom0")


class Job:
    def __init__(self, arch, build, name):
        self.arch, self.build, self.name, self.tries = arch, build, name, 0
        self.limit, self.kind = SCENARIO_LIMIT, Kind(arch, build, "", "")
        if name != SHELL:
            with open(os.path.join(LAB, "scenarios", name + ".sh"), encoding="utf-8") as source:
                text = source.read()
            said = {key: value for key, value in re.findall(r"^# (Limit|Xen|Dom0): (.*)", text, re.M)}
            self.limit = int(said.get("Limit", SCENARIO_LIMIT))
            self.kind = Kind(arch, build, said.get("Xen", ""), said.get("Dom0", ""))

    def __str__(self):
        return f"{self.arch}/{self.name}"


class Queue:
    """What is still to be run. A worker stays with its kind of machine while there is anything for it."""

    def __init__(self, jobs, retry):
        self.lock = threading.Lock()
        self.waiting = collections.defaultdict(collections.deque)
        for job in jobs:
            self.waiting[job.kind].append(job)
        self.running, self.boots_in_vain = collections.Counter(), collections.Counter()
        self.until = time.monotonic() + float(os.environ.get("LAB_BUDGET") or BUDGET)
        self.retry, self.retried, self.passed = retry, [], 0

    def take(self, kind, booted=False):
        with self.lock:
            self.give_up(kind)
            waiting = self.waiting[kind]
            return waiting.popleft() if waiting and not (booted and waiting[0].name == SHELL) else None

    def give_up(self, kind):
        """Take away what will not be run any more; its lock is held."""
        why = ("no time left" if time.monotonic() > self.until else
               "no dom0" if self.boots_in_vain[kind] >= BOOTS_AT_MOST else None)
        if why:
            say(*[f"not ok - {job} ({why})" for job in self.waiting[kind]])
            self.waiting[kind].clear()

    def choose(self, preferred):
        """An ARCH to boot next. A second machine of a kind is booted only where that saves something."""
        with self.lock:
            for kind in preferred:
                self.give_up(kind)
                waiting = self.waiting[kind]
                if len(waiting) > (1 if self.running[kind] and not any(job.tries for job in waiting) else 0):
                    self.running[kind] += 1
                    return kind
        return None

    def leave(self, kind):
        with self.lock:
            self.running[kind] -= 1

    def succeeded(self, job, seconds):
        with self.lock:
            self.passed += 1
        say(f"ok - {job} ({seconds} s{', retried once' if job.tries else ''})")

    def not_succeeded(self, job, why, shown, log):
        job.tries += 1
        with self.lock:
            again = self.retry and job.tries == 1 and len(self.retried) < RETRIES_AT_MOST
            if again:
                self.retried.append(f"{job} ({why})")
                self.waiting[job.kind].appendleft(job)
        say(*([f"  # {line}" for line in shown]), f"  # console log: {log}",
            f"{'retrying - ' if again else 'not ok - '}{job} ({why})")


class Machine:
    machines = set()

    def __init__(self, kind, number, arguments=""):
        arch, build, xen, dom0 = kind
        self.arch, self.log = arch, os.path.join(build, f"console-{number}.log")
        self.lines, self.events, self.sequence = [], queue.Queue(), 0
        self.text, self.read_until, self.said = "", 0, threading.Condition()
        env = dict(os.environ, LAB_BUILD=build, LAB_DOM0_ARGS=f"{os.environ.get('LAB_DOM0_ARGS', '')} {arguments}",
                   LAB_XEN_ARGS=f"{os.environ.get('LAB_XEN_ARGS', '')} {xen}", LAB_DOM0=dom0)
        self.until = time.monotonic() + float(os.environ.get("LAB_TIMEOUT") or 86400)
        with open(os.path.join(build, f"qemu-{number}.log"), "wb") as errors:
            self.process = subprocess.Popen([os.path.join(LAB, "lab.sh"), arch, "boot"], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors, env=env, start_new_session=True)
        self.errors = errors.name
        Machine.machines.add(self)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        rest = ""
        with open(self.log, "wb") as log:
            while raw := self.process.stdout.read1(65536):
                log.write(raw)
                log.flush()
                text = raw.decode("utf-8", "replace").replace("\r", "")
                *lines, rest = (rest + text).split("\n")
                self.lines += lines
                for line in lines:
                    if line.startswith("LAB "):
                        self.events.put(line[4:])
                with self.said:
                    self.text += text
                    self.said.notify_all()
        self.events.put(None)

    def says(self, pattern, seconds):
        """Wait for a text on the console that comes after the one that was waited for last."""
        def found():
            match = re.compile(pattern).search(self.text, self.read_until)
            if match:
                self.read_until = match.end()
            return match
        with self.said:
            return self.said.wait_for(found, seconds)

    def send(self, text):
        try:
            self.process.stdin.write((text if text == CTRL_BRACKET else text + "\n").encode())
            self.process.stdin.flush()
        except OSError:
            pass  # the machine is gone: its reader says so

    def ready(self, seconds, command=None):
        """Wait for dom0's word that command number `sequence` is done: RESULT, or None with the reason.

        Sends the command again if dom0 asks again.
        """
        deadline = min(time.monotonic() + seconds, self.until)
        if command:
            self.sequence += 1
            self.send(command)
        while True:
            try:
                event = self.events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None, "the machine does not answer" if deadline < self.until else "LAB_TIMEOUT is over"
            if event is None:
                return None, "the machine stopped"
            word = event.split(" ", 2)
            if word[0] == "note":
                say(f"  # {self.arch} {event[5:]}")
            elif word[0] == "ready" and len(word) == 3 and word[1].isdigit():
                if int(word[1]) == self.sequence:
                    return word[2], None
                if command:
                    self.send(command)

    def stop(self):
        """End it, politely if it listens."""
        self.send("end")
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.reader.join(10)
        Machine.machines.discard(self)

    def keep_log(self, job):
        """Copy the console's log to where the next machine does not write."""
        kept = os.path.join(os.path.dirname(self.log), f"failed-{job.name}-{job.tries + 1}.log")
        shutil.copyfile(self.log, kept)
        return kept

    def shown(self, start, hung):
        """What a person wants to see of a failure: dom0's words since then, and the last lines if it hung."""
        lines, chatter = self.lines[start:], ("LAB ready", "LAB note")
        words = [line[4:] for line in lines if line.startswith("LAB ") and not line.startswith(chatter)]
        if hung:
            with open(self.errors, encoding="utf-8", errors="replace") as errors:
                words += lines[-TAIL:] + errors.read().splitlines()[-5:]
        return words


def run_shell(job, number, jobs):
    """Type into `make lab-shell`, and leave by poweroff."""
    start, machine = time.monotonic(), Machine(job.kind, number, "lab=shell")
    talk = (("leave", "expr 40 + 2; xl list g1 | grep -c g1"), (r"42\n1\n", "xl console g1"),
            ("g1# ", "expr 50 + 5"), (r"55\n", CTRL_BRACKET), ("dom0# ", "grantio doctor"),
            (r"ok +grantiod: answers at .*: 1 disks, 1 served", "grantio disk stats"),
            (r"d1/xvda phase=served", "grantio disk list"), (r"xvda .*Connected +yes", "poweroff"))
    why = None
    for expected, typed in talk:
        if not machine.says(expected, BOOT_LIMIT if expected == "leave" else GRACE):
            why = f"no answer {expected!r}"
            break
        machine.send(typed)
    try:
        why = why or (f"QEMU's status {machine.process.returncode}" if machine.process.wait(GRACE) else None)
    except subprocess.TimeoutExpired:
        why = "poweroff does not end the machine"
    machine.kill()
    if why:
        jobs.not_succeeded(job, why, machine.shown(0, True), machine.keep_log(job))
    else:
        jobs.succeeded(job, int(time.monotonic() - start))


def run_machine(kind, number, jobs):
    """Boot, run scenarios until there are none or one fails."""
    job = jobs.take(kind)
    if job is None or job.name == SHELL:
        return run_shell(job, number, jobs) if job else None
    machine = Machine(kind, number)
    result, why = machine.ready(BOOT_LIMIT)
    if result is None:
        machine.kill()
        jobs.boots_in_vain[kind] += 1
        jobs.not_succeeded(job, f"no dom0: {why}", machine.shown(0, True), machine.keep_log(job))
        return
    jobs.boots_in_vain[kind] = 0
    while job:
        start = len(machine.lines)
        result, why = machine.ready(job.limit + GRACE, f"run {machine.sequence + 1} {job.name} {job.limit}")
        word = (result or "").split()
        if len(word) == 3 and word[0] == "ok" and word[1] == job.name:
            jobs.succeeded(job, word[2])
            job = jobs.take(kind, booted=True)
            continue
        hung = result is None
        (machine.kill if hung else machine.stop)()
        jobs.not_succeeded(job, why or result, machine.shown(start, hung), machine.keep_log(job))
        return
    machine.stop()


def worker(number, preferred, jobs):
    while True:
        kind = jobs.choose(preferred)
        if kind is None:
            return
        try:
            run_machine(kind, number, jobs)
        finally:
            jobs.leave(kind)


def interrupted(signum, _):
    for machine in list(Machine.machines):
        os.killpg(machine.process.pid, signal.SIGKILL)
    os._exit(128 + signum)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("labs", nargs="+")
    options = parser.parse_args()
    todo = []
    for lab in options.labs:
        arch, build, names = lab.split(":")
        todo += [Job(arch, build, name) for name in names.split(",") if name]
    if options.machines > 1:  # what may take long first, so that no machine has it to itself at the end
        todo.sort(key=lambda job: job.limit <= SCENARIO_LIMIT)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)
    runs = [job for job in todo if job.build]
    jobs, start = Queue(runs, options.retry), time.monotonic()
    # The usual ones first: each worker begins with one of them.
    kinds = sorted(dict.fromkeys(job.kind for job in runs), key=lambda kind: (kind.xen, kind.dom0))
    say(*[f"not ok - {job} (its lab could not be prepared)" for job in todo if not job.build])
    threads = []
    for number in range(options.machines if kinds else 0):
        at = number % len(kinds)
        thread = threading.Thread(target=worker, args=(number + 1, kinds[at:] + kinds[:at], jobs))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    # A worker may leave just before another one's failure is to be run again.
    worker(1, kinds, jobs)
    say(f"lab: {len(todo)} scenarios in {time.monotonic() - start:.0f} s")
    if jobs.retried:
        say(f"lab: {len(jobs.retried)} failed at first: {'; '.join(jobs.retried)}")
    say(f"{jobs.passed} passed, {len(todo) - jobs.passed} failed")
    sys.exit(jobs.passed != len(todo))


if __name__ == "__main__":
    main()
