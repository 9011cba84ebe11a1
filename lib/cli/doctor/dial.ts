// Connects to a server: lookup, TCP, TLS and its certificate.
import { lookup } from 'node:dns/promises'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { Duplex } from 'node:stream'
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls'
import type { Target } from '../target.ts'
import { printable } from '../terminal.ts'
import { type Finding, finding } from './findings.ts'
import type { Sockets } from './sockets.ts'
import { timeout } from './wire.ts'

/** The failure of one step. */
export interface Fault {
  readonly fault: Finding
}

/** A connected socket. */
export interface Dialed {
  readonly socket: Duplex
  /** Milliseconds from the first packet to the connection. */
  readonly tcp: number
  /** Null without TLS. */
  readonly tls: TlsFacts | null
}

/** What TLS agreed on. */
export interface TlsFacts {
  readonly version: string
  /** The protocol that ALPN chose; null without a choice. */
  readonly alpn: string | null
  /** When the certificate ends. */
  readonly validTo: Date | null
  /** The names of the certificate. */
  readonly names: string
  /** The problems with the certificate. */
  readonly problems: readonly Finding[]
  /** Milliseconds of the TLS handshake. */
  readonly ms: number
}

/** A certificate that ends within these days should have been renewed. */
const SOON_DAYS = 14
const DAY = 86_400_000

/** Looks up the addresses of a target. */
export async function findAddresses(target: Target, sockets: Sockets): Promise<string[] | Fault> {
  if (isIP(target.host)) return [target.host]
  const { promise, stop } = timeout(sockets.patience)
  try {
    const found = await Promise.race([lookup(target.host, { all: true }), promise])
    if (found !== null) return found.map(({ address }) => address)
    return fault('dns-failed', `The name ${target.host} was not resolved in time.`)
  } catch (error) {
    const code = codeOf(error)
    const text =
      code === 'ENOTFOUND'
        ? `The name ${target.host} does not exist, or has no address.`
        : `The name ${target.host} could not be resolved (${code}).`
    return fault('dns-failed', text)
  } finally {
    stop()
  }
}

/** Connects, over TLS where the target asks for it. */
export async function dial(
  target: Target,
  sockets: Sockets,
  alpn: readonly string[] = ['http/1.1'],
): Promise<Dialed | Fault> {
  const started = performance.now()
  const socket = sockets.add(connectTcp({ host: target.host, port: target.port, noDelay: true }))
  const failure = await opened(socket, 'connect', sockets.patience)
  if (failure !== null) {
    socket.destroy()
    return fault('connect-failed', connectText(target, failure))
  }
  const tcp = performance.now() - started
  if (!target.secure) return { socket, tcp, tls: null }
  return dialTls(target, sockets, socket, tcp, alpn)
}

/** Connects to a server that may get a request: its certificate is right, or does not matter. */
export async function dialTrusted(
  target: Target,
  sockets: Sockets,
  alpn?: readonly string[],
): Promise<Dialed | Fault> {
  const dialed = await dial(target, sockets, alpn)
  if ('fault' in dialed || sockets.insecure) return dialed
  const problem = dialed.tls?.problems.find(({ level }) => level === 'error')
  if (!problem) return dialed
  dialed.socket.destroy()
  return { fault: problem }
}

async function dialTls(
  target: Target,
  sockets: Sockets,
  tcpSocket: Socket,
  tcp: number,
  alpn: readonly string[],
): Promise<Dialed | Fault> {
  const started = performance.now()
  const socket = sockets.add(
    connectTls({
      socket: tcpSocket,
      ...(isIP(target.host) ? {} : { servername: target.host }),
      host: target.host,
      ALPNProtocols: [...alpn],
      // The certificate is judged below, with the reason. Nothing is sent before that.
      rejectUnauthorized: false,
    }),
  )
  const failure = await opened(socket, 'secureConnect', sockets.patience)
  if (failure !== null) {
    socket.destroy()
    if (/NO_APPLICATION_PROTOCOL/.test(failure))
      return fault(
        'alpn-h2-only',
        'The server ended the TLS handshake because it does not offer http/1.1 by ALPN.',
      )
    return fault('tls-failed', tlsText(failure))
  }
  const ms = performance.now() - started
  return { socket, tcp, tls: factsOf(target, socket, ms) }
}

function factsOf(target: Target, socket: TLSSocket, ms: number): TlsFacts {
  const certificate = socket.getPeerCertificate()
  const names = printable(String(certificate.subjectaltname ?? certificate.subject?.CN ?? ''), 200)
  const validTo = dateOf(certificate.valid_to)
  return {
    version: socket.getProtocol() ?? 'TLS',
    alpn: socket.alpnProtocol || null,
    validTo,
    names,
    problems: problemsOf(target, socket, validTo, names),
    ms,
  }
}

