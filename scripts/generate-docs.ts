/**
 * Writes the pages of docs/reference that are made from lib/: `npm run docs:generate`. With
 * `--check` it writes nothing and exits with 1 if a page is out of date. The pages of
 * docs/reference/api come from TypeDoc, which scripts/reference installs for itself.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { argv, execPath } from 'node:process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type ErrorCode, errorTable } from '../lib/error-table.ts'
import { type Instrument, prometheusName } from '../lib/metrics/instrument.ts'
import { instruments } from '../lib/metrics/table.ts'
import { backplaneInstruments } from '../lib/metrics/table-backplane.ts'
import { connectionInstruments } from '../lib/metrics/table-connections.ts'
import { messageInstruments } from '../lib/metrics/table-messages.ts'
import { processInstruments } from '../lib/metrics/table-process.ts'
import { CloseCode } from '../lib/protocol/close-codes.ts'
import { installFolder } from './install.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const NOTICE =
  '<!-- Made by scripts/generate-docs.ts. Change the sources it names, then run: npm run docs:generate -->'

/** All generated pages: path from the root, and text. */
export function pages(): Map<string, string> {
  return new Map([
    ['docs/reference/errors.md', errorsPage()],
    ['docs/reference/options.md', optionsPage()],
    ['docs/reference/metrics.md', metricsPage()],
    ...apiPages(),
  ])
}

// ---- errors

/** Codes that middleware throws, which the option `reject` can turn into a close code. */
const FROM_THE_CHAIN: readonly ErrorCode[] = [
  'ERR_KOAWS_ALREADY_ACCEPTED',
  'ERR_KOAWS_BEARER',
  'ERR_KOAWS_EXPIRED',
  'ERR_KOAWS_SUBPROTOCOL',
]

/** Statuses that a code can have besides the one of the table. */
const OTHER_STATUS: { readonly [Code in ErrorCode]?: string } = {
  ERR_KOAWS_BAD_HANDSHAKE: '400 or 405',
  ERR_KOAWS_TOO_MANY: '503 or 429',
}

const CLIENT_MEANING = {
  stop: 'do not try again with the same request',
  'back off': 'try again later, with growing delays',
  '–': 'no action: the fault is in the server, or the client is gone',
}

interface CloseRow {
  readonly code: string
  readonly name: string
  readonly anchor: string
  readonly client: string
  readonly meaning: string
}

/** The recommended reaction of a client to a close; keyed by the names of `CloseCode`. */
const KNOWN_CLOSES: Record<keyof typeof CloseCode, readonly [client: string, meaning: string]> = {
  normal: [
    'stop',
    'A normal end. Sent when the application closes with it, or without a code (1005).',
  ],
  protocolError: ['stop', 'The client sent a frame that RFC 6455 does not allow. Sent by ws.'],
  policyViolation: [
    'stop',
    'A message has more fragments than `maxFragments` (sent by ws), or the client exceeded `flood` for as long as `flood.close`.',
  ],
  tooBig: ['stop', 'A message is larger than `maxPayload`. Sent by ws.'],
  internal: [
    'back off',
    "The handler, `onConnect` or a listener of the connection threw an error other than an http-error with a status of 400 to 499. The error went to `app.on('error')`.",
  ],
  restart: [
    'come back after the delay in the reason',
    '`hub.close()` was called: the server restarts, or another instance takes over. The reason is `restart, retry in <ms> ms`; each client gets its own delay.',
  ],
  badMessages: [
    'back off; stop if it came before the welcome, for a handshake that was rejected with 400',
    'The client sent too many messages that violate `koaws.v1` or have no handler: `maxOffences` of `messages()`.',
  ],
  expired: [
    'get a new token, then come back once',
    'The authorization has expired (`expiresAt`, or the `exp` of koa-jwt’s token).',
  ],
  otherUser: [
    'stop; log in again',
    '`connection.refresh()` named another user than that of the connection.',
  ],
  replaced: [
    'stop',
    "A newer login of the same user took the place of this connection: `maxPerUser` with `when: 'replace'`.",
  ],
  silent: [
    'back off',
    'The client sent no data within the timeout of `heartbeat` after a ping: the server terminates the connection, and only `connection.closed` has this code. Or no token was accepted within `authenticateTimeout`.',
  ],
  slowConsumer: [
    'back off',
    'The client receives more slowly than the server sends. See the options `maxBufferedAmount` and `slowConsumer`.',
  ],
}

