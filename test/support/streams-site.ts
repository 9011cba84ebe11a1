// The instances of the model of streams: the classes of lib/ behind connections and a backplane that are simulated.
import { exposedBody, INTERNAL } from '../../lib/messages/error-reply.ts'
import type { StreamAttempt } from '../../lib/messages/stream-parts.ts'
import type { StreamedRequest } from '../../lib/messages/streamed-request.ts'
import { StreamedRequests } from '../../lib/messages/streamed-requests.ts'
import type { Envelope, ErrorBody } from '../../lib/protocol/envelope.ts'
import { answerText, errorAnswer, isStreamed } from '../../lib/protocol/streams.ts'
import { isAbortOf } from '../../lib/streams/abort.ts'
import { resolveStreamsOptions, type StreamsOptions } from '../../lib/streams/options.ts'
import { StreamRelay } from '../../lib/streams/relay.ts'
import type { StreamSender } from '../../lib/streams/stream-sender.ts'
import { Streams } from '../../lib/streams/streams.ts'
import type { VirtualTime } from './virtual-time.ts'

/** A request, as a handler of the model gets it. */
export interface Asked {
  readonly data: unknown
  readonly signal: AbortSignal | undefined
  readonly upload: () => AsyncIterable<unknown>
}

/** What a site asks of its model. */
export interface SiteHost {
  readonly time: VirtualTime
  /** Runs a handler. Returns its result, which may be a generator. */
  handle(type: string, asked: Asked): unknown
  /** How long a note is on its way; null for a note that is lost. */
  travel(): number | null
  /** How long the authorization of a request takes. */
  authorization(): number
  wrong(what: string): void
}

/** Streams that count what can be resumed. */
class CountedStreams extends Streams {
  kept = 0

  override keep(name: string, sender: StreamSender): boolean {
    const isKept = super.keep(name, sender)
    if (isKept) this.kept++
    return isKept
  }

  override forget(name: string, sender: StreamSender): void {
    if (this.find(name) === sender) this.kept--
    super.forget(name, sender)
  }
}

/** The end of a connection, as its server sends to it. */
export interface Peer {
  send(text: string): void
  close(code: number): void
}

/** One connection of an instance. */
export class ServedConnection {
  readonly requests: StreamedRequests
  readonly #instance: SimulatedInstance
  readonly #host: SiteHost
  readonly #peer: Peer
  #queue: Promise<unknown> = Promise.resolve()
  #isOpen = true

