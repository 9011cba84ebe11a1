// The callbacks of a backplane to its hub, and the reported status.
import type { Served } from './channels.ts'
import type { Health } from './health.ts'
import type { Answer, Loss, Order, Question } from './order.ts'

/** The callbacks of a backplane. They must not throw. */
export interface BackplaneHost {
  /**
   * Carries out an order of another instance.
   *
   * @param served the connections that other topics of the payload have reached
   * @param age how long the order waited at its origin, in milliseconds; null when it left at once
   */
  deliver(order: Order, from: string, served: Served | null, age: number | null): void
  answer(question: Question): Answer
  /** Reports messages for members here that were lost. */
  lost(loss: Loss): void
  /** Reports orders that other instances will not receive. */
  failed(orders: number, why: string): void
  /** Reports a foreign payload: written by other software or another version of koaws. */
  foreign(): void
  noted(from: string, text: string): void
  joined(id: string): void
  left(id: string): void
  /** @param isFailure whether the engine is unreachable, or refused something */
  changed(status: BackplaneStatus, why: string, isFailure: boolean): void
  /**
   * Reports the end of an outage: this instance and others may have missed messages of each other.
   */
  returned(): void
}

/** The status of the backplane. */
export interface BackplaneStatus extends Health {
  /**
   * The queue for the engine: messages, each reported as `queued` or waiting for its verdict, and
   * bytes.
   */
  readonly queued: { readonly messages: number; readonly bytes: number }
  /** The number of other instances that are known to be alive. */
  readonly instances: number
  /** The expected number of instances, including this one; undefined when unknown. */
  readonly expected?: number | undefined
  /** The folder in which the instances meet (`clusterAdapter()`); otherwise undefined. */
  readonly folder?: string | undefined
  /** The number of messages of other instances that are known to be lost here, at least. */
  readonly lost: number
}