/** Closes without a name in `CloseCode`: ws sends them, or they are a rule instead of a number. */
const OTHER_CLOSES: readonly CloseRow[] = [
  {
    code: '1007',
    name: '–',
    anchor: '1007',
    client: 'stop',
    meaning: 'A text message or a close reason is not valid UTF-8. Sent by ws.',
  },
  {
    code: '1013',
    name: '–',
    anchor: '1013',
    client: 'back off',
    meaning:
      'The handshake began before a `close()` or `leave()` of a user or room that the hub no longer remembers; it remembers 10,000 names. The reason is `try again`.',
  },
  {
    code: '4000 + status',
    name: '–',
    anchor: '4000--status',
    client:
      '4401: get a new token, then come back once. 4408, 4425, 4429 and 4500 to 4599: back off. Any other: stop',
    meaning:
      "Two cases. After the 101: the handler, `onConnect` or a listener threw an http-error with a status of 400 to 499. In place of the 101: the chain answered with 4xx or 5xx, and the client offered `koaws.v1` (or the option `reject` is `'close'`). The reason is the message of an error with `expose`, otherwise the text of the status or empty.",
  },
]

function errorsPage(): string {
  const all = Object.keys(errorTable) as ErrorCode[]
  const codes = all.filter((code) => errorTable[code].reply === null)
  const faults = all.filter((code) => errorTable[code].reply !== null)
  const lines = [
    NOTICE,
    '# Errors and close codes',
    '',
    'Made from `lib/error-table.ts` and `lib/protocol/close-codes.ts`.',
    '',
    'Before the 101 an error is an HTTP response, after it a close code. Every error of koaws is a `KoaWsError`:',
    '`code` is a name of the first table, `status` the HTTP status, and `expose` says whether a client may read',
    'the message. Errors before the 101 are of the class `UpgradeError`, wrong options of the class `OptionsError`.',
    '',
    'What a client should do:',
    '',
    ...Object.entries(CLIENT_MEANING).map(([name, meaning]) => `- **${name}**: ${meaning}.`),
    '',
    '## Error codes',
    '',
    '| Code | HTTP status | Close code | Client |',
    '|---|---|---|---|',
    ...codes.map((code) => errorRow(code)),
    '',
    'The close code takes the place of the status for a client that offered `koaws.v1`, and for every client',
    "with the option `reject: 'close'`. Without a close code in the table, koaws itself answers over HTTP, or",
    'the client gets no response.',
    '',
  ]
  for (const code of codes) lines.push(`### ${code}`, '', ...errorSection(code), '')
  lines.push(
    '## Errors of messages',
    '',
    'The error that answers a message of [koaws.v1](../protocol.md#4-errors); on the client a `RequestError`. A',
    '`MessageError` of the application has a code of its own; its other errors get the code `internal`.',
    '',
    '| Code | Status | Client |',
    '|---|---|---|',
    ...faults.map(
      (code) =>
        `| [${code}](#${code.toLowerCase()}) | ${errorTable[code].reply} | ${errorTable[code].client} |`,
    ),
    '',
  )
  for (const code of faults) lines.push(`### ${code}`, '', errorTable[code].meaning, '')
  lines.push(
    '## Errors of the client',
    '',
    '`request()`, `stream()` and `upload()` of `koaws/client` reject with these, and with the errors of the server. Each is a `RequestError`. Its `sent`',
    'says whether the message was sent; then the request may have been carried out.',
    '',
    '| Code | When |',
    '|---|---|',
    '| `ERR_KOAWS_TIMEOUT` | no answer came within `timeout`; for a stream, nothing came for so long |',
    '| `ERR_KOAWS_CLOSED` | the connection ended before the answer, or the client is stopped |',
    '| `ERR_KOAWS_QUEUE_FULL` | the client is not connected, and its queue is full (option `queue`); retryable |',
    '| `ERR_KOAWS_TOO_LARGE` | the message is larger than `maxMessage` of the server |',
    '| `ERR_KOAWS_CANCELLED` | the application left the loop over the stream, or called `return()` |',
    '| `ERR_KOAWS_NOT_LOADED` | the part for streams could not be loaded: serve it beside the client, or pass the option `streams` |',
    '| `ERR_KOAWS_MALFORMED` | given to `onError`: the server sent an invalid message; for a stream, more than the client allowed |',
    '| `ERR_KOAWS_NO_WEBSOCKET` | thrown by `connect()`, as an `Error`: this runtime has no WebSocket class; pass one |',
    '',
  )
  lines.push('## Close codes', '', '| Code | Name | Client |', '|---|---|---|')
  const closes = closeRows()
  for (const { code, name, anchor, client } of closes) {
    lines.push(`| [${code}](#${anchor}) | ${name} | ${client} |`)
  }
  lines.push(
    '',
    'The names are those of `CloseCode`. An application closes with 1000, or with its own codes from 4000 to 4999.',
    'After 1002, 1007, 1008 and 1009 the TCP connection ends 250 ms later at the latest.',
    '',
    '`connection.closed` has the code of the peer. If the peer could not be notified, it has the code of the server, with',
    '`clean: false`. A client that sees 1006 did not get a close frame: the network failed, the server terminated the',
    'connection, or the handshake was answered over HTTP.',
    '',
  )
  for (const { code, meaning } of closes) lines.push(`### ${code}`, '', meaning, '')
  return `${lines.join('\n').trimEnd()}\n`
}

