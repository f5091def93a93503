"""Fifty people with a page open, as their browsers talk to the server: Streamlit's messages over web sockets.

``BENCH_EVENTS`` is the number of events: 10000000 for the full size; ``BENCH_SECONDS`` how long they click.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from bench import generator
from bench.measure import table
from bench.pages import EVENTS, PAGES, served

PEOPLE, SECONDS_BETWEEN, SECONDS = 50, 5.0, float(os.environ.get("BENCH_SECONDS", "60"))
_P95_MS, _CORES = 1_000, 1
"""Aims: of the time that 95 of 100 clicks take, and of what the server uses meanwhile."""
_PERIODS = ("7d", "30d", "90d", "month")
_PATIENCE = 60


@dataclass
class Told:
    """How long reruns took, seconds, and what share of a core the server used."""

    seconds: list[float]
    cpu: float

    @property
    def answered(self) -> int:
        return len(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.seconds, n=20)[-1]


def main() -> None:
    """Print the table."""
    rows: list[Sequence[str]] = []
    database = generator.sqlite_file(EVENTS)
    for name, defaults in (("Streamlit's settings", True), ("ours", False)):
        with served(database, defaults=defaults) as address:
            for page in ("Overview", "Usage"):
                told = crowd(address + PAGES[page], PEOPLE, SECONDS_BETWEEN, SECONDS)
                rows.append((name, page, *_cells(told, aims=not defaults)))
    header = (
        "settings",
        "page",
        "reruns",
        "median, ms",
        "p95, ms",
        "server's CPU, of one core",
        "CPU a rerun, ms",
    )
    table(f"{PEOPLE} people, another period every {SECONDS_BETWEEN:.0f} s, {EVENTS:,} events", header, rows)


def _cells(told: Told, *, aims: bool) -> list[str]:
    p95, used = told.p95 * 1e3, 100 * told.cpu
    each = told.cpu * SECONDS * 1e3 / told.answered
    said = [f"{p95:.0f}", f"{used:.0f} %"]
    if aims:
        limits = (p95 <= _P95_MS, f"{_P95_MS}"), (told.cpu <= _CORES, f"{_CORES * 100} %")
        said = [
            f"{cell} (target ≤ {limit}{'' if met else ', MISSED'})"
            for cell, (met, limit) in zip(said, limits, strict=True)
        ]
    return [str(told.answered), f"{told.median * 1e3:.0f}", *said, f"{each:.0f}"]


def crowd(url: str, people: int, between: float, seconds: float) -> Told:
    """Let so many open the page, and each choose another period every so often."""
    return asyncio.run(_crowd(url, people, between, seconds))


async def _crowd(url: str, people: int, between: float, seconds: float) -> Told:
    parts = urlsplit(url)
    process = server_process(parts.port or 0)
    everybody = asyncio.Barrier(people + 1)
    found: list[float] = []
    gate = asyncio.Semaphore(4)  # they do not all arrive in one moment
    tasks = [
        asyncio.create_task(_person(url, number, between, seconds, gate, everybody, found))
        for number in range(people)
    ]
    waiting = asyncio.create_task(everybody.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    started, used = time.perf_counter(), _cpu(process)
    await asyncio.gather(waiting, *tasks)
    return Told(found, (_cpu(process) - used) / (time.perf_counter() - started))


async def _person(
    url: str,
    number: int,
    between: float,
    seconds: float,
    gate: asyncio.Semaphore,
    everybody: asyncio.Barrier,
    found: list[float],
) -> None:
    parts, rng = urlsplit(url), random.Random(number)
    origin = f"{parts.scheme}://{parts.netloc}"
    async with connect(
        f"ws://{parts.netloc}/_stcore/stream",
        subprotocols=["streamlit"],  # type: ignore[list-item]
        origin=origin,  # type: ignore[arg-type]
        max_size=None,
        proxy=None,
        ping_interval=None,  # a server that is slow to answer is what is measured, not an error
    ) as socket:
        async with gate:
            await _rerun(socket, url, "")
        await everybody.wait()
        end = time.perf_counter() + seconds
        await asyncio.sleep(rng.random() * between)
        while time.perf_counter() < end:
            begun = time.perf_counter()
            await _rerun(socket, url, f"period={rng.choice(_PERIODS)}")
            took = time.perf_counter() - begun
            found.append(took)
            await asyncio.sleep(max(0, between - took))


async def _rerun(socket: ClientConnection, url: str, query: str) -> None:
    """Ask for the page with this query, and wait until the script has finished."""
    asked = BackMsg()
    state = asked.rerun_script
    state.query_string = query
    state.page_name = urlsplit(url).path.strip("/")
    state.context_info.url = url
    state.context_info.timezone = "UTC"
    await socket.send(asked.SerializeToString())
    begun = False
    async with asyncio.timeout(_PATIENCE):
        while True:
            told = ForwardMsg()
            told.ParseFromString(await socket.recv(decode=False))
            begun = begun or told.WhichOneof("type") == "new_session"
            if begun and told.WhichOneof("type") == "script_finished":
                return


def server_process(port: int) -> int:
    """The process that listens on the port, by way of /proc."""
    wanted = f":{port:04X}"
    inodes = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[1].endswith(wanted) and columns[3] == "0A":
                inodes.add(f"socket:[{columns[9]}]")
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and any(link in inodes for link in _links(folder / "fd")):
            return int(folder.name)
    raise RuntimeError("the server is not found")


def _links(folder: Path) -> list[str]:
    try:
        return [str(link.readlink()) for link in folder.iterdir()]
    except OSError:
        return []


def _cpu(process: int) -> float:
    """Seconds of processor time that it has used."""
    columns = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
