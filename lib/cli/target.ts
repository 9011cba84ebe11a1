// The server that a command talks to, with the headers and credentials of the command line.
import { isIP } from 'node:net'
import { type Arguments, type Kind, UsageError } from './arguments.ts'
import { Secrets } from './secrets.ts'

/** A WebSocket address with all that a handshake sends. */
export interface Target {
  readonly secure: boolean
  /** A host name or address, without the brackets of IPv6. */
  readonly host: string
  readonly port: number
  /** The value of the header `Host`. */
  readonly authority: string
  /** Path and query. */
  readonly path: string
  /** The address without user and query, for output. */
  readonly shown: string
  /** The origin of the page that connects. */
  readonly origin: string
  /** Headers of the command line, in their order. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** The subprotocols that the command line asks for, without credentials. */
  readonly protocols: readonly string[]
  /** The entries of `Sec-WebSocket-Protocol` that carry the token. */
  readonly bearers: readonly string[]
  readonly secrets: Secrets
}

/** The options that describe a target. */
export const TARGET_OPTIONS: Readonly<Record<string, Kind>> = {
  header: 'list',
  origin: 'text',
  protocol: 'list',
  token: 'text',
}

/** The help of these options. */
export const TARGET_HELP: string = `  --header 'Name: value'  a header of the handshake, such as Cookie; may be repeated
  --token <token>         a token, offered as koaws.bearer.<token> as koaws/client does
  --protocol <name>       a subprotocol to offer; may be repeated
  --origin <origin>       the page that connects (default: the origin of the address)
`

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Headers that make a handshake; another value would test another thing. */
const OWN =
  /^(?:upgrade|connection|host|origin|content-length|transfer-encoding|sec-websocket-.*)$/i

/** Returns the target of a command line. @throws UsageError when a value is wrong */
export function targetOf(args: Arguments): Target {
  const [address, more] = args.positionals
  if (address === undefined)
    throw new UsageError('an address is missing, such as wss://example.com/chat.')
  if (more !== undefined) throw new UsageError('one address is enough; quote values with spaces.')
  const url = parseAddress(address)
  const secure = url.protocol === 'wss:'
  const secrets = new Secrets()
  const headers = args.list('header').map(headerOf)
  if (url.username !== '' || url.password !== '') headers.push(basicOf(url, secrets))
  for (const [name, value] of headers) {
    if (/^cookie$/i.test(name)) secrets.addPairs(value, ';')
    else secrets.add(value)
  }
  secrets.addPairs(url.search.slice(1), '&')
  const all = args.list('protocol')
  if (!all.every((name) => TOKEN.test(name)))
    throw new UsageError('--protocol must be a name without spaces and commas, such as chat.')
  if (new Set(all).size !== all.length)
    throw new UsageError('--protocol names a subprotocol twice; each may be offered once.')
  const bearers = all.filter(isBearer)
  const token = args.text('token')
  if (token !== undefined) bearers.push(bearerOf(token))
  for (const bearer of bearers) secrets.add(bearer.replace(/^koaws\.bearer(?:64)?\./, ''))
  if (token !== undefined) secrets.add(token)
  return {
    secure,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    authority: url.host,
    path: url.pathname + url.search,
    shown: `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`,
    origin: originOf(args.text('origin')) ?? `${secure ? 'https' : 'http'}://${url.host}`,
    headers,
    protocols: all.filter((name) => !isBearer(name)),
    bearers,
    secrets,
  }
}

/** Returns headers by name, for `node:http`; a name may have several values. */
export function headerObject(headers: Target['headers']): Record<string, string[]> {
  const found: Record<string, string[]> = {}
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    found[key] = [...(found[key] ?? []), value]
  }
  return found
}

/** Returns whether an address of a target is this machine. */
export function isLoopback({ host }: Target): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function parseAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : null
  if (!url || !/^(?:wss?|https?):$/.test(url.protocol) || url.hostname === '')
    throw new UsageError(
      'the address must begin with wss:// or ws://, such as wss://example.com/chat.',
    )
  if (url.protocol.startsWith('http')) return parseAddress(address.trim().replace(/^http/i, 'ws'))
  if (url.hash !== '')
    throw new UsageError('a WebSocket address has no fragment: remove the part from #.')
  return url
}

function headerOf(text: string): [name: string, value: string] {
  const [, name = '', value = ''] = /^([^:]*):[ \t]*(.*)$/s.exec(text) ?? []
  if (!TOKEN.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
    throw new UsageError("--header must be 'Name: value' in one line.")
  if (OWN.test(name)) {
    const instead = /protocol$/i.test(name)
      ? ' Use --protocol.'
      : /^origin$/i.test(name)
        ? ' Use --origin.'
        : ''
    throw new UsageError(`--header cannot set ${name}: the handshake needs its own.${instead}`)
  }
  return [name, value.trim()]
}

function basicOf(url: URL, secrets: Secrets): [name: string, value: string] {
  let pair: string
  try {
    pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  } catch {
    throw new UsageError('user or password of the address is not percent-encoded correctly.')
  }
  secrets.add(pair)
  secrets.add(url.username)
  secrets.add(url.password)
  return ['Authorization', `Basic ${Buffer.from(pair).toString('base64')}`]
}

function originOf(text: string | undefined): string | undefined {
  if (text === undefined || text === 'null') return text
  if (!/^https?:\/\/[^\s/?#@\\,]+$/i.test(text) || !URL.canParse(text))
    throw new UsageError('--origin must be a scheme and a host, such as https://example.com.')
  return new URL(text).origin
}

function isBearer(name: string): boolean {
  return name.startsWith('koaws.bearer.') || name.startsWith('koaws.bearer64.')
}

function bearerOf(token: string): string {
  if (token === '' || !/^[\x21-\x7e]+$/.test(token))
    throw new UsageError('--token must be printable ASCII without spaces.')
  if (TOKEN.test(token)) return `koaws.bearer.${token}`
  return `koaws.bearer64.${Buffer.from(token).toString('base64url')}`
}
