import { performance } from 'node:perf_hooks'
import { EVERYBODY, type Order, type Target, topicsOf } from '../../backplane/order.ts'
import { Tops } from '../../backplane/tops.ts'
import { encode } from '../../backplane/wire.ts'
import { Frame } from '../../connection/frame.ts'
import { newId } from '../../connection/id.ts'
import type { Sendable } from '../../connection/types.ts'
import { messageOf } from '../../debug.ts'
import { AdapterError, OptionsError } from '../../errors.ts'
import { assertClosable } from '../../protocol/close-codes.ts'
import { pushText } from '../../protocol/envelope.ts'
import { check, describe, namesOf, validate } from '../../validate.ts'

/** The part of a Redis client that an emitter needs: node-redis and ioredis have it. */
export interface PublishingClient {
  publish(channel: string, message: Buffer): Promise<number>
}

/** Options of `redisEmitter()`. */
export interface RedisEmitterOptions {
  /**
   * A connected client of node-redis or ioredis. It stays yours: the emitter opens and closes nothing.
   * While Redis is away an emission waits in the queue of the client, if that has one.
   */
  client: PublishingClient
  /** That of the `redisAdapter()` whose instances are to be reached. @default 'koaws:' */
  prefix?: string | undefined
}

/** What an emission came to. */
export interface Emission {
  /**
   * How many subscriptions of instances took it: an instance has one for each room and user of whom
   * somebody is connected to it. 0: nobody is there. On a Redis Cluster, those of one node only.
   */
  readonly receivers: number
}

/** Whom an emission is for. Immutable. */
export interface EmitterAudience {
  /**
   * Send one message to every member: a string as text, anything else as binary.
   *
   * Rejects with an AdapterError when Redis did not take it.
   * @throws TypeError for what is no string, Buffer, ArrayBuffer or view
   */
  send(data: Sendable): Promise<Emission>
  /**
   * Send a value as JSON in a text message. Rejects as `send()`.
   *
   * @throws TypeError when the value has no JSON form
   */
  json(value: unknown): Promise<Emission>
  /**
   * Send a message of the subprotocol `koaws.v1`; members that speak another do not get it. Rejects as
   * `send()`.
   *
   * @throws TypeError when the type is no string of 1 to 255 bytes, or the data has no JSON form
   */
  push(type: string, data?: unknown): Promise<Emission>
  /** Without these connections, by id. */
  except(...ids: string[]): EmitterAudience
  /** Without the connections of these users. */
  exceptUser(...ids: (string | number)[]): EmitterAudience
  /** What is sent may be dropped for a client that has not taken what was sent before. */
  volatile(): EmitterAudience
  /** Have every member enter rooms. */
  join(...rooms: string[]): Promise<Emission>
  /** Have every member leave rooms. */
  leave(...rooms: string[]): Promise<Emission>
  /**
   * Close every member.
   *
   * @throws RangeError for a code that must not be sent (RFC 6455, section 7.4), or a reason above 123 bytes
   */
  close(code?: number, reason?: string): Promise<Emission>
}

/** Speaks to the connections of all instances from a process that has none. */
export interface Emitter {
  /** Every connection. */
  all(): EmitterAudience
  /** The connection with this id. */
  connection(id: string): EmitterAudience
  /** All connections of these users. */
  user(...ids: (string | number)[]): EmitterAudience
  /** The members of any of these rooms, each once. */
  room(...names: string[]): EmitterAudience
}

/**
 * Speak to rooms and users from a process without sockets: a worker, a cron job. The instances use
 * `redisAdapter()` with the same `prefix`. Each emission is one PUBLISH for each room or user, with no
 * queue and no timer: a rejection is the caller's to repeat.
 *
 * @throws OptionsError without a client that can publish
 */
