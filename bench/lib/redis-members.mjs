import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { PUBLISHER_BASE, SEQUENCE_BASE, templateOf } from './message.mjs'
import { RawMember } from './redis-member.mjs'
import { serve } from './rpc.mjs'

/** Messages of one publisher that may be in flight. */
const RING = 4096
/** One in this many messages of a member is compared byte by byte. */
const SAMPLE = 16
const ZERO = 48
/** The longest delivery time, in milliseconds. */
const PATIENCE = 10_000

/** All members of all instances, and the connections that send the orders to publish. */
class Members {
  #members = []
  #publishers = []
  #errors = 0
  #reasons = {}
  #wait = null
  #template
  #seen = 0
  // The current workload.
  #deliveries = 0
  #inFlight = 0
  #latencies = null
  #onDone = null

  async open({ instances, each, kind, size }) {
    const [before, after] = kind === 'ws' ? ['', ''] : ['42["m",', '']
    const { bytes, publisherAt, sequenceAt } = templateOf(size, before, after)
    this.#template = { bytes: Buffer.from(bytes, 'hex'), publisherAt, sequenceAt, size }
    for (const { orders } of instances) {
      const socket = connect({ port: orders, host: '127.0.0.1', noDelay: true })
      socket.on('error', () => {})
      this.#publishers.push({
        socket,
        next: SEQUENCE_BASE,
        lines: '',
        left: new Uint16Array(RING),
        sentAt: new Float64Array(RING),
      })
    }
    let left = each * instances.length
    let failed = null
    for (const { port } of instances) {
      for (let i = 0; i < each; i += 50) {
        const count = Math.min(50, each - i)
        await new Promise((resolve, reject) => {
          let waiting = count
          const timer = setTimeout(
            () => reject(new Error(`${waiting} members do not open`)),
            20_000,
          )
          const owner = {
            opened: () => {
              left--
              if (--waiting > 0) return
              clearTimeout(timer)
              resolve()
            },
            wrong: (reason) => {
              failed ??= reason
              this.#fail(reason)
            },
            closed: () => this.#fail('a connection closed'),
            message: (...given) => this.#message(...given),
          }
          for (let j = 0; j < count; j++) {
            this.#members.push(new RawMember(port, kind, instances.length, owner))
          }
        })
      }
    }
    if (left > 0 || failed) throw new Error(`not all members opened: ${failed}`)
    await this.#settle()
    return { members: this.#members.length }
  }

  /** Publishes until the messages of each instance arrive at all others. */
  async #settle() {
    const deadline = performance.now() + PATIENCE * 2
    const told = this.#publishers.map(({ next }) => next)
    const arrived = ({ expected }) => expected.every((s, p) => s === told[p] + 1)
    while (performance.now() < deadline) {
      this.#publishers.forEach((publisher, p) => {
        told[p] = publisher.next
        this.#publish(p, 1)
      })
      const again = performance.now() + PATIENCE / 5
      while (performance.now() < again) {
        await sleep(20)
        if (this.#members.every(arrived)) return this.#reset()
      }
    }
    throw new Error('what is published does not arrive everywhere')
  }

  /** A missing message is an error from now on. */
  #reset() {
    for (const { left } of this.#publishers) left.fill(0)
    for (const { expected } of this.#members) {
      this.#publishers.forEach(({ next }, p) => {
        expected[p] = next
      })
    }
    this.#inFlight = 0
    this.#deliveries = 0
    this.#errors = 0
    this.#reasons = {}
  }

  /**
   * Keeps this many messages in flight per publisher, with `burst` of them in one turn of the
   * instance.
   */
  async window({ window, burst = 1, ms, turns = false }) {
    const began = this.#begin()
    const end = performance.now() + ms
    const count = this.#publishers.length
    let published = 0
    const next = (p) => {
      if (performance.now() >= end) return
      this.#publish(p, burst)
      published += burst
    }
    let inBurst = 0
    await this.#until(
      (p) => {
        if (!turns) return next(p)
        // One burst at a time: the next instance publishes when every member has the last message.
        if (++inBurst < burst) return
        inBurst = 0
        next((p + 1) % count)
      },
      () => {
        if (turns) next(0)
        else for (let i = 0; i < window; i++) next(i % count)
      },
    )
    return this.#end(began, published)
  }

  /** Publishes at a fixed rate, by turns of the instances. */
  async rate({ perSecond, ms }) {
    const began = this.#begin()
    const published = Math.round((perSecond * ms) / 1000)
    this.#latencies = new Float64Array(published * this.#members.length)
    let i = 0
    await this.#until(
      () => {},
      () => {
        const timer = setInterval(() => {
          const due = ((performance.now() - began.at) * perSecond) / 1000
          while (i < published && i < due) this.#publish(i++ % this.#publishers.length, 1)
          if (i >= published) clearInterval(timer)
        }, 1)
      },
      () => i >= published,
    )
    const sorted = this.#latencies.subarray(0, this.#deliveries).sort()
    this.#latencies = null
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
    return { ...this.#end(began, published), p50: at(0.5), p99: at(0.99), max: at(1) }
  }

  close() {
    const members = this.#members
    this.#members = []
    for (const member of members) member.destroy()
    for (const { socket } of this.#publishers) socket.destroy()
    this.#publishers = []
    return {}
  }

  #begin() {
    const stray = { errors: this.#errors, reasons: this.#reasons }
    this.#reset()
    const { user, system } = process.cpuUsage()
    return { at: performance.now(), cpu: user + system, stray }
  }

  #end({ at, cpu, stray }, published) {
    const { user, system } = process.cpuUsage()
    const expected = published * this.#members.length
    if (this.#deliveries !== expected) {
      this.#fail(`${this.#deliveries} of ${expected} delivered`)
    }
    return {
      published,
      deliveries: this.#deliveries,
      wallUs: (performance.now() - at) * 1000,
      clientUs: user + system - cpu,
      errors: this.#errors + stray.errors,
      reasons: { ...stray.reasons, ...this.#reasons },
    }
  }

  /** Resolves when all messages have arrived, or the last one is overdue. */
  #until(onDone, begin, isOver = () => true) {
    return new Promise((resolve) => {
      let seen = -1
      const stalled = setInterval(() => {
        if (this.#deliveries === seen) {
          this.#fail('nothing came for 10 s')
          finish()
        }
        seen = this.#deliveries
      }, PATIENCE)
      const finish = () => {
        clearInterval(stalled)
        this.#onDone = null
        this.#wait = null
        resolve()
      }
      this.#wait = () => {
        if (this.#inFlight === 0 && isOver()) finish()
      }
      this.#onDone = onDone
      begin()
    })
  }

  #publish(p, count) {
    const publisher = this.#publishers[p]
    const { next, left, sentAt } = publisher
    const now = performance.now()
    for (let s = next; s < next + count; s++) {
      left[s % RING] = this.#members.length
      sentAt[s % RING] = now
    }
    publisher.next += count
    this.#inFlight += count
    // All orders of one turn leave in one write.
    if (publisher.lines === '') {
      setImmediate(() => {
        publisher.socket.write(publisher.lines)
        publisher.lines = ''
      })
    }
    publisher.lines += `${next},${count},${this.#template.size}\n`
  }

  #message(member, bytes, start, size) {
    const { publisherAt, sequenceAt, bytes: template } = this.#template
    if (size < template.length) return this.#fail('a message that is too short')
    const p = digits(bytes, start + publisherAt, 4) - PUBLISHER_BASE
    const s = digits(bytes, start + sequenceAt, 9)
    const publisher = this.#publishers[p]
    if (publisher === undefined) return this.#fail('a message of nobody')
    if (this.#seen++ % SAMPLE === 0) this.#compare(bytes, start, size)
    const { expected } = member
    if (expected[p] !== s && this.#onDone !== null) {
      this.#fail(s < expected[p] ? 'twice or late' : 'a gap')
      if (s < expected[p]) return
    }
    expected[p] = s + 1
    if (this.#onDone === null) return
    this.#deliveries++
    if (this.#latencies !== null) {
      this.#latencies[this.#deliveries - 1] = performance.now() - publisher.sentAt[s % RING]
    }
    if (--publisher.left[s % RING] > 0) return
    this.#inFlight--
    this.#onDone(p)
    if (this.#inFlight === 0) this.#wait()
  }

  #compare(bytes, start, size) {
    const { publisherAt, sequenceAt, bytes: template } = this.#template
    bytes.copy(template, publisherAt, start + publisherAt, start + publisherAt + 4)
    bytes.copy(template, sequenceAt, start + sequenceAt, start + sequenceAt + 9)
    if (template.compare(bytes, start, start + template.length) !== 0) this.#fail('other bytes')
    if (size > template.length + 64) this.#fail('a message that is too long')
  }

  #fail(reason) {
    this.#errors++
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1
  }
}

function digits(bytes, at, count) {
  let value = 0
  for (let i = at; i < at + count; i++) value = value * 10 + bytes[i] - ZERO
  return value
}

let members = null

serve({
  async open(given) {
    members = new Members()
    return members.open(given)
  },
  window: (given) => members.window(given),
  rate: (given) => members.rate(given),
  close() {
    const result = members?.close() ?? {}
    members = null
    return result
  },
})
