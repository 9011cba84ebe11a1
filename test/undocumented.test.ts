import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('..', import.meta.url))
const lib = join(root, 'lib')

/**
 * Members that `lib/` names in a type of its own. They are documented, or they belong to a value
 * that is not an object of Node, Koa, ws or a Redis client.
 */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  // Members of values from outside: errors, parsed JSON, results of handlers.
  'connection/core.ts': ['bytesRead', 'code'],
  'client/refresh.ts': ['expiresAt'],
  'connection/inbox.ts': ['byteLength'],
  'errors.ts': ['stack'],
  'listener/sessions.ts': ['code'],
  'messages/handler-queue.ts': ['message', 'bytes'],
  'protocol/definition.ts': ['data'],
  'protocol/json-form.ts': ['toJSON'],
  'protocol/read.ts': ['type', 'id'],
  'testing/adapters/hub-tests.ts': ['id', 'data'],
  'testing/fake-server.ts': ['token'],
  'testing/test-app.ts': ['code', 'reason'],
  'thenable.ts': ['then'],
  'upgrade/access.ts': ['refresh'],
  // Members of JSON Schemas and AsyncAPI documents. zod documents `_zod` for other libraries.
  'asyncapi/contained-object.ts': ['most'],
  'asyncapi/document.ts': ['correlationId', 'servers', 'securitySchemes'],
  'asyncapi/json-schema.ts': ['libraryOptions'],
  'asyncapi/libraries.ts': ['_zod'],
  'asyncapi/options.ts': ['title', 'production', 'description'],
  'asyncapi/security.ts': ['required'],
  // Types of koaws.
  'connection/audience.ts': ['missing'],
  'hub/instance-questions.ts': ['missing'],
  'client/store.ts': ['status'],
  'koa-ws.ts': ['protocol'],
  'middleware/route.ts': ['params'],
  'upgrade/outcome.ts': ['request'],
  'inspector/instance.ts': ['key'],
  'inspector/recorders.ts': ['data'],
  'inspector/service.ts': ['instance'],
  'connection/facts.ts': ['query'],
  'upgrade/http2/transport.ts': ['inParts', 'endsLater', 'bytesRead', 'bytesWritten'],
  // Documented: by the DOM, by Node (channels, options, sockets), by Koa, by ws.
  'client/report.ts': ['reportError'],
  'client/settings.ts': ['WebSocket'],
  'client/timer.ts': ['unref'],
  'client/wake.ts': ['visibilityState'],
  'connection/listeners.ts': ['target', 'bufferedAmount'],
  'listener/address.ts': ['proxyIpHeader', 'maxIpsCount'],
  'listener/first-upgrade.ts': ['request', 'server'],
  // The value of attributes beyond a bound.
  'metrics/family.ts': ['_OTHER'],
  'metrics/known.ts': ['_OTHER'],
  'otel/tracer.ts': ['_OTHER'],
  'prometheus/exposition.ts': ['contentType'],
  'middleware/bearer.ts': ['authorization', 'originalUrl'],
  'upgrade/finished-response.ts': ['setTimeout'],
  'upgrade/records.ts': ['authorization'],
}

interface Touch {
  readonly file: string
  /** The name of a member, or `symbols` for own symbols that are looked up. */
  readonly name: string
}

