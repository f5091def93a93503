"""A worker to start from: takes runs up again that waited for room, and works on them until it is told to stop."""

from __future__ import annotations

import logging
import time

from lib import Platform
from lib.platform import Run

log = logging.getLogger("worker")


def work(run: Run) -> None:
    """What a run is for. ``run.openai`` is a genuine client on the key that pays."""
    answer = run.openai.responses.create(model="gpt-5-mini", input="Say hello in five words.")
    log.info("%s: %s", run.id, answer.output_text)


def main() -> None:
    """Until SIGTERM, which ends the call under way as unknown and gives its reservation back."""
    logging.basicConfig(level=logging.INFO)
    platform = Platform.from_env()
    while True:
        for waiting in platform.due_runs():
            with platform.run(resume=waiting) as run:
                work(run)
        time.sleep(10)


if __name__ == "__main__":
    main()
