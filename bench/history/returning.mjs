/** Clients that return: their resume, and the time until the last message that they missed. */
import { performance } from 'node:perf_hooks'
import {
  cpuSince,
  HistorySocket,
  isPlaced,
  numberIn,
  objectIn,
  percentiles,
  RESUMES,
  resumeFrame,
} from './socket.mjs'

const PATIENCE = 20_000
const BASE = 100_000
/** The messages of one in so many clients are compared. */
const SAMPLE = 8

let users = 0

/** One client, from its handshake to the last message that it missed. */
class Returning {
  #socket
  #missed
  #left = -1
  #sampled
  #next = BASE
  #resume
  #end
  #told = null
  #began = 0
  #atOnce
  welcomed

  /** @param atOnce whether it presents its position when it is open, and not at `resume()` */
  constructor(port, { number, position }, missed, atOnce = false) {
    const user = ++users
    this.#missed = missed
    this.#sampled = user % SAMPLE === 0
    this.#atOnce = atOnce
    this.#resume = resumeFrame({ [`chat:${number}`]: position })
    this.welcomed = new Promise((resolve, reject) => {
      this.#end = { resolve, reject }
    })
    this.#began = performance.now()
    const path = `/in/chat?room=${number}&user=u${user}`
    this.#socket = new HistorySocket(port, path, RESUMES, this)
  }

  /** Presents its position. Calls `told` with the milliseconds until the last message, or with an error. */
  resume(told) {
    this.#told = told
    if (this.#atOnce) return
    this.#began = performance.now()
    this.#socket.write(this.#resume)
  }

  destroy() {
    this.#told = null
    this.#socket.destroy()
  }

  opened() {
    if (this.#atOnce) this.#socket.write(this.#resume)
  }

  text(_socket, bytes, start, size) {
    if (isPlaced(bytes, start)) this.#message(bytes, start, size)
    else this.#protocol(objectIn(bytes, start, size))
  }

  wrong(reason) {
    this.#end.reject(new Error(reason))
    const told = this.#told
    this.#told = null
    told?.(null, reason)
  }

  closed() {
    this.wrong('the connection closed')
  }

  #protocol({ type, data }) {
    if (type === 'koaws:welcome') this.#end.resolve()
    else if (type !== 'koaws:recovered') this.wrong(`an unexpected ${type}`)
    else if (!data.recovered || data.missed !== this.#missed) this.wrong(JSON.stringify(data))
    else this.#left = this.#missed
  }

  #message(bytes, start, size) {
    if (this.#sampled && numberIn(bytes, start, size) !== this.#next++) {
      this.wrong(`a message is not ${this.#next - 1}`)
    }
    if (--this.#left !== 0) return
    const told = this.#told
    this.#told = null
    told?.(performance.now() - this.#began, null)
  }
}

/** Calls `next` for `count` things, `inFlight` at a time; each calls its argument when it is done. */
function closedLoop(count, inFlight, next) {
  return new Promise((resolve) => {
    let begun = 0
    let done = 0
    const one = () => {
      if (begun < count) next(begun++, ended)
    }
    const ended = () => {
      if (++done === count) resolve()
      else one()
    }
    for (let i = 0; i < Math.min(inFlight, count); i++) one()
  })
}

function openLoop(count, perSecond, next) {
  return new Promise((resolve) => {
    const began = performance.now()
    let begun = 0
    let done = 0
    const timer = setInterval(() => {
      const due = Math.min(count, ((performance.now() - began) * perSecond) / 1000)
      while (begun < due) next(begun++, () => ++done === count && resolve())
      if (begun === count) clearInterval(timer)
    }, 1)
  })
}

/** Runs a loop, and returns its figures. */
async function measured(run) {
  const times = []
  const errors = {}
  const note = (ended) => (ms, error) => {
    if (error === null) times.push(ms)
    else errors[error] = (errors[error] ?? 0) + 1
    ended()
  }
  const [at, cpu] = [performance.now(), cpuSince()]
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('recoveries do not end')), PATIENCE)
  })
  await Promise.race([run(note), late])
  clearTimeout(timer)
  const wallUs = (performance.now() - at) * 1000
  return { done: times.length, wallUs, clientUs: cpuSince(cpu), errors, ...percentiles(times) }
}

let prepared = []

/** Opens clients that have entered their room, and have not presented their position yet. */
export async function prepare({ port, count, rooms, missed }) {
  await closedLoop(count, 32, (i, ended) => {
    const client = new Returning(port, rooms[i % rooms.length], missed)
    prepared.push(client)
    client.welcomed.then(ended, ended)
  })
}

/** Lets them present it: so many at a time, or so many per second. */
export async function recover({ inFlight, perSecond }) {
  const clients = prepared
  const next = (note) => (i, ended) => clients[i].resume(note(ended))
  return measured((note) =>
    perSecond
      ? openLoop(clients.length, perSecond, next(note))
      : closedLoop(clients.length, inFlight, next(note)),
  )
}

/** Ends them: outside of the measurement. */
export function drop() {
  for (const client of prepared) client.destroy()
  prepared = []
}

/** Whole returns: the handshake, the resume, the missed messages, the end. */
export function returns({ port, count, rooms, missed, inFlight }) {
  return measured((note) =>
    closedLoop(count, inFlight, (i, ended) => {
      const client = new Returning(port, rooms[i % rooms.length], missed, true)
      client.welcomed.catch(() => {})
      const noted = note(ended)
      client.resume((ms, error) => {
        client.destroy()
        noted(ms, error)
      })
    }),
  )
}
