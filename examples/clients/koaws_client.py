"""A client of the subprotocol koaws.v1 (docs/protocol.md). Python 3.10, websockets 10."""
import asyncio, base64, collections, contextlib, inspect, json, logging, math, random, re, secrets, time
import websockets

STOP = {1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010}  # and 3000 to 4999, except:
BACK_OFF = {4400, 4408, 4425, 4429, *range(4500, 4600), 4610, 4611}
UNKNOWN = {"code": "ERR_KOAWS_UNKNOWN_TYPE", "message": "No listener", "status": 404, "retryable": False}
ANSWERS = {"koaws:reply", "koaws:error"}
SIZE = object()  # the key of what a message counts while it is held
INTERNAL = {"code": "internal", "message": "The client failed", "status": 500, "retryable": False}

class RequestError(Exception):
    """Its argument is the error object of an answer. A listener may raise one: the server gets it."""

class Client:
    def __init__(self, url, token=None, token_in="handshake", on_error=logging.warning, positions={}, reload=None):
        """`token()`, which may be async, is asked whenever a token is needed. The last two are for `History`."""
        self.url, self.token, self.token_in, self.on_error = url, token, token_in, on_error
        self.history = History(self._deliver, positions, reload)
        self._listeners, self._answers, self._tasks, self._last_id = {}, {}, set(), 0
        self._open, self._attempt, self._denied = asyncio.Event(), 0, False
        self._again, self._window = {}, 0  # requests to send again, and how long the server recognizes them, in s

    def on(self, type, listener):
        """`listener(data)`, which may be async, hears a type. What it returns answers a request."""
        self._listeners[type] = listener

    async def push(self, type, timeout=10, **data):
        """`push("typing")`, or `push("say", data={"text": "hi"})`. Waits for a connection."""
        await asyncio.wait_for(self._open.wait(), timeout)
        await self._ws.send(json.dumps({"type": type, **data}))

    async def request(self, type, timeout=None, retry=False, source=None, **data):
        """The data of the reply, within 10 s. What fails without a RequestError may have been carried out.
        With `retry` it is sent again on the next connection, is carried out at most once, and has 120 s."""
        timeout = (120 if retry or source else 10) if timeout is None else timeout
        data = {**data, "key": secrets.token_urlsafe(16)} if retry else data
        replies = []
        async for _ in self._exchange({"type": type, **data}, timeout, replies.append, source):
            pass
        return replies[0]

    def upload(self, type, source, **data):  # sends the items of an async iterable, as the server takes them
        return self.request(type, source=source, upload=True, **data)

    def stream(self, type, done=None, resume=False, timeout=120, credit=65536, **data):
        """The items of the server, for `async for`; then `done(reply)`. Leaving the loop cancels the request, at once
        inside of `contextlib.aclosing`. `resume`: it survives a reconnect. `timeout`: the longest silence, in s."""
        data = {**data, "key": secrets.token_urlsafe(16)} if resume else data
        return self._exchange({"type": type, "credit": credit, **data}, timeout, done)

    async def _exchange(self, request, timeout, done, source=None):
        await asyncio.wait_for(self._open.wait(), timeout)
        request["id"] = self._last_id = id = self._last_id + 1
        self._answers[id] = parts = asyncio.Queue()
        began, grants, sending, taken, owed, part = time.monotonic(), asyncio.Queue(), None, 0, 0, {}
        resumes = "credit" in request and "key" in request

        def again():
            while not parts.empty():  # the server sends again what was not taken
                parts.get_nowait()
            request.update({"attempt": int(time.monotonic() * 1000)} if resumes else {})
            never_began = not taken and time.monotonic() - began < self._window
            return request if never_began else {**request, "since": taken, "credit": request["credit"] - owed}
        if resumes or "key" in request and self._window:
            self._again[id] = (math.inf if resumes else began, again)
        try:
            await send(self._ws, **request)
            sending = source and self._start(self._send_items(id, source, grants))
            sending and sending.add_done_callback(lambda task: task.cancelled() or self._fail(id, task.exception()))
            while (part := await asyncio.wait_for(parts.get(), timeout))["type"] not in ANSWERS:
                match part:
                    case {"type": "koaws:item"} if "credit" in request:
                        taken, owed = taken + 1, owed + part[SIZE]
                        if owed * 2 >= request["credit"]:
                            grant, owed = {"bytes": owed, "items": taken}, 0
                            await send(self._ws, "koaws:credit", id=id, data=grant)
                        yield part.get("data")
                    case {"type": "koaws:credit", "data": {"bytes": int() as more}}:
                        grants.put_nowait(more)
                    case {"type": "koaws:cancel"} if sending:
                        sending.cancel()
                    case {"error": error}:
                        raise error
            if "error" in part:
                raise RequestError(part["error"])
            done and done(part.get("data"))
        finally:
            del self._answers[id]
            self._again.pop(id, None)
            sending and sending.cancel()
            if resumes or part.get("type") not in ANSWERS and ("credit" in request or source):
                await send(self._ws, "koaws:cancel", id=id)

    async def _send_items(self, id, source, grants):
        credit = await grants.get()
        async for item in source:
            credit -= await send(self._ws, "koaws:item", id=id, data=item)
            while credit <= 0 or not grants.empty():
                credit += await grants.get()
        await send(self._ws, "koaws:end", id=id)

    async def _send_again(self, ws):
        """Sends what has no answer, in order: section 3.7."""
        for id, (since, message) in list(self._again.items()):
            if time.monotonic() - since < self._window:
                await send(ws, **message(), again=True)
            else:
                self._fail(id, ConnectionError("the server does not recognize it any more"))

    def _fail(self, id, error):
        error and id in self._answers and self._answers[id].put_nowait({"type": "", "error": error})

    async def run(self):
        """Connect, and come back, until a close code or `close()` says stop. Runs in a task."""
        self._task, self._closed, delay = asyncio.current_task(), False, 0
        try:
            while delay is not None and not self._closed:
                await asyncio.sleep(delay)
                code, reason = await self._connect()
                delay = self.delay(code, reason)
                logging.info("%s closed with %s %s; back in (s): %s", self.url, code, reason, delay)
        finally:
            for id in self._again:
                self._fail(id, ConnectionError("the client has stopped"))

    def close(self):
        """Close with 1000, and stay away: cancels the task of `run()`."""
        self._closed = True  # websockets 10 may swallow the cancellation while it closes itself
        self._task.cancel()

    async def _connect(self):
        """One connection, from the handshake to the close: its code and reason."""
        self._opened_at, self._return_at, offers = math.inf, None, ["koaws.v1", "koaws.resume"]
        try:
            if self.token and self.token_in == "handshake":
                offers.append(bearer(await result_of(self.token())))
            # A pong may wait behind a large message on a slow link.
            async with websockets.connect(self.url, subprotocols=offers, ping_timeout=150) as self._ws:
                if self._ws.subprotocol != "koaws.v1":
                    return 4613, "the server does not speak koaws.v1"
                await send(self._ws, "koaws:resume", data=self.history.resume())
                async for text in self._ws:
                    await self._receive(self._ws, text)
        except websockets.ConnectionClosed:
            pass
        except Exception as error:  # of token() or the handshake
            logging.info("%s: %r", self.url, error)
            return 1006, ""
        finally:
            self._open.clear()
            self.history.release()
            for id in self._answers.keys() - self._again.keys():
                self._fail(id, ConnectionError("the connection has ended"))
        return self._ws.close_code, self._ws.close_reason

    def delay(self, code, reason):
        """How many seconds to wait before coming back, or None to stop: section 7."""
        renew = code == 4401 and self.token and not self._denied
        self._denied = code == 4401
        rejected = code == 4400 and self._opened_at == math.inf  # 400 in place of the welcome
        if code in STOP or rejected or 3000 <= code <= 4999 and code not in BACK_OFF and not renew:
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
            case {"type": "koaws:welcome", **rest}:
                self.history.remember(rest.get("data"))
                self._opened_at, self._denied = time.time(), False
                self._window = window_of(rest.get("data"))
                await self._send_again(ws)
                self._open.set()
            case {"type": "koaws:authenticate"} if self.token:
                self._last_id += 1  # the welcome follows, or the close: nobody waits for the answer
                token = await result_of(self.token())
                await send(ws, "koaws:auth", id=self._last_id, data={"token": token})
            case {"type": "koaws:bye", "data": {"after": int() | float() as after}}:
                self._return_at = time.time() + after / 1000
            case {"type": "koaws:reply" | "koaws:error" | "koaws:item" | "koaws:credit" | "koaws:cancel", "id": int(id)}:
                message["type"] in ANSWERS and self._again.pop(id, None)
                id in self._answers and self._answers[id].put_nowait({**message, SIZE: len(text.encode())})
            case {"type": "koaws:error"}:
                self.on_error(message)
            case {"type": str(), "id": _}:  # not awaited: it may itself request something
                self._start(self._answer(ws, message))
            case {"type": str()}:
                self.history.take({**message, SIZE: len(text) + 1024})

    def _deliver(self, message):
        """Calls the listener of a push. An async one goes on in a task; asyncio logs its exception."""
        try:
            result = self._listeners.get(message["type"], lambda data: None)(message.get("data"))
            if inspect.isawaitable(result):
                self._start(result)
        except Exception:
            logging.exception("The listener of %s failed", message["type"])

    async def _answer(self, ws, message):
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
        await send(ws, id=message["id"], **answer)

    def _start(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

class History:
    """The positions in rooms with history: section 3.6. Store `positions`, and pass them to the next client.
    `reload(room)`, which may be async, loads the state of a room after a refused recovery; returns its position."""

    POSITION = re.compile(r"[A-Za-z0-9_-]{1,32}\.[0-9]{1,16}\.[A-Za-z0-9_-]{0,16}")

    def __init__(self, deliver, positions, reload):
        self._deliver, self.positions, self._reload = deliver, dict(positions), reload
        self._previous, self._delivered = collections.deque(maxlen=8), collections.deque(maxlen=1024)
        self._held, self._running = {}, {}  # by room: a position and the messages after it, and the call of reload

    def remember(self, welcome):
        if isinstance(welcome, dict) and is_name(id := welcome.get("connection")):
            self._previous.append(id)

    def resume(self):
        """The data of the first message: the rooms that were used last, in 16 KiB."""
        rooms = [entry for entry in self.positions.items() if entry[0] != "__proto__"][-128:]
        while len(json.dumps([*self._previous, *rooms])) > 16_000:
            rooms.pop(0)
        return {"previous": list(self._previous), "positions": dict(rooms)}

    def release(self):
        """The next connection receives again what is held."""
        for _, held in self._held.values():
            held.clear()

    def take(self, message):
        """Takes a push. Wrong types are ignored."""
        place = {"room": "", "position": "0.0.", "once": "", **message}
        if not (is_name(place["room"]) and is_position(place["position"]) and is_name(place["once"])):
            return
        if message["type"] not in {"koaws:position", "koaws:recovered", "koaws:at", "koaws:left"}:
            return self._arrive(message)
        match message:
            case {"type": "koaws:left", "data": {"room": str(room)}}:
                self._held.pop(room, None)
                self.positions.pop(room, None)
            case {"type": type, "data": {"room": room, "position": at, **rest}} if is_name(room) and is_position(at):
                # No listener hears this type.
                moved = {"type": "koaws:at", "room": room, "position": at, SIZE: message[SIZE]}
                refusal = {"room": room, "position": at, "recovered": False, "missed": None, "reason": "limit"}
                match type, rest:
                    case "koaws:recovered", {"recovered": True, "missed": int() as missed} if missed >= 0:
                        self._deliver(message)
                        missed or self._arrive(moved)
                    case "koaws:recovered", {"recovered": False, "missed": None, "reason": str() as reason}:
                        self._refused({**refusal, "reason": reason})
                    case "koaws:position", _ if self.positions.get(room, at) != at:
                        self._refused(refusal)  # the server did not take what was presented
                    case "koaws:position" | "koaws:at", _:
                        self._arrive(moved)

    def _arrive(self, message):
        room, position, once = message.get("room", ""), message.get("position"), message.get("once")
        if position and room in self._held:
            self._held[room][1].append(message)
            if sum(each[SIZE] for _, held in self._held.values() for each in held) > 1 << 20:
                logging.error("Messages of %s were lost: reload() took too long", room)
                self.release()
        elif not position or not is_up_to(position, self.positions.get(room, "")):
            # An instance that is behind repeats what came in an earlier stay in the room.
            seen = once or (position and (room, position))
            if not seen or seen not in self._delivered:
                self._deliver(message)
            if seen:
                self._delivered.append(seen)
            if position:  # after the listener, so that no position skips a message
                self._place(room, position)

    def _place(self, room, position):
        self.positions.pop(room, None)
        self.positions[room] = position  # the last used room is the last
        if len(self.positions) > 1024:
            del self.positions[next(iter(self.positions))]

    def _refused(self, data):
        self._deliver({"type": "koaws:recovered", "data": data})
        room, position = data["room"], data["position"]
        self._held.pop(room, None)
        if not self._reload or len(self._held) >= 128:
            return self._place(room, position)
        self._held[room] = (position, [])
        if room not in self._running:  # an older state would replace the newer one
            self._running[room] = asyncio.create_task(self._restart(room))

    async def _restart(self, room):
        while waiting := self._held.get(room):
            position, held = waiting
            try:
                loaded = await result_of(self._reload(room)) or position
                if not is_position(loaded) or loaded != position and is_up_to(loaded, position):
                    raise ValueError(f"Not a position, or an old one: {loaded}")
            except Exception:
                logging.exception("reload(%r) failed", room)
                loaded = position
            if self._held.get(room) is waiting:  # the room was not left, and not refused again
                del self._held[room]
                self._place(room, loaded)
                for message in held:
                    self._arrive(message)
        del self._running[room]

def window_of(welcome):
    """How long the server recognizes a request that is sent again, in seconds."""
    retry = welcome.get("retry") if isinstance(welcome, dict) else None
    return retry / 1000 if isinstance(retry, (int, float)) and retry > 0 else 0

def is_name(value):
    return isinstance(value, str) and len(value) < 256

def is_position(value):
    return isinstance(value, str) and bool(History.POSITION.fullmatch(value))

def is_up_to(position, other):
    """Whether a position is at or before another one of the same epoch."""
    epoch, offset = position.split(".")[:2]
    return is_position(other) and other.split(".")[0] == epoch and int(offset) <= int(other.split(".")[1])

async def send(ws, type, **fields):
    with contextlib.suppress(websockets.ConnectionClosed):
        await ws.send(text := json.dumps({"type": type, **fields}))
    return len(text)

async def result_of(value):
    return await value if inspect.isawaitable(value) else value

def bearer(token):
    if re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", token):
        return "koaws.bearer." + token
    return "koaws.bearer64." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
