// Checks of an open connection: pings, message size, idle time, close.
import type { Finding } from './findings.ts'
import { finding } from './findings.ts'
import type { End, Wire } from './wire.ts'

/** The result of one check. */
export interface Checked {
  /** Without a finding: a check that passed, or a fact. @default ok */
  readonly state?: 'ok' | 'info'
  readonly text: string
  /** Figures for `--json`. */
  readonly data: Readonly<Record<string, unknown>>
  readonly findings: readonly Finding[]
}

const PINGS = 5
/** A pong that takes longer than this waits for something. */
const LATE = 1_000
const KIB = 1_024

/** Returns milliseconds for a text. */
export function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}

/** Sends several pings, one after another. */
export async function checkPings(wire: Wire, patience: number): Promise<Checked> {
  const times: number[] = []
  let lost = 0
  for (let sent = 0; sent < PINGS && !wire.end && lost < 2; sent++) {
    const time = await wire.ping(patience)
    if (time === null) lost++
    else times.push(time)
  }
  times.sort((a, b) => a - b)
  const median = times[times.length >> 1] ?? null
  const slowest = times.at(-1) ?? null
  const data = { answered: times.length, lost, medianMs: median, slowestMs: slowest }
  if (wire.end) {
    const found = finding(
      'closed-at-once',
      `The connection ended ${endText(wire.end)} while the doctor sent pings.`,
    )
    return { text: `the connection ended after ${times.length} pongs`, data, findings: [found] }
  }
  if (median === null || slowest === null)
    return {
      text: 'no pong',
      data,
      findings: [finding('ping-lost', `No pong came within ${patience / 1_000} s.`)],
    }
  const text = `${times.length} of ${times.length + lost} answered, median ${ms(median)}, slowest ${ms(slowest)}`
  if (lost > 0)
    return {
      text,
      data,
      findings: [
        finding(
          'ping-lost',
          `${lost} of ${times.length + lost} pongs did not come within ${patience / 1_000} s.`,
        ),
      ],
    }
  const slow = slowest > LATE
  return {
    text,
    data,
    findings: slow
      ? [
          finding(
            'buffered',
            `A pong took ${ms(slowest)}: something in between collects small frames, or the server is blocked.`,
          ),
        ]
      : [],
  }
}

/** Grows one message in fragments, with a ping after each. It never ends: no app receives it. */
export async function checkSize(
  wire: Wire,
  most: number,
  asked: boolean,
  patience: number,
): Promise<Checked> {
  let accepted = 0
  let tried = 0
  while (tried < most) {
    const next = Math.min(most, tried === 0 ? KIB : 2 * tried)
    wire.sendPart(next - tried, tried === 0)
    tried = next
    if ((await wire.ping(patience)) === null) break
    accepted = tried
  }
  const end = wire.end ?? (accepted < most ? await wire.endWithin(0) : null)
  const data = { accepted, refused: accepted < tried ? tried : null, code: end?.code ?? null }
  if (accepted === most) return { text: `${bytesText(most)} passes`, data, findings: [] }
  if (end?.code === 1009) {
    const text = `${bytesText(accepted)} passes, ${bytesText(tried)} is closed with 1009`
    const found = finding(
      'message-limit',
      `A message of ${bytesText(tried)} is closed with 1009; you asked for ${bytesText(most)} (--size).`,
    )
    return { text, data, findings: asked ? [found] : [] }
  }
  const how = end ? endText(end) : 'without an answer'
  return {
    text: `${bytesText(accepted)} passes, ${bytesText(tried)} does not`,
    data,
    findings: [
      finding('message-cut', `A message of ${bytesText(tried)} ended the connection ${how}.`),
    ],
  }
}

/** Waits in silence, and answers the pings of the server as a browser does. */
export async function checkIdle(wire: Wire, seconds: number): Promise<Checked> {
  const started = Date.now()
  const end = await wire.endWithin(seconds * 1_000)
  const after = Math.round((Date.now() - started) / 100) / 10
  const { pings } = wire
  const data = { seconds, pings, closedAfter: end ? after : null, code: end?.code ?? null }
  const beats = pings === 0 ? 'without a ping of the server' : `with ${pings} pings of the server`
  if (!end) return { text: `open after ${seconds} s, ${beats}`, data, findings: [] }
  const known = knownTimeout(after)
  const found = finding(
    'idle-closed',
    `The connection ended after ${after} s without data, ${beats}, ${endText(end)}.${known}`,
  )
  return { text: `ended after ${after} s, ${beats}`, data, findings: [found] }
}

/** Waits for the end of a connection while you restart the server. */
export async function checkRestart(wire: Wire, seconds: number): Promise<Checked> {
  const started = Date.now()
  const end = await wire.endWithin(seconds * 1_000)
  const after = Math.round((Date.now() - started) / 100) / 10
  const data = { seconds, closedAfter: end ? after : null, code: end?.code ?? null }
  if (!end)
    return {
      text: `open after ${seconds} s`,
      data,
      findings: [finding('restart-unseen', `The connection did not end within ${seconds} s.`)],
    }
  const text = `ended after ${after} s ${endText(end)}`
  if (end.code !== 1006) return { text, data, findings: [] }
  return {
    text,
    data,
    findings: [
      finding(
        'restart-cut',
        'The restart cut the connection without a close frame: clients see 1006.',
      ),
    ],
  }
}

/** Closes with 1000, and waits for the close frame of the server. */
export async function checkClose(wire: Wire, patience: number): Promise<Checked> {
  if (wire.end) return { state: 'info', text: 'not tested: it had ended', data: {}, findings: [] }
  const end = await wire.close(patience)
  const data = { code: end?.code ?? null }
  if (end && end.code !== 1006) return { text: `answered with ${end.code}`, data, findings: [] }
  const text = end ? 'cut without a close frame' : 'no close frame'
  const found = finding(
    'close-unanswered',
    'The server did not answer the close frame of the doctor with its own.',
  )
  return { text, data, findings: [found] }
}

/** Returns how a connection ended, for the middle of a sentence. */
export function endText({ code, problem }: End): string {
  if (problem !== null) return `because ${problem}`
  if (code === 1006) return 'without a close frame (1006)'
  if (code === 1005) return 'with a close frame without a code'
  return `with ${code}`
}

/** Returns bytes for a text. */
export function bytesText(bytes: number): string {
  if (bytes >= KIB * KIB && bytes % (KIB * KIB) === 0) return `${bytes / KIB / KIB} MiB`
  if (bytes >= KIB && bytes % KIB === 0) return `${bytes / KIB} KiB`
  return `${bytes} bytes`
}

function knownTimeout(seconds: number): string {
  if (seconds >= 58 && seconds <= 63)
    return ' 60 s is the default of proxy_read_timeout in nginx, and of many load balancers.'
  return ''
}
