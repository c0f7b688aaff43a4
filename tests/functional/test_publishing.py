# SPDX-License-Identifier: Apache-2.0
"""Publishing while both ends are killed at random, over a service that misbehaves at random."""

from __future__ import annotations

import json
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

from tests.servers.ledger import Ledger, problems

ROUNDS = 15
CONFIG = """
[publisher]
enabled = true
backoff_max = 1
timeout = 5
[disk_audit]
auth_type = none
endpoint = {url}
"""


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *(str(word) for word in words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> list[str]:
    """What it had said."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None and process.stdin is not None
    said = process.stdout.read().splitlines()
    process.stdin.close()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return said


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as some:
        return int(some.getsockname()[1])


def service(database: pathlib.Path, port: int, chaos: float, seed: int) -> subprocess.Popen[str]:
    words = ("--database", database, "--port", port, "--chaos", chaos, "--seed", seed)
    process = start("tests.servers.recording", *words)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["url"].endswith(str(port))
    return process


def test_nothing_is_lost_whoever_is_killed(tmp_path: pathlib.Path) -> None:
    rng = random.Random(11)
    port = free_port()
    database, config, state_path = (tmp_path / name for name in ("chain", "conf", "state"))
    config.write_text(CONFIG.format(url=f"http://127.0.0.1:{port}"))
    state_path.mkdir()
    appended: list[str] = []
    server = service(database, port, 0.2, 0)
    agent = start("tests.functional.publisher_process", config, state_path, 0)
    for number in range(1, ROUNDS + 1):
        time.sleep(0.5 + rng.random())
        if rng.random() < 0.5:
            kill(server)
            if rng.random() < 0.5:
                time.sleep(rng.random())
            server = service(database, port, 0.2, number)
        else:
            appended += [line.split()[1] for line in kill(agent)]
            agent = start("tests.functional.publisher_process", config, state_path, number)
    kill(server)
    server = service(database, port, 0.0, 0)
    assert agent.stdin is not None and agent.stdout is not None
    agent.stdin.write("\n")
    agent.stdin.flush()
    while (line := agent.stdout.readline().split())[0] != "empty":
        appended.append(line[1])
    assert line == ["empty", "0"]
    kill(agent)
    kill(server)
    ledger = Ledger(database)
    links = ledger.links()
    assert problems(links) == []
    accepted = [link.id for link in links]
    assert set(appended) <= set(accepted) and accepted[-1] == appended[-1]
    positions = [accepted.index(id) for id in appended]
    assert positions == sorted(positions)
    assert len({link.agent for link in links}) == 1
    assert {link.kind for link in links} == {"full", "delta"}
    assert len(appended) > ROUNDS
    ledger.close()
