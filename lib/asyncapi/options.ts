// Checks the options of `asyncapi()`, and fills in the defaults.
import { OptionsError } from '../index.ts'
import { entriesOf, isFields, itemsOf, member } from './fields.ts'
import { isComponentName, isIdentifier } from './names.ts'
import type {
  AsyncApiInfo,
  AsyncApiSecurity,
  AsyncApiServer,
  JsonSchemaObject,
  SchemaConverter,
} from './types.ts'

const OPTIONS: readonly string[] = [
  'info',
  'servers',
  'path',
  'parameters',
  'security',
  'refresh',
  'history',
  'presence',
  'ids',
  'toJsonSchema',
  'unrepresentable',
  'defaults',
  'view',
]

/** The options of `asyncapi()`, checked. */
export interface ResolvedOptions {
  readonly info: AsyncApiInfo
  readonly servers: Readonly<Record<string, AsyncApiServer>>
  /** The path with `{name}` for each parameter. */
  readonly address: string
  readonly parameters: Readonly<Record<string, JsonSchemaObject>>
  readonly security: readonly AsyncApiSecurity[]
  readonly refresh: boolean
  readonly history: boolean
  readonly presence: boolean
  readonly ids: ReadonlyMap<string, string>
  readonly toJsonSchema: SchemaConverter | undefined
  readonly unrepresentable: 'throw' | 'any'
  readonly defaults: boolean
  readonly view: 'server' | 'client'
}

/**
 * Checks the options of `asyncapi()`, and fills in the defaults.
 *
 * @param types the message types of the protocol
 * @throws OptionsError for an option that is unknown or wrong
 */
export function resolveOptions(given: unknown, types: readonly string[]): ResolvedOptions {
  if (!isFields(given)) {
    throw wrong(
      "takes a protocol and an object of options, such as { info: { title: 'Chat', version: '1.0.0' } }.",
    )
  }
  for (const name of Object.keys(given)) {
    if (!OPTIONS.includes(name))
      throw wrong(`has no option "${name}". It has: ${OPTIONS.join(', ')}.`)
  }
  const servers = serversOf(given['servers'])
  const security = securityOf(given['security'])
  if (security.length > 0 && Object.keys(servers).length === 0) {
    throw wrong('has "security", which AsyncAPI writes to each server: name one in "servers".')
  }
  const { address, names } = addressOf(given['path'] ?? '/')
  return {
    info: infoOf(given['info']),
    servers,
    address,
    parameters: parametersOf(given['parameters'], names),
    security,
    refresh: flag('refresh', given['refresh']),
    history: flag('history', given['history']),
    presence: flag('presence', given['presence']),
    defaults: flag('defaults', given['defaults']),
    ids: idsOf(given['ids'], types),
    toJsonSchema: converterOf(given['toJsonSchema']),
    unrepresentable: choice('unrepresentable', given['unrepresentable'], 'throw', 'any'),
    view: choice('view', given['view'], 'server', 'client'),
  }
}

function wrong(text: string): OptionsError {
  return new OptionsError(`asyncapi() ${text}`)
}

function option(name: string, problem: string): OptionsError {
  return new OptionsError(`asyncapi(): the option "${name}" ${problem}`)
}

function flag(name: string, value: unknown): boolean {
  if (value === undefined) return false
  if (typeof value !== 'boolean') throw option(name, 'must be true or false.')
  return value
}

/** Returns a value as JSON has it. */
function json(name: string, value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value))
  } catch {
    throw option(name, 'must be plain JSON: it has a cycle, a BigInt or no JSON form.')
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function infoOf(given: unknown): AsyncApiInfo {
  const info = given === undefined ? undefined : json('info', given)
  const title = member(info, 'title')
  const version = member(info, 'version')
  if (!isFields(info) || !isText(title) || !isText(version)) {
    throw option(
      'info',
      "needs the strings title and version, such as { title: 'Chat', version: '1.0.0' }.",
    )
  }
  return { ...info, title, version }
}

function serversOf(given: unknown): Record<string, AsyncApiServer> {
  if (given === undefined) return {}
  if (!isFields(given)) {
    throw option(
      'servers',
      "must be an object of servers by name, such as { production: 'wss://chat.example.com' }.",
    )
  }
  return Object.fromEntries(
    Object.entries(given).map(([name, one]) => {
      if (!isComponentName(name)) {
        throw option(
          'servers',
          `has the name ${JSON.stringify(name)}: use only A-Z a-z 0-9 . _ and -.`,
        )
      }
      return [name, typeof one === 'string' ? serverAt(name, one) : serverOf(name, one)]
    }),
  )
}

/** Returns the server of a URL. The text of a wrong URL may hold a password: no error quotes it. */
function serverAt(name: string, text: string): AsyncApiServer {
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^wss?:$/.test(url.protocol)) {
    throw option(
      'servers',
      `has a wrong URL as "${name}": it needs the form wss://chat.example.com/path.`,
    )
  }
  if (url.username || url.password || url.search || url.hash) {
    throw option(
      'servers',
      `has a URL with a user, password, query or fragment as "${name}". The document is public: leave them out.`,
    )
  }
  const pathname = url.pathname.replace(/\/$/, '')
  return { host: url.host, protocol: url.protocol.slice(0, -1), ...(pathname && { pathname }) }
}

