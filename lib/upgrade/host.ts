// Defines `UpgradeHost`: the part of a plugin that an upgrade needs.

import type { AsyncResource } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import type { Context } from 'koa'
import type { Connection } from '../connection/connection.ts'
import type { Compression } from '../connection/outbox.ts'
import type { ConnectionRules, RuleBook } from '../connection/rules.ts'
import type { Acceptors } from './acceptor.ts'
import type { Refusal } from './handshake.ts'
import type { RejectOption } from './reject.ts'

/** The part of an undecided upgrade that a shutdown needs. */
export interface PendingUpgrade {
  /** Answers instead of the application. */
  refuse(refusal: Refusal): void
  /** Ends its TCP connection or stream at once. */
  terminate(): void
}

/** A place among the connections that the plugin limits. Its owner releases it once. */
export interface Seat {
  release(): void
}

/** The upgrades that are undecided, or are being answered. */
export class PendingUpgrades extends Set<PendingUpgrade> {
  #waiting: (() => void)[] = []

  override delete(upgrade: PendingUpgrade): boolean {
    const found = super.delete(upgrade)
    if (this.size === 0 && this.#waiting.length > 0)
      for (const resolve of this.#waiting.splice(0)) resolve()
    return found
  }

  /** Resolves when the set is empty. */
  async settled(): Promise<void> {
    if (this.size > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}

/** The data of a connection after its handshake. */
export interface Admission {
  readonly ctx: Context
  readonly userId: string | undefined
  readonly expiresAt: number | null
  readonly rooms: readonly string[]
  /** False keeps the connection out of all audiences. */
  readonly inAudiences: boolean
  /** The client authenticates with a message, and `letIn` is called after that. */
  readonly letInLater: boolean
  readonly rules: ConnectionRules
  /** When the handshake or token check began, on the clock of `performance`. */
  readonly since: number
  readonly compression: Compression
  readonly socket: Duplex
  /** The async context of the handshake; null when it holds no store. */
  readonly scope: AsyncResource | null
}

/** The data of a connection after it has authenticated with a message. */
export type LateAdmission = Pick<
  Admission,
  'ctx' | 'userId' | 'expiresAt' | 'rooms' | 'inAudiences' | 'rules' | 'since'
>

/** The connections of a hub, to which upgrades add theirs. `hub/connections.ts` implements it. */
export interface AdmittingConnections {
  /** Returns and counts the error for another connection of a user; null when it is allowed. */
  refusal(userId: string | undefined): Error | null
  /** Registers a function that is called once when the connection ends. */
  onEnd(connection: Connection, release: () => void): void
  /** Registers a connection. Returns null when its handler should run, else the error. */
  add(connection: Connection, admission: Admission): Error | null | Promise<Error | null>
  /** Lets in a connection accepted with `letInLater`. Resolves with null, or the error. */
  letIn(connection: Connection, admission: LateAdmission): Promise<Error | null>
}

/** The part of a plugin that an upgrade needs. `plugin.ts` implements it. */
export interface UpgradeHost {
  /** The name of the instance. */
  readonly instance: string
  readonly acceptors: Acceptors
  readonly rules: RuleBook
  readonly reject: RejectOption
  readonly handshakeTimeout: number
  /** The answer to new upgrades during a shutdown, else null. */
  readonly draining: Refusal | null
  /** The undecided upgrades of this plugin. */
  readonly pending: PendingUpgrades
  /** The option `user`. */
  readonly user: ((ctx: Context) => string | number | undefined) | undefined
  readonly connections: AdmittingConnections
  /** Counts a rejection or a drop under its name. */
  count(name: string): void
  /**
   * Reports an error to the app of the ctx, or without a ctx to the app that uses the plugin.
   *
   * @param connection the connection that the error ended
   */
  report(error: unknown, ctx: Context | null, connection?: Connection): void
}
