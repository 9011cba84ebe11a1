// Examines a WebSocket address step by step, and reports what it finds.
import { isLoopback, type Target } from '../target.ts'
import { printable } from '../terminal.ts'
import { type Dialed, dial, findAddresses } from './dial.ts'
import { type Comparison, explain, proxyOf, proxyText } from './explain.ts'
import { type Finding, finding } from './findings.ts'
import { askHttp2, http2Finding } from './http2.ts'
import { type Accepted, type Outcome, plainRequest, probe } from './probe.ts'
import { compressionResult, rejectedResult, subprotocolResult, tlsResult } from './results.ts'
import type { Sockets } from './sockets.ts'
import {
  type Checked,
  checkClose,
  checkIdle,
  checkPings,
  checkRestart,
  checkSize,
  ms,
} from './talk.ts'
import type { DoctorOptions, Listener, Row } from './types.ts'
import type { Wire } from './wire.ts'

/** The subprotocol that is offered when the command line names none. */
const DEFAULT_PROTOCOL = 'koaws.v1'
/** An origin that no server can have allowed by name: RFC 6761 reserves `.invalid`. */
const OTHER_ORIGIN = 'https://other-page.invalid'

/** Milliseconds for the close of a connection that is not needed any more. */
const LEAVING = 1_000

/** The first connection, and the handshake that opens more like it. */
interface Opened {
  readonly wire: Wire
  readonly origin: string | null
  readonly protocols: readonly string[]
}

/** One run over one target. */
export class Examination {
  readonly #options: DoctorOptions
  readonly #target: Target
  readonly #sockets: Sockets
  readonly #listener: Listener

  constructor(options: DoctorOptions, sockets: Sockets, listener: Listener) {
    this.#options = options
    this.#target = options.target
    this.#sockets = sockets
    this.#listener = listener
  }

