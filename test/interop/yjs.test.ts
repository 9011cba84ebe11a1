import { createRequire } from 'node:module'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { accept, type Connection } from '../../lib/index.ts'
import { cleanUp, eventually, serve } from '../support/server.ts'

const load = createRequire(new URL('../peers/package.json', import.meta.url))
const Y = load('yjs')
const sync = load('y-protocols/sync')
const awareness = load('y-protocols/awareness')
const encoding = load('lib0/encoding')
const decoding = load('lib0/decoding')
const { WebsocketProvider } = load('y-websocket')

const SYNC = 0
const AWARENESS = 1

/** A document of the server with its editors, like that of y-websocket's own server. */
class SharedDoc {
  readonly doc = new Y.Doc()
  readonly awareness = new awareness.Awareness(this.doc)
  readonly #connections = new Map<Connection, Set<number>>()

  constructor() {
    this.awareness.setLocalState(null)
    this.awareness.on('update', this.#awarenessChanged)
    this.doc.on('update', (update: Uint8Array) => {
      this.#broadcast(message(SYNC, (encoder) => sync.writeUpdate(encoder, update)))
    })
  }

  get size(): number {
    return this.#connections.size
  }

  destroy(): void {
    this.awareness.destroy()
    this.doc.destroy()
  }

  /** Has the shape of y-websocket's `setupWSConnection(conn, req, { docName })`. */
  setupWSConnection(connection: Connection): void {
    connection.binaryType = 'arraybuffer'
    this.#connections.set(connection, new Set())
    connection.on('message', (data) => this.#read(connection, new Uint8Array(data as ArrayBuffer)))
    connection.on('close', () => this.#left(connection))
    send(
      connection,
      message(SYNC, (encoder) => sync.writeSyncStep1(encoder, this.doc)),
    )
    const states: Map<number, unknown> = this.awareness.getStates()
    if (states.size > 0) send(connection, this.#awarenessOf([...states.keys()]))
  }

  #read(connection: Connection, data: Uint8Array): void {
    const decoder = decoding.createDecoder(data)
    const kind = decoding.readVarUint(decoder)
    if (kind === SYNC) {
      const encoder = encoding.createEncoder()
      encoding.writeVarUint(encoder, SYNC)
      sync.readSyncMessage(decoder, encoder, this.doc, connection)
      if (encoding.length(encoder) > 1) send(connection, encoding.toUint8Array(encoder))
    } else if (kind === AWARENESS) {
      const update = decoding.readVarUint8Array(decoder)
      awareness.applyAwarenessUpdate(this.awareness, update, connection)
    }
  }

  #left(connection: Connection): void {
    const ids = [...(this.#connections.get(connection) ?? [])]
    this.#connections.delete(connection)
    awareness.removeAwarenessStates(this.awareness, ids, null)
  }

  readonly #awarenessChanged = (
    { added, updated, removed }: Record<'added' | 'updated' | 'removed', number[]>,
    origin: Connection | null,
  ): void => {
    const ids = origin && this.#connections.get(origin)
    for (const id of ids ? added : []) ids?.add(id)
    for (const id of ids ? removed : []) ids?.delete(id)
    this.#broadcast(this.#awarenessOf([...added, ...updated, ...removed]))
  }

  #awarenessOf(ids: number[]): Uint8Array {
    const update = awareness.encodeAwarenessUpdate(this.awareness, ids)
    return message(AWARENESS, (encoder) => encoding.writeVarUint8Array(encoder, update))
  }

  #broadcast(bytes: Uint8Array): void {
    for (const connection of this.#connections.keys()) send(connection, bytes)
  }
}

function message(kind: number, write: (encoder: unknown) => void): Uint8Array {
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, kind)
  write(encoder)
  return encoding.toUint8Array(encoder)
}

function send(connection: Connection, bytes: Uint8Array): void {
  if (connection.readyState !== connection.OPEN) return
  connection.send(bytes, (error) => {
    if (error) connection.close()
  })
}

interface Provider {
  readonly awareness: {
    clientID: number
    setLocalStateField(field: string, value: unknown): void
    getStates(): Map<number, Record<string, unknown>>
  }
  readonly synced: boolean
  on(event: string, listener: (state: boolean) => void): void
  destroy(): void
}

describe('a Yjs server on a connection', () => {
  const documents = new Map<string, SharedDoc>()
  const editors: { provider: Provider; doc: { destroy(): void } }[] = []

  afterEach(async () => {
    for (const { provider, doc } of editors.splice(0)) {
      provider.destroy()
      doc.destroy()
    }
    for (const document of documents.values()) document.destroy()
    documents.clear()
    await cleanUp()
  })

  const start = () =>
    serve((app, hub) => {
      app.use(
        hub.route(
          '/yjs/:document',
          accept(
            (connection) => {
              const name = connection.params['document'] as string
              const document = documents.get(name) ?? new SharedDoc()
              documents.set(name, document)
              document.setupWSConnection(connection)
            },
            { hub: false },
          ),
        ),
      )
    })

  const edit = (port: number, name = 'shared') => {
    const doc = new Y.Doc()
    const provider: Provider = new WebsocketProvider(`ws://127.0.0.1:${port}/yjs`, name, doc, {
      WebSocketPolyfill: WebSocket,
      disableBc: true,
    })
    editors.push({ provider, doc })
    return { doc, text: doc.getText('text'), map: doc.getMap('map'), provider }
  }

  const synced = ({ provider }: { provider: Provider }): Promise<void> =>
    provider.synced
      ? Promise.resolve()
      : new Promise((resolve) => provider.on('sync', (state) => state && resolve()))

  it('merges simultaneous edits of two y-websocket clients', async () => {
    const { port, errors } = await start()
    const ada = edit(port)
    const bob = edit(port)
    await Promise.all([synced(ada), synced(bob)])
    ada.text.insert(0, 'from ada, ')
    bob.text.insert(0, 'from bob, ')
    ada.map.set('colour', 'red')
    bob.map.set('colour', 'blue')
    await eventually(
      () => ada.text.length === 20 && bob.text.length === 20,
      'both edits at both clients',
    )
    await eventually(() => ada.map.get('colour') === bob.map.get('colour'), 'one colour')
    expect(String(ada.text)).to.equal(String(bob.text))
    expect(String(documents.get('shared')?.doc.getText('text'))).to.equal(String(ada.text))
    expect(errors).to.deep.equal([])
  })

  it('sends a late client the document, with edits from before the connection', async () => {
    const { port } = await start()
    const ada = edit(port)
    ada.text.insert(0, 'written before the socket was open')
    await synced(ada)
    ada.text.insert(0, 'x'.repeat(200_000))
    const late = edit(port)
    await synced(late)
    await eventually(() => late.text.length === ada.text.length, 'the whole text')
    expect(String(late.text)).to.equal(String(ada.text))
  })

  it('keeps documents with different names apart', async () => {
    const { port } = await start()
    const one = edit(port, 'one')
    const other = edit(port, 'other')
    await Promise.all([synced(one), synced(other)])
    one.text.insert(0, 'only here')
    const reader = edit(port, 'one')
    await synced(reader)
    await eventually(() => String(reader.text) === 'only here')
    expect(String(other.text)).to.equal('')
  })

  it('shares awareness with other clients until the connection ends', async () => {
    const { port } = await start()
    const ada = edit(port)
    const bob = edit(port)
    await Promise.all([synced(ada), synced(bob)])
    ada.provider.awareness.setLocalStateField('name', 'ada')
    const { clientID } = ada.provider.awareness
    const states = (): Map<number, Record<string, unknown>> => bob.provider.awareness.getStates()
    await eventually(() => states().get(clientID)?.['name'] === 'ada', 'the name at the other')
    ada.provider.destroy()
    await eventually(() => !states().has(clientID), 'the end of the state')
    await eventually(() => documents.get('shared')?.size === 1, 'one connection left')
  })
})
