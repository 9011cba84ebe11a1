import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Http2Session } from './http2-session.mjs'
import { drop, openWith } from './open.mjs'
import { connectHeaders, TOKENS, upgradeRequest } from './request.mjs'

function connectTo(port, secure, protocol) {
  const to = { port, host: '127.0.0.1' }
  const socket = secure
    ? connectTls({ ...to, ALPNProtocols: [protocol], rejectUnauthorized: false })
    : connect(to)
  return socket.setNoDelay(true)
}

/** A session over an open connection, with the protocol that ALPN selected. */
async function openSession(port, secure) {
  const socket = connectTo(port, secure, 'h2')
  await once(socket, secure ? 'secureConnect' : 'connect', { signal: AbortSignal.timeout(10_000) })
  if (secure && socket.alpnProtocol !== 'h2') throw new Error('ALPN did not agree on h2')
  return new Http2Session(socket)
}

/** Runs work(index) for each index, at most 32 at a time. */
async function each(count, work) {
  let next = 0
  const worker = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: Math.min(32, count) }, worker))
}

/**
 * Opens `count` WebSockets: with perSession 0 over HTTP/1.1 on a connection each, otherwise with
 * that many on each session of HTTP/2. All have write(), destroy() and the events of a socket, and
 * are passed to attach() when they are accepted. Returns a function that closes them all.
 */
export async function openCarried({ port, secure, perSession, count, browser }, attach) {
  if (perSession === 0) {
    const request = upgradeRequest(port, TOKENS.valid, browser, secure)
    const connectOne = () => connectTo(port, secure, 'http/1.1')
    const sockets = await openWith(connectOne, request, count, attach)
    return () => drop(sockets)
  }
  const headers = connectHeaders(port, TOKENS.valid, browser, secure)
  const sessions = []
  const close = async () => {
    await Promise.all(sessions.map((session) => session.close()))
  }
  try {
    await each(Math.ceil(count / perSession), async () => {
      sessions.push(await openSession(port, secure))
    })
    await each(count, async (i) => {
      await sessions[i % sessions.length].open(headers, attach)
    })
  } catch (error) {
    await close()
    throw error
  }
  return close
}
