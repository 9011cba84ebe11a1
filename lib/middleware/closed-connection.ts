// Makes the closed connection that a late `await ctx.ws()` resolves with.

import { Duplex } from 'node:stream'
import type { Context } from 'koa'
import type { Audience, Delivery } from '../connection/audience.ts'
import { type Connection, coreOf } from '../connection/connection.ts'
import { closedError } from '../connection/ending.ts'
import { newId } from '../connection/id.ts'
import type { ConnectionOwner } from '../connection/owner.ts'
import type { UpgradeHost } from '../upgrade/host.ts'

/**
 * Returns the connection that `await ctx.ws()` resolves with when the chain is over and the upgrade
 * cannot be accepted: its client is gone. A rejection could be unhandled and end the process, and a
 * pending promise would block the caller forever. The hub does not know this connection, and data
 * sent on it is discarded.
 */
export function closedConnection(host: UpgradeHost, ctx: Context | null): Connection {
  const socket = new Duplex({
    read() {},
    write: (_chunk, _encoding, done) => done(),
  })
  const acceptor = host.acceptors.for(undefined, undefined)
  const { connection, compression } = acceptor.accept(HANDSHAKE, socket, EMPTY, false, [])
  coreOf(connection).open({
    id: newId(),
    userId: undefined,
    state: ctx?.state ?? {},
    ip: '',
    url: ctx?.originalUrl ?? '',
    params: {},
    expiresAt: null,
    socket,
    compression,
    owner: ownerOf(host, ctx),
    scope: null,
  })
  coreOf(connection).handlerSettled()
  connection.terminate()
  return connection
}

const EMPTY = Buffer.alloc(0)

/** A handshake that ws accepts (RFC 6455, section 4.2.1). */
const HANDSHAKE = {
  method: 'GET',
  url: '/',
  headers: {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': 'a29hd3MgYWZ0ZXIgYWxsLg==',
    'sec-websocket-version': '13',
  },
} as never

const NO_ROOMS: ReadonlySet<string> = new Set()

function ownerOf(host: UpgradeHost, ctx: Context | null): ConnectionOwner<Connection> {
  return {
    rules: host.rules.base,
    tooSlow: ignore,
    unreachable: ignore,
    ended: ignore,
    failed: (_connection, error) => host.report(error, ctx),
    awaits: ignore,
    count: ignore,
    join: async () => {},
    leave: ignore,
    roomsOf: () => NO_ROOMS,
    resumed: () => null,
    replay: async () => ({ recovered: false, missed: null, reason: 'left' }),
    tracer: () => null,
    retries: null,
    streams: null,
    to: () => NOBODY,
  }
}

const nothing = (): Delivery => ({
  local: 0,
  dropped: 0,
  skipped: 0,
  backplane: Promise.resolve('none'),
  recorded: Promise.resolve('none'),
})

/** An empty audience. */
const NOBODY: Audience = {
  send: nothing,
  json: nothing,
  push: nothing,
  except: () => NOBODY,
  exceptUser: () => NOBODY,
  local: () => NOBODY,
  volatile: () => NOBODY,
  join: async () => {},
  leave: async () => {},
  close: async () => {},
  count: async () => 0,
  members: async () => Object.assign([], { missing: [] }),
  position: async () => {
    throw closedError()
  },
  history: async () => {
    throw closedError()
  },
}

function ignore(): void {}
