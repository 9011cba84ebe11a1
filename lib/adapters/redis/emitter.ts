// `redisEmitter()`: publishes to all instances from a process without sockets.
import { performance } from 'node:perf_hooks'
import { EVERYBODY, type Order, type Target, topicsOfOrder } from '../../backplane/order.ts'
import { Tops } from '../../backplane/tops.ts'
import { encode } from '../../backplane/wire.ts'
import { Frame } from '../../connection/frame.ts'
import { newId } from '../../connection/id.ts'
import type { Sendable } from '../../connection/types.ts'
import { messageOf } from '../../debug.ts'
import { AdapterError, OptionsError } from '../../errors.ts'
import { fieldsOf } from '../../fields.ts'
import { assertClosable } from '../../protocol/close-codes.ts'
import { pushText } from '../../protocol/envelope.ts'
import { describe, namesOf, validate } from '../../validate.ts'
import { checkPrefix } from './prefix.ts'

/** The part of a Redis client that an emitter needs: node-redis and ioredis have it. */
export interface PublishingClient {
  /** Publishes a `message` on a `channel`. Resolves with the number of subscriptions that received it. */
  publish(channel: string, message: Buffer): Promise<number>
}

/** The options of `redisEmitter()`. */
export interface RedisEmitterOptions {
  /**
   * A connected client of node-redis or ioredis. The emitter neither opens nor closes it. During a
   * Redis outage, an emission waits in the queue of the client, if it has one.
   */
  client: PublishingClient
  /** The prefix of the `redisAdapter()` of the instances. @default 'koaws:' */
  prefix?: string | undefined
}

/** The result of an emission. */
export interface Emission {
  /**
   * The number of subscriptions that received it. An instance has one subscription for each room
   * and user with a connection on that instance. 0 means that no instance received it. On a Redis
   * Cluster, only the subscriptions of one node count.
   */
  readonly receivers: number
}

/** The target of an emission. Immutable. */
export interface EmitterAudience {
  /**
   * Sends one message to every member: a string as text, other values as binary. Rejects with an
   * AdapterError when Redis did not accept it.
   *
   * @param data a string, Buffer, ArrayBuffer or view
   * @throws TypeError for another value
   */
  send(data: Sendable): Promise<Emission>
  /**
   * Sends a value as JSON in a text message. Rejects like `send()`.
   *
   * @param value any value with a JSON form
   * @throws TypeError when the value has no JSON form
   */
  json(value: unknown): Promise<Emission>
  /**
   * Pushes a message of the subprotocol `koaws.v1`. Members with another subprotocol are skipped.
   * Rejects like `send()`.
   *
   * @param type the name of the message
   * @param data the value; it is not checked against a protocol
   * @throws TypeError when the type is not a string of 1 to 255 bytes, or the data have no JSON
   * form
   */
  push(type: string, data?: unknown): Promise<Emission>
  /** Returns the audience without the connections with these `ids`. */
  except(...ids: string[]): EmitterAudience
  /** Returns the audience without the connections of the users with these `ids`. */
  exceptUser(...ids: (string | number)[]): EmitterAudience
  /** Returns the audience with volatile sends: they may be dropped for a client that is behind. */
  volatile(): EmitterAudience
  /**
   * Adds every member to rooms. Rejects like `send()`.
   *
   * @param rooms names of 1 to 255 bytes of UTF-8
   */
  join(...rooms: string[]): Promise<Emission>
  /**
   * Removes every member from rooms. Rejects like `send()`.
   *
   * @param rooms names of 1 to 255 bytes of UTF-8
   */
  leave(...rooms: string[]): Promise<Emission>
  /**
   * Closes every member, like `close()` of an audience of the hub. Rejects like `send()`.
   *
   * @param code a close code that may be sent (RFC 6455, section 7.4). Default 1000
   * @param reason at most 123 bytes of UTF-8
   * @throws RangeError for another code, or a longer reason
   */
  close(code?: number, reason?: string): Promise<Emission>
}

/** Publishes to the connections of all instances from a process without connections. */
export interface Emitter {
  /** Returns the audience of every connection. */
  all(): EmitterAudience
  /**
   * Returns the audience of the connection with this id.
   *
   * @param id `connection.id`
   */
  connection(id: string): EmitterAudience
  /**
   * Returns the audience of all connections of these users.
   *
   * @param ids what the option `user` of the instances returns
   */
  user(...ids: (string | number)[]): EmitterAudience
  /**
   * Returns the audience of the members of any of these rooms, each once.
   *
   * @param names of 1 to 255 bytes of UTF-8
   */
  room(...names: string[]): EmitterAudience
}

/**
 * Returns an emitter, which publishes to rooms and users from a process without sockets, such as a
 * worker or a cron job. The instances use `redisAdapter()` with the same `prefix`. Each emission is
 * one PUBLISH per room or user. The emitter has neither a queue nor a timer: after a rejection, the
 * caller decides whether to repeat.
 *
 * @example
 * ```js
 * import { redisEmitter } from 'koaws/redis'
 * import { createClient } from 'redis'
 *
 * const client = await createClient({ url: process.env['REDIS_URL'] }).connect()
 * const emitter = redisEmitter({ client })
 * const { receivers } = await emitter.user(7).push('invoice', { id: 1 })
 * console.log(receivers) // 0
 * await client.close()
 * ```
 *
 * @param options the connected client, and the prefix
 * @throws OptionsError without a client that can publish, and for an unknown or invalid option
 */
export function redisEmitter(options: RedisEmitterOptions): Emitter {
  validate('redisEmitter()', options, {
    client: (value) =>
      typeof fieldsOf(value)['publish'] === 'function'
        ? null
        : `must be a client of node-redis or ioredis, not ${describe(value)}.`,
    prefix: checkPrefix,
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

/** Numbers orders like a hub, so that instances detect duplicates and losses. */
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
    const topics = topicsOfOrder(order)
    if (topics.length === 0) return { receivers: 0 }
    const now = performance.now()
    this.#tops.quiet(now) // only to forget old topics: an emitter does not send its positions
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
        `Redis did not confirm the emission to ${where === EVERYBODY ? 'all' : where}: ${messageOf(error)}`,
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
    const text: string | undefined = JSON.stringify(value)
    if (text === undefined) {
      throw new TypeError(`json() needs a value with a JSON form, not ${describe(value)}.`)
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
