"""How emulators serve."""

from contextlib import AsyncExitStack

from aiohttp import web


async def serve(stack: AsyncExitStack, application: web.Application, host: str, port: int) -> str:
    """Serve until the stack is left; returns the base address, without a path. Port 0: any that is free."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()
    address, number = runner.addresses[0][:2]
    return f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"