function errorRow(code: ErrorCode): string {
  const { client } = errorTable[code]
  return `| [${code}](#${code.toLowerCase()}) | ${statusOf(code)} | ${closeOf(code)} | ${client} |`
}

function errorSection(code: ErrorCode): string[] {
  const { meaning, expose } = errorTable[code]
  const told = expose
    ? 'The message is sent to the client.'
    : 'The client does not see the message.'
  return statusOf(code) === '–' ? [meaning] : [meaning, '', `HTTP ${statusOf(code)}. ${told}`]
}

function statusOf(code: ErrorCode): string {
  const { status } = errorTable[code]
  return OTHER_STATUS[code] ?? (status === null ? '–' : String(status))
}

function closeOf(code: ErrorCode): string {
  const { status, closeCode } = errorTable[code]
  if (closeCode !== null) return String(closeCode)
  return FROM_THE_CHAIN.includes(code) ? String(4000 + (status as number)) : '–'
}

function closeRows(): CloseRow[] {
  const named = Object.entries(CloseCode).map(([name, number]) => {
    const [client, meaning] = KNOWN_CLOSES[name as keyof typeof CloseCode]
    const code = String(number)
    return { code, name: `\`${name}\``, anchor: code, client, meaning }
  })
  const order = ({ code }: CloseRow): number => (/^\d+$/.test(code) ? Number(code) : 4000)
  return [...named, ...OTHER_CLOSES].sort((a, b) => order(a) - order(b))
}

// ---- metrics

/** The parts of the table, by the prefixes of their names. */
const METRIC_GROUPS: readonly (readonly [title: string, rows: readonly Instrument[]])[] = [
  ['Upgrades and connections', connectionInstruments],
  ['Messages', messageInstruments],
  ['Instances', backplaneInstruments],
  ['Process', processInstruments],
]

function metricsPage(): string {
  const lines = [
    NOTICE,
    '# Metrics',
    '',
    'Made from the table in `lib/metrics/`. All metrics of [`koaws/otel`](api/otel.md) and [`koaws/prometheus`](api/prometheus.md);',
    'the guide is [observability](../guides/observability.md).',
    '',
    'Attributes are labels in Prometheus, with underscores in place of dots. Each metric also has the name of the hub: `koaws_hub` in',
    'Prometheus, and with the option `name`, `koaws.hub` in OpenTelemetry. Values are of one instance.',
    '',
    '**Stability**: `stable` names are of a stable semantic convention of OpenTelemetry. `development` names are of a convention in',
    'development, or of koaws, and may change in a minor version.',
    '',
  ]
  for (const [title, rows] of METRIC_GROUPS) {
    lines.push(
      `## ${title}`,
      '',
      '| Name | In Prometheus | Type | Unit | Attributes | Stability | Meaning |',
      '|---|---|---|---|---|---|---|',
      ...rows.map(metricRow),
      '',
    )
  }
  const histograms = instruments.filter(({ kind }) => kind === 'histogram')
  lines.push(
    '## Boundaries of histograms',
    '',
    '| Name | Boundaries |',
    '|---|---|',
    ...histograms.map(({ name, boundaries }) => `| ${code(name)} | ${boundaries.join(', ')} |`),
    '',
  )
  return `${lines.join('\n').trimEnd()}\n`
}