function problemsOf(
  target: Target,
  socket: TLSSocket,
  validTo: Date | null,
  names: string,
): Finding[] {
  const found: Finding[] = []
  const certificate = socket.getPeerCertificate()
  const from = dateOf(certificate.valid_from)
  const reason = socket.authorized ? '' : reasonOf(socket.authorizationError)
  const now = Date.now()
  if (validTo && validTo.getTime() < now)
    found.push(finding('tls-expired', `The certificate expired on ${dayOf(validTo)}.`))
  else if (from && from.getTime() > now)
    found.push(
      finding(
        'tls-expired',
        `The certificate is valid only from ${dayOf(from)} on.`,
        'Check the clock of this machine, and the certificate.',
      ),
    )
  else if (validTo && validTo.getTime() - now < SOON_DAYS * DAY)
    found.push(finding('tls-expiring', `The certificate expires on ${dayOf(validTo)}.`))
  if (checkServerIdentity(target.host, certificate))
    found.push(
      finding(
        'tls-name',
        `The certificate is not for ${target.host}, but for: ${names || 'no name'}.`,
      ),
    )
  const known = /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|ALTNAME/.test(reason)
  if (reason !== '' && !known)
    found.push(finding('tls-untrusted', `The certificate is not trusted: ${trustText(reason)}.`))
  else if (/ISSUER|SELF_SIGNED/.test(selfSigned(socket)) && !socket.authorized)
    found.push(finding('tls-untrusted', 'The certificate is not trusted: it is self-signed.'))
  return found
}

/** OpenSSL reports one problem: a certificate that has expired may be self-signed too. */
function selfSigned(socket: TLSSocket): string {
  const { subject, issuer } = socket.getPeerCertificate()
  const same = JSON.stringify(subject) === JSON.stringify(issuer)
  return same && reasonOf(socket.authorizationError) !== 'ERR_TLS_CERT_ALTNAME_INVALID'
    ? 'SELF_SIGNED'
    : ''
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? codeOf(error) : String(error ?? '')
}

function trustText(reason: string): string {
  if (reason === 'DEPTH_ZERO_SELF_SIGNED_CERT') return 'it is self-signed'
  if (reason === 'SELF_SIGNED_CERT_IN_CHAIN') return 'its authority is not known to this machine'
  if (/^UNABLE_TO_(?:VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT)/.test(reason))
    return 'its authority is not known, or the server does not send the certificates in between'
  return printable(reason, 80)
}

function dateOf(text: string | undefined): Date | null {
  const date = new Date(text ?? '')
  return Number.isNaN(date.getTime()) ? null : date
}

/** Returns the day of a date. */
export function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10)
}

/** Waits for an event of a socket. Resolves with null, or with the code of the failure. */
function opened(socket: Duplex, event: string, patience: number): Promise<string | null> {
  return new Promise((resolve) => {
    let code = 'ECONNRESET'
    const timer = setTimeout(settle, patience, 'ETIMEDOUT')
    const failed = (error: unknown): void => {
      code = codeOf(error)
    }
    const succeeded = (): void => settle(null)
    const closed = (): void => settle(code)
    function settle(result: string | null): void {
      clearTimeout(timer)
      socket.off('error', failed).off('close', closed).off(event, succeeded)
      resolve(result)
    }
    socket.on('error', failed).on('close', closed).on(event, succeeded)
  })
}

/** Returns the code of an error; of several attempts, that of the last one. */
function codeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors.at(-1))
  if (error instanceof Error && 'code' in error) return String(error.code)
  return printable(String(error), 80)
}

function connectText({ host, port }: Target, code: string): string {
  const place = `${host} port ${port}`
  if (code === 'ECONNREFUSED') return `${place} refused the connection: no program listens there.`
  if (code === 'ETIMEDOUT') return `${place} did not answer. A firewall may drop the packets.`
  return `No TCP connection to ${place} (${code}).`
}

function tlsText(code: string): string {
  if (code === 'ETIMEDOUT') return 'The server did not answer the TLS handshake in time.'
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST/.test(code))
    return 'The port does not speak TLS. It may be the port of plain HTTP.'
  if (/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION/.test(code))
    return 'The server offers no TLS version that browsers use (1.2 or 1.3).'
  return `The TLS handshake failed (${code}).`
}

function fault(...args: Parameters<typeof finding>): Fault {
  return { fault: finding(...args) }
}