export function redisEmitter(options: RedisEmitterOptions): Emitter {
  validate('redisEmitter()', options, {
    client: (value) =>
      typeof (value as Partial<PublishingClient> | null)?.publish === 'function'
        ? null
        : `must be a client of node-redis or ioredis, not ${describe(value)}.`,
    prefix: check.string,
  })
  if (options.client === undefined) {
    throw new OptionsError(
      'redisEmitter() needs the option "client": a client of node-redis or ioredis.',
    )
  }
  const publisher = new Publisher(options.client, options.prefix ?? 'koaws:')
  const of = (kind: Target['kind'], names: readonly string[]): EmitterAudience =>
    new Audience(publisher, { kind, names, except: [], exceptUsers: [] }, false)
  return {
    all: () => of('all', []),
    connection: (id) => of('connections', namesOf('connection', [id])),
    user: (...ids) => of('users', namesOf('user', ids)),
    room: (...names) => of('rooms', namesOf('room', names)),
  }
}

/** Numbers orders as a hub does, so that instances notice what came twice and what is missing between two. */
class Publisher {
  readonly #client: PublishingClient
  readonly #prefix: string
  readonly #id = newId()
  readonly #tops = new Tops(performance.now())

  constructor(client: PublishingClient, prefix: string) {
    this.#client = client
    this.#prefix = prefix
  }

  async publish(order: Order): Promise<Emission> {
    const topics = topicsOf(order.target)
    if (topics.length === 0) return { receivers: 0 }
    const now = performance.now()
    this.#tops.quiet(now) // nobody is told, and old topics are forgotten
    const positions = this.#tops.take(topics, 1, now)
    const payload = encode(this.#id, { kind: 'orders', positions, orders: [order] })
    try {
      const counts = await Promise.all(
        topics.map((topic) => this.#client.publish(this.#prefix + topic, payload)),
      )
      return { receivers: counts.reduce((sum, count) => sum + count, 0) }
    } catch (error) {
      const where = topics.length === 1 ? topics[0] : `${topics.length} topics`
      throw new AdapterError(
        'ERR_KOAWS_BACKPLANE',
        `Redis did not take what was emitted to ${where === EVERYBODY ? 'all' : where}: ${messageOf(error)}`,
        { cause: error },
      )
    }
  }
}

class Audience implements EmitterAudience {
  readonly #publisher: Publisher
  readonly #target: Target
  readonly #volatile: boolean

  constructor(publisher: Publisher, target: Target, volatile: boolean) {
    this.#publisher = publisher
    this.#target = target
    this.#volatile = volatile
  }

  send(data: Sendable): Promise<Emission> {
    return this.#send(data, false)
  }

  json(value: unknown): Promise<Emission> {
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) {
      throw new TypeError(`json() needs a value with a JSON form, not ${typeof value}.`)
    }
    return this.#send(text, false)
  }

  push(type: string, data?: unknown): Promise<Emission> {
    return this.#send(pushText(type, data), true)
  }

  except(...ids: string[]): EmitterAudience {
    const except = [...this.#target.except, ...namesOf('connection', ids)]
    return new Audience(this.#publisher, { ...this.#target, except }, this.#volatile)
  }

  exceptUser(...ids: (string | number)[]): EmitterAudience {
    const exceptUsers = [...this.#target.exceptUsers, ...namesOf('user', ids)]
    return new Audience(this.#publisher, { ...this.#target, exceptUsers }, this.#volatile)
  }

  volatile(): EmitterAudience {
    return new Audience(this.#publisher, this.#target, true)
  }

  join(...rooms: string[]): Promise<Emission> {
    return this.#publisher.publish({
      type: 'join',
      target: this.#target,
      rooms: namesOf('room', rooms),
    })
  }

  leave(...rooms: string[]): Promise<Emission> {
    return this.#publisher.publish({
      type: 'leave',
      target: this.#target,
      rooms: namesOf('room', rooms),
    })
  }

  close(code = 1000, reason = ''): Promise<Emission> {
    assertClosable(code, reason)
    return this.#publisher.publish({ type: 'close', target: this.#target, code, reason })
  }

  #send(data: Sendable, pushed: boolean): Promise<Emission> {
    const frame = Frame.encode(data, null).plain
    const [target, volatile] = [this.#target, this.#volatile]
    return this.#publisher.publish({ type: 'send', target, frame, pushed, volatile })
  }
}