/** Types of instruments, in words. */
const KINDS = {
  counter: 'counter',
  updowncounter: 'up-down counter',
  gauge: 'gauge',
  histogram: 'histogram',
}

function metricRow(instrument: Instrument): string {
  const { name, kind, unit, attributes, stability, description } = instrument
  const listed = attributes.map(code).join(', ') || '–'
  const cells = [
    code(name),
    code(prometheusName(instrument)),
    KINDS[kind],
    code(unit),
    listed,
    stability,
  ]
  return `| ${[...cells, description].join(' | ')} |`
}

// ---- options

/** A property of an options interface, as its source describes it. */
export interface DocumentedOption {
  readonly name: string
  readonly type: string
  /** Null if the comment has no default. */
  readonly fallback: string | null
  readonly text: string
}

interface OptionsSection {
  readonly file: string
  readonly type: string
  readonly title: string
  readonly intro: string
}

/** The interfaces of the page, in its order. */
export const optionSections: readonly OptionsSection[] = [
  {
    file: 'lib/options.ts',
    type: 'KoaWsOptions',
    title: 'koaWs(options)',
    intro: 'Of the plugin. Durations are milliseconds, sizes are bytes.',
  },
  {
    file: 'lib/upgrade/deflate.ts',
    type: 'DeflateOptions',
    title: 'perMessageDeflate',
    intro: 'What the option `perMessageDeflate` of `koaWs()` takes in place of `true` (RFC 7692).',
  },
  {
    file: 'lib/upgrade/accept-options.ts',
    type: 'AcceptOptions',
    title: 'accept(handler, options) and ctx.ws(options)',
    intro: 'Of one route. What is not set is the plugin’s. `C` is the ctx of the route.',
  },
  {
    file: 'lib/connection/rules.ts',
    type: 'HeartbeatOptions',
    title: 'heartbeat',
    intro: 'What the option `heartbeat` takes in place of `false`.',
  },
  {
    file: 'lib/connection/rules.ts',
    type: 'FloodOptions',
    title: 'flood',
    intro: 'What the option `flood` takes in place of `false`.',
  },
  {
    file: 'lib/options.ts',
    type: 'ReadyOptions',
    title: 'ready',
    intro: 'What the option `ready` of `koaWs()` takes.',
  },
  {
    file: 'lib/hub/presence/options.ts',
    type: 'PresenceOptions',
    title: 'presence',
    intro: 'What the option `presence` takes.',
  },
  {
    file: 'lib/history/options.ts',
    type: 'HistoryOptions',
    title: 'history',
    intro: 'What the option `history` takes.',
  },
  {
    file: 'lib/streams/options.ts',
    type: 'StreamsOptions',
    title: 'streams',
    intro: 'What the option `streams` takes.',
  },
  {
    file: 'lib/adapters/redis/adapter.ts',
    type: 'RedisAdapterOptions',
    title: 'redisAdapter(options)',
    intro: 'Of `koaws/redis`.',
  },
  {
    file: 'lib/adapters/redis/emitter.ts',
    type: 'RedisEmitterOptions',
    title: 'redisEmitter(options)',
    intro: 'Of `koaws/redis`.',
  },
  {
    file: 'lib/adapters/cluster/adapter.ts',
    type: 'ClusterAdapterOptions',
    title: 'clusterAdapter(options)',
    intro: 'Of `koaws/cluster`.',
  },
  {
    file: 'lib/backplane/adapter.ts',
    type: 'MaxQueued',
    title: 'maxQueued',
    intro: 'What the option `maxQueued` of an adapter takes.',
  },
  {
    file: 'lib/plugin.ts',
    type: 'AttachOptions',
    title: 'hub.attach(server, options)',
    intro: 'How the hub takes the upgrades of a server.',
  },
  {
    file: 'lib/hub/shutdown.ts',
    type: 'CloseOptions',
    title: 'hub.close(options)',
    intro: 'How the hub closes.',
  },
  {
    file: 'lib/hub/signals.ts',
    type: 'SignalOptions',
    title: 'hub.closeOnSignal(options)',
    intro: 'What ends a process that is told to stop.',
  },
  {
    file: 'lib/messages/options.ts',
    type: 'MessagesOptions',
    title: 'messages(protocol, options)',
    intro: 'How messages of `koaws.v1` are handled.',
  },
  {
    file: 'lib/connection/types.ts',
    type: 'RequestOptions',
    title: 'connection.request(type, data, options)',
    intro: 'How the server waits for the answer of a client.',
  },
  {
    file: 'lib/client/settings.ts',
    type: 'ConnectOptions',
    title: 'connect(url, options)',
    intro: 'How a client of `koaws/client` connects.',
  },
  {
    file: 'lib/client/settings.ts',
    type: 'QueueOptions',
    title: 'queue',
    intro: 'What the option `queue` of `connect()` takes in place of `false`.',
  },
  {
    file: 'lib/client/requests.ts',
    type: 'RequestOptions',
    title: 'client.request(type, data, options)',
    intro: 'How a client waits for an answer.',
  },
  {
    file: 'lib/client/stream-types.ts',
    type: 'StreamOptions',
    title: 'client.stream(type, data, options)',
    intro: 'How a client receives a stream, and sends one during it.',
  },
  {
    file: 'lib/client/stream-types.ts',
    type: 'UploadOptions',
    title: 'client.upload(type, data, source, options)',
    intro: 'How a client sends a stream of items.',
  },
  {
    file: 'lib/client/types.ts',
    type: 'PushOptions',
    title: 'client.push(type, data, options)',
    intro: 'What may be said of a push of a client.',
  },
  {
    file: 'lib/middleware/bearer.ts',
    type: 'BearerOptions',
    title: 'bearer(options)',
    intro: 'Where `bearer()` looks beside the `Authorization` header and the offered subprotocols.',
  },
  {
    file: 'lib/asyncapi/types.ts',
    type: 'AsyncApiOptions',
    title: 'asyncapi(protocol, options)',
    intro: 'Of `koaws/asyncapi`: what an AsyncAPI document shows.',
  },
]

