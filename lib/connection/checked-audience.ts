// Provides an audience that checks its pushes against one protocol.

import type { AnyProtocol, ServerType } from '../protocol/definition.ts'
import type { Audience, Delivery, HistoryQuery, Members, RoomHistory } from './audience.ts'
import type { Sendable } from './types.ts'

/** Looks at what is about to be pushed, and throws for what does not fit the protocol. */
export type PushCheck = (type: string, data: unknown) => void

/** An audience that takes the pushes of one protocol: typed, and validated where `validateOut` is on. */
export class CheckedAudience<D extends AnyProtocol> implements Audience<D> {
  readonly #inner: Audience
  readonly #check: PushCheck

  constructor(inner: Audience, check: PushCheck) {
    this.#inner = inner
    this.#check = check
  }

  /** An audience without the check of its pushes, for another check in its place. */
  static unchecked(audience: Audience): Audience {
    return audience instanceof CheckedAudience ? audience.#inner : audience
  }

  push<T extends ServerType<D>>(type: T, data?: unknown): Delivery {
    this.#check(type, data)
    return this.#inner.push(type, data)
  }

  send(data: Sendable): Delivery {
    return this.#inner.send(data)
  }
  json(value: unknown): Delivery {
    return this.#inner.json(value)
  }
  except(...connections: (string | { readonly id: string })[]): Audience<D> {
    return new CheckedAudience(this.#inner.except(...connections), this.#check)
  }
  exceptUser(...ids: (string | number)[]): Audience<D> {
    return new CheckedAudience(this.#inner.exceptUser(...ids), this.#check)
  }
  local(): Audience<D> {
    return new CheckedAudience(this.#inner.local(), this.#check)
  }
  volatile(): Audience<D> {
    return new CheckedAudience(this.#inner.volatile(), this.#check)
  }
  join(...rooms: string[]): Promise<void> {
    return this.#inner.join(...rooms)
  }
  leave(...rooms: string[]): Promise<void> {
    return this.#inner.leave(...rooms)
  }
  close(code?: number, reason?: string): Promise<void> {
    return this.#inner.close(code, reason)
  }
  count(): Promise<number> {
    return this.#inner.count()
  }
  members(): Promise<Members> {
    return this.#inner.members()
  }
  position(): Promise<string> {
    return this.#inner.position()
  }
  history(query?: HistoryQuery): Promise<RoomHistory> {
    return this.#inner.history(query)
  }
}
