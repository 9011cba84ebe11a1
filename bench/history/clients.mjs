/** The process of all clients of history.mjs. */
import { performance } from 'node:perf_hooks'
import { serve } from '../lib/rpc.mjs'
import { Group } from './group.mjs'
import { drop, prepare, recover, returns } from './returning.mjs'
import { cpuSince, HistorySocket, objectIn, PLAIN } from './socket.mjs'

const groups = new Map()

/** Handshakes of clients without history, each with its welcome and an abrupt end. */
async function visits({ port, ms, inFlight = 16 }) {
  const [at, cpu] = [performance.now(), cpuSince()]
  const errors = {}
  let done = 0
  const visit = () =>
    new Promise((resolve) => {
      const wrong = (reason) => {
        errors[reason] = (errors[reason] ?? 0) + 1
        resolve()
      }
      const socket = new HistorySocket(port, '/in/plain', PLAIN, {
        text: (_, bytes, start, size) => {
          if (objectIn(bytes, start, size).type !== 'koaws:welcome') return
          done++
          socket.destroy()
          resolve()
        },
        wrong,
        closed: () => {},
      })
    })
  const worker = async () => {
    while (performance.now() < at + ms) await visit()
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return { visits: done, wallUs: (performance.now() - at) * 1000, clientUs: cpuSince(cpu), errors }
}

serve({
  prepare,
  recover,
  drop,
  returns,
  visits,
  async join({ key, group, members }) {
    const made = new Group(group)
    groups.set(key, made)
    await made.open(members)
  },
  publish: ({ key, ...mode }) => groups.get(key).publish(mode),
  ask: ({ key, ...mode }) => groups.get(key).ask(mode),
  leave({ key }) {
    groups.get(key).close()
    groups.delete(key)
  },
})
