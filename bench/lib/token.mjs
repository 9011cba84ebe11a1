import { createHmac, timingSafeEqual } from 'node:crypto'

const SECRET = 'bench-only'

function signature(payload) {
  return createHmac('sha256', SECRET).update(payload).digest()
}

export function sign(claims) {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
  return `${payload}.${signature(payload).toString('base64url')}`
}

/** The right shape with a wrong signature, so that a rejection costs the HMAC too. */
export function forge(claims) {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
  return `${payload}.${Buffer.alloc(32).toString('base64url')}`
}

/** Returns the claims, or null. */
export function verify(authorization) {
  if (authorization === undefined || !authorization.startsWith('Bearer ')) return null
  const dot = authorization.indexOf('.', 7)
  if (dot === -1) return null
  const payload = authorization.slice(7, dot)
  const given = Buffer.from(authorization.slice(dot + 1), 'base64url')
  const expected = signature(payload)
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  return claims.exp * 1000 > Date.now() ? claims : null
}
