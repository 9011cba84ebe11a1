/**
 * The process of the anonymous clients: each connection is opened, presents its positions, waits for what the server
 * says of the room that it enters, and stays. The oldest end when more than `most` are open.
 */
import { serve } from '../lib/rpc.mjs'
import { HistorySocket, isPlaced, objectIn, PLAIN, RESUMES, resumeFrame } from './socket.mjs'

/** In one `koaws:resume`, as many as the protocol allows. */
const POSITIONS = 128

/** What a connection offers and presents, how many rooms it enters, and the message after which the next one opens. */
const KINDS = {
  plain: { offers: PLAIN, presents: 0, rooms: 1, last: 'koaws:welcome' },
  resumes: { offers: RESUMES, presents: POSITIONS, rooms: 1, last: 'koaws:recovered' },
  'plain, 128 rooms': { offers: PLAIN, presents: 0, rooms: POSITIONS, last: 'koaws:welcome' },
  'resumes, 128 rooms': {
    offers: RESUMES,
    presents: POSITIONS,
    rooms: POSITIONS,
    last: 'koaws:recovered',
  },
}

let isOn = false
let open = new Set()
const counts = { opened: 0, recovered: 0, refused: 0, failed: 0 }

/** One connection. Resolves when the server has answered. */
function connection(port, { offers, rooms, last }, presents) {
  return new Promise((resolve) => {
    let left = last === 'koaws:welcome' ? 1 : rooms
    const failed = () => {
      if (left > 0) counts.failed++
      left = 0
      open.delete(socket)
      resolve()
    }
    const socket = new HistorySocket(port, `/in/chat?rooms=${rooms}`, offers, {
      opened: () => presents && socket.write(presents),
      text: (_, bytes, start, size) => {
        if (left <= 0 || isPlaced(bytes, start)) return
        const { type, data } = objectIn(bytes, start, size)
        if (type === 'koaws:recovered') counts[data.recovered ? 'recovered' : 'refused']++
        if (type !== last || --left > 0) return
        counts.opened++
        resolve()
      },
      wrong: failed,
      closed: failed,
    })
    open.add(socket)
  })
}

async function worker(port, kind, presents, most) {
  while (isOn) {
    await connection(port, kind, presents)
    while (open.size > most) {
      const [oldest] = open
      open.delete(oldest)
      oldest.destroy()
    }
  }
}

serve({
  start({ kind, port, positions, inFlight, most }) {
    isOn = true
    const presented = Object.fromEntries(positions.map((one, i) => [`chat:${i}`, one]))
    const presents = KINDS[kind].presents > 0 ? resumeFrame(presented) : null
    for (let i = 0; i < inFlight; i++) void worker(port, KINDS[kind], presents, most)
  },
  stop() {
    isOn = false
    const done = { ...counts, open: open.size }
    for (const socket of open) socket.destroy()
    open = new Set()
    return done
  },
})
