import type { AsyncResource } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import type { Context } from 'koa'
import type { Connection } from '../connection/connection.ts'
import type { Compression } from '../connection/outbox.ts'
import type { ConnectionRules, RuleBook } from '../connection/rules.ts'
import type { Acceptors } from './acceptor.ts'
import type { Refusal } from './handshake.ts'
import type { Limits, Seat } from './limits.ts'
import type { OriginRules } from './origin.ts'

/** An upgrade that is not decided, as far as a shutdown needs it. */
export interface PendingUpgrade {
  /** Answer in place of the application. */
  refuse(refusal: Refusal): void
  /** End its TCP connection, or its stream, at once. */
  terminate(): void
}

/** The upgrades that are decided now, or answered. */
export class PendingUpgrades extends Set<PendingUpgrade> {
  #waiting: (() => void)[] = []

  override delete(upgrade: PendingUpgrade): boolean {
    const found = super.delete(upgrade)
    if (this.size === 0 && this.#waiting.length > 0)
      for (const resolve of this.#waiting.splice(0)) resolve()
    return found
  }

  /** Resolves once there is none. */
  async settled(): Promise<void> {
    if (this.size > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}

/** When a rejection is told over the WebSocket instead of over HTTP. */
export type RejectMode = 'auto' | 'http' | 'close'

/** What is known of a connection once its handshake is done. */
export interface Admission {
  readonly ctx: Context
  readonly userId: string | undefined
  readonly expiresAt: number | null
  readonly rooms: readonly string[]
  /** False keeps it out of all audiences. */
  readonly inAudiences: boolean
  /** It authenticates with a message, and `letIn` follows then. */
  readonly letInLater: boolean
  readonly rules: ConnectionRules
  readonly compression: Compression
  /** What the limits were told to count it under; undefined when nothing is counted. */
  readonly seat: Seat | undefined
  readonly socket: Duplex
  /** The async context of the handshake, where somebody stored something in it. */
  readonly scope: AsyncResource | null
}

/** What is known of a connection once it has authenticated with a message. */
export type LateAdmission = Pick<
  Admission,
  'ctx' | 'userId' | 'expiresAt' | 'rooms' | 'inAudiences' | 'rules'
>

/** One plugin, as far as an upgrade needs it. `koa-ws.ts` provides it. */
export interface UpgradeHost {
  readonly origin: OriginRules
  readonly limits: Limits
  readonly acceptors: Acceptors
  readonly rules: RuleBook
  readonly filter: ((req: Context['req']) => boolean) | undefined
  readonly reject: RejectMode
  readonly handshakeTimeout: number
  /** Upgrades that are decided by this plugin now. */
  readonly pending: PendingUpgrades
  /** The answer to new upgrades while the plugin shuts down. */
  readonly draining: Refusal | null
  /** Whether forwarded headers count; undefined while the app is unknown or several disagree. */
  readonly proxy: boolean | undefined
  /** `user` of the options. */
  readonly user: ((ctx: Context) => string | number | undefined) | undefined
  /** The address that `maxPerAddress` counts. */
  addressOf(req: Context['req'], app: Context['app'] | null): string
  /** The app that it is used in; null while none is known. */
  readonly app: Context['app'] | null
  /** One more of something that was refused or dropped. */
  count(name: string): void
  /**
   * Take over an accepted connection. Null when it is to be handled, else why not. Never throws or
   * rejects.
   */
  admit(connection: Connection, admission: Admission): Error | null | Promise<Error | null>
  /**
   * Let in a connection that was accepted with `letInLater`: null, or why not. Never rejects.
   */
  letIn(connection: Connection, admission: LateAdmission): Promise<Error | null>
  /** Report an error to the application. */
  report(error: unknown, ctx: Context): void
}
