import pytest

from tests.processes import command_here


@pytest.fixture
def run(database_url, pool):
    """Run a command on the module's database: (exit status, stdout, stderr)."""

    async def runner(*arguments: str, **settings: str) -> tuple[int, str, str]:
        return await command_here(*arguments, **{"database_url": database_url, **settings})

    return runner


@pytest.fixture
def done(run):
    """Run a command that must succeed; returns what it printed."""

    async def runner(*arguments: str, **settings: str) -> str:
        status, out, err = await run(*arguments, **settings)
        assert status == 0, out + err
        return str(out)

    return runner
