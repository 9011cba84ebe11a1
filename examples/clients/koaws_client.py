"""A client of the subprotocol koaws.v1 (docs/protocol.md). Python 3.10, websockets 10."""
import asyncio, base64, inspect, json, logging, math, random, re, time
import websockets

STOP = {1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 4612, 4613}  # and 4400 to 4499, except:
BACK_OFF = {4408, 4425, 4429}
UNKNOWN = {"code": "ERR_KOAWS_UNKNOWN_TYPE", "message": "No listener", "status": 404, "retryable": False}
INTERNAL = {"code": "internal", "message": "The client failed", "status": 500, "retryable": False}

class RequestError(Exception):
    """Its argument is the error object of an answer. A listener may raise one: the server gets it."""

class Client:
    def __init__(self, url, token=None, token_in="handshake", on_error=logging.warning):
        """`token()`, which may be async, is asked whenever a token is needed."""
        self.url, self.token, self.token_in, self.on_error = url, token, token_in, on_error
        self._listeners, self._answers, self._tasks, self._last_id = {}, {}, set(), 0
        self._open, self._attempt, self._denied = asyncio.Event(), 0, False

    def on(self, type, listener):
        """`listener(data)`, which may be async, hears a type. What it returns answers a request."""
        self._listeners[type] = listener

    async def push(self, type, timeout=10, **data):
        """`push("typing")`, or `push("say", data={"text": "hi"})`. Waits for a connection."""
        await asyncio.wait_for(self._open.wait(), timeout)
        await send(self._ws, type, **data)

    async def request(self, type, timeout=10, **data):
        """The data of the reply. What fails without a RequestError may have been carried out."""
        await asyncio.wait_for(self._open.wait(), timeout)
        self._last_id = id = self._last_id + 1
        self._answers[id] = answer = asyncio.get_running_loop().create_future()
        try:
            await send(self._ws, type, id=id, **data)
            message = await asyncio.wait_for(answer, timeout)
        finally:
            del self._answers[id]
        if "error" in message:
            raise RequestError(message["error"])
        return message.get("data")

    async def run(self):
        """Connect, and come back, until a close code or `close()` says stop. Runs in a task."""
        self._task, self._closed, delay = asyncio.current_task(), False, 0
        while delay is not None and not self._closed:
            await asyncio.sleep(delay)
            code, reason = await self._connect()
            delay = self.delay(code, reason)
            logging.info("%s closed with %s %s; back in (s): %s", self.url, code, reason, delay)

    def close(self):
        """Close with 1000, and stay away: cancels the task of `run()`."""
        self._closed = True  # websockets 10 may swallow the cancellation while it closes itself
        self._task.cancel()

    async def _connect(self):
        """One connection, from the handshake to the close: its code and reason."""
        self._opened_at, self._return_at, offers = math.inf, None, ["koaws.v1"]
        try:
            if self.token and self.token_in == "handshake":
                offers.append(bearer(await result_of(self.token())))
            async with websockets.connect(self.url, subprotocols=offers) as self._ws:
                if self._ws.subprotocol != "koaws.v1":
                    return 4613, "the server does not speak koaws.v1"
                async for text in self._ws:
                    await self._receive(self._ws, text)
        except websockets.ConnectionClosed:
            pass
        except Exception as error:  # of token() or the handshake
            logging.info("%s: %r", self.url, error)
            return 1006, ""
        finally:
            self._open.clear()
            for answer in self._answers.values():
                answer.done() or answer.set_exception(ConnectionError("the connection has ended"))
        return self._ws.close_code, self._ws.close_reason

    def delay(self, code, reason):
        """How many seconds to wait before coming back, or None to stop: section 7."""
        renew = code == 4401 and self.token and not self._denied
        self._denied = code == 4401
        if code in STOP or 4400 <= code <= 4499 and code not in BACK_OFF and not renew:
            return None
        if code == 4611:
            return 0
        if code == 1012 and not self._return_at and (told := re.search(r"retry in (\d+) ms", reason)):
            return int(told[1]) / 1000
        if self._return_at:
            return max(0, self._return_at - time.time())
        self._attempt = min(9, self._attempt + 1 if time.time() - self._opened_at < 5 else 1)
        return 0.5 + random.random() * (min(20, 0.5 * 2 ** self._attempt) - 0.5)

    async def _receive(self, ws, text):
        try:
            message = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            return
        match message:
            case {"type": "koaws:welcome"}:
                self._opened_at, self._denied = time.time(), False
                self._open.set()
            case {"type": "koaws:authenticate"} if self.token:
                self._last_id += 1  # the welcome follows, or the close: nobody waits for the answer
                token = await result_of(self.token())
                await send(ws, "koaws:auth", id=self._last_id, data={"token": token})
            case {"type": "koaws:bye", "data": {"after": int() | float() as after}}:
                self._return_at = time.time() + after / 1000
            case {"type": "koaws:reply" | "koaws:error", "id": int() as id}:
                if (answer := self._answers.get(id)) and not answer.done():
                    answer.set_result(message)
            case {"type": "koaws:error"}:
                self.on_error(message)
            case {"type": str()}:  # not awaited: it may itself request something
                task = asyncio.create_task(self._hear(ws, message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _hear(self, ws, message):
        try:
            if message["type"] not in self._listeners:
                raise RequestError(UNKNOWN)
            data = await result_of(self._listeners[message["type"]](message.get("data")))
            answer = {"type": "koaws:reply", "data": data}
        except RequestError as error:
            answer = {"type": "koaws:error", "error": error.args[0]}
        except Exception:
            logging.exception("The listener of %s failed", message["type"])
            answer = {"type": "koaws:error", "error": INTERNAL}
        if "id" in message:
            await send(ws, id=message["id"], **answer)

async def send(ws, type, **fields):
    await ws.send(json.dumps({"type": type, **fields}))

async def result_of(value):
    return await value if inspect.isawaitable(value) else value

def bearer(token):
    if re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", token):
        return "koaws.bearer." + token
    return "koaws.bearer64." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
