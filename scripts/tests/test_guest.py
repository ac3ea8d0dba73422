# SPDX-License-Identifier: GPL-2.0
"""Tests of the steps before and after a boot: the initramfs, the command line, the parsing of a verdict."""

import io
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

from harness import guest, initramfs, machine, tsc
from harness.arch import ARCHITECTURES
from harness.hostlib import Failure


class Directory(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.root = Path(place.name)
        self.addCleanup(place.cleanup)


class Initramfs(Directory):
    @unittest.skipUnless(shutil.which("cpio"), "cpio is needed")
    def test_cpio_reads_it(self):
        program = self.root / "program"
        program.write_bytes(b"\x7fELF odd")
        program.chmod(0o755)
        archive = self.root / "initramfs"
        initramfs.write(archive, {"/init": b"#!/bin/sh\n", "/deep/er/data": b"12345", "/bin/program": program})
        with open(archive, "rb") as stream:
            listing = subprocess.check_output(["cpio", "-itv", "--quiet"], stdin=stream).decode()
        rows = {line.split()[-1]: line.split()[0] for line in listing.splitlines()}
        self.assertEqual(rows["init"], "-rwxr-xr-x")
        self.assertEqual(rows["bin/program"], "-rwxr-xr-x")
        self.assertEqual(rows["deep/er/data"], "-rw-r--r--")
        self.assertEqual(rows["deep/er"], "drwxr-xr-x")
        self.assertTrue(rows["dev/console"].startswith("crw"))
        with open(archive, "rb") as stream:
            subprocess.run(["cpio", "-id", "--quiet", "deep/er/data"], stdin=stream, cwd=self.root, check=True)
        self.assertEqual((self.root / "deep/er/data").read_bytes(), b"12345")


class CommandLine(Directory):
    def guest(self, arch="x86_64", **more):
        image = self.root / ARCHITECTURES[arch].image
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
        return guest.Guest(obj=self.root, name="unit", arch=arch, **more)

    def test_results_do_not_travel_over_the_console(self):
        command = machine.command_line(self.guest(), self.root / "initrd")
        self.assertIn("chardev:console", command)
        for port in machine.PORTS:
            self.assertIn(f"virtserialport,chardev={port},name={port}", command)

    def test_parameters(self):
        boot = self.guest(kernel_args=("nokaslr",), qemu_args=("-icount", "shift=0"), smp=1, memory="3G")
        command = machine.command_line(boot, self.root / "initrd")
        self.assertIn("nokaslr", command[command.index("-append") + 1].split())
        self.assertEqual(command[-2:], ["-icount", "shift=0"])
        self.assertEqual(command[command.index("-smp") + 1], "1")
        self.assertEqual(command[command.index("-m") + 1], "3G")
        self.assertEqual(command[command.index("-accel") + 1], machine.emulation("qemu-system-x86_64"))
        single = machine.command_line(replace(boot, emulation="tcg,thread=single"), self.root / "initrd")
        self.assertEqual(single[single.index("-accel") + 1], "tcg,thread=single")
        self.assertIn("kvm", machine.command_line(replace(boot, kvm=True), self.root / "initrd"))

    def qemu(self, version):
        """Mocks guests of a QEMU with this version, or None for a QEMU that prints no version."""
        said = version and f"QEMU emulator version {version} (Debian)"
        machine.locks_code.cache_clear()
        self.addCleanup(machine.locks_code.cache_clear)
        return mock.patch.object(machine, "command_output", return_value=said)

    def test_threads_only_where_code_is_locked(self):
        versions = (("7.2.22", "single"), ("8.0.5", "single"), ("8.1.0", "multi"), ("10.0.2", "multi"), (None, "single"))
        for version, threads in versions:
            with self.qemu(version):
                self.assertEqual(machine.emulation("qemu"), f"tcg,thread={threads}")

    def test_hooks_are_switched_where_that_is_safe(self):
        (self.root / ".config").write_text("CONFIG_KCOV_RUST=y\n")
        switched = ["kcov_hooks=switched"]
        threads = {"smp": 2, "emulation": "tcg,thread=multi"}
        with self.qemu("7.2.22"):
            self.assertEqual(machine.hooks_args(self.guest()), switched)
            self.assertEqual(machine.hooks_args(self.guest(**threads)), [])
            self.assertEqual(machine.hooks_args(self.guest(**{**threads, "smp": 1})), switched)
            self.assertEqual(machine.hooks_args(self.guest(**threads, kvm=True)), switched)
            self.assertEqual(machine.hooks_args(self.guest("um")), switched)
            command = machine.command_line(self.guest(), self.root / "initrd")
            self.assertIn("kcov_hooks=switched", command[command.index("-append") + 1].split())
        with self.qemu("8.1.0"):
            self.assertEqual(machine.hooks_args(self.guest(**threads)), switched)
        (self.root / ".config").write_text("CONFIG_KCOV_RUST=y\nCONFIG_KCOV_SITES=y\n")
        with self.qemu("7.2.22"):
            self.assertEqual(machine.hooks_args(self.guest()), ["kcov_hooks=sites"])
            self.assertEqual(machine.hooks_args(self.guest(**threads)), [])
        (self.root / ".config").write_text("CONFIG_KCOV_C=y\n")
        self.assertEqual(machine.hooks_args(self.guest()), [])

    def test_clock(self):
        with mock.patch.object(tsc, "kilohertz", return_value=2596142):
            self.assertIn("tsc_early_khz=2596142", machine.clock_args(self.guest()))
            # The counter follows the instructions here, or KVM tells its frequency.
            self.assertEqual(machine.clock_args(self.guest(qemu_args=("-icount", "shift=0"))), [])
            self.assertEqual(machine.clock_args(self.guest(kvm=True)), [])
            self.assertEqual(machine.clock_args(self.guest("arm64")), [])
        with mock.patch.object(tsc, "kilohertz", return_value=None):
            self.assertEqual(machine.clock_args(self.guest()), [])

    def test_machine_without_pci(self):
        (self.root / ".config").write_text("CONFIG_PCI=y\n")
        command = machine.command_line(self.guest(), self.root / "initrd")
        self.assertIn("pc", command)
        self.assertIn("virtio-serial-pci", command)
        (self.root / ".config").write_text("# CONFIG_PCI is not set\n")
        command = machine.command_line(self.guest(), self.root / "initrd")
        self.assertTrue(command[command.index("-machine") + 1].startswith("microvm,"))
        self.assertIn("virtio-serial-device", command)
        self.assertIn("reboot=triple", command[command.index("-append") + 1].split())

    def test_kvm_is_tried_once(self):
        boots = []

        def boot(trial, _on_output):
            boots.append(trial)
            return mock.Mock(status=0 if works else None)

        def kvm(asked="", **more):
            guest._tried.clear()
            with mock.patch.dict(guest.os.environ, {"KVM": asked}):
                return bool(guest.with_accelerator(self.guest(**more)).kvm)

        patches = (
            mock.patch.object(guest, "_boot", boot),
            mock.patch.object(guest, "TRIALS", self.root / "kvm.json"),
            mock.patch.object(guest, "warn"),
            mock.patch.object(guest.os, "access", return_value=True),
            mock.patch.object(guest.platform, "machine", return_value="x86_64"),
        )
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        works = False
        self.assertFalse(kvm())
        self.assertEqual([(trial.kvm, trial.timeout, trial.files) for trial in boots], [(True, 5, {})])
        works = True
        self.assertFalse(kvm())
        self.assertEqual(len(boots), 1)
        self.assertTrue(kvm(asked="1"))
        self.assertTrue(kvm())
        self.assertEqual(len(boots), 2)
        self.assertFalse(kvm(asked="0"))
        others = ({"kvm": False}, {"emulation": "tcg"}, {"qemu_args": ("-icount", "0")}, {"arch": "arm64"}, {"arch": "um"})
        for emulated in others:
            self.assertFalse(kvm(**emulated))
        with mock.patch.object(guest.platform, "release", return_value="another"):
            self.assertTrue(kvm())
        self.assertEqual(len(boots), 3)

    def test_page_tables(self):
        self.assertEqual(machine.option_args(self.guest()), [])
        (self.root / ".config").write_text("# CONFIG_KASAN is not set\nCONFIG_KASAN_VMALLOC=y\n")
        self.assertEqual(machine.option_args(self.guest()), [])
        (self.root / ".config").write_text("CONFIG_KASAN=y\n")
        self.assertEqual(machine.option_args(self.guest()), ["no5lvl"])
        self.assertEqual(machine.option_args(self.guest("arm64")), [])
        command = machine.command_line(self.guest(), self.root / "initrd")
        self.assertIn("no5lvl", command[command.index("-append") + 1].split())

    def test_large_kernels(self):
        self.assertEqual(machine.large_options(self.guest()), ())
        (self.root / ".config").write_text("CONFIG_DEBUG_KMEMLEAK=y\n")
        self.assertEqual(machine.large_options(self.guest("arm64")), ())
        self.assertEqual(machine.command_line(self.guest(), self.root / "initrd")[-2:], ["-machine", "q35"])

    def test_watchdogs(self):
        self.assertEqual(machine.watchdog_args(self.guest()), [])
        (self.root / ".config").write_text("CONFIG_RCU_STALL_COMMON=y\n# CONFIG_SOFTLOCKUP_DETECTOR is not set\n")
        for seconds, limit in ((300, 100), (180, 60), (30, 21), (3600, 100)):
            boot = self.guest(timeout=seconds)
            self.assertEqual(machine.watchdog_args(boot), [f"rcupdate.rcu_cpu_stall_timeout={limit}"])
        (self.root / ".config").write_text("CONFIG_SOFTLOCKUP_DETECTOR=y\nCONFIG_WQ_WATCHDOG=y\n")
        self.assertEqual(machine.watchdog_args(self.guest()), ["watchdog_thresh=50", "workqueue.watchdog_thresh=100"])
        command = machine.command_line(self.guest(), self.root / "initrd")
        self.assertIn("watchdog_thresh=50", command[command.index("-append") + 1].split())

    def test_every_machine(self):
        for name, architecture in ARCHITECTURES.items():
            command = machine.command_line(self.guest(name), self.root / "initrd")
            self.assertEqual(command[0], architecture.qemu or str(self.root / architecture.image))
            self.assertIn(f"console={architecture.console}", " ".join(command))

    def test_missing_kernel(self):
        with self.assertRaisesRegex(Failure, "no kernel"):
            machine.command_line(guest.Guest(obj=self.root, name="unit"), self.root / "initrd")


class Verdict(Directory):
    """A run's directory as a boot leaves it, and the evaluation of its content."""

    def outcome(self, verdict="status 0 archived 0 started 1.50 ended 2.00\n", log="", status=0, timed_out=False, files=True):
        run = self.root / "run"
        (run / "ports").mkdir(parents=True)
        (run / "console.log").write_text(log)
        (run / "emulator.log").write_text("")
        (run / "ports/verdict").write_text(verdict)
        (run / "ports/output").write_text("hello\n")
        if files:
            with tarfile.open(run / "ports/files", "w") as tar:
                for name, data in (("./a/b", b"x"), ("/etc/evil", b"y"), ("../evil", b"z")):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        else:
            (run / "ports/files").write_bytes(b"\0" * 100 + b"no archive")
        with mock.patch.object(machine, "RUNS", self.root):
            boot = guest.Guest(obj=self.root, name="run")
            return guest._outcome(boot, status, timed_out, 3.0)

    def test_success(self):
        outcome = self.outcome()
        self.assertEqual((outcome.status, outcome.death, outcome.output), (0, None, "hello\n"))
        self.assertEqual(outcome.boot_time, 1.5)
        self.assertEqual(outcome.problems(), [])

    def test_files_stay_below_the_results(self):
        outcome = self.outcome()
        names = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.name in ("b", "evil"))
        self.assertEqual(names, ["run/results/a/b"])
        self.assertEqual((outcome.results / "a/b").read_bytes(), b"x")

    def test_status_of_the_command(self):
        outcome = self.outcome("status 3 archived 0 started 1.50 ended 2.00\n")
        self.assertEqual(outcome.status, 3)
        self.assertEqual(outcome.problems(), [])
        self.assertEqual(outcome.failures("it"), ["it failed with status 3: hello"])

    def test_panic(self):
        outcome = self.outcome("", log="Kernel panic - not syncing: Fatal exception\n")
        self.assertIsNone(outcome.status)
        self.assertEqual(outcome.death, "panicked")
        self.assertEqual(len(outcome.problems()), 2)
        self.assertEqual(outcome.failures(), outcome.problems())

    def test_console_cannot_forge_a_verdict(self):
        outcome = self.outcome("", log="status 0 archived 0 started 1.50 ended 2.00\nreboot: machine restart\n")
        self.assertIsNone(outcome.status)
        self.assertEqual(outcome.death, "restarted before it gave a verdict")

    def test_half_a_verdict_is_none(self):
        self.assertIsNone(self.outcome("status 0 archived 0 started").status)

    def test_timeout(self):
        self.assertIn("no verdict within", self.outcome("", timed_out=True).death)

    def test_reset(self):
        self.assertIn("was reset", self.outcome("", log="Run /init as init process\n").death)

    def test_emulator_failure(self):
        self.assertIn("status 1", self.outcome("", status=1).death)

    def test_damaged_archive(self):
        self.assertIn("damaged archive", self.outcome(files=False).death)

    def test_warning_in_spite_of_success(self):
        outcome = self.outcome(log="WARNING: kernel/fork.c:1 at copy_process\n")
        self.assertEqual(outcome.status, 0)
        self.assertIn("kernel/fork.c:1", outcome.problems()[0])


if __name__ == "__main__":
    unittest.main()
