"""Plays the application of examples/clients/koaws_client.py: orders come as lines of JSON on stdin,
what has happened goes out as lines of JSON on stdout."""
import asyncio
import json
import logging
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "examples" / "clients"))
from koaws_client import Client, RequestError  # noqa: E402


def tell(**event):
    print(json.dumps(event), flush=True)


class WatchedClient(Client):
    """Knows how it is."""

    retry_at = None
    running = None

    def delay(self, code, reason):
        delay = super().delay(code, reason)
        self.retry_at = None if delay is None else (time.time() + delay) * 1000
        return delay

    @property
    def state(self):
        if self.running is None or self.running.done():
            return {"status": "stopped", "retryAt": None}
        if self.retry_at is not None and self.retry_at > time.time() * 1000:
            return {"status": "waiting", "retryAt": self.retry_at}
        return {"status": "connected", "retryAt": None}


class Application:
    """One client at a time."""

    def __init__(self):
        self.client = None
        self.tasks = set()
        self.streams = {}

    async def obey(self, order):
        if "make" in order:
            self.make(order["make"], order.get("app"))
        elif "open" in order:
            self.client.running = self.start(self.client.run())
        elif "status" in order:
            tell(status=self.client.state)
        elif "end" in order:
            await self.end()
        else:
            self.do(order["do"])
            await asyncio.sleep(0)  # what was started has begun
            tell(begun=True)

    def make(self, url, app):
        app = app or {}
        tokens = iter(app.get("token", ()))
        self.client = WatchedClient(
            url,
            (lambda: next(tokens)) if "token" in app else None,
            app.get("tokenIn", "handshake"),
            report,
            app.get("positions", {}),
            self.reload if "reload" in app else None,
        )

    def reload(self, room):
        self.reloading = asyncio.get_running_loop().create_future()
        return self.reloading

    def do(self, action):
        if "on" in action:
            self.client.on(action["on"], self.listener(action))
        elif "push" in action:
            self.start(self.client.push(action["push"][0], **data_of(action["push"])))
        elif "request" in action:
            name, data = action["as"], data_of(action["request"])
            retry = {"retry": True} if "retry" in action else {}
            timeout = {"timeout": action["timeout"] / 1000} if "timeout" in action else {}
            self.start(self.finish(name, self.client.request(action["request"][0], **timeout, **retry, **data)))
        elif "stream" in action:
            self.stream(action)
        elif "take" in action:
            stream, name = self.streams[action["take"]]
            self.start(self.finish(action["as"], anext(stream), name))
        elif "leave" in action:
            self.start(self.streams[action["leave"]][0].aclose())
        elif "upload" in action:
            data = data_of(action["upload"])
            self.start(self.finish(action["as"], self.client.upload(action["upload"][0], each(action["items"]), **data)))
        elif "reloaded" in action:
            self.reloading.set_result(action["reloaded"])
        else:
            self.client.close()

    def listener(self, action):
        def heard(data):
            tell(received=[action["on"], data])
            if "fail" in action:
                raise RuntimeError(action["fail"])
            return action.get("answer")

        return heard

    def stream(self, action):
        name, options = action["as"], data_of(action["stream"])
        if "credit" in action:
            options["credit"] = action["credit"]
        if "resume" in action:
            options["resume"] = action["resume"]

        def done(reply):
            tell(result=name, outcome={"value": reply})

        self.streams[name] = (self.client.stream(action["stream"][0], done, **options), name)

    async def finish(self, name, coroutine, stream=None):
        """Tells the outcome; an error of a stream also under its name."""
        try:
            outcome = {"value": await coroutine}
        except StopAsyncIteration:
            outcome = {"ended": True}
        except RequestError as error:
            outcome = {"error": error.args[0]}
        except Exception as error:
            outcome = {"lost": repr(error)}
        tell(result=name, outcome=outcome)
        if stream and ("error" in outcome or "lost" in outcome):
            tell(result=stream, outcome=outcome)

    async def end(self):
        if self.client.running:
            self.client.close()
        for task in self.tasks - {self.client.running}:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        tell(ended=True)

    def start(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


def report(message):
    tell(reported=message["error"]["code"])


async def each(items):
    for item in items:
        yield item


def data_of(message):
    return {"data": message[1]} if len(message) > 1 else {}


async def main():
    orders = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    application = Application()
    while line := await orders.readline():
        await application.obey(json.loads(line))


logging.disable(logging.CRITICAL)  # the listeners of the vectors fail on purpose
asyncio.run(main())
