// The results of a handshake: certificate, rejection, subprotocol, extension.
import type { Target } from '../target.ts'
import { dayOf, type TlsFacts } from './dial.ts'
import { koawsCode, proxyOf, proxyText, shownText } from './explain.ts'
import { finding } from './findings.ts'
import type { HttpAnswer } from './http-answer.ts'
import type { Rejected } from './probe.ts'
import { type Checked, ms } from './talk.ts'

/** Returns the result of a TLS handshake. */
export function tlsResult(tls: TlsFacts): Checked {
  const { version, alpn, validTo, problems } = tls
  const trusted = problems.every(({ level }) => level === 'warning')
  const until = validTo ? ` until ${dayOf(validTo)}` : ''
  const trust = trusted ? `certificate trusted${until}` : 'certificate not accepted'
  return {
    text: `${version}, ${trust}, ALPN ${alpn ?? 'none'}, ${ms(tls.ms)}`,
    data: { version, alpn, validTo: validTo?.toISOString() ?? null, trusted, ms: tls.ms },
    findings: problems,
  }
}

/** Returns status and body of a rejection, without findings. */
export function rejectedResult(target: Target, outcome: Rejected): Checked {
  const { status, answer, closeCode, text } = outcome
  const code = koawsCode(outcome)
  const body = shownText(target, text)
  const proxy = proxyOf(target, answer, text)
  const how = closeCode === null ? `rejected with ${status}` : `accepted, closed with ${closeCode}`
  const named = code === null ? '' : ` ${code}`
  return {
    text: `${how}${proxyText(proxy)}${named}${body === '' ? '' : `: ${body}`}`,
    data: { status, closeCode, code, body, proxy: proxy?.name ?? null },
    findings: [],
  }
}

/** Returns which of the offered subprotocols a server chose. */
export function subprotocolResult(
  target: Target,
  { headers }: HttpAnswer,
  offered: readonly string[],
): Checked {
  const value = headers.get('sec-websocket-protocol')
  const chosen = value === undefined ? null : shownText(target, value, 60)
  const data = { offered, chosen }
  if (value !== undefined && target.bearers.includes(value)) {
    const text = 'The server chose the bearer entry, and so sent the token back.'
    return { text: 'the token', data, findings: [finding('subprotocol-missing', text)] }
  }
  if (value !== undefined && chosen !== null && !offered.includes(value)) {
    const text = `The server chose ${chosen}, which was not offered. Browsers fail such a WebSocket.`
    return { text: chosen, data, findings: [finding('subprotocol-missing', text)] }
  }
  if (chosen !== null) return { text: chosen, data, findings: [] }
  if (offered.length === 0 && target.bearers.length === 0)
    return { state: 'info', text: 'none; koaws.v1 is not spoken here', data, findings: [] }
  const names = [...offered, ...target.bearers.map(() => 'a bearer entry')].join(', ')
  const text = `The server chose none of the offered subprotocols (${names}).`
  return { text: 'none chosen', data, findings: [finding('subprotocol-missing', text)] }
}

/** Returns the extension that a server chose. */
export function compressionResult(target: Target, { headers }: HttpAnswer): Checked {
  const [name] = (headers.get('sec-websocket-extensions') ?? '').split(/[;,]/, 1)
  const chosen = name?.trim() ?? ''
  const compressed = chosen === 'permessage-deflate'
  const data = { permessageDeflate: compressed }
  if (compressed || chosen === '')
    return { state: 'info', text: compressed ? 'permessage-deflate' : 'off', data, findings: [] }
  const shown = JSON.stringify(shownText(target, chosen, 40))
  const text = `The server chose the extension ${shown}, which was not offered. Browsers fail such a WebSocket.`
  return { text: shown, data, findings: [finding('extension-invalid', text)] }
}
