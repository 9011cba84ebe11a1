// Decides which requests reach the inspector.

import type { Context } from 'koa'
import type { ActionRequest } from './action-request.ts'
import type { ResolvedOptions } from './options.ts'

/** Headers that a proxy adds: behind one, the address of the socket says nothing about the client. */
const FORWARDED: readonly string[] = [
  'forwarded',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-server',
  'x-real-ip',
  'true-client-ip',
  'cf-connecting-ip',
]

const REFUSED = 'The inspector is not open to you.'
const LOCAL_ONLY =
  'Without the option "authorize", the inspector serves only direct requests of this machine to localhost. Set authorize: (ctx) => … to open it to others.'

/**
 * Lets a request, or an action, pass.
 *
 * @throws the 403, or what `authorize` throws
 */
export async function assertAllowed(
  { authorize }: Pick<ResolvedOptions, 'authorize'>,
  ctx: Context,
  action?: ActionRequest,
): Promise<void> {
  if (!authorize) {
    if (!isLocal(ctx)) ctx.throw(403, LOCAL_ONLY)
    return
  }
  if ((await authorize(ctx, action)) !== true) ctx.throw(403, REFUSED)
}

/**
 * Whether the client is on this machine: by the address of the socket, without a sign of a proxy. The host is checked
 * because a page of another site can have its own name resolve to 127.0.0.1 (DNS rebinding).
 */
export function isLocal({ req }: Pick<Context, 'req'>): boolean {
  const { headers, socket } = req
  if (FORWARDED.some((name) => headers[name] !== undefined)) return false
  return isLoopback(socket?.remoteAddress) && isLocalHost(headers.host ?? headers[':authority'])
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(?:::ffff:)?127\.|^::1$/i.test(address)
}

function isLocalHost(host: unknown): boolean {
  return (
    typeof host === 'string' && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
  )
}
