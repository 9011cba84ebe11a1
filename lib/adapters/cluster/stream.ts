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

/** How long the other side may take to say who it is, in milliseconds. */
const PATIENCE = 1_000

/** Whom a stream tells. */
export interface StreamOwner {
  readonly id: string
  readonly topics: ReadonlySet<string>
  /** The other side has said who it is and what it wants. */
  ready(stream: Stream): void
  /** An instance wants to be connected to. */
  knocked(id: string): void
  received(payload: Buffer): void
  /** Called once. @param bye whether it ended for good */
  ended(stream: Stream, bye: boolean): void
}

/** The stream between two instances. Whoever has the smaller id has made it. */
export class Stream {
  readonly #socket: Socket
  readonly #owner: StreamOwner
  readonly #most: number
  /** What the other side wants. */
  readonly #wanted = new Set<string>()
  /** Subscriptions that it has not confirmed. */
  readonly #unconfirmed = new Map<number, () => void>()
  #peer: string | null
  #ready = false
  #bye = false
  #over = false
  #corked = false
  #subscribes = 0

  /** @param peer whom it leads to; null where that comes with its first record */
  constructor(socket: Socket, owner: StreamOwner, peer: string | null, most: number) {
    this.#socket = socket
    this.#owner = owner
    this.#peer = peer
    this.#most = most
    const reader = new RecordReader((kind, body) => this.#read(kind, body))
    socket.unref()
    socket.setTimeout(PATIENCE, () => this.destroy())
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

  /** Resolves when the other side has confirmed, or is gone. */
  subscribe(topics: readonly string[]): Promise<void> {
    if (this.#over || !this.#ready) return Promise.resolve() // it gets them with the introduction
    return new Promise((resolve) => {
      const number = ++this.#subscribes
      this.#unconfirmed.set(number, resolve)
      this.#write(topicList(Record.subscribe, number, topics))
    })
  }

  unsubscribe(topics: readonly string[]): void {
    if (this.#ready) this.#write(topicList(Record.unsubscribe, 0, topics))
  }

  /** @returns whether the other side wants it, and it was written */
  publish(topics: readonly string[], payload: Buffer): boolean {
    if (!this.#ready || !topics.some((topic) => this.#wanted.has(topic))) return false
    this.#write(header(Record.payload, payload.length), payload)
    return true
  }

  /** Say that it ends for good. */
  bye(): void {
    this.#bye = true
    this.#write(header(Record.bye, 0))
    this.#socket.end()
    this.#socket.setTimeout(PATIENCE)
  }

  destroy(): void {
    this.#socket.destroy()
    this.#end()
  }

  #introduce(): void {
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
        if (number > 0) this.#write(confirmation(number))
        else this.#known()
        break
      }
      case Record.unsubscribe:
        for (const topic of readTopicList(body).topics) this.#wanted.delete(topic)
        break
      case Record.subscribed: {
        const number = body.readUInt32BE(0)
        this.#unconfirmed.get(number)?.()
        this.#unconfirmed.delete(number)
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
    this.#socket.setTimeout(0)
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
        if (this.#socket.writableLength > this.#most) this.destroy()
      })
    }
    for (const part of parts) this.#socket.write(part)
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    for (const resolve of this.#unconfirmed.values()) resolve()
    this.#unconfirmed.clear()
    this.#owner.ended(this, this.#bye)
  }
}
