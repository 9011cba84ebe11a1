import { createRequire } from 'node:module'
import { WebSocket } from 'ws'
import { connect } from '../../../lib/client/index.ts'
import type { Numbered, Tally } from './drops-account.ts'
import { type Cuttable, DropClient, type DropOptions } from './drops-client.ts'

const peers = createRequire(new URL('../../peers/package.json', import.meta.url))

/** Clients reconnect when they are told to. */
const NEVER = 2 ** 31 - 1

/** The part of a WebSocket of ws that a cut needs. */
interface Ws {
  readonly readyState: number
  removeAllListeners(type: string): void
  terminate(): void
  readonly _socket?: { resetAndDestroy(): void } | null
}

function cuttable(ws: Ws | undefined): Cuttable | undefined {
  return (
    ws && {
      isLive: ws.readyState !== WebSocket.CLOSED,
      state: { readyState: ws.readyState },
      mute: () => ws.removeAllListeners('message'),
      end(reset) {
        if (reset && ws._socket) ws._socket.resetAndDestroy()
        else ws.terminate()
      },
    }
  )
}

/** The clients of koaws, by their URL. */
const byUrl = new Map<string, KoawsClient>()

class OwnedWebSocket extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols)
    const owner = byUrl.get(url)
    if (owner) owner.ws = this as never
  }
}

/** The client of `koaws/client`. */
export class KoawsClient extends DropClient {
  ws: Ws | undefined
  readonly #client: ReturnType<typeof connect>
  #isOver = false

  constructor(tally: Tally, options: DropOptions) {
    super(tally, options)
    const { port, index, room } = options
    const url = `ws://127.0.0.1:${port}/?room=${room}&user=${index}`
    byUrl.set(url, this)
    this.#client = connect(url, {
      WebSocket: OwnedWebSocket as never,
      minDelay: NEVER,
      maxDelay: NEVER,
      onError: () => {},
    })
  }

  protected override get socket(): Cuttable | undefined {
    return cuttable(this.ws)
  }

  protected override open(): void {
    const client = this.#client
    if (client.state.status === 'waiting') {
      client.open()
      return
    }
    client.on('m', (data) => this.take(data as Numbered))
    client.on('joined', () => {
      this.isIn = true
    })
    client.on('koaws:recovered', ({ recovered, reason }) => {
      this.judged(recovered, String(reason))
    })
    client.subscribe(() => {
      if (client.state.status === 'waiting' && !this.#isOver) this.ended()
    })
  }

  override close(): void {
    this.#isOver = true
    this.#client.close()
    this.ws?.terminate()
  }
}

interface Io {
  readonly recovered: boolean
  readonly io: { readonly engine?: { readonly transport?: { readonly ws?: Ws } } }
  on(event: string, listener: (data: never) => void): void
  connect(): void
  disconnect(): void
}

/** The client of `socket.io-client`. */
export class IoClient extends DropClient {
  readonly #socket: Io
  #isOver = false
  #isFirst = true
  /** Whether the verdict on this connection is known. */
  #isKnown = false

  constructor(tally: Tally, options: DropOptions) {
    super(tally, options)
    const { port, index, room } = options
    const { io } = peers('socket.io-client')
    this.#socket = io(`ws://127.0.0.1:${port}/`, {
      transports: ['websocket'],
      query: { room, user: index },
      forceNew: true,
      autoConnect: false,
      reconnection: false,
    })
    const socket = this.#socket
    socket.on('connect', () => this.#judge())
    socket.on('m', (data) => {
      // Messages that came before the connect event are emitted before it.
      this.#judge()
      this.take(data as Numbered)
    })
    socket.on('joined', () => {
      this.isIn = true
    })
    const onEnd = (): void => {
      this.#isKnown = false
      if (!this.#isOver) this.ended()
    }
    socket.on('disconnect', onEnd)
    socket.on('connect_error', onEnd)
  }

  protected override get socket(): Cuttable | undefined {
    return cuttable(this.#socket.io.engine?.transport?.ws)
  }

  protected override open(): void {
    this.#socket.connect()
  }

  override close(): void {
    this.#isOver = true
    this.#socket.disconnect()
  }

  #judge(): void {
    if (this.#isKnown) return
    this.#isKnown = true
    if (!this.#isFirst) this.judged(this.#socket.recovered, 'not recovered')
    this.#isFirst = false
  }
}