/** Types that the tables name and that no library defines, by the page of the API that describes them. */
const NAMED_TYPES = {
  hub: [
    'OriginPolicy',
    'OriginPredicate',
    'Patterns',
    'RejectOption',
    'RejectAs',
    'RejectMode',
    'RejectClose',
    'SlowConsumerPolicy',
    'UserLimit',
  ],
  upgrades: ['FromContext', 'SubprotocolChooser'],
  client: ['TokenSource', 'Token', 'WebSocketClass'],
  types: ['Source', 'Streams'],
  asyncapi: [
    'AsyncApiInfo',
    'AsyncApiServer',
    'AsyncApiParameter',
    'AsyncApiSecurity',
    'SchemaConverter',
  ],
}

function optionsPage(): string {
  const lines = [
    NOTICE,
    '# Options',
    '',
    'Made from the interfaces in `lib/`. An unknown option, one of the wrong type, and one that contradicts another',
    'throw an [`ERR_KOAWS_OPTIONS`](errors.md#err_koaws_options) where they are given.',
    '',
  ]
  for (const { file, type, title, intro } of optionSections) {
    lines.push(`## ${title}`, '', `${intro} Type: \`${type}\`.`, '')
    lines.push('| Option | Type | Default | Meaning |', '|---|---|---|---|')
    for (const option of optionsOf(file, type)) {
      const fallback = option.fallback === null ? '–' : fallbackCell(option.fallback)
      lines.push(`| \`${option.name}\` | ${code(option.type)} | ${fallback} | ${option.text} |`)
    }
    lines.push('')
  }
  lines.push('## Named types', '')
  for (const [page, names] of Object.entries(NAMED_TYPES)) {
    const links = names.map((name) => `[\`${name}\`](api/${page}.md#${name.toLowerCase()})`)
    lines.push(`- ${links.join(', ')}`)
  }
  return `${lines.join('\n').trimEnd()}\n`
}

/** Base interfaces, and the files that define them. */
const BASES: Readonly<Record<string, string>> = {
  RuleOptions: 'lib/connection/rules.ts',
  UploadOptions: 'lib/client/stream-types.ts',
}

