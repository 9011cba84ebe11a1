/** Members of rooms that get messages, and connections that order them. */
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { textFrame } from '../lib/raw-client.mjs'
import {
  cpuSince,
  HistorySocket,
  isProtocol,
  numberIn,
  objectIn,
  PLAIN,
  percentiles,
  RESUMES,
  resumeFrame,
} from './socket.mjs'

const PATIENCE = 15_000
/** Messages that may be in flight. */
const RING = 1 << 15
const BASE = 100_000

let users = 0

/** The members of one group of rooms, on all instances. Each is in every room, and checks the order in each. */
export class Group {
  #name
  #rooms
  #size
  #members = []
  #orders
  #next = BASE
  #left = new Uint16Array(RING)
  #sentAt = new Float64Array(RING)
  #latencies = null
  #deliveries = 0
  #inFlight = 0
  #errors = {}
  #onDone = () => {}
  #turn = 0

  constructor({ name, rooms = 1, size = 100 }) {
    this.#name = name
    this.#rooms = rooms
    this.#size = size
  }

  async open({ instances, each, resumes }) {
    this.#orders = instances.map(({ orders }) => {
      const socket = connect({ port: orders, host: '127.0.0.1', noDelay: true })
      return socket.on('error', () => {})
    })
    for (const { port } of instances) {
      for (let i = 0; i < each; i += 20) {
        const batch = Array.from({ length: Math.min(20, each - i) }, () =>
          this.#open(port, resumes),
        )
        await Promise.all(batch)
      }
    }
    await this.#settle()
  }

  /**
   * Publishes for a while: keeps this many orders in flight, each of `burst` messages to publish in one turn, by turns
   * of the instances; or publishes at a fixed rate, with latencies.
   */
  async publish({ inFlight = 1, burst = 1, perSecond, ms }) {
    this.#reset()
    const [at, cpu] = [performance.now(), cpuSince()]
    const end = at + ms
    let published = 0
    const next = () => {
      if (performance.now() >= end) return
      this.#order(burst)
      published += burst
    }
    if (perSecond) {
      this.#latencies = []
      published = await this.#paced(at, perSecond, end)
    } else {
      let inBurst = 0
      this.#onDone = () => {
        if (++inBurst < burst) return
        inBurst = 0
        next()
      }
      for (let i = 0; i < inFlight; i++) next()
    }
    await this.#arrived()
    const latencies = this.#latencies
    this.#latencies = null
    this.#onDone = () => {}
    return {
      published,
      deliveries: this.#deliveries,
      wallUs: (performance.now() - at) * 1000,
      clientUs: cpuSince(cpu),
      errors: this.#errors,
      ...(latencies && percentiles(latencies)),
    }
  }

  /** Each member sends a request, and the next when it has the reply. */
  async ask({ type, ms }) {
    this.#reset()
    const [at, cpu] = [performance.now(), cpuSince()]
    const frame = textFrame(JSON.stringify({ type, id: 1, data: { room: 'lobby' } }))
    let replies = 0
    await Promise.all(
      this.#members.map(
        (member) =>
          new Promise((resolve) => {
            member.replied = () => {
              replies++
              if (performance.now() >= at + ms) resolve()
              else member.socket.write(frame)
            }
            member.socket.write(frame)
          }),
      ),
    )
    return {
      replies,
      wallUs: (performance.now() - at) * 1000,
      clientUs: cpuSince(cpu),
      errors: this.#errors,
    }
  }

  close() {
    for (const { socket } of this.#members) socket.destroy()
    for (const socket of this.#orders) socket.destroy()
    this.#members = []
  }

  #open(port, resumes) {
    return new Promise((resolve, reject) => {
      const member = { expected: new Uint32Array(this.#rooms), replied: () => {} }
      const path = `/in/${this.#name}?rooms=${this.#rooms}&user=m${++users}`
      member.socket = new HistorySocket(port, path, resumes ? RESUMES : PLAIN, {
        opened: (socket) => resumes && socket.write(resumeFrame()),
        text: (_, bytes, start, size) => {
          if (!isProtocol(bytes, start)) this.#message(member, numberIn(bytes, start, size))
          else if (bytes.latin1Slice(start + 15, start + 20) === 'reply') member.replied()
          else if (objectIn(bytes, start, size).type === 'koaws:welcome') resolve()
        },
        wrong: (reason) => {
          this.#fail(reason)
          reject(new Error(reason))
        },
        closed: () => {
          this.#fail('a connection closed')
          reject(new Error('a connection closed'))
        },
      })
      this.#members.push(member)
    })
  }

  /** Publishes to each room until all members have everything. The order of two instances is not compared yet. */
  async #settle() {
    for (let i = 0; i < 10; i++) {
      this.#left.fill(0)
      this.#inFlight = 0
      for (const _ of this.#orders) this.#order(this.#rooms)
      for (let j = 0; j < 50 && this.#inFlight > 0; j++) await sleep(20)
      if (this.#inFlight > 0) continue
      for (const { expected } of this.#members) expected.fill(0)
      return
    }
    throw new Error(`${this.#name}: messages do not arrive everywhere`)
  }

  #reset() {
    this.#deliveries = 0
    this.#errors = {}
  }

  #order(count) {
    const s = this.#next
    this.#next += count
    const now = performance.now()
    for (let i = s; i < s + count; i++) {
      this.#left[i % RING] = this.#members.length
      this.#sentAt[i % RING] = now
    }
    this.#inFlight += count
    const orders = this.#orders[this.#turn++ % this.#orders.length]
    orders.write(`${this.#name},${s},${count},${this.#rooms},${this.#size}\n`)
  }

  #message(member, s) {
    const room = s % this.#rooms
    const { expected } = member
    if (expected[room] !== 0 && expected[room] !== s)
      this.#fail(`${s} in place of ${expected[room]}`)
    expected[room] = s + this.#rooms
    this.#deliveries++
    this.#latencies?.push(performance.now() - this.#sentAt[s % RING])
    if (--this.#left[s % RING] > 0) return
    this.#inFlight--
    this.#onDone()
  }

  #fail(reason) {
    this.#errors[reason] = (this.#errors[reason] ?? 0) + 1
  }

  #paced(at, perSecond, end) {
    let published = 0
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        const now = performance.now()
        while (published < ((now - at) * perSecond) / 1000) {
          this.#order(1)
          published++
        }
        if (now < end) return
        clearInterval(timer)
        resolve(published)
      }, 1)
    })
  }

  /** Resolves when nothing is in flight, or nothing has come for long. */
  async #arrived() {
    let seen = this.#deliveries
    let since = performance.now()
    while (this.#inFlight > 0) {
      await sleep(2)
      if (this.#deliveries !== seen) {
        seen = this.#deliveries
        since = performance.now()
      } else if (performance.now() - since > PATIENCE) {
        this.#fail('nothing came for 15 s')
        this.#inFlight = 0
      }
    }
  }
}
