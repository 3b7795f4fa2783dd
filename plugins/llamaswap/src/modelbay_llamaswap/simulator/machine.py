"""The machine llama-swap pretends to run on: hardware, samples of its load, Prometheus text."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from modelbay_llamaswap.simulator.gojson import rfc3339

EVERY_S = 5.0  # between samples; the first comes after so long
_KEPT = 720  # an hour of them
_GIB = 1024**3
_GPU = {"id": 0, "name": "Pretended GPU 24GB", "uuid": "GPU-00000000-pretended"}

HARDWARE: Mapping[str, object] = {
    "schema_version": 1,
    "captured_at": "2026-08-22T10:00:00Z",
    "capture": None,
    "architecture": {"name": "amd64", "raw_name": "x86_64"},
    "operating_system": {
        "family": "linux",
        "name": "Pretended Linux",
        "version": "1",
        "kernel": "6.0.0",
    },
    "environment": {"kind": "host"},
    "cpu": {
        "vendor": None,
        "model": "Pretended CPU",
        "socket_count": 1,
        "physical_core_count": 2,
        "logical_thread_count": 4,
    },
    "memory": {"capacity_bytes": 32 * _GIB},
    "accelerators": [],
}
_ACCELERATOR = {
    "index": 0,
    "kind": "gpu",
    "vendor": None,
    "model": _GPU["name"],
    "architecture": None,
    "memory": {"kind": "dedicated", "capacity_bytes": 24 * _GIB},
    "driver": {"name": None, "version": None},
    "power_limit_watts": 350,
}


def hardware(*, gpu: bool) -> dict[str, object]:
    """``GET /api/hardware``"""
    return {**HARDWARE, "accelerators": [_ACCELERATOR] if gpu else []}


def performance(
    began: datetime, elapsed_s: float, after: datetime | None, *, gpu: bool
) -> dict[str, object]:
    """``GET /api/performance``; without tools for it `gpu_stats` is null."""
    count = int(elapsed_s // EVERY_S)
    moments = [
        began + timedelta(seconds=EVERY_S * at)
        for at in range(max(0, count - _KEPT) + 1, count + 1)
    ]
    wanted = [moment for moment in moments if after is None or moment > after]
    return {
        "enabled": True,
        "sys_stats": [_system(moment) for moment in wanted],
        "gpu_stats": [_graphics(moment) for moment in wanted] if gpu else None,
    }


def _system(moment: datetime) -> dict[str, object]:
    return {
        "timestamp": rfc3339(moment),
        "cpu_util_per_core": [12.5, 25, 0, 50],
        "mem_total_mb": 32768,
        "mem_used_mb": 8192,
        "mem_free_mb": 24576,
        "swap_total_mb": 0,
        "swap_used_mb": 0,
        "load_avg_1": 0.5,
        "load_avg_5": 0.25,
        "load_avg_15": 0.125,
        "net_io": [{"name": "lo", "bytes_recv": 1000, "bytes_sent": 1000}],
    }


def _graphics(moment: datetime) -> dict[str, object]:
    return {
        "timestamp": rfc3339(moment),
        **_GPU,
        "temp_c": 50,
        "vram_temp_c": 60,
        "gpu_util_pct": 75,
        "mem_util_pct": 50,
        "mem_used_mb": 12288,
        "mem_total_mb": 24576,
        "fan_speed_pct": 30,
        "power_draw_w": 200,
    }


def prometheus(*, gpu: bool) -> str:
    """``GET /metrics``: the machine, nothing about models."""
    series: Sequence[tuple[str, str, float]] = [
        *(("cpu_util_percent", f'core="{core}"', value) for core, value in enumerate((12.5, 25))),
        ("memory_total_bytes", "", 32 * _GIB),
        ("memory_used_bytes", "", 8 * _GIB),
        ("memory_free_bytes", "", 24 * _GIB),
        ("swap_total_bytes", "", 0),
        ("swap_used_bytes", "", 0),
        *(("load_average", f'interval="{name}"', 0.5) for name in ("1m", "5m", "15m")),
        ("network_bytes_total", 'interface="lo",direction="recv"', 1000),
        ("network_bytes_total", 'interface="lo",direction="sent"', 1000),
    ]
    if gpu:
        labels = ",".join(f'{name}="{value}"' for name, value in _GPU.items())
        series = [
            *series,
            ("gpu_temperature_celsius", labels, 50),
            ("gpu_vram_temperature_celsius", labels, 60),
            ("gpu_util_percent", labels, 75),
            ("gpu_memory_util_percent", labels, 50),
            ("gpu_memory_used_bytes", labels, 12 * _GIB),
            ("gpu_memory_total_bytes", labels, 24 * _GIB),
            ("gpu_fan_speed_percent", labels, 30),
            ("gpu_power_draw_watts", labels, 200),
        ]
    lines: list[str] = []
    seen: set[str] = set()
    for name, labels, value in series:
        if name not in seen:
            seen.add(name)
            kind = "counter" if name.endswith("_total") else "gauge"
            lines.append(f"# TYPE llamaswap_{name} {kind}")
        lines.append(f"llamaswap_{name}{'{' + labels + '}' if labels else ''} {value:g}")
    return "\n".join([*lines, ""])
