// yjs-client.mjs
import { WebSocket } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

const url = `ws://localhost:${process.env.PORT ?? 3000}/yjs`
const options = { WebSocketPolyfill: WebSocket, disableBc: true }
const ann = new Y.Doc()
const bob = new Y.Doc()
const providers = [ann, bob].map((doc) => new WebsocketProvider(url, 'notes', doc, options))

bob.getText('body').observe((event) => {
  console.log(event.target.toString())
  for (const provider of providers) provider.destroy()
  for (const doc of [ann, bob]) doc.destroy()
})
providers[0].once('sync', () => ann.getText('body').insert(0, 'hello bob'))