/** Returns the properties of an interface in the order of the source, and those of its base. */
export function optionsOf(file: string, type: string): DocumentedOption[] {
  const source = readFileSync(join(root, file), 'utf8')
  const found = new RegExp(
    `^export interface ${type}(?:<[^\\n]*>)? (?:extends (\\w+) )?\\{\\n([\\s\\S]*?)^\\}`,
    'm',
  ).exec(source)
  const [, base, body] = found ?? []
  if (body === undefined) throw new Error(`${file} has no interface ${type}`)
  const options: DocumentedOption[] = []
  const rest = body.replace(
    /^ {2}\/\*\*([\s\S]*?)\*\/\n {2}(\w+)(\??): ([^\n]+)\n/gm,
    (_all, comment: string, name: string, mark: string, written: string) => {
      const [text, fallback] = textOf(comment)
      const type = withoutUndefined(written)
      options.push({ name, type, fallback: mark === '' ? 'required' : fallback, text })
      return ''
    },
  )
  if (rest.trim() !== '') throw new Error(`${file}: cannot read this of ${type}:\n${rest}`)
  if (base === undefined) return options
  const inherited = optionsOf(BASES[base] as string, base)
  // An option that a route does not set takes the value of the plugin.
  const ofRoute = type === 'AcceptOptions'
  return [...options, ...inherited.map((one) => (ofRoute ? { ...one, fallback: null } : one))]
}

/** `?:` says it already, and a single function type needs no brackets. */
function withoutUndefined(type: string): string {
  const bare = type.replace(/ \| undefined$/, '')
  return bare === type ? type : bare.replace(/^\((\(.*\) => .*)\)$/, '$1')
}

/** Returns the text of a comment on one line, and its `@default`, which comes last. */
function textOf(comment: string): [text: string, fallback: string | null] {
  const joined = comment
    .replace(/^\s*\*? ?/gm, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  const [text = '', fallback, ...more] = joined.split(/\s*@default /)
  if (more.length > 0 || /@\w/.test(text)) throw new Error(`cannot read the comment: ${joined}`)
  return [text.replaceAll('|', '\\|'), fallback ?? null]
}

/** A literal becomes code, words stay words, and a literal before words becomes both. */
function fallbackCell(fallback: string): string {
  const [, literal, words = ''] =
    /^('[^']*'|true|false|[\d_,]*\d|\{[^}]*\})(?![\w])(.*)$/.exec(fallback) ?? []
  return literal === undefined ? fallback : `${code(literal)}${words}`
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``
}

// ---- API

const API = 'docs/reference/api'

/** Properties that the API links to, because another page lists them: by file and name. */
function tables(): Record<string, { title: string; link: string }> {
  const link = (title: string): string =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-')
  const options = optionSections.map(({ file, type, title }) => [
    `${file} ${type}`,
    { title: `options, ${title}`, link: `../options.md#${link(title)}` },
  ])
  return {
    ...Object.fromEntries(options),
    'lib/protocol/close-codes.ts CloseCode': {
      title: 'close codes',
      link: '../errors.md#close-codes',
    },
    'lib/error-table.ts errorTable': { title: 'error codes', link: '../errors.md#error-codes' },
  }
}

/** Returns the pages of TypeDoc, which has its own, older TypeScript. */
function apiPages(): [path: string, text: string][] {
  installFolder('scripts/reference')
  const out = mkdtempSync(join(tmpdir(), 'koaws-reference-'))
  try {
    const config = JSON.stringify({ notice: NOTICE, tables: tables() })
    const words = [join(root, 'scripts/reference/build.mjs'), out, config]
    const env = { ...process.env, NODE_V8_COVERAGE: undefined }
    const { status, stdout, stderr } = spawnSync(execPath, words, { encoding: 'utf8', env })
    if (status !== 0) throw new Error(`TypeDoc failed:\n${stdout}${stderr}`)
    return readdirSync(out)
      .filter((name) => name.endsWith('.md'))
      .map((name) => [`${API}/${name}`, readFileSync(join(out, name), 'utf8')])
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

/** Pages of the API that TypeDoc makes no more. */
function leftOver(made: ReadonlyMap<string, string>): string[] {
  return readdirSync(join(root, API))
    .map((name) => `${API}/${name}`)
    .filter((path) => !made.has(path))
}

// ---- run

function main(checkOnly: boolean): number {
  let stale = 0
  const made = pages()
  for (const [path, text] of made) {
    const file = join(root, path)
    if (readIfThere(file) === text) continue
    stale++
    if (checkOnly) console.error(`${path} is out of date: npm run docs:generate`)
    else {
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text)
      console.log(`wrote ${path}`)
    }
  }
  for (const path of leftOver(made)) {
    stale++
    if (checkOnly) console.error(`${path} is out of date: npm run docs:generate`)
    else rmSync(join(root, path))
  }
  return checkOnly && stale > 0 ? 1 : 0
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

if (argv[1] !== undefined && import.meta.url === pathToFileURL(argv[1]).href) {
  process.exitCode = main(argv.includes('--check'))
}
