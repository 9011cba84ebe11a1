/** The two load clients of scale.mjs behind one interface. */
import { Http2Load, hex, Load } from './load.mjs'
import { ACCEPT, plainRequest } from './request.mjs'

/** WebSockets over HTTP/2, `perSession` on each connection. */
export class Over2 {
  step = 10_000
  #load = new Http2Load(1)
  #isOpen = false
  #how

  constructor({ count, perSession, inFlight }) {
    this.#how = { sessions: Math.ceil(count / perSession), streams: perSession, inFlight }
  }

  /** Opens more, up to this number in all. */
  async openTo(port, limit) {
    const first = { port, path: '/in/', ...this.#how, limit }
    const { opened, refused } = await this.#load.command(
      ...(this.#isOpen ? ['more', { limit }] : ['open', first]),
    )
    this.#isOpen = true
    if (opened !== limit) throw new Error(`${opened} opened, ${refused} refused`)
  }

  async read() {
    const { pings, closed, cpuNs } = await this.#load.command('read')
    return { pings, closed, cpuNs }
  }

  /** Echoes of a new client, on its own connection. */
  probe(_port, ms, intervalUs) {
    return this.#load.command('probe', { ms, intervalUs })
  }

  /** Resolves when all of the messages have come. */
  async awaitMessages(messages, ms) {
    await this.#load.command('mark')
    return { done: this.#load.command('await', { messages, ms }) }
  }

  gone(ms) {
    return this.#load.command('gone', { ms })
  }

  stop() {
    return this.#load.stop()
  }
}

/** WebSockets over HTTP/1.1, with or without TLS, each on its connection. */
export class Over1 {
  step = 1000
  #load = new Load(1)
  // A separate process, so that answers to pings do not delay the echoes.
  #probe = new Load(1)
  #open = 0
  #tls

  constructor({ tls }) {
    this.#tls = tls
  }

  async #openSome(load, group, port, first, count) {
    const request = plainRequest(port, '/in/000000')
    await load.open(group, {
      ...{ port, count, first, sources: 8, timeoutMs: 120_000, tls: this.#tls },
      ...{ request: hex(request), indexAt: request.indexOf('000000'), expect: hex(ACCEPT) },
    })
  }

  async openTo(port, limit) {
    await this.#openSome(this.#load, `from ${this.#open}`, port, this.#open, limit - this.#open)
    this.#open = limit
  }

  async read() {
    const { pings, closed, clientCpuNs } = await this.#load.command('read')
    return { pings, closed, cpuNs: clientCpuNs }
  }

  async probe(port, ms, intervalUs) {
    await this.#openSome(this.#probe, 'probe', port, this.#open, 1)
    const began = process.hrtime.bigint()
    const echo = await this.#probe.command('probe', { group: 'probe', ms, intervalUs })
    const tookNs = Number(process.hrtime.bigint() - began)
    await this.#probe.command('drop')
    if (echo.unanswered > 0) throw new Error(`${echo.unanswered} echoes without an answer`)
    return { p50Ns: echo.p50Ns, p99Ns: echo.p99Ns, maxNs: echo.maxNs, tookNs }
  }

  async awaitMessages(messages, ms) {
    await this.#load.command('mark')
    return { done: this.#load.command('await', { messages, ms }) }
  }

  gone(ms) {
    return this.#load.command('gone', { ms })
  }

  async stop() {
    await Promise.all([this.#load.stop(), this.#probe.stop()])
  }
}
