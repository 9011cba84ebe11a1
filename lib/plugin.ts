// Represents one call of `koaWs()`: its servers, its limits, its hub and its shutdown.

import type { Server } from 'node:http'
import type { Context } from 'koa'
import type { Connection } from './connection/connection.ts'
import { RuleBook } from './connection/rules.ts'
import { debugUpgrade } from './debug.ts'
import { warnOfFileLimit } from './hub/file-limit.ts'
import { HubCore, type HubOptions, type HubStatus } from './hub/hub.ts'
import { type CloseOptions, type Closing, shutDown } from './hub/shutdown.ts'
import { closeOnSignal, type SignalOptions } from './hub/signals.ts'
import { clientAddress } from './listener/address.ts'
import type { AdmissionHost } from './listener/admission.ts'
import { Limits } from './listener/limits.ts'
import { listen, listenerOf } from './listener/listener.ts'
import { hasNeighbours } from './listener/neighbours.ts'
import type { Passing } from './middleware/middleware.ts'
import { checkCloseOptions, checkSignalOptions, type ResolvedOptions } from './options.ts'
import { Acceptors } from './upgrade/acceptor.ts'
import type { Refusal } from './upgrade/handshake.ts'
import { PendingUpgrades } from './upgrade/host.ts'
import { assertServer, check, validate } from './validate.ts'

/** The options of `hub.attach()`. */
export interface AttachOptions {
  /**
   * Runs Koa first. When Koa answers with 404 or abandons the upgrade, the untouched socket goes to
   * the other `upgrade` listeners. Use it when these abort every path except their own. @default
   * false
   */
  gate?: boolean | undefined
}

/** The answer to new upgrades while the hub shuts down. */
const DRAINING: Refusal = {
  code: 'ERR_KOAWS_DRAINING',
  status: 503,
  message: 'This server is shutting down.',
  headers: { 'Retry-After': '5' },
}

export class Plugin implements AdmissionHost, Passing, Closing {
  readonly hub: HubCore
  readonly limits: Limits
  readonly acceptors: Acceptors
  readonly rules: RuleBook
  readonly pending: PendingUpgrades = new PendingUpgrades()
  readonly detached: WeakSet<Server> = new WeakSet()
  readonly servers: Set<Server> = new Set()
  /** Servers with a `close` listener of ours, including detached ones. */
  readonly #watched = new WeakSet<Server>()
  readonly #options: ResolvedOptions
  #draining: Refusal | null = null
  #closing: Promise<void> | null = null

  /** @param openHistory opens the history: that of the adapter, or one in this process */
  constructor(options: ResolvedOptions, openHistory: HubOptions['openHistory']) {
    this.#options = options
    this.hub = new HubCore({ ...options, openHistory })
    this.limits = new Limits(options)
    this.acceptors = new Acceptors(options)
    this.rules = new RuleBook(options)
  }

  // ---- what an upgrade asks

  get instance(): string {
    return this.hub.id
  }

  get host(): this {
    return this
  }

  get origin(): AdmissionHost['origin'] {
    return this.#options
  }

  get property(): string {
    return this.#options.property
  }

  get filter(): AdmissionHost['filter'] {
    return this.#options.filter
  }

  get reject(): AdmissionHost['reject'] {
    return this.#options.reject
  }

  get handshakeTimeout(): number {
    return this.#options.handshakeTimeout
  }

  get user(): AdmissionHost['user'] {
    return this.#options.user
  }

  get connections(): HubCore['connections'] {
    return this.hub.connections
  }

  get draining(): Refusal | null {
    return this.#draining
  }

  get app(): Context['app'] | null {
    return this.hub.app
  }

  get proxy(): boolean | undefined {
    return this.hub.proxy
  }

  clientAddress(req: Context['req']): string | undefined {
    return this.proxy ? clientAddress(req, this.app) : undefined
  }

  count(reason: string): void {
    this.hub.count(reason)
  }

  report(error: unknown, ctx: Context | null, connection?: Connection): void {
    this.hub.report(error, ctx, connection)
  }

  // ---- its servers

  attach(server: Server, options: AttachOptions = {}): void {
    assertServer('hub.attach()', server)
    validate('hub.attach()', options, { gate: check.boolean })
    const { gate = false } = options
    this.detached.delete(server)
    const listener = listen(server)
    listener.add(this)
    this.attached(server)
    if (gate) listener.gate()
    else if (hasNeighbours(server)) {
      debugUpgrade(
        'this server has other upgrade listeners: if one of them aborts every path but its own, call hub.attach(server, { gate: true })',
      )
    }
  }

  attached(server: Server): void {
    if (this.servers.has(server)) return
    this.servers.add(server)
    warnOfFileLimit(this.#options.maxConnections)
    if (this.#watched.has(server)) return
    this.#watched.add(server)
    server.once('close', () => this.servers.delete(server))
    server.on('drop', () => this.servers.has(server) && this.count('serverMaxConnections'))
  }

  detach(server: Server): void {
    assertServer('hub.detach()', server)
    this.detached.add(server)
    this.servers.delete(server)
    listenerOf(server)?.delete(this)
  }

  status(): HubStatus {
    const { ready, maxConnections } = this.#options
    const { backplane } = this.hub
    const { id, ...rest } = this.hub.status()
    const draining = this.#closing !== null
    const reasons: string[] = []
    if (draining) reasons.push('draining')
    if (ready?.capacity && this.limits.isFull) {
      reasons.push(`maxConnections: all ${maxConnections} places are taken`)
    }
    if (ready?.backplane && backplane && !backplane.wasReady) {
      reasons.push(`backplane ${rest.backplane.state}: ${rest.backplane.why}`)
    }
    const isReady = reasons.length === 0
    return { id, ready: isReady, reasons, pending: this.pending.size, draining, ...rest }
  }

  // ---- its end

  close(options: CloseOptions): Promise<void> {
    checkCloseOptions(options)
    const { code = 1012, timeout = 10_000, readyDelay = 0, server = false } = options
    this.#closing ??= shutDown(this, { code, timeout, readyDelay, server })
    return this.#closing
  }

  closeOnSignal(options: SignalOptions): () => void {
    checkSignalOptions(options)
    const { timeout, readyDelay } = options
    const report = (error: unknown): void => this.hub.failed(error, 'hub.closeOnSignal()')
    return closeOnSignal(() => this.close({ timeout, readyDelay, server: true }), report, options)
  }

  closeSessions(server: Server): void {
    listenerOf(server)?.sessions?.close()
  }

  endSessions(server: Server): void {
    listenerOf(server)?.sessions?.destroy()
  }

  closeBackplane(): Promise<void> {
    return this.hub.closeBackplane()
  }

  refuseUpgrades(): void {
    this.#draining = DRAINING
    for (const upgrade of [...this.pending]) {
      this.count('draining')
      upgrade.refuse(DRAINING)
    }
  }

  upgradesSettled(): Promise<void> {
    return this.pending.settled()
  }

  terminateUpgrades(): void {
    for (const upgrade of [...this.pending]) upgrade.terminate()
  }
}