function serverOf(name: string, given: unknown): AsyncApiServer {
  const server = json('servers', given)
  const host = member(server, 'host')
  const protocol = member(server, 'protocol')
  if (!isFields(server) || !isText(host) || (protocol !== 'ws' && protocol !== 'wss')) {
    throw option(
      'servers',
      `needs a URL as "${name}", or an object with host and protocol ("ws" or "wss").`,
    )
  }
  if (/[@?#/]/.test(host)) {
    throw option(
      'servers',
      `has a wrong host as "${name}": it is a name with a port at most, without a path or a password.`,
    )
  }
  if (member(server, 'security') !== undefined) {
    throw option(
      'servers',
      `has "security" in "${name}": use the option "security" of asyncapi(), which holds for all servers.`,
    )
  }
  return { ...server, host, protocol }
}

/** Returns the address of a path, and the names of its parameters. */
function addressOf(path: unknown): { address: string; names: readonly string[] } {
  if (typeof path !== 'string' || !path.startsWith('/')) {
    throw option('path', "must be a string that begins with a slash, such as '/rooms/:room'.")
  }
  if (/[{}*()?#\s\\]/.test(path)) {
    throw option(
      'path',
      `is ${JSON.stringify(path)}. AsyncAPI has neither optional parts nor wildcards: give the path of one form, with :name for each parameter.`,
    )
  }
  const names = [...path.matchAll(/:([\w$]+)/g)].flatMap(([, name]) => name ?? [])
  if (new Set(names).size !== names.length)
    throw option('path', `is ${JSON.stringify(path)}, which has a parameter twice.`)
  return { address: path.replace(/:([\w$]+)/g, '{$1}'), names }
}

function parametersOf(given: unknown, names: readonly string[]): Record<string, JsonSchemaObject> {
  if (given !== undefined && !isFields(given))
    throw option('parameters', 'must be an object of parameters by name.')
  const stranger = Object.keys(given ?? {}).find((name) => !names.includes(name))
  if (stranger !== undefined) {
    throw option('parameters', `has ${JSON.stringify(stranger)}, which is not in the path.`)
  }
  return Object.fromEntries(
    names.map((name) => {
      const one = member(given, name)
      const parameter = one === undefined ? {} : json('parameters', one)
      if (!isFields(parameter))
        throw option('parameters', `needs an object as "${name}", such as { description: '…' }.`)
      return [name, parameter]
    }),
  )
}

function securityOf(given: unknown): AsyncApiSecurity[] {
  if (given === undefined) return []
  if (!Array.isArray(given)) {
    throw option(
      'security',
      "must be a list of ways to authenticate, such as [{ in: 'cookie', name: 'sid' }].",
    )
  }
  const ways = itemsOf(given).map(wayOf)
  const keys = ways.map((way) => `${way.in} ${'name' in way ? way.name : ''}`)
  if (new Set(keys).size !== keys.length) throw option('security', 'has the same way twice.')
  return ways
}

function wayOf(given: unknown): AsyncApiSecurity {
  const place = member(given, 'in')
  const name = member(given, 'name')
  const description = member(given, 'description')
  const rest = isText(description) ? { description } : {}
  const stranger = entriesOf(given).find(([key]) => !/^(?:in|name|description)$/.test(key))
  if (stranger) {
    throw option(
      'security',
      `has the field "${stranger[0]}". An entry has in, name and description, and never a credential.`,
    )
  }
  if (place === 'cookie' || place === 'query') {
    if (!isText(name))
      throw option(
        'security',
        `needs the name of the ${place}, such as { in: '${place}', name: 'sid' }.`,
      )
    return { in: place, name, ...rest }
  }
  if (place === 'header' || place === 'subprotocol' || place === 'message') {
    if (name !== undefined) {
      throw option('security', `has a name for "${place}", which has a fixed place: leave it out.`)
    }
    return { in: place, ...rest }
  }
  throw option(
    'security',
    'needs "in" in each entry: "cookie", "query", "header", "subprotocol" or "message".',
  )
}

function idsOf(given: unknown, types: readonly string[]): Map<string, string> {
  const ids = new Map<string, string>()
  if (given === undefined) return ids
  if (!isFields(given)) throw option('ids', "must be an object, such as { 'chat/say': 'chatSay' }.")
  for (const [type, id] of Object.entries(given)) {
    if (!types.includes(type)) {
      throw option('ids', `has ${JSON.stringify(type)}, which is not a type of the protocol.`)
    }
    if (typeof id !== 'string' || !isIdentifier(id) || id.startsWith('koaws_')) {
      throw option(
        'ids',
        `has a wrong name for ${JSON.stringify(type)}: use only A-Z a-z 0-9 and _, without a digit first or the prefix "koaws_".`,
      )
    }
    if ([...ids.values()].includes(id))
      throw option('ids', `has the name ${JSON.stringify(id)} for two types.`)
    ids.set(type, id)
  }
  return ids
}

function converterOf(given: unknown): SchemaConverter | undefined {
  if (given === undefined) return undefined
  if (!isConverter(given)) {
    throw option('toJsonSchema', 'must be a function that returns a JSON Schema for a schema.')
  }
  return given
}

function isConverter(value: unknown): value is SchemaConverter {
  return typeof value === 'function'
}

/** Returns one of two words; the first is the default. */
function choice<A extends string, B extends string>(
  name: string,
  given: unknown,
  one: A,
  other: B,
): A | B {
  if (given === undefined || given === one) return one
  if (given === other) return other
  throw option(name, `must be "${one}" or "${other}".`)
}
