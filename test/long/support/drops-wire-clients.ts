import { KOAWS_RESUME, KOAWS_V1 } from '../../../lib/protocol/subprotocol.ts'
import type { Numbered, Tally } from './drops-account.ts'
import { type Cuttable, DropClient, type DropOptions } from './drops-client.ts'
import { WireSocket } from './wire-socket.ts'

/** A client that speaks a protocol itself. */
abstract class WireClient extends DropClient {
  readonly #port: number
  readonly #path: string
  readonly #subprotocols: string
  #socket: WireSocket | undefined
  #isOver = false
  /** Whether this is the first connection. */
  protected isFirst = true

  constructor(tally: Tally, options: DropOptions, path: string, subprotocols: string) {
    super(tally, options)
    this.#port = options.port
    this.#path = path
    this.#subprotocols = subprotocols
  }

  protected override get socket(): Cuttable | undefined {
    return this.#socket
  }

  protected override open(): void {
    const socket = new WireSocket(this.#port, this.#path, this.#subprotocols, {
      opened: () => this.opened(),
      heard: (text) => this.heard(text),
      closed: () => {
        // On a busy machine, the end of a connection may come after the next one has begun.
        if (this.#socket === socket && !this.#isOver) this.ended()
      },
    })
    this.#socket = socket
  }

  override close(): void {
    this.#isOver = true
    this.#socket?.end(false)
  }

  protected send(text: string): void {
    this.#socket?.send(text)
  }

  protected abstract opened(): void
  protected abstract heard(text: string): void
}

/** A message of koaws.v1. */
interface Envelope {
  readonly type: string
  readonly room?: string
  readonly position?: string
  readonly data?: unknown
}

interface About {
  readonly connection?: string
  readonly position?: string
  readonly recovered?: boolean
  readonly reason?: string
}

/** Speaks koaws.v1 (docs/protocol.md, section 3.6), with one room. */
export class KoawsWireClient extends WireClient {
  #room = ''
  #position = ''
  readonly #previous: string[] = []

  constructor(tally: Tally, options: DropOptions) {
    const { room, index } = options
    super(tally, options, `/?room=${room}&user=${index}`, `${KOAWS_V1}, ${KOAWS_RESUME}`)
  }

  protected override opened(): void {
    const positions = this.#position && { [this.#room]: this.#position }
    const data = { previous: this.#previous.slice(-8), positions: positions || {} }
    this.send(JSON.stringify({ type: 'koaws:resume', data }))
  }

  protected override heard(text: string): void {
    const { type, room, position, data } = JSON.parse(text) as Envelope
    if (type === 'm') {
      if (position && isUpTo(position, this.#position)) return
      this.take(data as Numbered)
      this.#place(room, position)
      return
    }
    const about = (data ?? {}) as About
    if (type === 'joined') this.isIn = true
    else if (type === 'koaws:welcome') this.#previous.push(about.connection ?? '')
    else if (type === 'koaws:at') this.#place(room, about.position)
    else if (type === 'koaws:position') {
      // In place of a verdict, another position is a refusal.
      if (this.#position && about.position !== this.#position) this.judged(false, 'position')
      this.#place(room, about.position)
    } else if (type === 'koaws:recovered') {
      this.judged(about.recovered === true, String(about.reason))
      if (!about.recovered) this.#place(room, about.position)
    }
  }

  #place(room: string | undefined, position: string | undefined): void {
    if (room) this.#room = room
    if (position) this.#position = position
  }
}

/** Whether a position is at or before another one of the same epoch. */
function isUpTo(position: string, other: string): boolean {
  const [epoch, offset] = position.split('.')
  const [life, reached] = other.split('.')
  return epoch === life && Number(offset) <= Number(reached)
}

interface Handshake {
  readonly pid?: string
}

/** Speaks engine.io 4 and version 5 of the protocol of socket.io, with one namespace. */
export class IoWireClient extends WireClient {
  #session = ''
  #offset = ''

  constructor(tally: Tally, options: DropOptions) {
    const { room, index } = options
    super(tally, options, `/socket.io/?room=${room}&user=${index}&EIO=4&transport=websocket`, '')
  }

  protected override opened(): void {}

  protected override heard(text: string): void {
    if (text.startsWith('42')) {
      const [type, data, offset] = JSON.parse(text.slice(2)) as [string, Numbered?, string?]
      if (type === 'm' && data) {
        this.take(data)
        if (offset) this.#offset = offset
      } else if (type === 'joined') this.isIn = true
    } else if (text === '2') this.send('3')
    else if (text.startsWith('0')) {
      const resume = this.#session && JSON.stringify({ pid: this.#session, offset: this.#offset })
      this.send(`40${resume}`)
    } else if (text.startsWith('40')) {
      const { pid = '' } = JSON.parse(text.slice(2)) as Handshake
      // The client goes by the same: a session of another id is a new one.
      if (!this.isFirst) this.judged(pid === this.#session, 'not recovered')
      this.isFirst = false
      this.#session = pid
    }
  }
}
