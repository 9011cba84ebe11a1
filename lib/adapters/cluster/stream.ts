import type { Socket } from 'node:net'
import {
  confirmation,
  header,
  introduction,
  Record,
  RecordReader,
  readIntroduction,
  readTopicList,
  topicList,
} from './records.ts'

/** How long the other side may take to say who it is, to confirm, and to end, in milliseconds. */
const PATIENCE = 1_000

/** Whom a stream tells. */
export interface StreamOwner {
  readonly id: string
  readonly topics: ReadonlySet<string>
  /** The other side has said who it is and what it wants. */
  ready(stream: Stream): void
  /** The other side knows what is wanted here. Called once, after `ready`. */
  held(stream: Stream): void
  /** An instance wants to be connected to. */
  knocked(id: string): void
  received(payload: Buffer): void
  /** Called once, ready or not. @param bye whether it ended for good */
  ended(stream: Stream, bye: boolean): void
}

/** The stream between two instances. Whoever has the smaller id has made it. */
export class Stream {
  /** The other side knows what is wanted here. */
  isHeld = false
  readonly #socket: Socket
  readonly #owner: StreamOwner
  readonly #most: number
  /** What the other side wants. */
  readonly #wanted = new Set<string>()
  /** Subscriptions that it has not confirmed. */
  readonly #unconfirmed = new Map<number, () => void>()
  /** Until when it has to have said who it is, and then until when it has to have ended. */
  #deadline: NodeJS.Timeout
  #peer: string | null
  #introduced = false
  #ready = false
  /** It took too long to confirm: nobody waits for it until it does. */
  #stuck = false
  #bye = false
  #over = false
  #corked = false
  #subscribes = 0
  #ended: (() => void) | null = null

  /** @param peer whom it leads to; null where that comes with its first record */
  constructor(socket: Socket, owner: StreamOwner, peer: string | null, most: number) {
    this.#socket = socket
    this.#owner = owner
    this.#peer = peer
    this.#most = most
    const reader = new RecordReader((kind, body) => this.#read(kind, body))
    socket.unref()
    this.#deadline = setTimeout(() => {
      // It may have been this process that stood still: what has come by now is read first.
      setImmediate(() => {
        if (!this.#ready) this.destroy()
      })
    }, PATIENCE).unref()
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk)
      } catch {
        this.destroy() // what it says is not of koaws
      }
    })
    socket.on('error', () => this.destroy())
    socket.on('close', () => this.#end())
    socket.on('end', () => this.destroy())
    if (peer !== null) this.#introduce()
  }

  /** The other side; empty until it has said so. */
  get peer(): string {
    return this.#peer ?? ''
  }

  /** Resolves when the other side has confirmed, is gone, or takes too long. */
  subscribe(topics: readonly string[]): Promise<void> {
    if (this.#over || !this.#introduced) return Promise.resolve() // it gets them with the introduction
    const number = ++this.#subscribes
    this.#write(topicList(Record.subscribe, number, topics))
    if (this.#stuck) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#stuck = true
        this.#confirmed(number)
      }, PATIENCE).unref()
      this.#unconfirmed.set(number, () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  unsubscribe(topics: readonly string[]): void {
    if (this.#introduced) this.#write(topicList(Record.unsubscribe, 0, topics))
  }

  /** @returns whether the other side wants it, and it was written */
  publish(topics: readonly string[], payload: Buffer): boolean {
    if (!this.#ready || !topics.some((topic) => this.#wanted.has(topic))) return false
    this.#write(header(Record.payload, payload.length), payload)
    return true
  }

  /** Say that it ends for good. Resolves when the other side has read everything, or takes too long. */
  bye(): Promise<void> {
    if (this.#over || !this.#ready) {
      this.destroy()
      return Promise.resolve()
    }
    this.#bye = true
    this.#write(header(Record.bye, 0))
    this.#socket.ref() // what was published has to leave before the process ends
    this.#socket.end()
    this.#deadline = setTimeout(() => this.destroy(), PATIENCE)
    return new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  destroy(): void {
    this.#socket.destroy()
    this.#end()
  }

  #introduce(): void {
    this.#introduced = true
    this.#write(introduction(Record.hello, this.#owner.id))
    this.#write(topicList(Record.subscribe, 0, [...this.#owner.topics]))
  }

  #read(kind: number, body: Buffer): void {
    if (this.#over) return
    switch (kind) {
      case Record.hello:
        this.#hello(readIntroduction(body))
        break
      case Record.knock: {
        const id = readIntroduction(body)
        if (id !== null) this.#owner.knocked(id)
        this.destroy()
        break
      }
      case Record.subscribe: {
        const { number, topics } = readTopicList(body)
        for (const topic of topics) this.#wanted.add(topic)
        this.#write(confirmation(number))
        if (number === 0) this.#known()
        break
      }
      case Record.unsubscribe:
        for (const topic of readTopicList(body).topics) this.#wanted.delete(topic)
        break
      case Record.subscribed: {
        const number = body.readUInt32BE(0)
        this.#stuck = false
        if (number > 0) this.#confirmed(number)
        else if (this.#ready && !this.isHeld) {
          this.isHeld = true
          this.#owner.held(this)
        }
        break
      }
      case Record.payload:
        if (this.#ready) this.#owner.received(body)
        break
      case Record.bye:
        this.#bye = true
        break
      default:
        throw new RangeError('a record of an unknown kind')
    }
  }

  #confirmed(number: number): void {
    this.#unconfirmed.get(number)?.()
    this.#unconfirmed.delete(number)
  }

  #hello(id: string | null): void {
    if (id === null || (this.#peer !== null && this.#peer !== id))
      throw new RangeError('a stranger')
    if (this.#peer !== null) return
    this.#peer = id
    this.#introduce()
  }

  /** The first topics have come. */
  #known(): void {
    if (this.#ready || this.#peer === null) return
    this.#ready = true
    clearTimeout(this.#deadline)
    this.#owner.ready(this)
  }

  /** All of one turn leaves in one write; payloads are not copied. */
  #write(...parts: Buffer[]): void {
    if (this.#over) return
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
      process.nextTick(() => {
        this.#corked = false
        this.#socket.uncork()
        // It takes nothing: what was missed is found by the hub when it is back.
        if (this.#ready && this.#socket.writableLength > this.#most) this.destroy()
      })
    }
    for (const part of parts) this.#socket.write(part)
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#deadline)
    for (const resolve of this.#unconfirmed.values()) resolve()
    this.#unconfirmed.clear()
    this.#owner.ended(this, this.#bye)
    this.#ended?.()
  }
}
