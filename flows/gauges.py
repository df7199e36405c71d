"""What a stage takes of the machine, as lines beside its entry in the ledger: processors, memory, disk, GPUs."""

import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

FILE = "system.jsonl"
EVERY_SECONDS = 10.0
MEGA = 1e6
GPU_SECONDS = 5.0  # what one look at the GPUs may take
GPU_ASKED = ("utilization.gpu", "memory.used", "power.draw")
GPU_NAMES = ("utilization_percentage", "memory_usage_megabytes", "power_usage_watts")


class Gauge:
    """Samples the processes of one group."""

    def __init__(self, group: int, place: Path, started: float):
        """
        group    the process group of the stage
        place    the folder of the entry
        started  when the stage did; a sample's step is the seconds since
        """
        self.group, self.place, self.started = group, place, started
        self.before: dict[int, float] = {}  # processor seconds of each process
        self.at = started

    def sample(self) -> None:
        """Append one line, unless the stage has no process any more."""
        now = time.time()
        found = processes(self.group)
        if not found:
            return
        spent = {pid: seconds for pid, seconds, _, _, _ in found}
        gained = sum(max(0.0, seconds - self.before.get(pid, 0.0)) for pid, seconds in spent.items())
        line = {
            "step": int(now - self.started),
            "at": int(now * 1000),
            "system/cpu_percent": 100 * gained / max(now - self.at, 0.001),  # 100 is one core
            "system/memory_megabytes": sum(row[2] for row in found) / MEGA,
            "system/processes": len(found),
            "system/disk_read_megabytes": sum(row[3] for row in found) / MEGA,
            "system/disk_written_megabytes": sum(row[4] for row in found) / MEGA,
            "system/disk_available_megabytes": shutil.disk_usage(self.place).free / MEGA,
            **gpus(),
        }
        self.before, self.at = spent, now
        with (self.place / FILE).open("a", encoding="utf-8") as file:
            print(json.dumps({name: round(value, 3) for name, value in line.items()}), file=file)


def processes(group: int) -> list[tuple[int, float, int, int, int]]:
    """The processes of a group -> (id, seconds of processor, bytes of memory, bytes read, bytes written) of each."""
    found = []
    for pid in psutil.pids():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
            if os.getpgid(pid) == group:
                process = psutil.Process(pid)
                times, disk = process.cpu_times(), process.io_counters()
                memory = process.memory_info().rss
                found.append((pid, times.user + times.system, memory, disk.read_bytes, disk.write_bytes))
    return found


def gpus() -> dict[str, float]:
    """Use, memory and power of every NVIDIA GPU, as its own tool says; nothing where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    try:
        command = [tool, f"--query-gpu=index,{','.join(GPU_ASKED)}", "--format=csv,noheader,nounits"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=GPU_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {}
    return parse_gpus(said.stdout) if said.returncode == 0 else {}


def parse_gpus(said: str) -> dict[str, float]:
    """ "0, 93, 40120, 310.5" -> {"system/gpu_0_utilization_percentage": 93.0, ...}; what is no number is left out."""
    found: dict[str, Any] = {}
    for line in said.splitlines():
        index, *values = (word.strip() for word in line.split(","))
        for name, value in zip(GPU_NAMES, values, strict=False):
            with suppress(ValueError):
                found[f"system/gpu_{index}_{name}"] = float(value)
    return found
