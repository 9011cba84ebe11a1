"""A chat in the terminal: python3 terminal.py URL [TOKEN]. Each line is the request `say`."""
import asyncio, logging, sys
from koaws_client import Client, RequestError

async def main(url, token=None):
    logging.basicConfig(level=logging.INFO)
    client = Client(url, token and (lambda: token))
    client.on("said", print)
    running = asyncio.create_task(client.run())
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        try:
            print(await client.request("say", data={"text": line.strip()}))
        except (RequestError, OSError, asyncio.TimeoutError) as error:
            print(repr(error))
    client.close()
    await asyncio.wait([running])

asyncio.run(main(*sys.argv[1:]))