  constructor(instance: SimulatedInstance, host: SiteHost, peer: Peer) {
    this.#instance = instance
    this.#host = host
    this.#peer = peer
    const send = (text: string): void => {
      if (this.#isOpen) peer.send(text)
    }
    this.requests = new StreamedRequests({
      streams: instance.streams,
      user: 'ann',
      path: '/',
      send,
      sendItem: send,
      count: (reason) => instance.count(reason),
      offend: (body) => host.wrong(`the client has offended: ${body.message}`),
      refuse: (body, id) => send(answerText(id, errorAnswer(body))),
      forgive: () => {},
      attempt: (envelope) => instance.attempt(envelope),
      encode: (_route, value) => JSON.stringify(value),
      check: (_route, data) => data,
    })
    instance.connections.add(this)
  }

  receive(text: string): void {
    if (!this.#isOpen) return
    const envelope = JSON.parse(text) as Envelope
    if (envelope.type === 'koaws:resume') return
    if (envelope.type.startsWith('koaws:')) this.requests.hear(envelope, Buffer.byteLength(text))
    else if (isStreamed(envelope)) {
      const { type } = envelope
      const route = { type, stream: undefined, upload: undefined, resume: type === 'list' }
      const streamed = this.requests.open(envelope, route as never)
      if (!streamed) return
      const next = this.#queue.then(() => this.#handle(envelope, streamed))
      // As in the runner of handlers: the next message waits until the handler was called.
      this.#queue = Promise.race([next, streamed.begun])
    } else this.#host.wrong(`a request without a stream: ${text}`)
  }

  /** As the runner of handlers does it. */
  async #handle(envelope: Envelope, streamed: StreamedRequest): Promise<void> {
    const { time } = this.#host
    const wait = this.#host.authorization()
    if (isDropped(streamed)) {
      streamed.cancel(undefined)
      streamed.settled()
      return
    }
    try {
      if (wait > 0) await time.pass(wait)
      const asked = {
        data: envelope.data,
        signal: streamed.signal,
        upload: () => streamed.upload,
      }
      const value = await streamed.run(() => this.#host.handle(envelope.type, asked), true)
      if (!streamed.isUnanswerable) {
        streamed.end({ type: 'koaws:reply', json: JSON.stringify(value ?? null) })
      }
    } catch (error) {
      const { signal } = streamed
      const body: ErrorBody | null = exposedBody(error)
      const isExpected = signal !== undefined && isAbortOf(error, signal)
      if (body === null && !isExpected) this.#host.wrong(`reported: ${String(error)}`)
      streamed.end(errorAnswer(body ?? INTERNAL))
    }
    streamed.settled()
  }

  /** The connection has ended. */
  closed(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#instance.connections.delete(this)
    this.requests.closed()
  }

  /** The instance ends. A crash tells the client nothing. */
  end(isCrash: boolean): void {
    if (isCrash) this.#isOpen = false
    this.requests.takeLeave()
    this.#isOpen = true
    this.closed()
    this.#peer.close(isCrash ? 1006 : 1012)
  }
}

/** Whether a request is not handled any more, by the same question as in the runner of handlers. */
function isDropped(streamed: StreamedRequest): boolean {
  return streamed.isDropped
}

/** The record of streams that all instances share: a key belongs to the first instance that asks for it. */
class SimulatedRecord {
  readonly #host: SiteHost
  readonly #claimed = new Set<string>()

  constructor(host: SiteHost) {
    this.#host = host
  }

  async claim(key: string, isAlive: () => boolean): Promise<boolean> {
    const { time } = this.#host
    await time.pass(this.#host.authorization())
    const isFirst = isAlive() && !this.#claimed.has(key)
    if (isFirst) this.#claimed.add(key)
    await time.pass(this.#host.authorization())
    return isFirst
  }
}

/** One instance. */
export class SimulatedInstance {
  readonly id: string
  readonly streams: CountedStreams
  readonly connections = new Set<ServedConnection>()
  readonly drops: Record<string, number> = {}
  isAlive = true
  readonly #record: SimulatedRecord

  constructor(id: string, options: StreamsOptions, record: SimulatedRecord) {
    this.id = id
    this.#record = record
    this.streams = new CountedStreams(resolveStreamsOptions(options), (why) => this.count(why))
  }

  /** Returns the attempt at a stream with a key. */
  attempt({ key }: Envelope): StreamAttempt | undefined {
    if (key === undefined) return undefined
    return { first: () => this.#record.claim(key, () => this.isAlive), over: () => {} }
  }

  count(reason: string): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1
  }
}

/** Some instances, with a backplane of which notes may be slow or lost, but keep their order. */
export class SimulatedSite {
  readonly all: SimulatedInstance[] = []
  readonly #host: SiteHost
  readonly #options: StreamsOptions
  readonly #record: SimulatedRecord
  /** When the last note between two instances arrives. */
  readonly #arrivals = new Map<string, number>()

  constructor(host: SiteHost, options: StreamsOptions) {
    this.#host = host
    this.#options = options
    this.#record = new SimulatedRecord(host)
  }

  get alive(): SimulatedInstance[] {
    return this.all.filter(({ isAlive }) => isAlive)
  }

  add(): SimulatedInstance {
    const instance = new SimulatedInstance(`i${this.all.length + 1}`, this.#options, this.#record)
    const { streams } = instance
    const line = {
      peers: () => this.alive.filter((one) => one !== instance).map(({ id }) => id),
      tell: (to: string, text: string) => this.#tell(instance, to, text),
    }
    streams.relay = new StreamRelay(line, (name) => streams.find(name))
    this.all.push(instance)
    return instance
  }

  /** Opens a connection at an instance. */
  serve(instance: SimulatedInstance, peer: Peer): ServedConnection {
    return new ServedConnection(instance, this.#host, peer)
  }

  /** Ends an instance. */
  end(instance: SimulatedInstance, isCrash: boolean): void {
    if (isCrash) instance.isAlive = false
    for (const connection of [...instance.connections]) connection.end(isCrash)
    instance.streams.close()
    instance.isAlive = false
    for (const other of this.alive) {
      const arrives = this.#arrivals.get(`${instance.id} ${other.id}`) ?? 0
      const wait = Math.max(0, arrives - this.#host.time.now) + 1
      this.#host.time.after(wait, () => other.streams.relay?.left(instance.id))
    }
  }

  #tell(from: SimulatedInstance, to: string, text: string): boolean {
    const { time } = this.#host
    const other = this.all.find(({ id }) => id === to)
    if (!from.isAlive || !other) return false
    const travel = this.#host.travel()
    if (travel === null) return true
    const key = `${from.id} ${to}`
    const due = Math.max(time.now + travel, this.#arrivals.get(key) ?? 0)
    this.#arrivals.set(key, due)
    time.after(due - time.now, () => {
      if (other.isAlive) other.streams.relay?.noted(from.id, text)
    })
    return true
  }
}
