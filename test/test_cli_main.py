"""The command line as a whole: quick help, quiet ends, signals, the log."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asymformer_ros.cli import doctor
from asymformer_ros.cli.main import SUBCOMMANDS, main
from asymformer_ros.system.signals import handling, stop_event

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def run(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, **options)  # type: ignore[call-overload]


def test_every_module_of_the_command_line_that_is_a_subcommand_is_listed() -> None:
    modules = [path for path in (ROOT / "asymformer_ros/cli").glob("*.py") if "def add_arguments(" in path.read_text()]
    assert sorted(path.stem.replace("_", "-") for path in modules) == sorted(SUBCOMMANDS)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["demo", "--help"], ["train", "--help"], ["weights", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "onnx", "rclpy", "numpy", "cv2")
    code = (
        "import sys, asymformer_ros.cli.main as cli\n"
        "try: cli.main()\n"
        f"except SystemExit: print([name for name in {heavy} if name in sys.modules])"
    )
    assert run(code, *arguments).stdout.splitlines()[-1] == "[]"


def test_one_subcommand_does_not_import_the_others() -> None:
    code = "import sys, asymformer_ros.cli.main as cli; cli.build_parser(['weights']); print('\\n'.join(sys.modules))"
    loaded = run(code).stdout.split()
    assert "asymformer_ros.cli.weights" in loaded
    assert "asymformer_ros.cli.train" not in loaded


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_help_of_a_subcommand_imports_little_of_the_package(subcommand: str) -> None:
    heavy = (
        "numpy",
        "cv2",
        "torch",
        "onnx",
        "rclpy",
        "matplotlib",
        "jinja2",
        "trimesh",
        "asymformer_ros.engine.driver",
        "asymformer_ros.engine.provide",
        "asymformer_ros.findings",
        "tqdm",
    )
    code = (
        "import sys, asymformer_ros.cli.main as cli\n"
        "try: cli.main()\n"
        f"except SystemExit: print([name for name in {heavy} if name in sys.modules])"
    )
    assert run(code, subcommand, "--help").stdout.splitlines()[-1] == "[]"


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The command as a ROS installation has it."""
    program = [sys.executable, str(ROOT / "scripts/asymformer"), *arguments]
    return subprocess.run(program, text=True, timeout=600, **{"env": ENVIRONMENT, **options})  # type: ignore[call-overload]


def test_worker_processes_start_under_the_script_of_a_ros_installation(tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="needs the simulated world")
    done = command("render", str(tmp_path / "world"), "--frames", "1", "--workers", "1", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "world/images").iterdir())) >= 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_line(unbuffered: str) -> None:
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = command("weights", "list", env=environment, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "asymformer: the output cannot be written: No space left on device\n"


def test_errors_that_nobody_can_read_leave_the_exit_code() -> None:
    with Path("/dev/full").open("w") as full:
        assert command("dataset", "check", "/no/such", stdout=subprocess.PIPE, stderr=full).returncode == 1


def test_streams_that_were_closed_by_the_caller_are_no_error() -> None:
    line = f"{sys.executable} {ROOT}/scripts/asymformer weights list >&- 2>&-"
    assert subprocess.run(line, shell=True, env=ENVIRONMENT, timeout=600).returncode == 0


@pytest.mark.parametrize(
    "imported",
    ["asymformer_ros.cli", "asymformer_ros.cli.main", "asymformer_ros.inference.choices", "logging", "argparse"],
)
def test_ctrl_c_is_one_line_also_while_something_is_imported(imported: str, tmp_path: Path) -> None:
    site = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {imported!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    )
    (tmp_path / "program.py").write_text(
        f"{site}import runpy\nsys.argv = ['asymformer', 'evaluate', '-h']\n"
        f"runpy.run_path({str(ROOT / 'scripts/asymformer')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, env=ENVIRONMENT, timeout=600
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "asymformer: interrupted\n")


@pytest.mark.parametrize("arguments", [["--help"], ["weights", "list"]])
def test_a_reader_who_goes_away_is_no_error(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "asymformer_ros.cli.main", *arguments]
    done = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in (0, 128 + signal.SIGPIPE)  # argparse itself passes over what it cannot print


def test_what_the_package_logs_goes_to_stderr_while_a_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(_: argparse.Namespace) -> int:
        logging.getLogger("asymformer_ros.inference.torch").info("the network is %s", "ready")
        logging.getLogger("asymformer_ros.engine.build").debug("not told")
        return 0

    monkeypatch.setattr(doctor, "run", tell)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "asymformer: the network is ready\n"
    logging.getLogger("asymformer_ros").info("no command runs")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_command(number: signal.Signals) -> None:
    code = (
        "import os, sys, time, asymformer_ros.cli.main as cli, asymformer_ros.cli.doctor as doctor\n"
        "def work(args):\n"
        f"    try: os.kill(os.getpid(), {int(number)}); time.sleep(30)\n"
        "    finally: print('cleaned up')\n"
        "doctor.run = work\n"
        "sys.exit(cli.main(['doctor']))"
    )
    done = run(code, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "cleaned up\n", "")


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handling(lambda *_: pytest.fail("it was to be ignored"), signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_set_an_event_and_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_event() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGTERM) == before