  async run(): Promise<void> {
    if (!(await this.#reachable())) return
    const first = await this.#open()
    if (!first) return
    // The first connection would be silent during the other handshakes.
    this.#checked('Ping', await checkPings(first.wire, this.#options.patience))
    this.#checked('Close', await checkClose(first.wire, this.#options.patience))
    await this.#origins(first)
    if (this.#target.secure) await this.#http2(first.protocols)
    await this.#talk(first)
  }

  /** Checks name, port and certificate before anything is sent. */
  async #reachable(): Promise<boolean> {
    const target = this.#target
    const addresses = await findAddresses(target, this.#sockets)
    if ('fault' in addresses) return this.#fail('DNS', 'no address', addresses.fault)
    if (addresses[0] === target.host) this.#row('DNS', 'info', 'not needed: the host is an address')
    else this.#row('DNS', 'ok', addresses.slice(0, 4).join(', '), [], { addresses })
    const dialed = await dial(target, this.#sockets)
    if ('fault' in dialed) {
      const check = dialed.fault.id === 'connect-failed' ? 'TCP' : 'TLS'
      return this.#fail(check, 'no connection', dialed.fault)
    }
    dialed.socket.destroy()
    this.#row('TCP', 'ok', `connected to port ${target.port} in ${ms(dialed.tcp)}`, [], {
      ms: dialed.tcp,
    })
    return this.#security(dialed)
  }

  #security({ tls }: Dialed): boolean {
    const target = this.#target
    if (!tls) {
      if (isLoopback(target)) this.#row('TLS', 'info', 'none: a plain ws:// address')
      else
        this.#row('TLS', 'ok', 'none', [
          finding(
            'plain-ws',
            'The address is ws://: pages over https cannot connect, and some networks cut such connections.',
          ),
        ])
      return true
    }
    this.#checked('TLS', tlsResult(tls))
    const broken = tls.problems.some(({ level }) => level === 'error')
    if (!broken || this.#options.insecure) return true
    this.#row(
      'Upgrade',
      'skipped',
      'not tried: no request goes to a server that is not trusted (--insecure)',
    )
    return false
  }

  /** Opens the first WebSocket, or explains why none opens. */
  async #open(): Promise<Opened | null> {
    const { origin } = this.#target
    const { outcome, protocols } = await this.#probeAny(origin)
    if (outcome.kind === 'accepted') {
      this.#accepted(outcome, protocols)
      return { wire: outcome.wire, origin, protocols }
    }
    const rejected = outcome.kind === 'rejected'
    const other = rejected && outcome.status >= 400 ? await this.#probeAny(null) : null
    this.#rejected(outcome, {
      withoutOrigin: other?.outcome ?? null,
      plain:
        rejected && outcome.status === 400 ? await plainRequest(this.#target, this.#sockets) : null,
      unnoticed: rejected && outcome.status === 404 && (await this.#isUnnoticed(origin)),
      offered: protocols,
    })
    if (other?.outcome.kind !== 'accepted') return null
    // The rest is worth knowing too.
    return { wire: other.outcome.wire, origin: null, protocols: other.protocols }
  }

  /** Opens a WebSocket; without --protocol, also where koaws.v1 is not spoken. */
  async #probeAny(
    origin: string | null,
  ): Promise<{ outcome: Outcome; protocols: readonly string[] }> {
    const { protocols: asked } = this.#target
    const protocols = asked.length > 0 ? asked : [DEFAULT_PROTOCOL]
    const outcome = await this.#probe(origin, protocols)
    if (asked.length > 0 || !declines(outcome)) return { outcome, protocols }
    await leave(outcome)
    return { outcome: await this.#probe(origin, []), protocols: [] }
  }

  /** Returns whether a handshake of a wrong version gets 404 too: no WebSocket server saw it. */
  async #isUnnoticed(origin: string | null): Promise<boolean> {
    const variant = { origin, protocols: [], version: '99' }
    const outcome = await probe(this.#target, this.#sockets, variant)
    await leave(outcome)
    return outcome.kind === 'rejected' && outcome.status === 404
  }

  #rejected(outcome: Exclude<Outcome, Accepted>, comparison: Comparison): void {
    const found = explain(this.#target, outcome, comparison)
    if (outcome.kind === 'rejected') {
      const { text, data } = rejectedResult(this.#target, outcome)
      this.#row('Upgrade', 'ok', text, found, data)
    } else if (outcome.kind === 'ended' || outcome.kind === 'invalid')
      this.#row('Upgrade', 'ok', '101, and not usable', found, { status: 101 })
    else this.#row('Upgrade', 'ok', 'no HTTP answer', found, { status: null })
  }

  #accepted({ answer, ms: time }: Accepted, offered: readonly string[]): void {
    const proxy = proxyOf(this.#target, answer, '')
    const by = proxyText(proxy)
    this.#row('Upgrade', 'ok', `101${by} in ${ms(time)}`, [], {
      status: 101,
      ms: time,
      proxy: proxy?.name ?? null,
    })
    this.#checked('Subprotocol', subprotocolResult(this.#target, answer, offered))
    this.#checked('Compression', compressionResult(this.#target, answer))
  }

  /** Tries the same handshake from another page, and without a page. */
  async #origins({ protocols, origin }: Opened): Promise<void> {
    const other = await this.#tried(OTHER_ORIGIN, protocols)
    const none = origin === null ? 'accepted' : await this.#tried(null, protocols)
    const same = origin === null ? 'rejected' : 'accepted'
    const found =
      other === 'accepted'
        ? [
            finding(
              'origin-any',
              `A page of any other origin (${OTHER_ORIGIN}) may connect, with the cookies of your user.`,
            ),
          ]
        : []
    this.#row(
      'Origin',
      'ok',
      `${this.#target.origin} ${same}, another page ${other}, no page ${none}`,
      found,
      { same, other, none },
    )
  }

  async #tried(origin: string | null, protocols: readonly string[]): Promise<string> {
    const outcome = await this.#probe(origin, protocols)
    await leave(outcome)
    if (outcome.kind === 'rejected') return `rejected (${outcome.closeCode ?? outcome.status})`
    return outcome.kind === 'accepted' ? 'accepted' : 'without an answer'
  }

  async #http2(protocols: readonly string[]): Promise<void> {
    const facts = await askHttp2(this.#target, this.#sockets, protocols)
    const found = http2Finding(facts)
    const text = !facts.offered
      ? 'HTTP/1.1 only'
      : facts.connectProtocol
        ? `offered, with WebSockets over it (RFC 8441): ${facts.status ?? 'no answer'}`
        : 'offered, without WebSockets over it (RFC 8441): browsers use HTTP/1.1 for them'
    this.#row('HTTP/2', facts.connectProtocol ? 'ok' : 'info', text, found ? [found] : [], {
      ...facts,
    })
  }

  /** Checks that take a connection of their own. */
  async #talk(first: Opened): Promise<void> {
    const { size, sizeAsked, idle, restart, patience } = this.#options
    if (size === 0) this.#row('Message size', 'skipped', 'not tested')
    else
      await this.#onAnother('Message size', first, (one) =>
        checkSize(one, size, sizeAsked, patience),
      )
    if (idle === 0)
      this.#row(
        'Idle',
        'skipped',
        'not tested: --idle 75 finds the 60 s of nginx and load balancers',
      )
    else {
      await this.#onAnother('Idle', first, (one) => {
        this.#listener.waiting(`Waiting ${idle} s in silence …`)
        return checkIdle(one, idle)
      })
    }
    if (restart === 0)
      return this.#row('Restart', 'skipped', 'not tested: --restart 60 waits for you to restart')
    return this.#onAnother('Restart', first, (one) => {
      this.#listener.waiting(`Restart the server now: waiting ${restart} s for the close …`)
      return checkRestart(one, restart)
    })
  }

  async #onAnother(
    check: string,
    { protocols, origin }: Opened,
    run: (wire: Wire) => Promise<Checked>,
  ): Promise<void> {
    const outcome = await this.#probe(origin, protocols)
    if (outcome.kind !== 'accepted') {
      const found = explain(this.#target, outcome, {
        withoutOrigin: null,
        plain: null,
        unnoticed: false,
        offered: protocols,
      })
      return this.#row(check, 'ok', 'another connection was not accepted', found)
    }
    this.#checked(check, await run(outcome.wire))
    await leave(outcome)
  }

  #probe(origin: string | null, protocols: readonly string[]): Promise<Outcome> {
    return probe(this.#target, this.#sockets, { origin, protocols })
  }

  #checked(check: string, { state = 'ok', text, data, findings }: Checked): void {
    this.#row(check, state, text, findings, data)
  }

  #fail(check: string, text: string, found: Finding): false {
    this.#row(check, 'ok', text, [found])
    return false
  }

  #row(
    check: string,
    state: Row['state'],
    text: string,
    findings: readonly Finding[] = [],
    data: Row['data'] = {},
  ): void {
    const level = findings.some(({ level: one }) => one === 'error') ? 'error' : findings[0]?.level
    this.#listener.row({ check, state: level ?? state, text: printable(text, 400), data })
    for (const found of findings) this.#listener.found(found)
  }
}

/** Closes what was accepted, so that the log of the server has 1000 and not 1006. */
async function leave(outcome: Outcome): Promise<void> {
  if (outcome.kind === 'accepted') await outcome.wire.close(LEAVING)
}

/** Returns whether a server does not know the offered subprotocol. */
function declines(outcome: Outcome): boolean {
  if (outcome.kind === 'accepted') return !outcome.answer.headers.has('sec-websocket-protocol')
  if (outcome.kind === 'rejected') return /does not speak|subprotocol/i.test(outcome.text)
  return false
}