/** The names of members that a file uses and that the public type of the object lacks. */
function touchesOf(text: string): Set<string> {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*/gm, '$1')
  const found = new Set<string>()
  const add = (matches: Iterable<RegExpMatchArray>, group = 1): void => {
    for (const match of matches) if (match[group]) found.add(match[group])
  }
  // A member that begins with an underscore: read, written, or destructured.
  add(code.matchAll(/[\w)\]}]!?\??\.(_[A-Za-z]\w*)/g))
  add(code.matchAll(/['"](_[A-Za-z]\w*)['"]/g))
  for (const [, names = ''] of code.matchAll(/\b(?:const|let|var)\s*\{([^}]*)\}/g)) {
    add(names.matchAll(/(?:^|,)\s*(_[A-Za-z]\w*)/g))
  }
  // An inline type that adds members to an object: `x as { name?: T }`, `X & { name?: T }`.
  for (const [, members = ''] of code.matchAll(/(?:\bas|&)\s*\{([^{}]*)\}/g)) {
    add(members.matchAll(/(?:^|[;\n]|\breadonly\b)\s*([A-Za-z_]\w*)\??\s*[:(]/g))
  }
  // Reflection with a fixed name.
  add(
    code.matchAll(
      /(?:Reflect\.\w+|Object\.(?:defineProperty|getOwnPropertyDescriptor))\(\s*[^,()]+(?:\(\))?,\s*'(\w+)'/g,
    ),
  )
  if (/\bgetOwnPropertySymbols\(|\.getOwnPropertyDescriptors\(/.test(code)) found.add('symbols')
  return found
}

/** The list in docs/undocumented.md: the text of each row, and the files that it names. */
function listed(): { readonly what: string; readonly files: readonly string[] }[] {
  const page = readFileSync(join(root, 'docs', 'undocumented.md'), 'utf8')
  const rows = page.matchAll(/^\| (?!what \||---)(.*?) \| (.*?) \| .* \|$/gm)
  return [...rows].map(([, what = '', where = '']) => ({
    what,
    files: [...where.matchAll(/`([^`]+\.ts)`/g)].map(([, file = '']) => file),
  }))
}

function isListed({ file, name }: Touch): boolean {
  return listed().some(
    ({ what, files }) =>
      files.includes(file) &&
      (name === 'symbols' ? /symbol/.test(what) : new RegExp(`[\`.]${name}\``).test(what)),
  )
}

describe('undocumented members of Node, Koa, ws and the Redis clients', () => {
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replaceAll('\\', '/'))
    .sort()
  const touches: Touch[] = files.flatMap((file) =>
    [...touchesOf(readFileSync(join(lib, file), 'utf8'))].map((name) => ({ file, name })),
  )

  it('are in the list of docs/undocumented.md', () => {
    expect(touches).to.have.length.above(20)
    const unknown = touches.filter(
      (touch) => !KNOWN[touch.file]?.includes(touch.name) && !isListed(touch),
    )
    expect(unknown).to.deep.equal([])
  })

  it('are listed with files that exist', () => {
    const rows = listed()
    expect(rows).to.have.length.above(20)
    const lost = rows.flatMap((row) => row.files).filter((file) => !files.includes(file))
    expect(lost).to.deep.equal([])
  })

  it('with an underscore are listed only for files that use them', () => {
    const gone = listed().flatMap(({ what, files: where }) =>
      [...what.matchAll(/`(?:[\w.]+\.)?(_\w+)`/g)]
        .map(([, name = '']) => name)
        .filter(
          (name) => !where.some((file) => touches.some((t) => t.file === file && t.name === name)),
        ),
    )
    expect(gone).to.deep.equal([])
  })

  it('have no unused exception in this test', () => {
    const unused = Object.entries(KNOWN).flatMap(([file, names]) =>
      names
        .filter((name) => !touches.some((touch) => touch.file === file && touch.name === name))
        .map((name) => `${file}: ${name}`),
    )
    expect(unused).to.deep.equal([])
  })

  it('are found in every form of access', () => {
    const forms = [
      'socket._handle',
      'socket?._handle',
      "socket['_handle']",
      'const { _handle } = socket',
      '(socket as { _handle?: Handle })',
      'type Open = Socket & { _handle?: Handle }',
      "Reflect.get(socket, '_handle')",
      "Object.hasOwn(socket, '_handle')",
      "Object.defineProperty(socket, '_handle', { value })",
    ]
    for (const form of forms) expect([...touchesOf(form)], form).to.include('_handle')
    expect([...touchesOf('Object.getOwnPropertySymbols(server)')]).to.deep.equal(['symbols'])
    expect([...touchesOf('// socket._handle\nconst own = this.#_handle')]).to.deep.equal([])
    expect(isListed({ file: 'connection/taken.ts', name: '_handle' })).to.equal(true)
    expect(isListed({ file: 'connection/taken.ts', name: '_hand' })).to.equal(false)
    expect(isListed({ file: 'connection/core.ts', name: '_handle' })).to.equal(false)
  })
})
