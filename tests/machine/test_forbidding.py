# SPDX-License-Identifier: MIT
"""A kernel that lets no BPF program read its memory: that is said in words, and auto does without."""

import subprocess

from tests.machine.test_machine import NO_MACHINE, ROOT
from tests.support.lanes import leave_out

WHY = "the kernel is locked down: it lets no BPF program read its memory"

PLAY = """
.venv/bin/pressurefs doctor | grep 'source kernel'
mkdir /run/pressurefs
.venv/bin/pressurefs mount --source kernel /run/pressurefs 2>&1
echo "exit code $?"
.venv/bin/pressurefs mount --debug --ready-fd 9 9>/run/ready /run/pressurefs &
until [ -s /run/ready ]; do sleep 0.1; done
head -n 3 /run/pressurefs/vmpressure.debug/source
kill $!
wait $!
"""


def test_locked_down() -> None:
    """doctor and --source kernel say that the kernel is locked down, and so does auto, by vmstat."""
    machine = [str(ROOT / "scripts" / "machine"), "--seconds", "600", "--append", "lockdown=confidentiality"]
    command = [*machine, "--", "bash", "-c", PLAY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == NO_MACHINE:
        leave_out("machine", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    doctor, refusal, code, source, _, limits = done.stdout.splitlines()
    assert doctor == f"source kernel      no: {WHY}"
    assert (refusal, code) == (f"pressurefs: source kernel: {WHY}", "exit code 5")
    assert source == "source vmstat"
    assert limits.endswith(f"; no source kernel: {WHY}")
