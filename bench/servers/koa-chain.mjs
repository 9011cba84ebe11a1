import { verify } from '../lib/token.mjs'

export async function errorHandler(ctx, next) {
  try {
    await next()
  } catch (error) {
    ctx.status = error.status ?? 500
    ctx.body = { error: error.expose ? error.message : 'internal' }
  }
}

export function authenticate(ctx, next) {
  const claims = verify(ctx.headers.authorization)
  if (claims === null) ctx.throw(401, 'bad token')
  // Not state.user: from its exp koaws would also arm the close of the socket, more than the others do.
  ctx.state.claims = claims
  return next()
}
