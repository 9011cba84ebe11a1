/**
 * The clients of one storm in a separate process, so that an attacker does not slow a bystander's
 * clock.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { serve } from '../lib/rpc.mjs'

let socket
const arrived = {}
let echoes = []
let echoing = false
const waiting = new Map()

const json = (message) => socket.send(JSON.stringify(message))

async function echoOn() {
  for (let n = 0; echoing; n++) {
    const began = performance.now()
    json({ type: 'echo', n })
    await new Promise((resolve) => waiting.set(n, resolve))
    echoes.push(performance.now() - began)
    await wait(5)
  }
}

serve({
  async open({ port, rooms = [] }) {
    socket = new WebSocket(`ws://127.0.0.1:${port}/`, { maxPayload: 64 * 1024 * 1024 })
    socket.on('message', (data, isBinary) => {
      if (isBinary || data.length > 1_000) {
        const kind = isBinary ? 'large' : 'burst'
        arrived[kind] = (arrived[kind] ?? 0) + 1
        return
      }
      const text = String(data)
      if (!text.startsWith('{')) {
        arrived[text] = (arrived[text] ?? 0) + 1
        return
      }
      const { n } = JSON.parse(text)
      const key = n ?? 'joined'
      waiting.get(key)?.()
      waiting.delete(key)
    })
    socket.on('close', (code) => {
      arrived.closed = code
    })
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    if (rooms.length > 0) {
      const joined = new Promise((resolve) => waiting.set('joined', resolve))
      json({ type: 'join', rooms })
      await joined
    }
  },
  startEcho() {
    echoes = []
    echoing = true
    void echoOn()
  },
  /** Milliseconds of each echo since the start; a pending echo counts with its age. */
  stopEcho() {
    echoing = false
    return echoes
  },
  takeEchoes: () => echoes.splice(0),
  async say({ to, count, every, group }) {
    for (let i = 0; i < count; i++) {
      json({ type: 'say', to, text: to, group })
      await wait(every)
    }
  },
  /** Sends short messages to rooms of 220 bytes, each to another room. */
  async names({ count, from }) {
    for (let i = 0; i < count; i++) {
      json({ type: 'say', to: `${from}:${i} `.padEnd(220, '.'), text: 'x' })
      if (i % 50 === 0) {
        await wait(5)
        while (socket.bufferedAmount > 256 * 1024) await wait(1)
      }
    }
    json({ type: 'echo', n: 'end' })
    await new Promise((resolve) => waiting.set('end', resolve))
  },
  /** Sends frames of a megabyte, with four in flight at any time. */
  async flood({ ms }) {
    const frame = Buffer.alloc(1_000_000, 'x')
    let sent = 0
    for (const end = Date.now() + ms; Date.now() < end && socket.readyState === 1; ) {
      socket.send(frame)
      sent++
      while (socket.bufferedAmount > 4 * frame.length) await wait(1)
      await new Promise(setImmediate)
    }
    return sent
  },
  burst: (sizes) => json({ type: 'burst', ...sizes }),
  arrived: () => arrived,
})
process.send({ id: 0, result: true })
