"""How the machine and this process are."""

import asyncio
import time
from pathlib import Path

from holdfast.signals import system
from holdfast.signals.system import System, pressures


async def test_a_sample_says_how_machine_process_and_pools_are(pool, tmp_path):
    await System("test", tmp_path / "not" / "there", {"general": pool}).sample()
    for gauge in (system.CPU, system.MEMORY, system.DISK, system.POOL_BUSY):
        assert all(0 <= value <= 1 for value in gauge.values.values())
    assert system.PROCESS_MEMORY.values["test",] > 1_000_000
    assert system.POOL_BUSY.values["test", "general"] == 0
    async with pool.acquire():
        await System("test", tmp_path, {"general": pool}).sample()
        assert system.POOL_BUSY.values["test", "general"] > 0


async def test_a_loop_that_is_held_up_lags(tmp_path):
    watching = asyncio.create_task(System("held", tmp_path, {}).watch_loop(every=0.01))
    await asyncio.sleep(0.03)
    time.sleep(0.2)
    await asyncio.sleep(0.03)
    watching.cancel()
    assert system.LAG_NOW.values["held",] > 0.1
    longest = system.LOOP_LAG.values["held",].quantile(1.0)
    assert longest is not None
    assert longest > 0.1


def test_pressure_is_read_where_the_kernel_tells_it(tmp_path):
    (tmp_path / "io").write_text("some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0 total=0\n")
    (tmp_path / "cpu").write_text("odd")
    assert dict(pressures(tmp_path)) == {"io": 0.125}
    assert dict(pressures(Path("/nowhere"))) == {}
