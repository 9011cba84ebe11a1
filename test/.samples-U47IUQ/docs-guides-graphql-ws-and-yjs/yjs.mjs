// yjs.mjs
import Router from '@koa/router'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as sync from 'y-protocols/sync'
import * as Y from 'yjs'

const SYNC = 0
const documents = new Map()

/** A message of the sync protocol, or null when there is nothing to say. */
function syncMessage(write) {
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, SYNC)
  write(encoder)
  return encoding.length(encoder) > 1 ? encoding.toUint8Array(encoder) : null
}

function open(name) {
  const known = documents.get(name)
  if (known) return known
  const doc = new Y.Doc()
  const members = new Set()
  doc.on('update', (update, origin) => {
    const message = syncMessage((encoder) => sync.writeUpdate(encoder, update))
    for (const member of members) if (member !== origin) member.send(message)
  })
  documents.set(name, { doc, members })
  return documents.get(name)
}

function speakYjs(connection, ctx) {
  const { doc, members } = open(ctx.params.room)
  members.add(connection)
  connection.on('close', () => members.delete(connection))
  connection.on('message', (data) => {
    const decoder = decoding.createDecoder(new Uint8Array(data))
    if (decoding.readVarUint(decoder) === SYNC) {
      const answer = syncMessage((encoder) => sync.readSyncMessage(decoder, encoder, doc, connection))
      if (answer) connection.send(answer)
    } else {
      for (const member of members) if (member !== connection) member.send(data) // who is there, cursors
    }
  })
  connection.send(syncMessage((encoder) => sync.writeSyncStep1(encoder, doc)))
}

const app = new Koa()
app.use(koaWs({ maxPayload: 16 * 1024 * 1024 })) // a whole document may come in one message
const router = new Router()
router.get('/yjs/:room', accept(speakYjs))
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
